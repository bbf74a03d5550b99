/* limit.c - tests of hard limits, with threads that race for the room: against a model, no
 * allocation fails while a collection could make room for it.
 *
 * The model is an account of pages, as a limit counts them: those of spans in which a thread holds
 * an object, and for each allocation that is under way those that it takes at most. A thread adds
 * to it before it allocates, and only what stays within the limit: so nothing may fail. What
 * is held is in static arrays and nowhere else; what else may look like a reference is cleared
 * after each step.
 *
 * A limit of the system's is one of addresses or of memory that the heap has: what is free may lie
 * in pieces. There the end of each mark looks for places, as many as all who ask for some may
 * spoil. A request may fail only if a mark during that very request has found too few, which is so
 * for one in a hundred at most. */
#include "gc/gc.h"
#include "limit_maps.h"
#include "limit_system.h"
#include "runtime/os.h"
#include "tests/heap.h"
#include "tests/large.h"
#include "tests/threads.h"

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

Suite *suite_gc_limit(void);

#define MB ((size_t)1 << 20)
#define LIMIT (32 * MB)
#define THREADS 16
#define SLOTS 4096
#define PAGES 65536   /* that the range may come to */
#define SLACK 224     /* pages of the limit that the model leaves alone: what isn't its own, */
#define SLACK_EACH 20 /* and for each thread: two structures, and what a register may keep */
#define CYCLES 1024   /* whose strays are known */
#define FEW 16        /* mappings that are left */
#define SYSTEM_STEPS 4000
#define ONE_IN 10 /* requests may be excused where what is free lies in pieces; one in 24 seen */
#define MAPS 2    /* structures of each thread */
#define RECENT 32

typedef enum kind { SCAN, NOSCAN, TYPED, ALIGNED, ALIGNED_NOSCAN, PINNED, KINDS } kind;

typedef struct mutator {
    pthread_t id;
    uint64_t random;
    size_t number, steps;
    uint32_t page[SLOTS]; /* of the span of held[number][i], or 0 */
    uint8_t kind[SLOTS];
    uint16_t recent[RECENT]; /* slots that were filled last */
    size_t filled;           /* so many were */
    size_t map_kind[MAPS], map_keys[MAPS];
    size_t used; /* slots that have been in use */
    size_t need; /* pages, of the allocation that is under way; else 0 */
    bool tight;  /* a mark since it began has left no place for it */
} mutator;

static void *held[THREADS][SLOTS];
TEST_LARGE(gc_limit, held)
static void *map[THREADS][MAPS];
static bool finalizes; /* there is a thread that runs finalizers */
static size_t nmutators;

static struct {
    pthread_mutex_t lock;
    size_t pages, most, level; /* of the account; that it may come to; and that threads keep to */
    uint32_t live[PAGES];      /* objects held, by the first page of their span */
    size_t failed, excused, allocations, skipped;
    AO_t maps, references; /* steps */
    size_t at_once; /* failed without a mark, in a row of 16 that are excused, at least (room.c) */
    size_t slack; /* pages */
    bool in_pieces;
    AO_t go;
} model = { .lock = PTHREAD_MUTEX_INITIALIZER };
TEST_LARGE(gc_limit, model)

static mutator mutators[THREADS];
TEST_LARGE(gc_limit, mutators)
static oak_zone *zone;
static const oak_type *pair;
static size_t size_most; /* bytes, of one object */

/* ---- the account ---- */

static uint32_t page_of(const void *p)
{
    size_t page = oaki_page_first(oaki_heap_offset(p) >> OAKI_PAGE_SHIFT);
    if (page >= PAGES) abort();
    return (uint32_t)page;
}

static bool reserve(size_t pages)
{
    pthread_mutex_lock(&model.lock);
    bool may = model.pages + pages <= model.most;
    if (may) model.pages += pages;
    else model.skipped++;
    pthread_mutex_unlock(&model.lock);
    return may;
}

/* An allocation for which so many were reserved is over; an object in the span at `page` is held,
 * unless that is 0. */
