/* site.c - the table of sites, the table of sampled objects, and their figures (site.h).
 *
 * Owns: struct self. Lock: observe_lock, or the world is stopped.
 * Invariants: an object is in the table from its sampling until it is freed or a mark doesn't
 * reach it. Its span's `sampled` counts it. A site's `now` includes everything so far. If the
 * site's epoch is the table's, it has changed since the last mark, and `settled` is the state
 * before. Else `settled` is out of date, and `now` stands for it.
 * Bound: note O(frames), a mark's end O(sampled objects), reading O(sites). */
#include "site.h"
#include "frames.h"
#include "gc/gc.h"
#include "gc/refs/objtable.h"
#include "runtime/contract.h"
#include "symbol.h"
#include "unwind_content.h"
#include <errno.h>
#include <oakum/gc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MIN_BUCKETS 256
#define TRIM_EVERY 16 /* marks: a table that shrinks in one may grow again before the next */
#define UNWINDER 3072 /* bytes of stack that it may take, without a pause's signal */
#define SATURATED 255 /* of a span's `sampled`: it stays at this */

/* A sampled object. */
typedef struct sample {
    oaki_record link;
    oaki_site *site;
    uint64_t bytes : 63, external : 1; /* the object's external bytes: a sample of their own */
    double weight;                     /* the number of objects that it stands for */
} sample;

static struct {
    oaki_objtable samples;
    oaki_vec sites; /* oaki_site *, by id */
    oaki_site **bucket;
    size_t nbuckets;   /* a power of two, or 0 */
    uint32_t labelled; /* sites with labels */
    uint64_t epoch;    /* marks since the start */
    uint64_t trimmed;  /* epoch in which the table of samples was last trimmed */
    bool ready;
} self;

/* ---- figures ---- */

static void before_change(oaki_site *s)
{
    if (s->epoch == self.epoch) return;
    s->settled = s->now;
    s->epoch = self.epoch;
}

static void count_span(const void *obj, int by)
{
    oaki_span *s = oaki_span_of_offset(oaki_heap_offset(obj));
    unsigned n = AO_char_load(&s->sampled);
    if (n != SATURATED) AO_char_store(&s->sampled, (unsigned char)((int)n + by));
}

static sample *at(uint32_t i)
{
    return oaki_objtable_at(&self.samples, i);
}

static void add_sample(oaki_site *s, void *obj, size_t bytes, double weight, bool external)
{
    sample *r = at(oaki_objtable_add(&self.samples, obj, OAKI_RECORD_NONE));
    r->site = s;
    r->bytes = bytes;
    r->external = external;
    r->weight = weight;
    count_span(obj, 1);
    before_change(s);
    s->live_samples++;
    s->now.alloc_objects += weight;
    s->now.alloc_bytes += weight * (double)bytes;
    s->now.live_objects += weight;
    s->now.live_bytes += weight * (double)bytes;
}

/* Removes a sample. The last one of a site also clears the rounding errors. */
static void remove_sample(uint32_t i)
{
    const sample *r = at(i);
    oaki_site *s = r->site;
    count_span(r->link.obj, -1);
    s->now.live_objects -= r->weight;
    s->now.live_bytes -= r->weight * (double)r->bytes;
    if (--s->live_samples == 0) s->now.live_objects = s->now.live_bytes = 0;
    oaki_objtable_remove(&self.samples, i);
}

/* The sample of an object, or of its external bytes; or OAKI_RECORD_NONE. */
static uint32_t sample_of(const void *obj, bool external)
{
    uint32_t i = oaki_objtable_first(&self.samples, obj);
    while (i != OAKI_RECORD_NONE && at(i)->external != external) i = at(i)->link.next;
    return i;
}

static oaki_site_figures settled(const oaki_site *s)
{
    return s->epoch == self.epoch && self.epoch > 0 ? s->settled : s->now;
}

/* ---- sites ---- */

