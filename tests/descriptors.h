/* descriptors.h - the descriptors that Oakum has for written pages, found by what they stand for,
 * in the calling thread's table. */
#ifndef TESTS_DESCRIPTORS_H
#define TESTS_DESCRIPTORS_H

#include "runtime/base.h"

#include <check.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TEST_UFFD "userfaultfd"
#define TEST_PAGEMAP "/pagemap"

/* Those of which the name that the system gives them has `what` in it. Returns how many. */
OAKI_UNUSED static size_t test_descriptors(const char *what, int *fds, size_t most)
{
    char path[64], to[64];
    size_t n = 0;
    DIR *d = opendir("/proc/thread-self/fd");
    ck_assert_ptr_nonnull(d);
    for (const struct dirent *e; (e = readdir(d)) != NULL && n < most;) {
        snprintf(path, sizeof path, "/proc/thread-self/fd/%d", atoi(e->d_name));
        ssize_t len = readlink(path, to, sizeof to - 1);
        to[len > 0 ? len : 0] = '\0';
        if (strstr(to, what)) fds[n++] = atoi(e->d_name);
    }
    closedir(d);
    return n;
}

/* -1: there is none. */
OAKI_UNUSED static int test_descriptor(const char *what)
{
    int fd = -1;
    ck_assert_uint_le(test_descriptors(what, &fd, 1), 1);
    return fd;
}

/* As a program does that becomes a daemon. */
OAKI_UNUSED static bool test_close(const char *what)
{
    int fd = test_descriptor(what);
    return fd >= 0 && close(fd) == 0;
}

#endif
