/* page.c - tests of the page that `oakum leaks` writes: of the scenarios of runner.c. */
#include "run.h"

#include "cmd/cmd.h"
#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

Suite *suite_cmd_page(void);

static test_run r;

#define LEAKS(...) test_run_leaks(&r, (const char *[3]){ __VA_ARGS__ })

/* In a folder of its own, in which no more than the page may be left. */
static char folder[64];

static void enter_folder(void)
{
    snprintf(folder, sizeof(folder), "/tmp/oakum-test-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    ck_assert_int_eq(chdir(folder), 0);
}

static void leave_folder(void)
{
    unlink("page.html");
    ck_assert_int_eq(chdir("/"), 0);
    ck_assert_msg(rmdir(folder) == 0, "something is left in %s", folder);
}

static char *read_file(const char *name)
{
    FILE *f = fopen(name, "r");
    char *text = calloc(1, 1 << 20);

    ck_assert_ptr_nonnull(f);
    ck_assert_uint_lt(fread(text, 1, 1 << 20, f), 1 << 20);
    fclose(f);
    return text;
}

START_TEST(a_page_has_the_rows_and_a_plot_and_needs_nothing_else)
{
    char *page;

    enter_folder();
    LEAKS("keeps", "skips", "--html=page.html");
    ck_assert_msg(r.status == 0, "%s", r.err);
    ck_assert_ptr_nonnull(strstr(r.out, "all as expected")); /* the table is printed too */
    page = read_file("page.html");
    ck_assert_int_eq(strncmp(page, "<!DOCTYPE html>", 15), 0);
    ck_assert_str_eq(strchr(page, '\0') - 8, "</html>\n");
    ck_assert_ptr_nonnull(strstr(page, "1,048,576"));
    ck_assert_uint_eq(test_count(page, "<svg"), 1); /* the other measured nothing */
    ck_assert_ptr_nonnull(strstr(page, "class=\"curve p0\" d=\"M"));
    ck_assert_ptr_nonnull(strstr(page, "<table aria-label=\"keeps\"><thead>"));
    ck_assert_ptr_nonnull(strstr(page, "data-label=\"Go 1.19\"")); /* where it is narrow */
    ck_assert_ptr_nonnull(strstr(page, "prefers-color-scheme:dark"));
    ck_assert_ptr_null(strstr(page, "://"));
    ck_assert_ptr_null(strstr(page, "<script"));
    ck_assert_ptr_null(strstr(page, "src="));
    free(page);
    leave_folder();
}
END_TEST

START_TEST(a_page_escapes_what_it_shows)
{
    char *page;

    enter_folder();
    LEAKS("hostile", "--html=page.html");
    ck_assert_int_eq(r.status, 1);
    page = read_file("page.html");
    ck_assert_ptr_nonnull(strstr(page, "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt; &amp; "
                                       "&quot;quotes&quot;"));
    ck_assert_ptr_null(strstr(page, "<script"));
    ck_assert_ptr_null(strstr(page, "<b>1"));
    ck_assert_ptr_null(strstr(page, "<i>one"));
    ck_assert_uint_eq(test_count(page, "</table>"), 1);
    free(page);
    leave_folder();
}
END_TEST

START_TEST(a_page_that_can_not_be_written_is_an_error)
{
    enter_folder();
    LEAKS("skips", "--html=nowhere/page.html");
    ck_assert_int_eq(r.status, 1);
    ck_assert_ptr_nonnull(strstr(r.err, "cannot write nowhere/page.html: No such file"));
    LEAKS("skips", "--html=/dev/full");
    ck_assert_int_eq(r.status, 1);
    ck_assert_ptr_nonnull(strstr(r.err, "cannot write /dev/full: No space left"));
    LEAKS("skips", "--html=/dev/null");
    ck_assert_int_eq(r.status, 0);
    leave_folder();
}
END_TEST

START_TEST(a_page_that_can_not_be_written_is_told_before_anything_runs)
{
    enter_folder();
    LEAKS("keeps", "--html=nowhere/page.html");
    ck_assert_int_eq(r.status, 1);
    ck_assert_str_eq(r.out, "");
    ck_assert_str_eq(r.err, "oakum leaks: cannot write nowhere/page.html: "
                            "No such file or directory; check the path\n");
    LEAKS("keeps", "--html=.");
    ck_assert_int_eq(r.status, 1);
    ck_assert_str_eq(r.out, "");
    ck_assert_str_eq(r.err, "oakum leaks: cannot write .: Is a directory; "
                            "name a file, not a folder\n");
    leave_folder();
}
END_TEST

/* A run that fails over an old page, which stays as it is. */
static void fail_over_a_page(char *scenario, int (*main_fn)(int argc, char **argv), int status)
{
    static char name[] = "leaks", option[] = "--html=page.html";
    char *argv[] = { name, scenario, option, NULL }, *page;
    FILE *old = fopen("page.html", "w");

    fputs("an old page", old);
    fclose(old);
    test_run_function(&r, main_fn, argv);
    ck_assert_int_eq(r.status, status);
    page = read_file("page.html");
    ck_assert_str_eq(page, "an old page");
    free(page);
}

static int with_little_room(int argc, char **argv)
{
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &(struct rlimit){ 2048, 2048 });
    return cmd_leaks(argc, argv);
}

START_TEST(a_page_replaces_an_old_one_whole_or_not_at_all)
{
    static char scenario[] = "skips";
    char *page;

    enter_folder();
    fail_over_a_page(scenario, with_little_room, 1);
    ck_assert_msg(strstr(r.err, "cannot write page.html: File too large") != NULL, "%s", r.err);
    LEAKS("skips", "--html=page.html");
    ck_assert_int_eq(r.status, 0);
    page = read_file("page.html");
    ck_assert_ptr_null(strstr(page, "an old page"));
    free(page);
    leave_folder(); /* nothing else is in it */
}
END_TEST

/* Check has a handler of its own. */
static int as_from_a_shell(int argc, char **argv)
{
    signal(SIGINT, SIG_DFL);
    return cmd_leaks(argc, argv);
}

START_TEST(nothing_is_left_when_scenarios_are_interrupted)
{
    static char scenario[] = "interrupts";

    enter_folder();
    fail_over_a_page(scenario, as_from_a_shell, -1);
    leave_folder(); /* nothing else is in it */
}
END_TEST

Suite *suite_cmd_page(void)
{
    Suite *s = suite_create("cmd_page");
    TCase *c = tcase_create("page");

    tcase_add_test(c, a_page_has_the_rows_and_a_plot_and_needs_nothing_else);
    tcase_add_test(c, a_page_escapes_what_it_shows);
    tcase_add_test(c, a_page_that_can_not_be_written_is_an_error);
    tcase_add_test(c, a_page_that_can_not_be_written_is_told_before_anything_runs);
    tcase_add_test(c, a_page_replaces_an_old_one_whole_or_not_at_all);
    tcase_add_test(c, nothing_is_left_when_scenarios_are_interrupted);
    suite_add_tcase(s, c);
    return s;
}