static oaki_site *find(uint64_t hash, const uintptr_t *pc, size_t n, const oaki_labels *l)
{
    size_t bytes = l ? l->bytes : 0;
    if (self.nbuckets == 0) return NULL;
    oaki_site *s = self.bucket[hash & (self.nbuckets - 1)];
    for (; s; s = s->same_hash)
        if (s->hash == hash && s->nframes == n && s->label_bytes == bytes &&
            memcmp(s->frame, pc, n * sizeof *pc) == 0 &&
            (!l || memcmp(oaki_site_labels(s), l->label, bytes) == 0))
            return s;
    return NULL;
}

/* Without memory the table stays, and its chains get longer. */
static void more_buckets(void)
{
    size_t n = self.nbuckets ? self.nbuckets * 2 : MIN_BUCKETS;
    oaki_site **bucket = oaki_meta_zalloc(n * sizeof *bucket, OAKI_META_BUCKHASH);
    if (!bucket) return;
    for (size_t i = 0; i < self.sites.len; i++) {
        oaki_site *s = ((oaki_site **)self.sites.items)[i];
        s->same_hash = bucket[s->hash & (n - 1)];
        bucket[s->hash & (n - 1)] = s;
    }
    oaki_meta_free(self.bucket, self.nbuckets * sizeof *bucket, OAKI_META_BUCKHASH);
    self.bucket = bucket;
    self.nbuckets = n;
}

/* The same file that is loaded there again is the same object. */
static uint32_t hash_of_object(const oaki_unwind_object *o)
{
    uint64_t h = (o->lo ^ o->hi << 20) * 0x9e3779b97f4a7c15u;
    h ^= oaki_unwind_content(o, false);
    return (uint32_t)(h ^ h >> 32) | 1;
}

/* 0: no object is known to be there. Most frames are in the object of the one before. */
static void note_objects(oaki_site *s)
{
    uint32_t *of = (uint32_t *)(s->frame + s->nframes);
    oaki_unwind_object o = { 0, 0, 0, 0 };
    for (size_t i = 0; i < s->nframes; i++) {
        uintptr_t code = s->frame[i] - 1;
        bool same = code - o.lo < o.hi - o.lo;
        if (same) of[i] = of[i - 1];
        else if (oaki_unwind_find_object(code, &o)) of[i] = hash_of_object(&o);
        else o = (oaki_unwind_object){ 0, 0, 0, 0 };
    }
}

uintptr_t oaki_site_code(const oaki_site *s, size_t i)
{
    oaki_unwind_object o;
    uint32_t was = oaki_site_objects(s)[i];
    uintptr_t code = s->frame[i] - 1;
    bool gone = was && oaki_unwind_find_object(code, &o) && hash_of_object(&o) != was;
    return gone ? oaki_symbol_gone(code) : code;
}

static oaki_site *make(uint64_t hash, const uintptr_t *pc, size_t n, const oaki_labels *l)
{
    size_t bytes = l ? l->bytes : 0;
    if (self.sites.len >= self.nbuckets) more_buckets();
    if (self.nbuckets == 0) return NULL;
    size_t size = sizeof(oaki_site) + (n + (n + 1) / 2) * sizeof *pc + bytes;
    oaki_site *s = oaki_meta_zalloc(size, OAKI_META_BUCKHASH);
    oaki_site **place = s ? oaki_vec_push(&self.sites) : NULL;
    if (!place) {
        oaki_meta_free(s, size, OAKI_META_BUCKHASH);
        return NULL;
    }
    *place = s;
    s->id = (uint32_t)self.sites.len - 1;
    s->hash = hash;
    s->epoch = self.epoch;
    s->nframes = (uint32_t)n;
    s->nlabels = l ? l->n : 0;
    s->label_bytes = bytes;
    memcpy(s->frame, pc, n * sizeof *pc);
    note_objects(s);
    if (l) memcpy((void *)(uintptr_t)oaki_site_labels(s), l->label, bytes);
    self.labelled += l != NULL;
    s->same_hash = self.bucket[hash & (self.nbuckets - 1)];
    self.bucket[hash & (self.nbuckets - 1)] = s;
    return s;
}

/* One step for each frame. Uses no library code, which would be out of the cache by the next
 * sample. */