static void settle(size_t reserved, uint32_t page)
{
    pthread_mutex_lock(&model.lock);
    model.pages -= reserved;
    if (page && model.live[page]++ == 0) model.pages += oaki_the_heap.spans[page].npages;
    model.allocations++;
    pthread_mutex_unlock(&model.lock);
}

/* Its object was held until now, so the span is there. */
static void let_go(uint32_t page, size_t pages)
{
    pthread_mutex_lock(&model.lock);
    if (--model.live[page] == 0) model.pages -= pages;
    pthread_mutex_unlock(&model.lock);
}

static bool is_above_level(void)
{
    pthread_mutex_lock(&model.lock);
    bool above = model.pages > model.level;
    pthread_mutex_unlock(&model.lock);
    return above;
}

/* ---- what collections keep for words that look like references ---- */

/* Pages of spans in which the last cycles found something alive that is in no account: a word that
 * a stopped thread has just let go of may be in its registers, and if an object begins there, the
 * one before is kept as well. */
static struct {
    AO_t pages[CYCLES];
    bool stored[PAGES]; /* by a thread that hasn't settled yet */
} stray;

static bool has_marked(const oaki_span *s)
{
    size_t off = oaki_heap_offset(oaki_span_start(s));
    if (s->cls == OAKI_CLASS_LARGE) return oaki_mark_get(off);
    for (size_t i = 0; i < oaki_classes[s->cls].nslots; i++, off += s->size)
        if (oaki_bit_get(oaki_the_heap.alloc, off) && oaki_mark_get(off)) return true;
    return false;
}

/* Those for so many pages where nothing was marked. */
static size_t places_for(size_t need, size_t end)
{
    const oaki_heap *h = &oaki_the_heap;
    size_t places = 0, run = 0;
    for (size_t page = 0, n; page < end; page += n) {
        n = h->spans[page].npages;
        bool free = (h->pte[page] & OAKI_PTE_CLASS) == 0;
        bool kept = !free && (model.live[page] || stray.stored[page]);
        kept = kept || (!free && has_marked(&h->spans[page]));
        if (kept) places += run / need;
        run = kept ? 0 : run + n;
    }
    return places + run / need;
}

/* An allocation of another thread's takes from the places that it lies in. */
static void look_for_places(size_t end)
{
    for (size_t i = 0; i < THREADS; i++) {
        mutator *m = &mutators[i];
        size_t spoiled = 0;
        if (m->need == 0) continue;
        for (size_t k = 0; k < THREADS; k++)
            if (k != i && mutators[k].need) spoiled += mutators[k].need / m->need + 2;
        if (places_for(m->need, end) <= spoiled) m->tight = true;
    }
}

static void count_stray(void *ctx)
{
    (void)ctx;
    const oaki_heap *h = &oaki_the_heap;
    size_t end = AO_load(&h->used) >> OAKI_PAGE_SHIFT, pages = 0;
    memset(stray.stored, 0, sizeof stray.stored);
    for (size_t i = 0; i < THREADS; i++)
        for (size_t k = 0; k < mutators[i].used; k++)
            if (held[i][k]) stray.stored[page_of(held[i][k])] = true;
    for (size_t page = 0, n; page < end; page += n) {
        n = h->spans[page].npages;
        bool free = (h->pte[page] & OAKI_PTE_CLASS) == 0;
        if (free || model.live[page] || stray.stored[page]) continue;
        if (has_marked(&h->spans[page])) pages += n;
    }
    AO_store(&stray.pages[AO_load(&h->cycle) % CYCLES], pages);
    if (model.in_pieces) look_for_places(end);
}

/* Was it so much that the model's slack didn't cover it, in all cycles since `cycle`? */
static bool is_excused(size_t cycle)
{
    size_t now = AO_load(&oaki_the_heap.cycle);
    for (size_t c = cycle; c < now; c++)
        if (AO_load(&stray.pages[c % CYCLES]) > model.slack) return true;
    return false;
}

/* ---- a thread's steps ---- */

static size_t below(mutator *m, size_t n)
{
    return (size_t)(test_draw(&m->random) % n);
}

