/* mark.h - the marker's worker, its queues, and the inline paths that mark.c and workers.c share.
 *
 * A word that may be a pointer goes through a small FIFO: what it will touch is prefetched when it goes in, so that cache misses overlap, and looked at
 * when it comes out (Cher, Hosking and Vitek, 2004). An object that is newly marked goes on the worker's stack, which is a
 * list of chunks; full chunks are offered to the others. Large objects and root ranges wait as ranges that all workers eat from.
 *
 * Owns: struct oak_marker, one for each worker; nobody else touches it in a mark. What is shared is in workers.c. */
#ifndef OAKI_MARK_H
#define OAKI_MARK_H

#include "gc.h"

#define OAKI_FIFO 16          /* words in flight; a power of two */
#define OAKI_CHUNK_ENTRIES 509
#define OAKI_WORKERS_MAX 64

/* An entry is an object's address; its low four bits hold its size in granules when it is scanned conservatively and small, else 0: look it up. */
typedef struct oaki_mark_chunk {
    struct oaki_mark_chunk *next;
    size_t n;
    uintptr_t entry[OAKI_CHUNK_ENTRIES];
} oaki_mark_chunk;

struct oak_marker {
    oaki_mark_chunk *top;     /* being filled and emptied */
    oaki_mark_chunk *full;    /* behind it, all full */
    size_t fifo[OAKI_FIFO];   /* offsets in the range */
    unsigned fifo_head, fifo_n;
    bool shared_bits;         /* other workers mark too: M is changed atomically */
    uintptr_t base;           /* of the range, and its size in use: at hand */
    size_t used;
    size_t bytes;             /* marked by this worker */
    size_t scanned;           /* objects, about */
    unsigned id;
} __attribute__((aligned(128)));

/* ---- workers.c ---- */

int oaki_workers_init(void);
oak_marker *oaki_worker(unsigned id);
void oaki_workers_begin(void);              /* of a mark: workers are empty, counts zero */
size_t oaki_workers_bytes(void);            /* marked by all of them */
bool oaki_mark_take(oak_marker *m);         /* get work from the others: a chunk becomes top, or a range is scanned. false: there is none */
void oaki_mark_offer(oak_marker *m);        /* top is full or missing: a new top, the old one behind it or given to who is hungry */
void oaki_mark_share(oak_marker *m);        /* somebody is hungry: give some away */
bool oaki_ranges_add(const char *lo, const char *hi); /* false: full, scan it yourself */
unsigned oaki_workers_count(void);
void oaki_workers_spawn(void);              /* start the helpers that are missing; outside of a stop */
bool oaki_others_hungry(void);
size_t oaki_mark_stack_bytes(void);
void oaki_mark_release(void);               /* after a mark: give chunk memory beyond a little back */

/* ---- mark.c ---- */

void oaki_mark_local(oak_marker *m);        /* until this worker's own queues are empty */
void oaki_mark_scan(oak_marker *m, const char *lo, const char *hi);
void oaki_mark_rescan(oak_marker *m);       /* scan every marked object again: after an overflow */

/* World stopped, from a stack or register: the word itself, and the object before it if it is an object's start. */
void oaki_mark_ambiguous(oak_marker *m, uintptr_t word);

#endif
