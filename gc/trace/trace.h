/* trace.h - the marker's worker, its queues, and the inline paths that its files share.
 *
 * A word that points into the range goes into a queue, unless it is one of many side by side
 * (sift.h). In batches, the words whose bit in M is clear are picked out, their bits prefetched a
 * batch ahead; the objects that they lead to are marked, prefetched and put into a delay line; what
 * comes out of it is scanned, and its words go into the queue. So cache misses overlap, on bits and
 * on objects (Cher, Hosking and Vitek, 2004), and objects that are marked already are not touched.
 * Where small objects lie in the order in which they are reached, the newest words are taken
 * instead, a few at a time: depth first.
 *
 * A queue that fills spills its newest words to the worker's stack, from where they come back when
 * it runs low: breadth first in the small, depth first in the large. A stack is a list of chunks;
 * full chunks are offered to the others. Large objects and root ranges wait as ranges that all
 * workers eat from.
 *
 * Owns: struct oak_marker, one for each worker; nobody else touches it in a mark. What is shared
 * is in workers.c. */
#ifndef OAKI_TRACE_H
#define OAKI_TRACE_H

#include "gc/gc.h"
#include "gc/host.h"
#include "runtime/os.h"

#define OAKI_QUEUE 1024       /* words */
#define OAKI_QUEUE_HIGH 256   /* above it, some go to the stack */
#define OAKI_LINE 128         /* objects; a power of two */
#define OAKI_DELAY 16         /* objects marked before an object is scanned */
#define OAKI_LINE_WORDS_BITS 8 /* of an entry: words to scan, or 0: special; above, the offset */
#define OAKI_SPARSE 16        /* words that lead nowhere take as long as one that is followed */
#define OAKI_PATIENCE 16      /* rounds of batches before depth first is tried again, at first */
#define OAKI_SEGMENT_ENTRIES 1022 /* a chunk is 8 KiB */
#define OAKI_WORKERS_MAX 64

typedef struct oaki_mark_segment {
    struct oaki_mark_segment *next;
    size_t n;
    size_t entry[OAKI_SEGMENT_ENTRIES]; /* offsets in the range, any, below its used size */
} oaki_mark_segment;

struct oak_marker {
    oaki_mark_segment *top;     /* being filled and emptied */
    oaki_mark_segment *full;    /* behind it, all full */
    size_t queue[OAKI_QUEUE]; /* offsets in the range */
    unsigned head, tail;      /* of the queue: words lie in [head, tail) */
    const char *range_lo, *range_hi; /* being scanned: a piece of a range, or an object */
    bool range_typed;         /* whose type's bitmap tells */
    uint64_t line[OAKI_LINE]; /* marked, prefetched, and not scanned yet */
    unsigned first, last;     /* of the line, as head and tail */
    /* What is marked lies in order: depth first. Of the words that were looked at since the last
     * verdict, those that were not in order; rounds until it is tried again, and the next time. */
    bool in_order;
    unsigned looked, stray, rest, patience;
    bool shared_bits;         /* others change M too: it is changed atomically */
    bool beside;              /* the program runs meanwhile (quantum.c) */
    /* the object of several pages that a function has marked last, and the batch of written pages
     * that it was for: it need not be marked again for the others of them */
    size_t whole, batch;
    /* The large object that was met last, which is marked; none while the program runs, and none
     * from one call of oaki_trace_local to the next: it might be freed, and its pages taken anew.
     * */
    size_t large, large_size;
    bool looks;               /* the last stop's looks have begun, and in them, */
    size_t again;             /* so many words on written pages were looked at again */
    bool heavy;               /* an object was scanned at one go that is large for that */
    size_t left;              /* bytes on them that were left to all workers, so far */
    AO_t until;               /* `scanned` at which a piece of a mark is over; else SIZE_MAX. Of a
                               * helper, set to 0 by worker 0 at the end of a piece. */
    const unsigned int *stop; /* AO_int: a piece is over as well once that is set; or NULL */
    uint64_t end_ns;          /* and at this time; 0: whenever */
    bool soon;                /* the time is asked for after few words: somebody waits */
    uintptr_t base;           /* of the range, and its size in use: at hand */
    size_t used;
    size_t bytes;             /* marked by this worker */
    size_t scanned;           /* words looked at, about */
    unsigned id;
    unsigned drain;           /* of a helper: the last one before it was started */
    /* not NULL: it is no worker, and only notes what is marked; empties `top` (edges.c) */
    void (*record)(struct oak_marker *m);
} __attribute__((aligned(128)));

