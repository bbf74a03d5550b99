/* dump.c - prints the state of the heap as text.
 *
 * Lock: finalizer_lock for links and finalizers, unless the world is stopped. The caller may hold
 * the allocation lock. Other figures are read as in stats.c. Bound: GC_dump_regions, O(pages);
 * others, O(links and finalizers). */
#include "libgc.h"

#include "gc/debug/edges.h"
#include "gc/refs/link.h"

/* Call fn inside of the runtime, with no other thread at links and finalizers. */
static void exclusively(void (*fn)(void *ctx), void *ctx)
{
    bool stopped = oaki_world_stopped();
    oaki_thread *t = stopped ? NULL : lgc_enter();
    if (!stopped) oaki_lock_acquire(&oaki_the_heap.finalizer_lock);
    fn(ctx);
    if (!stopped) oaki_lock_release(&oaki_the_heap.finalizer_lock);
    lgc_leave(t);
}

static void count_links(void *ctx)
{
    size_t *n = ctx;
    n[false] = oaki_link_count(false);
    n[true] = oaki_link_count(true);
}

LGC_OUTSIDE(void, GC_dump_named, (const char *name), (name))

void GC_dump_named(const char *name)
{
    const oaki_heap *h = &oaki_the_heap;
    size_t links[2] = { 0 };
    lgc_ready();
    if (lgc_is_blocked()) {
        GC_dump_named_outside(name);
        return;
    }
    if (name)
        lgc_print("***GC Dump %s\n", name);
    else
        lgc_print("***GC Dump collection #%lu\n", GC_gc_no);
    lgc_print("Heap: %zu bytes, %zu of them free, %zu returned to the system\n", GC_get_heap_size(),
              GC_get_free_bytes(), GC_get_unmapped_bytes());
    lgc_print("Objects: %zu bytes live or new, collected again at %zu\n", (size_t)AO_load(&h->live),
              (size_t)AO_load(&h->trigger));
    lgc_print("Range: %p to %p, %zu bytes used\n", (void *)h->base, (void *)(h->base + h->reserved),
              (size_t)AO_load(&h->used));
    lgc_print("Threads: %zu, markers: %d\n", (size_t)AO_load(&h->nthreads), GC_parallel + 1);
    lgc_print("Uncollectable: %lu bytes\n", GC_non_gc_bytes);
    exclusively(count_links, links);
    lgc_print("Disappearing links: %zu short, %zu long\n", links[0], links[1]);
    GC_dump_regions();
}

void GC_dump(void)
{
    GC_dump_named(NULL);
}

static const char *kind_name(unsigned kind)
{
    static const char *const names[OAKI_KINDS] = { "normal", "atomic", "typed", "uncollectable" };
    return names[kind % OAKI_KINDS];
}

/* The number of objects of a small span, including free slots in a thread's cache. */
static size_t small_objects(const oaki_span *s)
{
    size_t from = oaki_heap_offset(oaki_span_start(s)), n = 0;
    for (unsigned i = 0; i < oaki_classes[s->cls].nslots; i++)
        n += oaki_bit_get(oaki_the_heap.alloc, from + i * s->size);
    return n;
}

/* Print a line for each series of neighbouring spans of the same size and kind. */
void GC_dump_regions(void)
{
    const oaki_heap *h = &oaki_the_heap;
    lgc_ready();
    size_t end = AO_load(&h->used) >> OAKI_PAGE_SHIFT, next;
    for (size_t page = 0; page < end; page = next) {
        const oaki_span *s = &h->spans[page];
        size_t objects = 0;
        unsigned cls = s->cls, kind = s->kind;
        for (next = page; next < end && h->spans[next].cls == cls &&
                          (!cls || h->spans[next].kind == kind) && h->spans[next].npages > 0;
             next += h->spans[next].npages) {
            objects += cls && cls != OAKI_CLASS_LARGE ? small_objects(&h->spans[next]) : 1;
            if (cls == OAKI_CLASS_LARGE) {
                next += h->spans[next].npages;
                break;
            }
        }
        if (next == page) next++;
        const void *from = oaki_page_address(page);
        size_t bytes = (next - page) << OAKI_PAGE_SHIFT;
        if (!cls)
            lgc_print("%p: %zu bytes free\n", from, bytes);
        else
            lgc_print("%p: %zu bytes, %s, objects of %zu bytes: %zu\n", from, bytes,
                      kind_name(kind), s->size, objects);
    }
}

static void print_record(void *ctx, const oaki_finalizer_record *r)
{
    (void)ctx;
    if (!r->cleanup)
        lgc_print("Finalizable object: %p%s\n", r->obj, r->ready ? ", waits to be finalized" : "");
}

static void print_finalizers(void *ctx)
{
    oaki_finalizers_each(print_record, ctx);
}

LGC_OUTSIDE(void, GC_dump_finalization, (void), ())

void GC_dump_finalization(void)
{
    size_t links[2] = { 0 };
    lgc_ready();
    if (lgc_is_blocked()) {
        GC_dump_finalization_outside();
        return;
    }
    exclusively(count_links, links);
    lgc_print("Disappearing (short) links: %zu\nDisappearing long links: %zu\n", links[0],
              links[1]);
    exclusively(print_finalizers, NULL);
}

/* Prints only one line: the heap has bitmaps instead of lists of free objects. */
void GC_print_free_list(int kind, size_t granules)
{
    lgc_ready();
    lgc_print("Free list of kind %d, %zu bytes: kept as a bitmap\n", kind,
              granules * GC_GRANULE_BYTES);
}
