/* pprof.c - tests of observe/pprof.c with the reader itself, `go tool pprof` of Go 1.19, and of
 * utf8.c.
 *
 * Without Debian's golang-1.19-go the tests of it are skipped, and say so; that of a picture also
 * without graphviz. */
#include "find.h"
#include "observe/utf8.h"
#include "tests/heap.h"
#include "tests/threads.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

Suite *suite_observe_pprof(void);

#define GO "/usr/lib/go-1.19/bin/go"

static char dir[64], text[65536];

static void start(void)
{
    snprintf(dir, sizeof dir, "/tmp/oakum-test-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    test_heap_start(test_config());
    ck_assert_int_eq(oak_profile_set_rate(1), 0);
}

static void stop(void)
{
    snprintf(text, sizeof text, "rm -rf %s", dir);
    ck_assert_int_eq(system(text), 0);
}

/* What the command printed; it must succeed. Its HOME is a place of the test's. */
static const char *run(const char *format, const char *a, const char *b)
{
    char command[1000], what[400];
    snprintf(what, sizeof what, format, dir, a, dir, b);
    snprintf(command, sizeof command,
             "cd %s && HOME=%s PPROF_TMPDIR=%s GOFLAGS= GOCACHE=%s/cache " GO
             " tool pprof -symbolize=none %s 2>err",
             dir, dir, dir, dir, what);
    FILE *out = popen(command, "r");
    ck_assert_ptr_nonnull(out);
    size_t n = fread(text, 1, sizeof text - 1, out);
    text[n] = '\0';
    ck_assert_msg(pclose(out) == 0, "%s", command);
    return text;
}

static bool missing(const char *program, const char *package)
{
    if (access(program, X_OK) == 0) return false;
    printf("observe/pprof: skipped: no %s (package %s)\n", program, package);
    return true;
}

static void save(const oak_profile *p, const char *name)
{
    char path[200];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    ck_assert_int_eq(oak_profile_save(p, path), 0);
}

/* ---- a program ---- */

static void *held[1000];
static size_t nheld;

static OAKI_NOINLINE void hold_pages(size_t n)
{
    while (n-- > 0) held[nheld++] = oak_alloc_noscan(4096);
    __asm__("" : : : "memory");
}

static OAKI_NOINLINE void hold_words(size_t n)
{
    while (n-- > 0) held[nheld++] = oak_alloc(16);
    __asm__("" : : : "memory");
}

static OAKI_NOINLINE void serve(const char *tenant, size_t n)
{
    OAK_WITH_LABEL("tenant", tenant) hold_pages(n);
    __asm__("" : : : "memory");
}

/* Is there a line with all of these? */
static void assert_line(const char *out, const char *a, const char *b)
{
    char line[1000];
    for (const char *p = out; *p; p += strcspn(p, "\n"), p += *p == '\n') {
        snprintf(line, sizeof line, "%.*s", (int)strcspn(p, "\n"), p);
        if (strstr(line, a) && strstr(line, b)) return;
    }
    ck_abort_msg("no line with '%s' and '%s' in:\n%s", a, b, out);
}

START_TEST(top_names_functions_with_their_figures)
{
    if (missing(GO, "golang-1.19-go")) return;
    hold_pages(100);
    hold_words(50);
    oak_collect();
    save(NULL, "a");
    const char *out = run("-top -sample_index=inuse_space -unit=B %s/%s", "a", "");
    assert_line(out, "409600B", "hold_pages");
    assert_line(out, "Type", "inuse_space");
    assert_line(out, "check_oakum", "File");
    out = run("-top -sample_index=inuse_objects %s/%s", "a", "");
    assert_line(out, " 50 ", "hold_words");
    out = run("-top -sample_index=alloc_objects %s/%s", "a", "");
    assert_line(out, " 100 ", "hold_pages");
    out = run("-list=hold_pages -sample_index=inuse_space -unit=B %s/%s", "a", "");
    assert_line(out, "ROUTINE", "tests/observe/pprof.c");
    ck_assert_ptr_nonnull(held[0]);
}
END_TEST

START_TEST(the_default_type_is_what_was_asked_for)
{
    if (missing(GO, "golang-1.19-go")) return;
    hold_pages(1);
    oak_profile *p = oak_profile_read(OAK_PROFILE_ALLOCS);
    save(p, "a");
    oak_profile_free(p);
    assert_line(run("-top %s/%s", "a", ""), "Type", "alloc_space");
    save(NULL, "b");
    assert_line(run("-top %s/%s", "b", ""), "Type", "inuse_space");
}
END_TEST

/* By pprof, and by Oakum. */
START_TEST(differences_show_what_came)
{
    if (missing(GO, "golang-1.19-go")) return;
    hold_pages(100);
    oak_collect();
    oak_profile *before = oak_profile_read(0);
    save(before, "before");
    hold_pages(30);
    hold_words(10);
    oak_collect();
    oak_profile *after = oak_profile_read(0);
    save(after, "after");
    const char *out = run("-top -unit=B -nodefraction=0 -diff_base=%s/%s %s/%s", "before", "after");
    assert_line(out, "122880B", "hold_pages");
    assert_line(out, "160B", "hold_words");
    oak_profile_subtract(after, before);
    save(after, "difference");
    out = run("-top -nodefraction=0 -unit=B %s/%s", "difference", "");
    assert_line(out, "122880B", "hold_pages");
    oak_profile_subtract(before, after);
    oak_profile_free(before);
    oak_profile_free(after);
}
END_TEST

START_TEST(tags_are_labels)
{
    if (missing(GO, "golang-1.19-go")) return;
    serve("blue", 10);
    serve("red", 20);
    serve("odd\xff\n\\", 5);
    int was = oak_label_push_number("size", 7, "requests");
    hold_pages(1);
    oak_labels_pop(was);
    oak_collect();
    save(NULL, "a");
    const char *out = run("-tags -unit=B %s/%s", "a", "");
    assert_line(out, "tenant", "143360.0B");
    assert_line(out, "40960.0B", "blue");
    assert_line(out, "81920.0B", "red");
    assert_line(out, "20480.0B", "odd\\xff");
    assert_line(run("-raw %s/%s", "a", ""), "size:[7", "requests");
    out = run("-top -unit=B -tagfocus=tenant=red %s/%s", "a", "");
    assert_line(out, "81920B", "hold_pages");
}
END_TEST

START_TEST(a_picture_can_be_drawn)
{
    if (missing(GO, "golang-1.19-go") || missing("/usr/bin/dot", "graphviz")) return;
    hold_pages(100);
    oak_collect();
    save(NULL, "a");
    const char *out = run("-svg %s/%s", "a", "");
    ck_assert_ptr_nonnull(strstr(out, "<svg"));
    ck_assert_ptr_nonnull(strstr(out, "hold_pages"));
}
END_TEST

/* What the file says is what it says unpacked: raw shows mappings with build ids, locations. */
START_TEST(raw_shows_mappings_and_periods)
{
    if (missing(GO, "golang-1.19-go")) return;
    hold_pages(1);
    save(NULL, "a");
    const char *out = run("-raw %s/%s", "a", "");
    assert_line(out, "PeriodType", "space bytes");
    assert_line(out, "1: 0x", "check_oakum");
    assert_line(out, "hold_pages", "pprof.c:");
}
END_TEST

/* ---- UTF-8 ---- */

static const struct {
    const char *in;
    size_t n;
    const char *out;
} texts[] = {
    { "", 0, "" },
    { "plain \\ text", 12, "plain \\ text" },
    { "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", 9, "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80" },
    { "a\0b\\", 4, "a\\x00b\\\\" },
    { "\xff\xfe", 2, "\\xff\\xfe" },
    { "\xc0\x80", 2, "\\xc0\\x80" },                 /* longer than it needs to be */
    { "\xed\xa0\x80", 3, "\\xed\\xa0\\x80" },         /* a surrogate */
    { "\xf4\x90\x80\x80", 4, "\\xf4\\x90\\x80\\x80" }, /* beyond the last character */
    { "\xe2\x82", 2, "\\xe2\\x82" },                 /* cut off */
    { "\xc3(", 2, "\\xc3(" },
};

START_TEST(any_bytes_become_utf8)
{
    size_t n;
    char *out = oaki_utf8_escape(texts[_i].in, texts[_i].n, &n);
    ck_assert_ptr_nonnull(out);
    ck_assert_str_eq(out, texts[_i].out);
    ck_assert_uint_eq(n, strlen(out));
    free(out);
}
END_TEST

Suite *suite_observe_pprof(void)
{
    Suite *s = suite_create("observe/pprof");
    TCase *c = tcase_create("pprof"), *u = tcase_create("utf8");
    tcase_add_checked_fixture(c, start, stop);
    tcase_add_test(c, top_names_functions_with_their_figures);
    tcase_add_test(c, the_default_type_is_what_was_asked_for);
    tcase_add_test(c, differences_show_what_came);
    tcase_add_test(c, tags_are_labels);
    tcase_add_test(c, a_picture_can_be_drawn);
    tcase_add_test(c, raw_shows_mappings_and_periods);
    suite_add_tcase(s, c);
    tcase_add_loop_test(u, any_bytes_become_utf8, 0, (int)OAKI_COUNT(texts));
    suite_add_tcase(s, u);
    return s;
}
