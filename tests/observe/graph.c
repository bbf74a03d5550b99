/* graph.c - tests of searches over random heaps, against a simple one: shortest paths, a path for
 * each object that lives, retained sizes; the same from a snapshot. */
#include "gc/debug/edges.h"
#include "randheap.h"
#include "runtime/collector.h"
#include "tests/heap.h"
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

Suite *suite_observe_graph(void);

static randheap h;

/* A thread's stack may be one that another thread left full of addresses. */
static __attribute__((noinline)) void scrub(void)
{
    char dead[64 << 10];
    memset(dead, 0, sizeof dead);
    __asm__ __volatile__("" : : "r"(dead) : "memory");
}

static void ask(void *arg)
{
    scrub();
    uintptr_t *in_out = arg;
    *in_out = (uintptr_t)oak_why_alive((void *)~*in_out);
}

static oak_path *path_of(uint32_t i)
{
    uintptr_t in_out = h.node[i].hidden;
    test_away(ask, &in_out);
    return (oak_path *)in_out;
}

/* Each step refers to the next where it says. */
static void check_steps(const oak_path *p)
{
    for (size_t k = 1; k < p->nsteps && p->nsteps == p->length; k++) {
        const oak_step *from = &p->steps[k - 1], *to = &p->steps[k];
        ck_assert_uint_ne(to->offset, SIZE_MAX);
        const char *word = *(char *const *)((const char *)from->object + to->offset);
        ck_assert_ptr_eq(word, (const char *)to->object + to->interior);
    }
}

START_TEST(paths_are_shortest_and_there_for_each_live_object)
{
    uint32_t distance[RANDHEAP_NODES];
    test_seed("observe_graph");
    randheap_make(&h);
    randheap_search(&h, RANDHEAP_FAR, distance);
    size_t step = test_slow() ? 40 : 1 + h.n / 60;
    for (uint32_t i = (uint32_t)test_below(step); i < h.n; i += (uint32_t)step) {
        oak_path *p = path_of(i);
        ck_assert_ptr_nonnull(p);
        if (distance[i] == RANDHEAP_FAR) {
            ck_assert(p->length == 0 || p->root.caller);
        } else {
            ck_assert_uint_eq(p->length, distance[i]);
            check_steps(p);
        }
        oak_path_free(p);
    }
    oak_collect();
    test_assert_sound();
}
END_TEST

typedef struct sizes {
    uint32_t i;
    size_t bytes, count;
} sizes;

static void ask_size(void *arg)
{
    sizes *s = arg;
    scrub();
    /* not its start, which on a stack keeps the object before it as well */
    const void *p = (char *)randheap_at(&h, s->i) + 8;
    s->bytes = oak_retained_size(&p, 1, &s->count);
}

START_TEST(retained_sizes_agree_with_removal)
{
    uint32_t distance[RANDHEAP_NODES];
    test_seed("observe_graph");
    randheap_make(&h);
    randheap_search(&h, RANDHEAP_FAR, distance);
    size_t all = randheap_bytes(&h, RANDHEAP_FAR), step = test_slow() ? 60 : 1 + h.n / 40;
    for (uint32_t i = (uint32_t)test_below(step); i < h.n; i += (uint32_t)step) {
        sizes s = { .i = i };
        if (distance[i] == RANDHEAP_FAR) continue; /* the question itself keeps it */
        test_away(ask_size, &s);
        ck_assert_uint_eq(s.bytes, all - randheap_bytes(&h, i));
    }
}
END_TEST

START_TEST(of_no_object_there_is_no_retained_size)
{
    test_heap_start(test_config());
    const void *none = &h;
    ck_assert_uint_eq(oak_retained_size(&none, 1, NULL), SIZE_MAX);
    ck_assert_int_eq(errno, EINVAL);
    ck_assert_uint_eq(oak_retained_size(NULL, 0, NULL), 0);
}
END_TEST

/* ---- from a snapshot ---- */

