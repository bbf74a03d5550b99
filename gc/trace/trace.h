/* trace.h - a worker of the marker, its worklist, and the inline paths that the marker's files
 * share.
 *
 * A word that points into the range enters the worker's queue. Runs of words are first sifted
 * (sift.h). The loop takes words in batches and keeps those whose bit in M is clear; the bits
 * are prefetched one batch ahead. The objects that these words lead to are marked, prefetched
 * and put into a delay line. An object that leaves the delay line is scanned, and its words
 * enter the queue. So cache misses on bits and on objects overlap (Cher, Hosking and Vitek,
 * 2004), and marked objects are not touched. Where small objects lie in the order in which they
 * are reached, the loop goes depth first. It takes the newest words, a few at a time.
 *
 * A queue that fills spills its newest words to the worker's mark stack, and refills from there
 * when it runs low. The order is breadth first in the small, depth first in the large. A stack
 * is a list of segments; full segments are donated. Large objects and root ranges wait as
 * ranges, which all workers take parts of.
 *
 * Owns: struct oak_marker, one for each worker; during a mark only that worker touches it. State
 * that workers share is in workers.c. */
#ifndef OAKI_TRACE_H
#define OAKI_TRACE_H

#include "gc/gc.h"
#include "gc/host.h"
#include "gc/tuning.h"
#include "tuning.h"
#include "runtime/os.h"
#include "runtime/tags.h"

#define OAKI_QUEUE 1024        /* words */
#define OAKI_LINE 128          /* objects; a power of two */
#define OAKI_LINE_WORDS_BITS 8 /* of an entry: words to scan, 0: special; above them, the offset */
#define OAKI_SEGMENT_ENTRIES 1022 /* a segment is 8 KiB */
#define OAKI_WORKERS_MAX 64

typedef struct oaki_mark_segment {
    struct oaki_mark_segment *next;
    size_t n;
    /* offsets in the range, below its used size, of any words */
    size_t entry[OAKI_SEGMENT_ENTRIES];
} oaki_mark_segment;

struct oak_marker {
    oaki_mark_segment *top;          /* being filled and emptied */
    oaki_mark_segment *full;         /* below it, all full */
    size_t queue[OAKI_QUEUE];        /* offsets in the range */
    unsigned head, tail;             /* of the queue: words lie in [head, tail) */
    const char *range_lo, *range_hi; /* a range or object whose scan is under way */
    bool range_typed;                /* scanned by its type's bitmap or function */
    uint64_t line[OAKI_LINE];        /* marked, prefetched, and not scanned yet */
    unsigned first, last;            /* of the line, as head and tail */
    /* in_order: marked objects lie in memory order, so the loop goes depth first. looked, stray:
     * words since the last decision, and those of them out of order. rest: rounds until depth
     * first is tried again; patience: the value that rest gets next. */
    bool in_order;
    unsigned looked, stray, rest, patience;
    bool shared_bits; /* other threads change M too: bits are set atomically */
    bool concurrent;  /* mutators run during the mark (quantum.c) */
    /* whole: the object of several pages that a mark function has marked last. batch: the batch
     * of dirty pages that this was for. The object's other pages in the batch need no second
     * call. */
    size_t whole, batch;
    /* The large object met last, which is marked. There is none while mutators run, and none is
     * kept between calls of oaki_trace_local: it could be freed, and its pages reused. */
    size_t large, large_size;
    bool rescans;     /* the rescans of the final pause have begun */
    size_t rescanned; /* words on dirty pages rescanned in them */
    bool heavy;       /* an object was scanned at once that is large for that */
    size_t left;      /* bytes on dirty pages that were left to all workers, so far */
    /* value of `scanned` that ends a quantum, or SIZE_MAX. Worker 0 sets a helper's to 0 at the
     * end of a quantum. */
    AO_t until;
    const unsigned int *stop; /* AO_int that also ends a quantum once it is set; or NULL */
    uint64_t end_ns;          /* time that also ends it; 0: none */
    bool soon;                /* the time is checked every few words: a thread waits */
    uintptr_t base;           /* of the range, and its size in use: copies at hand */
    size_t used;
    size_t bytes;   /* marked by this worker */
    size_t scanned; /* words scanned, approximately */
    size_t redone;  /* bytes on dirty pages rescanned by it, or left by it to all workers */
    unsigned id;
    unsigned drain; /* of a helper: the last drain before it was started */
    /* If not NULL, this is no worker: it only records marked objects, and empties `top`
     * (edges.c). */
    void (*record)(void *ctx, struct oak_marker *m);
    void *record_ctx;
} __attribute__((aligned(128)));

/* ---- workers.c ---- */

