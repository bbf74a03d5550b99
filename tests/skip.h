/* skip.h - what a test leaves out here: a line says so, which tools/check-notes collects. */
#ifndef TESTS_SKIP_H
#define TESTS_SKIP_H

#include "runtime/track.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* `lacking`, and the reason if so. */
OAKI_UNUSED static bool test_skip(bool lacking, const char *why)
{
    if (lacking) printf("skipped: %s\n", why);
    return lacking;
}

/* For tests that AddressSanitizer's own runtime doesn't survive. A child inherits the locks of its
 * allocator as they are, and hangs when another thread had one. And a thread that leaves by
 * SYS_exit runs no destructors of thread-specific data, which it checks in the next thread on that
 * stack. */
OAKI_UNUSED static bool test_breaks_asan(void)
{
#ifdef OAKI_ASAN
    return true;
#else
    return false;
#endif
}

OAKI_UNUSED static bool test_skip_asan(void)
{
    return test_skip(test_breaks_asan(), "AddressSanitizer does not survive it");
}

OAKI_UNUSED static bool test_skip_valgrind(void)
{
    return test_skip(getenv("UNDER_VALGRIND"), "Valgrind has its own stacks, mappings, limits");
}

OAKI_UNUSED static bool test_skip_user(void)
{
    return test_skip(geteuid() != 0, "only root may do that");
}

#endif
