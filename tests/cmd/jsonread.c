/* jsonread.c - tests of the command's reader of JSON, whose texts come from whoever answers.
 *
 * Each text ends at the end of a page behind which nothing may be read. */
#include "run.h"

#include "cmd/live.h"
#include "tests/heap.h"
#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

Suite *suite_cmd_jsonread(void);

#define ROOM ((size_t)1 << 16)

static cmd_json *read_guarded(const char *text)
{
    static char *room;
    size_t n = strlen(text) + 1;

    if (room == NULL) {
        room = mmap(NULL, 2 * ROOM, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        ck_assert_ptr_ne(room, MAP_FAILED);
        ck_assert_int_eq(mprotect(room + ROOM, ROOM, PROT_NONE), 0);
    }
    ck_assert_uint_le(n, ROOM);
    memcpy(room + ROOM - n, text, n);
    return cmd_json_read(room + ROOM - n);
}

static const struct {
    const char *text;
    const char *string; /* NULL: it is refused */
} strings[] = {
    { "\"\"", "" },
    { "\"plain\"", "plain" },
    { "\"\\\"\\\\\\/\"", "\"\\/" },
    { "\"\\b\\f\\n\\r\\t\"", "?????" },
    { "\"\\u0041\\u007E\\u001b\\u009b\\u00e9\"", "A~???" },
    { "\"\\u00411\"", "A1" },
    { "\"\xc3\xa9\"", "\xc3\xa9" },
    { "\"", NULL },
    { "\"abc", NULL },
    { "\"\\", NULL },
    { "\"\\\"", NULL },
    { "\"\\u", NULL },
    { "\"\\u\"", NULL },
    { "\"\\u0", NULL },
    { "\"\\u00", NULL },
    { "\"\\u004", NULL },
    { "\"\\u0041", NULL },
    { "\"\\u004\"", NULL },
    { "\"\\u004\"1\"", NULL },
    { "\"\\u+041\"", NULL },
    { "\"\\u 041\"", NULL },
    { "\"\\u0x41\"", NULL },
    { "\"\\x\"", NULL },
    { "\"a\" \"b\"", NULL },
};

START_TEST(a_string_is_read_to_its_quote_and_no_further)
{
    cmd_json *v = read_guarded(strings[_i].text);

    if (strings[_i].string == NULL) {
        ck_assert_ptr_null(v);
        return;
    }
    ck_assert_ptr_nonnull(v);
    ck_assert_str_eq(v->string, strings[_i].string);
    cmd_json_free(v);
}
END_TEST

/* What stood behind a quote within \u was written, but had not been counted. */
START_TEST(an_escape_that_holds_a_quote_is_refused)
{
    static char text[5000] = "{\"program\":\"\\u\"";

    memset(text + strlen(text), 'A', 4000);
    strncat(text, "\"}", 3);
    ck_assert_ptr_null(read_guarded(text));
}
END_TEST

static const char *const none[] = {
    "", " ", "{", "[", "[1", "[1,", "{\"a", "{\"a\"", "{\"a\":", "{\"a\":\"", "{\"a\":1,",
    "[\"a\\u", "-", "-inf", "-nan", "0x10", "1,", "nul", "{1:2}", "[1 2]",
};

START_TEST(what_is_no_value_is_refused)
{
    ck_assert_ptr_null(read_guarded(none[_i]));
}
END_TEST

/* A text of some megabytes would take a hundred times that. */
START_TEST(more_values_than_a_state_can_have_are_refused)
{
    size_t values = (size_t)3 << 19, n = 2 * values + 1;
    char *text = malloc(n + 1);

    ck_assert_ptr_nonnull(text);
    for (size_t i = 0; i < n; i++) text[i] = i % 2 == 0 ? ',' : '0';
    text[0] = '[';
    text[n - 1] = ']';
    text[n] = '\0';
    ck_assert_ptr_null(test_json_error(text));
    ck_assert_ptr_null(cmd_json_read(text));
    memmove(text + n / 2, text + n - 3, 4); /* the first half of them */
    cmd_json *half = cmd_json_read(text);
    ck_assert_uint_ge(cmd_json_count(half, ""), values / 2 - 1);
    cmd_json_free(half);
    free(text);
}
END_TEST

/* ---- random texts ---- */

static const char *const pieces[] = {
    "{", "}", "[", "]", ",", ":", "\"", "\"", "\\", "\\u", "\\u00", "\\u0041", "\\\"", "\\n", "a",
    "\"key\"", "\"key\":", "1", "-", "1e5", "0.5", "true", "false", "null", " ", "\n", "\x1b",
    "\xc2\x9b", "\xff", "[[[[", "]]]]", "{\"a\":", "9999999999",
};

static void random_pieces(char *text, size_t room)
{
    size_t n = 0, count = test_below(60);

    for (text[0] = '\0'; count-- > 0;) {
        const char *piece = pieces[test_below(OAKI_COUNT(pieces))];

        if (n + strlen(piece) >= room) return;
        n += (size_t)snprintf(text + n, room - n, "%s", piece);
    }
}

/* A state as the server tells it, with some bytes other ones, and cut off somewhere. */
static void random_damage(char *text, size_t room)
{
    size_t n = (size_t)snprintf(
        text, room, "{\"pid\":7,\"program\":\"\\u0041 \\\"x\\\\ \xc3\xa9\",\"memory\":"
                    "{\"heap_alloc\":1.5e3,\"a\":[true,null,{}]},\"findings\":[{\"b\":\"\\n\"}]}");

    for (size_t i = test_below(4); i > 0; i--)
        text[test_below(n)] = (char)(1 + test_below(255));
    if (test_below(2) == 0) text[test_below(n)] = '\0';
}

START_TEST(random_texts_are_read_or_refused)
{
    char text[1024];
    size_t valid = 0;

    test_seed("cmd/jsonread");
    for (size_t i = test_scale(200000); i > 0; i--) {
        cmd_json *v;
        bool is_json;

        if (i % 2 == 0)
            random_pieces(text, sizeof(text));
        else
            random_damage(text, sizeof(text));
        v = read_guarded(text);
        is_json = test_json_error(text) == NULL;
        ck_assert_msg(v != NULL || !is_json, "refused: %s", text);
        valid += is_json;
        cmd_json_free(v);
    }
    ck_assert_uint_gt(valid, 0);
}
END_TEST

Suite *suite_cmd_jsonread(void)
{
    Suite *s = suite_create("cmd_jsonread");
    TCase *c = tcase_create("jsonread");

    tcase_add_loop_test(c, a_string_is_read_to_its_quote_and_no_further, 0,
                        (int)OAKI_COUNT(strings));
    tcase_add_test(c, an_escape_that_holds_a_quote_is_refused);
    tcase_add_loop_test(c, what_is_no_value_is_refused, 0, (int)OAKI_COUNT(none));
    tcase_add_test(c, more_values_than_a_state_can_have_are_refused);
    tcase_add_test(c, random_texts_are_read_or_refused);
    suite_add_tcase(s, c);
    return s;
}
