/* pace.h - when to collect. */
#ifndef OAKI_PACE_H
#define OAKI_PACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

void oaki_pace_init(void);

/* After a mark, in the stop: live bytes, those of them of which it isn't known how long they will
 * live, bytes of stacks and globals that were scanned. Sets live and trigger. */
void oaki_pace_marked(size_t live, size_t unknown, size_t roots, bool minor);

/* After a cycle: when it ended, how long the collector was at it; and the process's processor time
 * then, and the collector's. What the program asks for is no part of the collector's half. */
void oaki_pace_cycle(uint64_t end_ns, uint64_t took_ns, uint64_t end_cpu, uint64_t took_cpu,
                     bool asked);

/* A mark was in a stop that took `ns`; since the last cycle the program had allocated so much until
 * it began. After one that was asked for at any time that tells nothing. Before oaki_pace_cycle. */
void oaki_pace_stopped(bool minor, bool asked, size_t before, uint64_t begin_ns, uint64_t ns);

/* So many were the process's when the cycle began: it may be given fewer or more at any time. */
void oaki_pace_processors(unsigned n);

/* A mark was beside the program, which had allocated so much before it since the last cycle, and so
 * much during it; it took so much of processors. The next one begins earlier by as much as the
 * program would allocate in that time if nothing held it up. After sticky is set, before
 * oaki_pace_cycle. */
void oaki_pace_concurrent(bool minor, size_t before, uint64_t begin_ns, size_t during,
                          uint64_t end_ns, uint64_t cpu_ns);

/* Of so many bytes that the rounds of a mark have found, those that came since only because it had
 * so little of the processors in its time: they may be gone soon. */
size_t oaki_pace_floating(size_t found, uint64_t clock_ns, uint64_t marking_ns);

/* Have minor collections left more than half of what lies between the last full one's live bytes
 * and the goal? */
bool oaki_pace_has_room(void);

/* Bytes that the last mark found alive. */
size_t oaki_pace_live(void);

/* Is the heap so large, or would a stop for it be so long, that it is marked beside the program? */
bool oaki_pace_is_large(void);

/* From now on a mark is beside the program only where a stop for it would be long, of tens of
 * milliseconds: it costs less of the processors in a stop. At the start. */
void oaki_pace_prefer_stops(void);

/* Is a collection due? */
bool oaki_pace_due(void);

/* The goal, for the log. */
size_t oaki_pace_goal(void);

/* Of a mark beside the program `done` of `whole` is behind it, in any unit. Would the program with
 * so many bytes more come further on its way past the goal? */
bool oaki_pace_outran(size_t bytes, size_t done, size_t whole);

/* Does a thread that has waited for a mark for so long by the clock go on with that? As long as the
 * mark has had less than `most_ns` of processors meanwhile: on a machine that is busy with other
 * things who marks gets along less. Where nobody does, as the marker itself waits for something, no
 * longer than some times `blind_ns`. */
bool oaki_pace_waits(uint64_t clock_ns, uint64_t marking_ns, uint64_t most_ns, uint64_t blind_ns);

#endif
