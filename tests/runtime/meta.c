/* meta.c - tests of the metadata allocator, whichever back end this program was built with:
 * check_oakum has the built-in one, check_jemalloc the other. Random work is checked against what
 * was written, and the accounts against what is held. */
#include "runtime/collector.h"
#include "runtime/meta.h"
#include "runtime/os.h"
#include "runtime/thread.h"

#include <check.h>
#include <errno.h>
#include <oakum/oakum.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

Suite *suite_runtime_meta(void);

#define BLOCKS 2000
#define THREADS 4

typedef struct block {
    unsigned char *p;
    size_t n;
    unsigned char fill;
} block;

static void start(void)
{
    ck_assert_int_eq(oaki_meta_init(), 0);
}

static size_t all_in_use(void)
{
    size_t sum = 0;
    for (int use = 0; use < OAKI_META_USES; use++) sum += oaki_meta_in_use(use);
    return sum;
}

static size_t random_size(unsigned *seed)
{
    switch (rand_r(seed) % 8) {
    case 0:
        return (size_t)rand_r(seed) % 17;
    case 1:
        return 8000 + (size_t)rand_r(seed) %
                          400; /* about where the built-in back end's small blocks end */
    case 2:
        return (size_t)rand_r(seed) % 100000;
    default:
        return (size_t)rand_r(seed) % 1000;
    }
}

static bool filled(const block *b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (b->p[i] != b->fill) return false;
    return true;
}

static void fill(block *b, unsigned *seed)
{
    b->fill = (unsigned char)rand_r(seed);
    if (b->n > 0) memset(b->p, b->fill, b->n);
}

static void block_new(block *b, unsigned *seed, oaki_meta_use use)
{
    b->n = random_size(seed);
    bool zero = rand_r(seed) % 2;
    b->p = zero ? oaki_meta_zalloc(b->n, use) : oaki_meta_alloc(b->n, use);
    ck_assert_ptr_nonnull(b->p);
    ck_assert_uint_eq((uintptr_t)b->p % 16, 0);
    b->fill = 0;
    ck_assert(!zero || filled(b, b->n));
    fill(b, seed);
}

static void block_resize(block *b, unsigned *seed, oaki_meta_use use)
{
    size_t n = random_size(seed);
    unsigned char *p = oaki_meta_realloc(b->p, b->n, n, use);
    ck_assert_ptr_nonnull(p);
    b->p = p;
    ck_assert(filled(b, OAKI_MIN(n, b->n)));
    b->n = n;
    fill(b, seed);
}

static void block_free(block *b, oaki_meta_use use)
{
    ck_assert(filled(b, b->n));
    oaki_meta_free(b->p, b->n, use);
    b->p = NULL;
}

static void *random_work(void *arg)
{
    unsigned seed = (unsigned)(uintptr_t)arg;
    oaki_meta_use use = seed % OAKI_META_USES;
    block *blocks = calloc(BLOCKS, sizeof *blocks);
    for (int i = 0, n = getenv("UNDER_VALGRIND") ? 6000 : 60000; i < n; i++) {
        block *b = &blocks[rand_r(&seed) % BLOCKS];
        if (!b->p)
            block_new(b, &seed, use);
        else if (rand_r(&seed) % 3)
            block_free(b, use);
        else
            block_resize(b, &seed, use);
    }
    for (int i = 0; i < BLOCKS; i++)
        if (blocks[i].p) block_free(&blocks[i], use);
    free(blocks);
    return NULL;
}

START_TEST(the_back_end_is_the_one_that_was_built)
{
#ifdef OAKI_META_JEMALLOC
    ck_assert_int_eq(strncmp(oaki_meta_backend(), "jemalloc 5.", 11), 0);
    ck_assert_ptr_null(strchr(oaki_meta_backend(), '-'));
#else
    ck_assert_str_eq(oaki_meta_backend(), "built-in");
#endif
}
END_TEST

START_TEST(random_work_keeps_contents_and_returns_all)
{
    unsigned seed = (unsigned)oaki_os_now_ns();
    pthread_t t[THREADS];
    printf("runtime_meta: seed %u\n", seed);
    size_t before = oaki_meta_mapped();
    for (int i = 0; i < THREADS; i++)
        ck_assert_int_eq(
            pthread_create(&t[i], NULL, random_work, (void *)(uintptr_t)(seed + (unsigned)i)), 0);
    for (int i = 0; i < THREADS; i++) pthread_join(t[i], NULL);
    ck_assert_uint_eq(all_in_use(), 0);
#ifndef OAKI_META_JEMALLOC
    ck_assert_uint_le(oaki_meta_mapped(), before + 5 * 65536); /* spare, and a record */
#else
    (void)before;
#endif
}
END_TEST

