/* map_typed.c - maps that OAK_MAP_DEFINE makes, of each kind of key and value, and that they are
 * the same maps as those of a runtime type. */
#include "tests/heap.h"

#include <check.h>
#include <math.h>
#include <oakum/map.h>
#include <stdio.h>
#include <string.h>

Suite *suite_maps_map_typed(void);

typedef struct point {
    int x, y, z;
} point;

typedef struct node {
    struct node *next;
    uint64_t word;
} node;

typedef struct wide {
    uint64_t word[20];
} wide;

typedef enum colour { RED, GREEN, BLUE } colour;

typedef struct nothing {
    char none[0];
} nothing;

static uint64_t hash_without_case(const char *const *s, uint64_t seed)
{
    char lower[64];
    size_t n = 0;
    for (; (*s)[n]; n++) lower[n] = (char)((*s)[n] | 0x20);
    return oak_hash_bytes(lower, n, seed);
}

static bool equal_without_case(const char *const *a, const char *const *b)
{
    size_t i = 0;
    while ((*a)[i] && ((*a)[i] | 0x20) == ((*b)[i] | 0x20)) i++;
    return (*a)[i] == (*b)[i];
}

static uint64_t hash_of_real(const long double *d, uint64_t seed)
{
    return oak_hash_double((double)*d, seed);
}

static bool equal_reals(const long double *a, const long double *b)
{
    return *a == *b;
}

OAK_MAP_DEFINE(int_map, int, int);
OAK_MAP_DEFINE(long_map, long, unsigned char);
OAK_MAP_DEFINE(char_map, char, short);
OAK_MAP_DEFINE(short_map, unsigned short, double);
OAK_MAP_DEFINE(double_map, double, int);
OAK_MAP_DEFINE(float_map, float, float);
OAK_MAP_DEFINE(text_map, const char *, int);
OAK_MAP_DEFINE(slice_map, oak_slice, node);
OAK_MAP_DEFINE(point_map, point, point);
OAK_MAP_DEFINE(node_map, node *, node *);
OAK_MAP_DEFINE(wide_map, wide, wide);
OAK_MAP_DEFINE(colour_map, colour, const char *);
OAK_MAP_DEFINE(quad_map, __int128, long double);
OAK_MAP_DEFINE_WITH(real_map, long double, unsigned __int128, hash_of_real, equal_reals);
OAK_MAP_DEFINE(int_set, int, nothing);
OAK_MAP_DEFINE_AVALANCHING(caseless_map, const char *, int, hash_without_case,
                           equal_without_case);

static void start(void)
{
    test_heap_start_stressed(test_config());
}

/* Puts n keys, looks them up both ways, walks over them, deletes half. MAKE(i) is a key, SET(i) a
 * value, NUMBER(key pointer) and VALUE(value pointer) are i again. */
