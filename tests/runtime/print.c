/* print.c - tests of runtime/print.c against the C library's snprintf. */
#include "runtime/print.h"
#include "tests/capture.h"

#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

Suite *suite_runtime_print(void);

/* Both into buffers of every interesting size: the text, the length that each says, and the byte
 * after the buffer. */
#define SAME(...)                                                                     \
    do {                                                                              \
        static const size_t size[] = { 600, 40, 7, 1 };                               \
        for (size_t k = 0; k < OAKI_COUNT(size); k++) {                               \
            char want[601] = "", got[601];                                            \
            memset(got, 1, sizeof got);                                               \
            int want_len = snprintf(want, size[k], __VA_ARGS__);                      \
            size_t got_len = oaki_format(got, size[k], __VA_ARGS__);                  \
            ck_assert_msg(strcmp(want, got) == 0, "[%s] instead of [%s]", got, want); \
            ck_assert_uint_eq(got_len, (size_t)want_len);                             \
            ck_assert_int_eq(got[size[k]], 1);                                        \
        }                                                                             \
    } while (0)

START_TEST(each_conversion_is_as_in_c)
{
    SAME("plain");
    SAME("%d|%i|%5d|%-5d|%05d|%+d|%.3d", -7, 8, 42, 42, -42, 42, 7);
    SAME("%u|%lu|%llu|%zu|%zd|%ld|%lld", 1u, 2ul, 3ull, (size_t)4, (ssize_t)-5, -6l, -7ll);
    SAME("%x|%lx|%X|%08x|%jd|%td", 0xbeefu, 0xdeadbeeful, 0xbeefu, 0xau, (intmax_t)-1,
         (ptrdiff_t)-1);
    SAME("%s|%10s|%-10s|%.2s|%10.2s|%.*s", "abc", "abc", "abc", "abc", "abc", 1, "abc");
    SAME("%c|%3c|%-3c|%%", 'x', 'y', 'z');
    SAME("%*d|%-*d|%*d", 6, 1, 6, 2, -6, 3);
    SAME("%p", (void *)&suite_runtime_print);
    SAME("%.0d|%5.0d|", 0, 0);
    SAME("%d %d %u %ld", INT32_MAX, INT32_MIN, UINT32_MAX, INT64_MIN);
}
END_TEST

START_TEST(what_is_special_here)
{
    char buf[40];
    ck_assert_uint_eq(oaki_format(buf, sizeof buf, "%p", NULL), 3);
    ck_assert_str_eq(buf, "0x0");
    const char *no_text = getenv("NO SUCH VARIABLE"); /* NULL, but the compiler can't know */
    oaki_format(buf, sizeof buf, "%s", no_text);
    ck_assert_str_eq(buf, "(null)");
    const char *unknown = "a %d b %q c %d";
    oaki_format(buf, sizeof buf, unknown, 1, 2);
    ck_assert_str_eq(buf, "a 1 b %q c %d");
    const char *cut = "a %";
    oaki_format(buf, sizeof buf, cut, 1);
    ck_assert_str_eq(buf, "a %");
    buf[0] = 'x';
    ck_assert_uint_eq(oaki_format(buf, 0, "%d", 12345), 5);
    ck_assert_int_eq(buf[0], 'x');
}
END_TEST

START_TEST(doubles_at_the_edges)
{
    static const double v[] = { 0,
                                -0.0,
                                0.5,
                                1.5,
                                2.5,
                                0.125,
                                0.375,
                                9.5,
                                99.5,
                                9.995,
                                999999.9999995,
                                1e15,
                                1e16,
                                9007199254740993.0,
                                1.8446744073709552e19,
                                1e22,
                                1e23,
                                1e300,
                                1.7976931348623157e308,
                                5e-324,
                                2.2250738585072014e-308,
                                1e-5,
                                1e-19,
                                4.9e-20,
                                5e-20,
                                5.1e-20,
                                1e-21,
                                1e-22,
                                123456789.987654321 };
    for (size_t i = 0; i < OAKI_COUNT(v); i++)
        for (int precision = 0; precision <= 20; precision++) {
            SAME("%.*f", precision, v[i]);
            SAME("%+.*f", precision, -v[i]);
            SAME("%030.*f|%-30.*f|", precision, v[i], precision, v[i]);
        }
    SAME("%f|%f|%f|%8f|%-8f|%08f", (double)INFINITY, -(double)INFINITY, (double)NAN,
         (double)INFINITY, (double)INFINITY, (double)INFINITY);
    SAME("%f", 1.0);
}
END_TEST

static uint64_t random_word(void)
{
    uint64_t v = ((uint64_t)random() << 42) ^ ((uint64_t)random() << 21) ^ (uint64_t)random();
    return v >> random() % 64; /* all magnitudes alike */
}

/* "%", flags, width, precision, length and letter. */
static void random_spec(char *f, size_t n, const char *letter)
{
    static const char *const flags[] = { "", "-", "0", "+", "-+", "+0", "-0" };
    char width[8] = "", precision[8] = "";
    if (random() % 2) snprintf(width, sizeof width, "%d", (int)(1 + random() % 40));
    if (random() % 2) snprintf(precision, sizeof precision, ".%d", (int)(random() % 21));
    snprintf(f, n, "%%%s%s%s%s", flags[random() % 7], width, precision, letter);
}

START_TEST(random_values_are_printed_as_by_the_c_library)
{
    unsigned seed = (unsigned)time(NULL);
    srandom(seed);
    printf("runtime_print: seed %u\n", seed);
    for (int i = 0; i < 20000; i++) {
        char f[64];
        uint64_t w = random_word();
        double d;
        memcpy(&d, &w, sizeof d);
        if (random() % 2) d = (double)(int64_t)w / (double)(1 + random() % 100000);
        switch (random() % 5) {
        case 0:
            random_spec(f, sizeof f, random() % 2 ? "d" : "u");
            SAME(f, (int)w);
            break;
        case 1:
            random_spec(f, sizeof f, random() % 2 ? "ld" : "lx");
            SAME(f, (long)w);
            break;
        case 2:
            random_spec(f, sizeof f, random() % 2 ? "zu" : "llX");
            SAME(f, (size_t)w);
            break;
        default:
            random_spec(f, sizeof f, "f");
            SAME(f, d);
            break;
        }
    }
}
END_TEST

static void log_long(void *arg)
{
    char text[3000];
    memset(text, 'x', sizeof text);
    oaki_log("%s:%.2999s", (const char *)arg, text);
}

START_TEST(a_log_line_goes_to_stderr_cut_to_its_bound)
{
    char err[4096];
    ck_assert_int_eq(test_capture(log_long, (void *)"head", err, sizeof err), 0);
    ck_assert_uint_eq(strlen(err), 511);
    ck_assert_int_eq(strncmp(err, "head:xxx", 8), 0);
    ck_assert_int_eq(err[510], '\n');
}
END_TEST

Suite *suite_runtime_print(void)
{
    Suite *s = suite_create("runtime_print");
    TCase *tc = tcase_create("print");
    tcase_add_test(tc, each_conversion_is_as_in_c);
    tcase_add_test(tc, what_is_special_here);
    tcase_add_test(tc, doubles_at_the_edges);
    tcase_add_test(tc, random_values_are_printed_as_by_the_c_library);
    tcase_add_test(tc, a_log_line_goes_to_stderr_cut_to_its_bound);
    suite_add_tcase(s, tc);
    return s;
}
