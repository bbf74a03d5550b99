/* pace.h - when to collect. */
#ifndef OAKI_PACE_H
#define OAKI_PACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

void oaki_pace_init(void);

/* After a mark, in the stop: live bytes, bytes of stacks and globals that were scanned. Sets
 * live and trigger. */
void oaki_pace_marked(size_t live, size_t roots);

/* After a cycle: when it ended, how long the world stood. */
void oaki_pace_cycle(uint64_t end_ns, uint64_t pause_ns);

/* A mark was beside the program, which has allocated so much meanwhile: the next one begins that
 * much earlier. */
void oaki_pace_beside(size_t allocated);

/* Bytes that the last mark found alive. */
size_t oaki_pace_live(void);

/* Is a collection due? */
bool oaki_pace_due(void);

/* The goal, for the log. */
size_t oaki_pace_goal(void);

#endif
