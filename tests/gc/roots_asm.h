/* roots_asm.h - an object's address in one place only: a register, or a word below the stack
 * pointer.
 *
 * Each function takes a hidden address, and what to add to it once it is revealed; it returns the
 * hidden address again as it finds it in the end, and leaves no copy behind.
 *
 *   roots_hold_REG(hidden, add, fn, arg)    calls fn(arg) meanwhile
 *   roots_spin_REG(hidden, add, step)       sets step->there and spins until step->go, in user code
 *   holder.tail(arg)    with REG saved on the stack and zeroed, calls oak_fiber_switch(NULL); then
 *                       restores it, and jumps to *roots_tail(arg)
 *   roots_spin_redzone(hidden, add, step)   the same, 72 bytes below the stack pointer */
#ifndef TESTS_GC_ROOTS_ASM_H
#define TESTS_GC_ROOTS_ASM_H

#include "roots_support.h"

typedef uintptr_t roots_hold(uintptr_t hidden, size_t add, void (*fn)(void *arg), void *arg);
typedef uintptr_t roots_spin(uintptr_t hidden, size_t add, roots_step *step);

typedef struct roots_holder {
    const char *name;
    roots_hold *hold; /* NULL for a register that a call may change */
    roots_spin *spin;
    void (*tail)(void *arg); /* NULL with hold */
} roots_holder;

/* Ends with one that is all NULL; empty on machines that this isn't written for. */
extern const roots_holder roots_holders[];
extern roots_spin *const roots_spin_redzone;
extern void (*roots_tail)(void *arg);

/* Store the address 120 bytes below the stack pointer of the caller, and nowhere else. */
#ifdef __x86_64__
#define roots_put_below_sp(hidden)                                                  \
    __asm__ __volatile__(                                                           \
        "movabs $0x5a5a5a5a5a5a5a5a, %%rax\n\t"                                     \
        "xor %0, %%rax\n\tmov %%rax, -120(%%rsp)\n\txor %%eax, %%eax" ::"r"(hidden) \
        : "rax", "memory")
#else
#define roots_put_below_sp(hidden) ((void)(hidden))
#endif

#endif