#define EXERCISE(map, K, V, count, MAKE, SET, NUMBER, VALUE) \
    do { \
        map *m = map##_new(0); \
        unsigned n = count, given = 0; \
        for (unsigned i = 0; i < n; i++) { \
            V *v = map##_put(m, MAKE(i)); \
            if (!v || !test_is_zero(v, sizeof *v)) ck_abort_msg("put %u", i); \
            if ((uintptr_t)v % __alignof__(V) != 0) ck_abort_msg("value %u at %p", i, (void *)v); \
            *v = SET(i); \
        } \
        oak_collect(); \
        ck_assert_uint_eq(map##_len(m), n); \
        ck_assert_uint_eq(oak_map_len(map##_map(m)), n); \
        for (unsigned i = 0; i < n; i++) { \
            K k = MAKE(i); \
            V *v = map##_get(m, k); \
            if (!v || (unsigned)VALUE(v) != i || map##_put(m, k) != v) ck_abort_msg("get %u", i); \
            if (oak_map_get(map##_map(m), &k) != v) ck_abort_msg("by the type %u", i); \
        } \
        if (map##_get(m, MAKE(n))) ck_abort_msg("an absent key"); \
        map##_iter it; \
        for (map##_iter_init(&it, m); map##_iter_next(&it); given++) { \
            unsigned i = (unsigned)NUMBER(it.key); \
            if (i >= n || (unsigned)VALUE(it.value) != i) ck_abort_msg("given %u", i); \
            if ((uintptr_t)it.key % __alignof__(K) != 0) ck_abort_msg("key %u is askew", i); \
        } \
        ck_assert_uint_eq(given, n); \
        ck_assert(!it.key && !it.value); \
        for (unsigned i = 0; i < n; i += 2) \
            if (!map##_delete(m, MAKE(i)) || map##_delete(m, MAKE(i))) ck_abort_msg("del %u", i); \
        ck_assert_uint_eq(map##_len(m), n / 2); \
        map##_clear(m); \
        ck_assert_uint_eq(map##_len(m), 0); \
        ck_assert_ptr_null(map##_get(m, MAKE(1))); \
    } while (0)

#define SAME(i) (i)
#define AT(p) (*(p))

START_TEST(integers)
{
    start();
    EXERCISE(int_map, int, int, 1000, SAME, SAME, AT, AT);
    EXERCISE(long_map, long, unsigned char, 200, SAME, SAME, AT, AT);
    EXERCISE(char_map, char, short, 100, SAME, SAME, AT, AT);
    EXERCISE(short_map, unsigned short, double, 1000, SAME, SAME, AT, AT);
}
END_TEST

#define QUARTER(i) ((i) / 4.0)
#define QUARTER_F(i) ((float)((i) / 4.0))
#define FOURFOLD(p) ((unsigned)(*(p)*4))

START_TEST(floating_point)
{
    start();
    EXERCISE(double_map, double, int, 1000, QUARTER, SAME, FOURFOLD, AT);
    EXERCISE(float_map, float, float, 1000, QUARTER_F, QUARTER_F, FOURFOLD, FOURFOLD);
    double_map *m = double_map_new(0);
    *double_map_put(m, 0.0) = 7;
    ck_assert_int_eq(*double_map_put(m, -0.0), 7);
    ck_assert_uint_eq(double_map_len(m), 1);
    for (int i = 0; i < 3; i++) *double_map_put(m, NAN) = 1;
    ck_assert_uint_eq(double_map_len(m), 4);
    ck_assert_ptr_null(double_map_get(m, NAN));
    float_map *f = float_map_new(0);
    for (int i = 0; i < 3; i++) *float_map_put(f, NAN) = 1;
    ck_assert_ptr_null(float_map_get(f, NAN));
    ck_assert_uint_eq(float_map_len(f), 3);
}
END_TEST

static const char *text_of(unsigned i)
{
    char *text = oak_alloc_noscan(16);
    snprintf(text, 16, "%u", i);
    return text;
}

static unsigned number_of(const char *text)
{
    unsigned i = 0;
    sscanf(text, "%u", &i);
    return i;
}

static oak_slice slice_of(unsigned i)
{
    const char *text = text_of(i);
    return (oak_slice){ text, strlen(text) };
}

static node node_of(unsigned i)
{
    node *n = oak_alloc(sizeof *n);
    n->word = i;
    return (node){ n, i };
}

static unsigned number_of_node(const node *n)
{
    return n->next->word == n->word ? (unsigned)n->word : UINT32_MAX;
}

#define TEXT_AT(p) number_of(*(p))
#define SLICE_AT(p) number_of((p)->data)

START_TEST(strings_and_slices)
{
    start();
    EXERCISE(text_map, const char *, int, 1000, text_of, SAME, TEXT_AT, AT);
    EXERCISE(slice_map, oak_slice, node, 1000, slice_of, node_of, SLICE_AT, number_of_node);
}
END_TEST

static point point_of(unsigned i)
{
    return (point){ (int)i, -(int)i, 7 };
}

static wide wide_of(unsigned i)
{
    wide w = { { 0 } };
    for (unsigned b = 0; b < 20; b++) w.word[b] = i * (b + 1);
    return w;
}

static unsigned wide_at(const wide *w)
{
    wide same = wide_of((unsigned)w->word[0]);
    return memcmp(w, &same, sizeof same) == 0 ? (unsigned)w->word[0] : UINT32_MAX;
}

static node *the_node(unsigned i)
{
    static node nodes[1001];
    nodes[i].word = i;
    return &nodes[i];
}

static __int128 quad_of(unsigned i)
{
    return (__int128)i << 64 | i;
}

static unsigned quad_at(const __int128 *q)
{
    return *q == quad_of((unsigned)*q) ? (unsigned)*q : UINT32_MAX;
}

#define POINT_AT(p) ((unsigned)(p)->x)
#define WORD_AT(p) ((unsigned)(*(p))->word)
#define COLOUR(i) ((colour)(i))

START_TEST(structs_enums_and_pointers)
{
    start();
    EXERCISE(point_map, point, point, 1000, point_of, point_of, POINT_AT, POINT_AT);
    EXERCISE(wide_map, wide, wide, 300, wide_of, wide_of, wide_at, wide_at);
    EXERCISE(node_map, node *, node *, 1000, the_node, the_node, WORD_AT, WORD_AT);
    EXERCISE(colour_map, colour, const char *, 3, COLOUR, text_of, AT, TEXT_AT);
}
END_TEST

/* No pointer is 16 bytes, so that none of these is scanned. */
START_TEST(numbers_of_16_bytes)
{
    start();
    ck_assert_uint_eq(quad_map_type.flags | real_map_type.flags, 0);
    quad_map *m = quad_map_new(0);
    real_map *reals = real_map_new(0);
    for (unsigned i = 0; i < 500; i++) {
        long double *v = quad_map_put(m, quad_of(i));
        ck_assert_uint_eq((uintptr_t)v % __alignof__(long double), 0);
        *v = i;
        *real_map_put(reals, (long double)i) = (unsigned __int128)quad_of(i);
    }
    quad_map_iter it;
    for (quad_map_iter_init(&it, m); quad_map_iter_next(&it);) {
        ck_assert_uint_eq((uintptr_t)it.key % __alignof__(__int128), 0);
        ck_assert(quad_at(it.key) == (unsigned)*it.value);
    }
    ck_assert_uint_eq(real_map_len(reals), 500);
    ck_assert(*real_map_get(reals, -0.0L) == 0);
    for (unsigned i = 0; i < 500; i++)
        ck_assert(*real_map_get(reals, i) == (unsigned __int128)quad_of(i));
}
END_TEST

START_TEST(sets)
{
    start();
    int_set *m = int_set_new(0);
    for (int i = 0; i < 1000; i++) ck_assert_ptr_nonnull(int_set_put(m, i));
    for (int i = 0; i < 1100; i++)
        if ((int_set_get(m, i) != NULL) != (i < 1000)) ck_abort_msg("%d", i);
    ck_assert_uint_eq(int_set_len(m), 1000);
}
END_TEST

START_TEST(functions_of_ones_own)
{
    start();
    caseless_map *m = caseless_map_new(0);
    *caseless_map_put(m, "Keel") = 1;
    *caseless_map_put(m, "MAST") = 2;
    ck_assert_int_eq(*caseless_map_put(m, "kEEL"), 1);
    ck_assert_uint_eq(caseless_map_len(m), 2);
    ck_assert_int_eq(*caseless_map_get(m, "mast"), 2);
    ck_assert_ptr_null(caseless_map_get(m, "masts"));
    /* The key that was put first stays. */
    caseless_map_iter it;
    for (caseless_map_iter_init(&it, m); caseless_map_iter_next(&it);)
        ck_assert(strcmp(*it.key, "Keel") == 0 || strcmp(*it.key, "MAST") == 0);
    ck_assert(caseless_map_delete(m, "KEEL"));
    ck_assert_uint_eq(caseless_map_len(m), 1);
    EXERCISE(caseless_map, const char *, int, 1000, text_of, SAME, TEXT_AT, AT);
}
END_TEST

static void put_in_nil(void *arg OAKI_UNUSED)
{
    int_map_put(NULL, 1);
}

START_TEST(a_nil_map)
{
    int_map_iter it;
    ck_assert_ptr_null(int_map_get(NULL, 1));
    ck_assert(!int_map_delete(NULL, 1));
    ck_assert_uint_eq(int_map_len(NULL), 0);
    int_map_iter_init(&it, NULL);
    ck_assert(!int_map_iter_next(&it));
    test_dies(put_in_nil, NULL, "oakum: assignment to entry in nil map");
}
END_TEST

/* What is scanned: what is no number and may hold a pointer. */
START_TEST(what_is_scanned)
{
    enum { KEY = OAK_MAP_SCAN_KEY, VALUE = OAK_MAP_SCAN_VALUE };
    ck_assert_uint_eq(int_map_type.flags, 0);
    ck_assert_uint_eq(long_map_type.flags, 0);
    ck_assert_uint_eq(double_map_type.flags, 0);
    ck_assert_uint_eq(point_map_type.flags, 0);
    ck_assert_uint_eq(text_map_type.flags, KEY);
    ck_assert_uint_eq(colour_map_type.flags, VALUE);
    ck_assert_uint_eq(slice_map_type.flags, KEY | VALUE);
    ck_assert_uint_eq(node_map_type.flags, KEY | VALUE);
    ck_assert_uint_eq(wide_map_type.flags, KEY | VALUE);
}
END_TEST

Suite *suite_maps_map_typed(void)
{
    Suite *s = suite_create("maps_map_typed");
    TCase *tc = tcase_create("typed");
    tcase_add_test(tc, integers);
    tcase_add_test(tc, floating_point);
    tcase_add_test(tc, strings_and_slices);
    tcase_add_test(tc, structs_enums_and_pointers);
    tcase_add_test(tc, numbers_of_16_bytes);
    tcase_add_test(tc, sets);
    tcase_add_test(tc, functions_of_ones_own);
    tcase_add_test(tc, a_nil_map);
    tcase_add_test(tc, what_is_scanned);
    suite_add_tcase(s, tc);
    return s;
}
