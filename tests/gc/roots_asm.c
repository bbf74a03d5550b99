/* roots_asm.c - see roots_asm.h. */
#include "roots_asm.h"

void (*roots_tail)(void *arg);

#ifdef __x86_64__

#define BEGIN(name)                                                   \
    ".pushsection .text\n.type " name ",@function\n.p2align 4\n" name \
    ":\n.cfi_startproc\nmovabs $0x5a5a5a5a5a5a5a5a, %rax\n"
#define END(name) "ret\n.cfi_endproc\n.size " name ", . - " name "\n.popsection\n"
#define PUSH(reg) "push %" reg "\n.cfi_adjust_cfa_offset 8\n"
#define POP(reg) "pop %" reg "\n.cfi_adjust_cfa_offset -8\n"

/* rax = address; then it is in `to` alone */
#define REVEAL(mov, to) "xor %rdi, %rax\nadd %rsi, %rax\n" mov " %rax, " to "\nxor %eax, %eax\n"
/* rax = hidden address, `add` is in rsi */
#define HIDE(mov, from) \
    mov " " from ", %rax\nsub %rsi, %rax\nmovabs $0x5a5a5a5a5a5a5a5a, %rsi\nxor %rsi, %rax\n"
/* rdx is the step; eax is free */
#define SPIN "movl $1, (%rdx)\n1: pause\ncmpl $0, 4(%rdx)\nje 1b\n"

#define HOLD(reg)                                                                          \
    __asm__(BEGIN("hold_" reg) PUSH(reg)                                                   \
                PUSH("rsi") "sub $8, %rsp\n.cfi_adjust_cfa_offset 8\n" REVEAL(             \
                    "mov", "%" reg) "xor %edi, %edi\nmov %rcx, %rdi\ncall *%rdx\n"         \
                                    "add $8, %rsp\n.cfi_adjust_cfa_offset -8\n" POP("rsi") \
                                        HIDE("mov", "%" reg) POP(reg) END("hold_" reg))

#define TAIL(reg)                                                                                \
    __asm__(BEGIN("tail_" reg) PUSH(reg) PUSH(                                                   \
        "rdi") "xor %" reg ", %" reg "\n"                                                        \
               "sub $8, %rsp\n.cfi_adjust_cfa_offset 8\nxor %edi, %edi\ncall oak_fiber_switch\n" \
               "add $8, %rsp\n.cfi_adjust_cfa_offset -8\n" POP("rdi")                            \
                   POP(reg) "jmp *roots_tail(%rip)\n" END("tail_" reg))

#define SPIN_CALLEE_SAVED(reg)                                                                     \
    __asm__(BEGIN("spin_" reg) PUSH(reg) REVEAL("mov", "%" reg) SPIN HIDE("mov", "%" reg) POP(reg) \
                END("spin_" reg))

#define SPIN_SCRATCH(reg, mov, zero) \
    __asm__(BEGIN("spin_" reg) REVEAL(mov, "%" reg) SPIN HIDE(mov, "%" reg) zero END("spin_" reg))

#define SAVED(X) X(rbx) X(rbp) X(r12) X(r13) X(r14) X(r15)
#define SCRATCH(X) X(rcx) X(r8) X(r9) X(r10) X(r11)
#define VECTOR(X) X(xmm0) X(xmm7) X(xmm15)

#define DEFINE(reg) \
    HOLD(#reg);     \
    TAIL(#reg);     \
    SPIN_CALLEE_SAVED(#reg);
SAVED(DEFINE)
#undef DEFINE
#define DEFINE(reg) SPIN_SCRATCH(#reg, "mov", "xor %" #reg ", %" #reg "\n");
SCRATCH(DEFINE)
#undef DEFINE
#define DEFINE(reg) SPIN_SCRATCH(#reg, "movq", "pxor %" #reg ", %" #reg "\n");
VECTOR(DEFINE)
#undef DEFINE

__asm__(BEGIN("spin_redzone") REVEAL("mov", "-72(%rsp)")
            SPIN HIDE("mov", "-72(%rsp)") "movq $0, -72(%rsp)\n" END("spin_redzone"));

#define DECLARE(reg)       \
    roots_hold hold_##reg; \
    roots_spin spin_##reg; \
    void tail_##reg(void *);
SAVED(DECLARE)
#undef DECLARE
#define DECLARE(reg) roots_spin spin_##reg;
SCRATCH(DECLARE)
VECTOR(DECLARE)
#undef DECLARE
roots_spin spin_redzone;

const roots_holder roots_holders[] = {
#define ENTRY(reg) { #reg, hold_##reg, spin_##reg, tail_##reg },
    SAVED(ENTRY)
#undef ENTRY
#define ENTRY(reg) { #reg, NULL, spin_##reg, NULL },
        SCRATCH(ENTRY) VECTOR(ENTRY)
#undef ENTRY
            { NULL, NULL, NULL, NULL }
};
roots_spin *const roots_spin_redzone = spin_redzone;

#else

const roots_holder roots_holders[] = { { NULL, NULL, NULL, NULL } };
roots_spin *const roots_spin_redzone = NULL;

#endif
