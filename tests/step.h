/* step.h - code that is run an instruction at a time, by the processor's trap flag: with a look, or
 * a whole collection by another thread, in between.
 *
 * A stop may come at any instruction outside of the runtime. What then is in no root, as it is,
 * though it will be used once more, is lost. */
#ifndef TESTS_STEP_H
#define TESTS_STEP_H

#include "runtime/base.h"

#if defined(__x86_64__)
/* The trap flag, without a word below the stack pointer being touched. */
OAKI_UNUSED static OAKI_NOINLINE void test_single_step(bool on)
{
    if (on)
        __asm__ volatile("subq $128, %%rsp\n pushfq\n orq $0x100, (%%rsp)\n popfq\n"
                         "leaq 128(%%rsp), %%rsp" ::
                             : "cc", "memory");
    else
        __asm__ volatile("subq $128, %%rsp\n pushfq\n andq $~0x100, (%%rsp)\n popfq\n"
                         "leaq 128(%%rsp), %%rsp" ::
                             : "cc", "memory");
}
#else
OAKI_UNUSED static void test_single_step(bool on)
{
    (void)on;
}
#endif

bool test_can_step(void); /* not where all is slow, nor on another processor */

/* Between test_steps_on and test_steps_off, a collection at each instruction of user code, at most
 * `each` times at the same one; what has brought none for a while is stepped through now and then
 * only, unless it is `rare`. After a collection another thread makes objects of what is free, and
 * fills them. Without test_can_step nothing is done. The heap is started before; the last returns
 * how many collections there were. */
void test_steps_begin(unsigned each);
void test_steps_on(bool rare);
void test_steps_off(void);
size_t test_steps_end(void);

#endif