START_TEST(accounts_are_kept_for_each_use)
{
    void *p = oaki_meta_alloc(100, OAKI_META_GC), *q = oaki_meta_alloc(100000, OAKI_META_MSPAN);
    size_t gc = oaki_meta_in_use(OAKI_META_GC), mspan = oaki_meta_in_use(OAKI_META_MSPAN);
    ck_assert_uint_ge(gc, 100);
    ck_assert_uint_le(gc, 125);
    ck_assert_uint_ge(mspan, 100000);
    ck_assert_uint_le(mspan, 125000);
    ck_assert_uint_eq(oaki_meta_in_use(OAKI_META_OTHER), 0);
    ck_assert_uint_ge(oaki_meta_mapped(), gc + mspan);
    ck_assert_uint_le(oaki_meta_resident(), oaki_meta_mapped());
    p = oaki_meta_realloc(p, 100, 5000, OAKI_META_GC);
    ck_assert_uint_ge(oaki_meta_in_use(OAKI_META_GC), 5000);
    p = oaki_meta_realloc(p, 5000, 100, OAKI_META_GC);
    ck_assert_uint_eq(oaki_meta_in_use(OAKI_META_GC), gc);
    oaki_meta_free(p, 100, OAKI_META_GC);
    oaki_meta_free(q, 100000, OAKI_META_MSPAN);
    oaki_meta_free(NULL, 10, OAKI_META_OTHER);
    ck_assert_uint_eq(all_in_use(), 0);
}
END_TEST

START_TEST(sizes_round_up_by_a_quarter_at_most)
{
    for (size_t n = 64; n < 70000; n += n / 9) {
        void *p = oaki_meta_alloc(n, OAKI_META_OTHER);
        size_t rounded = oaki_meta_in_use(OAKI_META_OTHER);
        ck_assert_uint_ge(rounded, n);
        ck_assert_uint_le(rounded, OAKI_MAX(n + n / 4, OAKI_ALIGN_UP(n, 4096)));
        oaki_meta_free(p, n, OAKI_META_OTHER);
    }
}
END_TEST

START_TEST(freed_small_blocks_are_used_again)
{
    void *p[5000];
    for (size_t i = 0; i < OAKI_COUNT(p); i++) p[i] = oaki_meta_alloc(1000, OAKI_META_OTHER);
    size_t mapped = oaki_meta_mapped();
    for (int round = 0; round < 4; round++) {
        for (size_t i = 0; i < OAKI_COUNT(p); i += 2) oaki_meta_free(p[i], 1000, OAKI_META_OTHER);
        for (size_t i = 0; i < OAKI_COUNT(p); i += 2) p[i] = oaki_meta_alloc(1000, OAKI_META_OTHER);
    }
    ck_assert_uint_eq(oaki_meta_mapped(), mapped);
    for (size_t i = 0; i < OAKI_COUNT(p); i++) oaki_meta_free(p[i], 1000, OAKI_META_OTHER);
    ck_assert_uint_eq(all_in_use(), 0);
    ck_assert_uint_lt(oaki_meta_mapped(), mapped - 2000000);
}
END_TEST

START_TEST(memory_of_large_blocks_is_given_back)
{
    size_t n = (size_t)32 << 20, before = oaki_meta_mapped();
    void *p = oaki_meta_zalloc(n, OAKI_META_OTHER);
    ck_assert_ptr_nonnull(p);
    memset(p, 1, n);
    ck_assert_uint_ge(oaki_meta_resident(), n);
    oaki_meta_free(p, n, OAKI_META_OTHER);
    ck_assert_uint_eq(all_in_use(), 0);
    ck_assert_uint_lt(oaki_meta_resident(), (size_t)1 << 20);
    ck_assert_uint_le(oaki_meta_mapped(), before + ((size_t)1 << 20));
}
END_TEST

#ifdef OAKI_META_JEMALLOC
/* What lies in mappings that hold one of the blocks. The built-in back end's may be one mapping
 * with whatever lies beside them. */
