/* heap.c - helpers of the tests of the heap and the collector. */
#include "heap.h"

#include "capture.h"
#include "gc/concurrent/concurrent.h"
#include "large.h"
#include "runtime/collector.h"
#include "runtime/cost.h"
#include "runtime/dirty.h"
#include "runtime/os.h"
#include "runtime/task.h"

#include <check.h>
#include <dirent.h>
#include <link.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* ---- random numbers: xorshift64* (Marsaglia, Vigna) ---- */

static uint64_t state = 1;

void test_seed(const char *who)
{
    const char *given = getenv("OAKUM_TEST_SEED");
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    state =
        given ? strtoull(given, NULL, 0) : (uint64_t)now.tv_nsec * 2654435761u + (uint64_t)getpid();
    if (state == 0) state = 1;
    printf("%s: OAKUM_TEST_SEED=%llu\n", who, (unsigned long long)state);
    fflush(stdout);
}

uint64_t test_random(void)
{
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return state * 0x2545f4914f6cdd1d;
}

size_t test_below(size_t n)
{
    return (size_t)((test_random() >> 11) % n);
}

size_t test_size(size_t max)
{
    size_t bits = test_below(oaki_log2(max) + 1),
           n = ((size_t)1 << bits) + test_below((size_t)1 << bits);
    return OAKI_MIN(n, max);
}

bool test_slow(void)
{
    const char *preload = getenv("LD_PRELOAD"), *debug = getenv("OAKUM_DEBUG");
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    return true;
#endif
    return (preload && strstr(preload, "vgpreload")) || (debug && strstr(debug, "stress"));
}

bool test_skip_slow(void)
{
    return test_skip(test_slow(), "tools and OAKUM_DEBUG=stress take too much for it");
}

size_t test_scale(size_t n)
{
    const char *longer = getenv("OAKUM_TEST_LONG");
    if (test_slow()) return OAKI_MAX(n / 10, 1);
    return longer && *longer == '1' ? n * 10 : n;
}

/* ---- start ---- */

oak_config test_config(void)
{
    oak_config c;
    const char *debug = getenv("OAKUM_DEBUG");
    oak_config_default(&c);
    c.concurrent = debug && strstr(debug, "beside=");
    c.heap_max = c.memory_limit = 0;
    c.gc_percent = -1;
    c.min_heap = (size_t)4 << 20; /* it would depend on costs */
    c.gc_threads = 1;
    c.background_sweep = c.scavenge = c.huge_pages = c.touch_ahead = c.finalizer_thread = 0;
    return c;
}

oak_config test_config_beside(oak_tracking tracking)
{
    oak_config c = test_config();
    c.concurrent = c.background_sweep = 1;
    c.tracking = tracking;
    return c;
}

void test_heap_start_stressed(oak_config c)
{
    ck_assert_int_eq(oak_init(&c), 0);
    test_large_exclude();
}

void test_no_stress(void)
{
    oaki_debug_switches.stress = 0;
}

void test_once(void)
{
    oaki_debug_switches.twice = 0;
}

bool test_written_start(void)
{
    oaki_thread *t = oaki_enter();
    bool told = oaki_dirty_start();
    oaki_leave(t);
    return told;
}

void test_dirty_begin(void)
{
    while (!oaki_dirty_begin()) oaki_os_yield();
}

bool test_skip_untracked(void)
{
    return test_skip(!test_written_start(), "this system does not tell of written pages");
}

void test_sweep_all(void)
{
    oaki_thread *t = oaki_thread_self();
    bool outside = !t || !t->in_runtime;
    if (outside) t = oaki_enter();
    oaki_gc_sweep_all();
    if (outside) oaki_leave(t);
}

bool test_ask_beside(void)
{
    oaki_thread *t = oaki_enter();
    bool asked = oaki_concurrent_force(t);
    oaki_leave(t); /* no lock of the host's before that: a thread that stands may have it */
    return asked;
}

void test_ask_or_collect(void)
{
    if (test_ask_beside()) return;
    ck_assert(oaki_dirty_denies());
    oak_collect();
}

void test_await_mark(void)
{
    do {
        test_ask_or_collect();
        oaki_os_yield();
    } while (!oaki_is_marking_concurrently());
}

void test_await_idle(void)
{
    while (oaki_concurrent_requested()) oaki_os_yield();
}

