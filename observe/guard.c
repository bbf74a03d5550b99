/* guard.c - the guard's findings in words: the error, the object, and the stacks of its allocation
 * and deallocation (guard.h).
 *
 * Owns: `fault`, and with guard=page the disposition of SIGSEGV. Lock: none. */
#include "guard.h"
#include "runtime/heap.h"
#include "runtime/os.h"
#include "runtime/print.h"
#include "runtime/restore.h"
#include "runtime/sigchain.h"
#include "site.h"
#include "symbol.h"
#include <errno.h>
#include <oakum/gc.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#define LINE 400
#define FRAMES 12
#define WAIT_NS 10000000u /* of one sleep, while another thread ends the process */

uint32_t oaki_guard_site(void)
{
    const oaki_site *s = oaki_site_here();
    return s ? s->id : UINT32_MAX;
}

/* ---- words ---- */

static size_t distance(ptrdiff_t at, size_t size, char *buf, size_t n)
{
    if (at < 0)
        return oaki_format(buf, n, "%zu before the start of", (size_t)-at);
    if ((size_t)at >= size)
        return oaki_format(buf, n, "%zu past the end of", (size_t)at - size);
    return oaki_format(buf, n, "%zu into", (size_t)at);
}

size_t oaki_guard_headline(const oaki_guard_finding *f, char *buf, size_t n)
{
    static const char *const what[] = {
        [OAKI_GUARD_END] = "a write past the end",
        [OAKI_GUARD_START] = "a write before the start",
        [OAKI_GUARD_WRITTEN] = "a write after free",
        [OAKI_GUARD_TOUCHED] = "an access past the end",
        [OAKI_GUARD_FREED] = "a second free, or a use, of what is free",
        [OAKI_GUARD_INSIDE] = "a pointer into an object, not to its start",
        [OAKI_GUARD_SIZED] = "a free with a wrong size",
        [OAKI_GUARD_REPLACED] = "a finalizer in place of another one",
    };
    if (f->error == OAKI_GUARD_WILD) {
        size_t len = oaki_format(buf, n, "guard: %s: %p %s", f->call, (const void *)f->object,
                                 f->why);
        return OAKI_MIN(len, n - 1);
    }
    size_t len = oaki_format(buf, n, "guard: %s: %p, an object of %zu bytes, found by %s",
                             what[f->error], (const void *)f->object, f->size, f->call);
    if (f->error == OAKI_GUARD_SIZED && len < n)
        len += oaki_format(buf + len, n - len, "; the size given is %zu", f->given);
    return OAKI_MIN(len, n - 1);
}

static void tell_bytes(const oaki_guard_finding *f, void (*line)(const char *text))
{
    char text[LINE], where[64];
    distance(f->at, f->size, where, sizeof where);
    size_t len = oaki_format(text, sizeof text, "   first bad byte at %p, %s it:",
                             (const void *)(f->object + f->at), where);
    for (size_t i = 0; i < f->nnear; i++)
        len += oaki_format(text + len, sizeof text - len, " %02x", (unsigned)f->near[i]);
    oaki_format(text + len, sizeof text - len, "\n");
    line(text);
}

static void tell_frame(const oak_frame *f, bool first, void (*line)(const char *text))
{
    char text[LINE];
    const char *file = f->file ? strrchr(f->file, '/') : NULL, *word = first ? "at" : "by";
    file = file ? file + 1 : f->file;
    char place[128];
    size_t len = oaki_format(text, sizeof text, "      %s %.200s", word,
                             oaki_symbol_of_frame(f, place, sizeof place));
    if (file && f->line)
        oaki_format(text + len, sizeof text - len, " (%.120s:%d)\n", file, f->line);
    else
        oaki_format(text + len, sizeof text - len, "\n");
    line(text);
}

static void tell_stack(uint32_t id, unsigned frames, void (*line)(const char *text))
{
    oak_frame f[OAKI_SYMBOL_INLINED];
    unsigned shown = 0;
    oaki_thread *t = oaki_enter();
    const oaki_site *s = t && id != UINT32_MAX ? oaki_site_by_id(id) : NULL;
    if (t) oaki_leave(t);
    for (size_t i = 0; s && i < s->nframes && shown < frames; i++) {
        size_t n = oaki_symbol_of_code(oaki_site_code(s, i), f);
        for (size_t k = 0; k < n && shown < frames; k++, shown++)
            tell_frame(&f[k], shown == 0, line);
    }
    if (shown == 0) line("      where is not known\n");
}