static size_t smaps_rss(const block *blocks, size_t n)
{
    char line[512];
    size_t sum = 0, rss;
    bool ours = false;
    FILE *f = fopen("/proc/self/smaps", "r");
    ck_assert_ptr_nonnull(f);
    while (fgets(line, sizeof line, f)) {
        uintptr_t lo, hi;
        if (sscanf(line, "%lx-%lx ", &lo, &hi) == 2) {
            ours = false;
            for (size_t i = 0; i < n && !ours; i++)
                ours = (uintptr_t)blocks[i].p >= lo && (uintptr_t)blocks[i].p < hi;
        } else if (ours && sscanf(line, "Rss: %zu kB", &rss) == 1) {
            sum += rss << 10;
        }
    }
    fclose(f);
    return sum;
}

/* All that is handed out has been written, so that the system has memory for it; jemalloc's
 * bookkeeping, which comes in 2 MiB, and the rest of its slabs have none yet. */
START_TEST(what_is_said_to_be_held_is_what_smaps_says)
{
    unsigned seed = 1;
    block *blocks = calloc(BLOCKS, sizeof *blocks);
    for (size_t i = 0; i < BLOCKS; i++) {
        blocks[i].n = random_size(&seed) + 1;
        blocks[i].p = oaki_meta_alloc(blocks[i].n, OAKI_META_OTHER);
        ck_assert_ptr_nonnull(blocks[i].p);
        memset(blocks[i].p, 1, blocks[i].n);
    }
    size_t mapped = oaki_meta_mapped(), rss = smaps_rss(blocks, BLOCKS);
    ck_assert_uint_ge(rss + ((size_t)4 << 20), mapped);
    ck_assert_uint_le(rss, mapped + ((size_t)1 << 20));
    for (size_t i = 0; i < BLOCKS; i++) oaki_meta_free(blocks[i].p, blocks[i].n, OAKI_META_OTHER);
    free(blocks);
}
END_TEST
#endif

#ifndef OAKI_META_JEMALLOC
static long faults(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return u.ru_minflt;
}

START_TEST(a_block_of_middle_size_comes_and_goes_without_the_system)
{
    size_t n = 200000;
    long before = 0;
    for (int i = 0; i < 1000; i++) {
        void *p = (i % 2 ? oaki_meta_alloc : oaki_meta_zalloc)(n, OAKI_META_OTHER);
        ck_assert_ptr_nonnull(p);
        memset(p, 1, n);
        oaki_meta_free(p, n, OAKI_META_OTHER);
        if (i == 0) before = faults();
    }
    ck_assert_int_lt(faults() - before, 1000); /* not 49 of each */
}
END_TEST

START_TEST(a_large_table_moves_when_it_grows)
{
    size_t n = (size_t)32 << 20;
    uint64_t *p = oaki_meta_alloc(n, OAKI_META_OTHER);
    ck_assert_ptr_nonnull(p);
    for (size_t i = 0; i < n / sizeof *p; i++) p[i] = i;
    long before = faults();
    p = oaki_meta_realloc(p, n, 2 * n, OAKI_META_OTHER);
    ck_assert_ptr_nonnull(p);
    ck_assert_int_lt(faults() - before, 1000); /* a copy has 8192 */
    ck_assert_uint_eq(oaki_meta_in_use(OAKI_META_OTHER), 2 * n);
    for (size_t i = 0; i < n / sizeof *p; i++)
        if (p[i] != i) ck_abort_msg("word %zu was changed", i);
    p = oaki_meta_realloc(p, 2 * n, n / 2, OAKI_META_OTHER);
    ck_assert_ptr_nonnull(p);
    ck_assert_uint_eq(oaki_meta_in_use(OAKI_META_OTHER), n / 2);
    ck_assert_uint_lt(oaki_meta_mapped(), n);
    oaki_meta_free(p, n / 2, OAKI_META_OTHER);
    ck_assert_uint_eq(all_in_use(), 0);
}
END_TEST

/* Most of many blocks go, in no order: what is kept of them has a bound, and has no memory. */
START_TEST(what_is_spare_is_a_small_part_of_all)
{
    enum { N = 40320, GROUP = 252 }; /* four slabs */
    static void *p[N];
    unsigned seed = 1;
    size_t n = 1000;
    for (size_t i = 0; i < N; i++) p[i] = oaki_meta_zalloc(n, OAKI_META_OTHER);
    for (size_t i = 0; i < N; i += GROUP) /* some regions are empty then, some are not */
        if (rand_r(&seed) % 4)
            for (size_t j = i; j < i + GROUP; j++) {
                oaki_meta_free(p[j], n, OAKI_META_OTHER);
                p[j] = NULL;
            }
    size_t used = oaki_meta_in_use(OAKI_META_OTHER);
    ck_assert_uint_le(oaki_meta_mapped(), used + used / 8 + 5 * 65536);
    for (size_t i = 0; i < N; i++) oaki_meta_free(p[i], n, OAKI_META_OTHER);
    ck_assert_uint_le(oaki_meta_mapped(), 5 * 65536);
}
END_TEST