static uint64_t hash_of(const uintptr_t *pc, size_t n)
{
    uint64_t h = n;
    for (size_t i = 0; i < n; i++) {
        h = (h ^ pc[i]) * 0x9e3779b97f4a7c15u;
        h ^= h >> 32;
    }
    return h;
}

static oaki_site *site_for(const uintptr_t *pc, size_t n, const oaki_labels *l)
{
    uint64_t stack = hash_of(pc, n), hash = l ? stack ^ l->hash : stack;
    oaki_site *s = find(hash, pc, n, l);
    if (s) return s;
    if (l && self.labelled >= OAKI_SITES_LABELLED) return site_for(pc, n, NULL);
    if (n > 0 && self.sites.len >= OAKI_SITES) return site_for(pc, 0, NULL);
    return make(hash, pc, n, l);
}

/* ---- hooks ---- */

/* 1 - exp(-x) for x >= 1/64. Uses the series at x / 2^n, then doubles the argument n times, which
 * makes no error larger. */
static double part_of(double x)
{
    int n = 0;
    if (x > 40) return 1;
    for (; x >= 1.0 / 64; x /= 2) n++;
    double part = 0;
    for (int k = 7; k > 0; k--) part = x / k * (1 - part);
    while (n-- > 0) part *= 2 - part;
    return part;
}

/* The number of objects that a sample stands for: 1 / (1 - exp(-x)). For small x, the usual case,
 * by its series, exact to 13 digits. Doesn't use libm, whose tables would be out of the cache by
 * the next sample. */
static double weight_of(size_t bytes, size_t rate)
{
    double x = (double)bytes / (double)rate;
    if (rate <= 1) return 1;
    return x < 1.0 / 64 ? 1 / x + 0.5 + x / 12 - x * x * x / 720 : 1 / part_of(x);
}

/* An object that is allocated near the end of a stack is counted without frames. */
static size_t capture(uintptr_t *pc, size_t max)
{
    size_t signal = oak_stack_min() - OAK_STACK_MIN;
    return oaki_stack_left() < UNWINDER + signal ? 0 : oaki_stack_capture(pc, max);
}

static void note_one(void *obj, size_t bytes, size_t rate, bool external)
{
    int saved = errno;
    uintptr_t pc[OAKI_STACK_FRAMES];
    size_t n = capture(pc, OAKI_COUNT(pc));
    n = oaki_frames_merge(pc, n, OAKI_COUNT(pc));
    oaki_thread *t = oaki_enter();
    oaki_lock_acquire(&oaki_the_heap.observe_lock);
    if (self.epoch - self.trimmed >= TRIM_EVERY) {
        (void)oaki_objtable_trim(&self.samples, 1);
        self.trimmed = self.epoch;
    }
    oaki_site *s = site_for(pc, n, t->labels);
    if (s && oaki_objtable_reserve(&self.samples) == 0)
        add_sample(s, obj, bytes, weight_of(bytes, rate), external);
    oaki_lock_release(&oaki_the_heap.observe_lock);
    oaki_leave(t);
    errno = saved;
}

static void note(void *obj, size_t bytes, size_t rate)
{
    note_one(obj, bytes, rate, false);
}

static void note_external(void *obj, size_t bytes, size_t rate)
{
    note_one(obj, bytes, rate, true);
}

/* Attaches a thread whose first call this is: its stack is known from there on. */
static bool is_attached(void)
{
    if (oaki_thread_self()) return true;
    oaki_thread *t = oaki_enter();
    if (t) oaki_leave(t);
    return t != NULL;
}

const oaki_site *oaki_site_here(void)
{
    int saved = errno;
    uintptr_t pc[OAKI_STACK_FRAMES];
    size_t n = is_attached() ? capture(pc, OAKI_COUNT(pc)) : 0;
    n = oaki_frames_merge(pc, n, OAKI_COUNT(pc));
    const oaki_site *s = NULL;
    oaki_thread *t = oaki_enter();
    if (t) {
        oaki_lock_acquire(&oaki_the_heap.observe_lock);
        s = site_for(pc, n, NULL);
        oaki_lock_release(&oaki_the_heap.observe_lock);
        oaki_leave(t);
    }
    errno = saved;
    return s;
}

