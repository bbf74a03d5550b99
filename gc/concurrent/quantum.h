/* quantum.h - what a mark beside the program is made of: steps that are done in pieces. What
 * concurrent.c and preclean.c, which looks at written pages, share. */
#ifndef OAKI_QUANTUM_H
#define OAKI_QUANTUM_H

#include "concurrent.h"

/* A step goes through [at, end), offsets in the range, in a way that its piece knows. */
typedef struct oaki_progress {
    size_t at, end;
} oaki_progress;

/* A short part of it. true when there is more to do. */
typedef bool oaki_quantum(oaki_progress *s);

void oaki_quanta_init(void);
/* The first stop: the mark that is under way is that of the cycle that begins now. */
void oaki_quanta_begin(void);
void oaki_quanta_set_state(oaki_concurrent state);
/* oaki_heap.cycle of that one. */
size_t oaki_quanta_cycle(void);
/* It is still that one: nobody else has ended it. */
bool oaki_quanta_continue(void);

/* All of a step, a piece at a time while the program runs, under the marker's lock, for worker 0.
 * false: somebody else ended the mark. */
bool oaki_quanta(oaki_quantum *piece);
/* The same, with this lock as well. */
bool oaki_quanta_locked(oaki_quantum *piece, oaki_lock *lock);
/* The same in short stops, a piece each; between two of them the program has 1/part of the time. */
bool oaki_quanta_stopped(oaki_quantum *piece, unsigned part);

/* As much of marking as a piece is. */
oaki_quantum oaki_quantum_mark;
/* The same for who allocates, if nobody else is at it. Is there more? */
bool oaki_assist_mark(void);
/* Who allocates faster than all mark waits a moment. How many did? */
size_t oaki_throttle(void);
/* Between two of them: memory is touched ahead for the program (runtime/ahead.c). */
void oaki_quanta_prefault(void);
/* It has cost so much of processors beyond its pieces: for this cycle, or the next one. */
void oaki_quanta_cost(uint64_t cpu_ns);
/* What the mark has cost so far, ns of processors. */
uint64_t oaki_quanta_worked(void);
/* Words of the mark that have been looked at, about. Anybody may ask. */
size_t oaki_quanta_done(void);

/* Words count up to where the heap ends now. Before this no word was read that led to what it has
 * grown by since, unless on a page that is written and will be looked at. */
void oaki_workers_extend(void);

/* ---- roots.c. false: somebody else ended the mark ---- */

/* What is pinned or held is queued, and what large registered ranges refer to, which no other stop
 * than the last one looks at. */
bool oaki_concurrent_roots(void);
bool oaki_concurrent_ranges(void); /* the last of these, once more */
/* What ephemerons keep that are marked, with their keys, is marked; then tables of objects note
 * what the last stop may pass by. */
bool oaki_concurrent_values(void);
/* Marked objects whose function wants the world to stand are marked by it, in short stops, and
 * what it queues while the program runs. */
bool oaki_concurrent_waiting(void);

/* ---- preclean.c ---- */

void oaki_preclean_begin(bool minor);
/* Look at what was written, until little is left. false: somebody else ended the mark. */
bool oaki_preclean(uint64_t begun_ns);
/* oaki_dirty_refusals at the first stop. */
size_t oaki_preclean_refusals(void);
/* Pages that were protected for it. */
size_t oaki_preclean_protected(void);
/* How many there were. */
void oaki_preclean_record(oaki_cycle *c);
/* Bytes that have been marked since the first one began. */
size_t oaki_preclean_found(void);

#endif
