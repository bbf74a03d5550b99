/* roots_tables.c - the tables behind oak_root_add, _remove and _exclude, and what prepare and
 * consistent say, against a model: which words of an arena a visit hands out, and how often. */
#include "roots_support.h"
#include "runtime/collector.h"
#include "runtime/heap.h"
#include "runtime/meta.h"
#include "runtime/roots.h"
#include "runtime/track.h"
#include "tests/heap.h"
#include "tests/threads.h"

#include <check.h>
#include <dlfcn.h>
#include <errno.h>
#include <oakum/oakum.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

Suite *suite_gc_roots_tables(void);

#define WORDS 256
#define RANGES 400
#define EXCLUSIONS 40

static char *arena; /* of the host: no root by itself */
static unsigned visited[WORDS], expected[WORDS];

static void count(const oaki_root *r, void *ctx)
{
    (void)ctx;
    ck_assert_uint_eq((uintptr_t)r->lo % 8, 0);
    ck_assert_uint_eq((uintptr_t)r->hi % 8, 0);
    if (r->kind != OAKI_ROOT_RANGE) return;
    for (const char *p = r->lo; p < r->hi; p += 8) visited[(p - arena) / 8]++;
}

static void visit(void (*fn)(const oaki_root *r, void *ctx), void *ctx)
{
    oaki_thread *t = oaki_gc_stop_begin();
    oaki_roots_visit(fn, ctx);
    oaki_gc_stop_end(t);
}

typedef struct piece {
    size_t lo, n;
} piece;

static piece random_piece(size_t longest)
{
    piece p = { (size_t)random() % (WORDS * 8 - longest), 1 + (size_t)random() % longest };
    return p;
}

/* The words that lie in it altogether; or, for an exclusion, in part. */
static void for_words(piece p, bool touched, unsigned *words, unsigned step)
{
    for (size_t w = 0; w < WORDS; w++) {
        bool in = touched ? w * 8 + 8 > p.lo && w * 8 < p.lo + p.n
                          : w * 8 >= p.lo && w * 8 + 8 <= p.lo + p.n;
        if (in) words[w] += step;
    }
}

START_TEST(a_visit_hands_out_what_was_added_and_not_excluded)
{
    static piece ranges[RANGES];
    static unsigned excluded[WORDS];
    size_t n = 0;
    unsigned seed = (unsigned)time(NULL);
    printf("roots_tables: seed %u\n", seed);
    srandom(seed);
    roots_start();
    arena = malloc(WORDS * 8);
    for (int i = 0; i < 4000; i++) {
        if (n < RANGES && random() % 2) {
            ranges[n] = n > 0 && random() % 8 == 0 ? ranges[0] : random_piece(100);
            ck_assert_int_eq(oak_root_add(arena + ranges[n].lo, ranges[n].n), 0);
            for_words(ranges[n++], false, expected, 1);
        } else if (n > 0) {
            size_t at = (size_t)random() % n;
            ck_assert_int_eq(oak_root_remove(arena + ranges[at].lo, ranges[at].n), 0);
            for_words(ranges[at], false, expected, (unsigned)-1);
            ranges[at] = ranges[--n];
        }
        if (i % 100 == 99 && i / 100 < EXCLUSIONS) {
            piece p = random_piece(60);
            ck_assert_int_eq(oak_root_exclude(arena + p.lo, p.n), 0);
            for_words(p, true, excluded, 1);
        }
        if (i % 20) continue;
        memset(visited, 0, sizeof visited);
        visit(count, NULL);
        /* a range that was added twice may be handed out once */
        for (size_t w = 0; w < WORDS; w++)
            ck_assert_msg((visited[w] > 0) == (expected[w] > 0 && excluded[w] == 0),
                          "word %zu: visited %u, added %u, excluded %u", w, visited[w], expected[w],
                          excluded[w]);
    }
    while (n-- > 0) ck_assert_int_eq(oak_root_remove(arena + ranges[n].lo, ranges[n].n), 0);
    errno = 0;
    ck_assert_int_eq(oak_root_remove(arena + ranges[0].lo, ranges[0].n), -1);
    ck_assert_int_eq(errno, ENOENT);
    free(arena);
}
END_TEST

static void find_self(const oaki_root *r, void *found)
{
    const char *heap = (const char *)&oaki_the_heap;
    if (r->lo < heap + sizeof oaki_the_heap && r->hi > heap) *(bool *)found = true;
}

START_TEST(the_heaps_own_record_is_no_root)
{
    bool found = false;
    roots_start();
    visit(find_self, &found);
    ck_assert(!found);
}
END_TEST