/* Many regions with room for a slab are in front of the empty one. The run is longer than a slab,
 * and is taken there: another empty region would not be kept. */
START_TEST(a_long_run_is_taken_from_the_one_empty_region)
{
    enum { SLAB = 64 << 10, EACH = 15, N = 40 * EACH };
    static char *slab[N];
    size_t n = 200000;
    for (size_t i = 0; i < N; i++) {
        slab[i] = oaki_meta_alloc(SLAB, OAKI_META_OTHER);
        ck_assert_ptr_nonnull(slab[i]);
        ck_assert_uint_eq((uintptr_t)slab[i] % SLAB, 0);
    }
    uintptr_t region = (uintptr_t)slab[2 * EACH] >> 20;
    for (int pass = 0; pass < 2; pass++)
        for (size_t i = 0; i < N; i++) {
            if (!slab[i] || ((uintptr_t)slab[i] >> 20 == region) == pass) continue;
            if (pass && (uintptr_t)slab[i] / SLAB % 2 == 0) continue;
            oaki_meta_free(slab[i], SLAB, OAKI_META_OTHER);
            slab[i] = NULL;
        }
    void *p = oaki_meta_alloc(n, OAKI_META_OTHER);
    ck_assert_ptr_nonnull(p);
    ck_assert_uint_eq((uintptr_t)p >> 20, region);
    oaki_meta_free(p, n, OAKI_META_OTHER);
    for (size_t i = 0; i < N; i++)
        if (slab[i]) oaki_meta_free(slab[i], SLAB, OAKI_META_OTHER);
    ck_assert_uint_eq(all_in_use(), 0);
}
END_TEST
#endif

/* Requests at a limit are answered in the stop. A block of either time may go in the other. */
START_TEST(blocks_come_and_go_in_a_stop)
{
    static const size_t sizes[] = { 1, 100, 5000, 300000 };
    enum { SIZES = sizeof sizes / sizeof *sizes };
    char *before[SIZES], *within[SIZES];
    ck_assert_int_eq(oak_init(NULL), 0);
    oaki_gc_stop_end(oaki_gc_stop_begin()); /* this thread's records are made */
    size_t used = all_in_use(), mapped = oaki_meta_mapped();
    for (int round = 0; round < 20; round++) {
        oaki_thread *t = oaki_enter();
        for (size_t i = 0; i < SIZES; i++) before[i] = oaki_meta_zalloc(sizes[i], OAKI_META_GC);
        oaki_leave(t);
        t = oaki_gc_stop_begin();
        for (size_t i = 0; i < SIZES; i++) {
            within[i] = oaki_meta_zalloc(sizes[i], OAKI_META_GC);
            ck_assert_ptr_nonnull(within[i]);
            ck_assert(within[i][0] == 0 && within[i][sizes[i] - 1] == 0);
            memset(within[i], 1, sizes[i]);
            oaki_meta_free(before[i], sizes[i], OAKI_META_GC);
        }
        oaki_gc_stop_end(t);
        t = oaki_enter();
        for (size_t i = 0; i < SIZES; i++) oaki_meta_free(within[i], sizes[i], OAKI_META_GC);
        oaki_leave(t);
        ck_assert_uint_eq(all_in_use(), used);
    }
    ck_assert_uint_le(oaki_meta_mapped(), mapped + (2 << 20));
}
END_TEST

START_TEST(no_memory_is_a_value)
{
    errno = 0;
    ck_assert_ptr_null(oaki_meta_alloc(SIZE_MAX - 100, OAKI_META_OTHER));
    ck_assert_int_eq(errno, ENOMEM);
    ck_assert_ptr_null(oaki_meta_zalloc((size_t)1 << 60, OAKI_META_OTHER));
    char *p = oaki_meta_alloc(10, OAKI_META_OTHER);
    memcpy(p, "123456789", 10);
    ck_assert_ptr_null(oaki_meta_realloc(p, 10, SIZE_MAX, OAKI_META_OTHER));
    ck_assert_ptr_null(oaki_meta_realloc(p, 10, (size_t)1 << 60, OAKI_META_OTHER));
    ck_assert_str_eq(p, "123456789");
    oaki_meta_free(p, 10, OAKI_META_OTHER);
    ck_assert_uint_eq(all_in_use(), 0);
}
END_TEST

