/* fault_full.c - tests of learning of writes by faults where the program has taken all mappings:
 * how often the library asks for one more. */
#include "runtime/dirty.h"
#include "runtime/os.h"
#include "tests/heap.h"

#include <check.h>
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
    ck_assert(oaki_dirty_begin());
    AO_store(&refusals, 0);
    protect_all();
    for (size_t i = 0; i < RUNS; i++) scanned[i][5 * PAGE] = 2;
    size_t refused = AO_load(&refusals);
    for (size_t i = 0; i < RUNS; i++) told += written_of(scanned[i] + 5 * PAGE, PAGE) > 0;
    oaki_os_release(taken, 2 * LIMIT * PAGE);
    ck_assert_uint_ge(refused, 1);
    ck_assert_uint_le(refused, RUNS / 10);
    ck_assert_uint_eq(told, RUNS);

    ck_assert(oaki_dirty_begin()); /* there are some again */
    protect_all();
    ck_assert_uint_eq(written_of(scanned[RUNS / 2], SIZE), 0);
}
END_TEST

Suite *suite_runtime_fault_full(void)
{
    Suite *s = suite_create("runtime/fault_full");
    TCase *t = tcase_create("fault_full");
    tcase_add_test(t, no_mapping_is_asked_for_again);
    suite_add_tcase(s, t);
    return s;
}
