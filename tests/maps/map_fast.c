/* map_fast.c - maps of floating-point keys in a program that is compiled with -ffast-math, and on a
 * thread that takes denormals for zero. */
#ifdef __clang__
#pragma float_control(precise, off)
#else
#pragma GCC optimize("fast-math")
#endif
#include "tests/heap.h"

#include <check.h>
#include <oakum/classic.h>
#include <oakum/map.h>
#include <oakum/syncmap.h>
#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

Suite *suite_maps_map_fast(void);

enum { N = 1000 };

OAK_MAP_DEFINE(double_map, double, int);
OAK_MAP_DEFINE(float_map, float, int);
#if defined(__FLT64_MANT_DIG__) && !defined(__clang__)
__extension__ typedef _Float32 float32;
__extension__ typedef _Float64 float64;
OAK_MAP_DEFINE(float32_map, float32, int);
OAK_MAP_DEFINE(float64_map, float64, int);
#define ALL(X) X(double) X(float) X(float32) X(float64)
#else
#define ALL(X) X(double) X(float)
#endif

/* Negates a zero by its bits; the compiler knows neither value. (Little-endian.) */
#define NEGATE(x) \
    do { \
        ((unsigned char *)&(x))[sizeof(x) - 1] ^= 0x80; \
        __asm__ __volatile__("" : "+m"(x)); \
    } while (0)

/* The entry of 0 is looked up as +0 and -0, before the map grows and behind that. */
#define ZEROS(T) \
    do { \
        T zero = 0, minus = 0; \
        T_map_of(T) *m = T_of(T, new)(0); \
        NEGATE(minus); \
        *T_of(T, put)(m, minus) = 7; \
        for (int i = 0; i < N; i++) { \
            int *v = T_of(T, get)(m, zero); \
            ck_assert(v && *v == 7 && v == T_of(T, get)(m, minus)); \
            ck_assert_ptr_eq(T_of(T, put)(m, i % 2 ? zero : minus), v); \
            *T_of(T, put)(m, (T)(i + 1)) = i; \
        } \
        ck_assert_uint_eq(T_of(T, len)(m), N + 1); \
        ck_assert(T_of(T, delete)(m, zero)); \
    } while (0);
#define T_map_of(T) T##_map
#define T_of(T, fn) T##_map_##fn

START_TEST(the_sign_of_zero)
{
    test_heap_start(test_config());
    ALL(ZEROS)
    double zero = 0, minus = 0;
    NEGATE(minus);
    ck_assert_uint_eq(oak_hash_double(zero, 1), oak_hash_double(minus, 1));
}
END_TEST

/* An iterator knows the key again, though a put has changed its sign. */
START_TEST(the_sign_changes_in_a_walk)
{
    test_heap_start(test_config());
    double zero = 0, minus = 0;
    NEGATE(minus);
    double_map *m = double_map_new(0);
    double_map_iter it;
    unsigned zeros = 0, given = 0;
    *double_map_put(m, zero) = 0;
    for (int i = 1; i < N; i++) *double_map_put(m, i) = i;
    for (double_map_iter_init(&it, m); double_map_iter_next(&it); given++) {
        zeros += *it.value == 0;
        (void)double_map_put(m, given % 2 ? zero : minus);
        if (given < 4 * N) *double_map_put(m, -1.0 - given) = 1;
    }
    ck_assert_uint_eq(zeros, 1);
}
END_TEST

#ifdef __SSE2__
#define DENORMALS_ARE_ZERO 0x8040u /* as operands and as results */

static unsigned before;

static void set_zeros(bool on)
{
    if (on) before = _mm_getcsr();
    _mm_setcsr(on ? before | DENORMALS_ARE_ZERO : before);
}
#else
static void set_zeros(bool on OAKI_UNUSED) {}
#endif

/* Made of bits, as arithmetic may give zero. */
static double denormal(uint64_t bits)
{
    double d;
    memcpy(&d, &bits, sizeof d);
    return d;
}

static float float_denormal(uint32_t bits)
{
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

START_TEST(denormals)
{
    test_heap_start(test_config());
    double_map *m = double_map_new(0);
    float_map *f = float_map_new(0);
    oak_syncmap *s = oak_syncmap_new(&oak_map_double_ptr);
    oak_classic_map *c = oak_classic_new(&oak_classic_double_int, 0);
    for (uint32_t i = 0; i < N; i++) {
        if (i % 2) set_zeros(true);
        double d = denormal(i);
        *double_map_put(m, denormal(i)) = (int)i;
        *float_map_put(f, float_denormal(i)) = (int)i;
        ck_assert_int_eq(oak_syncmap_store(s, &d, NULL), 0);
        *(long *)oak_classic_put(c, &d) = i;
        if (i % 2) set_zeros(false);
    }
    for (int on = 0; on < 2; on++) {
        if (on) set_zeros(true);
        bool found = double_map_len(m) == N && float_map_len(f) == N && oak_syncmap_len(s) == N &&
                     oak_classic_len(c) == N;
        for (uint32_t i = 0; i < N && found; i++) {
            double d = denormal(i);
            const int *v = double_map_get(m, d), *w = float_map_get(f, float_denormal(i));
            const long *x = oak_classic_get(c, &d);
            found = v && *v == (int)i && w && *w == (int)i && oak_syncmap_load(s, &d, NULL) && x &&
                    *x == i;
        }
        if (on) set_zeros(false);
        ck_assert_msg(found, "denormals %s zero", on ? "are" : "are not");
    }
}
END_TEST

Suite *suite_maps_map_fast(void)
{
    Suite *s = suite_create("maps_map_fast");
    TCase *tc = tcase_create("fast");
    tcase_add_test(tc, the_sign_of_zero);
    tcase_add_test(tc, the_sign_changes_in_a_walk);
    tcase_add_test(tc, denormals);
    suite_add_tcase(s, tc);
    return s;
}
