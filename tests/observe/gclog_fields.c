/* gclog_fields.c - tests of each figure in a line of the log of collections, against what MemStats,
 * the clocks and the program itself say of that collection.
 *
 * No figure of the program is like another: idle pages are partly released, live bytes differ by
 * kind, stacks and static data are of different sizes, and more than one thread marks. */
#include "files.h"
#include "readjson.h"
#include "runtime/os.h"
#include "runtime/roots.h"
#include "tests/heap.h"
#include "tests/threads.h"

#include <check.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

Suite *suite_observe_gclog_fields(void);

#define KB ((size_t)1 << 10)
#define MB ((size_t)1 << 20)
#define BY_HAND (2 * MB) /* freed */

enum { CYCLES = 5, HOLDERS = 3, MARKERS = 3 };

/* What is known of a collection beside the log. */
typedef struct known {
    oak_memstats before, after;
    uint64_t begin, end, cpu; /* around it; CPU time of the process */
    int tid;
    size_t stacks, data; /* bytes of these roots */
} known;

static known seen[CYCLES];
void *gclog_fields_kept[64]; /* not static: nobody reads it */
static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
static AO_t ready;

static void *hold_a_deep_stack(void *arg)
{
    char frame[300 * KB];
    oak_thread_attach();
    memset(frame, 1, sizeof frame);
    __asm__ __volatile__("" : : "r"(frame) : "memory");
    AO_fetch_and_add1(&ready);
    pthread_mutex_lock(&gate);
    pthread_mutex_unlock(&gate);
    return arg;
}

static void add_root(const oaki_root *r, void *ctx)
{
    known *k = ctx;
    if (r->kind == OAKI_ROOT_STACK) k->stacks += (size_t)(r->hi - r->lo);
    if (r->kind == OAKI_ROOT_DATA) k->data += (size_t)(r->hi - r->lo);
}

static void collect(void *arg)
{
    known *k = arg;
    oaki_thread *t = oaki_gc_stop_begin();
    oaki_roots_visit(add_root, k);
    oaki_gc_stop_end(t);
    k->tid = oaki_os_tid();
    k->before = test_stats();
    k->begin = oaki_os_now_ns();
    uint64_t cpu = oaki_os_cpu_ns();
    oak_collect();
    k->cpu = oaki_os_cpu_ns() - cpu;
    k->end = oaki_os_now_ns();
    k->after = test_stats();
}

/* On threads of their own: a stale word of the stack would keep an object for one more cycle. */
static void keep(void *unused)
{
    static const uint64_t bits[] = { 1 };
    const oak_type *t = oak_type_bitmap("logged", 16, bits);
    (void)unused;
    for (size_t i = 0; i < 5; i++) gclog_fields_kept[i] = oak_alloc_noscan(MB);
    for (size_t i = 5; i < 7; i++) gclog_fields_kept[i] = oak_alloc(MB);
    gclog_fields_kept[7] = oak_alloc_typed(t, MB / 16);
}

static size_t bytes; /* of each object that is dropped */

static __attribute__((noinline)) void drop(void)
{
    for (size_t k = 8; k < 16; k++) gclog_fields_kept[k] = oak_alloc_noscan(bytes);
    memset(gclog_fields_kept + 8, 0, 8 * sizeof *gclog_fields_kept);
}

/* Its pointer would keep the object before it, too, whose end it is. */
static __attribute__((noinline)) void free_by_hand(void)
{
    oak_free(oak_alloc_noscan(BY_HAND));
}

/* Deeper in the stack than a collection comes: a later thread may get the same memory. */
static void run_deep(void *fn)
{
    char frame[100 * KB];
    memset(frame, 0, sizeof frame);
    __asm__ __volatile__("" : : "r"(frame) : "memory");
    (*(void (**)(void))fn)();
    __asm__ __volatile__("" : : "r"(frame) : "memory");
}

static void away(void (*fn)(void))
{
    test_away(run_deep, &fn);
}

/* Every second one on another thread. */
static void run_cycles(void)
{
    pthread_t id[HOLDERS];
    pthread_mutex_lock(&gate);
    for (AO_t i = 0; i < HOLDERS; i++) {
        id[i] = test_start(hold_a_deep_stack, NULL);
        test_wait(&ready, i + 1);
    }
    test_away(keep, NULL);
    for (size_t i = 0; i < CYCLES; i++) {
        bytes = (i + 3) * 128 * KB;
        away(drop);
        if (i == 2) oak_scavenge();
        away(free_by_hand); /* so idle pages are of both kinds */
        if (i % 2) test_away(collect, &seen[i]);
        else collect(&seen[i]);
    }
    pthread_mutex_unlock(&gate);
    for (size_t i = 0; i < HOLDERS; i++) test_join(id[i]);
}

/* ---- lines ---- */

static const json *lines[CYCLES];

static void read_lines(const char *path)
{
    char *save, *line = strtok_r(test_read_file(path), "\n", &save);
    for (size_t i = 0; i < CYCLES; i++, line = strtok_r(NULL, "\n", &save)) {
        ck_assert_ptr_nonnull(line);
        lines[i] = json_read(line);
    }
    ck_assert_ptr_null(line);
}