/* ---- workers.c ---- */

int oaki_workers_init(void);
oak_marker *oaki_worker(unsigned id);
void oaki_workers_begin(void);              /* of a mark: workers are empty, counts zero */
size_t oaki_workers_bytes(void);            /* marked by all of them */
size_t oaki_workers_scanned(void);          /* words looked at by all of them, about */
/* What waits is forgotten: a mark begins anew. */
void oaki_workers_discard(void);
/* Do all mark beside the program from here on? */
void oaki_workers_concurrent(bool beside);
/* Helpers for a piece of a mark beside the program, which leaves so many processors of its own. */
unsigned oaki_workers_helping(unsigned spare);
uint64_t oaki_workers_helped(void);         /* ns of processors that helpers have used so far */
/* get work from the others: a chunk becomes top, or a range is scanned. false: there is none */
bool oaki_worklist_steal(oak_marker *m);
/* top is full or missing: a new top, the old one behind it or given to who is hungry */
void oaki_worklist_donate(oak_marker *m);
/* an object was marked that nobody will scan: go over all of them again */
void oaki_overflow_note(void);
void oaki_worklist_share(oak_marker *m);        /* somebody is hungry: give some away */
/* The drain that follows looks at what was written below `end` (protect.h). */
void oaki_workers_rescan_begin(size_t end);
size_t oaki_workers_rescan_words(void);              /* looked at in this way */
void oaki_workers_rescan_finish(void);               /* now, if they are not over */
unsigned oaki_workers_count(void);
/* start the helpers that are missing */
void oaki_workers_spawn(unsigned processors);
/* The rule that is broken of all that waits to be marked, or NULL. No helper is at work. */
const char *oaki_worklist_check(void);
bool oaki_workers_idle(void);
size_t oaki_mark_stack_bytes(void);
/* After a mark: all chunks are free. */
void oaki_mark_release(void);

/* ---- ranges.c ---- */

typedef struct oaki_range {
    const char *lo, *hi;
    bool typed; /* of an object whose type's bitmap tells */
} oaki_range;

int oaki_ranges_init(void);
/* false: there is no memory, scan it yourself */
bool oaki_ranges_add(const char *lo, const char *hi, bool typed);
bool oaki_ranges_take(oaki_range *out);     /* a piece of one. false: there is none */
bool oaki_ranges_any(void);
size_t oaki_ranges_mapped(void);            /* bytes of a table from the system */
void oaki_ranges_forget(void);
void oaki_ranges_trim(void);
const char *oaki_ranges_check(void);        /* the rule that is broken, or NULL */
void oaki_ranges_after_fork(void);

/* ---- rootmark.c ---- */

typedef struct oaki_marked_roots {
    bool in_flight; /* the mark keeps slots that a fast path may have in its hands */
    size_t bytes;   /* scanned: all, */
    size_t stacks, data;
} oaki_marked_roots;

extern OAKI_HIDDEN oaki_marked_roots oaki_roots_marked; /* by the current mark */

/* What the roots refer to is marked, or queued. whole: and what tables keep, as the mark is in this
 * stop. */
void oaki_roots_mark(bool whole);
/* In the midst of a mark beside the program: what the roots refer to is queued. */
void oaki_roots_queue(void);

/* ---- roots.c ---- */

/* What is pinned and not marked is queued. */
void oaki_pinned_mark(void);

/* ---- segment.c ---- */

void oaki_segments_after_fork(void);
oaki_mark_segment *oaki_segment_new(void);      /* empty; NULL: there is no memory */
void oaki_segment_free(oaki_mark_segment *c);
void oaki_segments_release(void);             /* all are free; no worker has any */
size_t oaki_segments_mapped(void);            /* bytes */
/* Memory beyond a little goes back to the system. */
void oaki_mark_trim(void);
/* So many chunks are workers', or given away. The rule that is broken, or NULL. */
const char *oaki_chunks_check(size_t held);

/* ---- trace.c ---- */

void oaki_mark_init(void);                  /* size classes are known */
/* until this worker's own queues are empty, or m->until is reached */
void oaki_trace_local(oak_marker *m);
/* About so many words' worth of marking by worker 0, the caller, alone. Is there more? */
bool oaki_trace_some(oak_marker *m, size_t words);
/* As much as it and so many helpers do in this time. Is there more? */
bool oaki_trace_together(oak_marker *m, uint64_t ns, unsigned helpers);
/* The words in [lo, hi) of the object at offset `slot`, which is marked, are looked at again, or
 * all of it where a function marks it. */
