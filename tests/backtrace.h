/* backtrace.h - the calling thread's stack, as the compiler's unwinder sees it: musl has no
 * backtrace. */
#ifndef TESTS_BACKTRACE_H
#define TESTS_BACKTRACE_H

#include <stddef.h>
#include <stdint.h>
#include <unwind.h>

typedef struct test_trace {
    void **pc;
    size_t n, most;
} test_trace;

static _Unwind_Reason_Code test_backtrace_frame(struct _Unwind_Context *context, void *arg)
{
    test_trace *t = arg;
    if (t->n == t->most) return _URC_END_OF_STACK;
    t->pc[t->n++] = (void *)_Unwind_GetIP(context);
    return _URC_NO_REASON;
}

/* Its own frame is the first. Returns how many there are. The one above _start, which has no
 * address, is left out, as glibc's does. */
static __attribute__((noinline)) size_t test_backtrace(void **pc, size_t most)
{
    test_trace t = { pc, 0, most };
    (void)_Unwind_Backtrace(test_backtrace_frame, &t);
    return t.n > 1 && !pc[t.n - 1] ? t.n - 1 : t.n;
}

#endif
