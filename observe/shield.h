/* shield.h - a call in a process of its own that shares this one's memory and descriptors: a fault
 * in the call ends that process alone.
 *
 * The process has exit signal 0, so wait() doesn't see it. No handler of the program runs in it. It
 * dies with the calling thread. The call has the thread's variables, as the thread waits meanwhile.
 * A handler of the program that the thread runs meanwhile may find errno changed.
 *
 * Where fn is called in place instead: below Valgrind, with a sanitizer, where the kernel knows no
 * such process (qemu), where the thread's children get another PID namespace, or it isn't known;
 * and where a filter may ask the tracer about system calls, as `strace --seccomp-bpf` has it.
 *
 * Lock: one call at a time; the caller sees to that. Outside of oaki_enter. */
#ifndef OAKI_SHIELD_H
#define OAKI_SHIELD_H

#include "runtime/base.h"

typedef enum oaki_shield {
    OAKI_SHIELD_OVER,   /* fn has returned */
    OAKI_SHIELD_LOST,   /* it was left in the middle, by a fault or as it took too long */
    OAKI_SHIELD_REFUSED /* fn was not called: the system gives no process, or no memory */
} oaki_shield;

typedef struct oaki_shield_loss {
    int signal;   /* of the fault; SIGXCPU: it took too long; SIGKILL: somebody ended it */
    bool kernels; /* the fault has no address, as that of an instruction that ends a program */
} oaki_shield_loss;

/* fn may use OAKI_SHIELD_STACK bytes of stack, and last most_ns. Locks that a lost call held stay
 * locked. `loss` is set if the call was lost. */
oaki_shield oaki_shield_call(void (*fn)(void *ctx), void *ctx, uint64_t most_ns,
                             oaki_shield_loss *loss);

#define OAKI_SHIELD_STACK ((size_t)1 << 20)
#define OAKI_SHIELD_SECONDS 20 /* of processor time that a call may take */

/* The memory of the stack goes back to the system. */
void oaki_shield_rest(void);

#endif
