/* dirty - tests of what the system tells of written pages. */
#include "runtime/dirty.h"

#include "runtime/os.h"
#include "tests/descriptors.h"
#include "tests/heap.h"
#include "tests/refuse.h"
#include "tests/tracked.h"
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

Suite *suite_runtime_dirty(void);

#define PAGES 64
#define SYSTEM_PAGE ((size_t)4096)

typedef struct told {
    size_t n, first; /* pages; offset of the first */
    bool page[PAGES];
} told;

static char *memory;

static size_t offset_of(size_t page)
{
    return oaki_heap_offset(memory) + page * SYSTEM_PAGE;
}

static void note(size_t from, size_t to, void *ctx)
{
    told *x = ctx;
    for (; from < to; from += SYSTEM_PAGE) {
        x->n++;
        x->page[(from - x->first) / SYSTEM_PAGE] = true;
    }
}

static told take(bool again)
{
    told x = { .first = offset_of(0) };
    size_t n = oaki_dirty_take(offset_of(0), offset_of(PAGES), again, note, &x);
    ck_assert_uint_eq(n, x.n);
    return x;
}

typedef struct many {
    size_t from;
    bool page[4000];
} many;

static void note_many(size_t from, size_t to, void *ctx)
{
    many *x = ctx;
    for (; from < to; from += SYSTEM_PAGE) x->page[(from - x->from) / SYSTEM_PAGE] = true;
}

/* PAGES pages of a large object, each with memory. false: this system can't tell. */
static bool start(void)
{
    oak_config c = test_config();
    c.tracking = test_tracking;
    test_heap_start(c);
    memory = oak_alloc(PAGES * SYSTEM_PAGE);
    memset(memory, 1, PAGES * SYSTEM_PAGE);
    return !test_skip_untracked() &&
           !test_skip(oaki_os_page_size() != SYSTEM_PAGE, "pages are not of 4 KiB");
}

START_TEST(what_is_written_is_told_once)
{
    if (!start()) return;
    ck_assert(oaki_dirty_protect(offset_of(0), offset_of(PAGES)));
    ck_assert_uint_eq(take(true).n, 0);
    memory[3 * SYSTEM_PAGE] = 2;
    memory[3 * SYSTEM_PAGE + 100] = 2;
    memory[PAGES * SYSTEM_PAGE - 1] = 2;
    told x = take(true);
    ck_assert_uint_eq(x.n, 2);
    ck_assert(x.page[3] && x.page[PAGES - 1]);
    ck_assert_uint_eq(take(true).n, 0);
    ck_assert_int_eq(memory[3 * SYSTEM_PAGE + 100], 2);
}
END_TEST

START_TEST(a_look_without_protecting_changes_nothing)
{
    if (!start()) return;
    ck_assert(oaki_dirty_protect(offset_of(0), offset_of(PAGES)));
    memory[7 * SYSTEM_PAGE] = 2;
    ck_assert_uint_eq(take(false).n, 1);
    ck_assert_uint_eq(take(false).n, 1);
    ck_assert_uint_eq(take(true).n, 1);
    ck_assert_uint_eq(take(false).n, 0);
}
END_TEST

/* What the kernel resolves itself is known once the page is asked about. */
START_TEST(each_first_write_is_counted)
{
    if (!start()) return;
    oaki_dirty_cost before = oaki_dirty_costs();
    ck_assert(oaki_dirty_protect(offset_of(0), offset_of(PAGES)));
    memory[3 * SYSTEM_PAGE] = 2;
    memory[3 * SYSTEM_PAGE + 100] = 2;
    memory[PAGES * SYSTEM_PAGE - 1] = 2;
    ck_assert_uint_eq(take(true).n, 2);
    memory[3 * SYSTEM_PAGE] = 3;
    ck_assert_uint_eq(take(false).n, 1);
    ck_assert_uint_eq(take(false).n, 1);
    oaki_dirty_unprotect(offset_of(0), offset_of(PAGES));
    memory[5 * SYSTEM_PAGE] = 2;
    ck_assert_uint_eq(take(false).n, PAGES);
    oaki_dirty_cost after = oaki_dirty_costs();
    ck_assert_uint_eq(after.faults - before.faults, 3);
    ck_assert_uint_eq(after.found - before.found, 2 + 1 + 1 + PAGES);
    ck_assert_uint_eq(after.asked - before.asked, 5 * PAGES);
}
END_TEST

START_TEST(what_was_never_protected_counts_as_written)
{
    if (!start()) return;
    ck_assert(oaki_dirty_protect(offset_of(0), offset_of(10)));
    ck_assert_uint_eq(take(false).n, PAGES - 10);
    ck_assert(oaki_dirty_protect(offset_of(10), offset_of(PAGES)));
    oaki_dirty_unprotect(offset_of(20), offset_of(25));
    ck_assert_uint_eq(take(false).n, 5);
}
END_TEST

