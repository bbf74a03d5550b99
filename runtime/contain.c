/* contain.c - actions for functions that are left other than by a return (contain.h).
 *
 * Owns: oaki_cancel_outside, a word of each thread. Lock: none. */
#include "contain.h"

static OAK_NORETURN void tell_left(void)
{
    oak_fatal("oakum: a function that has to return, as a mark function, a hook of a collection or "
              "a source of frames, was left by longjmp, an exception, pthread_exit or "
              "cancellation");
}

OAKI_UNWIND_ACTION(oaki_left_inside)
{
    tell_left();
}

void oaki_jumped_inside(void *leaving)
{
    oaki_leaving_end(leaving);
    tell_left();
}

/* ---- cancellation ---- */

__thread uint64_t oaki_cancel_outside __attribute__((tls_model("initial-exec")));

void oaki_cancel_give_back(void)
{
    int before = oaki_cancel_outside & 1 ? PTHREAD_CANCEL_DISABLE : PTHREAD_CANCEL_ENABLE;
    oaki_cancel_restore_noted(&before);
}

OAKI_UNWIND_ACTION(oaki_left_uncancelled)
{
    oaki_cancel_give_back();
}
