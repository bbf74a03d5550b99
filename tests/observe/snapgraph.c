/* snapgraph.c - tests of what is asked of a snapshot, on snapshots whose shape makes a search that
 * goes over the same again and again take minutes: many pairs on one key, much that retains more
 * than what came before, names that collide, threads and groups of roots in their thousands. Tests
 * that are slow by a factor pass. */
#include "observe/path.h"
#include "observe/snapread.h"

#include "tests/heap.h"
#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

Suite *suite_observe_snapgraph(void);

static void *table(oaki_snaptable *t, size_t n, size_t size)
{
    t->item = calloc(n + 1, size);
    ck_assert_ptr_nonnull(t->item);
    t->n = t->cap = n;
    return t->item;
}

/* Objects of a granule each, side by side; object 0 is the root. */
static oak_snapshot *make(size_t nobjects, size_t npairs)
{
    oak_snapshot *s = calloc(1, sizeof *s);
    ck_assert_ptr_nonnull(s);
    oaki_snapobject *o = table(&s->objects, nobjects, sizeof *o);
    oaki_snaproot *r = table(&s->roots, 1, sizeof *r);
    table(&s->strings, 1, 1);
    table(&s->edges, 0, sizeof(oaki_snapedge));
    table(&s->pairs, npairs, sizeof(oaki_snappair));
    for (size_t i = 0; i < nobjects; i++)
        o[i] = (oaki_snapobject){ .address = i, .granules = 1, .type = OAKI_SHAPE_NOSCAN };
    r->kind = OAK_ROOT_GLOBAL;
    s->info.heap_used = nobjects << 4;
    return s;
}

static uint32_t pairs_with(const oak_snapshot *s, uint32_t key, uint32_t first)
{
    size_t n;
    const oaki_snappair *p = oaki_snappairs_of(s, key, &n);
    for (size_t i = 0; i < n; i++) {
        ck_assert_uint_eq(p[i].key, key);
        ck_assert_uint_eq(p[i].value, first + i);
    }
    return (uint32_t)n;
}

START_TEST(the_pairs_of_a_key_are_found)
{
    static const uint32_t keys[] = { 1, 1, 1, 3, 4, 4, 7 };
    oak_snapshot *s = make(8, OAKI_COUNT(keys));
    oaki_snappair *p = s->pairs.item;
    for (uint32_t i = 0; i < OAKI_COUNT(keys); i++) p[i] = (oaki_snappair){ 0, keys[i], i };
    static const uint32_t counts[] = { 0, 3, 0, 1, 2, 0, 0, 1 };
    for (uint32_t key = 0, first = 0; key < 8; key++) {
        ck_assert_uint_eq(pairs_with(s, key, first), counts[key]);
        first += counts[key];
    }
    ck_assert_uint_eq(pairs_with(s, UINT32_MAX, 0), 0);
    s->pairs.n = 0;
    ck_assert_uint_eq(pairs_with(s, 1, 0), 0);
    oak_snapshot_close(s);
}
END_TEST

#define PAIRS 600000u

START_TEST(many_ephemerons_on_one_key)
{
    uint64_t top[4];
    oak_snapshot_object o;
    oak_snapshot_edge e;
    oak_snapshot *s = make(PAIRS + 1, PAIRS);
    oaki_snappair *p = s->pairs.item;
    for (uint32_t i = 0; i < PAIRS; i++) p[i] = (oaki_snappair){ 0, 0, i + 1 };
    ck_assert_int_eq(oak_snapshot_analyse(s), 0);
    ck_assert_uint_eq(oak_snapshot_top(s, top, 4), 4);
    ck_assert_uint_eq(top[0], 0);
    ck_assert_int_eq(oak_snapshot_object_read(s, 0, &o), 0);
    ck_assert_uint_eq(o.retained, (PAIRS + 1) * UINT64_C(16));
    for (uint64_t i = 0; i < PAIRS; i++) {
        ck_assert_int_eq(oak_snapshot_edge_read(s, 0, i, &e), 0);
        if (e.target != i + 1 || !e.ephemeron) ck_abort_msg("edge %llu", (unsigned long long)i);
    }
    ck_assert_int_eq(oak_snapshot_edge_read(s, 0, PAIRS, &e), -1);
    oak_path *path = oak_snapshot_why(s, (uint64_t)PAIRS << 4);
    ck_assert_ptr_nonnull(path);
    ck_assert_uint_eq(path->length, 2);
    ck_assert_str_eq(path->steps[1].label, "ephemeron");
    oak_path_free(path);
    oak_snapshot_close(s);
}
END_TEST

/* A list; its end refers to all that the root refers to as well: the root dominates them, and each
 * way up from one goes along the list. Object 0 is the root, 1 to LIST are the list. */
