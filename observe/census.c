/* census.c - counts of the heap's objects, taken in one pause (census.h).
 *
 * Owns: nothing. In the pause, from stop_begin to stop_end, the code only reads memory and fills
 *   the tables. */
#include "census.h"

#include "runtime/collector.h"
#include "runtime/fiber.h"
#include "runtime/markbits.h"
#include "runtime/meta.h"
#include "runtime/os.h"
#include "runtime/type.h"
#include <errno.h>
#include <string.h>

#define MAP_COST 16 /* the cost of reading a map, in slots */
#define FIRST_THREADS 64
#define FIRST_MAPS 512

/* ---- tables: before the pause ---- */

static bool make_room(void *table, size_t *cap, size_t want, size_t item)
{
    void **p = table;
    if (want <= *cap) return true;
    void *bigger = oaki_meta_realloc(*p, *cap * item, want * item, OAKI_META_OTHER);
    if (!bigger) return false;
    *p = bigger;
    *cap = want;
    return true;
}

static size_t room_for(size_t seen, size_t least, size_t most)
{
    return OAKI_MIN(OAKI_MAX(seen + seen / 2, least), most);
}

static bool make_tables(oaki_census *c)
{
    size_t maps = room_for(c->maps_seen, FIRST_MAPS, OAKI_CENSUS_MAPS);
    size_t threads = room_for(OAKI_MAX(c->threads_seen, AO_load(&oaki_the_heap.nthreads)),
                              FIRST_THREADS, OAKI_CENSUS_THREADS);
    return make_room(&c->types, &c->types_cap, oaki_type_count() + 16, sizeof *c->types) &&
           make_room(&c->maps, &c->maps_cap, maps, sizeof *c->maps) &&
           make_room(&c->threads, &c->threads_cap, threads, sizeof *c->threads);
}

/* Clears all counts, and keeps the tables. */
static void clear(oaki_census *c)
{
    oaki_census empty = { .types = c->types, .maps = c->maps, .threads = c->threads };
    empty.types_cap = c->types_cap;
    empty.maps_cap = c->maps_cap;
    empty.threads_cap = c->threads_cap;
    *c = empty;
    memset(c->types, 0, c->types_cap * sizeof *c->types);
}

/* ---- threads and fibers ---- */

static oaki_census_thread *add_thread(oaki_census *c)
{
    c->threads_seen++;
    return c->nthreads < c->threads_cap ? &c->threads[c->nthreads++] : NULL;
}

static void count_threads(oaki_census *c, const oaki_thread *self)
{
    for (const oaki_thread *t = oaki_the_heap.threads; t; t = t->next) {
        if (t->own) continue;
        oaki_census_thread *row = add_thread(c);
        if (!row) continue;
        *row = (oaki_census_thread){ .place = OAKI_PLACE_THREAD,
                                     .tid = t->tid,
                                     .stack_bytes = oaki_thread_stack_inuse(t),
                                     .sp = oaki_hide(t->sp),
                                     .blocked = t->in_runtime == OAKI_IN_BLOCKING,
                                     .waits = t->waits_for != 0,
                                     .self = t == self };
    }
}

static void count_fiber(oaki_census *c, const oak_fiber *f)
{
    if (!f->lo || AO_load(&f->thread) || f->sp < f->lo || f->sp > f->hi) return;
    c->fibers++;
    oaki_census_thread *row = add_thread(c);
    if (!row) return;
    *row = (oaki_census_thread){ .place = OAKI_PLACE_FIBER,
                                 .hidden = oaki_hide(f),
                                 .stack_bytes = (size_t)(f->hi - f->sp),
                                 .sp = oaki_hide(f->sp),
                                 .blocked = true };
}

/* ---- maps ---- */

static size_t map_bytes(const oaki_census_map *m)
{
    return m->view.array_bytes + m->view.old_array_bytes;
}

/* The table is full: raises the floor until a quarter of it is free. */
static void drop_small_maps(oaki_census *c)
{
    while (c->nmaps > c->maps_cap - c->maps_cap / 4) {
        size_t n = 0;
        c->map_floor = OAKI_MAX(2 * c->map_floor, (size_t)256);
        for (size_t i = 0; i < c->nmaps; i++)
            if (map_bytes(&c->maps[i]) >= c->map_floor) c->maps[n++] = c->maps[i];
        c->nmaps = n;
    }
}

static void count_map(oaki_census *c, const void *p, oaki_map_kind kind)
{
    oaki_census_map m = { .hidden = oaki_hide(p) };
    c->used += MAP_COST;
    if (!oaki_map_view_read(p, kind, &m.view)) return;
    c->maps_seen++;
    if (map_bytes(&m) < c->map_floor) return;
    c->maps[c->nmaps++] = m;
    if (c->nmaps == c->maps_cap) drop_small_maps(c);
}

