/* snapshot.c - tests of snapshots: what is in one; what is damaged, cut or hostile; where nothing
 * can be written. */
#include "tests/heap.h"
#include "tests/threads.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

Suite *suite_observe_snapshot(void);

static char path[64], error[256];

static void name_file(void)
{
    snprintf(path, sizeof path, "/tmp/oakum-snap-XXXXXX");
    int fd = mkstemp(path);
    ck_assert_int_ge(fd, 0);
    close(fd);
}

static void remove_file(void)
{
    unlink(path);
}

static void start(void)
{
    name_file();
    test_heap_start(test_config());
}

static char *read_file(const char *name, size_t *n)
{
    struct stat st;
    int fd = open(name, O_RDONLY);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(fstat(fd, &st), 0);
    char *p = malloc((size_t)st.st_size + 1);
    ck_assert_int_eq(read(fd, p, (size_t)st.st_size), st.st_size);
    close(fd);
    p[st.st_size] = '\0';
    *n = (size_t)st.st_size;
    return p;
}

static void write_file(const char *name, const char *p, size_t n)
{
    int fd = open(name, O_WRONLY | O_TRUNC);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, p, n), (ssize_t)n);
    close(fd);
}

/* ---- what is in it ---- */

#define CLASSIC 800 /* some of them in overflow buckets */

void *snapshot_global;

static void fill(void *arg)
{
    oak_map *m = oak_map_new(&oak_map_cstring_ptr, 0);
    for (int i = 0; i < 500; i++) {
        char *key = oak_alloc_noscan(16), **slot;
        snprintf(key, 16, "k%d", i);
        slot = oak_map_put(m, &key);
        *slot = oak_alloc(48);
    }
    void **top = oak_alloc(64), *key = oak_alloc(32);
    oak_classic_map *c = oak_classic_new(&oak_classic_int_ptr, 0);
    for (uint64_t i = 0; i < CLASSIC; i++) *(void **)oak_classic_put(c, &i) = oak_alloc(16);
    oak_classic_stats stats;
    oak_classic_stats_read(c, &stats);
    ck_assert_uint_gt(stats.noverflow, 0);
    top[0] = m;
    top[1] = key;
    top[2] = oak_ephemeron_new(key, oak_alloc(80));
    top[3] = c;
    *(void **)arg = top;
}

/* Keys that stand in the snapshot, and edges through ephemerons. */
static void count_edges(const oak_snapshot *s, size_t *keys, size_t *pairs)
{
    oak_snapshot_info i;
    oak_snapshot_edge e;
    *keys = *pairs = 0;
    oak_snapshot_info_read(s, &i);
    for (uint64_t n = 0; n < i.objects; n++)
        for (uint64_t k = 0; oak_snapshot_edge_read(s, n, k, &e) == 0; k++) {
            *keys += e.label != NULL;
            *pairs += e.ephemeron;
        }
}

START_TEST(maps_keys_pairs_and_roots_are_in_it)
{
    start();
    test_away(fill, &snapshot_global);
    size_t keys, pairs;
    oak_snapshot_options o = { .in_stop_ = _i == 1,
                               .no_keys = _i == 2,
                               .max_keys = _i == 3 ? 7 : 0,
                               .timeout_ns = _i == 3 ? UINT64_MAX : 0 };
    oak_snapshot_cost cost;
    ck_assert_int_eq(oak_snapshot_save_with(path, &o, &cost), 0);
    ck_assert(cost.stopped || _i != 1);
    oak_snapshot *s = oak_snapshot_open(path, error, sizeof error);
    ck_assert_msg(s != NULL, "%s", error);
    oak_snapshot_info i;
    oak_snapshot_info_read(s, &i);
    ck_assert_uint_eq(i.objects, cost.objects);
    ck_assert_uint_eq(i.edges, cost.edges);
    ck_assert_uint_eq(i.bytes, cost.bytes);
    ck_assert_str_eq(i.oakum, oak_version());
    count_edges(s, &keys, &pairs);
    ck_assert_uint_eq(pairs, 1);
    ck_assert_uint_eq(i.keys_cut, _i == 3);
    if (_i == 2)
        ck_assert_uint_eq(keys, 0);
    else if (_i == 3)
        ck_assert_uint_eq(keys, 7);
    else
        ck_assert_uint_eq(keys, 1000 + CLASSIC); /* keys and values; values */
    bool named = false;
    for (uint64_t r = 0; r < i.roots; r++) {
        oak_root_info root;
        uint64_t target;
        oak_snapshot_object obj;
        ck_assert_int_eq(oak_snapshot_root_read(s, r, &root, &target), 0);
        ck_assert_int_eq(oak_snapshot_object_read(s, target, &obj), 0);
        ck_assert_uint_eq((uintptr_t)root.value - obj.address <= obj.size, true);
        named |= root.kind == OAK_ROOT_GLOBAL && strcmp(root.where, "snapshot_global") == 0;
    }
    ck_assert(named);
    oak_snapshot_close(s);
    remove_file();
    snapshot_global = NULL;
}
END_TEST