typedef struct search {
    const void *word;
    bool found;
} search;

static void find_slot(const oaki_root *r, void *ctx)
{
    search *s = ctx;
    if (r->kind == OAKI_ROOT_SLOT && *(const void *const *)r->lo == s->word) s->found = true;
}

/* Between oak_fiber_switch and the switch it is the fiber that is left, too, that is reachable. */
START_TEST(the_running_fiber_is_a_root)
{
    static char memory[2][32768];
    search first, second;
    roots_start();
    oak_fiber *a = oak_fiber_new(memory[0], sizeof memory[0], NULL);
    oak_fiber *b = oak_fiber_new(memory[1], sizeof memory[1], NULL);
    oaki_thread *t = oaki_thread_self();
    oak_fiber_switch(a);
    first = (search){ a, false };
    visit(find_slot, &first);
    ck_assert(first.found);
    oak_fiber_switch(b);
    t->stack_lo = t->stack_hi; /* as if this were the stack of a */
    first = (search){ a, false }, second = (search){ b, false };
    visit(find_slot, &first);
    visit(find_slot, &second);
    ck_assert(first.found);
    ck_assert(second.found);
}
END_TEST

static OAKI_NO_ASAN void read_all(const oaki_root *r, void *ctx)
{
    for (const uintptr_t *w = (const uintptr_t *)r->lo; (const char *)w < r->hi; w++)
        *(uintptr_t *)ctx += *w;
}

static void *close_library(void *lib)
{
    dlclose(lib);
    return NULL;
}

/* The thread isn't attached, so nobody stops it. */
START_TEST(a_library_may_be_unloaded_in_the_middle_of_a_stop)
{
    uintptr_t sum = 0;
    pthread_t other;
    roots_start();
    roots_collect();
    void *lib = dlopen(TEST_MODULES "/libdata.so", RTLD_NOW | RTLD_LOCAL);
    ck_assert_ptr_nonnull(lib);
    oaki_thread *t = oaki_gc_stop_begin();
    ck_assert_int_eq(pthread_create(&other, NULL, close_library, lib), 0);
    pthread_join(other, NULL);
    oaki_roots_visit(read_all, &sum);
    oaki_gc_stop_end(t);
}
END_TEST

static void refresh(void)
{
    oaki_thread *t = oaki_enter();
    ck_assert(oaki_roots_refresh(t));
    oaki_leave(t);
}

/* Would a stop find the table of loaded objects right? oaki_gc_stop_begin refreshes it first. */
static OAKI_NOINLINE bool can_stop(void)
{
    oaki_thread *t = oaki_enter();
    oaki_lock_acquire_parked(t, &oaki_the_heap.gc_lock);
    oaki_thread_save_context(t);
    oaki_helpers_hold();
    bool can = oaki_world_stop(t);
    if (can) oaki_world_start(t);
    oaki_helpers_release();
    oaki_lock_release(&oaki_the_heap.gc_lock);
    oaki_leave(t);
    return can;
}

START_TEST(a_stop_sees_that_a_library_came_or_went)
{
    roots_start();
    roots_collect();
    ck_assert(can_stop());
    void *lib = dlopen(TEST_MODULES "/libdata.so", RTLD_NOW | RTLD_LOCAL);
    ck_assert_ptr_nonnull(lib);
    ck_assert(!can_stop());
    refresh();
    ck_assert(can_stop());
    dlclose(lib);
    ck_assert(!can_stop());
    refresh();
    ck_assert(can_stop());
}
END_TEST

/* ---- no memory for the table ---- */

#define COPIES 60 /* more objects than the table has room for */

static bool load_copies(const char *dir)
{
    char command[400], path[300];
    for (int i = 0; i < COPIES; i++) {
        snprintf(path, sizeof path, "%s/lib%d.so", dir, i);
        snprintf(command, sizeof command, "cp %s/libdata.so %s", TEST_MODULES, path);
        if (system(command) != 0 || !dlopen(path, RTLD_NOW | RTLD_LOCAL)) return false;
    }
    return true;
}

/* qemu knows no limit. */
static bool is_limited(void)
{
    void *p = mmap(NULL, 1 << 20, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p != MAP_FAILED) (void)munmap(p, 1 << 20);
    return p == MAP_FAILED;
}

static void use_all_metadata(void)
{
    oaki_thread *t = oaki_enter();
    for (size_t n = (size_t)1 << 20; n >= 16; n /= 2)
        while (oaki_meta_alloc(n, OAKI_META_OTHER)) {}
    oaki_leave(t);
}

