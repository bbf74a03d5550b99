/* cancel.c - tests of threads that are cancelled inside of what opens files, forks and waits: the
 * call comes to its end, nothing stays, and the next one works. */
#include "files.h"
#include "http.h"
#include "observe/symbol.h"
#include "tests/heap.h"
#include "tests/threads.h"

#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <oakum/serve.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

Suite *suite_observe_cancel(void);

static void *kept; /* a root */
static int null_fd;

/* ---- what is called ---- */

static bool why(void)
{
    oak_path *p = oak_why_alive(kept);
    bool found = p && p->length == 1 && oak_path_write(p, null_fd) == 0;
    oak_path_free(p);
    return found;
}

static bool retention(void)
{
    oak_suspect s[4];
    return oak_false_retention(s, 4) >= 0;
}

static bool retained(void)
{
    const void *object = kept;
    return oak_retained_size(&object, 1, NULL) != SIZE_MAX;
}

static bool snapshot_of(bool in_stop)
{
    oak_snapshot_options o = { .in_stop_ = in_stop };
    const char *path = test_path("snapshot");
    if (oak_snapshot_save_with(path, &o, NULL) != 0) return false;
    oak_snapshot *s = oak_snapshot_open(path, NULL, 0);
    bool converted = s && oak_snapshot_convert(s, null_fd) == 0;
    oak_snapshot_close(s);
    return converted;
}

static bool snapshot(void) { return snapshot_of(false); }
static bool snapshot_in_stop(void) { return snapshot_of(true); }

static bool profile(void)
{
    if (oak_profile_save(NULL, test_path("profile")) != 0) return false;
    return oak_profile_print(NULL, null_fd, OAK_PROFILE_INUSE_BYTES, 10) == 0;
}

static bool trace(void)
{
    if (oak_trace_start(0) != 0) return false;
    oak_trace_instant("here");
    return oak_trace_write(test_path("trace")) == 0 && oak_trace_stop(test_path("trace")) == 0;
}

static bool gclog(void)
{
    if (oak_gclog_start(test_path("log")) != 0 || oak_gclog_start_fd(null_fd) != 0) return false;
    oak_collect();
    return oak_gclog_stop() == 0;
}

static bool serve(void)
{
    if (http_skip()) return true;
    bool started = oak_debug_serve(NULL) >= 0;
    oak_debug_serve_stop();
    return started;
}

static bool (*const calls[])(void) = { why,     retention, retained, snapshot, snapshot_in_stop,
                                       profile, trace,     gclog,    serve };

/* ---- */

/* Without those of libdw, which keeps them for the next look-up. */
static size_t descriptors(void)
{
    oaki_symbols_release();
    return test_entries("/proc/self/fd");
}

static size_t temporaries(void)
{
    size_t n = 0;
    DIR *d = opendir(test_directory());
    for (struct dirent *e; (e = readdir(d)) != NULL;) n += strstr(e->d_name, ".tmp") != NULL;
    closedir(d);
    return n;
}

static void *call(void *arg)
{
    bool (*fn)(void) = *(bool (*const *)(void))arg;
    pthread_cancel(pthread_self());
    AO_store(&test_moved, fn() ? 1 : 2);
    pthread_testcancel();
    return NULL;
}

START_TEST(who_is_cancelled_inside_leaves_nothing)
{
    void *result = NULL;
    test_heap_start(test_config());
    null_fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
    (void)test_directory();
    ck_assert_int_eq(oak_profile_set_rate(1), 0);
    kept = oak_alloc(64);
    ck_assert(calls[_i]()); /* loads what is loaded at first use */
    size_t fds = descriptors();
    for (int i = 0; i < 3; i++) {
        AO_store(&test_moved, 0);
        pthread_t id = test_start(call, (void *)&calls[_i]);
        ck_assert_int_eq(pthread_join(id, &result), 0);
        ck_assert_uint_eq(AO_load(&test_moved), 1);
        ck_assert_ptr_eq(result, PTHREAD_CANCELED);
        ck_assert_uint_eq(descriptors(), fds);
        ck_assert_uint_eq(temporaries(), 0);
        ck_assert_int_eq(waitpid(-1, NULL, __WALL | WNOHANG), -1);
        ck_assert_int_eq(errno, ECHILD);
    }
    ck_assert(calls[_i]());
    ck_assert_ptr_null(test_check_heap());
}
END_TEST

Suite *suite_observe_cancel(void)
{
    Suite *s = suite_create("observe/cancel");
    TCase *c = tcase_create("cancel");
    tcase_add_loop_test(c, who_is_cancelled_inside_leaves_nothing, 0, OAKI_COUNT(calls));
    suite_add_tcase(s, c);
    return s;
}