/* Each order of magnitude alike often. */
static size_t draw_size(mutator *m)
{
    size_t top = size_most;
    for (size_t i = below(m, 18); i > 0 && top > 32; i--) top /= 2;
    return 16 + below(m, top - 15);
}

/* Nothing that a step has had in its hands is left below the caller, or in a register. */
static OAKI_NOINLINE void forget(void)
{
    char dead[8192];
    memset(dead, 0, sizeof dead);
    __asm__ __volatile__("" : : "r"(dead) : "memory");
#ifdef __x86_64__
    __asm__ __volatile__("xor %%eax, %%eax\n\txor %%ecx, %%ecx\n\txor %%edx, %%edx\n\t"
                         "xor %%esi, %%esi\n\txor %%edi, %%edi\n\txor %%r8d, %%r8d\n\t"
                         "xor %%r9d, %%r9d\n\txor %%r10d, %%r10d\n\txor %%r11d, %%r11d\n\t"
                         "pxor %%xmm0, %%xmm0\n\tpxor %%xmm1, %%xmm1\n\tpxor %%xmm2, %%xmm2\n\t"
                         "pxor %%xmm3, %%xmm3"
                         :
                         :
                         : "rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "xmm0",
                           "xmm1", "xmm2", "xmm3", "memory");
#endif
}

/* Pages that the allocation takes at most. */
static size_t need_of(size_t n, kind k, size_t align)
{
    size_t pages = (n + OAKI_PAGE - 1) >> OAKI_PAGE_SHIFT;
    bool aligned = k == ALIGNED || k == ALIGNED_NOSCAN;
    if (aligned || n > OAKI_SMALL_MAX) return OAKI_MAX(pages, 16) + (align >> OAKI_PAGE_SHIFT);
    return oaki_classes[oaki_class_of(n)].npages;
}

static OAKI_NOINLINE void *allocate(size_t n, kind k, size_t align)
{
    oak_zone *z = n / 16 % 2 ? zone : NULL;
    switch (k) {
    case SCAN: return z ? oak_zone_alloc(z, n) : oak_alloc(n);
    case NOSCAN: return z ? oak_zone_alloc_noscan(z, n) : oak_alloc_noscan(n);
    case TYPED: return z ? oak_zone_alloc_typed(z, pair, n / 16) : oak_alloc_typed(pair, n / 16);
    case ALIGNED: return oak_alloc_aligned(align, n);
    case ALIGNED_NOSCAN: return oak_alloc_aligned_noscan(align, n);
    default: return z ? oak_zone_alloc_pinned(z, n) : oak_alloc_pinned(n);
    }
}

/* `cycle` is the one that was the last before the call. */
static void failed(const mutator *m, const char *what, size_t n, size_t need, size_t cycle)
{
    pthread_mutex_lock(&model.lock);
    if (is_excused(cycle) || (model.in_pieces && m->tight)) {
        model.excused++;
    } else if (model.in_pieces && AO_load(&oaki_the_heap.cycle) == cycle) {
        model.at_once++;
    } else if (model.failed++ < 5) {
        printf("thread %zu: no memory for %zu bytes (%s), %zu pages: the model has %zu of %zu\n",
               m->number, n, what, need, model.pages, model.most);
        fflush(stdout);
    }
    pthread_mutex_unlock(&model.lock);
}

static OAKI_NOINLINE void drop(mutator *m, size_t i)
{
    uint32_t page = m->page[i];
    if (!page) return;
    size_t pages = oaki_the_heap.spans[page].npages;
    if (m->kind[i] == PINNED || below(m, 4) == 0) oak_free(held[m->number][i]);
    held[m->number][i] = NULL;
    m->page[i] = 0;
    forget();
    let_go(page, pages);
}

static OAKI_NOINLINE bool store(mutator *m, size_t i, size_t n, kind k, size_t align)
{
    void *p = allocate(n, k, align);
    if (!p) return false;
    held[m->number][i] = p;
    m->page[i] = page_of(p);
    m->kind[i] = (uint8_t)k;
    m->used = OAKI_MAX(m->used, i + 1);
    memset((char *)p + n - 1, 1, 1);
    return true;
}

