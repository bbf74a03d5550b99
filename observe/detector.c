/* detector.c - the leak detector: start and end, its thread, a look, and the findings
 * (oakum/detector.h, judge.h).
 *
 * A look has these steps:
 * - It takes a census in a pause, and reads the profile's sites and the listener's statistics of
 *   cycles.
 * - It runs the judges, with the world running.
 * - It reports the new findings, with no lock held.
 *
 * The thread is attached only during a look. So it is no root, and no program waits for it to end.
 *
 * Owns: the one detector.
 * Lock: the turn, held for a whole look. A fork's child has no detector, as the parent's may be in
 *   the middle of a look.
 * Bound: a look stops the world for a census; the rest of its time is that of the judges. */
#include "judge.h"
#include "turn.h"

#include "runtime/options.h"
#include "runtime/os.h"
#include "runtime/waker.h"
#include "runtime/print.h"
#include <errno.h>
#include <oakum/gc.h>
#include <oakum/profile.h>
#include <stdlib.h>
#include <string.h>

#define STARTING (~(AO_t)1) /* no tid */
#define USUAL_RATE ((size_t)512 << 10)

static struct {
    AO_t turn;
    oaki_detector *d; /* (turn) */
    oaki_census census;
    AO_t background;  /* the thread should run */
    AO_t running;     /* the thread exists: STARTING, then its tid */
    oaki_waker waker;  /* a full cycle is over, or the thread is to end */
} self;

/* ---- names ---- */

static const char *const names[OAK_FINDING_KINDS] = {
    "heap-growth",  "site-growth",     "type-growth",     "map-growth",      "thread-growth",
    "fiber-growth", "map-sparse",      "map-stuck",       "map-hash",        "threads-blocked",
    "threads-stranded", "finalizer-cycle", "finalizer-stuck", "weak-dead",    "thrash",
    "fragmented",   "step",            "watermark",       "stacks-hold"
};

const char *oak_finding_name(oak_finding_kind kind)
{
    return (unsigned)kind < OAK_FINDING_KINDS ? names[kind] : "unknown";
}

static oak_severity severity_of(oak_finding_kind kind)
{
    if (kind < OAK_FINDING_MAP_SPARSE) return OAK_SEVERITY_LEAK;
    return kind < OAK_FINDING_STEP ? OAK_SEVERITY_WARNING : OAK_SEVERITY_NOTE;
}

const char *oaki_size_text(double bytes, char buf[32])
{
    static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB" };
    unsigned u = 0;
    for (; u < 4 && (bytes >= 1024 || bytes <= -1024); u++) bytes /= 1024;
    if (u == 0)
        oaki_format(buf, 32, "%.0f %s", bytes, units[u]);
    else
        oaki_format(buf, 32, "%.1f %s", bytes, units[u]);
    return buf;
}

/* ---- locks ---- */

static void fork_child(void);

static void take_turn(void)
{
    oaki_turn_take(&self.turn, fork_child);
}

static void give_turn(void)
{
    oaki_turn_give(&self.turn);
}

/* ---- cycles: the listener ---- */

/* A minor cycle starts no look, as dead objects may be left after it. */
static void on_cycle(const oaki_cycle *c, void *ctx)
{
    (void)ctx;
    oaki_cycles_note(c);
    if (c->minor || !AO_load(&self.background)) return;
    oaki_waker_wake(&self.waker, 1);
}

/* ---- findings ---- */

/* The finding that has been inactive for longest, or NULL. */
static oak_finding *least_wanted(oaki_detector *d)
{
    oak_finding *least = NULL;
    for (size_t i = 0; i < d->nfindings; i++) {
        oak_finding *f = &d->finding[i];
        if (!f->active && (!least || f->last_seen < least->last_seen)) least = f;
    }
    return least;
}

static oak_finding *room_for(oaki_detector *d)
{
    if (d->nfindings < OAKI_FINDINGS) return &d->finding[d->nfindings++];
    return least_wanted(d);
}

/* Queues the report of a finding that is active again. A leak or warning is reported each time, a
 * note once per looks_max looks. */
