/* roomy.c - calls on a stack that is large enough for libc, libdw and libstdc++'s demangler.
 *
 * A program may end, or misuse memory, on a stack of a few KiB. The stack is private memory, as a
 * child that is forked meanwhile runs on it too. The thread's other stacks are as a scan expects
 * them: it takes this one for an unknown stack (runtime/stackroots.c).
 *
 * Owns: the end of the calling thread's such stack. No lock. Bound: two mappings. */
#include "roomy.h"

#include "os.h"

#include <sys/mman.h>

#define STACK ((size_t)1 << 20) /* the demangler's recursion is the deepest: 2,048 levels */

static __thread char *lowest __attribute__((tls_model("initial-exec")));

/* Calls fn(ctx) with the stack pointer at top, which is a multiple of 16. */
void oaki_roomy_switch(void *ctx, void (*fn)(void *ctx), char *top);

#if defined(__x86_64__)
__asm__(".pushsection .text\n"
        ".globl oaki_roomy_switch\n"
        ".hidden oaki_roomy_switch\n"
        ".type oaki_roomy_switch,@function\n"
        ".p2align 4\n"
        "oaki_roomy_switch:\n"
        ".cfi_startproc\n"
        "endbr64\n"
        "pushq %rbp\n"
        ".cfi_def_cfa_offset 16\n"
        ".cfi_offset rbp, -16\n"
        "movq %rsp, %rbp\n"
        ".cfi_def_cfa_register rbp\n"
        "movq %rdx, %rsp\n"
        "call *%rsi\n"
        "movq %rbp, %rsp\n"
        "popq %rbp\n"
        ".cfi_def_cfa rsp, 8\n"
        "ret\n"
        ".cfi_endproc\n"
        ".size oaki_roomy_switch, . - oaki_roomy_switch\n"
        ".popsection");
#else
__asm__(".pushsection .text\n"
        ".globl oaki_roomy_switch\n"
        ".hidden oaki_roomy_switch\n"
        ".type oaki_roomy_switch,%function\n"
        ".p2align 4\n"
        "oaki_roomy_switch:\n"
        ".cfi_startproc\n"
        "stp x29, x30, [sp, #-16]!\n"
        ".cfi_def_cfa_offset 16\n"
        ".cfi_offset x29, -16\n"
        ".cfi_offset x30, -8\n"
        "mov x29, sp\n"
        ".cfi_def_cfa_register x29\n"
        "mov sp, x2\n"
        "blr x1\n"
        "mov sp, x29\n"
        ".cfi_def_cfa_register sp\n"
        "ldp x29, x30, [sp], #16\n"
        ".cfi_restore x30\n"
        ".cfi_restore x29\n"
        ".cfi_def_cfa_offset 0\n"
        "ret\n"
        ".cfi_endproc\n"
        ".size oaki_roomy_switch, . - oaki_roomy_switch\n"
        ".popsection");
#endif

void oaki_roomy_call(void (*fn)(void *ctx), void *ctx)
{
    size_t guard = oaki_os_page_size();
    char *p = oaki_os_map(guard + STACK);
    if (!p) {
        fn(ctx);
        return;
    }
    (void)mprotect(p, guard, PROT_NONE);
    char *outer = lowest;
    lowest = p + guard;
    oaki_roomy_switch(ctx, fn, lowest + STACK);
    lowest = outer;
    oaki_os_release(p, guard + STACK);
}

size_t oaki_roomy_left(const char *sp)
{
    return lowest && sp >= lowest && sp < lowest + STACK ? (size_t)(sp - lowest) : 0;
}
