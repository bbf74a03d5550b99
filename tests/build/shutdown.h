/* shutdown.h - what the tests of oak_shutdown in one process share. Each case is a process of its
 * own, all at a time: PROGRAM [CASE...] */
#ifndef TESTS_BUILD_SHUTDOWN_H
#define TESTS_BUILD_SHUTDOWN_H

#include <errno.h>
#include <oakum/oakum.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHECK(x) ((x) ? (void)0 : fail(#x, __LINE__))

static void fail(const char *what, int line)
{
    fprintf(stderr, "shutdown.c:%d: %s (errno %d)\n", line, what, errno);
    _exit(1);
}

static int ended(void)
{
    return oak_shutdown() == 0 ? 0 : errno;
}

typedef struct node {
    struct node *next;
    size_t number;
} node;

static node *kept;

/* The heap works: a list survives collections, and nothing else does. */
static void use(void)
{
    enum { NODES = 50000 };
    kept = NULL;
    for (size_t i = NODES; i-- > 0;) {
        node *p = oak_alloc(sizeof *p);
        CHECK(p && oak_alloc(100));
        CHECK(p->next == NULL && p->number == 0);
        *p = (node){ kept, i };
        kept = p;
    }
    oak_collect();
    size_t n = 0;
    for (const node *p = kept; p; p = p->next) CHECK(p->number == n++);
    CHECK(n == NODES);
}

/* Ends the heap, and starts another. */
static void renew(void)
{
    kept = NULL;
    CHECK(ended() == 0);
    use();
}

typedef struct test_case {
    const char *name;
    void (*fn)(void);
} test_case;

#define CASE(x) \
    {           \
#x, x   \
    }
#define CASES_MAX 32

static bool wanted(const char *name, int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], name) == 0) return true;
    return argc == 1;
}

static int run_cases(const test_case *cases, size_t n, int argc, char **argv)
{
    pid_t pid[CASES_MAX] = { 0 };
    int failed = 0;
    for (size_t i = 0; i < n; i++) {
        if (!wanted(cases[i].name, argc, argv)) continue;
        pid[i] = fork();
        if (pid[i] != 0) continue;
        cases[i].fn();
        exit(0);
    }
    for (size_t i = 0; i < n; i++) {
        int status = 0;
        if (pid[i] == 0 || (waitpid(pid[i], &status, 0) == pid[i] && status == 0)) continue;
        fprintf(stderr, "%s: %s: status %#x\n", argv[0], cases[i].name, (unsigned)status);
        failed = 1;
    }
    return failed;
}

#endif
