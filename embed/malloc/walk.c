/* walk.c - the walk of walk.h: depth first, with a stack of its own.
 *
 * The bitmaps have a bit for each granule. `seen` is set at the start of each reached object, and
 * in the free slots of threads' runs: there is nothing more to do for these. `kept` is set for
 * objects that pointers to starts reach, `inner` for those that need a pointer into an object.
 *
 * Oakum's own blocks are traced when they are reached, as libc and the loader put them into lists
 * of their own. They are never lost. A freed block in the guard's queue is no object. */
#include "walk.h"
#include "observe/rootwords.h"
#include "runtime/guard.h"
#include "runtime/os.h"
#include "runtime/tags.h"
#include "runtime/track.h"

#define LOOK_EVERY 4096
#define STACK_LEAST 4096 /* entries */

static void bit_set(uint64_t *map, size_t off)
{
    size_t g = off >> OAKI_GRANULE_SHIFT;
    map[g / 64] |= (uint64_t)1 << g % 64;
}

/* ---- objects ---- */

/* Call fn for the slot of each object, as A's bits give them. */
static void each_object(void (*fn)(void *ctx, size_t slot, unsigned kind), void *ctx)
{
    const oaki_heap *h = &oaki_the_heap;
    size_t end = AO_load(&h->used) >> OAKI_PAGE_SHIFT;
    for (size_t page = 0; page < end; page += h->spans[page].npages) {
        const oaki_span *s = &h->spans[page];
        unsigned cls = h->pte[page] & OAKI_PTE_CLASS;
        size_t base = oaki_span_slot(s);
        if (cls == 0) continue;
        size_t n = cls == OAKI_CLASS_LARGE ? 1 : oaki_classes[cls].nslots;
        for (size_t i = 0; i < n; i++)
            if (oaki_bit_get(h->alloc, base + i * s->size)) fn(ctx, base + i * s->size, s->kind);
    }
}

static void count(void *ctx, size_t slot, unsigned kind)
{
    oaki_walk *w = ctx;
    (void)slot, (void)kind;
    w->cap++;
}

/* ---- tracing ---- */

static void reach(oaki_walk *w, size_t slot)
{
    bit_set(w->seen, slot);
    if (w->current) w->head_of[slot >> OAKI_GRANULE_SHIFT] = w->current;
    else if (w->kept) bit_set(w->interior ? w->inner : w->kept, slot);
    if (w->depth < w->cap) w->stack[w->depth++] = slot;
    else w->overflowed = true;
}

/* The current head reaches an earlier head: that one and its objects then belong to the current
 * one. */
static void meet_head(oaki_walk *w, size_t slot)
{
    uint32_t other = w->head_of[slot >> OAKI_GRANULE_SHIFT];
    if (!other || other == w->current) return;
    oaki_head *h = &w->head[other - 1];
    if (h->slot == slot && !h->into) h->into = w->current;
}

static inline void look(oaki_walk *w, uintptr_t value)
{
    size_t off = value - oaki_the_heap.base;
    if (off >= AO_load(&oaki_the_heap.used)) return;
    size_t slot = oaki_slot_offset(off);
    if (slot == SIZE_MAX || (slot != off && !w->interior)) return;
    if (!oaki_bit_get(oaki_the_heap.alloc, slot)) return;
    if (oaki_guard.on && oaki_guard_waits(slot)) return;
    if (!oaki_bit_get(w->seen, slot)) reach(w, slot);
    else if (w->current) meet_head(w, slot);
}

static OAKI_NO_ASAN void look_between(oaki_walk *w, const char *lo, const char *hi)
{
    size_t used = AO_load(&oaki_the_heap.used), to[OAKI_WORD_REFS];
    const uintptr_t *p = (const uintptr_t *)OAKI_ALIGN_UP((uintptr_t)lo, sizeof *p);
    for (; (const char *)(p + 1) <= hi; p++)
        for (unsigned n = oaki_word_refs(*p, used, to); n > 0; n--)
            look(w, oaki_the_heap.base + to[n - 1]);
}

static void look_in(oaki_walk *w, size_t slot)
{
    const char *p = (const char *)(oaki_the_heap.base + slot);
    look_between(w, p, p + oaki_object_size(slot));
}

static bool empty_stack(oaki_walk *w)
{
    for (size_t i = 1; w->depth > 0; i++) {
        if (i % LOOK_EVERY == 0 && oaki_image_late(w->im)) return false;
        look_in(w, w->stack[--w->depth]);
    }
    return true;
}

static void look_again(void *ctx, size_t slot, unsigned kind)
{
    oaki_walk *w = ctx;
    (void)kind;
    if (!oaki_bit_get(w->seen, slot) || oaki_image_run_has(w->im, slot)) return;
    if (oaki_image_late(w->im)) return;
    look_in(w, slot);
    (void)empty_stack(w);
}

static bool follow(oaki_walk *w)
{
    while (empty_stack(w)) {
        if (OAKI_LIKELY(!w->overflowed)) return true;
        w->overflowed = false;
        each_object(look_again, w);
    }
    return false;
}

/* ---- roots ---- */

static void root_word(void *ctx, const oaki_root_word *word)
{
    oaki_walk *w = ctx;
    if (word->ours || word->kind == OAK_ROOT_PINNED) return;
    look(w, word->value);
}

static void root_memory(const char *lo, const char *hi, void *ctx)
{
    oaki_walk *w = ctx;
    look_between(w, lo, hi);
    (void)follow(w);
}