START_TEST(a_page_that_gets_its_memory_later_counts_as_written)
{
    if (!start()) return;
    oaki_os_purge(memory, 8 * SYSTEM_PAGE);
    ck_assert(oaki_dirty_protect(offset_of(0), offset_of(PAGES)));
    ck_assert_uint_eq(take(false).n, 0);
    memory[5 * SYSTEM_PAGE] = 1;
    told x = take(false);
    ck_assert_uint_eq(x.n, 1);
    ck_assert(x.page[5]);
}
END_TEST

/* By faults it isn't, but is refused. */
START_TEST(what_the_system_writes_is_told_too)
{
    int fd[2];
    if (!start()) return;
    ck_assert_int_eq(pipe(fd), 0);
    ck_assert_int_eq(write(fd[1], "0123456789", 10), 10);
    ck_assert(oaki_dirty_protect(offset_of(0), offset_of(PAGES)));
    if (test_tracking == OAK_TRACKING_FAULTS) {
        ck_assert_int_eq(read(fd[0], memory + 9 * SYSTEM_PAGE - 5, 10), -1);
        ck_assert_int_eq(errno, EFAULT);
        ck_assert_uint_eq(take(true).n, 0);
        memory[9 * SYSTEM_PAGE - 1] = memory[9 * SYSTEM_PAGE] = 1;
    }
    ck_assert_int_eq(read(fd[0], memory + 9 * SYSTEM_PAGE - 5, 10), 10);
    told x = take(true);
    ck_assert_uint_eq(x.n, 2);
    ck_assert(x.page[8] && x.page[9]);
    ck_assert_int_eq(memcmp(memory + 9 * SYSTEM_PAGE - 5, "0123456789", 10), 0);
}
END_TEST

static void in_child(void *arg)
{
    (void)arg;
    ck_assert(test_written_start());
    ck_assert(oaki_dirty_protect(offset_of(0), offset_of(PAGES)));
    memory[0] = 5;
    ck_assert_uint_eq(take(true).n, 1);
}

START_TEST(a_child_of_a_fork_begins_anew)
{
    if (!start()) return;
    ck_assert(oaki_dirty_protect(offset_of(0), offset_of(PAGES)));
    test_child(in_child, NULL);
    ck_assert_uint_eq(take(true).n, 0);
    memory[SYSTEM_PAGE] = 5;
    ck_assert_uint_eq(take(true).n, 1);
}
END_TEST

START_TEST(a_closed_descriptor_is_no_all_clear)
{
    if (!start() || test_tracking == OAK_TRACKING_FAULTS) return;
    ck_assert(oaki_dirty_protect(offset_of(0), offset_of(PAGES)));
    memory[0] = 2;
    ck_assert(test_close(TEST_UFFD));
    memory[SYSTEM_PAGE] = 2;
    told x = { .first = offset_of(0) };
    ck_assert_uint_eq(oaki_dirty_take(offset_of(0), offset_of(PAGES), _i, note, &x), SIZE_MAX);
    ck_assert(oaki_dirty_may());
    ck_assert_uint_eq(take(true).n, PAGES);
    memory[SYSTEM_PAGE] = 3;
    ck_assert_uint_eq(take(true).n, 1);
}
END_TEST

static int files[2];

static void has_files(void *arg)
{
    (void)arg;
    for (size_t i = 0; i < OAKI_COUNT(files); i++) ck_assert_int_ge(fcntl(files[i], F_GETFD), 0);
    ck_assert(test_written_start());
}

START_TEST(a_child_closes_no_file_of_the_program)
{
    if (!start() || test_tracking == OAK_TRACKING_FAULTS) return;
    files[0] = test_descriptor(TEST_UFFD);
    files[1] = test_descriptor(TEST_PAGEMAP);
    for (size_t i = 0; i < OAKI_COUNT(files); i++)
        ck_assert_int_eq(dup2(STDERR_FILENO, files[i]), files[i]);
    test_child(has_files, NULL);
}
END_TEST

/* As where a container's filter came while it was being opened, or there is no /proc. */
static void without_proc(void *arg)
{
    (void)arg;
    test_refuse(SYS_readlinkat);
    test_refuse(SYS_openat);
    int before = dup(STDERR_FILENO);
    ck_assert(!test_written_start());
    int after = dup(STDERR_FILENO);
    ck_assert_int_eq(after, before + 1);
}

START_TEST(what_was_opened_in_vain_is_closed)
{
    oak_config c = test_config();
    c.tracking = test_tracking;
    if (test_tracking == OAK_TRACKING_FAULTS) return;
    test_heap_start(c);
    test_child(without_proc, NULL);
}
END_TEST