int oaki_workers_init(void);
void oaki_workers_reset(void);              /* in the child of a fork */
oak_marker *oaki_worker(unsigned id);
void oaki_workers_begin(void);     /* starts a mark: workers are empty, counts are zero */
size_t oaki_workers_bytes(void);   /* marked by all workers */
size_t oaki_workers_scanned(void); /* words scanned by all workers, approximately */
/* Drops all pending work; the mark starts again. */
void oaki_workers_discard(void);
/* Do all workers mark concurrently from here on? */
void oaki_workers_concurrent(bool concurrent);
/* Number of helpers for a quantum of a concurrent mark; spare: more processors that mutators
 * leave. */
unsigned oaki_workers_helping(unsigned spare);
/* Gets work from the other workers: a segment becomes top, or a range is scanned. false: there
 * is none. */
bool oaki_worklist_steal(oak_marker *m);
/* top is full or missing: makes a new top. The old one goes below it, or to an idle worker. */
void oaki_worklist_donate(oak_marker *m);
/* an object is marked that no worker will scan: the drain scans all marked objects again */
void oaki_overflow_note(void);
void oaki_worklist_share(oak_marker *m); /* some worker is idle: donates work */
/* The next drain rescans the dirty pages below `end` (protect.h). */
void oaki_workers_rescan_begin(size_t end);
size_t oaki_workers_rescan_words(void); /* words rescanned so far */
void oaki_workers_rescan_finish(void);  /* completes the rescan now, if work is left */
unsigned oaki_workers_count(void);
/* starts the missing helpers */
void oaki_workers_spawn(unsigned processors);
/* The rule that the worklist breaks, or NULL. No helper is at work. */
const char *oaki_worklist_check(void);
bool oaki_workers_idle(void);
size_t oaki_mark_stack_bytes(void);
/* After a mark: frees all segments. */
void oaki_mark_release(void);

/* ---- ranges.c ---- */

typedef struct oaki_range {
    const char *lo, *hi;
    bool typed; /* of an object that its type says how to scan */
} oaki_range;

int oaki_ranges_init(void);
/* false: there is no memory, so the caller scans it */
bool oaki_ranges_add(const char *lo, const char *hi, bool typed);
bool oaki_ranges_take(oaki_range *out); /* takes a part of a range. false: there is none */
bool oaki_ranges_any(void);
size_t oaki_ranges_mapped(void); /* bytes of a table that the system has given */
void oaki_ranges_forget(void);
void oaki_ranges_trim(void);
const char *oaki_ranges_check(void); /* the rule that is broken, or NULL */
void oaki_ranges_after_fork(void);

/* ---- rootmark.c ---- */


/* Marks or queues the objects that the roots refer to. whole: also those that tables keep, as
 * the whole mark is in this pause. */
void oaki_roots_mark(bool whole);
/* During a concurrent mark: queues the objects that the roots refer to. */
void oaki_roots_queue(void);

/* ---- roots.c ---- */

/* Queues pinned objects that are not marked. */
void oaki_pinned_mark(void);

/* ---- segment.c ---- */

void oaki_segments_after_fork(void);
oaki_mark_segment *oaki_segment_new(void); /* empty; NULL: there is no memory */
void oaki_segment_free(oaki_mark_segment *c);
void oaki_segments_release(void);  /* frees all; no worker has any */
size_t oaki_segments_mapped(void); /* bytes */
/* Returns memory beyond a small reserve to the system. */
void oaki_mark_trim(void);
/* The rule that is broken, or NULL, given that workers and the donated list hold `held`
 * segments. */
const char *oaki_segments_check(size_t held);

/* ---- trace.c ---- */

void oaki_mark_init(void); /* once size classes are known */
/* until this worker's own worklist is empty, or m->until is reached */
void oaki_trace_local(oak_marker *m);
/* Worker 0, the caller, marks about `words` words alone. Is there more? */
bool oaki_trace_some(oak_marker *m, size_t words);
/* Worker 0 and `helpers` helpers mark for `ns`. Is there more? */
bool oaki_trace_together(oak_marker *m, uint64_t ns, unsigned helpers);
/* Rescans the words in [lo, hi) of the marked object at offset `slot`; all of it if a mark
 * function marks it. */
void oaki_rescan_part(oak_marker *m, size_t slot, size_t size, size_t lo, size_t hi);
void oaki_rescan_part_tagged(oak_marker *m, size_t slot, size_t size, size_t lo, size_t hi);
OAKI_INLINE void oaki_rescan_part_as(oak_marker *m, size_t slot, size_t size, size_t lo, size_t hi,
                                     bool tagged)
{
    if (tagged) oaki_rescan_part_tagged(m, slot, size, lo, hi);
    else oaki_rescan_part(m, slot, size, lo, hi);
}
/* Rescans all marked objects on the pages of [from, to), offsets in the range; ctx is the
 * marker. (rescan.c) */
