/* host.c - hooks of a host with marking rules of its own, and periods without a collection.
 *
 * Owns: oaki_gc.host, with the rules for words, which the marker reads (trace/reading.h).
 * With verify=1, also two lists for the verifier. It skips the words of objects that hooks have
 * marked unscanned, and it does not miss those that hooks have unmarked.
 * Lock: gc_lock, or the world is stopped. Memory for the lists is mapped from the system. Without
 * it the verifier could report correct marks, so a failure is fatal. */
#include "contract.h"
#include "gc/concurrent/concurrent.h"
#include "host.h"

#include "gc/trace/reading.h"
#include "gc/trace/trace.h"
#include "runtime/contain.h"
#include "runtime/os.h"

#include <string.h>

#define NOTED_MIN ((size_t)512)

static oaki_host *const host = &oaki_gc.host;

/* ---- no collection ---- */

void oaki_gc_off_while(bool (*fn)(void))
{
    AO_store_release(&host->off, (AO_t)fn);
}

bool oaki_host_is_off(void)
{
    bool (*fn)(void) = (bool (*)(void))AO_load_acquire(&host->off);
    return fn && fn();
}

void oaki_gc_unless(bool (*fn)(oaki_gc_why why))
{
    AO_store_release(&host->unless, (AO_t)fn);
}

bool oaki_host_vetoes(oaki_gc_why why)
{
    bool (*fn)(oaki_gc_why) = (bool (*)(oaki_gc_why))AO_load_acquire(&host->unless);
    OAKI_REQUIRES_STOPPABLE();
    return fn && fn(why);
}

/* In a frame of its own, as the thread may count as stopped in it. */
OAKI_NOINLINE int oaki_gc_exclude(void)
{
    oaki_thread *t = oaki_enter();
    if (!t) return -1;
    oaki_gc_lock_barge(t);
    return 0;
}

void oaki_gc_release(void)
{
    OAKI_REQUIRES_LOCK(&oaki_the_heap.gc_lock);
    OAKI_REQUIRES_INSIDE();
    oaki_lock_release(&oaki_the_heap.gc_lock);
    oaki_leave(oaki_thread_self());
}

/* ---- roots ---- */

int oaki_gc_at_roots(void (*fn)(void *ctx, oak_marker *m), void *ctx)
{
    if (oaki_gc_exclude() != 0) return -1;
    size_t i = 0;
    while (i < host->nroots && (host->roots[i].fn != fn || host->roots[i].ctx != ctx)) i++;
    OAKI_INVARIANT(i < OAKI_HOST_HOOKS, "more hooks than places");
    host->roots[i].fn = fn;
    host->roots[i].ctx = ctx;
    host->nroots = OAKI_MAX(host->nroots, i + 1);
    oaki_gc_release();
    return 0;
}

void oaki_host_call_roots(oak_marker *m)
{
    OAKI_REQUIRES_STOPPED();
    for (size_t i = 0; i < host->nroots; i++)
        OAKI_CALL_INSIDE(host->roots[i].fn(host->roots[i].ctx, m));
}

void oaki_host_mark_roots(void)
{
    OAKI_REQUIRES_STOPPED();
    OAKI_REQUIRES_MARK();
    OAKI_REQUIRES_WORKER_ZERO();
    host->unscanned.n = host->unmarked.n = 0;
    host->any_unscanned = false;
    if (host->nroots > 0)
        oaki_workers_rescan_finish(); /* objects that these mark unscanned must not be rescanned */
    oaki_held_mark_roots();
    oaki_host_call_roots(oaki_worker(0));
}

/* ---- marked and not scanned, or unmarked ---- */

static void note(oaki_host_noted *list, size_t slot)
{
    OAKI_REQUIRES_STOPPED();
    if (!oaki_debug_switches.verify) return;
    if (list->n == list->cap) {
        size_t cap = OAKI_MAX(list->cap * 2, NOTED_MIN);
        size_t *more = oaki_os_map(cap * sizeof *more);
        if (!more) oak_fatal("oakum: verify: out of memory");
        if (list->n > 0) memcpy(more, list->slot, list->n * sizeof *more);
        if (list->cap > 0) oaki_os_release(list->slot, list->cap * sizeof *more);
        list->slot = more;
        list->cap = cap;
    }
    list->slot[list->n++] = slot;
}