static bool all_roots(oaki_walk *w)
{
    const char *lo, *hi;
    oaki_root_words(w->im, root_word, w);
    if (!follow(w)) return false;
    oaki_side_range(&lo, &hi);
    look_between(w, lo, hi);
    look(w, (uintptr_t)oaki_free_first_put_off());
    if (!oaki_maps_each(root_memory, w)) w->blind = true;
    return follow(w);
}

static void again(void *ctx, size_t slot, unsigned kind)
{
    oaki_walk *w = ctx;
    (void)kind;
    if (oaki_bit_get(w->kept, slot)) look_in(w, slot);
}

/* The second round counts pointers into objects, too; all kept objects are roots then. */
bool oaki_walk_roots(oaki_walk *w)
{
    w->interior = !w->kept;
    if (!all_roots(w)) return false;
    if (!w->kept) return true;
    w->interior = true;
    each_object(again, w);
    return follow(w) && all_roots(w);
}

/* ---- lost objects ---- */

static void head(void *ctx, size_t slot, unsigned kind)
{
    oaki_walk *w = ctx;
    if (oaki_guard.on && oaki_guard_waits(slot)) return;
    if (kind == OAKI_PINNED || oaki_bit_get(w->seen, slot) || oaki_image_late(w->im)) return;
    w->head[w->nheads] = (oaki_head){ slot, 0 };
    w->current = (uint32_t)++w->nheads;
    reach(w, slot);
    (void)follow(w);
}

bool oaki_walk_lost(oaki_walk *w)
{
    w->interior = true;
    each_object(head, w);
    w->current = 0;
    return !oaki_image_late(w->im);
}

uint32_t oaki_walk_head(const oaki_walk *w, size_t slot)
{
    uint32_t i = w->head_of[slot >> OAKI_GRANULE_SHIFT] - 1;
    while (w->head[i].into) i = w->head[i].into - 1;
    return i;
}

oaki_loss oaki_walk_loss(const oaki_walk *w, size_t slot)
{
    if (oaki_bit_get(w->kept, slot)) return OAKI_KEPT;
    if (oaki_bit_get(w->inner, slot)) return OAKI_POSSIBLE;
    uint32_t first = w->head_of[slot >> OAKI_GRANULE_SHIFT];
    if (!first) return OAKI_KEPT; /* a free slot in a thread's run */
    const oaki_head *h = &w->head[first - 1];
    return h->slot == slot && !h->into ? OAKI_LOST : OAKI_INDIRECT;
}

typedef struct lost_visit {
    const oaki_walk *w;
    void (*fn)(void *ctx, size_t slot);
    void *ctx;
} lost_visit;

static bool is_lost(const oaki_walk *w, size_t slot)
{
    if (w->head_of) return w->head_of[slot >> OAKI_GRANULE_SHIFT] != 0;
    return !oaki_bit_get(w->seen, slot) && !(oaki_guard.on && oaki_guard_waits(slot));
}

static void if_lost(void *ctx, size_t slot, unsigned kind)
{
    const lost_visit *v = ctx;
    if (kind == OAKI_SCAN && is_lost(v->w, slot)) v->fn(v->ctx, slot);
}

void oaki_walk_each_lost(const oaki_walk *w, void (*fn)(void *ctx, size_t slot), void *ctx)
{
    lost_visit v = { w, fn, ctx };
    each_object(if_lost, &v);
}

/* ---- beginning and end ---- */

/* Mark the free slots of runs as seen, as they are no objects. */
static void hide_runs(oaki_walk *w)
{
    for (size_t i = 0; i < oaki_image_runs(w->im); i++) {
        size_t lo, hi;
        oaki_image_run(w->im, i, &lo, &hi);
        for (; lo < hi; lo += OAKI_GRANULE) bit_set(w->seen, lo);
    }
}

/* A stack with room for all objects never overflows. */
static bool map_stack(oaki_walk *w, size_t least)
{
    for (; (w->stack = oaki_os_map_scratch(w->cap * sizeof *w->stack)) == NULL; w->cap /= 2)
        if (w->cap / 2 < least) return false;
    return true;
}

static bool map_heads(oaki_walk *w)
{
    w->kept = oaki_os_map_scratch(w->bytes);
    w->inner = oaki_os_map_scratch(w->bytes);
    w->head_of = oaki_os_map_scratch(w->bytes * 32);
    w->head = oaki_os_map_scratch(w->cap * sizeof *w->head);
    return w->kept && w->inner && w->head_of && w->head;
}

bool oaki_walk_begin(oaki_walk *w, oaki_image *im, bool only_lost)
{
    size_t granules = AO_load(&oaki_the_heap.used) / OAKI_GRANULE;
    *w = (oaki_walk){ .im = im, .bytes = OAKI_MAX(granules / 8, (size_t)4096), .cap = 1 };
    each_object(count, w);
    w->seen = oaki_os_map_scratch(w->bytes);
    if (w->seen && map_stack(w, only_lost ? STACK_LEAST : w->cap) && (only_lost || map_heads(w))) {
        hide_runs(w);
        return true;
    }
    oaki_walk_end(w);
    return false;
}

void oaki_walk_end(oaki_walk *w)
{
    if (w->seen) oaki_os_release(w->seen, w->bytes);
    if (w->kept) oaki_os_release(w->kept, w->bytes);
    if (w->inner) oaki_os_release(w->inner, w->bytes);
    if (w->head_of) oaki_os_release(w->head_of, w->bytes * 32);
    if (w->stack) oaki_os_release(w->stack, w->cap * sizeof *w->stack);
    if (w->head) oaki_os_release(w->head, w->cap * sizeof *w->head);
}
