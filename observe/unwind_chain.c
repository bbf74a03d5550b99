/* unwind_chain.c - frames of code without tables: a JIT's, assembly, a signal restorer of the
 * program's own (unwind_walk.h).
 *
 * A frame pointer is accepted if it lies above the stack pointer, on the stack, and leads to an
 * address after a call instruction. Code with another value in that register ends the walk. The
 * next frame pointer may be any value, as a caller with tables need not keep one. Owns nothing; no
 * lock. Bound: O(1); one system call for each page of code that is read. */
#include "unwind_walk.h"

#include <stddef.h>
#include <ucontext.h>

/* ---- signals ---- */

#if defined(__x86_64__)
static const unsigned char restorer[] = { 0x48, 0xc7, 0xc0, 0x0f, 0, 0, 0, 0x0f, 0x05 };
#define CONTEXT_AT 0 /* from the stack pointer, as the return address before it was popped */

/* In the kernel's order: pairs of a column and a place in gregs. */
static const struct {
    unsigned char column, place;
} saved[] = {
    { 0, REG_RAX },  { 1, REG_RDX },  { 2, REG_RCX },  { 3, REG_RBX },  { 4, REG_RSI },
    { 5, REG_RDI },  { 6, REG_RBP },  { 7, REG_RSP },  { 8, REG_R8 },   { 9, REG_R9 },
    { 10, REG_R10 }, { 11, REG_R11 }, { 12, REG_R12 }, { 13, REG_R13 }, { 14, REG_R14 },
    { 15, REG_R15 }, { 16, REG_RIP },
};

static bool read_context(oaki_walk *w, uintptr_t context, oaki_registers *to)
{
    uintptr_t base = context + offsetof(ucontext_t, uc_mcontext.gregs);
    for (size_t i = 0; i < OAKI_COUNT(saved); i++)
        if (!oaki_window_read(&w->stack, base + saved[i].place * sizeof(greg_t),
                              &to->r[saved[i].column], 8))
            return false;
    w->pc = to->r[OAKI_COLUMN_RA];
    to->known = (1u << OAKI_COLUMNS) - 1;
    return true;
}
#elif defined(__aarch64__)
static const unsigned char restorer[] = { 0x68, 0x11, 0x80, 0xd2, 0x01, 0, 0, 0xd4 };
#define CONTEXT_AT 128 /* after the siginfo_t */

static bool read_context(oaki_walk *w, uintptr_t context, oaki_registers *to)
{
    uintptr_t base = context + offsetof(ucontext_t, uc_mcontext.regs);
    for (size_t i = 0; i < OAKI_COLUMNS; i++) /* sp comes after x30, and pc after sp */
        if (!oaki_window_read(&w->stack, base + i * 8, &to->r[i], 8)) return false;
    to->known = ~(uint32_t)0;
    return oaki_window_read(&w->stack, base + OAKI_COLUMNS * 8, &w->pc, 8);
}
#endif

/* Is the code at w->pc a call of rt_sigreturn? Compilers and C libraries all use these bytes. */
static bool is_restorer(const oaki_walk *w)
{
    oaki_window code = { 0, 0 };
    for (size_t i = 0; i < sizeof restorer; i++) {
        unsigned char byte;
        if (!oaki_window_read(&code, w->pc + i, &byte, 1) || byte != restorer[i]) return false;
    }
    return true;
}

static bool step_over_signal(oaki_walk *w)
{
    oaki_registers interrupted;
    if (!read_context(w, w->registers.r[OAKI_COLUMN_SP] + CONTEXT_AT, &interrupted)) return false;
    w->registers = interrupted;
    w->exact = true;
    oaki_walk_enter_stack(w, interrupted.r[OAKI_COLUMN_SP]);
    return true;
}

/* ---- frame pointers ---- */

#if defined(__x86_64__)
#define LONGEST_CALL 7

/* E8 with four bytes; or FF /2 with an operand of one to six. */
static bool comes_after_call(uintptr_t pc)
{
    oaki_window code = { 0, 0 };
    unsigned char byte[LONGEST_CALL];
    for (size_t i = 0; i < LONGEST_CALL; i++)
        if (!oaki_window_read(&code, pc - LONGEST_CALL + i, &byte[i], 1)) return false;
    if (byte[LONGEST_CALL - 5] == 0xe8) return true;
    for (size_t n = 2; n <= LONGEST_CALL; n++)
        if (byte[LONGEST_CALL - n] == 0xff && (byte[LONGEST_CALL - n + 1] & 0x38) == 0x10)
            return true;
    return false;
}
#elif defined(__aarch64__)
/* BL; or BLR, with or without authentication. */
static bool comes_after_call(uintptr_t pc)
{
    oaki_window code = { 0, 0 };
    uint32_t call;
    if (pc % 4 != 0 || !oaki_window_read(&code, pc - 4, &call, 4)) return false;
    return (call & 0xfc000000) == 0x94000000 || (call & 0xfefff000) == 0xd63f0000;
}
#endif

static bool step_over_frame(oaki_walk *w)
{
    oaki_registers *r = &w->registers;
    uintptr_t fp = r->r[OAKI_COLUMN_FP], next, pc;
    if (!(r->known >> OAKI_COLUMN_FP & 1) || fp % sizeof(void *) != 0 ||
        fp < r->r[OAKI_COLUMN_SP] || fp > UINTPTR_MAX - 16)
        return false;
    if (!oaki_window_read(&w->stack, fp, &next, 8) || !oaki_window_read(&w->stack, fp + 8, &pc, 8))
        return false;
    pc = oaki_strip(pc);
    if (pc == 0 || !comes_after_call(pc)) return false;
    r->r[OAKI_COLUMN_FP] = next;
    r->r[OAKI_COLUMN_SP] = fp + 16;
    r->known = 1u << OAKI_COLUMN_SP | 1u << OAKI_COLUMN_FP;
    w->pc = pc;
    w->exact = false;
    return true;
}

bool oaki_walk_chain(oaki_walk *w)
{
    w->sure = false;
    return is_restorer(w) ? step_over_signal(w) : step_over_frame(w);
}
