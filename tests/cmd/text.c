/* text.c - tests of what a terminal gets of names that others have chosen: from the command, and
 * from the library where it puts paths and roots into words. */
#include "run.h"

#include "cmd/cmd.h"
#include "tests/heap.h"
#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

Suite *suite_cmd_text(void);

static test_run r;

#define CHARACTERS "\xc2\xa0\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80" /* of 2, 2, 3 and 4 bytes */

static const struct {
    const char *text, *kept, *clean, *json;
} texts[] = {
    { "plain ~ text", "", "plain ~ text", "plain ~ text" },
    { "\x1b]0;x\x07", "", "?]0;x?", "\\u001b]0;x\\u0007" },
    { "a\tb\nc", "", "a?b?c", "a\\u0009b\\u000ac" },
    { "a\tb\nc", "\t", "a\tb?c", "a\\u0009b\\u000ac" },
    { "a\tb\nc", "\t\n", "a\tb\nc", "a\\u0009b\\u000ac" },
    { "a\rb\x7f", "\t\n", "a?b?", "a\\u000db\\u007f" },
    { "\xc2\x80\xc2\x9b\xc2\x9f", "", "??????", "\\u0080\\u009b\\u009f" },
    { CHARACTERS, "", CHARACTERS, CHARACTERS },
    { "\xe2\x80\xaa\xe2\x80\xae.", "", "??????.", "\\u202a\\u202e." },
    { "\xe2\x81\xa6\xe2\x81\xa9.", "", "??????.", "\\u2066\\u2069." },
    { "\xe2\x80\x8e\xe2\x80\x8f.", "", "??????.", "\\u200e\\u200f." },
    { "\xd8\x9c.", "", "??.", "\\u061c." },
    { "\xe2\x80\xa9\xe2\x80\xaf", "", "\xe2\x80\xa9\xe2\x80\xaf", "\xe2\x80\xa9\xe2\x80\xaf" },
    { "\xe2\x81\xa5\xe2\x81\xaa", "", "\xe2\x81\xa5\xe2\x81\xaa", "\xe2\x81\xa5\xe2\x81\xaa" },
    { "\xe2\x80\x8d\xe2\x80\x90\xd8\x9b", "", "\xe2\x80\x8d\xe2\x80\x90\xd8\x9b",
      "\xe2\x80\x8d\xe2\x80\x90\xd8\x9b" },
    { "\x9b", "", "?", "\\ufffd" },
    { "\xff\xfe", "", "??", "\\ufffd\\ufffd" },
    { "\xc0\x9b", "", "??", "\\ufffd\\ufffd" },
    { "\xe0\x82\x9b", "", "???", "\\ufffd\\ufffd\\ufffd" },
    { "\xed\xa0\x80", "", "???", "\\ufffd\\ufffd\\ufffd" },
    { "\xf4\x90\x80\x80", "", "????", "\\ufffd\\ufffd\\ufffd\\ufffd" },
    { "\xe2\x82", "", "??", "\\ufffd\\ufffd" },
    { "\xc3\xc2\x9b", "", "???", "\\ufffd\\u009b" },
    { "\xc2", "", "?", "\\ufffd" },
};

START_TEST(what_a_terminal_obeys_is_shown_as_a_question_mark)
{
    char text[64];

    snprintf(text, sizeof(text), "%s", texts[_i].text);
    cmd_clean(text, strlen(text), texts[_i].kept);
    ck_assert_str_eq(text, texts[_i].clean);
}
END_TEST

START_TEST(json_is_escaped_and_loses_nothing_that_it_can_say)
{
    char *text = NULL, quoted[128];
    oaki_json j;
    size_t n;
    FILE *f = open_memstream(&text, &n);

    cmd_json_init(&j, f);
    oaki_json_string(&j, texts[_i].text);
    ck_assert(oaki_json_finish(&j));
    fclose(f);
    snprintf(quoted, sizeof(quoted), "\"%s\"\n", texts[_i].json);
    ck_assert_str_eq(text, quoted);
    ck_assert_ptr_null(test_json_error(text));
    free(text);
}
END_TEST

START_TEST(a_line_ends_where_its_format_does)
{
    char *text = NULL;
    size_t n;
    FILE *f = open_memstream(&text, &n);

    cmd_say(f, "%s: %s\n", "one\nline", "ends\n");
    cmd_say(f, "%s", "none\n");
    cmd_say(f, "%s", "");
    fclose(f);
    ck_assert_str_eq(text, "one?line: ends?\nnone?");
    free(text);
}
END_TEST

