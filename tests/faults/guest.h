/* guest.h - what the programs share that check-faults runs: each looks at all results, says in one
 * line on stderr what failed, and exits with TOLD. */
#ifndef OAKUM_TESTS_GUEST_H
#define OAKUM_TESTS_GUEST_H

#include "inject.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#define TOLD 3

/* Calls of the program's own, between off and on, don't fail. */
static inline void faults_on(void)
{
    prctl(INJECT_MARK, 1, 0, 0, 0);
}

static inline void faults_off(void)
{
    prctl(INJECT_MARK, 0, 0, 0, 0);
}

static inline _Noreturn void failed(const char *what)
{
    int error = errno;
    faults_off();
    fprintf(stderr, "guest: %s: %s\n", what, strerror(error));
    faults_on();
    exit(TOLD);
}

/* A figure that is not what it must be: worse than any failure that is told. */
static inline _Noreturn void wrong(const char *what, long got, long want)
{
    faults_off();
    fprintf(stderr, "guest: WRONG: %s: %ld, not %ld\n", what, got, want);
    abort();
}

static inline void expect(const char *what, long got, long want)
{
    if (got != want) wrong(what, got, want);
}

static inline void say(const char *text)
{
    faults_off();
    if (write(1, text, strlen(text)) < 0) _exit(120);
    faults_on();
}

#endif
