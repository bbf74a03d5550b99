/* small.c - tests that a small program doesn't pay for machinery that it doesn't need: with 5 MB
 * live and all options at their defaults there is no thread but its own, no tracking, and few pages
 * are touched. Counts, which no load on the machine changes. */
#include "tests/heap.h"

#include <check.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

Suite *suite_gc_small(void);

#define MB ((size_t)1 << 20)

enum { LIVE = 5, SLOTS = (LIVE << 20) / 48 };
static void **table; /* of objects of 40 bytes on the average; with 8 in the table for each */

static unsigned entries(const char *path, const char *what)
{
    char link[300], name[300];
    unsigned n = 0;
    DIR *d = opendir(path);
    ck_assert_ptr_nonnull(d);
    for (struct dirent *e; (e = readdir(d)) != NULL;) {
        if (e->d_name[0] == '.') continue;
        snprintf(link, sizeof link, "%s/%s", path, e->d_name);
        ssize_t len = what ? readlink(link, name, sizeof name - 1) : 0;
        if (len < 0) continue;
        name[len] = 0;
        n += !what || strstr(name, what);
    }
    closedir(d);
    return n;
}

/* As an interpreter does: most of what it makes is garbage at once, some replaces what it had. */
static void run(void *arg)
{
    uint64_t x = 88172645463325252u;
    (void)arg;
    for (size_t i = 0; i < SLOTS; i++) table[i] = oak_alloc(16 + i % 4 * 16);
    for (size_t i = 0; i < 2000000; i++) {
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        void **p = oak_alloc(16 + (x >> 40) % 4 * 16);
        if (!p) ck_abort_msg("out of memory");
        p[0] = p;
        if ((x >> 8) % 4 == 0) table[x % SLOTS] = p;
    }
}

START_TEST(five_megabytes_need_no_thread_and_little_memory)
{
    oak_config c;
    if (test_skip_slow() || test_skip(getenv("OAKUM_DEBUG"), "OAKUM_DEBUG is set")) return;
    oak_config_default(&c);
    c.concurrent = c.generations = c.background_sweep = c.scavenge = c.touch_ahead = 1;
    c.gc_threads = 0;
    c.gc_percent = 100;
    c.tracking = OAK_TRACKING_USERFAULTFD;
    test_heap_start(c);
    test_only_root(&table, sizeof table);
    table = oak_alloc(SLOTS * sizeof *table);
    size_t rss = test_rss();
    test_away(run, NULL);
    oak_memstats s = test_stats();
    ck_assert_uint_ge(s.num_gc, 5);
    ck_assert_uint_ge(s.heap_alloc, 4 * MB);
    ck_assert_uint_eq(entries("/proc/self/task", NULL), 1);
    ck_assert_uint_eq(entries("/proc/self/fd", "userfaultfd"), 0);
    ck_assert_uint_le(s.heap_sys - s.heap_released, 14 * MB);
    ck_assert_uint_le(test_rss() - rss, 14 * MB);
}
END_TEST

Suite *suite_gc_small(void)
{
    Suite *s = suite_create("gc/small");
    TCase *c = tcase_create("small");
    tcase_add_test(c, five_megabytes_need_no_thread_and_little_memory);
    suite_add_tcase(s, c);
    return s;
}
