/* guard.h - the debug mode that finds writes past either end of an object and writes after its
 * deallocation: OAKUM_DEBUG=guard, `oakum run --check` (docs/guard.md).
 *
 * Chosen at the start, and costs nothing where it is off: it hangs on slow paths, which all objects
 * of guarded spans take. Objects have no header. What is asked for is OAKI_GUARD_GAP bytes less
 * than the slot has at least, and all behind it is filled with a pattern that is no address. In a
 * small span the last OAKI_GUARD_GAP bytes of each slot always have that pattern, and the first
 * slot is never handed out: so there is a gap in front of each object as well. A large object has a
 * page in front of it. With `guard=page` it has one behind it, too, that may not be touched: it
 * ends there, but for less than its alignment, and begins oaki_span.shift bytes into its pages.
 *
 * What is freed by hand is filled with another pattern and waits in a queue, bounded in bytes; it
 * is looked at before its slot is used again. Objects that a sweep finds dead are looked at, too;
 * all are at each collection.
 *
 * A record, beside the heap, has an object's size, thread, and stacks as numbers.
 * Owns: oaki_guard. Lock: OAKI_RANK_GUARD for records and queue, OAKI_RANK_LEAVING above it for
 * what leaves the queue. */
#ifndef OAKI_GUARD_H
#define OAKI_GUARD_H

#include "span.h"

#define OAKI_GUARD_GAP ((size_t)16)
#define OAKI_GUARD_PATTERN 0xfd /* of a gap: no byte of an address in user space */
#define OAKI_GUARD_QUEUE ((size_t)32 << 20) /* bytes of the heap that freed objects take */

/* oaki_span.guarded */
enum { OAKI_GUARDED = 1, OAKI_GUARDED_HEAD = 2, OAKI_GUARDED_TAIL = 4 };

typedef enum oaki_guard_error {
    OAKI_GUARD_END,     /* written past the end */
    OAKI_GUARD_START,   /* written before the start */
    OAKI_GUARD_WRITTEN, /* written after it was freed */
    OAKI_GUARD_TOUCHED, /* the page behind it was touched */
    OAKI_GUARD_FREED,   /* freed again, or resized when freed */
    OAKI_GUARD_INSIDE,  /* freed or resized by a pointer into it */
    OAKI_GUARD_SIZED,   /* freed with a size that it doesn't have */
    OAKI_GUARD_REPLACED /* got a second finalizer by a call that doesn't ask for the first */
} oaki_guard_error;

#define OAKI_GUARD_NEAR ((size_t)32)

typedef struct oaki_guard_finding {
    oaki_guard_error error;
    const char *call;      /* that has found it: "free", "a collection" */
    const char *object;
    size_t size;           /* that was asked for */
    ptrdiff_t at;          /* first bad byte, from the object's start */
    size_t told;           /* SIZED: what the caller says */
    uint32_t site, freed_site;
    int tid, freed_tid;    /* freed_tid 0: it is live */
    size_t nnear;
    unsigned char near[OAKI_GUARD_NEAR]; /* bytes from the bad one on */
} oaki_guard_finding;

typedef struct oaki_guard_mode {
    bool on, page, go_on;
    /* The calling thread's stack, as a number; outside of oaki_enter. Keeps errno. */
    uint32_t (*site)(void);
    /* Outside of oaki_enter; returns where it is to go on. */
    void (*report)(const oaki_guard_finding *f);
} oaki_guard_mode;

extern OAKI_HIDDEN oaki_guard_mode oaki_guard;

/* From now on, with the switches of OAKUM_DEBUG=guard. By one thread. */
void oaki_guard_start(uint32_t (*site)(void), void (*report)(const oaki_guard_finding *f));

/* ---- allocating; outside of oaki_enter ---- */

/* As oaki_alloc_kind, guarded. */
void *oaki_guard_alloc(size_t n, size_t align, oaki_kind kind, uint32_t type);
/* Bytes that were asked for, where p is the start of a guarded object, freed ones included; else
 * false. Any thread, any state. */
bool oaki_guard_size(const void *p, size_t *out);
/* Is p the start of a freed object that waits in the queue? Likewise. */
bool oaki_guard_is_freed(const void *p);
/* The same for the collector, at work on a guarded span; else the slot's size. */
size_t oaki_guard_asked(const oaki_span *s, const void *p);
/* p is about to be resized or freed by `call`, perhaps with a size (else SIZE_MAX): a finding when
 * it may not be. Whether it is no live object, which is told, and the call is to do nothing. Any
 * thread, any state: inside of oaki_enter it is told later. */
bool oaki_guard_look(const void *p, size_t told, const char *call);
/* Something is wrong with the object that begins at p, as `call` knows. */
void oaki_guard_note(const void *p, oaki_guard_error error, const char *call);
/* What has been found meanwhile is reported. */
void oaki_guard_tell(void);
size_t oaki_guard_found(void); /* how many there were */
size_t oaki_guard_waiting(void); /* bytes in the queue; any thread, any state */
/* Look at all objects, and report. */
void oaki_guard_check(const char *call);

/* ---- inside oaki_enter ---- */

/* An object of a guarded span is freed by hand: true, it is in the queue. keep: it can't wait. */
bool oaki_guard_freed(void *p, bool keep, uint32_t site);
/* Around oaki_guard_leave and until what has left is free, and around what frees a span of a dead
 * zone. Nothing where the guard is off. */
void oaki_guard_leave_begin(void);
void oaki_guard_leave_end(void);
/* The eldest of the queue, at most `most`, until no more than `stay` bytes wait: the caller frees
 * them for good. How many; 0: no more have to go. */
size_t oaki_guard_leave(size_t stay, void **out, size_t most);
void oaki_guard_look_at_all(const char *call);
/* The span is about to be swept: what has died is looked at, and forgotten. */
void oaki_guard_sweep(const oaki_span *s);
/* The same of a span of a dead zone, which is about to go, with all that is in it. */
void oaki_guard_drop(const oaki_span *s);
/* A new small span's gaps; a new large one's page in front. */
void oaki_guard_fill(oaki_span *s);
/* M is final: what waits in the queue is kept. */
void oaki_guard_mark(void);
/* In a stop, or an image: is the object that begins there in the queue? */
bool oaki_guard_waits(size_t off);
/* The address lies in the page behind a large object, which has been touched: its finding. */
bool oaki_guard_touched(const void *address, oaki_guard_finding *out);
/* A large span is about to go: its neighbours may be touched again, and go with it. */
void oaki_guard_release(oaki_span *s);

/* Pages of a large object of a guarded zone beside its own: in front, and behind. */
OAKI_INLINE size_t oaki_guard_head(size_t align) { return align <= OAKI_PAGE; }
OAKI_INLINE size_t oaki_guard_tail(void) { return oaki_guard.page; }

/* ---- guardspan.c, for guard.c ---- */

/* Bytes of the heap that the object takes: with its part of what its span can't hand out. */
size_t oaki_guard_cost(size_t off);
/* Bytes in front of an object of the span that have the pattern: of the slot before, or a page. */
size_t oaki_guard_front(const oaki_span *s);

#endif