static void tell_again(oaki_detector *d, const oak_finding *f, bool fresh)
{
    size_t i = (size_t)(f - d->finding);
    bool note = f->severity == OAK_SEVERITY_NOTE && !fresh;
    if (note && d->looks - d->told[i] < (uint64_t)d->cfg.looks_max) return;
    d->told[i] = d->looks;
    d->fresh[i] = true;
    d->stats.raised[f->kind]++;
}

/* The id is made of kind and key, so a later look finds the same finding. */
oak_finding *oaki_raise(oaki_detector *d, const oaki_look *l, oak_finding_kind kind, uint64_t key,
                        bool *fresh)
{
    uint64_t id = key * OAK_FINDING_KINDS + (uint64_t)kind;
    oak_finding *f = NULL;
    *fresh = false;
    for (size_t i = 0; i < d->nfindings && !f; i++)
        if (d->finding[i].kind == kind && d->finding[i].id == id) f = &d->finding[i];
    if (!f) {
        f = room_for(d);
        if (!f) {
            d->stats.dropped++;
            return NULL;
        }
        memset(f, 0, sizeof *f);
        f->kind = kind;
        f->severity = severity_of(kind);
        f->id = id;
        f->site = -1;
        f->first_seen = l->wall;
        f->first_cycle = l->census->cycle;
        *fresh = true;
    }
    if (!f->active) tell_again(d, f, *fresh);
    f->active = true;
    f->last_seen = l->wall;
    f->last_cycle = l->census->cycle;
    return f;
}

/* Ends the findings that this look has not found again. Returns the number of active leaks and
 * warnings. */
static int settle(oaki_detector *d, const oaki_look *l)
{
    int faults = 0;
    memset(d->stats.active, 0, sizeof d->stats.active);
    for (size_t i = 0; i < d->nfindings; i++) {
        oak_finding *f = &d->finding[i];
        f->active = f->active && f->last_seen == l->wall;
        d->stats.active[f->kind] += f->active;
        faults += f->active && f->severity >= OAK_SEVERITY_WARNING;
    }
    return faults;
}

/* The findings to report, in memory of the host's malloc. Without it, the next look reports
 * them. */
static oak_finding *take_fresh(oaki_detector *d, size_t *n)
{
    oak_finding *out = malloc(OAKI_FINDINGS * sizeof *out);
    *n = 0;
    for (size_t i = 0; out && i < d->nfindings; i++)
        if (d->fresh[i]) out[(*n)++] = d->finding[i];
    if (out) memset(d->fresh, 0, sizeof d->fresh);
    return out;
}

static void tell(const oak_finding *f, size_t n, const oak_detector_config *cfg)
{
    static const char *const severities[] = { "note", "warning", "leak" };
    for (size_t i = 0; i < n; i++) {
        if (cfg->log)
            oaki_log("oakum: detector: %s: %s: %s: %s\n", severities[f[i].severity],
                     oak_finding_name(f[i].kind), f[i].subject, f[i].evidence);
        if (cfg->found) cfg->found(&f[i], cfg->ctx);
    }
}

/* ---- a look ---- */

/* Sets the look's time, and whether it is a paced one. A look on demand adds at least a pace, so it
 * is never too soon. */
static uint64_t time_of_look(oaki_detector *d, bool asked)
{
    uint64_t passed = d->looks ? self.census.when - d->when : 0;
    uint64_t pace = (uint64_t)d->cfg.pace_ms * 1000000;
    d->when = self.census.when;
    d->at += asked ? OAKI_MAX(passed, pace) : passed;
    d->paced = !d->looks || d->at - d->paced_at >= oaki_paces_ns(d, 1);
    if (d->paced) {
        d->paces++;
        d->paced_at = d->at;
    }
    return d->at;
}

