/* standing.c - tests of what threads and fibers that stand still hold alone. */
#include "observe/standing.h"
#include "tests/heap.h"
#include "tests/threads.h"
#include <errno.h>
#include <oakum/gc.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

Suite *suite_observe_standing(void);

#define LIST ((size_t)20000)
#define BYTES (LIST * 64)
#define LUCK ((size_t)4096) /* that a word of chance may hold, or keep from being counted */

void *standing_global;
static AO_t phase, standing;
static AO_t tid[2];

static void make_list(void *arg)
{
    void **head = NULL;
    for (size_t i = 0; i < LIST; i++) {
        void **p = oak_alloc(64);
        p[0] = head;
        head = p;
    }
    *(void **)arg = head;
}

/* Holds a list of its own and the one it is given, until it is told to go on. */
static void *hold(void *arg)
{
    void *mine[2] = { NULL, standing_global };
    AO_t *me = arg;
    if (oak_thread_attach() != 0) return NULL;
    test_away(make_list, &mine[0]);
    AO_store(me, (AO_t)oaki_os_tid());
    __asm__ __volatile__("" : : "r"(mine) : "memory");
    oak_blocking_enter();
    AO_fetch_and_add1_full(&standing);
    test_wait(&phase, 1);
    oak_blocking_leave();
    __asm__ __volatile__("" : : "r"(mine) : "memory");
    return arg;
}

static void ask(void *arg)
{
    ck_assert_int_eq(oaki_standing_measure(arg), 0);
}

static oaki_standing measure(size_t nthreads)
{
    oaki_standing s = { .nthreads = nthreads };
    for (size_t i = 0; i < nthreads; i++) s.thread[i].tid = (int)AO_load(&tid[i]);
    test_away(ask, &s);
    return s;
}

static void assert_holds(uint64_t bytes, uint64_t objects, size_t lists)
{
    ck_assert_uint_le(bytes, lists * BYTES + LUCK);
    ck_assert_uint_ge(bytes + LUCK, lists * BYTES);
    ck_assert_uint_ge(objects + LUCK / 64, lists * LIST);
}

START_TEST(each_thread_holds_its_own)
{
    test_heap_start(test_config());
    test_away(make_list, &standing_global); /* which a global holds as well */
    pthread_t id[2];
    for (int i = 0; i < 2; i++) id[i] = test_start(hold, &tid[i]);
    test_wait(&standing, 2);
    oak_collect();
    oaki_standing s = measure(2);
    for (int i = 0; i < 2; i++) assert_holds(s.thread[i].bytes, s.thread[i].objects, 1);
    assert_holds(s.live_bytes, 3 * LIST, 3);
    ck_assert_uint_eq(s.fiber_bytes, 0);
    /* who is not asked about is a root like any other */
    s = measure(1);
    assert_holds(s.thread[0].bytes, s.thread[0].objects, 1);
    /* what both hold is the first one's */
    standing_global = NULL;
    s = measure(2);
    assert_holds(s.thread[0].bytes, s.thread[0].objects, 2);
    assert_holds(s.thread[1].bytes, s.thread[1].objects, 1);
    AO_store_release(&phase, 1);
    for (int i = 0; i < 2; i++) test_join(id[i]);
}
END_TEST

static void make_fiber(void *arg)
{
    size_t size = 64 << 10;
    char *stack = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(stack, MAP_FAILED);
    *(void **)arg = oak_fiber_new(stack, size, NULL);
    make_list(stack + size - 512);
}

START_TEST(parked_fibers_hold_what_their_stacks_do)
{
    test_heap_start(test_config());
    void **fibers = oak_alloc(4 * sizeof *fibers);
    uintptr_t hidden[3];
    standing_global = fibers;
    for (int i = 0; i < 2; i++) test_away(make_fiber, &fibers[i]);
    for (int i = 0; i < 2; i++) hidden[i] = ~(uintptr_t)fibers[i];
    hidden[2] = ~(uintptr_t)&phase; /* no object, as a fiber that has gone */
    test_away(make_list, &fibers[2]);
    oak_collect();
    oaki_standing s = { .fibers = hidden, .nfibers = 3 };
    test_away(ask, &s);
    assert_holds(s.fiber_bytes, s.fiber_objects, 2);
    assert_holds(s.live_bytes, 3 * LIST, 3);
    s.nfibers = 1;
    test_away(ask, &s);
    assert_holds(s.fiber_bytes, s.fiber_objects, 1);
}
END_TEST