START_TEST(a_list_whose_end_knows_what_the_root_knows)
{
    enum { LIST = 400000, N = 2 * LIST };
    oak_snapshot *s = make(N, 0);
    oaki_snapobject *o = s->objects.item;
    free(s->edges.item);
    oaki_snapedge *e = table(&s->edges, 3 * (size_t)LIST, sizeof *e);
    uint32_t n = 0;
    for (uint32_t i = 0; i <= LIST; i++) {
        o[i].edge = n;
        if (i < LIST) e[n++].target = i + 1;
        for (uint32_t k = LIST + 1; k < N && (i == 0 || i == LIST); k++) e[n++].target = k;
        o[i].nedges = n - (uint32_t)o[i].edge;
    }
    ck_assert_int_eq(oak_snapshot_analyse(s), 0);
    for (uint32_t i = 1; i < N; i++)
        if (s->idom[i] != (i <= LIST ? i - 1 : 0)) ck_abort_msg("%u: %u", i, s->idom[i]);
    ck_assert_uint_eq(s->retained[0], (uint64_t)N * 16);
    ck_assert_uint_eq(s->retained[1], (uint64_t)LIST * 16);
    ck_assert_uint_eq(s->retained[LIST], 16);
    oak_snapshot_close(s);
}
END_TEST

/* ---- top ---- */

static oak_snapshot *with_sizes(size_t n)
{
    oak_snapshot *s = make(n, 0);
    s->idom = malloc(n * sizeof *s->idom);
    s->retained = malloc(n * sizeof *s->retained);
    ck_assert(s->idom && s->retained);
    memset(s->idom, 0xff, n * sizeof *s->idom);
    return s;
}

/* As it is defined: by size, of the same size the first first. */
START_TEST(the_top_is_in_order)
{
    enum { N = 300 };
    uint64_t out[N + 1];
    test_seed("observe/snapgraph");
    oak_snapshot *s = with_sizes(N);
    for (size_t max = 1; max <= N + 1; max += 1 + test_below(20)) {
        bool taken[N] = { false };
        for (size_t i = 0; i < N; i++) s->retained[i] = 16 * test_below(50);
        size_t n = oak_snapshot_top(s, out, max);
        ck_assert_uint_eq(n, OAKI_MIN(max, (size_t)N));
        for (size_t k = 0; k < n; k++) {
            size_t best = N;
            for (size_t i = 0; i < N; i++)
                if (!taken[i] && (best == N || s->retained[i] > s->retained[best])) best = i;
            ck_assert_uint_eq(out[k], best);
            taken[best] = true;
        }
    }
    oak_snapshot_close(s);
}
END_TEST

START_TEST(a_long_top_of_what_retains_more_and_more)
{
    enum { N = 3000000 };
    oak_snapshot *s = with_sizes(N);
    uint64_t *out = malloc(N / 2 * sizeof *out);
    ck_assert_ptr_nonnull(out);
    for (size_t i = 0; i < N; i++) s->retained[i] = i;
    ck_assert_uint_eq(oak_snapshot_top(s, out, N / 2), N / 2);
    for (size_t i = 0; i < N / 2; i++)
        if (out[i] != N - 1 - i) ck_abort_msg("%zu", i);
    free(out);
    oak_snapshot_close(s);
}
END_TEST

/* ---- differences ---- */

#define LOW ((UINT64_C(1) << 35) - 1)
#define PIECE 8
#define PIECES 18

/* FNV-1a; its low bits follow from the low bits of `h`. */
static uint64_t fnv(uint64_t h, const char *p)
{
    for (size_t i = 0; i < PIECE; i++) h = (h ^ (unsigned char)p[i]) * UINT64_C(1099511628211);
    return h & LOW;
}

/* Another piece for each v: the factor is odd. */
static void spell(uint32_t v, char *out)
{
    v *= UINT32_C(0x9e3779b1);
    for (size_t i = 0; i < PIECE; i++, v >>= 4) out[i] = (char)('a' + v % 16);
}

/* Finds two pieces that lead from one state to one other, which is returned (birthday attack). */
static uint64_t collide(uint64_t from, char pair[2][PIECE])
{
    enum { SLOTS = 1 << 20 };
    uint32_t *seen = calloc(SLOTS, sizeof *seen);
    ck_assert_ptr_nonnull(seen);
    for (uint32_t v = 0; v < SLOTS - 1; v++) {
        spell(v, pair[1]);
        uint64_t to = fnv(from, pair[1]);
        for (size_t i = to % SLOTS;; i = (i + 1) % SLOTS) {
            if (seen[i] == 0) {
                seen[i] = v + 1;
                break;
            }
            spell(seen[i] - 1, pair[0]);
            if (fnv(from, pair[0]) != to) continue;
            free(seen);
            return to;
        }
    }
    ck_abort_msg("no two pieces collide");
}

