/* fatal.c - tests of runtime/fatal.c: the message, the handler, a handler that fails or leaves by
 * longjmp. */
#include "runtime/base.h"
#include "tests/capture.h"
#include "tests/threads.h"

#include <check.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

Suite *suite_runtime_fatal(void);

static void expect_abort(void (*fn)(void *), const char *text)
{
    char err[4096];
    int status = test_capture(fn, NULL, err, sizeof err);
    ck_assert_msg(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT, "status %x: %s",
                  (unsigned)status, err);
    ck_assert_str_eq(err, text);
}

static void write_text(const char *s)
{
    ck_assert_int_eq((int)write(STDERR_FILENO, s, strlen(s)), (int)strlen(s));
}

static void fail_plainly(void *arg)
{
    (void)arg;
    oak_fatal("oakum: bad free of %p (%s, %d)", (void *)16, "interior", 3);
}

START_TEST(the_default_writes_one_line_and_aborts)
{
    expect_abort(fail_plainly, "oakum: bad free of 0x10 (interior, 3)\n");
}
END_TEST

static void fail_at_length(void *arg)
{
    char text[2000];
    (void)arg;
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    oak_fatal("%s", text);
}

START_TEST(a_long_message_is_cut_and_still_a_line)
{
    char text[501];
    memset(text, 'x', 499);
    memcpy(text + 499, "\n", 2);
    expect_abort(fail_at_length, text);
}
END_TEST

static void print_and_return(const char *message)
{
    write_text("[");
    write_text(message);
    write_text("]");
}

static void fail_with_handler(void *arg)
{
    oak_set_fatal_handler(print_and_return);
    fail_plainly(arg);
}

START_TEST(a_handler_gets_the_message_and_its_return_aborts)
{
    expect_abort(fail_with_handler, "[oakum: bad free of 0x10 (interior, 3)]");
}
END_TEST

static void fail_again(const char *message)
{
    write_text("first: ");
    oak_fatal("second, after %s", message);
}

static void fail_in_handler(void *arg)
{
    oak_set_fatal_handler(fail_again);
    (void)arg;
    oak_fatal("one");
}

START_TEST(a_handler_that_fails_is_not_called_again)
{
    expect_abort(fail_in_handler, "first: second, after one\n");
}
END_TEST

static jmp_buf escape;
static unsigned escapes;

static void leave(const char *message)
{
    (void)message;
    escapes++;
    longjmp(escape, 1);
}

/* The compiler does not know that it never returns, and so sees an end to fail_deep. */
static void (*report)(const char *format, ...) = oak_fatal;

/* Fails with `depth` frames on the stack, so that a later failure is deeper or shallower than the
 * one before. */
static OAKI_NOINLINE void fail_deep(int depth)
{
    char pad[256];
    memset(pad, depth, sizeof pad);
    if (depth > 0)
        fail_deep(depth - 1);
    else
        report("deep");
    fputc(pad[0], stderr); /* keeps the frame */
}

static void leave_many_times(void *arg)
{
    static const int depth[] = { 0, 30, 3, 3, 7, 50, 0, 1, 2, 4, 8, 16, 32, 64 };
    (void)arg;
    oak_set_fatal_handler(leave);
    for (size_t i = 0; i < OAKI_COUNT(depth); i++)
        if (setjmp(escape) == 0) fail_deep(depth[i]);
    if (escapes != OAKI_COUNT(depth)) exit(1);
}

START_TEST(a_handler_may_leave_by_longjmp_any_number_of_times)
{
    char err[256];
    if (test_skip_asan()) return; /* in its wide frames old marks stay: see inside_handler */
    ck_assert_int_eq(test_capture(leave_many_times, NULL, err, sizeof err), 0);
    ck_assert_str_eq(err, "");
}
END_TEST

static void *fail_in_thread(void *arg)
{
    fail_plainly(arg);
    return NULL;
}

static void wait_for_failing_thread(const char *message)
{
    static AO_t calls;
    pthread_t t;
    if (AO_fetch_and_add1_full(&calls) > 0) {
        print_and_return(message);
        return;
    }
    pthread_create(&t, NULL, fail_in_thread, NULL);
    pthread_join(t, NULL); /* the other's abort ends this */
}

static void fail_in_two_threads(void *arg)
{
    oak_set_fatal_handler(wait_for_failing_thread);
    fail_plainly(arg);
}

START_TEST(threads_that_fail_together_do_not_wait_for_each_other)
{
    expect_abort(fail_in_two_threads, "[oakum: bad free of 0x10 (interior, 3)]");
}
END_TEST

START_TEST(setting_a_handler_returns_the_old_one)
{
    ck_assert(oak_set_fatal_handler(leave) == NULL);
    ck_assert(oak_set_fatal_handler(NULL) == leave);
    ck_assert(oak_set_fatal_handler(NULL) == NULL);
}
END_TEST

START_TEST(the_version_is_that_of_the_header)
{
    char want[32];
    snprintf(want, sizeof want, "%d.%d.%d", OAK_VERSION_MAJOR, OAK_VERSION_MINOR,
             OAK_VERSION_PATCH);
    ck_assert_str_eq(oak_version(), want);
}
END_TEST

Suite *suite_runtime_fatal(void)
{
    Suite *s = suite_create("runtime_fatal");
    TCase *tc = tcase_create("fatal");
    tcase_add_test(tc, the_default_writes_one_line_and_aborts);
    tcase_add_test(tc, a_long_message_is_cut_and_still_a_line);
    tcase_add_test(tc, a_handler_gets_the_message_and_its_return_aborts);
    tcase_add_test(tc, a_handler_that_fails_is_not_called_again);
    tcase_add_test(tc, a_handler_may_leave_by_longjmp_any_number_of_times);
    tcase_add_test(tc, threads_that_fail_together_do_not_wait_for_each_other);
    tcase_add_test(tc, setting_a_handler_returns_the_old_one);
    tcase_add_test(tc, the_version_is_that_of_the_header);
    suite_add_tcase(s, tc);
    return s;
}
