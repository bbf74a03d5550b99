/* contain.h - functions of the program's that Oakum calls, and that are left otherwise than by
 * returning: by an exception, by pthread_exit, by being cancelled.
 *
 * The unwinder calls what is named here as it passes a frame of ours, by a personality routine,
 * which installs no handler: the way through costs nothing, and needs no library but the one that
 * unwinds. (A cleanup in C would need libgcc's.) longjmp passes without a word.
 *
 * Where what is held can be given back, it is. Where the heap or a map may be half changed, or the
 * world stands, it is fatal. */
#ifndef OAKI_CONTAIN_H
#define OAKI_CONTAIN_H

#include "base.h"
#include <pthread.h>
#include <unwind.h>

/* Defines the function that is called as a frame with OAKI_ON_UNWIND(name) is passed; its body
 * follows. */
#define OAKI_UNWIND_ACTION(name)                                                                \
    static void name##_action(void);                                                            \
    OAKI_HIDDEN __attribute__((used)) _Unwind_Reason_Code name(                                 \
        int version, _Unwind_Action actions, _Unwind_Exception_Class class,                     \
        struct _Unwind_Exception *exception, struct _Unwind_Context *context);                  \
    _Unwind_Reason_Code name(int version, _Unwind_Action actions,                               \
                             _Unwind_Exception_Class class,                                     \
                             struct _Unwind_Exception *exception,                               \
                             struct _Unwind_Context *context)                                   \
    {                                                                                           \
        (void)version, (void)class, (void)exception, (void)context;                             \
        if (actions & _UA_CLEANUP_PHASE) name##_action();                                       \
        return _URC_CONTINUE_UNWIND;                                                            \
    }                                                                                           \
    static void name##_action(void)

/* In a function that isn't inlined: of its frame. (A pc-relative reference of four bytes.) */
#ifdef __GCC_HAVE_DWARF2_CFI_ASM
#define OAKI_ON_UNWIND(name) __asm__ __volatile__(".cfi_personality 0x1b, " #name)
#else
#define OAKI_ON_UNWIND(name) ((void)0)
#endif

/* Behind a call: it is no tail call, so the frame is there meanwhile. */
#define OAKI_STAY() __asm__ __volatile__("")

/* A call of a function of the program's that has to return: with the world stopped, gc_lock held,
 * in the middle of a mark or of an allocation. Fatal when it is left otherwise. */
#define OAKI_CALL_INSIDE(call)            \
    do {                                  \
        OAKI_ON_UNWIND(oaki_left_inside); \
        call;                             \
        OAKI_STAY();                      \
    } while (0)

/* ---- cancellation ---- */

OAKI_INLINE int oaki_cancel_off(void)
{
    int before;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before);
    return before;
}

OAKI_INLINE void oaki_cancel_restore(const int *before)
{
    int ours;
    pthread_setcancelstate(*before, &ours);
}

/* A declaration: the thread isn't cancelled until the block ends. The request stays, and takes
 * effect at the thread's next cancellation point. */
#define OAKI_NO_CANCEL                                                                  \
    __attribute__((cleanup(oaki_cancel_restore))) OAKI_UNUSED const int cancel_before = \
        oaki_cancel_off()

/* The same in a function that may be left by an exception, as it calls one of the program's with
 * nothing held: the action gives back what the innermost such block of the thread has found. A bit
 * for each block: is cancellation off outside of it? */
extern OAKI_HIDDEN __thread uint64_t oaki_cancel_outside __attribute__((tls_model("initial-exec")));

OAKI_INLINE int oaki_cancel_off_noted(void)
{
    int before = oaki_cancel_off();
    oaki_cancel_outside = oaki_cancel_outside << 1 | (before != PTHREAD_CANCEL_ENABLE);
    return before;
}

OAKI_INLINE void oaki_cancel_restore_noted(const int *before)
{
    oaki_cancel_outside >>= 1;
    oaki_cancel_restore(before);
}

/* For the action of such a function; and one that does only this. */
OAKI_HIDDEN void oaki_cancel_give_back(void);

#define OAKI_NO_CANCEL_NOTED                                                                  \
    __attribute__((cleanup(oaki_cancel_restore_noted))) OAKI_UNUSED const int cancel_before = \
        oaki_cancel_off_noted()

#define OAKI_NO_CANCEL_UNLESS_LEFT         \
    OAKI_ON_UNWIND(oaki_left_uncancelled); \
    OAKI_NO_CANCEL_NOTED

#endif