static void freed(void *obj)
{
    oaki_lock_acquire(&oaki_the_heap.observe_lock);
    uint32_t i; /* and those of its external bytes */
    while ((i = oaki_objtable_first(&self.samples, obj)) != OAKI_RECORD_NONE) {
        before_change(at(i)->site);
        remove_sample(i);
    }
    oaki_lock_release(&oaki_the_heap.observe_lock);
}

static void resized(void *obj, size_t bytes)
{
    oaki_lock_acquire(&oaki_the_heap.observe_lock);
    uint32_t i = sample_of(obj, false);
    if (i != OAKI_RECORD_NONE) {
        sample *r = at(i);
        before_change(r->site);
        r->site->now.live_bytes += r->weight * ((double)bytes - (double)r->bytes);
        r->bytes = bytes;
    }
    oaki_lock_release(&oaki_the_heap.observe_lock);
}

/* They are as one object that grows and shrinks: the more there are, the fewer such objects one
 * sample stands for. What they grow by is allocated. */
static void resize_external(sample *r, size_t bytes)
{
    oaki_site_figures *now = &r->site->now;
    size_t rate = AO_load(&oaki_the_heap.sampler.rate);
    double weight = rate ? weight_of(bytes, rate) : r->weight;
    double more = weight * (double)bytes - r->weight * (double)r->bytes;
    if (bytes > r->bytes) now->alloc_bytes += more;
    now->live_bytes += more;
    now->live_objects += weight - r->weight;
    r->bytes = bytes;
    r->weight = weight;
}

static void external(void *obj, size_t bytes)
{
    oaki_lock_acquire(&oaki_the_heap.observe_lock);
    uint32_t i = sample_of(obj, true);
    if (i != OAKI_RECORD_NONE) {
        sample *r = at(i);
        before_change(r->site);
        if (bytes == 0)
            remove_sample(i);
        else if (bytes != r->bytes)
            resize_external(r, bytes);
    }
    oaki_lock_release(&oaki_the_heap.observe_lock);
}

/* World stopped. */
static void after_mark(void *ctx)
{
    (void)ctx;
    OAKI_REQUIRES_STOPPED();
    for (size_t i = self.samples.records.len; i > 0; i--) {
        const sample *r = at((uint32_t)i - 1);
        if (!oaki_is_marked(r->link.obj)) remove_sample((uint32_t)i - 1);
    }
    self.epoch++;
}

const struct oaki_sample_hooks *oaki_sites_hooks(void)
{
    static const oaki_sample_hooks hooks = { note, freed, resized };
    return &hooks;
}

int oaki_sites_init(void)
{
    oaki_stack_init();
    oaki_thread *t = oaki_enter();
    if (!t) return -1;
    oaki_lock_acquire(&oaki_the_heap.observe_lock);
    if (!self.ready) {
        oaki_objtable_init(&self.samples, sizeof(sample), &oaki_the_heap.observe_lock);
        self.samples.records.use = OAKI_META_BUCKHASH;
        oaki_vec_init(&self.sites, sizeof(oaki_site *), OAKI_META_BUCKHASH);
        self.ready = true;
    }
    oaki_lock_release(&oaki_the_heap.observe_lock);
    oaki_leave(t);
    oaki_external_on_sample(note_external, external);
    return oaki_gc_after_mark(after_mark, NULL);
}

/* ---- reading ---- */

static void read_one(oaki_site_reading *out, const oaki_site *s)
{
    out->site = s;
    out->live_samples = s->live_samples;
    out->now = s->now;
    out->settled = settled(s);
}

/* Returns the number of sites, and reads them if `room` is enough for all. -1 with ENOMEM. */
static long read_all(oaki_site_reading *out, size_t room)
{
    oaki_thread *t = oaki_enter();
    if (!t) return -1;
    oaki_lock_acquire(&oaki_the_heap.observe_lock);
    size_t n = self.sites.len;
    for (size_t i = 0; n <= room && i < n; i++)
        read_one(&out[i], ((oaki_site **)self.sites.items)[i]);
    oaki_lock_release(&oaki_the_heap.observe_lock);
    oaki_leave(t);
    return (long)n;
}

