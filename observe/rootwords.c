/* rootwords.c - the root words of a mark, and how an image describes one.
 *
 * A stack word lies in the frame of some function. That function is found without unwind tables.
 * The nearest return address below the word points into it, pushed when it called the next
 * function. A return address is a word that points into code after a call. It may be a relic of an
 * earlier call, so the answer is likely, not certain. An unwinder would need the loader's lock; a
 * thread that doesn't exist in the child may hold it.
 *
 * The registers of a thread that a signal stopped are in the kernel's frame on its stack. The words
 * for stack pointer and instruction pointer are adjacent there, and locate the other registers.
 *
 * Owns nothing. World stopped, or in an image. Bound: the words of all roots; for a frame,
 * FRAME_WORDS. */
#include "rootwords.h"

#include "gc/debug/edges.h"
#include "gc/trace/reading.h"
#include "gc/trace/trace.h"
#include "runtime/fiber.h"
#include "runtime/print.h"
#include "runtime/probe.h"
#include "runtime/track.h"
#include "stack.h"
#include <link.h>
#include <string.h>

#define FRAME_WORDS 8192

typedef struct walk {
    oaki_image *im;
    void (*fn)(void *ctx, const oaki_root_word *w);
    void *ctx;
} walk;

/* ---- words of ranges ---- */

static oak_root_kind public_kind(const oaki_root *r, const char *at)
{
    const oaki_thread *t = r->thread;
    switch (r->kind) {
    case OAKI_ROOT_STACK:
        if (t && t->interrupted_sp && at >= t->sp && at < t->interrupted_sp)
            return OAK_ROOT_REGISTER;
        return OAK_ROOT_STACK;
    case OAKI_ROOT_FIBER:
        if (t && t->interrupted_sp && at >= t->sp && at < t->interrupted_sp)
            return OAK_ROOT_REGISTER;
        return OAK_ROOT_FIBER;
    case OAKI_ROOT_REGS: return OAK_ROOT_REGISTER;
    case OAKI_ROOT_TLS: return OAK_ROOT_TLS;
    case OAKI_ROOT_DATA: return OAK_ROOT_GLOBAL;
    case OAKI_ROOT_RANGE: return OAK_ROOT_RANGE;
    case OAKI_ROOT_SLOT: return OAK_ROOT_RUNTIME;
    }
    return OAK_ROOT_RUNTIME;
}

/* Is the word in the calling thread's saved registers, or in the frames of the call? */
static bool is_ours(const walk *w, const oaki_root *r, const char *at)
{
    if (r->thread != oaki_image_self(w->im)) return false;
    if (r->kind == OAKI_ROOT_REGS) return at >= (const char *)r->thread->regs &&
                                          at < (const char *)(r->thread->regs + OAKI_REGS);
    const char *own = oaki_image_own_sp(w->im);
    return own && r->past_end && at >= r->thread->sp && at < own;
}

/* past_end: `value` is the word itself, on a stack. Otherwise it may be what its tag refers to. */
static void visit_word(const walk *w, const oaki_root *r, const char *p, uintptr_t value,
                       bool past_end)
{
    oaki_root_word word = { .kind = public_kind(r, p),
                            .past_end = past_end,
                            .thread = r->thread,
                            .place = p,
                            .address = p + r->shift,
                            .value = value,
                            .object = r->name };
    word.caller = r->thread == oaki_image_self(w->im) && r->past_end;
    word.ours = word.caller && is_ours(w, r, p);
    w->fn(w->ctx, &word);
}

OAKI_NO_ASAN static void visit_range(const oaki_root *r, void *ctx)
{
    const walk *w = ctx;
    uintptr_t base = oaki_the_heap.base;
    size_t used = AO_load(&oaki_the_heap.used), to[OAKI_WORD_REFS];
    for (const char *p = r->lo; p + sizeof(uintptr_t) <= r->hi; p += sizeof(uintptr_t)) {
        uintptr_t value = *(const uintptr_t *)p;
        bool before = r->past_end && value - 1 - base < used;
        if (before) visit_word(w, r, p, value, true);
        unsigned n = oaki_word_refs(value, used, to);
        for (unsigned i = 0; i < n; i++) {
            if (before && base + to[i] == value) continue; /* visited */
            if (r->past_end || oaki_mark_counts(to[i]))
                visit_word(w, r, p, base + to[i], r->past_end && base + to[i] == value);
        }
    }
}

/* ---- objects kept without a word ---- */

