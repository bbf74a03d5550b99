/* json.c - tests of observe/json.c: what it writes is valid whatever it is given, numbers read back
 * as they were, and a sink that fails is told of at the end. */
#include "observe/json.h"
#include "observe/bidi.h"

#include "tests/heap.h"
#include <check.h>
#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

Suite *suite_observe_json(void);

static char out[1 << 16];
static oaki_json_text text;
static oaki_json j;

static void begin(void)
{
    text = (oaki_json_text){ .p = out, .size = sizeof out };
    out[0] = '\0';
    oaki_json_init(&j, oaki_json_to_text, &text);
}

static const char *end(void)
{
    ck_assert(oaki_json_finish(&j));
    return out;
}

START_TEST(values_nest_and_are_separated)
{
    begin();
    oaki_json_object(&j);
    oaki_json_put_u64(&j, "a", 1);
    oaki_json_key(&j, "b");
    oaki_json_array(&j);
    oaki_json_i64(&j, -2);
    oaki_json_object(&j);
    oaki_json_object_end(&j);
    oaki_json_array(&j);
    oaki_json_array_end(&j);
    oaki_json_null(&j);
    oaki_json_bool(&j, true);
    oaki_json_array_end(&j);
    oaki_json_put_string(&j, "c", NULL);
    oaki_json_put_address(&j, "d", (void *)(uintptr_t)0xdead0);
    oaki_json_put_bool(&j, "e", false);
    oaki_json_object_end(&j);
    oaki_json_u64(&j, 5);
    ck_assert_str_eq(end(), "{\"a\":1,\"b\":[-2,{},[],null,true],\"c\":null,\"d\":\"0xdead0\","
                            "\"e\":false}\n5\n");
}
END_TEST

START_TEST(one_for_a_terminal_has_blanks_and_no_byte_that_it_obeys)
{
    begin();
    j.terminal = true;
    oaki_json_object(&j);
    oaki_json_put_u64(&j, "a", 1);
    oaki_json_key(&j, "b");
    oaki_json_array(&j);
    oaki_json_string(&j, "\t\n\x1b\x7f\xc2\x9b\xc2\xa0\xff\"");
    oaki_json_u64(&j, 3);
    oaki_json_array_end(&j);
    oaki_json_object_end(&j);
    ck_assert_str_eq(end(), "{\"a\": 1, \"b\": [\"\\u0009\\u000a\\u001b\\u007f\\u009b\xc2\xa0"
                            "\\ufffd\\\"\", 3]}\n");
}
END_TEST

START_TEST(a_line_begins_before_a_key_a_value_and_a_bracket)
{
    begin();
    oaki_json_object(&j);
    oaki_json_line(&j, 2);
    oaki_json_put_u64(&j, "a", 1);
    oaki_json_put_u64(&j, "b", 2);
    oaki_json_line(&j, 2);
    oaki_json_key(&j, "c");
    oaki_json_array(&j);
    oaki_json_line(&j, 4);
    oaki_json_u64(&j, 3);
    oaki_json_line(&j, 0);
    oaki_json_array_end(&j);
    oaki_json_object_end(&j);
    oaki_json_array(&j);
    oaki_json_line(&j, 1);
    oaki_json_array_end(&j);
    ck_assert_str_eq(end(), "{\n  \"a\":1,\"b\":2,\n  \"c\":[\n    3\n]}\n[\n ]\n");
}
END_TEST

/* ---- strings ---- */

static const char *string_of(const void *p, size_t n)
{
    begin();
    oaki_json_bytes(&j, p, n);
    return end();
}

START_TEST(what_is_not_plain_is_escaped)
{
    ck_assert_str_eq(string_of("a\"b\\c\n\t\r\0\x7f", 10),
                     "\"a\\\"b\\\\c\\n\\t\\u000d\\u0000\\u007f\"\n");
    ck_assert_str_eq(string_of("gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x9a\xa2", 15),
                     "\"gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x9a\xa2\"\n");
    ck_assert_str_eq(string_of("a\xe2\x80\xaeipg.c\xd8\x9c", 11), "\"a\\u202eipg.c\\u061c\"\n");
}
END_TEST

