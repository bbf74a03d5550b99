/* sticky_model - minor collections against a model: objects of all kinds in trees that change in
 * every way, each held by one word that may lead to its inside; cut off, freed by hand, resized,
 * moved below others, between collections of either kind. What the model has is there and whole. */
#include "gc/concurrent/concurrent.h"
#include "gc/event.h"
#include "gc/gc.h"
#include "runtime/collector.h"
#include "runtime/dirty.h"
#include "runtime/os.h"
#include "runtime/track.h"
#include "tests/heap.h"
#include "tests/threads.h"

#include <check.h>
#include <oakum/oakum.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

Suite *suite_gc_sticky_model(void);

#define OBJECTS 3000
#define REFS 4
#define MAGIC 0x0a6b0a6b0a6b0a6bu
#define LEAST ((3 + REFS) * sizeof(uintptr_t))

typedef enum kind { ROOT, SCAN, NOSCAN, PINNED, BITS, FUNCTION, KINDS } kind;

/* Of an object: its number, the magic one, then REFS words, which lie far apart in those that are
 * scanned conservatively. */
typedef struct thing {
    uintptr_t p; /* inverted, as nothing here is a reference */
    size_t size;
    kind kind;
    int parent, place; /* where it is referred to from; -1: nowhere, as it is pinned */
    int child[REFS];   /* -1: none */
} thing;

typedef struct model {
    thing *of; /* of[0]: the root */
    uint64_t draw;
    uintptr_t *root; /* its object's words */
} model;

static struct {
    AO_t minor, full;
} seen;
static const oak_type *bits, *function;

static void on_cycle(const oaki_cycle *c, void *ctx)
{
    (void)ctx;
    AO_fetch_and_add1_full(c->minor ? &seen.minor : &seen.full);
}

/* In hand from here on: without the barrier a compiler inverts it when it is used, maybe long after
 * the only word that led to it is gone. */
static uintptr_t *words_of(const thing *t)
{
    uintptr_t *p = (uintptr_t *)~t->p;
    OAKI_HOLD(p);
    return p;
}

static size_t place_of(const thing *t, int i)
{
    if (t->kind == BITS || t->kind == FUNCTION) return 2 + (size_t)i;
    return 2 + (size_t)i * ((t->size / 8 - 3) / REFS);
}

static void mark_function(oak_marker *m, void *obj, size_t size)
{
    (void)size;
    for (size_t i = 0; i < REFS; i++) oak_mark_ptr(m, ((void **)obj)[2 + i]);
}

static size_t below(model *m, size_t n)
{
    return test_draw(&m->draw) % n;
}

/* In hand until here: other threads collect meanwhile. */
static void keep(const void *p)
{
    __asm__ __volatile__("" : : "r"(p) : "memory");
}

static bool is_free(const thing *t)
{
    return t->p == 0;
}

static int any(model *m)
{
    for (int tries = 0; tries < 50; tries++) {
        int i = 1 + (int)below(m, OBJECTS - 1);
        if (!is_free(&m->of[i])) return i;
    }
    return 0;
}

/* ---- references ---- */

static OAKI_NOINLINE void refer(model *m, int from, int place, int to)
{
    thing *f = &m->of[from], *t = &m->of[to];
    size_t inside = below(m, 3) ? below(m, t->size) : 0;
    words_of(f)[place_of(f, place)] = ~t->p + inside;
    f->child[place] = to;
    t->parent = from;
    t->place = place;
}

static void unrefer(model *m, int to)
{
    thing *t = &m->of[to];
    if (t->parent < 0) return;
    thing *f = &m->of[t->parent];
    words_of(f)[place_of(f, t->place)] = 0;
    f->child[t->place] = -1;
    t->parent = -1;
}

/* Some object with room for a reference. *place: where. */
static int any_parent(model *m, int *place)
{
    for (int tries = 0; tries < 50; tries++) {
        int i = any(m);
        if (m->of[i].kind == NOSCAN) continue;
        *place = (int)below(m, REFS);
        if (m->of[i].child[*place] < 0) return i;
    }
    return -1;
}

/* ---- steps ---- */

static void *allocate(kind k, size_t *size)
{
    switch (k) {
    case NOSCAN: return oak_alloc_noscan(*size);
    case PINNED: return oak_alloc_pinned(*size);
    case BITS: *size = LEAST; return oak_alloc_typed(bits, 1);
    case FUNCTION: *size = LEAST; return oak_alloc_typed(function, 1);
    default: return oak_alloc(*size);
    }
}

static size_t any_size(model *m)
{
    size_t most = (size_t)128 << below(m, below(m, 20) ? 4 : 12);
    return OAKI_ALIGN_UP(LEAST + below(m, most), 8);
}

static OAKI_NOINLINE void step_new(model *m)
{
    int place, i = 1 + (int)below(m, OBJECTS - 1), from = any_parent(m, &place);
    thing *t = &m->of[i];
    if (!is_free(t) || from < 0) return;
    *t = (thing){ .size = any_size(m), .kind = 1 + (kind)below(m, KINDS - 1) };
    memset(t->child, -1, sizeof t->child);
    uintptr_t *p = allocate(t->kind, &t->size);
    if (t->kind == NOSCAN) memset(p, 0, t->size);
    p[0] = (uintptr_t)i;
    p[1] = MAGIC;
    t->p = ~(uintptr_t)p;
    refer(m, from, place, i);
    keep(p);
}