START_TEST(a_snapshot_says_the_same)
{
    uint32_t distance[RANDHEAP_NODES];
    char path[] = "/tmp/oakum-test-XXXXXX", error[200];
    int fd = mkstemp(path);
    ck_assert_int_ge(fd, 0);
    close(fd);
    test_seed("observe_graph");
    randheap_make(&h);
    randheap_search(&h, RANDHEAP_FAR, distance);
    oak_snapshot_options o = { .in_stop_ = _i == 1 };
    ck_assert_int_eq(oak_snapshot_save_with(path, &o, NULL), 0);
    oak_snapshot *s = oak_snapshot_open(path, error, sizeof error);
    ck_assert_msg(s != NULL, "%s", error);
    ck_assert_int_eq(oak_snapshot_analyse(s), 0);
    for (uint32_t i = 0; i < h.n; i++) {
        uint64_t number;
        uintptr_t at = ~h.node[i].hidden;
        oak_snapshot_object obj;
        if (oak_snapshot_find(s, at + h.node[i].size / 2, &number) != 0) {
            ck_assert_uint_eq(distance[i], RANDHEAP_FAR);
            continue;
        }
        ck_assert_int_eq(oak_snapshot_object_read(s, number, &obj), 0);
        ck_assert_uint_eq(obj.address, at);
        ck_assert_uint_eq(obj.size, h.node[i].size);
        if (distance[i] == RANDHEAP_FAR) continue; /* a stray word */
        ck_assert_uint_eq(obj.edges, h.node[i].nedges);
        oak_path *p = oak_snapshot_why(s, at);
        ck_assert_uint_eq(p->length, distance[i]);
        check_steps(p);
        oak_path_free(p);
        for (uint32_t e = 0; e < h.node[i].nedges; e++) {
            oak_snapshot_edge edge;
            ck_assert_int_eq(oak_snapshot_edge_read(s, number, e, &edge), 0);
            ck_assert_uint_eq(edge.offset, e * sizeof(void *));
            ck_assert_int_eq(oak_snapshot_object_read(s, edge.target, &obj), 0);
            ck_assert_uint_eq(obj.address, ~h.node[h.node[i].to[e]].hidden);
        }
    }
    oak_snapshot_close(s);
    unlink(path);
}
END_TEST

void *graph_top;
static uintptr_t keyed[5]; /* key, two handles, value, what it refers to: inverted */

static void make_pairs(void *arg)
{
    void **top = oak_alloc(96), *key = oak_alloc(32), **value = oak_alloc(64), **next = value;
    top[0] = key;
    for (size_t i = 0; i < 3; i++) next = *next = oak_alloc(48);
    top[1] = oak_ephemeron_new(key, value);
    top[2] = oak_ephemeron_new(key, oak_alloc(128));
    void *const all[] = { key, top[1], top[2], value, value[0] };
    for (size_t i = 0; i < OAKI_COUNT(all); i++) keyed[i] = ~(uintptr_t)all[i];
    *(void **)arg = top;
}

/* Its number is its dominator's for what hangs on it. */
static uint64_t keyed_object(const oak_snapshot *s, size_t i, oak_snapshot_object *out)
{
    uint64_t number;
    ck_assert_int_eq(oak_snapshot_find(s, ~keyed[i], &number), 0);
    ck_assert_int_eq(oak_snapshot_object_read(s, number, out), 0);
    return number;
}

START_TEST(an_ephemerons_value_is_dominated_by_its_key)
{
    char path[] = "/tmp/oakum-test-XXXXXX", error[200];
    int fd = mkstemp(path);
    ck_assert_int_ge(fd, 0);
    close(fd);
    test_heap_start(test_config());
    test_away(make_pairs, &graph_top);
    ck_assert_int_eq(oak_snapshot_save(path), 0);
    oak_snapshot *s = oak_snapshot_open(path, error, sizeof error);
    ck_assert_msg(s != NULL, "%s", error);
    ck_assert_int_eq(oak_snapshot_analyse(s), 0);
    oak_snapshot_object o, handle;
    uint64_t key = keyed_object(s, 0, &o);
    ck_assert_uint_eq(o.retained, 32 + 64 + 3 * 48 + 128);
    for (size_t i = 1; i < 3; i++) {
        keyed_object(s, i, &handle);
        ck_assert_uint_eq(handle.retained, handle.size);
        ck_assert_uint_eq(handle.dominator, o.dominator);
    }
    uint64_t value = keyed_object(s, 3, &o);
    ck_assert_uint_eq(o.retained, 64 + 3 * 48);
    ck_assert_uint_eq(o.dominator, key);
    keyed_object(s, 4, &o);
    ck_assert_uint_eq(o.retained, 3 * 48);
    ck_assert_uint_eq(o.dominator, value);
    oak_snapshot_close(s);
    unlink(path);
    graph_top = NULL;
}
END_TEST

