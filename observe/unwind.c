/* unwind.c - walks the stack (unwind.h).
 *
 * Most frames need three facts. The CFA is at a constant distance from the stack pointer or the
 * frame pointer. The return address and the caller's frame pointer are at constant distances from
 * the CFA. These fit in a word, which a cache keeps for each pc (unwind_cache.h). A frame that
 * needs more has its row read each time (unwind_row.c). If a row needs another register of its
 * caller, the walk restarts with all callee-saved registers. Code without tables, as a JIT makes
 * it, is walked by its frame pointers while they are plausible (unwind_chain.c).
 *
 * Owns nothing; no lock. Invariant: each caller's frame lies above its callee's, except one that a
 * signal interrupted. So a walk ends. */
#include "unwind.h"

#include "runtime/fiber.h"
#include "unwind_walk.h"

/* ---- the thread's current position ---- */

/* The registers of the calling frame, at the returned pc. */
OAKI_INLINE uintptr_t registers_here(oaki_registers *r)
{
    uintptr_t pc;
#if defined(__x86_64__)
    __asm__ __volatile__("movq %%rbx, 24(%1)\n\t"
                         "movq %%rbp, 48(%1)\n\t"
                         "movq %%rsp, 56(%1)\n\t"
                         "movq %%r12, 96(%1)\n\t"
                         "movq %%r13, 104(%1)\n\t"
                         "movq %%r14, 112(%1)\n\t"
                         "movq %%r15, 120(%1)\n\t"
                         "leaq 1f(%%rip), %0\n"
                         "1:"
                         : "=&r"(pc)
                         : "r"(r->r)
                         : "memory");
    r->known = 0xf0c8;
#elif defined(__aarch64__)
    __asm__ __volatile__("stp x19, x20, [%1, #152]\n\t"
                         "stp x21, x22, [%1, #168]\n\t"
                         "stp x23, x24, [%1, #184]\n\t"
                         "stp x25, x26, [%1, #200]\n\t"
                         "stp x27, x28, [%1, #216]\n\t"
                         "stp x29, x30, [%1, #232]\n\t"
                         "mov %0, sp\n\t"
                         "str %0, [%1, #248]\n\t"
                         "adr %0, 1f\n"
                         "1:"
                         : "=&r"(pc)
                         : "r"(r->r)
                         : "memory");
    r->known = 0xfff80000;
#endif
    return pc;
}

/* Sets the window to the used part of the stack that contains `sp`, if its bounds are known. From
 * sp up, all of that stack is mapped, even the system's own. */
void oaki_walk_enter_stack(oaki_walk *w, uintptr_t sp)
{
    const oaki_thread *t = oaki_thread_self();
    w->stack = (oaki_window){ 0, 0 };
    if (!t) return;
    const oak_fiber *f = t->fiber;
    if (sp >= (uintptr_t)t->stack_lo && sp < (uintptr_t)t->stack_hi)
        w->stack = (oaki_window){ sp, (uintptr_t)t->stack_hi };
    else if (f && sp >= (uintptr_t)f->lo && sp < (uintptr_t)f->hi)
        w->stack = (oaki_window){ sp, (uintptr_t)f->hi };
}

/* ---- one frame ---- */

OAKI_INLINE const oaki_unwind_object *object_of(oaki_walk *w, uintptr_t at)
{
    if (OAKI_LIKELY(at - w->object[0].lo < w->object[0].hi - w->object[0].lo)) return &w->object[0];
    return oaki_walk_find_object(w, at);
}

OAKI_NO_ASAN OAKI_INLINE bool word_of_stack(oaki_walk *w, uintptr_t at, uintptr_t *out)
{
    if (OAKI_UNLIKELY(!oaki_window_has(&w->stack, at, sizeof *out))) return false;
    *out = oaki_word_at(at);
    return true;
}

/* Steps to the caller by a rule that fits in a word. */
OAKI_NO_ASAN OAKI_INLINE bool step_by_rule(oaki_walk *w, oaki_rule rule)
{
    oaki_registers *r = &w->registers;
    uintptr_t sp = r->r[OAKI_COLUMN_SP], fp = r->r[OAKI_COLUMN_FP], cfa, fp_base;
    cfa = (oaki_rule_kind(rule) == OAKI_BY_SP ? sp : fp) + (uintptr_t)oaki_rule_cfa(rule);
    fp_base = cfa;
    if (OAKI_UNLIKELY(oaki_rule_kind(rule) == OAKI_BY_STORED)) {
        fp_base = fp;
        if (!word_of_stack(w, cfa, &cfa)) return false;
    }
    if (OAKI_UNLIKELY(cfa <= sp || cfa % sizeof(void *) != 0)) return false;
    if (oaki_rule_fp(rule) != OAKI_FP_KEPT &&
        !word_of_stack(w, fp_base + (uintptr_t)(oaki_rule_fp(rule) * 8), &r->r[OAKI_COLUMN_FP]))
        return false;
    if (!word_of_stack(w, cfa + (uintptr_t)(oaki_rule_ra(rule) * 8), &w->pc)) return false;
    w->pc = oaki_strip(w->pc);
    r->r[OAKI_COLUMN_SP] = cfa;
    r->known = 1u << OAKI_COLUMN_SP | 1u << OAKI_COLUMN_FP;
    w->exact = false;
    return true;
}