void oaki_rescan_pages(size_t from, size_t to, void *ctx);
size_t oaki_rescan_bytes(void); /* rescanned so in this mark, by all workers */
/* Traces marked objects that concurrent marking has left out, as their mark functions need a
 * stopped world. */
void oaki_mark_left_out(oak_marker *m);
bool oaki_mark_leaves_out(void); /* is there a type of such objects? */
/* The same for the spans that begin on pages from *page to before end, until time `ns`; sets
 * *page to where it ended. */
void oaki_mark_left_out_until(oak_marker *m, size_t *page, size_t end, uint64_t ns);
void oaki_trace_range(oak_marker *m, const char *lo, const char *hi);
/* As oaki_trace_range, where most words lead to marked objects; whole words. (rescan.c) */
void oaki_trace_sift(oak_marker *m, const uintptr_t *p, const uintptr_t *end);
void oaki_trace_sift_tagged(oak_marker *m, const uintptr_t *p, const uintptr_t *end);
OAKI_INLINE void oaki_trace_sift_as(oak_marker *m, const uintptr_t *p, const uintptr_t *end,
                                    bool tagged)
{
    if (tagged) oaki_trace_sift_tagged(m, p, end);
    else oaki_trace_sift(m, p, end);
}
/* object.c: queues the words of the object that begins at p, as its kind and type say. Or makes
 * the object the worker's range; then the caller ensures that it is scanned. */
void oaki_trace_object(oak_marker *m, char *p);
void oaki_trace_object_tagged(oak_marker *m, char *p); /* the same, where words may have tags */
void oaki_trace_noted(oak_marker *m, char *p);         /* one or the other, by the tags */
/* deferred_free.c: no mark function is called for an object that the program has freed */
bool oaki_deferred_may_call(const oaki_span *s, const void *obj);
/* prefetches the data that tracing the small object at this slot needs */
void oaki_trace_prefetch(size_t slot);
/* scans [lo, hi), whole words, of the marker's range */
void oaki_trace_words(oak_marker *m, const char *lo, const char *hi);
/* makes it the marker's range; the loop scans it */
void oaki_trace_range_later(oak_marker *m, const char *lo, const char *hi, bool typed);
/* marks the object there, if any, without scanning it: the stack has overflowed */
void oaki_overflow_mark(oak_marker *m, size_t off);
/* marks the object at this offset, a slot's start, without scanning it. false: it was marked */
bool oaki_mark_alone(oak_marker *m, size_t slot);
void oaki_overflow_rescan(oak_marker *m); /* after an overflow: scans every marked object again */

/* Marks by a word of a stack or register: the object it leads to. If the word is an object's
 * start, also the object that ends there. */
void oaki_mark_ambiguous(oak_marker *m, uintptr_t word);
/* Marks by the tags of the words of [lo, hi), those of a stack or registers: what
 * oaki_mark_ambiguous leaves out. */
void oaki_mark_tags_ambiguous(oak_marker *m, const void *lo, const void *hi);
/* Marks by the tags of a word in an object. (push.c) */
void oaki_mark_push_tagged(oak_marker *m, uintptr_t word);

/* Is the quantum over for this worker? */
OAKI_INLINE bool oaki_trace_is_over(const oak_marker *m)
{
    return m->scanned >= AO_load(&m->until) || (m->stop && AO_int_load(m->stop)) ||
           (m->end_ns && oaki_os_now_ns() >= m->end_ns);
}

/* Does offset `off` lead into the large object met last? Many words may, as those of a table
 * into an array. Each would cost a trip through the queue. */
OAKI_INLINE bool oaki_mark_in_large(const oak_marker *m, size_t off)
{
    return off - m->large < m->large_size;
}

OAKI_INLINE size_t oaki_line_slot(uint64_t entry)
{
    return entry >> OAKI_LINE_WORDS_BITS;
}

/* ---- one more word for the queue (push.c) ---- */

void oaki_mark_push_slowly(oak_marker *m, uintptr_t word); /* trace.c */

OAKI_INLINE void oaki_mark_push(oak_marker *m, uintptr_t word)
{
    size_t off = word - m->base;
    if (off >= m->used) return;
    if (OAKI_LIKELY(m->tail - m->head < OAKI_TUNE_QUEUE_HIGH && m->tail < OAKI_QUEUE - 1))
        m->queue[m->tail++] = off;
    else
        oaki_mark_push_slowly(m, word);
}

#endif
