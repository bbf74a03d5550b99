/* spill.h - saves the callee-saved registers where the collector can see them.
 *
 * A function compiled from C can't do this for its caller. Its prologue may have moved a register
 * of the caller's to its own frame. When the function returns, that copy is gone while the register
 * is still in use. So there are two forms. A function whose frame stays until the registers are
 * scanned calls oaki_thread_spill. Its whole frame is then scanned too, from the stack pointer up.
 * A function that returns earlier is entered through OAKI_SPILL_ENTRY, which saves the registers
 * before any compiled code runs. */
#ifndef OAKI_SPILL_H
#define OAKI_SPILL_H

#include "base.h"

/* Word 0 of a saved set is the stack pointer: the lowest address of the caller's frame. */
#define OAKI_REG_SP 0

#if defined(__x86_64__)
#define OAKI_REGS 7 /* rsp, rbx, rbp, r12 to r15 */
#elif defined(__aarch64__)
#define OAKI_REGS 21 /* sp, x19 to x30, d8 to d15 */
#else
#error "spill.h knows x86-64 and aarch64 only"
#endif

/* Stores the caller's stack pointer and the callee-saved registers. */
void oaki_thread_spill(uintptr_t regs[OAKI_REGS]);

/* Used at file scope. Defines `name`, a function of at most one argument. It saves the registers
 * and calls body(argument, regs), a function of external linkage. regs[OAKI_REG_SP] is the stack
 * pointer after the return of `name`. visibility is ".hidden name", or "" for a public function. */
#if defined(__x86_64__)
#define OAKI_SPILL_ENTRY(name, body, visibility)                                                  \
    __asm__(".pushsection .text\n"                                                                \
            ".globl " #name "\n" visibility "\n"                                                  \
            ".hidden " #body "\n"                                                                 \
            ".type " #name ",@function\n"                                                         \
            ".p2align 4\n" #name ":\n"                                                            \
            ".cfi_startproc\n"                                                                    \
            "endbr64\n"                                                                           \
            "leaq 8(%rsp), %rax\n"                                                                \
            "subq $56, %rsp\n"                                                                    \
            ".cfi_adjust_cfa_offset 56\n"                                                         \
            "movq %rax, 0(%rsp)\n"                                                                \
            "movq %rbx, 8(%rsp)\n"                                                                \
            "movq %rbp, 16(%rsp)\n"                                                               \
            "movq %r12, 24(%rsp)\n"                                                               \
            "movq %r13, 32(%rsp)\n"                                                               \
            "movq %r14, 40(%rsp)\n"                                                               \
            "movq %r15, 48(%rsp)\n"                                                               \
            "movq %rsp, %rsi\n"                                                                   \
            "call " #body "\n"                                                                    \
            "addq $56, %rsp\n"                                                                    \
            ".cfi_adjust_cfa_offset -56\n"                                                        \
            "ret\n"                                                                               \
            ".cfi_endproc\n"                                                                      \
            ".size " #name ", . - " #name "\n"                                                    \
            ".popsection")
#else
#define OAKI_SPILL_ENTRY(name, body, visibility)                                                  \
    __asm__(".pushsection .text\n"                                                                \
            ".globl " #name "\n" visibility "\n"                                                  \
            ".hidden " #body "\n"                                                                 \
            ".type " #name ",%function\n"                                                         \
            ".p2align 4\n" #name ":\n"                                                            \
            ".cfi_startproc\n"                                                                    \
            "mov x9, sp\n"                                                                        \
            "sub sp, sp, #176\n"                                                                  \
            ".cfi_adjust_cfa_offset 176\n"                                                        \
            "stp x9, x19, [sp, #0]\n"                                                             \
            "stp x20, x21, [sp, #16]\n"                                                           \
            "stp x22, x23, [sp, #32]\n"                                                           \
            "stp x24, x25, [sp, #48]\n"                                                           \
            "stp x26, x27, [sp, #64]\n"                                                           \
            "stp x28, x29, [sp, #80]\n"                                                           \
            "str x30, [sp, #96]\n"                                                                \
            ".cfi_rel_offset x30, 96\n"                                                           \
            "stp d8, d9, [sp, #104]\n"                                                            \
            "stp d10, d11, [sp, #120]\n"                                                          \
            "stp d12, d13, [sp, #136]\n"                                                          \
            "stp d14, d15, [sp, #152]\n"                                                          \
            "mov x1, sp\n"                                                                        \
            "bl " #body "\n"                                                                      \
            "ldr x30, [sp, #96]\n"                                                                \
            "add sp, sp, #176\n"                                                                  \
            ".cfi_restore x30\n"                                                                  \
            ".cfi_adjust_cfa_offset -176\n"                                                       \
            "ret\n"                                                                               \
            ".cfi_endproc\n"                                                                      \
            ".size " #name ", . - " #name "\n"                                                    \
            ".popsection")
#endif

#endif