OAKI_NO_ASAN OAKI_INLINE bool step(oaki_walk *w, uintptr_t at)
{
    const oaki_unwind_object *o = object_of(w, at);
    if (OAKI_UNLIKELY(!o)) return oaki_walk_chain(w);
    oaki_rule rule = oaki_cache_find(at, o->identity);
    if (OAKI_UNLIKELY(!rule)) {
        rule = oaki_walk_read_rule(o, at);
        oaki_cache_add(at, o->identity, rule);
    }
    if (OAKI_LIKELY(oaki_rule_kind(rule) <= OAKI_BY_STORED && !w->full))
        return step_by_rule(w, rule);
    if (oaki_rule_kind(rule) == OAKI_BY_CHAIN) return oaki_walk_chain(w);
    return oaki_rule_kind(rule) != OAKI_AT_END && oaki_walk_row(w, o, at);
}

/* ---- all frames ---- */

typedef struct output {
    uintptr_t *pc;
    size_t n, max;
    bool (*skip)(uintptr_t code);
} output;

/* False: no room for more. */
OAKI_INLINE bool add(output *out, uintptr_t at)
{
    if (OAKI_UNLIKELY(out->skip != NULL)) {
        if (out->skip(at)) return true;
        out->skip = NULL;
    }
    out->pc[out->n++] = at + 1;
    return out->n < out->max;
}

/* Takes as many steps as possible by cached rules, within one object and the known part of the
 * stack. All changing state is in registers. */
OAKI_NO_ASAN static bool run(oaki_walk *w, output *to)
{
    output out = *to;
    const oaki_unwind_object o = w->object[0];
    const oaki_window stack = w->stack;
    const uintptr_t size = o.hi - o.lo, room = stack.hi - stack.lo - sizeof(void *);
    uintptr_t pc = w->pc, sp = w->registers.r[OAKI_COLUMN_SP], fp = w->registers.r[OAKI_COLUMN_FP];
    bool more = true;
    while (more && pc - 1 - o.lo < size) {
        uint64_t key = (pc - 1) ^ o.identity;
        const oaki_cached *c = oaki_cache_at(key);
        oaki_rule rule = AO_load(&c->rule);
        if (OAKI_UNLIKELY((AO_load(&c->check) ^ oaki_cache_mix(rule)) != key)) break;
        if (OAKI_UNLIKELY(oaki_rule_kind(rule) > OAKI_BY_FP)) break;
        uintptr_t cfa = oaki_rule_kind(rule) == OAKI_BY_SP ? sp : fp;
        cfa += (uintptr_t)oaki_rule_cfa(rule);
        uintptr_t ra_at = cfa + (uintptr_t)(intptr_t)oaki_rule_ra(rule) * 8;
        if (OAKI_UNLIKELY(cfa <= sp || (cfa & 7) || ra_at - stack.lo > room)) break;
        if (oaki_rule_fp(rule) != OAKI_FP_KEPT) {
            uintptr_t fp_at = cfa + (uintptr_t)(intptr_t)oaki_rule_fp(rule) * 8;
            if (OAKI_UNLIKELY(fp_at - stack.lo > room)) break;
            fp = oaki_word_at(fp_at);
        }
        pc = oaki_strip(oaki_word_at(ra_at));
        sp = cfa;
        if (OAKI_UNLIKELY(pc == 0)) break;
        more = add(&out, pc - 1);
    }
    *to = out;
    w->pc = pc;
    w->registers.r[OAKI_COLUMN_SP] = sp;
    w->registers.r[OAKI_COLUMN_FP] = fp;
    return more;
}

/* Alternates runs with single steps, which may take longer. */
static size_t walk(oaki_walk *w, uintptr_t *pc, size_t max, bool (*skip)(uintptr_t code))
{
    output out = { pc, 0, max, skip };
    bool more = w->pc != 0 && add(&out, w->pc - !w->exact);
    while (more && w->pc != 0) {
        bool fast = !w->exact && !w->full && w->stack.hi - w->stack.lo >= sizeof(void *) * 2;
        if (fast && !run(w, &out)) break;
        if (w->pc == 0 || !step(w, w->pc - !w->exact)) break;
        if (w->pc != 0) more = add(&out, w->pc - !w->exact);
    }
    return out.n;
}

static size_t walk_from_here(oaki_walk *w, uintptr_t *pc, size_t max, bool (*skip)(uintptr_t code))
{
    const oaki_registers here = w->registers;
    uintptr_t from = w->pc;
    oaki_walk_enter_stack(w, here.r[OAKI_COLUMN_SP]);
    size_t n = walk(w, pc, max, skip);
    if (OAKI_LIKELY(!w->unknown)) return n;
    w->registers = here;
    w->pc = from;
    w->exact = w->sure = w->full = true;
    oaki_walk_enter_stack(w, here.r[OAKI_COLUMN_SP]);
    return walk(w, pc, max, skip);
}

OAKI_NOINLINE size_t oaki_unwind(uintptr_t *pc, size_t max, bool (*skip)(uintptr_t code))
{
    oaki_walk w;
    if (max == 0 || !oaki_unwind_cached) return 0;
    w.object[0] = w.object[1] = (oaki_unwind_object){ 0, 0, 0, 0 };
    w.full = w.unknown = false;
    w.exact = w.sure = true;
    w.pc = registers_here(&w.registers);
    size_t n = walk_from_here(&w, pc, max, skip);
    return n;
}

/* ---- starting ---- */

int oaki_unwind_by_loader(bool on)
{
    return oaki_unwind_find_init(on);
}

void oaki_unwind_forget(void)
{
    oaki_cache_clear();
}

int oaki_unwind_init(void)
{
    return oaki_cache_init() == 0 && oaki_unwind_find_init(true) == 0 ? 0 : -1;
}
