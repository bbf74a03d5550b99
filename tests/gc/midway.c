/* midway.c - what comes in the midst of a mark beside the program, and what a mark leaves behind:
 * memory mapped over the heap's, no more memory, pages that can't be written. */
#include "gc/concurrent/concurrent.h"

#include "runtime/dirty.h"
#include "runtime/os.h"
#include "tests/heap.h"
#include "tests/threads.h"
#include "tests/tracked.h"
#include <check.h>
#include <errno.h>
#include <oakum/gc.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#define SLOTS ((size_t)1 << 16)
#include "tests/moving.h"

Suite *suite_gc_midway(void);

#define HOLE ((size_t)256 << 10)
#define MB ((size_t)1 << 20)

/* false: this system can't. */
static bool start(oak_config c)
{
    if (!test_heap_tracked(c, 0)) return false;
    oaki_debug_switches.beside = 1;
    table = oak_alloc(SLOTS * sizeof *table);
    return true;
}

static bool marks(void)
{
    return oaki_is_marking_concurrently();
}

/* ---- memory that the program maps over an object ---- */

/* What was written to pages that are asked about together with those isn't told any more by
 * userfaultfd, which is noticed; by faults it is. */
START_TEST(memory_mapped_over_a_part_of_an_object)
{
    if (!start(test_config_beside(test_tracking))) return;
    char *hole = oak_alloc(HOLE);
    uintptr_t at = OAKI_ALIGN_UP((uintptr_t)hole, OAKI_PAGE) + HOLE / 2;
    uint32_t before = test_stats().num_gc;
    size_t refused = oaki_dirty_refusals(), mapped = 0;
    while (test_stats().num_gc < before + 40 || mapped < 20) {
        test_ask_or_collect();
        move_some();
        if (!marks()) continue;
        ck_assert_ptr_eq(mmap((void *)at, 2 * OAKI_PAGE, PROT_READ | PROT_WRITE,
                              MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
                         (void *)at);
        mapped++;
        move_some();
    }
    if (!oaki_dirty_denies()) ck_assert_uint_gt(oaki_dirty_refusals(), refused);
    ck_assert(oaki_dirty_may());
    check_table();
    oak_free(hole);
}
END_TEST

/* Writes to it by way of another mapping are reported nowhere. So tracking ends, once a mark has
 * asked there. */
START_TEST(shared_memory_mapped_over_a_part_of_an_object)
{
    if (!start(test_config_beside(test_tracking))) return;
    char *hole = oak_alloc(HOLE);
    char *at = (char *)OAKI_ALIGN_UP((uintptr_t)hole, OAKI_PAGE) + HOLE / 2;
    int fd = memfd_create("shared", MFD_CLOEXEC), flags = MAP_SHARED;
    ck_assert(fd >= 0 && ftruncate(fd, OAKI_PAGE) == 0);
    ck_assert(!oaki_os_is_shared((uintptr_t)hole, (uintptr_t)hole + HOLE));
    ck_assert_ptr_eq(mmap(at, OAKI_PAGE, PROT_READ | PROT_WRITE, flags | MAP_FIXED, fd, 0), at);
    ck_assert(oaki_os_is_shared((uintptr_t)hole, (uintptr_t)hole + HOLE));
    ck_assert(!oaki_os_is_shared((uintptr_t)hole, (uintptr_t)at));
    thing **alias = mmap(NULL, OAKI_PAGE, PROT_READ | PROT_WRITE, flags, fd, 0);
    ck_assert_ptr_ne(alias, MAP_FAILED);
    for (uint64_t i = 0; i < 50 || oaki_dirty_may(); i++) {
        if (!test_ask_beside()) oak_collect();
        for (size_t k = 0; k < OAKI_PAGE / 8; k++) {
            const thing *had = ((thing **)at)[k];
            if (had) ck_assert_uint_eq(had->id, ~had->seal);
            alias[k] = new_thing(i);
        }
        move_some();
    }
    ck_assert(!oaki_dirty_may());
    check_table();
    munmap(alias, OAKI_PAGE);
    close(fd);
}
END_TEST

static void ask_in_vain(void *arg)
{
    (void)arg;
    ck_assert(!test_ask_beside());
    ck_assert(!oaki_dirty_may());
    oak_collect();
    check_table();
}

/* It inherits the mapping, and opens the way anew. */
START_TEST(shared_memory_that_was_there_before)
{
    if (!start(test_config_beside(test_tracking))) return;
    char *hole = oak_alloc(HOLE);
    char *at = (char *)OAKI_ALIGN_UP((uintptr_t)hole, OAKI_PAGE) + HOLE / 2;
    for (size_t i = 0; i < SLOTS; i++) table[i] = new_thing(i);
    ck_assert(test_ask_beside());
    ck_assert_ptr_eq(mmap(at, OAKI_PAGE, PROT_READ | PROT_WRITE,
                          MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0), at);
    test_child(ask_in_vain, NULL);
}
END_TEST

/* ---- no more memory ---- */

#define NEAR_END 200 /* objects before which a mark is awaited: rounds have equally many */

START_TEST(out_of_memory)
{
    oak_config c = test_config_beside(test_tracking);
    c.heap_max = 24 * MB;
    c.gc_percent = 100;
    int middle = 0;
    size_t last = SIZE_MAX; /* objects that the round before had memory for */
    if (!start(c)) return;
    for (int round = 0; round < 20; round++) {
        size_t n = 0;
        bool marking = false;
        for (thing *t; (t = new_thing(n)) != NULL; n++) {
            t->next = table[n % SLOTS];
            table[n % SLOTS] = t;
            if (n % 1000 == 0) (void)test_ask_beside();
            if (n + NEAR_END > last) test_await_mark();
            marking = oaki_is_marking_concurrently();
        }
        ck_assert_int_eq(errno, ENOMEM);
        middle += marking; /* when it was asked for what there is no memory for */
        ck_assert_uint_gt(n, 8 * MB / sizeof(thing));
        last = n;
        check_table();
        for (size_t i = 0; i < SLOTS; i++) table[i] = NULL;
        (void)test_ask_beside();
    }
    oak_collect();
    ck_assert_uint_le(test_stats().heap_alloc, 4 * MB);
    ck_assert_int_gt(middle, 0);
}
END_TEST

/* The heap's range is there; what tables, stacks of markers and threads need is not. */
static size_t address_space(void)
{
    unsigned long pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    ck_assert(f && fscanf(f, "%lu", &pages) == 1);
    fclose(f);
    return pages * (size_t)sysconf(_SC_PAGESIZE);
}

static void collect_without_address_space(void *arg)
{
    (void)arg;
    if (!start(test_config_beside(test_tracking))) return;
    for (size_t i = 0; i < SLOTS; i++) table[i] = new_thing(i);
    test_await_mark();
    struct rlimit rl = { address_space(), RLIM_INFINITY };
    ck_assert_int_eq(setrlimit(RLIMIT_AS, &rl), 0);
    for (uint32_t before = test_stats().num_gc; test_stats().num_gc < before + 30;) {
        if (!test_ask_beside()) oak_collect();
        move_some();
    }
    check_table();
}

START_TEST(out_of_address_space)
{
    if (!test_skip_slow()) test_child(collect_without_address_space, NULL);
}
END_TEST

static void collect_without_thread(void *arg)
{
    (void)arg;
    struct rlimit rl;
    if (!start(test_config_beside(test_tracking))) return;
    ck_assert_int_eq(getrlimit(RLIMIT_AS, &rl), 0);
    rl.rlim_cur = address_space();
    ck_assert_int_eq(setrlimit(RLIMIT_AS, &rl), 0);
    for (int i = 0; i < 3; i++) {
        ck_assert(!test_ask_beside());
        oak_collect();
    }
    rl.rlim_cur = rl.rlim_max;
    ck_assert_int_eq(setrlimit(RLIMIT_AS, &rl), 0);
    ck_assert(test_ask_beside());
}

/* The program collects in stops until there can be one. */
START_TEST(no_thread_to_be_had_for_a_while)
{
    if (!test_skip_slow()) test_child(collect_without_thread, NULL);
}
END_TEST

/* ---- what a mark leaves behind ---- */

/* By the system, too, which by faults may not write to scanned objects until it is over. */
START_TEST(pages_may_be_written_afterwards)
{
    int fd[2];
    if (!start(test_config_beside(test_tracking))) return;
    ck_assert_int_eq(pipe(fd), 0);
    for (size_t i = 0; i < SLOTS; i++) table[i] = new_thing(i);
    for (int round = 0; round < 5; round++) {
        test_await_mark();
        while (marks()) oaki_os_yield();
        for (size_t i = 0; i < SLOTS; i++) {
            uint64_t id = i;
            ck_assert_int_eq(write(fd[1], &id, sizeof id), sizeof id);
            while (read(fd[0], &table[i]->id, sizeof id) < 0)
                ck_assert(oaki_dirty_denies() && errno == EFAULT);
        }
        check_table();
    }
}
END_TEST

static TCase *tests(const char *name, void (*setup)(void))
{
    TCase *c = tcase_create(name);
    tcase_set_timeout(c, 60);
    tcase_add_checked_fixture(c, setup, NULL);
    tcase_add_test(c, memory_mapped_over_a_part_of_an_object);
    if (setup != test_by_faults) /* which do not notice it */
        tcase_add_test(c, shared_memory_mapped_over_a_part_of_an_object);
    tcase_add_test(c, shared_memory_that_was_there_before);
    tcase_add_test(c, out_of_memory);
    tcase_add_test(c, out_of_address_space);
    tcase_add_test(c, no_thread_to_be_had_for_a_while);
    tcase_add_test(c, pages_may_be_written_afterwards);
    return c;
}

Suite *suite_gc_midway(void)
{
    Suite *s = suite_create("gc_midway");
    suite_add_tcase(s, tests("userfaultfd", test_by_userfaultfd));
    suite_add_tcase(s, tests("faults", test_by_faults));
    return s;
}