static int look_at(oaki_detector *d, oaki_look *l, bool asked)
{
    uint64_t began = oaki_os_now_ns();
    oaki_site_reading *sites = NULL;
    if (oaki_census_take(&self.census) != 0) return -1;
    l->rate = oak_profile_rate();
    l->nsites = l->rate ? oaki_sites_read(&sites) : 0;
    l->sites = sites;
    l->census = &self.census;
    l->wall = oaki_os_wall_ns();
    l->at = time_of_look(d, asked);
    l->cycles = oaki_cycles_read();
    d->looks++;
    oaki_judge_growth(d, l);
    oaki_judge_maps(d, l);
    oaki_judge_state(d, l);
    free(sites);
    d->stats.looks = d->looks;
    d->stats.stop_ns = self.census.stop;
    d->stats.look_ns = oaki_os_now_ns() - began;
    return settle(d, l);
}

static void ask_about_standing(oaki_standing *s)
{
    uint64_t began = oaki_os_now_ns();
    bool whole = oaki_standing_measure(s) == 0;
    take_turn();
    if (self.d)
        oaki_standing_answer(self.d, s, whole, oaki_os_now_ns() - began);
    else
        free(s);
    give_turn();
}

static void ask_about_stranded(oaki_stranded *s)
{
    uint64_t began = oaki_os_now_ns();
    bool whole = oaki_stranded_find(s) == 0;
    take_turn();
    if (self.d)
        oaki_stranded_answer(self.d, s, whole, oaki_os_now_ns() - began);
    else
        free(s);
    give_turn();
}

/* Called with the turn, which it releases before it reports. asked: a look on demand. */
static int look_and_tell(bool asked)
{
    oaki_look l = { 0 };
    oak_finding *fresh = NULL;
    oak_detector_config cfg;
    size_t n = 0;
    int faults = look_at(self.d, &l, asked);
    cfg = self.d->cfg;
    if (faults >= 0) fresh = take_fresh(self.d, &n);
    oaki_standing *wanted = faults >= 0 ? oaki_standing_wanted(self.d, &self.census) : NULL;
    oaki_stranded *waits = faults >= 0 ? oaki_stranded_wanted(self.d) : NULL;
    give_turn();
    if (fresh) tell(fresh, n, &cfg);
    free(fresh);
    if (wanted) ask_about_standing(wanted);
    if (waits) ask_about_stranded(waits);
    return faults;
}

/* ---- the thread ---- */

/* Detaches the thread after a look. The last of the program's threads may have ended during it. */
static void detach(void)
{
    oak_thread_detach();
    oaki_last_thread_exits(false);
}

static uint64_t interval(void)
{
    take_turn();
    uint64_t ns = self.d ? (uint64_t)self.d->cfg.interval_ms * 1000000 : 0;
    give_turn();
    return ns;
}

/* arg: the calls of the waker when the thread was started. */
static void *background(void *arg)
{
    unsigned seen = (unsigned)(uintptr_t)arg;
    AO_store(&self.running, (AO_t)oaki_os_tid());
    while (AO_load_acquire(&self.background)) {
        if (!oaki_waker_wait_ns(&self.waker, &seen, 0)) continue;
        uint64_t next = oaki_os_now_ns() + interval();
        take_turn();
        if (AO_load(&self.background) && self.d)
            (void)look_and_tell(false);
        else
            give_turn();
        detach();
        for (uint64_t at; AO_load(&self.background) && (at = oaki_os_now_ns()) < next;)
            oaki_os_sleep_ns(OAKI_MIN(next - at, 10000000u));
    }
    AO_store_release(&self.running, 0);
    return NULL;
}

/* Whether the calling thread is the detector's, as in a callback. */
static bool is_that_thread(void)
{
    return AO_load(&self.running) == (AO_t)oaki_os_tid();
}

/* Ends the thread and waits for its end. If the thread itself calls this, it ends after the look.
 * Another call may start the next thread between two looks at `running`: that one ends too. */
static void end_thread(void)
{
    for (;;) {
        AO_store_full(&self.background, 0);
        if (!AO_load_acquire(&self.running) || is_that_thread()) return;
        oaki_waker_wake(&self.waker, 1);
        oaki_os_sleep_ns(OAKI_TURN_NAP_NS);
    }
}

