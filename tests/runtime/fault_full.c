/* fault_full.c - tests of learning of writes by faults where the program has taken all mappings, or
 * many: how often the library asks for one more, and what cycles cost. */
#include "runtime/dirty.h"
#include "runtime/os.h"
#include "tests/heap.h"
#include "tests/large.h"
#include "tests/threads.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

Suite *suite_runtime_fault_full(void);

#define PAGE ((size_t)4096)
#define RUNS 2000
#define SIZE ((size_t)40 << 10)
#define LIMIT ((size_t)65530) /* of Linux, unless it was changed */

static AO_t refusals;

/* In the library's place, which is linked statically: who asks is told the same. */
int mprotect(void *p, size_t n, int prot)
{
    if (syscall(SYS_mprotect, p, n, prot) == 0) return 0;
    (void)AO_fetch_and_add1(&refusals);
    return -1;
}

static size_t written_of(const void *p, size_t n)
{
    size_t from = oaki_heap_offset(p);
    return oaki_dirty_take(from, from + n, false, NULL, NULL);
}

static void protect_all(void)
{
    ck_assert(oaki_dirty_protect(0, AO_load(&oaki_the_heap.used)));
}

/* Each second page of this is a mapping of its own. NULL: there are more than there may be. */
static char *take_all(void)
{
    size_t i = 0;
    char *p = oaki_os_map(2 * LIMIT * PAGE);
    ck_assert_ptr_nonnull(p);
    while (i < 2 * LIMIT && mprotect(p + i * PAGE, PAGE, PROT_READ) == 0) i += 2;
    return i < 2 * LIMIT ? p : NULL;
}

/* The first refusal is the last of its cycle; and every write is told all the same. */
START_TEST(no_mapping_is_asked_for_again)
{
    static char **scanned, **other;
    size_t told = 0;
    oak_config c = test_config();
    c.tracking = OAK_TRACKING_FAULTS;
    test_heap_start(c);
    if (test_skip(oaki_os_page_size() != PAGE, "pages are not of 4 KiB") || test_skip_valgrind())
        return;
    scanned = oak_alloc(RUNS * sizeof *scanned);
    other = oak_alloc(RUNS * sizeof *other);
    for (size_t i = 0; i < RUNS; i++) {
        scanned[i] = memset(oak_alloc(SIZE), 1, SIZE);
        other[i] = oak_alloc_noscan(SIZE); /* so that runs lie apart */
    }
    ck_assert(test_written_start());
    char *taken = take_all();
    if (test_skip(!taken, "there is no limit on mappings")) return;
    test_dirty_begin();
    AO_store(&refusals, 0);
    protect_all();
    for (size_t i = 0; i < RUNS; i++) scanned[i][5 * PAGE] = 2;
    size_t refused = AO_load(&refusals);
    for (size_t i = 0; i < RUNS; i++) told += written_of(scanned[i] + 5 * PAGE, PAGE) > 0;
    oaki_os_release(taken, 2 * LIMIT * PAGE);
    ck_assert_uint_ge(refused, 1);
    ck_assert_uint_le(refused, RUNS / 10);
    ck_assert_uint_eq(told, RUNS);

    test_dirty_begin(); /* there are some again */
    protect_all();
    ck_assert_uint_eq(written_of(scanned[RUNS / 2], SIZE), 0);
}
END_TEST

/* ---- with many of them ---- */

#define NODES ((size_t)4000) /* each on a page */
#define OWN ((size_t)32000)
#define CYCLES 3

typedef struct node {
    struct node *next;
    AO_t value;
    char rest[4000];
} node;

static node *nodes[NODES];
TEST_LARGE(runtime_fault_full, nodes)
static void *sink;

/* Every second page: a mark meets as many mappings as there can be. */
static void *write_about(void *arg)
{
    uint64_t draw = 1;
    ck_assert_int_eq(oak_thread_attach(), 0);
    while (!AO_load(&test_quit)) {
        node *x = nodes[test_draw(&draw) % NODES & ~(uint64_t)1];
        x->next = nodes[test_draw(&draw) % NODES];
        AO_fetch_and_add1(&x->value);
        AO_fetch_and_add1(&test_moved);
    }
    return arg;
}

/* Of the process, until so many cycles are over. */
static uint64_t cost_of_cycles(void)
{
    uint64_t before = oaki_os_cpu_ns();
    size_t last = AO_load(&oaki_the_heap.cycle) + CYCLES;
    while (AO_load(&oaki_the_heap.cycle) < last) sink = oak_alloc(sizeof(node));
    return oaki_os_cpu_ns() - before;
}

static bool map_own(void)
{
    char *p = oaki_os_map(2 * OWN * PAGE);
    ck_assert_ptr_nonnull(p);
    for (size_t i = 0; i < OWN; i++)
        if (mprotect(p + 2 * i * PAGE, PAGE, PROT_READ) != 0) return false;
    return true;
}

START_TEST(cycles_end_beside_many_mappings_of_the_program_s)
{
    oak_writes_told told;
    oak_config c = test_config();
    c.tracking = OAK_TRACKING_FAULTS;
    c.concurrent = 1;
    test_heap_start(c);
    if (test_skip(oaki_os_page_size() != PAGE, "pages are not of 4 KiB") || test_skip_slow())
        return;
    oak_set_gc_percent(100);
    oaki_debug_switches.beside = 1;
    for (size_t i = 0; i < NODES; i++) nodes[i] = oak_alloc(sizeof *nodes[i]);
    if (test_skip(!oak_heap_tells_writes(&told), "there are no faults to learn from")) return;
    pthread_t id = test_start(write_about, NULL);
    uint64_t without = cost_of_cycles();
    if (test_skip(!map_own(), "there may be only few mappings")) return;
    uint64_t with = cost_of_cycles();
    AO_store(&test_quit, 1);
    test_join(id);
    printf("%d cycles: %.2f s, beside %zu mappings %.2f s\n", CYCLES, (double)without / 1e9, OWN,
           (double)with / 1e9);
    ck_assert_uint_le(with, 4 * without + 1000000000);
    ck_assert_uint_gt(AO_load(&test_moved), 0);
    for (size_t i = 0; i < NODES; i++)
        if (nodes[i]->next && oak_base(nodes[i]->next) != nodes[i]->next)
            ck_abort_msg("what page %zu refers to is lost", i);
    test_assert_sound();
}
END_TEST

Suite *suite_runtime_fault_full(void)
{
    Suite *s = suite_create("runtime/fault_full");
    TCase *t = tcase_create("fault_full");
    tcase_set_timeout(t, 60);
    tcase_add_test(t, no_mapping_is_asked_for_again);
    tcase_add_test(t, cycles_end_beside_many_mappings_of_the_program_s);
    suite_add_tcase(s, t);
    return s;
}