void test_no_beside(void)
{
    oaki_gc_set_concurrent(false);
}

void test_heap_start(oak_config c)
{
    test_heap_start_stressed(c);
    test_no_stress();
}

void test_host_is_known(void)
{
    oaki_cost_force(OAKI_COST_wake, 2000); /* or libc would keep a stack for the next thread */
    oaki_cost_probe();
    AO_store(&oaki_gc.plan.limits_ns, (AO_t)oaki_os_now_ns());
}

void test_host_is_kind(void)
{
    oaki_plan *plan = &oaki_gc.plan;
    oaki_cost_force(OAKI_COST_write, 700);
    for (size_t i = 0; i < OAKI_COUNT(plan->rate); i++) plan->rate[i].best = 1e9; /* ns a word */
    AO_store(&plan->rest, 0);
}

bool test_heap_tracked(oak_config c, size_t minors)
{
    test_heap_start(c);
    test_host_is_known();
    oaki_debug_switches.poison = oaki_debug_switches.verify = 1;
    oaki_debug_switches.minor = minors;
    oaki_debug_switches.markers = c.gc_threads;
    return !test_skip_untracked();
}

/* ---- roots ---- */

static struct {
    char *lo, *hi;
} kept;

static void exclude(char *lo, char *hi)
{
    if (lo < hi) ck_assert_int_eq(oak_root_exclude(lo, (size_t)(hi - lo)), 0);
}

static int exclude_data(struct dl_phdr_info *info, size_t size, void *arg)
{
    (void)size;
    (void)arg;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *h = &info->dlpi_phdr[i];
        char *lo = (char *)(info->dlpi_addr + h->p_vaddr), *hi = lo + h->p_memsz;
        if (h->p_type != PT_LOAD || !(h->p_flags & PF_W)) continue;
        if (kept.lo >= lo && kept.lo < hi) {
            exclude(lo, kept.lo);
            lo = kept.hi;
        }
        exclude(lo, hi);
    }
    return 0;
}

void test_only_root(const void *p, size_t n)
{
    kept.lo = (char *)p;
    kept.hi = kept.lo + n;
    dl_iterate_phdr(exclude_data, NULL);
}

/* ---- looking ---- */

oak_memstats test_stats(void)
{
    oak_memstats s;
    oak_memstats_read(&s);
    return s;
}

size_t test_objects(void)
{
    return test_stats().heap_objects;
}

size_t test_threads(void)
{
    return AO_load(&oaki_the_heap.nthreads);
}

size_t test_rss(void)
{
    char text[128];
    FILE *f = fopen("/proc/self/statm", "r");
    ck_assert_ptr_nonnull(f);
    ck_assert_ptr_nonnull(fgets(text, sizeof text, f));
    fclose(f);
    return strtoul(strchr(text, ' '), NULL, 10) * (size_t)sysconf(_SC_PAGESIZE);
}

/* Linux maps one page of zeros for all that is read before it is written. A guest's kernel may be
 * told to have none (pvm_no_zero_page): there, reading is as touching. */
bool test_reads_are_free(void)
{
    size_t n = (size_t)8 << 20;
    char *p = oaki_os_reserve(n, n);
    ck_assert_ptr_nonnull(p);
    ck_assert_int_eq(oaki_os_commit(p, n), 0);
    size_t before = test_rss();
    ck_assert(test_is_zero(p, n));
    bool free = test_rss() < before + n / 2;
    oaki_os_release(p, n);
    return free;
}

size_t test_smaps_rss(uintptr_t lo, uintptr_t hi)
{
    char line[512];
    size_t kib, total = 0;
    bool inside = false;
    FILE *f = fopen("/proc/self/smaps", "r");
    ck_assert_ptr_nonnull(f);
    while (fgets(line, sizeof line, f)) {
        unsigned long from, to;
        if (sscanf(line, "%lx-%lx ", &from, &to) == 2) inside = from >= lo && to <= hi;
        else if (inside && sscanf(line, "Rss: %zu kB", &kib) == 1) total += kib << 10;
    }
    fclose(f);
    return total;
}

bool test_is_zero(const void *p, size_t n)
{
    const char *c = p;
    return n == 0 || (c[0] == 0 && memcmp(c, c + 1, n - 1) == 0);
}