START_TEST(a_table_grows_by_doubling)
{
    oaki_vec v;
    oaki_vec_init(&v, sizeof(uint64_t), OAKI_META_GC);
    for (uint64_t i = 0; i < 100000; i++) {
        uint64_t *item = oaki_vec_push(&v);
        if (!item) ck_abort_msg("out of memory");
        *item = i * i;
    }
    ck_assert_uint_eq(v.len, 100000);
    ck_assert_uint_le(v.cap, 200000);
    for (uint64_t i = 0; i < v.len; i++)
        if (((uint64_t *)v.items)[i] != i * i) ck_abort_msg("item %zu was changed", (size_t)i);
    ck_assert_uint_ge(oaki_meta_in_use(OAKI_META_GC), v.cap * v.item);
    ck_assert_int_eq(oaki_vec_reserve(&v, 10), 0);
    ck_assert_int_eq(oaki_vec_reserve(&v, SIZE_MAX / 4), -1);
    ck_assert_uint_eq(v.len, 100000);
    oaki_vec_free(&v);
    ck_assert_uint_eq(all_in_use(), 0);
    ck_assert_uint_eq(v.len + v.cap, 0);
    ck_assert_ptr_nonnull(oaki_vec_push(&v)); /* may be used again */
    oaki_vec_free(&v);
}
END_TEST

static AO_t churning;

static void *churn(void *arg)
{
    while (AO_load_acquire(&churning)) {
        void *p = oaki_meta_alloc(200, OAKI_META_OTHER);
        oaki_meta_free(p, 200, OAKI_META_OTHER);
    }
    return arg;
}

/* Oakum's own handlers call oaki_meta_fork too, after locks that come before its; but jemalloc's
 * are needed where that is what allocates. */
#ifdef OAKI_META_JEMALLOC
#define FORK fork
#else
#define FORK _Fork
#endif

/* Fork while another thread is allocating; the child allocates. Without the stages it would wait
 * for a lock that nobody holds. */
START_TEST(a_forked_child_can_allocate)
{
    pthread_t t;
    AO_store_release(&churning, 1);
    ck_assert_int_eq(pthread_create(&t, NULL, churn, NULL), 0);
    for (int i = 0; i < 200; i++) {
        oaki_meta_fork(0);
        pid_t child = FORK();
        if (child == 0) {
            oaki_meta_fork(2);
            void *p = oaki_meta_alloc(200, OAKI_META_OTHER);
            oaki_meta_free(p, 200, OAKI_META_OTHER);
            _exit(p ? 0 : 1);
        }
        oaki_meta_fork(1);
        int status;
        ck_assert_int_eq(waitpid(child, &status, 0), child);
        ck_assert_int_eq(status, 0);
    }
    AO_store_release(&churning, 0);
    pthread_join(t, NULL);
}
END_TEST

Suite *suite_runtime_meta(void)
{
    Suite *s = suite_create("runtime_meta");
    TCase *tc = tcase_create("meta");
    tcase_add_checked_fixture(tc, start, NULL);
    tcase_add_test(tc, the_back_end_is_the_one_that_was_built);
    tcase_add_test(tc, random_work_keeps_contents_and_returns_all);
    tcase_add_test(tc, accounts_are_kept_for_each_use);
    tcase_add_test(tc, sizes_round_up_by_a_quarter_at_most);
    tcase_add_test(tc, freed_small_blocks_are_used_again);
    tcase_add_test(tc, memory_of_large_blocks_is_given_back);
#ifdef OAKI_META_JEMALLOC
    tcase_add_test(tc, what_is_said_to_be_held_is_what_smaps_says);
#else
    tcase_add_test(tc, what_is_spare_is_a_small_part_of_all);
    tcase_add_test(tc, a_long_run_is_taken_from_the_one_empty_region);
    if (!getenv("UNDER_VALGRIND")) {
        tcase_add_test(tc, a_block_of_middle_size_comes_and_goes_without_the_system);
        tcase_add_test(tc, a_large_table_moves_when_it_grows);
    }
#endif
    tcase_add_test(tc, blocks_come_and_go_in_a_stop);
    tcase_add_test(tc, no_memory_is_a_value);
    tcase_add_test(tc, a_table_grows_by_doubling);
    tcase_add_test(tc, a_forked_child_can_allocate);
    suite_add_tcase(s, tc);
    return s;
}