static bool is_noted(const oaki_host_noted *list, size_t slot)
{
    for (size_t i = 0; i < list->n; i++)
        if (list->slot[i] == slot) return true;
    return false;
}

void oaki_mark_unscanned(oak_marker *m, void *obj)
{
    OAKI_REQUIRES_WORKER(m);
    size_t off = oaki_heap_offset(obj), slot = off < m->used ? oaki_slot_offset(off) : SIZE_MAX;
    if (slot == SIZE_MAX) return;
    if (m->record) {
        oak_mark_ptr(m, obj);
        return;
    }
    if (!oaki_mark_alone(m, slot)) return;
    host->any_unscanned = true;
    note(&host->unscanned, slot);
}

/* A concurrent mark may have noted the object's records as certain. */
static bool may_unmark(size_t slot)
{
    if (oaki_gc.kind == OAKI_MINOR || oaki_gc.mode == OAKI_CONCURRENT) return false;
    if (oaki_pte_kind(oaki_the_heap.pte[slot >> OAKI_PAGE_SHIFT]) == OAKI_PINNED) return false;
    return !oaki_is_held((const char *)oaki_the_heap.base + slot);
}

void oaki_unmark(oak_marker *m, const void *obj)
{
    OAKI_REQUIRES_WORKER(m);
    size_t off = oaki_heap_offset(obj), slot = off < m->used ? oaki_slot_offset(off) : SIZE_MAX;
    if (slot == SIZE_MAX || m->record || !oaki_bit_get(oaki_the_heap.alloc, slot)) return;
    if (!may_unmark(slot)) return;
    oaki_mark_clear(slot);
    note(&host->unmarked, slot);
}

bool oaki_host_has_unscanned(void)
{
    return host->any_unscanned;
}

bool oaki_host_is_unscanned(size_t slot)
{
    return is_noted(&host->unscanned, slot);
}

bool oaki_host_is_unmarked(size_t slot)
{
    return is_noted(&host->unmarked, slot);
}

/* ---- how words are read ---- */

void oaki_reading_update(void)
{
    static const oaki_reading by_form[] = { [OAKI_TAG_GENERAL] = OAKI_READ_ANY,
                                            [OAKI_TAG_ADDED] = OAKI_READ_ADDED,
                                            [OAKI_TAG_MASKED] = OAKI_READ_MASKED,
                                            [OAKI_TAG_ROTATED] = OAKI_READ_ROTATED,
                                            [OAKI_TAG_SHIFTED] = OAKI_READ_SHIFTED };
    bool strict = host->displacements.strict;
    if (oaki_tags.n == 0) host->words_read = strict ? OAKI_READ_STRICT : OAKI_READ_PLAIN;
    else host->words_read = strict ? OAKI_READ_ANY : by_form[oaki_tags.form];
}

int oaki_mark_tags(const oak_pointer_tag *tag, size_t n, const char **wrong)
{
    oaki_tag_set set;
    size_t which;
    OAKI_REQUIRES_OUTSIDE();
    *wrong = oaki_tags_check(tag, n, oaki_the_heap.reserved, &which);
    if (!*wrong) *wrong = oaki_tags_prepare(&set, tag, n);
    oaki_thread *t = *wrong ? NULL : oaki_gc_stop_begin();
    if (!t) return -1;
    oaki_tags = set;
    oaki_reading_update();
    oaki_concurrent_give_up();
    oaki_gc_stop_end(t);
    return 0;
}

int oaki_mark_displacements(const uint64_t *allowed, size_t nbits)
{
    oaki_mark_rule *r = &host->displacements;
    OAKI_REQUIRES_OUTSIDE();
    oaki_thread *t = oaki_gc_stop_begin();
    if (!t) return -1;
    r->strict = allowed != NULL;
    memset(r->allowed, 0, sizeof r->allowed);
    r->allowed[0] = 1;
    for (size_t d = 0; allowed && d < OAKI_MIN(nbits, (size_t)OAKI_DISPLACEMENTS); d++)
        r->allowed[d / 64] |= (allowed[d / 64] >> (d % 64) & 1) << (d % 64);
    oaki_reading_update();
    oaki_concurrent_give_up();
    oaki_gc_stop_end(t);
    return 0;
}

bool oaki_mark_is_strict(void)
{
    return host->displacements.strict;
}