static int begin_thread(void)
{
    AO_store_full(&self.background, 1);
    AO_store_full(&self.running, STARTING);
    void *seen = (void *)(uintptr_t)oaki_waker_calls(&self.waker);
    if (oaki_thread_spawn("oakum/detector", background, seen, false) == 0) return 0;
    AO_store(&self.background, 0);
    AO_store(&self.running, 0);
    errno = ENOMEM;
    return -1;
}

/* ---- start and end ---- */

/* In a fork's child: drops the parent's detector without freeing it. */
static void fork_child(void)
{
    AO_store(&self.turn, 0);
    oaki_cycles_child();
    AO_store(&self.background, 0);
    AO_store(&self.running, 0);
    self.d = NULL;
    memset(&self.census, 0, sizeof self.census);
    oaki_gc_off_cycle(on_cycle, NULL);
}

void oak_detector_config_default(oak_detector_config *cfg)
{
    if (!cfg) return;
    memset(cfg, 0, sizeof *cfg);
#define DEFAULT(field, type, def, min, max, help) cfg->field = def;
    OAK_DETECTOR_OPTIONS(DEFAULT)
#undef DEFAULT
}

static bool above_size(size_t v, size_t least) { return v >= least || least == 0; }
static bool above_int(int v, int least) { return v >= least; }

static bool is_valid(const oak_detector_config *c)
{
    bool valid = c->looks_max >= c->looks_min;
#define CHECK(field, type, def, min, max, help) \
    valid = valid && above_##type(c->field, min) && c->field <= max;
    OAK_DETECTOR_OPTIONS(CHECK)
#undef CHECK
    return valid;
}

void oaki_detector_free(oaki_detector *d)
{
    if (!d) return;
    free(d->series);
    free(d->tracks);
    free(d->still);
    free(d->held);
    free(d->stranded);
    free(d);
}

oaki_detector *oaki_detector_new(const oak_detector_config *cfg)
{
    oaki_detector *d = calloc(1, sizeof *d);
    if (!d) return NULL;
    d->cfg = *cfg;
    d->series = calloc(3 * OAKI_SERIES, sizeof *d->series);
    d->tracks = calloc(OAKI_TRACKS, sizeof *d->tracks);
    oaki_figure_init(d, &d->heap);
    oaki_figure_init(d, &d->threads);
    oaki_figure_init(d, &d->fibers);
    if (d->series && d->tracks) return d;
    oaki_detector_free(d);
    return NULL;
}

/* A detector for `cfg`, or for the usual one. NULL, and errno: nothing has changed. */
static oaki_detector *make(const oak_detector_config *cfg)
{
    oak_detector_config usual;
    oak_detector_config_default(&usual);
    if (!cfg) cfg = &usual;
    if (!is_valid(cfg)) return errno = EINVAL, NULL;
    oaki_detector *d = oaki_heap_ready() ? oaki_detector_new(cfg) : NULL;
    if (!d) errno = ENOMEM;
    return d;
}

/* Puts `d` in the place of the one before, and its listener. Called with the turn. */
static int install(oaki_detector *d)
{
    oaki_fork_register(fork_child);
    if (d->cfg.sites && oak_profile_rate() == 0) (void)oak_profile_set_rate(USUAL_RATE);
    oaki_gc_off_cycle(on_cycle, NULL);
    oaki_detector_free(self.d);
    self.d = d;
    oaki_cycles_begin(&d->cfg);
    return oaki_gc_on_cycle(on_cycle, NULL);
}

/* Takes the turn while there is no thread. Another call may start one until then. */
static void take_turn_alone(void)
{
    for (;;) {
        end_thread();
        take_turn();
        if (!AO_load(&self.running) || is_that_thread()) return;
        give_turn();
    }
}

static int begin(const oak_detector_config *cfg, bool thread)
{
    if (is_that_thread()) return errno = EDEADLK, -1;
    oaki_detector *d = make(cfg);
    if (!d) return -1;
    take_turn_alone();
    int r = install(d);
    if (r == 0 && thread) r = begin_thread();
    give_turn();
    return r;
}