START_TEST(memory_of_the_program_s_own_in_the_middle_is_watched_again)
{
    if (!start() || test_tracking == OAK_TRACKING_FAULTS) return;
    ck_assert(oaki_dirty_protect(offset_of(0), offset_of(PAGES)));
    char *own = mmap(memory + 8 * SYSTEM_PAGE, 4 * SYSTEM_PAGE, PROT_READ | PROT_WRITE,
                     MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ck_assert(own == memory + 8 * SYSTEM_PAGE);
    memset(own, 1, 4 * SYSTEM_PAGE);
    memory[0] = 2;
    told x = { .first = offset_of(0) };
    size_t n = oaki_dirty_take(offset_of(0), offset_of(PAGES), true, note, &x);
    ck_assert(n == SIZE_MAX || (x.page[0] && x.page[8] && x.page[11]));
    ck_assert(oaki_dirty_may());
    ck_assert(oaki_dirty_protect(offset_of(0), offset_of(PAGES)));
    memory[9 * SYSTEM_PAGE] = 2;
    x = take(true);
    ck_assert(x.page[9]);
}
END_TEST

/* More runs than are asked for at a time. */
START_TEST(every_other_page_of_many)
{
    enum { MANY = 4000 };
    if (!start()) return;
    char *big = oak_alloc(MANY * SYSTEM_PAGE);
    size_t from = oaki_heap_offset(big), to = from + MANY * SYSTEM_PAGE;
    memset(big, 1, MANY * SYSTEM_PAGE);
    ck_assert(oaki_dirty_protect(from, to));
    for (int again = 1; again >= 0; again--) {
        for (size_t i = 0; i < MANY; i += 2) big[i * SYSTEM_PAGE] = 2;
        many seen = { .from = from };
        ck_assert_uint_eq(oaki_dirty_take(from, to, again, note_many, &seen), MANY / 2);
        for (size_t i = 0; i < MANY; i++) ck_assert_int_eq(seen.page[i], i % 2 == 0);
    }
}
END_TEST

/* One of two runs has more pages than are asked for. */
START_TEST(so_many_pages_at_a_time)
{
    enum { MOST = 3 };
    if (!start()) return;
    size_t at = offset_of(0), to = offset_of(PAGES), all = 0;
    ck_assert(oaki_dirty_protect(at, to));
    memset(memory + 2 * SYSTEM_PAGE, 2, 7 * SYSTEM_PAGE);
    memory[12 * SYSTEM_PAGE] = 2;
    while (at < to) {
        told x = { .first = offset_of(0) };
        size_t before = at, n = oaki_dirty_take_some(&at, to, MOST, note, &x);
        ck_assert_uint_eq(n, x.n);
        ck_assert_uint_le(n, MOST);
        ck_assert(at > before && (n == MOST || at == to));
        for (size_t i = 0; i < PAGES; i++)
            if (x.page[i]) ck_assert(offset_of(i) >= before && offset_of(i) < at);
        all += n;
    }
    ck_assert_uint_eq(at, to);
    ck_assert_uint_eq(all, 8);
    ck_assert_uint_eq(take(true).n, 0); /* each was protected */
}
END_TEST

static TCase *tests(const char *name, void (*setup)(void))
{
    TCase *t = tcase_create(name);
    tcase_add_checked_fixture(t, setup, NULL);
    tcase_add_test(t, what_is_written_is_told_once);
    tcase_add_test(t, a_look_without_protecting_changes_nothing);
    tcase_add_test(t, each_first_write_is_counted);
    tcase_add_test(t, what_was_never_protected_counts_as_written);
    tcase_add_test(t, a_page_that_gets_its_memory_later_counts_as_written);
    tcase_add_test(t, what_the_system_writes_is_told_too);
    tcase_add_test(t, a_child_of_a_fork_begins_anew);
    tcase_add_loop_test(t, a_closed_descriptor_is_no_all_clear, 0, 2);
    tcase_add_test(t, a_child_closes_no_file_of_the_program);
    tcase_add_test(t, what_was_opened_in_vain_is_closed);
    tcase_add_test(t, memory_of_the_program_s_own_in_the_middle_is_watched_again);
    tcase_add_test(t, every_other_page_of_many);
    tcase_add_test(t, so_many_pages_at_a_time);
    return t;
}

Suite *suite_runtime_dirty(void)
{
    Suite *s = suite_create("runtime_dirty");
    suite_add_tcase(s, tests("userfaultfd", test_by_userfaultfd));
    suite_add_tcase(s, tests("faults", test_by_faults));
    return s;
}