START_TEST(two_snapshots_are_compared)
{
    start();
    static const uint64_t bits[] = { 1 };
    const oak_type *t = oak_type_bitmap("grows", 64, bits);
    void **list = NULL;
    oak_snapshot *s[2];
    for (int k = 0; k < 2; k++) {
        for (int i = 0; i < 100; i++) {
            void **p = oak_alloc_typed(t, 1);
            p[0] = list;
            snapshot_global = list = p;
        }
        ck_assert_int_eq(oak_snapshot_save(path), 0);
        s[k] = oak_snapshot_open(path, error, sizeof error);
        ck_assert_msg(s[k] != NULL, "%s", error);
    }
    oak_snapshot_change c[4];
    size_t total;
    ck_assert_int_ge(oak_snapshot_diff(s[0], s[1], c, 4, &total), 1);
    ck_assert_str_eq(c[0].type, "grows");
    ck_assert_uint_eq(c[0].objects_before, 100);
    ck_assert_uint_eq(c[0].objects_after, 200);
    ck_assert_uint_eq(c[0].bytes_after, 200 * 64);
    oak_snapshot_close(s[0]);
    oak_snapshot_close(s[1]);
    oak_snapshot_close(NULL);
    remove_file();
}
END_TEST

/* ---- what is damaged ---- */

static void expect_bad(void)
{
    error[0] = '\0';
    errno = 0;
    oak_snapshot *s = oak_snapshot_open(path, error, sizeof error);
    ck_assert_ptr_null(s);
    ck_assert_int_eq(errno, EBADMSG);
    ck_assert_msg(strstr(error, "at byte"), "%s", error);
}

START_TEST(a_part_of_a_file_is_refused)
{
    size_t n;
    start();
    test_away(fill, &snapshot_global);
    ck_assert_int_eq(oak_snapshot_save(path), 0);
    char *whole = read_file(path, &n);
    size_t step = test_slow() ? 997 : 29;
    for (size_t cut = 0; cut < n; cut += cut < 200 || cut > n - 200 ? 1 : step) {
        write_file(path, whole, cut);
        expect_bad();
    }
    char *longer = malloc(n + 1);
    memcpy(longer, whole, n);
    longer[n] = 0;
    write_file(path, longer, n + 1);
    expect_bad();
    write_file(path, whole, n);
    oak_snapshot_close(oak_snapshot_open(path, NULL, 0));
    free(whole);
    free(longer);
    remove_file();
}
END_TEST

/* Whatever is in a file: an error or a snapshot that can be followed. And not much memory. */
START_TEST(damaged_files_are_refused)
{
    size_t n;
    start();
    test_seed("observe_snapshot");
    test_away(fill, &snapshot_global);
    ck_assert_int_eq(oak_snapshot_save(path), 0);
    char *whole = read_file(path, &n), *bad = malloc(n);
#ifndef OAKI_ASAN
    /* a count that is taken at its word ends here; what is mapped already is the heap's range */
    struct rlimit old;
    getrlimit(RLIMIT_DATA, &old);
    setrlimit(RLIMIT_DATA, &(struct rlimit){ test_rss() + ((rlim_t)256 << 20), old.rlim_max });
#endif
    for (size_t i = 0; i < test_scale(3000); i++) {
        memcpy(bad, whole, n);
        /* most of what is small and matters stands at both ends */
        size_t from = test_below(2) ? 0 : n - OAKI_MIN(n, (size_t)3000), many = 1 + test_below(4);
        for (; many > 0; many--) {
            size_t room = test_below(2) ? OAKI_MIN(n - from, (size_t)300) : n - from;
            size_t at = from + test_below(room);
            if (test_below(3))
                bad[at] ^= (char)(1 << test_below(8));
            else
                memset(bad + at, (int)(0xff - test_below(2)), OAKI_MIN(n - at, 1 + test_below(12)));
        }
        if (memcmp(bad, whole, n) == 0) continue;
        write_file(path, bad, n);
        expect_bad();
    }
#ifndef OAKI_ASAN
    setrlimit(RLIMIT_DATA, &old);
#endif
    free(whole);
    free(bad);
    remove_file();
}
END_TEST

START_TEST(what_is_no_snapshot_is_refused)
{
    static const char *const none[] = {
        "",
        "x",
        "OAKSNAP",
        "OAKSNAP\n",
        "OAKSNAP\n\x02",
        "#!/bin/sh\n",
        "OAKSNAP\n\x01I\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"
    };
    name_file();
    for (size_t i = 0; i < OAKI_COUNT(none); i++) {
        write_file(path, none[i], strlen(none[i]));
        expect_bad();
    }
    remove_file();
    ck_assert_ptr_null(oak_snapshot_open(path, error, sizeof error));
    ck_assert_int_eq(errno, ENOENT);
    ck_assert_ptr_null(oak_snapshot_open("/tmp", error, sizeof error));
    ck_assert_int_eq(errno, EISDIR);
}
END_TEST

/* ---- where nothing can be written ---- */

