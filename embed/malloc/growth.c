/* growth.c - runs concurrently with the program: the thread that looks for growth, the thread that
 * a signal wakes, and the debug server of --serve.
 *
 * The leak detector (observe/detector.c) looks for growth. As there are no collections, it is
 * driven by the clock. A finding is reported at once, with a path to an object of its site.
 *
 * Owns: `asked`. The threads are Oakum's own: all signals are blocked, except the stop signal. */
#include "gc/event.h"
#include "observe/census.h"
#include "observe/judge.h"
#include "observe/serve.h"
#include "observe/site.h"
#include "preload.h"
#include "runtime/collector.h"
#include "runtime/guard.h"
#include "runtime/options.h"
#include "runtime/os.h"
#include "runtime/waker.h"
#include "tell.h"
#include <limits.h>
#include <oakum/detector.h>
#include <oakum/why.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#define CANDIDATES 4
#define PATH_ROOM 16384
#define PATH_LINES 10
#define FINDINGS 32
#define PASSING 4 /* a path from a stack or register counts as so many steps longer */

static oaki_waker asked; /* by signals, for a report */

/* ---- an object of a site ---- */

/* Objects of a site, by inverted addresses, which keep nothing alive. The last entries of the
 * sample table are kept; they are mostly the newest. */
typedef struct candidates {
    int64_t site;
    size_t n;
    uintptr_t hidden[CANDIDATES];
} candidates;

static void note(void *obj, size_t bytes, double weight, const oaki_site *s, void *ctx)
{
    candidates *c = ctx;
    (void)bytes, (void)weight;
    if ((int64_t)s->id == c->site) c->hidden[c->n++ % CANDIDATES] = oaki_hide(obj);
}

/* The length of a path, with a handicap for stacks and registers: their pointers may be temporary.
 */
static size_t weight(const oak_path *p)
{
    bool passing = p->root.kind == OAK_ROOT_REGISTER || p->root.kind == OAK_ROOT_STACK;
    return p->length + (passing ? PASSING : 0);
}

/* The shortest path to one of the candidates, or NULL. */
static oak_path *shortest(const candidates *c)
{
    oak_path *best = NULL;
    for (size_t i = 0; i < OAKI_MIN(c->n, (size_t)CANDIDATES); i++) {
        oak_path *p = oak_why_alive(oaki_unhide(c->hidden[i]));
        bool kept = p && p->root.kind != OAK_ROOT_NONE && !p->root.caller;
        if (kept && (!best || weight(p) < weight(best))) {
            oak_path *other = best;
            best = p;
            p = other;
        }
        if (p) oak_path_free(p);
    }
    return best;
}

/* The length of the first `lines` lines of a text. */
static size_t first_lines(const char *text, size_t n, unsigned lines)
{
    for (size_t i = 0; i < n; i++)
        if (text[i] == '\n' && --lines == 0) return i + 1;
    return n;
}

static void tell_path(int64_t site)
{
    candidates c = { .site = site };
    oaki_thread *t = site >= 0 ? oaki_gc_stop_begin() : NULL;
    if (!t) return;
    oaki_samples_visit(note, &c);
    oaki_gc_stop_end(t);
    oak_path *p = shortest(&c);
    char *text = p ? malloc(PATH_ROOM) : NULL;
    if (text) {
        size_t n = OAKI_MIN(oak_path_format(p, text, PATH_ROOM), (size_t)PATH_ROOM - 1);
        size_t shown = first_lines(text, n, PATH_LINES);
        oaki_tell(text, shown);
        if (shown < n) oaki_say("  and so on");
    } else if (c.n > 0) {
        oaki_say("oakum: no root was found that keeps it: is it lost? --leaks tells");
    }
    free(text);
    if (p) oak_path_free(p);
}

/* ---- growth ---- */

static void found(const oak_finding *f, void *ctx)
{
    (void)ctx;
    if (f->severity != OAK_SEVERITY_LEAK) return;
    oaki_say("oakum: %s: %s: %s", oak_finding_name(f->kind), f->subject, f->evidence);
    tell_path(f->site);
}

void oaki_growth_tell(void)
{
    oak_finding *f = calloc(FINDINGS, sizeof *f);
    size_t n = f ? OAKI_MIN(oak_detector_findings(f, FINDINGS), (size_t)FINDINGS) : 0;
    bool any = false;
    for (size_t i = 0; i < n; i++) {
        if (!f[i].active || f[i].severity != OAK_SEVERITY_LEAK) continue;
        if (!any) oaki_say("oakum: what grows, as of the last look:");
        any = true;
        found(&f[i], NULL);
    }
    free(f);
}

/* A thread opens files as it begins, too. */
static bool spawn(const char *name, void *(*fn)(void *arg))
{
    oaki_seal_work_starts();
    if (oaki_thread_spawn(name, fn, NULL, true) == 0) return true;
    oaki_seal_work_end();
    return false;
}

static void wait_ms(unsigned ms)
{
    oaki_thread *t = oaki_tls_thread;
    oaki_blocking_begin(t);
    oaki_os_sleep_ns((uint64_t)ms * 1000000);
    oaki_blocking_end(t);
}

