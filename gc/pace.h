/* pace.h - when to collect. */
#ifndef OAKI_PACE_H
#define OAKI_PACE_H

#include "runtime/lock.h"

/* Sums over the cycles since the clock last had a difference for both times. */
typedef struct oaki_share {
    unsigned cycles;
    double bytes, ran, took; /* allocated; ns of processors of the program, of the collector */
} oaki_share;

/* Figures of the last cycles, by which pace.c sets goal and trigger. */
typedef struct oaki_pace {
    oaki_lock lock;     /* for each change */
    AO_t percent;       /* as unsigned; (AO_t)-1: never */
    AO_t live;          /* bytes, of the last mark */
    size_t roots;       /* the same */
    AO_t full;          /* live bytes of the last full mark, */
    size_t base;        /* and the live bytes that set the goal */
    AO_t goal;
    AO_t waited;        /* finalizers that waited after the last mark */
    /* bytes per ns that the program allocated around the last mark it didn't ask for; 0: not
     * known */
    double rate;
    double lived;     /* the live share of all bytes, of the last full mark */
    uint64_t took[2]; /* ns of the last concurrent mark: full, minor */
    /* of the last two full concurrent marks: bytes, per live byte, whose allocation takes long
     * enough to pay for a mark */
    double pays[2];
    /* of the last two cycles that the program didn't ask for: bytes whose allocation takes long
     * enough for the least goal's share */
    double affords[2];
    oaki_share share;
    AO_t cycle_end;  /* monotonic, ns; the heap's start before the first cycle */
    AO_t last_cycle; /* ns that the last cycle's collector worked */
    AO_t cpu_end;    /* the last cycle's end in processor time of the process */
    /* int64_t: processor time that the program had beyond the collector's until then */
    AO_t credit;
    AO_t limited; /* 1: the limit, not the percentage, set the goal */
} oaki_pace;

void oaki_pace_init(void);
void oaki_pace_reset(void); /* in the child of a fork */

/* A setting has changed: the goal and the trigger are computed anew. */
void oaki_pace_refresh(void);

/* After a mark, in the pause: live bytes; those of them whose lifetime isn't known; bytes of
 * stacks and globals that were scanned. Sets live and trigger. */
void oaki_pace_marked(size_t live, size_t unknown, size_t roots, bool minor);

/* After a cycle: when it ended and how long the collector worked; and the same in processor
 * time, of the process and of the collector. `bytes` were allocated since the cycle before. A
 * collection that the program asks for does not count towards the collector's half, nor towards
 * shares. */
void oaki_pace_cycle(uint64_t end_ns, uint64_t took_ns, uint64_t end_cpu, uint64_t took_cpu,
                     size_t bytes, bool asked);

/* A stop-the-world mark took `ns`. `before`: bytes allocated between the last cycle and its
 * begin. They count for nothing after a collection that was asked for. Call before
 * oaki_pace_cycle. */
void oaki_pace_stopped(bool minor, bool asked, size_t before, uint64_t begin_ns, uint64_t ns);

/* After a concurrent mark: bytes allocated between the last cycle and its begin, bytes allocated
 * during it, and its processor time. The next mark starts earlier by what mutators would
 * allocate unhindered in that time. Call after sticky is set and before oaki_pace_cycle. */
void oaki_pace_concurrent(bool minor, size_t before, uint64_t begin_ns, size_t during,
                          uint64_t end_ns, uint64_t cpu_ns);

/* Of the bytes that a mark's preclean rounds have found: the part that counts as floating
 * garbage. It was found only because the mark had too little of the processors, and may be dead
 * soon. */
size_t oaki_pace_floating(size_t found, uint64_t clock_ns, uint64_t marking_ns);

/* Have minor collections left more than half of the space between the live bytes of the last
 * full one and the goal? */
bool oaki_pace_has_room(void);

/* Bytes that the last mark found alive. */
size_t oaki_pace_live(void);

/* Is a collection due? */
bool oaki_pace_due(void);
/* It will be soon: a driver with a budget may begin. */
bool oaki_pace_nears(void);

/* The goal, for the log. */
size_t oaki_pace_goal(void);

/* With `bytes` more, is the heap at its goal? Finalizers count (gc/pace.c). */
bool oaki_pace_is_past(size_t bytes);

/* `done` of `whole` of a concurrent mark is completed, in any unit. With `bytes` more, would
 * mutators be further past the goal than the mark has progressed? */
bool oaki_pace_outran(size_t bytes, size_t done, size_t whole);

/* A thread has waited for a mark for clock_ns: does it wait on? It does while the mark has had
 * less than `most_ns` of processors meanwhile, as on a busy machine marking progresses more
 * slowly. If no thread marks, as the marker itself waits, the limit is a small multiple of
 * `blind_ns`. For a mark that has stalled. */
bool oaki_pace_waits(uint64_t clock_ns, uint64_t marking_ns, uint64_t most_ns, uint64_t blind_ns);

#endif