/* Slots of it that a cache has taken since it has the span. */
static unsigned taken_of(const oaki_span *s)
{
    unsigned sc = OAKI_SPANCLASS(s->kind, s->cls);
    for (const oaki_mcache *mc = oaki_the_heap.mcaches; mc; mc = mc->next)
        if (mc->span[sc] == s) return mc->taken[sc];
    return 0;
}

static const char *check_span(const oaki_span *s)
{
    const oaki_heap *h = &oaki_the_heap;
    const oaki_class *c = &oaki_classes[s->cls];
    size_t base = oaki_span_slot(s);
    unsigned handed_out = 0;
    if (s->cls == OAKI_CLASS_LARGE)
        return oaki_bit_get(h->alloc, base) == s->nalloc ? NULL : "a large object is one slot";
    if (s->npages != c->npages || s->size != c->size) return "a span is as its class says";
    for (unsigned i = 0; i < c->nslots; i++)
        handed_out += oaki_bit_get(h->alloc, base + (size_t)i * c->size);
    if (handed_out != s->nalloc + taken_of(s)) return "nalloc counts the slots that are set in A";
    if ((s->list == OAKI_LIST_PARTIAL) && s->nalloc == c->nslots)
        return "a full span is not partial";
    if ((s->kind == OAKI_TYPED) != (s->types != NULL)) return "typed spans have types";
    return NULL;
}

size_t test_zones_add_up(oak_zone_stats *all, size_t most)
{
    oak_zone_stats sum = { 0 };
    oak_memstats m;
    size_t n = oak_zones_read(all, most, &m);
    ck_assert_uint_le(n, most);
    for (size_t i = 0; i < n; i++) {
        sum.inuse += all[i].inuse;
        sum.live_bytes += all[i].live_bytes;
        sum.live_objects += all[i].live_objects;
        sum.total_alloc += all[i].total_alloc;
        sum.mallocs += all[i].mallocs;
        sum.frees += all[i].frees;
    }
    ck_assert_uint_eq(sum.inuse, m.heap_inuse);
    ck_assert_uint_eq(sum.live_bytes, m.heap_alloc);
    ck_assert_uint_eq(sum.live_objects, m.heap_objects);
    ck_assert_uint_eq(sum.total_alloc, m.total_alloc);
    ck_assert_uint_eq(sum.mallocs, m.mallocs);
    ck_assert_uint_eq(sum.frees, m.frees);
    return n;
}

const char *test_check_heap(void)
{
    oaki_heap *h = &oaki_the_heap;
    oaki_thread *t = oaki_gc_stop_begin();
    ck_assert_ptr_nonnull(t);
    const char *broken = oaki_pages_check();
    size_t end = AO_load(&h->used) >> OAKI_PAGE_SHIFT;
    for (size_t page = 0; page < end && !broken; page += h->spans[page].npages)
        if (h->pte[page] & OAKI_PTE_CLASS) broken = check_span(&h->spans[page]);
    if (!broken) broken = oaki_zones_check();
    oaki_gc_stop_end(t);
    return broken;
}

void test_assert_sound(void)
{
    const char *broken = test_check_heap();
    ck_assert_msg(!broken, "%s", broken);
}

size_t test_threads_named(const char *name)
{
    size_t n = 0;
    oaki_task task;
    DIR *d = opendir("/proc/self/task");
    if (!d) return SIZE_MAX; /* no assertion: in a child, Check's lock may be held for ever */
    for (struct dirent *e; (e = readdir(d)) != NULL;)
        n += oaki_task_read(atoi(e->d_name), &task) && strcmp(task.name, name) == 0;
    closedir(d);
    return n;
}

/* ---- children ---- */

void test_dies(void (*fn)(void *arg), void *arg, const char *line)
{
    char text[4096];
    int status = test_capture(fn, arg, text, sizeof text);
    ck_assert_msg(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT,
                  "status %x instead of an abort: %s", (unsigned)status, text);
    ck_assert_msg(strstr(text, line) != NULL, "\"%s\" is not in: %s", line, text);
}

int test_status_of(void (*fn)(void))
{
    int status = -1;
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        signal(SIGALRM, SIG_DFL);
        fn();
        _exit(4);
    }
    ck_assert_int_gt(pid, 0);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    return status;
}

void test_child(void (*fn)(void *arg), void *arg)
{
    char text[4096];
    int status = test_capture(fn, arg, text, sizeof text);
    ck_assert_msg(status == 0, "status %x: %s", (unsigned)status, text);
}
