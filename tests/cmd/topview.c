/* topview.c - tests of the page of `oakum top`: at each width of a terminal all of it is there, and
 * no line is wider. */
#include "cmd/live.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

Suite *suite_cmd_topview(void);

static const char state[] =
    "{\"program\":\"a-program\",\"pid\":12345,\"version\":\"0.1.0\",\"unix_ns\":1,\"memory\":{"
    "\"heap_alloc\":23698866,\"heap_inuse\":24117248,\"next_gc\":24012390,"
    "\"heap_released\":3250586,\"heap_objects\":69262,\"threads\":3,\"stack_inuse\":15155,"
    "\"num_gc\":75},\"cycles\":[{\"pause_ns\":3600000,\"live\":12687769}],"
    "\"maps\":{\"count\":10000,\"entries\":45931,\"array_bytes\":1992294,"
    "\"old_array_bytes\":630784,\"largest\":[{\"address\":\"0x7e210a404000\",\"kind\":\"classic\","
    "\"entries\":27000,\"load\":0.41,\"array_bytes\":1258291,\"growing\":true,\"moved\":0.1,"
    "\"old_array_bytes\":630784}]},\"leaks\":{\"looks\":33,\"findings\":[{\"severity\":\"leak\","
    "\"active\":true,\"kind\":\"site-growth\",\"site\":3,\"subject\":\"site entry_new (demo.c:27) "
    "< audit_request (demo.c:34) < serve_request (demo.c:48)\",\"evidence\":\"live after "
    "collection 844.2 KiB -> 6.2 MiB in 16 looks, 418.1 KiB a look, z 5.6\"}]}}";

/* What may not be cut off, though it is at the end of a line. */
static const char *const ends[] = { "given back", "left 616.0 KiB", "serve_request (demo.c:48)",
                                    "z 5.6",      "616.0 KiB",      "9999 smaller ones" };

static char *page(unsigned columns, unsigned rows)
{
    char *text;
    size_t n;
    cmd_server server = { .path = "/tmp/oakum-0/12345.sock" };
    cmd_json *now = cmd_json_read(state);
    cmd_view view = { .out = open_memstream(&text, &n), .columns = columns, .rows = rows };

    ck_assert_ptr_nonnull(now);
    cmd_view_page(&view, &server, now, NULL);
    fclose(view.out);
    cmd_json_free(now);
    return text;
}

static const unsigned widths[] = { 1, 2, 9, 20, 40, 80, 81, 132, 1000 };

START_TEST(a_page_is_as_wide_as_the_terminal)
{
    char *text = page(widths[_i], 0);

    for (char *line = text; *line != '\0'; line += strcspn(line, "\n") + 1)
        ck_assert_uint_le(strcspn(line, "\n"), widths[_i]);
    free(text);
}
END_TEST

START_TEST(nothing_is_cut_off)
{
    char *text = page(widths[_i], 0), *to = text;

    /* Where a line is broken there is one space. */
    for (char *from = text; *from != '\0'; from++) {
        if (*from == '\n') *from = ' ';
        if (*from != ' ' || (to != text && to[-1] != ' ')) *to++ = *from;
    }
    *to = '\0';
    for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++)
        if (widths[_i] >= 40) ck_assert_msg(strstr(text, ends[i]) != NULL, "%s: %s", ends[i], text);
    free(text);
}
END_TEST

START_TEST(a_page_has_no_more_lines_than_the_terminal)
{
    for (unsigned rows = 1; rows < 40; rows++) {
        char *text = page(widths[_i], rows);
        unsigned n = 0;

        for (char *at = text; (at = strchr(at, '\n')) != NULL; at++) n++;
        ck_assert_uint_lt(n, rows);
        free(text);
    }
}
END_TEST

Suite *suite_cmd_topview(void)
{
    Suite *s = suite_create("cmd_topview");
    TCase *c = tcase_create("topview");
    int n = sizeof(widths) / sizeof(widths[0]);

    tcase_add_loop_test(c, a_page_is_as_wide_as_the_terminal, 0, n);
    tcase_add_loop_test(c, nothing_is_cut_off, 0, n);
    tcase_add_loop_test(c, a_page_has_no_more_lines_than_the_terminal, 0, n);
    suite_add_tcase(s, c);
    return s;
}