/* Collections wait until there is memory; nothing live is lost. */
static void collect_without_memory(void *dir)
{
    struct rlimit was, none = { 1 << 20, RLIM_INFINITY };
    void **kept = oak_alloc(sizeof *kept);
    bool loaded = load_copies(dir);
    test_expect(kept && loaded, __LINE__);
    if (kept) *kept = oak_alloc(100);
    test_expect(getrlimit(RLIMIT_AS, &was) == 0, __LINE__);
    none.rlim_max = was.rlim_max;
    test_expect(setrlimit(RLIMIT_AS, &none) == 0, __LINE__);
    if (!is_limited()) _exit(0);
    use_all_metadata();
    AO_t before = AO_load(&oaki_the_heap.cycle);
    roots_collect();
    test_expect(AO_load(&oaki_the_heap.cycle) == before, __LINE__);
    test_expect(!oaki_gc_stop_begin(), __LINE__);
    test_expect(setrlimit(RLIMIT_AS, &was) == 0, __LINE__);
    roots_collect();
    test_expect(AO_load(&oaki_the_heap.cycle) > before, __LINE__);
    test_expect(kept && oak_usable_size(*kept) >= 100, __LINE__);
    OAKI_HOLD(kept);
    if (AO_load(&test_wrong)) _exit(1);
}

START_TEST(without_memory_for_the_table_a_collection_fails)
{
    char dir[] = "/tmp/oakum.XXXXXX", command[60];
    if (test_skip_asan()) return; /* it maps memory as it likes */
    roots_start();
    roots_collect();
    ck_assert_ptr_nonnull(mkdtemp(dir));
    test_child(collect_without_memory, dir);
    snprintf(command, sizeof command, "rm -r %s", dir);
    ck_assert_int_eq(system(command), 0);
}
END_TEST

/* ---- a range that is gone ---- */

#define PAGE ((size_t)4096)
#define PAGES 64

/* The pages [from, to) of the range go, and an exclusion of them first where `told`. */
static const struct gap {
    size_t from, to;
    bool told;
} gaps[] = { { 0, 1, false },          { 30, 31, false },        { PAGES - 1, PAGES, false },
             { 0, PAGES, false },      { 30, 31, true },         { 0, PAGES - 1, true } };

static void collect_with_gap(void *arg)
{
    const struct gap *gap = arg;
    char *p = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED || oak_root_add(p + 8, PAGES * PAGE - 16) != 0) _exit(1);
    oak_collect();
    char *lo = p + gap->from * PAGE;
    if (gap->told && oak_root_exclude(lo, (gap->to - gap->from) * PAGE) != 0) _exit(2);
    munmap(lo, (gap->to - gap->from) * PAGE);
    oak_collect();
}

START_TEST(a_range_that_was_unmapped_is_told)
{
    const struct gap *gap = &gaps[_i];
    test_heap_start(test_config());
    if (gap->told) test_child(collect_with_gap, (void *)gap);
    else test_dies(collect_with_gap, (void *)gap, "oakum: oak_root_add: the 262128 bytes at 0x");
}
END_TEST

static void unmap_after_removal(void *arg)
{
    char *p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    (void)arg;
    if (p == MAP_FAILED || oak_root_add(p, PAGE) != 0 || oak_root_remove(p, PAGE) != 0) _exit(1);
    munmap(p, PAGE);
    oak_collect();
}

START_TEST(a_range_may_be_unmapped_when_it_was_removed)
{
    test_heap_start(test_config());
    test_child(unmap_after_removal, NULL);
}
END_TEST

Suite *suite_gc_roots_tables(void)
{
    Suite *s = suite_create("gc/roots_tables");
    TCase *c = tcase_create("tables");
    tcase_add_test(c, a_visit_hands_out_what_was_added_and_not_excluded);
    tcase_add_test(c, the_heaps_own_record_is_no_root);
    tcase_add_test(c, the_running_fiber_is_a_root);
    tcase_add_test(c, a_library_may_be_unloaded_in_the_middle_of_a_stop);
    tcase_add_loop_test(c, a_range_that_was_unmapped_is_told, 0, (int)OAKI_COUNT(gaps));
    tcase_add_test(c, a_range_may_be_unmapped_when_it_was_removed);
    tcase_add_test(c, a_stop_sees_that_a_library_came_or_went);
    tcase_add_test(c, without_memory_for_the_table_a_collection_fails);
    suite_add_tcase(s, c);
    return s;
}
