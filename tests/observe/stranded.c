/* stranded.c - tests of which waiting threads nobody can wake. */
#include "observe/stranded.h"
#include "tests/heap.h"
#include "tests/threads.h"
#include <oakum/detector.h>
#include <oakum/gc.h>
#include <stdlib.h>
#include <string.h>

Suite *suite_observe_stranded(void);

#define THREADS 5

/* Who waits for what, and holds what else: by number of the channel; -1: nothing. */
typedef struct post {
    int waits_for, holds;
    AO_t tid;
} post;

void *stranded_global; /* channel 0 */

static uintptr_t channels[THREADS]; /* inverted: they keep nothing alive */
static post posts[THREADS];
static AO_t go, at_work;

static void *wait_until_told(void *arg)
{
    AO_fetch_and_add1_full(&at_work);
    test_wait(&go, 1);
    return arg;
}

static void *stand(void *arg)
{
    post *p = arg;
    void *mine[2] = { p->waits_for < 0 ? (void *)&go : (void *)~channels[p->waits_for],
                      p->holds < 0 ? NULL : (void *)~channels[p->holds] };
    if (oak_thread_attach() != 0) return NULL;
    AO_store(&p->tid, (AO_t)oaki_os_tid());
    __asm__ __volatile__("" : : "r"(mine) : "memory");
    (void)oak_blocking_wait(wait_until_told, NULL, mine[0]);
    __asm__ __volatile__("" : : "r"(mine) : "memory");
    return arg;
}

static void make_channels(void *arg)
{
    (void)arg;
    stranded_global = oak_alloc(200);
    channels[0] = ~(uintptr_t)stranded_global;
    for (int i = 1; i < THREADS; i++) {
        /* apart: a stack's word for the start of one counts for the one before */
        if (!oak_alloc(200)) return;
        channels[i] = ~(uintptr_t)oak_alloc(200);
    }
}

static void start(pthread_t *id, const post *how)
{
    test_away(make_channels, NULL);
    for (int i = 0; i < THREADS; i++) {
        posts[i] = how[i];
        id[i] = test_start(stand, &posts[i]);
    }
    test_wait(&at_work, THREADS);
}

static void end(const pthread_t *id)
{
    AO_store_release(&go, 1);
    for (int i = 0; i < THREADS; i++) test_join(id[i]);
}

static int by_number(const void *a, const void *b)
{
    return *(const int *)a < *(const int *)b ? -1 : *(const int *)a > *(const int *)b;
}

static void ask(void *arg)
{
    ck_assert_int_eq(oaki_stranded_find(arg), 0);
}

static oaki_stranded *find(void)
{
    oaki_stranded *s = calloc(1, oaki_stranded_size(THREADS));
    for (int i = 0; i < THREADS; i++) s->tid[s->asked++] = (int)AO_load(&posts[i].tid);
    qsort(s->tid, s->asked, sizeof s->tid[0], by_number);
    test_away(ask, s);
    return s;
}

static bool is_stranded(const oaki_stranded *s, int i)
{
    for (size_t k = 0; k < s->n; k++)
        if (s->tid[k] == (int)AO_load(&posts[i].tid)) return true;
    return false;
}

/* 0 waits for what a global reaches, and holds what 1 waits for; 2 waits for its own, and holds
 * what 3 waits for; 4 waits for what is not in the heap. */
static const post chain[THREADS] = {
    { 0, 1, 0 }, { 1, -1, 0 }, { 2, 3, 0 }, { 3, -1, 0 }, { -1, 4, 0 }
};

START_TEST(who_may_be_woken_may_wake_others)
{
    pthread_t id[THREADS];
    test_heap_start(test_config());
    start(id, chain);
    oaki_stranded *s = find();
    ck_assert_uint_eq(s->asked, THREADS);
    ck_assert_uint_eq(s->n, 2);
    ck_assert(is_stranded(s, 2) && is_stranded(s, 3));
    ck_assert_uint_ge(s->objects, 2);
    ck_assert_uint_ge(s->bytes, 400);
    free(s);
    /* without the global the first two wait for ever as well; who waits for the system does not */
    stranded_global = NULL;
    s = find();
    ck_assert_uint_eq(s->n, 4);
    ck_assert(!is_stranded(s, 4));
    free(s);
    end(id);
    /* nobody waits any more */
    s = find();
    ck_assert_uint_eq(s->n, 0);
    free(s);
}
END_TEST

/* ---- the detector ---- */

static const oak_finding *found(void)
{
    static oak_finding all[16];
    size_t n = oak_detector_findings(all, OAKI_COUNT(all));
    for (size_t i = 0; i < OAKI_MIN(n, OAKI_COUNT(all)); i++)
        if (all[i].kind == OAK_FINDING_THREADS_STRANDED && all[i].active) return &all[i];
    return NULL;
}

START_TEST(the_detector_counts_them)
{
    pthread_t id[THREADS];
    oak_detector_config cfg;
    test_heap_start(test_config());
    oak_detector_config_default(&cfg);
    ck_assert_int_eq(oak_detector_prepare(&cfg), 0);
    start(id, chain);
    for (int i = 0; i < cfg.blocked_looks; i++) {
        ck_assert_int_eq(oak_detector_scan(), 0);
        ck_assert_ptr_null(found());
    }
    ck_assert_int_eq(oak_detector_scan(), 1);
    const oak_finding *f = found();
    ck_assert_ptr_nonnull(f);
    ck_assert_int_eq(f->severity, OAK_SEVERITY_WARNING);
    ck_assert_str_eq(oak_finding_name(f->kind), "threads-stranded");
    ck_assert_uint_eq(f->now, 2);
    ck_assert_msg(strncmp(f->evidence, "2 threads, ", 11) == 0, "%s", f->evidence);
    end(id);
    ck_assert_int_eq(oak_detector_scan(), 0);
    ck_assert_ptr_null(found());
}
END_TEST

Suite *suite_observe_stranded(void)
{
    Suite *s = suite_create("observe_stranded");
    TCase *t = tcase_create("all");
    tcase_add_test(t, who_may_be_woken_may_wake_others);
    tcase_add_test(t, the_detector_counts_them);
    suite_add_tcase(s, t);
    return s;
}