/* ---- edges ---- */

enum { EDGES_MAX = 70000 };
static size_t nfound;
static oaki_edge *found_edges; /* EDGES_MAX of them, not roots */

static void take_edges(void *ctx, const oaki_edge *e, size_t n)
{
    (void)ctx;
    ck_assert_uint_le(n, OAKI_EDGES);
    if (!found_edges) found_edges = malloc(EDGES_MAX * sizeof *found_edges);
    ck_assert_uint_le(nfound + n, EDGES_MAX);
    for (size_t i = 0; i < n; i++) found_edges[nfound++] = e[i];
}

static void mark_backwards(oak_marker *m, void *obj, size_t size)
{
    void **p = obj;
    for (size_t i = size / sizeof *p; i-- > 0;)
        if (i % 3 == 0) oak_mark_ptr(m, p[i]);
}

static void mark_hidden(oak_marker *m, void *obj, size_t size)
{
    uintptr_t *p = obj;
    (void)size;
    oak_mark_ptr(m, (void *)~p[0]);
}

static void edges_of(const void *p)
{
    nfound = 0;
    oaki_thread *t = oaki_gc_stop_begin();
    oaki_edges_of(oaki_heap_offset(p), true, take_edges, NULL);
    oaki_edges_trim();
    oaki_gc_stop_end(t);
}

START_TEST(what_a_mark_function_marks_is_found_in_the_object)
{
    test_heap_start(test_config());
    const oak_type *t = oak_type_function("backwards", 8, mark_backwards);
    static const size_t sizes[] = { 3, 60, 1000, 60000 };
    for (size_t k = 0; k < OAKI_COUNT(sizes); k++) {
        void **p = oak_alloc_typed(t, sizes[k]);
        for (size_t i = 0; i < sizes[k]; i++) p[i] = oak_alloc(16);
        edges_of(p);
        ck_assert_uint_eq(nfound, (sizes[k] + 2) / 3);
        for (size_t i = 0; i < nfound; i++) {
            ck_assert_uint_eq(found_edges[i].at, i * 24);
            ck_assert_uint_eq(found_edges[i].to, oaki_heap_offset(p[i * 3]));
        }
    }
}
END_TEST

START_TEST(what_is_marked_and_in_no_word_has_no_place)
{
    test_heap_start(test_config());
    const oak_type *t = oak_type_function("hidden", 8, mark_hidden);
    uintptr_t *p = oak_alloc_typed(t, 4);
    void *q = oak_alloc(32);
    p[0] = ~(uintptr_t)q;
    edges_of(p);
    ck_assert_uint_eq(nfound, 1);
    ck_assert_uint_eq(found_edges[0].to, oaki_heap_offset(q));
    ck_assert_uint_eq(found_edges[0].at, SIZE_MAX);
}
END_TEST

START_TEST(of_a_large_object_the_released_head_is_not_looked_at)
{
    test_heap_start(test_config());
    size_t n = 1 << 20;
    void **p = oak_alloc(n), *q = oak_alloc(32);
    p[0] = p[n / sizeof *p - 1] = q;
    edges_of(p);
    ck_assert_uint_eq(nfound, 2);
    oaki_large_give_back(p, n / 2, n);
    edges_of(p);
    ck_assert_uint_eq(nfound, 1);
    ck_assert_uint_eq(found_edges[0].at, n - sizeof *p);
}
END_TEST

Suite *suite_observe_graph(void)
{
    Suite *s = suite_create("observe_graph");
    TCase *t = tcase_create("random");
    tcase_add_loop_test(t, paths_are_shortest_and_there_for_each_live_object, 0, 5);
    tcase_add_loop_test(t, retained_sizes_agree_with_removal, 0, 3);
    tcase_add_test(t, of_no_object_there_is_no_retained_size);
    tcase_add_loop_test(t, a_snapshot_says_the_same, 0, 6);
    suite_add_tcase(s, t);
    t = tcase_create("ephemerons");
    tcase_add_test(t, an_ephemerons_value_is_dominated_by_its_key);
    suite_add_tcase(s, t);
    t = tcase_create("edges");
    tcase_add_test(t, what_a_mark_function_marks_is_found_in_the_object);
    tcase_add_test(t, what_is_marked_and_in_no_word_has_no_place);
    tcase_add_test(t, of_a_large_object_the_released_head_is_not_looked_at);
    suite_add_tcase(s, t);
    return s;
}
