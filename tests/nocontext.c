/* nocontext.c - for a C library without getcontext and its kin, as musl: a test that switches
 * stacks by them says so there, and ends. */
#include "tests/skip.h"

#include <ucontext.h>
#include <unistd.h>

#ifndef HAVE_MAKECONTEXT
static void leave(void)
{
    test_skip(true, "this C library has no contexts (ucontext.h)");
    fflush(stdout);
    _exit(0);
}

int getcontext(ucontext_t *c)
{
    (void)c;
    leave();
    return -1;
}

int swapcontext(ucontext_t *from, const ucontext_t *to)
{
    (void)from, (void)to;
    leave();
    return -1;
}

void makecontext(ucontext_t *c, void (*fn)(void), int n, ...)
{
    (void)c, (void)fn, (void)n;
    leave();
}
#endif