long oaki_sites_read(oaki_site_reading **out)
{
    oaki_site_reading *r = NULL;
    size_t room = 0;
    *out = NULL;
    if (!oaki_heap_ready()) return -1;
    for (;;) {
        long n = read_all(r, room);
        if (n < 0)
            free(r);
        else
            *out = r;
        if (n <= (long)room) return n;
        room = (size_t)n + (size_t)n / 8 + 16;
        free(r);
        r = malloc(room * sizeof *r);
        *out = NULL;
        if (!r) return -1;
    }
}

const oaki_site *oaki_site_of(const void *obj)
{
    OAKI_REQUIRES_INSIDE();
    oaki_lock_acquire(&oaki_the_heap.observe_lock);
    uint32_t i = sample_of(obj, false);
    const oaki_site *s = NULL;
    if (i != OAKI_RECORD_NONE) s = at(i)->site;
    oaki_lock_release(&oaki_the_heap.observe_lock);
    return s;
}

const oaki_site *oaki_site_by_id(uint32_t id)
{
    OAKI_REQUIRES_INSIDE();
    oaki_lock_acquire(&oaki_the_heap.observe_lock);
    const oaki_site *s = id < self.sites.len ? ((oaki_site **)self.sites.items)[id] : NULL;
    oaki_lock_release(&oaki_the_heap.observe_lock);
    return s;
}

void oaki_samples_visit(void (*fn)(void *obj, size_t bytes, double weight, const oaki_site *s,
                                   void *ctx),
                        void *ctx)
{
    OAKI_REQUIRES_STOPPED();
    for (size_t i = 0; i < self.samples.records.len; i++) {
        const sample *r = at((uint32_t)i);
        fn(r->link.obj, r->bytes, r->weight, r->site, ctx);
    }
}

size_t oaki_site_format(const oaki_site *s, unsigned frames, char *buf, size_t n)
{
    oak_frame f[OAKI_SYMBOL_INLINED];
    size_t len = 0;
    unsigned shown = 0;
    OAKI_REQUIRES_OUTSIDE();
    if (n == 0) return 0;
    buf[0] = '\0';
    for (size_t i = 0; i < s->nframes && shown < frames; i++) {
        size_t nf = oaki_symbol_of_code(oaki_site_code(s, i), f);
        for (size_t k = 0; k < nf && shown < frames && len < n; k++, shown++) {
            char line[32] = "", place[128];
            const char *name = oaki_symbol_of_frame(&f[k], place, sizeof place);
            const char *file = f[k].file ? strrchr(f[k].file, '/') : NULL;
            if (f[k].line) snprintf(line, sizeof line, ":%d)", f[k].line);
            len += (size_t)snprintf(buf + len, n - len, "%s%s%s%s%s", shown ? " < " : "", name,
                                    *line ? " (" : "",
                                    *line ? (file ? file + 1 : f[k].file) : "", line);
        }
    }
    return OAKI_MIN(len, n - 1);
}

/* ---- checking ---- */

const char *oaki_sites_check(void)
{
    uint64_t live = 0;
    OAKI_REQUIRES_STOPPED();
    for (size_t i = 0; i < self.sites.len; i++) {
        const oaki_site *s = ((oaki_site **)self.sites.items)[i];
        live += s->live_samples;
        if (s->id != i) return "site: an id is a place in the table";
        if (find(s->hash, s->frame, s->nframes, NULL) != s && s->label_bytes == 0)
            return "site: a site is found by its frames";
        if (s->live_samples == 0 && s->now.live_objects != 0) return "site: nothing is left over";
    }
    if (live != self.samples.records.len) return "site: a sample belongs to one site";
    for (size_t i = 0; i < self.samples.records.len; i++) {
        const sample *r = at((uint32_t)i);
        size_t off = oaki_heap_offset(r->link.obj);
        if (!oaki_bit_get(oaki_the_heap.alloc, off)) return "site: a sampled object is allocated";
        if (oaki_span_of_offset(off)->sampled == 0) return "site: a span counts its samples";
    }
    return oaki_objtable_check(&self.samples);
}