/* Returns the number of the last mark before. */
static size_t begin(mutator *m, size_t need)
{
    m->tight = false;
    m->need = need;
    return AO_load(&oaki_the_heap.cycle);
}

static void end(mutator *m)
{
    forget();
    m->need = 0;
}

/* Held, or garbage at once. */
static void step_allocate(mutator *m)
{
    size_t i = below(m, SLOTS), n = draw_size(m), align = (size_t)1 << below(m, 17);
    kind k = (kind)below(m, below(m, 8) ? ALIGNED : KINDS);
    if (k == TYPED) n = OAKI_ALIGN_UP(n, 16);
    size_t need = need_of(n, k, align);
    bool keeps = k == PINNED || below(m, 3) == 0;
    drop(m, i);
    if (!reserve(need)) return;
    size_t cycle = begin(m, need);
    bool done = store(m, i, n, k, align);
    end(m);
    if (!done) failed(m, "oak_alloc", n, need, cycle);
    settle(need, done ? m->page[i] : 0);
    if (done && !keeps) drop(m, i);
    else if (done) m->recent[m->filled++ % RECENT] = (uint16_t)i;
}

static OAKI_NOINLINE bool resize(mutator *m, size_t i, size_t n)
{
    void *p = oak_realloc(held[m->number][i], n);
    if (!p) return false;
    held[m->number][i] = p;
    m->page[i] = page_of(p);
    return true;
}

/* A slot that has an object, if one of the recent ones does; else any. */
static size_t draw_slot(mutator *m)
{
    size_t i = below(m, SLOTS);
    for (size_t tries = 0; !m->page[i] && m->filled > 0 && tries < RECENT; tries++)
        i = m->recent[below(m, OAKI_MIN(m->filled, RECENT))];
    return i;
}

/* The span that the object leaves, or that becomes shorter, is in the account until it is done. */
static void step_resize(mutator *m)
{
    size_t i = draw_slot(m), n = draw_size(m), need = need_of(n, SCAN, 0);
    uint32_t before = m->page[i];
    if (!before || m->kind[i] == TYPED) return;
    if (!reserve(need)) return;
    size_t pages = oaki_the_heap.spans[before].npages, cycle = begin(m, need);
    bool done = resize(m, i, n);
    end(m);
    if (!done) failed(m, "oak_realloc", n, need, cycle);
    settle(need, m->page[i]);
    let_go(before, pages);
}

/* Of an object that is held, which only weak keys and weak values need. */
static OAKI_NOINLINE void step_map(mutator *m)
{
    size_t i = below(m, MAPS), slot = draw_slot(m);
    if (!m->page[slot] || !reserve(LIMIT_MAP_NEED)) return;
    size_t cycle = begin(m, LIMIT_MAP_NEED);
    const char *call = limit_map_step(m->map_kind[i], map[m->number][i], below(m, m->map_keys[i]),
                                      below(m, 3) != 0, held[m->number][slot]);
    end(m);
    if (call) failed(m, call, 16, LIMIT_MAP_NEED, cycle);
    settle(LIMIT_MAP_NEED, 0);
    AO_fetch_and_add1(&model.maps);
}

/* An object with a finalizer leaves the account when nothing refers to it: an allocation that needs
 * its place waits for the finalizer. */
static void step_refer(mutator *m)
{
    size_t i = draw_slot(m);
    size_t kind = below(m, finalizes ? LIMIT_REFERENCES : LIMIT_WEAK_REFERENCES);
    if (!m->page[i] || !reserve(1)) return;
    size_t cycle = begin(m, 1);
    const char *call = limit_refer(kind, held[m->number][i]);
    end(m);
    if (call) failed(m, call, 16, 1, cycle);
    settle(1, 0);
    AO_fetch_and_add1(&model.references);
}

static void keep_to_level(mutator *m)
{
    for (size_t tries = 0; tries < 64 && m->used > 0 && is_above_level(); tries++)
        drop(m, below(m, m->used));
}