/* ---- objects ---- */

static void count_type(oaki_census *c, uint32_t id, size_t objects, size_t bytes)
{
    if (id == 0 || id > c->types_cap) return;
    oaki_census_type *t = &c->types[id - 1];
    t->objects += objects;
    t->bytes += bytes;
}

/* Whether objects of this type are only counted. Maps and fibers have rows, too. */
static bool is_plain(uint32_t id)
{
    const oak_type *t = oaki_type_by_id(id);
    return !t || !t->mark || (oaki_map_kind_of(t) == OAKI_MAP_NONE && !oaki_fiber_is_type(t));
}

static void count_typed(oaki_census *c, void *p, uint32_t id, size_t bytes, size_t weight)
{
    count_type(c, id, weight, weight * bytes);
    if (is_plain(id)) return;
    oaki_map_kind kind = oaki_map_kind_of(oaki_type_by_id(id));
    if (kind != OAKI_MAP_NONE)
        count_map(c, p, kind);
    else
        count_fiber(c, p);
}

/* A bit for the start of each live slot, in word w of the span's granules. */
static uint64_t live_starts(const oaki_span *s, size_t first, size_t w, bool swept)
{
    uint64_t x = oaki_objects_in(first + w, oaki_class_starts[s->cls][w]);
    return swept ? x : oaki_marked_of(first + w, x);
}

static bool is_swept(const oaki_span *s)
{
    return s->swept == (uint32_t)AO_load(&oaki_the_heap.cycle);
}

/* Live slots of a small span. It may include slots of threads' runs: take_off_runs subtracts
 * them. */
static size_t count_slots(const oaki_span *s, size_t first)
{
    bool swept = is_swept(s);
    if (swept && s->list != OAKI_LIST_CACHED) return AO_int_load(&s->nalloc);
    size_t n = 0;
    for (size_t w = 0; w < (size_t)s->npages * OAKI_PAGE_WORDS; w++)
        n += oaki_popcount(live_starts(s, first, w, swept));
    return n;
}

/* A slot of a thread's run has type 0. Neighbours are likely to have the same type, so a sequence
 * of one plain type is counted at once. */
static void count_small_typed(oaki_census *c, const oaki_span *s, size_t first, size_t weight)
{
    const oaki_class *k = &oaki_classes[s->cls];
    char *base = oaki_span_start(s);
    bool swept = is_swept(s);
    uint32_t plain = 0;
    size_t n = 0;
    c->used += k->nslots;
    for (size_t w = 0; s->types && w < (size_t)s->npages * OAKI_PAGE_WORDS; w++)
        for (uint64_t x = live_starts(s, first, w, swept); x; x &= x - 1) {
            size_t off = oaki_slot_of(w, x); /* from the span's start */
            uint32_t id = s->types[(off * k->magic) >> 32];
            if (id == plain) {
                n++;
                continue;
            }
            count_type(c, plain, n * weight, n * weight * s->size);
            plain = is_plain(id) ? id : 0;
            n = plain != 0;
            if (!plain && id) count_typed(c, base + off, id, s->size, weight);
        }
    count_type(c, plain, n * weight, n * weight * s->size);
}

static void count_span(oaki_census *c, const oaki_span *s, size_t weight)
{
    size_t base = oaki_span_slot(s), first = base >> 10;
    oaki_census_class *k = &c->classes[s->cls];
    size_t objects, bytes, room = (size_t)s->npages << OAKI_PAGE_SHIFT;
    if (s->cls == OAKI_CLASS_LARGE) {
        objects = oaki_bit_get(oaki_the_heap.alloc, base) && (is_swept(s) || oaki_mark_get(base));
        bytes = objects ? s->size - ((size_t)s->cursor << OAKI_PAGE_SHIFT) : 0;
        if (objects && s->kind == OAKI_TYPED)
            count_typed(c, (char *)oaki_the_heap.base + base, s->type, bytes, 1);
        k->slots++;
    } else {
        size_t slots = oaki_classes[s->cls].nslots;
        objects = count_slots(s, first);
        bytes = objects * s->size;
        k->size = s->size;
        k->slots += slots;
        size_t fill = objects * 10 / slots;
        if (objects) {
            c->fill_spans[fill]++;
            c->fill_bytes[fill] += room;
        }
        if (s->kind == OAKI_TYPED && weight > 0) count_small_typed(c, s, first, weight);
    }
    if (!objects) c->empty_bytes += room;
    k->spans++;
    k->span_bytes += room;
    k->objects += objects;
    k->bytes += bytes;
    c->kind_bytes[s->kind] += bytes;
}

