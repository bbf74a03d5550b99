/* spill.c - oaki_thread_spill, in assembly: compiled code would already have saved and reused some
 * of these registers.
 *
 * Owns nothing; no lock. Bound: a dozen stores. */
#include "spill.h"

#if defined(__x86_64__)
__asm__(".pushsection .text\n"
        ".globl oaki_thread_spill\n"
        ".hidden oaki_thread_spill\n"
        ".type oaki_thread_spill,@function\n"
        ".p2align 4\n"
        "oaki_thread_spill:\n"
        ".cfi_startproc\n"
        "endbr64\n"
        "leaq 8(%rsp), %rax\n"
        "movq %rax, 0(%rdi)\n"
        "movq %rbx, 8(%rdi)\n"
        "movq %rbp, 16(%rdi)\n"
        "movq %r12, 24(%rdi)\n"
        "movq %r13, 32(%rdi)\n"
        "movq %r14, 40(%rdi)\n"
        "movq %r15, 48(%rdi)\n"
        "ret\n"
        ".cfi_endproc\n"
        ".size oaki_thread_spill, . - oaki_thread_spill\n"
        ".popsection");
#else
__asm__(".pushsection .text\n"
        ".globl oaki_thread_spill\n"
        ".hidden oaki_thread_spill\n"
        ".type oaki_thread_spill,%function\n"
        ".p2align 4\n"
        "oaki_thread_spill:\n"
        ".cfi_startproc\n"
        "mov x9, sp\n"
        "stp x9, x19, [x0, #0]\n"
        "stp x20, x21, [x0, #16]\n"
        "stp x22, x23, [x0, #32]\n"
        "stp x24, x25, [x0, #48]\n"
        "stp x26, x27, [x0, #64]\n"
        "stp x28, x29, [x0, #80]\n"
        "str x30, [x0, #96]\n"
        "stp d8, d9, [x0, #104]\n"
        "stp d10, d11, [x0, #120]\n"
        "stp d12, d13, [x0, #136]\n"
        "stp d14, d15, [x0, #152]\n"
        "ret\n"
        ".cfi_endproc\n"
        ".size oaki_thread_spill, . - oaki_thread_spill\n"
        ".popsection");
#endif