void oaki_guard_explain(const oaki_guard_finding *f, unsigned frames,
                        void (*line)(const char *text))
{
    char text[LINE];
    if (f->nnear > 0) tell_bytes(f, line);
    if (f->error == OAKI_GUARD_INSIDE || f->error == OAKI_GUARD_TOUCHED) {
        char where[64];
        distance(f->at, f->size, where, sizeof where);
        oaki_format(text, sizeof text, "   %p is %s it\n", (const void *)(f->object + f->at),
                    where);
        line(text);
    }
    if (f->error != OAKI_GUARD_WILD) {
        oaki_format(text, sizeof text, "   allocated by thread %d:\n", f->tid);
        line(text);
        tell_stack(f->site, frames, line);
    }
    if (f->freed_tid) {
        oaki_format(text, sizeof text, "   freed by thread %d:\n", f->freed_tid);
        line(text);
        tell_stack(f->freed_site, frames, line);
    }
    if (!f->finder) return;
    line(f->error == OAKI_GUARD_WILD ? "   now:\n" : "   and now:\n");
    tell_stack(oaki_guard_site(), frames, line);
}

/* ---- the page behind an object ---- */

static struct {
    struct sigaction before; /* the disposition of SIGSEGV before the guard's */
    bool caught;             /* the guard's handler is installed */
    AO_t touched;            /* a thread has touched a page and reports it */
    oaki_guard_finding finding;
} fault;

static OAK_NORETURN
#ifdef __x86_64__
__attribute__((force_align_arg_pointer))
#endif
void report_touched(void)
{
    oaki_guard.go_on = false; /* the access can't be resumed */
    oaki_guard.report(&fault.finding);
    abort();
}

/* A report may need more stack than a handler has. So it runs on the thread's own stack, at the
 * place of the access. All other faults go to the previous handler, which may resume the
 * program. */
static void on_fault(int sig, siginfo_t *info, void *context)
{
    oaki_guard_finding f;
    int saved = errno;
    bool ours = info->si_code > 0 && oaki_guard_touched(info->si_addr, &f);
    while (ours && !AO_compare_and_swap_full(&fault.touched, 0, 1)) oaki_os_sleep_ns(WAIT_NS);
    errno = saved;
    if (ours) {
        fault.finding = f;
        oaki_os_go_on_in(context, report_touched);
    } else {
        oaki_sigchain(&fault.before, sig, info, context);
    }
}

static bool is_ours(const struct sigaction *a)
{
    return a->sa_sigaction == on_fault; /* flags don't count: signal() does not return them */
}

static void catch(void)
{
    struct sigaction a = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO };
    a.sa_flags |= fault.before.sa_flags & SA_RESTART;
    if (oaki_sigchain_on_alternate(&fault.before)) a.sa_flags |= SA_ONSTACK;
    fault.caught = sigaction(SIGSEGV, &a, NULL) == 0;
}

void oaki_guard_catch(void)
{
    if (oaki_guard.page && sigaction(SIGSEGV, NULL, &fault.before) == 0) catch();
}

bool oaki_guard_uncatch(void)
{
    struct sigaction now;
    if (fault.caught && sigaction(SIGSEGV, NULL, &now) == 0 && is_ours(&now) &&
        sigaction(SIGSEGV, &fault.before, NULL) == 0)
        fault.caught = false;
    return !fault.caught;
}

void oaki_guard_stays(void)
{
    oaki_restore_except(&fault, sizeof fault);
}

void oaki_guard_catch_again(struct sigaction *old)
{
    struct sigaction now;
    if (!fault.caught) return;
    if (old && is_ours(old)) *old = fault.before;
    if (sigaction(SIGSEGV, NULL, &now) != 0 || is_ours(&now)) return;
    fault.before = now;
    catch();
}

/* ---- for native heaps ---- */

static void log_line(const char *text)
{
    oaki_log("%s", text);
}

static void report(const oaki_guard_finding *f)
{
    char headline[LINE];
    (void)oaki_guard_headline(f, headline, sizeof headline);
    if (oaki_guard.go_on) oaki_log("oakum: %s\n", headline);
    oaki_guard_explain(f, FRAMES, log_line);
    if (!oaki_guard.go_on) oak_fatal("oakum: %s", headline);
}

static void at_exit(void)
{
    const oaki_thread *t = oaki_thread_self();
    if (!t || t->in_runtime == 0) oaki_guard_check("the program's end");
}

void oaki_guard_from_environment(void)
{
    if (!oaki_debug_switches.guard) return;
    if (oaki_sites_init() != 0 || !oaki_guard_start(oaki_guard_site, report)) {
        oaki_log("oakum: OAKUM_DEBUG=guard: no memory for it\n");
        return;
    }
    oaki_guard_catch();
    (void)atexit(at_exit);
}