/* Gives the detector the heap's size, which otherwise comes from collections. Freed blocks in the
 * guard's queue don't count. */
static void note_size(void)
{
    size_t bytes = AO_load(&oaki_the_heap.pages_inuse) << OAKI_PAGE_SHIFT;
    oaki_cycle c = { .begin = oaki_os_now_ns() };
    c.end = c.begin;
    c.line.forced = true;
    bytes -= OAKI_MIN(oaki_guard_waiting(), bytes);
    c.line.heap_live = c.line.heap_start = bytes;
    oaki_cycles_note(&c);
}

static OAK_NORETURN void *watch(void *arg)
{
    (void)arg;
    for (;;) {
        oaki_seal_work_end(); /* at first, of the start */
        do wait_ms(oaki_wanted.growth_ms);
        while (oaki_seal_work_begin());
        note_size();
        (void)oak_detector_scan();
    }
}

void oaki_growth_start(void)
{
    oak_detector_config cfg;
    oak_detector_config_default(&cfg);
    cfg.interval_ms = cfg.sites = 0;
    cfg.pace_ms = (int)oaki_wanted.growth_ms;
    cfg.found = found;
    if (oak_detector_prepare(&cfg) != 0 || !spawn("oakum/growth", watch))
        oaki_say("oakum: no memory to look for growth");
}

/* ---- reports on demand ---- */

static void on_signal(int sig)
{
    (void)sig;
    oaki_waker_wake(&asked, 1);
}

static OAKI_NOINLINE void report_now(void)
{
    OAKI_SAVE_REGISTERS;
    (void)oaki_report_leaks(OAKI_SAVED_SP);
}

static OAK_NORETURN void *answer(void *arg)
{
    oaki_thread *t = oaki_tls_thread;
    (void)arg;
    oaki_seal_work_end(); /* of the start */
    for (unsigned seen = 0;;) {
        oaki_blocking_begin(t);
        oaki_waker_wait(&asked, &seen);
        oaki_blocking_end(t);
        const char *why = oaki_seal_work_begin();
        if (why) {
            oaki_tell_plainly(why);
            continue;
        }
        report_now();
        if (oaki_wanted.profile) oaki_save_profile(false);
        if (oaki_wanted.growth_ms) oaki_growth_tell();
        oaki_seal_work_end();
    }
}

static void start_answering(void)
{
    if (!spawn("oakum/report", answer))
        oaki_say("oakum: no thread to answer signal %d", oaki_wanted.signal);
}

void oaki_signal_start(void)
{
    struct sigaction sa;
    memset(&sa, 0, sizeof sa);
    sa.sa_handler = on_signal;
    sa.sa_flags = SA_RESTART;
    if (sigaction(oaki_wanted.signal, &sa, NULL) != 0)
        oaki_say("oakum: signal %d can't be handled", oaki_wanted.signal);
    else
        start_answering();
}

void oaki_growth_after_fork(void)
{
    struct sigaction sa;
    int sig = oaki_wanted.signal;
    asked = (oaki_waker){ 0 };
    if (!oaki_can_enter()) return;
    oaki_quiet_begin();
    if (oaki_wanted.growth_ms) oaki_growth_start();
    if (sig && sigaction(sig, NULL, &sa) == 0 && sa.sa_handler == on_signal) start_answering();
    if (oaki_wanted.growth_ms || sig) oaki_last_start();
    oaki_quiet_end();
}

/* ---- the debug server ---- */

static void make_lost(oaki_request *r)
{
    size_t n;
    if (!oaki_wanted.leaks) {
        oaki_request_refuse(r, 404, "only a sample of the blocks is noted: start the program by "
                                    "oakum run --leaks --serve");
        return;
    }
    char *text = oaki_report_text(&n);
    if (!text) {
        oaki_request_refuse(r, 503, "no memory for an image of the heap");
        return;
    }
    oaki_body_put(&r->body, text, n);
    free(text);
}

void oaki_serve_start(void)
{
    static const oaki_route lost = { "/debug/lost", OAKI_MAKER_HEAVY, false, 0, make_lost,
                                     "what is unreachable, by where it was allocated" };
    char text[OAKI_SERVE_ERROR];
    oaki_route_add(&lost);
    const oak_serve_options o = { .token = oaki_options_variable("OAKUM_DEBUG_TOKEN") };
    if (oak_debug_serve_with(oaki_wanted.serve, &o) < 0) {
        oak_debug_serve_error(text, sizeof text);
        oaki_say("oakum: no debug server: %s", text);
        return;
    }
    oak_debug_serve_url(text, sizeof text);
    char *token = o.token ? NULL : strstr(text, "?token=");
    if (token && !oaki_tell_is_private()) {
        *token = '\0';
        oaki_say("oakum: others can read the log, so it has no token: set OAKUM_DEBUG_TOKEN");
    }
    oaki_say("oakum: the debug server is at %s", text);
    if (oak_debug_serve_error(text, sizeof text) > 0)
        oaki_say("oakum: 'oakum top PID' won't find it: %s", text);
}