void oaki_rescan_part(oak_marker *m, size_t slot, size_t size, size_t lo, size_t hi);
/* The same for all marked objects on the pages of [from, to), offsets in the range; ctx is the
 * marker. (rescan.c) */
void oaki_rescan_pages(size_t from, size_t to, void *ctx);
/* Objects that are marked and were left out beside the program, as their functions want the world
 * to stand. */
void oaki_mark_left_out(oak_marker *m);
bool oaki_mark_leaves_out(void); /* is there a type of such objects? */
/* Of the spans that begin on pages from *page to before end, until that time has come; *page is
 * where it ended. */
void oaki_mark_left_out_until(oak_marker *m, size_t *page, size_t end, uint64_t ns);
void oaki_trace_range(oak_marker *m, const char *lo, const char *hi);
/* The same, where most words lead to marked objects; whole words. (rescan.c) */
void oaki_trace_sift(oak_marker *m, const uintptr_t *p, const uintptr_t *end);
/* object.c: queue what the object that begins at p refers to, as its kind and type say;
 * or make it the worker's range: the caller sees to that it is scanned */
void oaki_trace_object(oak_marker *m, char *p);
/* deferred_free.c: no mark function is called for what the program has given up */
bool oaki_deferred_may_call(const oaki_span *s, const void *obj);
/* have ready what that takes for the small object whose slot is there */
void oaki_trace_prefetch(size_t slot);
/* [lo, hi), whole words, of the marker's range */
void oaki_trace_words(oak_marker *m, const char *lo, const char *hi);
/* a piece, in the loop */
void oaki_trace_range_later(oak_marker *m, const char *lo, const char *hi, bool typed);
/* mark the object there, if any, without scanning it: the stack has overflowed */
void oaki_overflow_mark(oak_marker *m, size_t off);
/* mark the object at this offset, a slot's start, without scanning it. false: it was marked */
bool oaki_mark_alone(oak_marker *m, size_t slot);
void oaki_overflow_rescan(oak_marker *m); /* scan every marked object again: after an overflow */

/* From a stack or register: the word itself, and the object before it if it is an
 * object's start. */
void oaki_mark_ambiguous(oak_marker *m, uintptr_t word);

/* A piece is over for this worker. */
OAKI_INLINE bool oaki_trace_is_over(const oak_marker *m)
{
    return m->scanned >= AO_load(&m->until) || (m->stop && AO_int_load(m->stop)) ||
           (m->end_ns && oaki_os_now_ns() >= m->end_ns);
}

/* Does offset `off` lead into the large object that was met last? Many words may, as of a table
 * into an array; and each would cost a way through the queue. */
OAKI_INLINE bool oaki_mark_in_large(const oak_marker *m, size_t off)
{
    return off - m->large < m->large_size;
}

OAKI_INLINE size_t oaki_line_slot(uint64_t entry)
{
    return entry >> OAKI_LINE_WORDS_BITS;
}

/* ---- one word more for the queue (push.c) ---- */

void oaki_mark_push_slowly(oak_marker *m, uintptr_t word); /* trace.c */

OAKI_INLINE void oaki_mark_push(oak_marker *m, uintptr_t word)
{
    size_t off = word - m->base;
    if (off >= m->used) return;
    if (OAKI_LIKELY(m->tail - m->head < OAKI_QUEUE_HIGH && m->tail < OAKI_QUEUE - 1))
        m->queue[m->tail++] = off;
    else
        oaki_mark_push_slowly(m, word);
}

/* ---- which pointers into an object count (host.h); changed under gc_lock or at start-up ---- */

typedef struct oaki_mark_rule {
    bool strict;
    uint64_t allowed[OAKI_DISPLACEMENTS / 64]; /* bit 0 is set */
} oaki_mark_rule;

extern OAKI_HIDDEN oaki_mark_rule oaki_displacements;

bool oaki_mark_counts_strictly(size_t off);

/* Does a word of an object, of data or of a registered range that leads to offset off < used count
 * as a reference? When it leads to no object, the answer means nothing. */
OAKI_INLINE bool oaki_mark_counts(size_t off)
{
    return OAKI_LIKELY(!oaki_displacements.strict) || oaki_mark_counts_strictly(off);
}

#endif