static void visit_pinned(size_t off, void *ctx)
{
    const walk *w = ctx;
    if (oaki_image_run_has(w->im, off)) return;
    oaki_root_word word = { .kind = OAK_ROOT_PINNED, .value = oaki_the_heap.base + off };
    w->fn(w->ctx, &word);
}

static void keep(const walk *w, oak_root_kind kind, const void *value, const void *fn)
{
    if (!oaki_heap_contains(value)) return;
    oaki_root_word word = { .kind = kind, .value = (uintptr_t)value, .fn = fn };
    w->fn(w->ctx, &word);
}

static void visit_held(void *ctx, void *obj)
{
    keep(ctx, OAK_ROOT_PINNED, obj, NULL);
}

static void visit_host_roots(void *ctx, const oaki_edge *edge, size_t n)
{
    for (size_t i = 0; i < n; i++)
        keep(ctx, OAK_ROOT_RUNTIME, (const char *)oaki_the_heap.base + edge[i].to, NULL);
}

static void visit_finalizer(void *ctx, const oaki_finalizer_record *r)
{
    const walk *w = ctx;
    keep(w, r->cleanup ? OAK_ROOT_CLEANUP : OAK_ROOT_FINALIZER, r->ctx, r->fn);
    if (r->ready && !r->cleanup) keep(w, OAK_ROOT_FINALIZER, r->obj, r->fn);
}

static void visit_waiting(void *ctx, const oaki_finalizer_record *r)
{
    if (!r->ready && !r->cleanup) keep(ctx, OAK_ROOT_WAITING, r->obj, r->fn);
}

void oaki_root_words(oaki_image *im, void (*fn)(void *ctx, const oaki_root_word *w), void *ctx)
{
    walk w = { im, fn, ctx };
    oaki_roots_visit(visit_range, &w);
    oaki_pinned_visit(visit_pinned, &w);
    oaki_held_each(visit_held, &w);
    oaki_edges_of_host_roots(visit_host_roots, &w);
    oaki_finalizers_each(visit_finalizer, &w);
    oaki_finalizers_each(visit_waiting, &w);
}

/* ---- code ---- */

static int read_code(struct dl_phdr_info *info, size_t size, void *ctx)
{
    oaki_code_map *m = ctx;
    (void)size;
    for (size_t i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *p = &info->dlpi_phdr[i];
        if (p->p_type != PT_LOAD || !(p->p_flags & PF_X) || m->n == OAKI_COUNT(m->range)) continue;
        m->range[m->n].lo = info->dlpi_addr + p->p_vaddr;
        m->range[m->n++].hi = info->dlpi_addr + p->p_vaddr + p->p_memsz;
    }
    return 0;
}

void oaki_code_map_read(oaki_code_map *m)
{
    m->n = 0;
    oaki_stack_find_own();
    (void)oaki_loader_each(read_code, m);
}

static bool behind_call(uintptr_t pc, uintptr_t lo)
{
    const unsigned char *p = (const unsigned char *)pc;
#if defined(__x86_64__)
    if (pc - lo < 8) return false;
    if (p[-5] == 0xe8) return true;
    /* call by register or memory: FF /2, then no byte, one, four, or these with an index byte */
    for (int n = 2; n <= 7; n++)
        if (n != 5 && p[-n] == 0xff && (p[1 - n] & 0x38) == 0x10) return true;
    return false;
#else
    if (pc % 4 != 0 || pc - lo < 4) return false;
    uint32_t op;
    memcpy(&op, p - 4, sizeof op);
    return op >> 26 == 0x25 || (op & 0xfffffc1f) == 0xd63f0000; /* bl, blr */
#endif
}

static bool is_return_address(const oaki_code_map *m, uintptr_t word)
{
    for (size_t i = 0; i < m->n; i++)
        if (word - m->range[i].lo < m->range[i].hi - m->range[i].lo)
            return behind_call(word, m->range[i].lo);
    return false;
}

/* The caller of the Oakum function that owns this frame. Such a frame mostly contains registers of
 * its caller. */
OAKI_NO_ASAN static uintptr_t caller_of(const uintptr_t *p, const oaki_code_map *code,
                                        uintptr_t own)
{
    for (size_t n = 0; n < FRAME_WORDS; n++, p++) {
        if (((uintptr_t)p & 4095) == 0 && !oaki_probe(p)) break;
        if (is_return_address(code, *p) && !oaki_stack_is_own(*p - 1)) return *p - 1;
    }
    return own;
}