/* Arguments may come from a file's name that somebody else has chosen. */
START_TEST(a_command_line_is_repeated_without_its_escapes)
{
    static char why[] = "why", evil[] = "/\x1b[2J\n\xc2\x9b", address[] = "0x10";
    char *first[] = { evil, NULL }, *file[] = { why, evil, address, NULL },
         *word[] = { why, evil, evil, NULL };

    test_run_oakum(&r, first);
    ck_assert_msg(strstr(r.err, "unknown command '/?[2J?" "?" "?'") != NULL, "%s", r.err);
    test_run_oakum(&r, file);
    ck_assert_str_eq(r.err, "oakum why: /?[2J???: No such file or directory; check the path\n");
    test_run_oakum(&r, word);
    ck_assert_str_eq(r.err, "oakum why: '/?[2J?" "?" "?' is no address, as 0x7f0010\n");
}
END_TEST

/* ---- the library's words ---- */

#define EVIL "\x1b]0;\x07\n\xc2\x9b\xff\xe2\x80\xae"
#define CLEAN "?]0;????????"

static oak_path path(const oak_step *steps)
{
    return (oak_path){
        .object = (void *)0x2000,
        .size = 16,
        .length = 2,
        .nsteps = 2,
        .steps = steps,
        .root = { .kind = OAK_ROOT_STACK,
                  .thread = 7,
                  .thread_name = EVIL,
                  .where = EVIL "\xc3\xa9" },
    };
}

static const oak_step steps[] = {
    { .object = (void *)0x1000, .size = 32, .type = EVIL, .offset = SIZE_MAX },
    { .object = (void *)0x2000, .size = 16, .type = "plain", .offset = 8, .label = "key " EVIL },
};

#define WORDS                                                                       \
    "0x2000 (16 bytes) is alive, 2 objects from a root:\n"                          \
    "stack of thread 7 (" CLEAN ") in " CLEAN "\xc3\xa9()\n"                        \
    "  0x1000, " CLEAN ", 32 bytes\n"                                               \
    "  -> key " CLEAN " (+8) 0x2000, plain, 16 bytes\n"

START_TEST(a_path_in_words_has_no_control_characters)
{
    oak_path p = path(steps);
    char text[1024], again[1024] = "";
    int fds[2];

    ck_assert_uint_eq(oak_path_format(&p, text, sizeof(text)), strlen(WORDS));
    ck_assert_str_eq(text, WORDS);
    ck_assert_uint_eq(oak_path_format(&p, text, 60), strlen(WORDS)); /* of all */
    ck_assert_uint_eq(strlen(text), 59);
    ck_assert_int_eq(pipe(fds), 0);
    ck_assert_int_eq(oak_path_write(&p, fds[1]), 0);
    ck_assert_int_eq(read(fds[0], again, sizeof(again) - 1), (int)strlen(WORDS));
    ck_assert_str_eq(again, WORDS);
}
END_TEST

static const oak_root_info roots[] = {
    { .kind = OAK_ROOT_GLOBAL, .where = EVIL, .file = EVIL, .offset = SIZE_MAX },
    { .kind = OAK_ROOT_RANGE, .where = EVIL, .file = EVIL, .offset = 8 },
    { .kind = OAK_ROOT_TLS, .where = EVIL, .file = EVIL, .thread = 7, .thread_name = EVIL },
    { .kind = OAK_ROOT_FIBER, .where = EVIL, .thread = 7, .thread_name = EVIL, .caller = true },
    { .kind = OAK_ROOT_REGISTER, .where = EVIL, .thread = 7, .thread_name = EVIL },
    { .kind = OAK_ROOT_FINALIZER, .where = EVIL },
    { .kind = OAK_ROOT_CLEANUP, .where = EVIL },
    { .kind = OAK_ROOT_WAITING, .where = EVIL },
    { .kind = OAK_ROOT_RUNTIME, .thread = 7, .thread_name = EVIL },
};

START_TEST(a_root_in_words_has_no_control_characters)
{
    char text[512];

    oak_root_format(&roots[_i], text, sizeof(text));
    ck_assert_ptr_nonnull(strstr(text, CLEAN));
    for (const char *p = text; *p != '\0'; p++)
        ck_assert_msg((unsigned char)*p >= 0x20 && (unsigned char)*p < 0x7f, "%s", text);
}
END_TEST

Suite *suite_cmd_text(void)
{
    Suite *s = suite_create("cmd_text");
    TCase *c = tcase_create("text");

    tcase_add_loop_test(c, what_a_terminal_obeys_is_shown_as_a_question_mark, 0,
                        (int)OAKI_COUNT(texts));
    tcase_add_loop_test(c, json_is_escaped_and_loses_nothing_that_it_can_say, 0,
                        (int)OAKI_COUNT(texts));
    tcase_add_test(c, a_line_ends_where_its_format_does);
    tcase_add_test(c, a_command_line_is_repeated_without_its_escapes);
    tcase_add_test(c, a_path_in_words_has_no_control_characters);
    tcase_add_loop_test(c, a_root_in_words_has_no_control_characters, 0, (int)OAKI_COUNT(roots));
    suite_add_tcase(s, c);
    return s;
}
