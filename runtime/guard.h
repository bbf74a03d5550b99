/* guard.h - the debug mode that finds writes past either end of an object and writes to freed
 * objects: OAKUM_DEBUG=guard, `oakum run --check` (docs/guard.md).
 *
 * Chosen at start-up. It costs nothing where it is off: its hooks are on slow paths, which all
 * objects of guarded spans take. Objects have no header. An object's slot is at least
 * OAKI_GUARD_GAP bytes larger than the requested size. The bytes behind the object are filled with
 * a pattern that is not an address.
 *
 * In a small span, the last OAKI_GUARD_GAP bytes of each slot always have that pattern. The first
 * slot is never handed out, so there is a gap in front of each object as well. A large object has a
 * guard page in front of it. With `guard=page` it also has an inaccessible page behind it, as long
 * as there are mappings for that. The object then ends at that page, up to its alignment, and
 * begins oaki_span.shift bytes into its pages.
 *
 * An object freed by hand is filled with another pattern and waits in a queue, bounded in bytes. It
 * is checked before its slot is used again. Objects found dead by a sweep are checked too; all are
 * checked at each collection.
 *
 * A record outside the heap holds an object's size, thread, and stacks as numbers. Spans from
 * before the guard's start have no gaps: none of their free slots is handed out again.
 * Owns: oaki_guard. Lock: oaki_guard_lock for records, queue and findings; OAKI_RANK_LEAVING above
 * it for objects that leave the queue. */
#ifndef OAKI_GUARD_H
#define OAKI_GUARD_H

#include "lock.h"
#include "span.h"

#define OAKI_GUARD_GAP ((size_t)16)
#define OAKI_GUARD_PATTERN 0xfd /* of a gap: not in any user-space address */
#define OAKI_GUARD_QUEUE ((size_t)32 << 20) /* bytes of heap held by freed objects */

/* oaki_span.guarded */
enum { OAKI_GUARDED = 1, OAKI_GUARDED_HEAD = 2, OAKI_GUARDED_TAIL = 4 };

typedef enum oaki_guard_error {
    OAKI_GUARD_END,     /* written past the end */
    OAKI_GUARD_START,   /* written before the start */
    OAKI_GUARD_WRITTEN, /* written after it was freed */
    OAKI_GUARD_TOUCHED, /* the page behind the object was touched */
    OAKI_GUARD_FREED,   /* freed again, or resized when freed */
    OAKI_GUARD_INSIDE,  /* freed or resized by an interior pointer */
    OAKI_GUARD_SIZED,   /* freed with a size other than its own */
    OAKI_GUARD_REPLACED, /* got a second finalizer by a call that ignores the first */
    OAKI_GUARD_WILD     /* freed or resized, and not an object at all; `object` is the pointer */
} oaki_guard_error;

#define OAKI_GUARD_NEAR ((size_t)32)

typedef struct oaki_guard_finding {
    oaki_guard_error error;
    const char *call;      /* that found it: "free", "a collection" */
    const char *why;       /* WILD: what the pointer is */
    int finder;            /* the thread whose call that was, or -1; 0: of none */
    const char *object;
    size_t size;           /* as requested */
    ptrdiff_t at;          /* first bad byte, from the object's start */
    size_t given;          /* SIZED: the size given by the caller */
    uint32_t site, freed_site;
    int tid, freed_tid;    /* freed_tid 0: the object is live */
    size_t nnear;
    unsigned char near[OAKI_GUARD_NEAR]; /* bytes from the bad one on */
} oaki_guard_finding;

typedef struct oaki_guard_mode {
    bool on, page, go_on;
    size_t pages_most; /* pages behind objects; beyond that, objects end in a gap */
    /* The calling thread's stack, as a number; outside oaki_enter. Keeps errno. */
    uint32_t (*site)(void);
    /* Outside oaki_enter; returns if the program is to go on. */
    void (*report)(const oaki_guard_finding *f);
} oaki_guard_mode;

extern OAKI_HIDDEN oaki_guard_mode oaki_guard;

/* Turns the guard on, with the switches of OAKUM_DEBUG=guard. By one thread. */
/* Outside oaki_enter. false: there is no memory for it. */
bool oaki_guard_start(uint32_t (*site)(void), void (*report)(const oaki_guard_finding *f));

/* ---- allocating; outside oaki_enter ---- */

