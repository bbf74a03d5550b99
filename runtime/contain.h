/* contain.h - calls of the program's functions that are left other than by a return: by an
 * exception, by pthread_exit, by cancellation, or by longjmp.
 *
 * As the unwinder passes a frame of Oakum, it calls a personality routine, which runs the action
 * named there. No handler is installed: the normal path costs nothing, and no library is needed but
 * the one that unwinds. (A cleanup in C would need libgcc's routine.)
 *
 * longjmp does not unwind. But glibc's runs the cleanups of _pthread_cleanup_push whose frames it
 * leaves (nptl/pthread_cleanup_upto.c). So do pthread_exit and cancellation. Such a cleanup costs
 * two calls, and no system call. __builtin_longjmp and a switch of stacks pass unnoticed. So does
 * musl's longjmp, which leaves the thread's list of cleanups as it was.
 *
 * Where the state that is held can be given back, the action does so. Where the heap or a map may
 * be half changed, or the world is stopped, unwinding is fatal. */
#ifndef OAKI_CONTAIN_H
#define OAKI_CONTAIN_H

#include "base.h"
#include <pthread.h>
#include <unwind.h>

/* Defines the function that is called when a frame with OAKI_ON_UNWIND(name) is unwound; its body
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

/* Sets the action of the frame of the enclosing function, which must not be inlined. (A pc-relative
 * reference of four bytes.) */
#ifdef __GCC_HAVE_DWARF2_CFI_ASM
#define OAKI_ON_UNWIND(name) __asm__ __volatile__(".cfi_personality 0x1b, " #name)
#else
#define OAKI_ON_UNWIND(name) ((void)0)
#endif

/* After a call: prevents a tail call, so that the frame exists during the call. */
#define OAKI_STAY() __asm__ __volatile__("")

#ifdef HAVE_STRUCT__PTHREAD_CLEANUP_BUFFER
/* pthread.h has the type, but declares the functions no more. */
typedef struct _pthread_cleanup_buffer oaki_cleanup_buffer;
extern void _pthread_cleanup_push(oaki_cleanup_buffer *buffer, void (*routine)(void *), void *arg);
extern void _pthread_cleanup_pop(oaki_cleanup_buffer *buffer, int execute);
#define OAKI_CLEANUP_ROUTINE __routine
#define OAKI_CLEANUP_ARG __arg
#define OAKI_CLEANUP_OUTER __prev
#else
typedef struct __ptcb oaki_cleanup_buffer; /* musl's */
#define OAKI_CLEANUP_ROUTINE __f
#define OAKI_CLEANUP_ARG __x
#define OAKI_CLEANUP_OUTER __next
#endif

/* A call of a function of the program. Where it is left, other than by an exception of C++, a
 * cleanup is called with this struct. The cleanup begins with oaki_leaving_end. */
typedef struct oaki_leaving {
    oaki_cleanup_buffer buffer;
    void *of; /* the cleanup's */
} oaki_leaving;

OAKI_INLINE void oaki_leaving_begin(oaki_leaving *l, void (*cleanup)(void *), void *of)
{
    l->of = of;
    _pthread_cleanup_push(&l->buffer, cleanup, l);
}

OAKI_INLINE void oaki_leaving_end(oaki_leaving *l)
{
    _pthread_cleanup_pop(&l->buffer, 0);
}

/* The same where calls that began later, on other stacks of the thread, may be under way: they stay
 * in the thread's list of cleanups. */
OAKI_INLINE void oaki_leaving_end_among(oaki_leaving *l)
{
    oaki_cleanup_buffer first, *b = &first;
    _pthread_cleanup_push(&first, NULL, NULL);
    while (b->OAKI_CLEANUP_OUTER && b->OAKI_CLEANUP_OUTER != &l->buffer) b = b->OAKI_CLEANUP_OUTER;
    if (b->OAKI_CLEANUP_OUTER) b->OAKI_CLEANUP_OUTER = l->buffer.OAKI_CLEANUP_OUTER;
    _pthread_cleanup_pop(&first, 0);
}

/* Does the memory at l still hold what oaki_leaving_begin put there? */
OAKI_INLINE bool oaki_leaving_is(const oaki_leaving *l, void (*cleanup)(void *), const void *of)
{
    return l->buffer.OAKI_CLEANUP_ROUTINE == cleanup && l->buffer.OAKI_CLEANUP_ARG == l &&
           l->of == of;
}

OAKI_HIDDEN void oaki_jumped_inside(void *leaving); /* a cleanup: fatal */

/* Calls a function of the program that has to return. The world is stopped, gc_lock is held, or a
 * mark or an allocation is in progress. Leaving the function in any other way is fatal. */
#define OAKI_CALL_INSIDE(call)                                   \
    do {                                                         \
        oaki_leaving leaving_;                                   \
        OAKI_ON_UNWIND(oaki_left_inside);                        \
        oaki_leaving_begin(&leaving_, oaki_jumped_inside, NULL); \
        call;                                                    \
        oaki_leaving_end(&leaving_);                             \
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

/* A declaration: the thread is not cancelled until the block ends. A request stays pending, and
 * takes effect at the thread's next cancellation point. */
#define OAKI_NO_CANCEL                                                                  \
    __attribute__((cleanup(oaki_cancel_restore))) OAKI_UNUSED const int cancel_before = \
        oaki_cancel_off()

/* The same for a function that an exception may leave, as it calls one of the program with nothing
 * held. The unwind action restores the state found by the thread's innermost such block. One bit
 * for each block: is cancellation off outside it? */
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

/* For the unwind action of such a function; and an action that does only this. */
OAKI_HIDDEN void oaki_cancel_give_back(void);

#define OAKI_NO_CANCEL_NOTED                                                                  \
    __attribute__((cleanup(oaki_cancel_restore_noted))) OAKI_UNUSED const int cancel_before = \
        oaki_cancel_off_noted()

#define OAKI_NO_CANCEL_UNLESS_LEFT         \
    OAKI_ON_UNWIND(oaki_left_uncancelled); \
    OAKI_NO_CANCEL_NOTED

#endif