static void *mutate(void *arg)
{
    mutator *m = arg;
    if (zone) ck_assert_int_eq(oak_zone_enter(zone), 0);
    for (size_t i = 0; i < MAPS; i++) {
        m->map_kind[i] = below(m, LIMIT_MAP_KINDS);
        m->map_keys[i] = limit_map_keys(m->map_kind[i], nmutators);
        map[m->number][i] = limit_map_new(m->map_kind[i]);
    }
    test_wait(&model.go, 1); /* until then the system's limit isn't there */
    for (size_t i = 0; i < m->steps; i++) {
        size_t what = below(m, 16);
        if (what < 12) step_allocate(m);
        else if (what < 14) step_resize(m);
        else if (what < 15) step_refer(m);
        else step_map(m);
        keep_to_level(m);
    }
    for (size_t i = 0; i < m->used; i++) drop(m, i);
    for (size_t i = 0; i < MAPS; i++) map[m->number][i] = NULL;
    if (zone) oak_zone_leave(zone);
    return NULL;
}

/* Each thread has its stack before the system's limit, if any, is set. */
static void race_below(size_t nthreads, size_t limit, size_t steps, void (*set_limit)(void))
{
    static const uint64_t bits[] = { 1 };
    size_t percent = 10 + test_below(71), had = AO_load(&oaki_the_heap.pages_inuse);
    pair = oak_type_bitmap("pair", 16, bits);
    nmutators = nthreads;
    model.slack = SLACK + nthreads * SLACK_EACH;
    model.most = (limit >> OAKI_PAGE_SHIFT) - model.slack - (zone ? 0 : had);
    model.level = model.most * percent / 100;
    ck_assert_int_eq(oaki_gc_after_mark(count_stray, NULL), 0);
    for (size_t i = 0; i < nthreads; i++) {
        mutators[i] = (mutator){ .random = test_random() | 1, .number = i, .steps = steps };
        mutators[i].id = test_start(mutate, &mutators[i]);
    }
    if (set_limit) set_limit();
    AO_store_release(&model.go, 1);
    for (size_t i = 0; i < nthreads; i++) test_join(mutators[i].id);
    oak_memstats s = test_stats();
    printf("%zu threads at %zu %%: %zu allocations, %zu of maps, %zu references, %zu collections, "
           "%zu skipped, %zu excused, %zu at once\n",
           nthreads, percent, model.allocations, (size_t)model.maps, (size_t)model.references,
           (size_t)s.num_gc, model.skipped, model.excused, model.at_once);
    /* A limit of the system's counts more than pages: tables, for one. */
    ck_assert_uint_le(model.failed, model.in_pieces ? model.allocations / 1000 : 0);
    ck_assert_uint_le(model.excused, model.allocations / (model.in_pieces ? ONE_IN : 1000));
    ck_assert_uint_le(model.at_once, model.excused);
    ck_assert_uint_gt(s.num_gc, test_scale(20) / 10);
    ck_assert_uint_ge(model.maps, nthreads * steps / 64); /* of 1 in 16, at least 1 in 4 */
    ck_assert_uint_ge(model.references, nthreads * steps / 64);
    test_assert_sound();
}

static void race(size_t nthreads, size_t limit, size_t steps)
{
    race_below(nthreads, limit, steps, NULL);
}

static const size_t counts[] = { 1, 2, 4, 16 };

/* Collections for lack of room alone; or also when they are due, as the environment says, and then
 * beside the program where they may be. */
static void start(bool paced)
{
    oak_config c = test_config();
    if (paced) oak_config_default(&c);
    test_seed("gc/limit");
    test_heap_start_stressed(c);
    if (paced) oaki_debug_switches.beside = 1;
    finalizes = c.finalizer_thread != 0;
    size_most = LIMIT / 10;
}

START_TEST(below_heap_max_nothing_fails_for_which_there_is_room)
{
    size_t n = counts[_i % 4];
    start(_i >= 4);
    oak_set_heap_max(LIMIT);
    race(n, LIMIT, test_scale(8000) / n);
}
END_TEST