/* An address in the function whose frame contains the word at `at`; 0: unknown. */
OAKI_NO_ASAN static uintptr_t function_of(const oaki_root_word *w, const oaki_code_map *code)
{
    const oaki_thread *t = w->thread;
    /* a thread that is not interrupted is in a call: its return address lies below the frame */
    const char *sp = t->interrupted_sp ? t->interrupted_sp : t->sp - sizeof(uintptr_t);
    if (w->kind == OAK_ROOT_FIBER || w->place < sp) sp = w->place - FRAME_WORDS * sizeof(uintptr_t);
    if (w->kind == OAK_ROOT_FIBER && t->fiber && sp < t->fiber->sp) sp = t->fiber->sp;
    const uintptr_t *p = (const uintptr_t *)(const void *)w->place;
    for (size_t n = 0; n < FRAME_WORDS && (const char *)(p - 1) >= sp; n++) {
        p--;
        if (((uintptr_t)(p + 1) & 4095) == 0 && !oaki_probe(p)) return 0;
        if (!is_return_address(code, *p)) continue;
        if (!oaki_stack_is_own(*p - 1)) return *p - 1;
        return caller_of((const uintptr_t *)(const void *)w->place + 1, code, *p - 1);
    }
    return (uintptr_t)t->pc;
}

/* ---- registers ---- */

#if defined(__x86_64__)
static const char *const saved_names[OAKI_REGS] = { "sp",  "rbx", "rbp", "r12",
                                                    "r13", "r14", "r15" };
/* In the order in which the kernel stores them. */
static const char *const frame_names[] = { "r8",  "r9",  "r10", "r11", "r12", "r13",
                                           "r14", "r15", "rdi", "rsi", "rbp", "rbx",
                                           "rdx", "rax", "rcx", "rsp", "rip" };
#define FRAME_SP 15
#else
static const char *const saved_names[OAKI_REGS] = { "sp",  "x19", "x20", "x21", "x22", "x23", "x24",
                                                    "x25", "x26", "x27", "x28", "x29", "x30", "d8",
                                                    "d9",  "d10", "d11", "d12", "d13", "d14",
                                                    "d15" };
static const char *const frame_names[] = {
    "x0",  "x1",  "x2",  "x3",  "x4",  "x5",  "x6",  "x7",  "x8",  "x9",  "x10",
    "x11", "x12", "x13", "x14", "x15", "x16", "x17", "x18", "x19", "x20", "x21",
    "x22", "x23", "x24", "x25", "x26", "x27", "x28", "x29", "x30", "sp",  "pc"
};
#define FRAME_SP 31
#endif

static const char *in_set(const char *at, const uintptr_t *regs)
{
    size_t i = (size_t)(at - (const char *)regs) / sizeof *regs;
    return at >= (const char *)regs && i < OAKI_REGS ? saved_names[i] : NULL;
}

OAKI_NO_ASAN static const char *in_frame(const char *at, const oaki_thread *t)
{
    const uintptr_t *end = (const uintptr_t *)(const void *)t->interrupted_sp;
    for (const uintptr_t *p = (const uintptr_t *)OAKI_ALIGN_UP((uintptr_t)t->sp, 8); p + 1 < end;
         p++) {
        if (p[0] != (uintptr_t)end || p[1] != (uintptr_t)t->pc) continue;
        size_t i = (size_t)(at - (const char *)(p - FRAME_SP)) / sizeof *p;
        if (at >= (const char *)(p - FRAME_SP) && i < OAKI_COUNT(frame_names))
            return frame_names[i];
    }
    return NULL;
}

static const char *register_name(const oaki_root_word *w)
{
    const oaki_thread *t = w->thread;
    const char *name = in_set(w->place, t->regs);
    if (!name) name = in_set(w->place, t->native_regs);
    if (!name && t->fiber) name = in_set(w->place, t->fiber->regs);
    if (!name && t->interrupted_sp) name = in_frame(w->place, t);
    return name ? name : "";
}

/* ---- */

void oaki_root_flatten(const oaki_root_word *w, const oaki_code_map *code, oaki_root_found *out)
{
    *out = (oaki_root_found){ .kind = w->kind,
                              .caller = w->caller,
                              .address = (uintptr_t)w->address,
                              .value = w->value,
                              .fn = (uintptr_t)w->fn };
    if (w->object) oaki_format(out->object, sizeof out->object, "%s", w->object);
    if (!w->thread) return;
    out->thread = w->thread->tid;
    if (w->kind == OAK_ROOT_STACK || w->kind == OAK_ROOT_FIBER) out->pc = function_of(w, code);
    if (w->kind == OAK_ROOT_TLS) out->tp = (uintptr_t)w->thread->tp;
    if (w->kind == OAK_ROOT_REGISTER)
        oaki_format(out->reg, sizeof out->reg, "%s", register_name(w));
}