static void check_times(const json *l, const known *k)
{
    const json *cpu = json_get(l, "cpu_ns");
    uint64_t begin = json_u64(l, "begin_ns"), pause = json_u64(l, "pause_ns");
    uint64_t all = json_u64(cpu, "all"), stop = json_u64(cpu, "stop"), mark = json_u64(cpu, "mark");
    ck_assert_uint_eq(json_u64(l, "tid"), (uint64_t)k->tid);
    ck_assert_uint_eq(json_u64(l, "end_unix_ns"), k->after.last_gc);
    ck_assert_uint_eq(pause, k->after.pause_total_ns - k->before.pause_total_ns);
    ck_assert_uint_eq(json_u64(l, "longest_stop_ns"), pause);
    ck_assert_uint_ge(begin, k->begin);
    ck_assert_uint_le(begin + pause, k->end);
    ck_assert_uint_gt(mark, 0);
    ck_assert_uint_le(stop + mark, all);
    ck_assert_uint_le(all, k->cpu);
    double fraction = json_number(l, "gc_cpu_fraction");
    ck_assert(fraction > 0 && fraction <= 1);
}

static void check_heap(const json *l, const known *k)
{
    const json *heap = json_get(l, "heap");
    ck_assert_uint_eq(json_u64(heap, "start"), k->before.heap_alloc);
    ck_assert_uint_eq(json_u64(heap, "end"), k->before.heap_alloc);
    ck_assert_uint_eq(json_u64(heap, "live"), k->after.heap_alloc);
    ck_assert_uint_eq(json_u64(heap, "freed"), k->before.heap_alloc - k->after.heap_alloc);
    ck_assert_uint_eq(json_u64(heap, "next"), k->after.next_gc);
    /* of the end of the pause: what was found dead is still there */
    ck_assert_uint_eq(json_u64(heap, "inuse"), k->before.heap_inuse);
    ck_assert_uint_eq(json_u64(heap, "idle"), k->before.heap_idle);
    ck_assert_uint_eq(json_u64(heap, "released"), k->before.heap_released);
}

static void check_roots(const json *l, const known *k)
{
    const json *roots = json_get(l, "roots");
    uint64_t stacks = json_u64(roots, "stacks");
    ck_assert_uint_eq(json_u64(roots, "globals"), k->data);
    /* but for how deep the collecting thread was */
    ck_assert_uint_ge(k->stacks, HOLDERS * 300 * KB);
    ck_assert_uint_ge(stacks + 16 * KB, k->stacks);
    ck_assert_uint_le(stacks, k->stacks + 16 * KB);
    ck_assert_uint_gt(k->data > stacks ? k->data - stacks : stacks - k->data, 64 * KB);
}

static void check_threads(const json *l, const known *k)
{
    ck_assert_uint_eq(json_u64(l, "threads"), k->after.threads);
    ck_assert_uint_ge(k->after.threads, HOLDERS + 1);
    ck_assert_uint_eq(json_u64(l, "stopped"), k->after.threads - 1);
    ck_assert_uint_eq(json_u64(l, "markers"), MARKERS);
    ck_assert_uint_eq(json_u64(l, "processors"), oaki_os_cpus());
}

static void check_near(uint64_t bytes, size_t kept)
{
    ck_assert_uint_ge(bytes, kept);
    ck_assert_uint_lt(bytes, kept + 100 * KB);
}

/* Of the cycle before, and what has to do with it. */
static void check_after(const json *l, const json *last, const known *k, const known *before)
{
    const json *heap = json_get(l, "heap"), *swept = json_get(l, "swept_before");
    uint64_t noscan = json_u64(swept, "noscan"), typed = json_u64(swept, "typed"),
             scan = json_u64(swept, "scan"), begin = json_u64(l, "begin_ns");
    ck_assert_uint_eq(json_u64(heap, "goal"), before->after.next_gc);
    ck_assert_uint_eq(json_u64(heap, "allocated"),
                      k->before.total_alloc - before->after.total_alloc - BY_HAND);
    ck_assert_uint_eq(json_u64(l, "since_start_ns") - json_u64(last, "since_start_ns"),
                      begin - json_u64(last, "begin_ns"));
    ck_assert_uint_eq(noscan + typed + scan, before->after.heap_alloc);
    check_near(noscan, 5 * MB);
    check_near(scan, 2 * MB);
    check_near(typed, MB);
    ck_assert_uint_gt(json_u64(swept, "rest_ns"), 0);
    ck_assert_uint_le(json_u64(swept, "rest_ns"), begin - k->begin);
    ck_assert_uint_ge(json_u64(swept, "end_ns"), json_u64(last, "begin_ns"));
    ck_assert_uint_le(json_u64(swept, "end_ns"), begin);
}

START_TEST(each_figure_is_what_others_say)
{
    oak_config c = test_config();
    c.gc_threads = MARKERS;
    c.gc_percent = 1000;
    test_heap_start(c);
    test_once();
    const char *path = test_path("log");
    ck_assert_int_eq(oak_gclog_start(path), 0);
    run_cycles();
    ck_assert_int_eq(oak_gclog_stop(), 0);
    read_lines(path);
    for (size_t i = 0; i < CYCLES; i++) {
        ck_assert_uint_eq(json_u64(lines[i], "gc"), seen[i].after.num_gc);
        check_times(lines[i], &seen[i]);
        check_heap(lines[i], &seen[i]);
        check_roots(lines[i], &seen[i]);
        check_threads(lines[i], &seen[i]);
        if (i > 0) check_after(lines[i], lines[i - 1], &seen[i], &seen[i - 1]);
    }
    /* no two of them are the same by chance */
    const oak_memstats *s = &seen[2].before;
    ck_assert_uint_gt(s->heap_released, 0);
    ck_assert_uint_lt(s->heap_released, s->heap_idle);
    ck_assert_uint_ne(s->heap_idle, s->heap_inuse);
}
END_TEST

Suite *suite_observe_gclog_fields(void)
{
    Suite *s = suite_create("observe_gclog_fields");
    TCase *t = tcase_create("fields");
    tcase_add_test(t, each_figure_is_what_others_say);
    suite_add_tcase(s, t);
    return s;
}