START_TEST(below_a_zones_limit_neither)
{
    size_t n = counts[_i % 4];
    start(_i >= 4);
    zone = oak_zone_new(&(oak_zone_options){ .limit = LIMIT });
    race(n, LIMIT, test_scale(8000) / n);
}
END_TEST

/* ---- limits of the system's ---- */

/* Of the range, half of the addresses that there are. */
START_TEST(below_a_limit_of_addresses_neither)
{
    size_t n = counts[_i % 4];
    if (test_skip_asan() || test_skip_valgrind()) return;
    model.in_pieces = true;
    test_limit(RLIMIT_AS, 2 * LIMIT);
    start(_i >= 4);
    race(n, OAKI_MIN(oaki_the_heap.reserved, LIMIT), test_scale(SYSTEM_STEPS) / n);
}
END_TEST

/* The thread that runs finalizers has its stack before, too. */
static void limit_data(void)
{
    for (size_t i = LIMIT_WEAK_REFERENCES; finalizes && i < LIMIT_REFERENCES; i++)
        ck_assert_ptr_null(limit_refer(i, oak_alloc(16)));
    test_limit(RLIMIT_DATA, LIMIT);
}

START_TEST(below_a_limit_of_data_neither)
{
    size_t n = counts[_i % 4];
    if (test_skip_asan() || test_skip_valgrind()) return;
    model.in_pieces = true;
    start(_i >= 4);
    race_below(n, LIMIT, test_scale(SYSTEM_STEPS) / n, limit_data);
}
END_TEST

static void **chain;

static OAKI_NOINLINE void fill_range(void)
{
    for (void **next; (next = oak_alloc(3000)) != NULL; chain = next) *next = chain;
    chain = NULL;
}

/* Type ids are metadata. The range may have taken all of the limit but a part of a step, before
 * objects of types are wanted in its place. */
START_TEST(what_the_range_takes_of_a_limit_leaves_metadata_some)
{
    enum { EACH = 512, BLOCKS = 640 };
    static const uint64_t bits[] = { 1 };
    if (test_skip_asan() || test_skip_valgrind()) return;
    start(false);
    pair = oak_type_bitmap("pair", 16, bits);
    test_limit(RLIMIT_DATA, LIMIT + (size_t)_i * OAKI_CHUNK / 8);
    fill_range();
    forget();
    for (size_t i = 0; i < BLOCKS * EACH; i++) {
        void **next = oak_alloc_typed(pair, 1);
        ck_assert_msg(next, "%zu objects", i);
        *next = chain;
        chain = next;
    }
    chain = NULL;
}
END_TEST

static void use_up_mappings(void)
{
    if (!test_use_up_mappings(FEW)) printf("there may be more mappings than these\n");
}

START_TEST(beside_as_many_mappings_as_there_may_be_neither)
{
    size_t n = counts[_i % 4];
    if (test_skip_asan() || test_skip_valgrind()) return;
    model.in_pieces = true; /* more of the range may want a mapping */
    start(_i >= 4);
    oak_set_heap_max(LIMIT);
    race_below(n, LIMIT, test_scale(SYSTEM_STEPS) / n, use_up_mappings);
}
END_TEST

Suite *suite_gc_limit(void)
{
    Suite *s = suite_create("gc/limit");
    TCase *c = tcase_create("limit");
    tcase_set_timeout(c, 60);
    tcase_add_loop_test(c, below_heap_max_nothing_fails_for_which_there_is_room, 0, 8);
    tcase_add_loop_test(c, below_a_zones_limit_neither, 0, 8);
    suite_add_tcase(s, c);
    c = tcase_create("system");
    tcase_set_timeout(c, 120);
    tcase_add_loop_test(c, below_a_limit_of_addresses_neither, 0, 8);
    tcase_add_loop_test(c, below_a_limit_of_data_neither, 0, 8);
    tcase_add_loop_test(c, what_the_range_takes_of_a_limit_leaves_metadata_some, 0, 8);
    tcase_add_loop_test(c, beside_as_many_mappings_as_there_may_be_neither, 0, 8);
    suite_add_tcase(s, c);
    return s;
}