START_TEST(what_is_not_utf8_is_replaced_byte_by_byte)
{
    static const struct {
        const char *bytes;
        size_t replaced;
    } bad[] = {
        { "\x80", 1 },             /* a continuation without a lead */
        { "\xc3", 1 },             /* cut off */
        { "\xc0\xaf", 2 },         /* overlong */
        { "\xe0\x80\xaf", 3 },
        { "\xed\xa0\x80", 3 },     /* a surrogate */
        { "\xf4\x90\x80\x80", 4 }, /* beyond the last */
        { "\xf8\x88\x80\x80\x80", 5 },
        { "\xff\xfe", 2 },
        { "\xe2\x82", 2 },
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char want[64] = "\"";
        for (size_t k = 0; k < bad[i].replaced; k++) memcpy(want + strlen(want), "\xef\xbf\xbd", 4);
        memcpy(want + strlen(want), "x\"\n", 4);
        char bytes[16];
        size_t n = strlen(bad[i].bytes);
        memcpy(bytes, bad[i].bytes, n);
        bytes[n] = 'x';
        ck_assert_str_eq(string_of(bytes, n + 1), want);
    }
}
END_TEST

/* Length of a valid sequence by RFC 3629's grammar, written down anew. */
static size_t valid(const unsigned char *p, size_t n)
{
    static const unsigned least[] = { 0, 0, 0x80, 0x800, 0x10000 };
    size_t k = p[0] < 0x80 ? 1 : p[0] >> 5 == 6 ? 2 : p[0] >> 4 == 14 ? 3 : p[0] >> 3 == 30 ? 4 : 0;
    if (k == 0 || k > n) return 0;
    unsigned v = k == 1 ? p[0] : p[0] & (0xffu >> (k + 1));
    for (size_t i = 1; i < k; i++) {
        if (p[i] >> 6 != 2) return 0;
        v = v << 6 | (p[i] & 0x3f);
    }
    return v < least[k] || v > 0x10ffff || (v >= 0xd800 && v < 0xe000) ? 0 : k;
}

START_TEST(any_bytes_come_out_as_valid_utf8)
{
    test_seed("observe/json");
    for (size_t round = 0; round < test_scale(20000); round++) {
        unsigned char bytes[24];
        size_t n = test_below(sizeof bytes);
        for (size_t i = 0; i < n; i++)
            bytes[i] = (unsigned char)(test_below(3) ? 0x80 + test_below(128) : test_below(256));
        const unsigned char *p = (const unsigned char *)string_of(bytes, n);
        size_t len = strlen((const char *)p);
        ck_assert(p[0] == '"' && p[len - 2] == '"');
        for (size_t i = 1, k; i < len - 2; i += k) {
            k = valid(p + i, len - 2 - i);
            ck_assert_uint_gt(k, 0);
            ck_assert(p[i] >= 0x20 && p[i] != 0x7f && p[i] != '"');
            if (p[i] == '\\') k = p[i + 1] == 'u' ? 6 : 2;
        }
        for (size_t i = 0, k; i < n; i += k ? k : 1) { /* and what was valid is in it */
            k = valid(bytes + i, n - i);
            if (k > 1 && !oaki_bidi_control((const char *)bytes + i, k))
                ck_assert_ptr_nonnull(memmem(p, len, bytes + i, k));
        }
    }
}
END_TEST

/* ---- numbers ---- */

static const char *double_of(double v)
{
    begin();
    oaki_json_double(&j, v);
    out[strlen(end()) - 1] = '\0';
    return out;
}

START_TEST(doubles_are_short)
{
    static const struct {
        double v;
        const char *text;
    } golden[] = {
        { 0, "0" }, { -0.0, "-0" }, { 1, "1" }, { -1.5, "-1.5" }, { 0.1, "0.1" },
        { 1e15, "1000000000000000" }, { 1e16, "10000000000000000" }, { 1e17, "1e17" },
        { 123456789.25, "123456789.25" }, { 1e-5, "0.00001" }, { 1.25e-7, "1.25e-7" },
        { 1.7976931348623157e308, "1.7976931348623157e308" }, { 5e-324, "5e-324" },
        { 0.30000000000000004, "0.30000000000000004" }, { 9007199254740993.0, "9007199254740992" },
        { INFINITY, "null" }, { -INFINITY, "null" }, { NAN, "null" }, { 100, "100" },
    };
    for (size_t i = 0; i < sizeof golden / sizeof golden[0]; i++)
        ck_assert_str_eq(double_of(golden[i].v), golden[i].text);
}
END_TEST

START_TEST(doubles_read_back_in_any_locale)
{
    static const char *const locales[] = { "C", "de_DE.UTF-8", "fr_FR.UTF-8", "ps_AF" };
    test_seed("observe/json");
    for (size_t round = 0; round < test_scale(20000); round++) {
        uint64_t bits = test_random() << 11 ^ test_random();
        double v, back;
        if (round % 3 == 0) bits = test_below(100000);
        memcpy(&v, &bits, sizeof v);
        if (round % 3 == 1) v = (double)test_below(1000000) / 1000;
        if (!isfinite(v)) continue;
        setlocale(LC_ALL, locales[round % 4]);
        const char *s = double_of(v);
        ck_assert_ptr_null(strpbrk(s, ",\xd9"));
        setlocale(LC_ALL, "C");
        back = strtod(s, NULL);
        ck_assert_msg(back == v, "%s is %a, not %a", s, back, v);
    }
}
END_TEST