/* ---- the detector ---- */

static const oak_finding *found(void)
{
    static oak_finding all[16];
    size_t n = oak_detector_findings(all, OAKI_COUNT(all));
    for (size_t i = 0; i < OAKI_MIN(n, OAKI_COUNT(all)); i++)
        if (all[i].kind == OAK_FINDING_STACKS_HOLD && all[i].active) return &all[i];
    return NULL;
}

START_TEST(the_detector_tells_of_it)
{
    oak_detector_config cfg;
    char who[64];
    test_heap_start(test_config());
    oak_detector_config_default(&cfg);
    cfg.held_bytes = BYTES / 2;
    ck_assert_int_eq(oak_detector_prepare(&cfg), 0);
    pthread_t id = test_start(hold, &tid[0]);
    test_wait(&standing, 1);
    for (int i = 0; i < cfg.blocked_looks; i++) {
        ck_assert_int_eq(oak_detector_scan(), 0);
        ck_assert_ptr_null(found());
    }
    ck_assert_int_eq(oak_detector_scan(), 0); /* a note is no fault */
    const oak_finding *f = found();
    ck_assert_ptr_nonnull(f);
    snprintf(who, sizeof who, "thread %d", (int)AO_load(&tid[0]));
    ck_assert_str_eq(f->subject, who);
    ck_assert_int_eq(f->severity, OAK_SEVERITY_NOTE);
    assert_holds(f->now, LIST, 1);
    static const char evidence[] = "has stood still for 4 looks and holds 1.2 MiB alone";
    ck_assert_msg(strstr(f->evidence, evidence) == f->evidence, "%s", f->evidence);
    AO_store_release(&phase, 1);
    test_join(id);
    ck_assert_int_eq(oak_detector_scan(), 0);
    ck_assert_ptr_null(found());
}
END_TEST

static AO_t told;

/* What a callback may do, on the detector's own thread too. */
static void interfere(const oak_finding *f, void *ctx)
{
    (void)f;
    (void)ctx;
    test_expect(oak_detector_prepare(NULL) == -1 && errno == EDEADLK, __LINE__);
    test_expect(oak_detector_start(NULL) == -1 && errno == EDEADLK, __LINE__);
    oak_detector_stop();
    AO_store_release(&told, 1);
}

START_TEST(a_callback_may_stop_the_detector)
{
    oak_detector_config cfg;
    test_heap_start(test_config());
    oak_detector_config_default(&cfg);
    cfg.interval_ms = 0;
    cfg.pace_ms = 0;
    cfg.watermark_bytes = 1 << 20;
    cfg.found = interfere;
    ck_assert_int_eq(oak_detector_start(&cfg), 0);
    while (!AO_load_acquire(&told)) { /* a high-water mark: it was there, and is garbage */
        void *p = oak_alloc_noscan((size_t)8 << 20);
        if (!p) ck_abort_msg("out of memory");
        oak_collect();
    }
    ck_assert_uint_eq(AO_load(&test_wrong), 0);
    oak_detector_stop();
    ck_assert_int_eq(oak_detector_start(NULL), 0); /* and another may begin */
    oak_detector_stop();
}
END_TEST

Suite *suite_observe_standing(void)
{
    Suite *s = suite_create("observe_standing");
    TCase *c = tcase_create("standing");
    tcase_set_timeout(c, 60);
    tcase_add_test(c, each_thread_holds_its_own);
    tcase_add_test(c, parked_fibers_hold_what_their_stacks_do);
    tcase_add_test(c, the_detector_tells_of_it);
    tcase_add_test(c, a_callback_may_stop_the_detector);
    suite_add_tcase(s, c);
    return s;
}