START_TEST(a_full_disk_leaves_what_was_there)
{
    size_t n;
    start();
    test_away(fill, &snapshot_global);
    oak_snapshot_options o = { .in_stop_ = _i == 1 };
    ck_assert_int_eq(oak_snapshot_save_with("/dev/full", &o, NULL), -1);
    ck_assert_int_eq(errno, ENOSPC);
    ck_assert_int_eq(access("/dev/full", F_OK), 0);
    /* a limit on files' sizes stands for a disk that fills up in the middle */
    write_file(path, "before", 6);
    signal(SIGXFSZ, SIG_IGN);
    struct rlimit old;
    getrlimit(RLIMIT_FSIZE, &old);
    setrlimit(RLIMIT_FSIZE, &(struct rlimit){ 1000, old.rlim_max });
    ck_assert_int_eq(oak_snapshot_save_with(path, &o, NULL), -1);
    int failed = errno;
    setrlimit(RLIMIT_FSIZE, &old);
    ck_assert_int_eq(failed, EFBIG);
    char *text = read_file(path, &n);
    ck_assert_str_eq(text, "before");
    free(text);
    char command[256];
    snprintf(command, sizeof command, "test \"$(ls %s*)\" = %s", path, path);
    ck_assert_int_eq(system(command), 0); /* and nothing beside it */
    ck_assert_int_eq(oak_snapshot_save("/nowhere/at/all"), -1);
    ck_assert_int_eq(errno, ENOENT);
    remove_file();
}
END_TEST

START_TEST(a_closed_pipe_is_an_error_and_no_signal)
{
    int ends[2];
    start();
    test_away(fill, &snapshot_global);
    oak_snapshot_options o = { .in_stop_ = _i == 1 };
    ck_assert_int_eq(pipe(ends), 0);
    close(ends[0]);
    ck_assert_int_eq(oak_snapshot_write(ends[1], &o, NULL), -1);
    ck_assert_int_eq(errno, EPIPE);
    close(ends[1]);
    remove_file();
}
END_TEST

static int pipe_in;

static void *copy_to_file(void *arg)
{
    char buf[4096];
    ssize_t n;
    int fd = open(path, O_WRONLY | O_TRUNC);
    oak_thread_attach(); /* stopped with the others, where there is no child */
    while ((n = read(pipe_in, buf, sizeof buf)) > 0)
        if (write(fd, buf, (size_t)n) != n) break;
    close(fd);
    return arg;
}

START_TEST(a_pipe_that_a_thread_of_the_program_reads_is_no_trap)
{
    int ends[2];
    start();
    test_away(fill, &snapshot_global);
    for (int i = 0; i < 3000; i++) {
        void **p = oak_alloc(64);
        p[0] = ((void **)snapshot_global)[5];
        p[1] = snapshot_global;
        ((void **)snapshot_global)[5] = p;
    }
    oak_snapshot_options o = { .in_stop_ = _i == 1 };
    ck_assert_int_eq(pipe(ends), 0);
    pipe_in = ends[0];
    pthread_t t = test_start(copy_to_file, NULL);
    ck_assert_int_eq(oak_snapshot_write(ends[1], &o, NULL), 0);
    close(ends[1]);
    test_join(t);
    oak_snapshot *s = oak_snapshot_open(path, error, sizeof error);
    ck_assert_msg(s != NULL, "%s", error);
    oak_snapshot_close(s);
    close(ends[0]);
    remove_file();
}
END_TEST

/* ---- the program goes on ---- */

START_TEST(the_program_goes_on_while_a_snapshot_is_written)
{
    start();
    pthread_t t = test_start(test_allocate, NULL), u = test_start(test_in_and_out, NULL);
    test_wait(&test_moved, 1000);
    for (int i = 0; i < 5; i++) {
        ck_assert_int_eq(oak_snapshot_save(path), 0);
        oak_snapshot *s = oak_snapshot_open(path, error, sizeof error);
        ck_assert_msg(s != NULL, "%s", error);
        oak_snapshot_close(s);
        oak_collect();
    }
    AO_store(&test_quit, 1);
    test_join(t);
    test_join(u);
    test_assert_sound();
    remove_file();
}
END_TEST

Suite *suite_observe_snapshot(void)
{
    Suite *s = suite_create("observe_snapshot");
    TCase *t = tcase_create("whole");
    tcase_add_loop_test(t, maps_keys_pairs_and_roots_are_in_it, 0, 4);
    tcase_add_test(t, two_snapshots_are_compared);
    tcase_add_test(t, the_program_goes_on_while_a_snapshot_is_written);
    suite_add_tcase(s, t);
    t = tcase_create("bad");
    tcase_add_test(t, a_part_of_a_file_is_refused);
    tcase_add_test(t, damaged_files_are_refused);
    tcase_add_test(t, what_is_no_snapshot_is_refused);
    tcase_add_loop_test(t, a_full_disk_leaves_what_was_there, 0, 2);
    tcase_add_loop_test(t, a_closed_pipe_is_an_error_and_no_signal, 0, 2);
    tcase_add_loop_test(t, a_pipe_that_a_thread_of_the_program_reads_is_no_trap, 0, 2);
    suite_add_tcase(s, t);
    return s;
}