START_TEST(whole_numbers_are_whole)
{
    begin();
    oaki_json_array(&j);
    oaki_json_u64(&j, UINT64_MAX);
    oaki_json_i64(&j, INT64_MIN);
    oaki_json_i64(&j, INT64_MAX);
    oaki_json_decimal(&j, 0, 3);
    oaki_json_decimal(&j, 1500, 3);
    oaki_json_decimal(&j, 1, 9);
    oaki_json_decimal(&j, UINT64_MAX, 3);
    oaki_json_decimal(&j, 42, 0);
    oaki_json_array_end(&j);
    ck_assert_str_eq(end(), "[18446744073709551615,-9223372036854775808,9223372036854775807,0,1.5,"
                            "0.000000001,18446744073709551.615,42]\n");
}
END_TEST

/* ---- what can't be written ---- */

START_TEST(a_full_sink_is_told_of)
{
    char small[100];
    text = (oaki_json_text){ .p = small, .size = sizeof small };
    oaki_json_init(&j, oaki_json_to_text, &text);
    oaki_json_array(&j);
    for (unsigned i = 0; i < 2000; i++) oaki_json_u64(&j, i);
    oaki_json_array_end(&j);
    ck_assert(!oaki_json_finish(&j));
    ck_assert_uint_lt(text.len, sizeof small);
}
END_TEST

START_TEST(what_makes_no_sense_fails)
{
    begin();
    oaki_json_object(&j);
    oaki_json_u64(&j, 1); /* no key */
    oaki_json_object_end(&j);
    ck_assert(!oaki_json_finish(&j));
    begin();
    oaki_json_array(&j);
    ck_assert(!oaki_json_finish(&j)); /* open */
    begin();
    oaki_json_array(&j);
    oaki_json_object_end(&j);
    ck_assert(!oaki_json_finish(&j));
    begin();
    oaki_json_key(&j, "x");
    ck_assert(!oaki_json_finish(&j));
    begin();
    oaki_json_object(&j);
    oaki_json_key(&j, "x");
    oaki_json_object_end(&j); /* a key without a value */
    ck_assert(!oaki_json_finish(&j));
    begin();
    for (unsigned i = 0; i <= OAKI_JSON_DEPTH; i++) oaki_json_array(&j);
    ck_assert(!oaki_json_finish(&j));
    begin();
    for (unsigned i = 0; i < OAKI_JSON_DEPTH; i++) oaki_json_array(&j);
    for (unsigned i = 0; i < OAKI_JSON_DEPTH; i++) oaki_json_array_end(&j);
    ck_assert(oaki_json_finish(&j));
}
END_TEST

START_TEST(long_output_goes_through_the_buffer_whole)
{
    begin();
    oaki_json_array(&j);
    for (unsigned i = 0; i < 3000; i++) oaki_json_u64(&j, i);
    oaki_json_array_end(&j);
    const char *p = end() + 1;
    for (unsigned i = 0; i < 3000; i++) {
        ck_assert_uint_eq(strtoul(p, (char **)&p, 10), i);
        p++;
    }
    ck_assert_str_eq(p, "\n");
}
END_TEST

Suite *suite_observe_json(void)
{
    Suite *s = suite_create("observe/json");
    TCase *c = tcase_create("json");
    tcase_add_test(c, values_nest_and_are_separated);
    tcase_add_test(c, one_for_a_terminal_has_blanks_and_no_byte_that_it_obeys);
    tcase_add_test(c, a_line_begins_before_a_key_a_value_and_a_bracket);
    tcase_add_test(c, what_is_not_plain_is_escaped);
    tcase_add_test(c, what_is_not_utf8_is_replaced_byte_by_byte);
    tcase_add_test(c, any_bytes_come_out_as_valid_utf8);
    tcase_add_test(c, doubles_are_short);
    tcase_add_test(c, doubles_read_back_in_any_locale);
    tcase_add_test(c, whole_numbers_are_whole);
    tcase_add_test(c, a_full_sink_is_told_of);
    tcase_add_test(c, what_makes_no_sense_fails);
    tcase_add_test(c, long_output_goes_through_the_buffer_whole);
    suite_add_tcase(s, c);
    return s;
}