int oak_detector_prepare(const oak_detector_config *cfg)
{
    return begin(cfg, false);
}

int oak_detector_start(const oak_detector_config *cfg)
{
    return begin(cfg, true);
}

/* The usual one, where there is none. Called with the turn. */
static bool prepare_usual(void)
{
    if (self.d) return oaki_gc_on_cycle(on_cycle, NULL) == 0;
    oaki_detector *d = make(NULL);
    return d && install(d) == 0;
}

int oak_detector_scan(void)
{
    take_turn();
    bool ready = prepare_usual();
    give_turn();
    if (!ready) return -1;
    oak_collect();
    oaki_gc_flush_events();
    take_turn();
    if (self.d) return look_and_tell(true);
    give_turn();
    return 0;
}

void oak_detector_stop(void)
{
    take_turn_alone();
    oaki_gc_off_cycle(on_cycle, NULL);
    oaki_census_free(&self.census);
    give_turn();
}

void oaki_detector_end(void)
{
    oak_detector_stop();
    take_turn();
    oaki_detector_free(self.d);
    self.d = NULL;
    give_turn();
}

/* ---- reading ---- */

static int worse(const void *a, const void *b)
{
    const oak_finding *x = a, *y = b;
    if (x->active != y->active) return x->active ? -1 : 1;
    if (x->severity != y->severity) return x->severity > y->severity ? -1 : 1;
    return x->first_seen < y->first_seen ? -1 : x->first_seen > y->first_seen;
}

size_t oak_detector_findings(oak_finding *out, size_t n)
{
    size_t all = 0;
    take_turn();
    if (self.d) {
        oak_finding *sorted = malloc(OAKI_FINDINGS * sizeof *sorted);
        all = self.d->nfindings;
        if (sorted) {
            memcpy(sorted, self.d->finding, all * sizeof *sorted);
            qsort(sorted, all, sizeof *sorted, worse);
            if (out) memcpy(out, sorted, OAKI_MIN(all, n) * sizeof *out);
        } else {
            all = 0;
        }
        free(sorted);
    }
    give_turn();
    return all;
}

void oak_detector_stats_read(oak_detector_stats *out)
{
    if (!out) return;
    take_turn();
    if (self.d)
        *out = self.d->stats;
    else
        memset(out, 0, sizeof *out);
    give_turn();
}

/* ---- the environment ---- */

/* Reads "name=value". false: no such option, or the value is out of range. */
static bool read_option(oak_detector_config *cfg, const char *item, size_t n)
{
    char text[64];
    if (n >= sizeof text) return false;
    memcpy(text, item, n);
    text[n] = '\0';
    char *value = strchr(text, '=');
    if (!value) return false;
    *value++ = '\0';
#define READ(field, type, def, min, max, help) \
    if (strcmp(text, #field) == 0) return oaki_parse_##type(value, min, max, &cfg->field) == 0;
    OAK_DETECTOR_OPTIONS(READ)
#undef READ
    return false;
}

static bool read_options(oak_detector_config *cfg, const char *s)
{
    if (strcmp(s, "1") == 0) return true;
    while (*s) {
        size_t n = strcspn(s, ",");
        if (n > 0 && !read_option(cfg, s, n)) return false;
        s += n + (s[n] == ',');
    }
    return true;
}

OAKI_AT_START void oaki_detector_from_environment(void)
{
    const char *wanted = oaki_options_variable("OAKUM_DETECTOR");
    oak_detector_config cfg;
    if (!wanted || !*wanted || strcmp(wanted, "0") == 0) return;
    oak_detector_config_default(&cfg);
    cfg.log = 1;
    if (!read_options(&cfg, wanted) || !is_valid(&cfg))
        oaki_log("oakum: OAKUM_DETECTOR=%.200s is ignored: it must be 1, or options as "
                 "interval_ms=100,log=0\n",
                 wanted);
    else if (oak_detector_start(&cfg) != 0)
        oaki_log("oakum: OAKUM_DETECTOR: there is no memory for the detector\n");
}