/* It and all below it are gone; pinned ones, which stay, by hand. */
static OAKI_NOINLINE void forget(model *m, int i, bool by_hand)
{
    thing *t = &m->of[i];
    uintptr_t *p = words_of(t);
    unrefer(m, i);
    for (int k = 0; k < REFS; k++)
        if (t->child[k] >= 0) forget(m, t->child[k], by_hand);
    if (by_hand || t->kind == PINNED) oak_free(p);
    keep(p);
    t->p = 0;
}

static int depth_below(const model *m, int i, int most)
{
    int n = 0;
    for (int k = 0; k < REFS && n <= most; k++)
        if (m->of[i].child[k] >= 0) n += 1 + depth_below(m, m->of[i].child[k], most);
    return n;
}

static void step_end(model *m)
{
    int i = any(m);
    if (i == 0 || depth_below(m, i, 200) > 200) return;
    forget(m, i, below(m, 2));
}

static OAKI_NOINLINE void step_resize(model *m)
{
    int i = any(m);
    thing *t = &m->of[i];
    if (i == 0 || t->kind == BITS || t->kind == FUNCTION) return;
    uintptr_t ref[REFS], *p = words_of(t);
    for (int k = 0; k < REFS; k++) {
        ref[k] = t->kind == NOSCAN ? 0 : p[place_of(t, k)];
        p[place_of(t, k)] = 0;
    }
    t->size = below(m, 2) ? any_size(m) : OAKI_ALIGN_UP(OAKI_MAX(t->size / 4 * 3, LEAST), 8);
    p = oak_realloc(p, t->size);
    t->p = ~(uintptr_t)p;
    for (int k = 0; k < REFS; k++) p[place_of(t, k)] = ref[k];
    if (t->parent >= 0) refer(m, t->parent, t->place, i);
    for (int k = 0; k < REFS; k++) keep((void *)ref[k]);
    keep(p);
}

static void step_move(model *m)
{
    int place, i = any(m), to = any_parent(m, &place);
    if (i == 0 || to < 0) return;
    for (int up = to; up > 0; up = m->of[up].parent)
        if (up == i) return;
    const uintptr_t *p = words_of(&m->of[i]);
    unrefer(m, i);
    refer(m, to, place, i);
    keep(p);
}

static void step_collect(model *m)
{
    oaki_thread *t = oaki_enter();
    if (below(m, 3) == 0) (void)oaki_concurrent_force(t);
    else (void)oaki_gc_collect(t, below(m, 16) ? OAKI_GC_DUE : OAKI_GC_ASKED);
    oaki_leave(t);
}

static OAKI_NOINLINE void check(const model *m)
{
    for (int i = 1; i < OBJECTS; i++) {
        const thing *t = &m->of[i];
        if (is_free(t)) continue;
        const uintptr_t *p = words_of(t);
        test_expect(p[0] == (uintptr_t)i && p[1] == MAGIC, __LINE__);
        test_expect(oak_base(p) == p, __LINE__);
        for (int k = 0; k < REFS && t->kind != NOSCAN; k++) {
            const thing *c = t->child[k] >= 0 ? &m->of[t->child[k]] : NULL;
            uintptr_t w = p[place_of(t, k)];
            test_expect(c ? w - ~c->p < c->size : w == 0, __LINE__);
        }
    }
}

static void *run(void *arg)
{
    model m = { .of = calloc(OBJECTS, sizeof(thing)), .draw = (uintptr_t)arg };
    m.of[0] = (thing){ .size = LEAST * 40, .kind = ROOT, .parent = -1 };
    memset(m.of[0].child, -1, sizeof m.of[0].child);
    m.root = oak_alloc(m.of[0].size);
    m.of[0].p = ~(uintptr_t)m.root;
    for (size_t n = 0; n < test_scale(60000); n++) {
        size_t what = below(&m, 64);
        if (what < 30) step_new(&m);
        else if (what < 38) step_end(&m);
        else if (what < 50) step_resize(&m);
        else if (what < 63) step_move(&m);
        else if (below(&m, 4) == 0) step_collect(&m);
        if (n % 4000 == 0) check(&m);
    }
    check(&m);
    for (int k = 0; k < REFS; k++)
        if (m.of[0].child[k] >= 0) forget(&m, m.of[0].child[k], true);
    free(m.of);
    keep(m.root);
    return NULL;
}

static bool start(size_t beside)
{
    uint64_t words[1] = { 0x3c };
    oak_config c = test_config();
    c.concurrent = 1;
    c.tracking = OAK_TRACKING_USERFAULTFD;
    if (beside) oaki_debug_switches.beside = 1;
    c.generations = 1;
    bool can = test_heap_tracked(c, 5);
    oaki_debug_switches.beside = beside;
    ck_assert_int_eq(oaki_gc_on_cycle(on_cycle, NULL), 0);
    bits = oak_type_bitmap("bits", LEAST, words);
    function = oak_type_function("function", LEAST, mark_function);
    return can;
}

START_TEST(trees_are_whole)
{
    pthread_t id[2];
    test_seed("gc/sticky_model");
    if (!start((size_t)_i)) return;
    for (uintptr_t i = 0; i < 2; i++) id[i] = test_start(run, (void *)(test_random() | 1));
    for (size_t i = 0; i < 2; i++) test_join(id[i]);
    ck_assert_uint_eq(AO_load(&test_wrong), 0);
    ck_assert_uint_ge(AO_load(&seen.minor), test_slow() ? 1 : 10);
    test_assert_sound();
}
END_TEST

Suite *suite_gc_sticky_model(void)
{
    Suite *s = suite_create("gc_sticky_model");
    TCase *t = tcase_create("model");
    tcase_set_timeout(t, 120);
    tcase_add_loop_test(t, trees_are_whole, 0, 2);
    suite_add_tcase(s, t);
    return s;
}