/* Like oaki_alloc_kind, guarded. */
void *oaki_guard_alloc(size_t n, size_t align, oaki_kind kind, uint32_t type);
/* The requested size, if p is the start of a guarded object, freed ones included; otherwise false.
 * Any thread, any state. */
bool oaki_guard_size(const void *p, size_t *out);
/* Is p the start of a freed object in the queue? Any thread, any state. */
bool oaki_guard_is_freed(const void *p);
/* The requested size, for the collector at work on a guarded span; for other spans the slot's
 * size. */
size_t oaki_guard_asked(const oaki_span *s, const void *p);
/* p is about to be resized or freed by `call`, with a size or SIZE_MAX. Notes an error if the call
 * is wrong. Returns true if p is no live object: that is reported, and the call must do nothing.
 * Any thread, any state: inside oaki_enter the report comes later. */
bool oaki_guard_examine(const void *p, size_t given, const char *call);
/* Notes an error of the object that begins at p, detected by `call`. */
void oaki_guard_note(const void *p, oaki_guard_error error, const char *call);
/* p, about to be freed or resized by `call`, is no object, for the reason given. Reports it, and
 * returns true if the call must do nothing; false: the guard is off, or can't report here. Any
 * thread, any state; outside oaki_enter it is always reported. */
bool oaki_guard_wild(const void *p, const char *call, const char *why);
/* Reports the errors noted so far, but for those found at other threads' calls. */
void oaki_guard_report(void);
size_t oaki_guard_found(void); /* number of errors */
size_t oaki_guard_waiting(void); /* bytes in the queue; any thread, any state */
/* Checks all objects, and reports. */
void oaki_guard_check(const char *call);

/* ---- inside oaki_enter ---- */

/* An object of a guarded span is freed by hand. Returns true if it is in the queue now. keep: it
 * must not wait there. */
bool oaki_guard_freed(void *p, bool keep, uint32_t site);
/* Bracket oaki_guard_leave until the objects it returned are free. They also bracket the free of a
 * span of a dead zone. They do nothing where the guard is off. */
void oaki_guard_leave_begin(void);
void oaki_guard_leave_end(void);
/* Takes the oldest objects off the queue, at most `most`, until no more than `stay` bytes wait. The
 * caller frees them for good. Returns how many; 0: no more have to leave. */
size_t oaki_guard_leave(size_t stay, void **out, size_t most);
/* false: more errors than can be noted were found; another look finds the rest. */
bool oaki_guard_check_all(const char *call);
/* The span is about to be swept: checks the objects that have died, and drops their records. */
void oaki_guard_sweep(const oaki_span *s);
/* The same for a span of a dead zone, which is about to go with all its objects. */
void oaki_guard_drop(const oaki_span *s);
/* Fills a new small span's gaps, or the page in front of a new large object, and closes the page
 * behind it. false: the system has no mapping for that; the page behind is gone. */
bool oaki_guard_fill(oaki_span *s);
/* M is final: keeps the objects in the queue. */
void oaki_guard_mark(void);
/* In a stop, or in the fork's child of an image: is the object that begins there in the queue? */
bool oaki_guard_waits(size_t off);
/* The address lies in the page behind a large object, and was touched: returns the error. */
bool oaki_guard_touched(const void *address, oaki_guard_finding *out);
/* A large span is about to go: its guard pages become accessible again, and go with it. */
void oaki_guard_release(oaki_span *s);

/* Guard pages of a large object in a guarded zone: in front, and behind. */
OAKI_INLINE size_t oaki_guard_head(size_t align) { return align <= OAKI_PAGE; }
size_t oaki_guard_tail(void);
size_t oaki_guard_pages_most(void); /* as many as this process may close */

/* ---- guardfound.c, for guard.c ---- */

extern OAKI_HIDDEN oaki_lock oaki_guard_lock;

bool oaki_guard_found_start(void); /* false: no memory */
void oaki_guard_found_count(void);
/* Notes an error, to be reported later. false: too many wait. */
bool oaki_guard_found_note(const oaki_guard_finding *f);

/* ---- guardspan.c, for guard.c ---- */

/* Bytes of heap taken by the object, with its share of the bytes that its span can't hand out. */
size_t oaki_guard_cost(size_t off);
/* Bytes with the pattern in front of an object of the span: of the slot before, or a page. */
size_t oaki_guard_front(const oaki_span *s);

#endif
