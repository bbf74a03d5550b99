/* segment.c - the memory of the mark stack: segments, cut from batches that stay mapped.
 *
 * After a mark all segments are free again, and the next mark cuts the batches anew.
 *
 * Owns: `self`. Lock: self.lock, also while a batch is mapped, as the other workers need one
 * too. Memory is mapped directly from the system: a stopped thread may hold a lock of
 * jemalloc's. */
#include "gc/contract.h"
#include "gc/tuning.h"
#include "runtime/os.h"
#include "spin.h"
#include "trace.h"

static struct {
    oaki_spin lock;
    oaki_mark_segment *free;
    /* batches: all that are mapped, linked by the first segment of each, which has no other use.
     * cut: the batch being cut; its segments before place `at` are taken. */
    oaki_mark_segment *batches, *last, *cut;
    size_t at;
    size_t nbatches, mapped; /* bytes */
    size_t ntaken;           /* segments that workers hold, or that are donated */
} self;

static oaki_mark_segment *map_batch(void)
{
    bool huge = self.nbatches >= OAKI_TUNE_STACK_BATCHES;
    size_t size = huge ? OAKI_TUNE_STACK_HUGE_BATCH : OAKI_TUNE_STACK_BATCH;
    oaki_mark_segment *batch = oaki_os_map(size);
    if (!batch) return NULL;
    if (huge && oaki_the_heap.config.huge_pages) oaki_os_huge(batch, size, true);
    batch->n = size;
    batch->next = NULL;
    self.mapped += size;
    self.nbatches++;
    if (self.last) self.last->next = batch;
    else self.batches = batch;
    return self.last = batch;
}

/* The next segment of the batch being cut, or of the batch after it. A batch's first segment is
 * its link. */
static oaki_mark_segment *cut_segment(void)
{
    if (!self.cut || (self.at + 1) * sizeof *self.cut > self.cut->n) {
        oaki_mark_segment *batch = self.cut ? self.cut->next : self.batches;
        if (!batch && !(batch = map_batch())) return NULL;
        self.cut = batch;
        self.at = 1;
    }
    return &self.cut[self.at++];
}

static oaki_mark_segment *take(void)
{
    size_t limit = (size_t)oaki_debug_switches.markstack * oaki_workers_count();
    if (limit && self.ntaken >= limit) return NULL;
    oaki_mark_segment *c = self.free;
    if (c) self.free = c->next;
    else c = cut_segment();
    if (c) self.ntaken++;
    return c;
}

oaki_mark_segment *oaki_segment_new(void)
{
    oaki_spin_lock(&self.lock);
    oaki_mark_segment *c = take();
    oaki_spin_unlock(&self.lock);
    if (c) {
        c->next = NULL;
        c->n = 0;
    }
    return c;
}

void oaki_segment_free(oaki_mark_segment *c)
{
    OAKI_ASSERT(c->n <= OAKI_SEGMENT_ENTRIES);
    oaki_spin_lock(&self.lock);
    OAKI_INVARIANT(self.ntaken > 0, "more segments of the mark stack are freed than were taken");
    c->next = self.free;
    self.free = c;
    self.ntaken--;
    oaki_spin_unlock(&self.lock);
}

void oaki_segments_release(void)
{
    OAKI_REQUIRES_COLLECTOR();
    OAKI_REQUIRES_NO_HELPER();
    self.free = self.cut = NULL;
    self.ntaken = 0;
}

void oaki_mark_trim(void)
{
    OAKI_REQUIRES_LOCK(&oaki_the_heap.gc_lock);
    OAKI_REQUIRES_NO_MARK();
    OAKI_ASSERT(self.ntaken == 0 && !self.free && !self.cut);
    size_t few = OAKI_TUNE_STACK_BATCHES * OAKI_TUNE_STACK_BATCH;
    size_t keep = OAKI_MAX(few, oaki_workers_bytes() / OAKI_TUNE_STACK_KEEP);
    for (; self.mapped > keep; self.nbatches--) {
        oaki_mark_segment *batch = self.batches;
        self.batches = batch->next;
        self.mapped -= batch->n;
        oaki_os_release(batch, batch->n);
    }
    OAKI_ASSERT((self.nbatches == 0) == (self.batches == NULL));
    if (!self.batches) self.last = NULL;
    oaki_ranges_trim();
}

size_t oaki_segments_mapped(void)
{
    return self.mapped;
}

const char *oaki_segments_check(size_t held)
{
    size_t batches = 0, mapped = 0, cut = 0, nfree = 0;
    bool is_cut = self.cut != NULL;
    for (const oaki_mark_segment *b = self.batches; b; b = b->next, batches++) {
        mapped += b->n;
        if (is_cut) cut += (b == self.cut ? self.at : b->n / sizeof *b) - 1;
        is_cut = is_cut && b != self.cut;
    }
    for (const oaki_mark_segment *c = self.free; c; c = c->next)
        if (++nfree > cut) return "segments: the list of the free ones ends";
    if (batches != self.nbatches || mapped != self.mapped) return "segments: batches are counted";
    if (nfree + self.ntaken != cut) return "segments: each that was cut is free or taken";
    if (held != self.ntaken) return "segments: each that is taken is on a list";
    return NULL;
}

void oaki_segments_after_fork(void)
{
    OAKI_REQUIRES_FORKED();
    self.lock = 0;
}