/* One in this many typed spans can be visited. */
static size_t stride_of_typed(void)
{
    const oaki_heap *h = &oaki_the_heap;
    size_t slots = 0, end = AO_load(&h->used) >> OAKI_PAGE_SHIFT;
    for (size_t page = 0; page < end; page += h->spans[page].npages) {
        const oaki_span *s = &h->spans[page];
        bool in_use = (h->pte[page] & OAKI_PTE_CLASS) != 0 && s->cls != OAKI_CLASS_LARGE;
        if (in_use && s->kind == OAKI_TYPED) slots += oaki_classes[s->cls].nslots;
    }
    return (slots + OAKI_CENSUS_SLOTS - 1) / OAKI_CENSUS_SLOTS;
}

/* In a heap with too many typed slots for one pause, one typed span of each `stride` is visited and
 * counts for all. If maps take too long, the types in the remaining spans are not counted. */
static void count_spans(oaki_census *c)
{
    const oaki_heap *h = &oaki_the_heap;
    size_t stride = OAKI_MAX(stride_of_typed(), 1), typed = 0;
    size_t end = AO_load(&h->used) >> OAKI_PAGE_SHIFT;
    for (size_t page = 0; page < end; page += h->spans[page].npages) {
        const oaki_span *s = &h->spans[page];
        if ((h->pte[page] & OAKI_PTE_CLASS) == 0) continue;
        size_t weight = s->kind == OAKI_TYPED && typed++ % stride != 0 ? 0 : stride;
        if (c->used > 4 * OAKI_CENSUS_SLOTS) weight = 0;
        c->sampled |= weight == 0 || stride > 1;
        count_span(c, s, weight);
    }
}

/* Subtracts the slots of threads' runs: taken, not handed out, no objects. */
static void take_off_runs(oaki_census *c)
{
    for (const oaki_mcache *mc = oaki_the_heap.mcaches; mc; mc = mc->next)
        for (unsigned kind = 0; kind < OAKI_KINDS; kind++)
            for (uint64_t set = mc->active[kind]; set; set &= set - 1) {
                unsigned cls = oaki_ctz(set), sc = OAKI_SPANCLASS(kind, cls);
                const char *next = mc->run[sc].next, *end = mc->run_end[sc];
                if (next >= end) continue;
                size_t bytes = (size_t)(end - next);
                c->classes[cls].objects -= bytes / oaki_classes[cls].size;
                c->classes[cls].bytes -= bytes;
                c->kind_bytes[kind] -= bytes;
            }
    for (unsigned cls = 0; cls < OAKI_CLASSES; cls++) {
        c->objects += c->classes[cls].objects;
        c->bytes += c->classes[cls].bytes;
    }
}

/* ---- the whole ---- */

/* Moves the types that have objects to the front, and names them. The world runs. */
static void name_types(oaki_census *c)
{
    size_t n = 0;
    for (size_t i = 0; i < c->types_cap; i++) {
        if (c->types[i].objects == 0) continue;
        c->types[n] = c->types[i];
        c->types[n].id = (uint32_t)i + 1;
        c->types[n].name = oak_type_name(oaki_type_by_id((uint32_t)i + 1));
        n++;
    }
    c->ntypes = n;
}

static bool prepare(oaki_census *c)
{
    oaki_thread *t = oaki_enter();
    if (!t) return false;
    bool made = make_tables(c);
    oaki_leave(t);
    if (made) clear(c);
    return made;
}

int oaki_census_take(oaki_census *c)
{
    oaki_thread *t = prepare(c) ? oaki_gc_stop_begin() : NULL;
    if (!t) {
        errno = ENOMEM;
        return -1;
    }
    c->when = oaki_os_now_ns();
    c->cycle = AO_load(&oaki_the_heap.cycle);
    count_threads(c, t);
    count_spans(c);
    take_off_runs(c);
    oaki_memstats_in_stop(&c->stats);
    c->stop = oaki_os_now_ns() - c->when;
    oaki_gc_stop_end(t);
    name_types(c);
    return 0;
}

void oaki_census_free(oaki_census *c)
{
    oaki_thread *t = oaki_enter();
    if (!t) return;
    oaki_meta_free(c->types, c->types_cap * sizeof *c->types, OAKI_META_OTHER);
    oaki_meta_free(c->maps, c->maps_cap * sizeof *c->maps, OAKI_META_OTHER);
    oaki_meta_free(c->threads, c->threads_cap * sizeof *c->threads, OAKI_META_OTHER);
    oaki_leave(t);
    memset(c, 0, sizeof *c);
}
