/* midway.c - what comes in the midst of a mark beside the program, and what a mark leaves behind:
 * memory mapped over the heap's, no more memory, pages that can't be written. */
#include "gc/beside.h"

#include "runtime/os.h"
#include "runtime/written.h"
#include "tests/heap.h"
#include "tests/threads.h"
#include <check.h>
#include <errno.h>
#include <oakum/gc.h>
#include <sys/mman.h>
#include <unistd.h>

Suite *suite_gc_midway(void);

#define SLOTS ((size_t)1 << 16)
#define HOLE ((size_t)256 << 10)
#define MB ((size_t)1 << 20)

typedef struct thing {
    uint64_t id, seal;
    struct thing *next;
} thing;

static thing **table;
static uint64_t draw = 88172645463325252u;

/* false: this system can't. */
static bool start(oak_config c)
{
    if (!test_heap_tracked(c, 0)) return false;
    oaki_debug_switches.beside = 1;
    table = oak_alloc(SLOTS * sizeof *table);
    return true;
}

static thing *new_thing(uint64_t id)
{
    thing *t = oak_alloc(sizeof *t);
    if (t) *t = (thing){ .id = id, .seal = ~id };
    return t;
}

static void check_table(void)
{
    for (size_t i = 0; i < SLOTS; i++)
        if (table[i]) ck_assert_uint_eq(table[i]->id, ~table[i]->seal);
}

/* New ones come, and move, so that the only reference to one is a word that was written late. */
static void move_some(void)
{
    for (int i = 0; i < 2000; i++) {
        size_t from = test_draw(&draw) % SLOTS, to = test_draw(&draw) % SLOTS;
        if (i % 2) table[from] = new_thing(draw);
        table[to] = table[from];
        table[from] = NULL;
    }
}

static bool marks(void)
{
    return oaki_beside_state() == OAKI_BESIDE_MARKING;
}

/* ---- memory that the program maps over an object ---- */

/* What was written to pages that are asked about together with those isn't told any more. */
START_TEST(memory_mapped_over_a_part_of_an_object)
{
    if (!start(test_config_beside(OAK_TRACKING_USERFAULTFD))) return;
    char *hole = oak_alloc(HOLE);
    uintptr_t at = OAKI_ALIGN_UP((uintptr_t)hole, OAKI_PAGE) + HOLE / 2;
    uint32_t before = test_stats().num_gc;
    size_t refused = oaki_written_refusals(), mapped = 0;
    while (test_stats().num_gc < before + 40 || mapped < 20) {
        (void)test_ask_beside();
        move_some();
        if (!marks()) continue;
        ck_assert_ptr_eq(mmap((void *)at, 2 * OAKI_PAGE, PROT_READ | PROT_WRITE,
                              MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
                         (void *)at);
        mapped++;
        move_some();
    }
    ck_assert_uint_gt(oaki_written_refusals(), refused);
    ck_assert(oaki_written_may());
    check_table();
    oak_free(hole);
}
END_TEST

/* ---- no more memory ---- */

START_TEST(out_of_memory)
{
    oak_config c = test_config_beside(OAK_TRACKING_USERFAULTFD);
    c.heap_max = 24 * MB;
    c.gc_percent = 100;
    if (!start(c)) return;
    for (int round = 0; round < 20; round++) {
        size_t n = 0;
        for (thing *t; (t = new_thing(n)) != NULL; n++) {
            t->next = table[n % SLOTS];
            table[n % SLOTS] = t;
            if (n % 20000 == 0) (void)test_ask_beside();
        }
        ck_assert_int_eq(errno, ENOMEM);
        ck_assert_uint_gt(n, 8 * MB / sizeof(thing));
        check_table();
        for (size_t i = 0; i < SLOTS; i++) table[i] = NULL;
        (void)test_ask_beside();
    }
    oak_collect();
    ck_assert_uint_le(test_stats().heap_alloc, 4 * MB);
}
END_TEST

/* ---- what a mark leaves behind ---- */

/* By faults, the system may write to scanned objects again once it is over. */
START_TEST(pages_may_be_written_afterwards)
{
    int fd[2];
    if (!start(test_config_beside(OAK_TRACKING_FAULTS))) return;
    ck_assert_int_eq(pipe(fd), 0);
    for (size_t i = 0; i < SLOTS; i++) table[i] = new_thing(i);
    for (int round = 0; round < 5; round++) {
        while (!marks()) (void)test_ask_beside();
        while (marks()) oaki_os_yield();
        for (size_t i = 0; i < SLOTS; i++) {
            uint64_t id = i;
            ck_assert_int_eq(write(fd[1], &id, sizeof id), sizeof id);
            while (read(fd[0], &table[i]->id, sizeof id) < 0) ck_assert_int_eq(errno, EFAULT);
        }
        check_table();
    }
}
END_TEST

Suite *suite_gc_midway(void)
{
    Suite *s = suite_create("gc_midway");
    TCase *c = tcase_create("midway");
    tcase_set_timeout(c, 60);
    tcase_add_test(c, memory_mapped_over_a_part_of_an_object);
    tcase_add_test(c, out_of_memory);
    tcase_add_test(c, pages_may_be_written_afterwards);
    suite_add_tcase(s, c);
    return s;
}
