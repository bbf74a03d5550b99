/* early.c - what is set before the start, calls that a start needs, and the end. */
#include "api.h"
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static void *build(void *arg)
{
    void **head = NULL;
    for (int i = 0; i < 20000; i++) {
        void **p = GC_malloc(24);
        p[0] = head;
        head = p;
        if (i % 5000 == 0) GC_gcollect();
    }
    (void)arg;
    return head;
}

static long length(void **head)
{
    long n = 0;
    for (; head; head = head[0]) n++;
    return n;
}

static void threads(void)
{
    pthread_t t[3];
    void *head;
    long n = 0;
    for (int i = 0; i < 3; i++) GC_pthread_create(&t[i], NULL, build, NULL);
    for (int i = 0; i < 3; i++) {
        GC_pthread_join(t[i], &head);
        n += length(head);
    }
    say("three threads", n);
}

/* A program that says itself when it forks. */
static void forks(void)
{
    int status = 1;
    fflush(stdout);
    GC_atfork_prepare();
    pid_t child = fork();
    if (child == 0) {
        GC_atfork_child();
        _exit(length(build(NULL)) == 20000 ? 0 : 1);
    }
    GC_atfork_parent();
    waitpid(child, &status, 0);
    say("forked", status);
}

static void exits_with(const char *message)
{
    (void)message;
    _exit(7);
}

/* The status of a child that is out of memory. */
static void aborts(const char *what, GC_abort_func fn)
{
    int status = 0;
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        fclose(stderr);
        close(STDERR_FILENO);
        if (fn) GC_set_abort_func(fn);
        GC_abort_on_oom();
        _exit(0);
    }
    waitpid(child, &status, 0);
    say(what, WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status));
}

void test_early(void)
{
    GC_set_handle_fork(-1);
    GC_set_suspend_signal(SIGRTMIN + 3);
    GC_set_thr_restart_signal(SIGRTMIN + 4);
    GC_set_markers_count(1);
    GC_set_pages_executable(0);
    GC_dont_precollect = 1;
    say("started", GC_is_init_called());
    GC_INIT();
    say("started now", GC_is_init_called());
    say("collections before the first", (long)GC_get_gc_no());
    say("suspend signal", GC_get_suspend_signal() - SIGRTMIN);
    say("restart signal", GC_get_thr_restart_signal() - SIGRTMIN);
    GC_allow_register_threads();
    GC_start_mark_threads();
    threads();
    say("parallel", GC_get_parallel());
    forks();
    aborts("out of memory", NULL);
    aborts("out of memory, told", exits_with);
    GC_deinit();
}

/* Oakum has no such mode; the calls are there. */
void test_incremental(void)
{
    GC_enable_incremental();
    (void)GC_incremental_protection_needs();
    GC_start_incremental_collection();
    while (GC_collect_a_little()) continue;
    say("a list", length(build(NULL)));
}

static void **head;
static long cells;

static NOINLINE void extend(void)
{
    GC_disable();
    for (int i = 0; i < 1000000; i++) {
        void **p = GC_malloc(24);
        p[0] = head;
        head = p;
    }
    GC_enable();
    cells += 1000000;
}

/* Collections are forbidden in the middle of one: a loop over its steps ends. */
static void ends_when(const char *what, void (*forbid)(int on))
{
    long under_way = 0, n;
    for (int i = 0; i < 10 && !under_way; i++) {
        extend();
        for (n = 0; n < 100 && !under_way; n++) under_way = GC_collect_a_little();
    }
    say("under way", under_way);
    forbid(1);
    for (n = 0; n < 5000 && GC_collect_a_little();) n++;
    say(what, n < 5000);
    forbid(0);
}

static void disable(int on)
{
    if (on) GC_disable();
    else GC_enable();
}

static int refuse(void)
{
    return 1;
}

static int allow(void)
{
    return 0;
}

static void refuse_all(int on)
{
    GC_set_stop_func(on ? refuse : allow);
}

/* libgc's steps go on while collections are disabled. */
void test_disabled(void)
{
    ends_when("ends while disabled", disable);
    ends_when("ends while none comes by itself", GC_set_disable_automatic_collection);
    ends_when("ends while they are refused", refuse_all);
    say("a whole list", length(head) == cells);
}