/* An object of each of 2^PIECES types, whose names have the same hash by FNV up to bit 34: each
 * name takes one piece of each pair (Joux 2004). */
static oak_snapshot *with_colliding_types(void)
{
    enum { N = 1 << PIECES, LENGTH = PIECE * PIECES + 1 };
    static char pairs[PIECES][2][PIECE];
    oak_snapshot *s = make(N, 0);
    oaki_snapobject *o = s->objects.item;
    uint64_t *type = table(&s->types, N, sizeof *type);
    free(s->strings.item);
    char *text = table(&s->strings, 1 + (size_t)N * LENGTH, 1);
    uint64_t state = UINT64_C(14695981039346656037);
    for (size_t k = 0; k < PIECES; k++) state = collide(state, pairs[k]);
    for (uint32_t i = 0; i < N; i++) {
        type[i] = 1 + (uint64_t)i * LENGTH;
        for (size_t k = 0; k < PIECES; k++)
            memcpy(text + type[i] + k * PIECE, pairs[k][i >> k & 1], PIECE);
        o[i].type = (uint64_t)(i + 1) << 2 | OAKI_SHAPE_TYPED;
    }
    return s;
}

START_TEST(types_whose_names_collide_are_compared)
{
    oak_snapshot *s = with_colliding_types();
    oak_snapshot_change c[3];
    size_t total = 0;
    ck_assert_int_eq(oak_snapshot_diff(s, s, c, 3, &total), 3);
    ck_assert_uint_eq(total, 1 << PIECES);
    for (size_t i = 0; i < 3; i++) {
        ck_assert_uint_eq(c[i].objects_before, 1);
        ck_assert_uint_eq(c[i].bytes_after, 16);
        ck_assert_int_lt(i ? strcmp(c[i - 1].type, c[i].type) : -1, 0);
    }
    oak_snapshot_close(s);
}
END_TEST

/* ---- conversion ---- */

static char *converted(const oak_snapshot *s)
{
    char path[] = "/tmp/oakum-snap-XXXXXX";
    int fd = mkstemp(path);
    ck_assert_int_ge(fd, 0);
    unlink(path);
    ck_assert_int_eq(oak_snapshot_convert(s, fd), 0);
    off_t n = lseek(fd, 0, SEEK_END);
    char *text = calloc(1, (size_t)n + 1);
    ck_assert_int_eq(pread(fd, text, (size_t)n, 0), n);
    close(fd);
    return text;
}

/* More threads than the roots belong to, by far. What is all zeroes takes no memory. */
START_TEST(roots_of_many_threads_are_converted)
{
    enum { THREADS = 100000000, ROOTS = 8000 };
    oak_snapshot *s = make(1, 0);
    free(s->roots.item);
    free(s->strings.item);
    oaki_snaproot *r = table(&s->roots, 2 * ROOTS, sizeof *r);
    oaki_snapthread *t = table(&s->threads, THREADS, sizeof *t);
    memcpy(table(&s->strings, 16, 1), "\0first\0second", 14);
    for (int32_t i = 0; i < 2 * ROOTS; i++) {
        r[i] = (oaki_snaproot){ .kind = OAK_ROOT_STACK, .thread = 1 + i % ROOTS };
        r[i].offset = UINT64_MAX;
    }
    t[0] = (oaki_snapthread){ .tid = 77, .name = 1 };
    t[THREADS - 2] = (oaki_snapthread){ .tid = 77, .name = 7 };
    t[THREADS - 1] = (oaki_snapthread){ .tid = ROOTS, .name = 1 };
    char *text = converted(s);
    ck_assert_ptr_nonnull(strstr(text, "\"(Stack) of thread 77 second\""));
    ck_assert_ptr_nonnull(strstr(text, "\"(Stack) of thread 8000 first\""));
    ck_assert_ptr_nonnull(strstr(text, "\"(Stack) of thread 78 \""));
    ck_assert_ptr_nonnull(strstr(text, "\"node_count\":8003,\"edge_count\":24001"));
    free(text);
    oak_snapshot_close(s);
}
END_TEST

Suite *suite_observe_snapgraph(void)
{
    Suite *s = suite_create("observe/snapgraph");
    TCase *c = tcase_create("snapgraph");
    tcase_add_test(c, the_pairs_of_a_key_are_found);
    tcase_add_test(c, many_ephemerons_on_one_key);
    tcase_add_test(c, a_list_whose_end_knows_what_the_root_knows);
    tcase_add_test(c, the_top_is_in_order);
    tcase_add_test(c, a_long_top_of_what_retains_more_and_more);
    tcase_add_test(c, types_whose_names_collide_are_compared);
    tcase_add_test(c, roots_of_many_threads_are_converted);
    suite_add_tcase(s, c);
    return s;
}
