/* os.c - tests of runtime/os_linux.c: reserve, commit, purge, what is resident; clocks, random
 * bytes, futexes. */
#include "runtime/mappings.h"
#include "runtime/os.h"

#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/capture.h"
#include "tests/skip.h"

Suite *suite_runtime_os(void);

#define MIB ((size_t)1 << 20)

static bool all_zero(const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (p[i]) return false;
    return true;
}

START_TEST(a_reservation_is_aligned_and_costs_nothing)
{
    for (size_t align = 4096; align <= 64 * MIB; align *= 4) {
        char *p = oaki_os_reserve(3 * MIB, align);
        ck_assert_ptr_nonnull(p);
        ck_assert_uint_eq((uintptr_t)p % align, 0);
        ck_assert_uint_eq(oaki_os_resident(p, 3 * MIB), 0);
        oaki_os_release(p, 3 * MIB);
    }
    size_t big = (size_t)1 << 34; /* Valgrind leaves no more */
    char *p = oaki_os_reserve(big, 64 * MIB);
    ck_assert_ptr_nonnull(p);
    oaki_os_release(p, big);
    ck_assert_ptr_null(oaki_os_reserve(SIZE_MAX / 2, MIB));
    ck_assert_ptr_null(oaki_os_reserve(SIZE_MAX - 4095, MIB));
}
END_TEST

/* Parts of one mapping are given back, or shortened, apart. */
START_TEST(a_reservation_is_split)
{
    size_t page = oaki_os_page_size(), before = oaki_mappings_count();
    char *p = oaki_os_reserve(8 * page, page);
    ck_assert_ptr_nonnull(p);
    ck_assert(oaki_os_split(p, 8 * page, 3 * page));
    ck_assert_uint_eq(oaki_mappings_count(), before + 2);
    ck_assert(oaki_os_split(p + 3 * page, 5 * page, 4 * page));
    oaki_os_shorten(p + 3 * page, 4 * page, page);
    ck_assert_int_eq(oaki_os_commit(p, 4 * page), 0);
    ck_assert_int_ne(oaki_os_commit(p + 4 * page, page), 0);
    ck_assert_int_eq(oaki_os_commit(p + 7 * page, page), 0);
    oaki_os_release(p, 3 * page);
    ck_assert_int_ne(oaki_os_commit(p, page), 0);
    p[3 * page] = p[7 * page] = 1;
    oaki_os_release(p + 3 * page, page);
    oaki_os_release(p + 7 * page, page);
    ck_assert_uint_eq(oaki_mappings_count(), before);
}
END_TEST

/* Each is tried below the one before. */
START_TEST(aligned_reservations_follow_each_other)
{
    char *p[16];
    for (size_t i = 0; i < 16; i++) {
        p[i] = oaki_os_reserve(i % 3 ? MIB : 4 * MIB, i % 3 ? MIB : 4 * MIB);
        ck_assert_ptr_nonnull(p[i]);
        ck_assert_uint_eq((uintptr_t)p[i] % (i % 3 ? MIB : 4 * MIB), 0);
        for (size_t j = 0; j < i; j++) ck_assert_ptr_ne(p[i], p[j]);
    }
    for (size_t i = 0; i < 16; i++) oaki_os_release(p[i], i % 3 ? MIB : 4 * MIB);
}
END_TEST

static void read_reserved(void *arg)
{
    exit(*(char *)arg + 1);
}

START_TEST(reserved_memory_is_inaccessible_until_it_is_committed)
{
    char err[64], *p = oaki_os_reserve(4 * MIB, MIB);
    int status = test_capture(read_reserved, p + MIB, err, sizeof err);
    ck_assert(!WIFEXITED(status) || WEXITSTATUS(status) != 1);
    ck_assert_int_eq(oaki_os_commit(p + MIB, MIB), 0);
    ck_assert(all_zero(p + MIB, MIB));
    memset(p + MIB, 1, MIB);
    status = test_capture(read_reserved, p + 2 * MIB, err, sizeof err);
    ck_assert(!WIFEXITED(status) || WEXITSTATUS(status) != 1);
    oaki_os_release(p, 4 * MIB);
}
END_TEST

START_TEST(resident_counts_written_pages_and_purge_drops_them)
{
    size_t page = oaki_os_page_size();
    char *p = oaki_os_reserve(4 * MIB, 2 * MIB);
    ck_assert_int_eq(oaki_os_commit(p, 4 * MIB), 0);
    oaki_os_huge(p, 4 * MIB, false);
    ck_assert_uint_eq(oaki_os_resident(p, 4 * MIB), 0);
    for (size_t i = 0; i < 4 * MIB; i += 2 * page) p[i] = 1; /* every other page: many short runs */
    ck_assert_uint_eq(oaki_os_resident(p, 4 * MIB), 2 * MIB);
    ck_assert_uint_eq(oaki_os_resident(p, 1), page);
    ck_assert_uint_eq(oaki_os_resident(p + page, page), 0);
    oaki_os_purge(p, MIB);
    ck_assert_uint_eq(oaki_os_resident(p, 4 * MIB), 2 * MIB - MIB / 2);
    ck_assert(all_zero(p, MIB));
    p[0] = 2; /* it is still committed */
    oaki_os_release(p, 4 * MIB);
}
END_TEST

START_TEST(purged_memory_reads_as_zero_even_when_it_is_locked)
{
    char *p = oaki_os_map(MIB / 16);
    memset(p, 1, MIB / 16);
    if (test_skip(mlock(p, MIB / 16) != 0, "too little memory may be locked")) return;
    errno = 7;
    oaki_os_purge(p, MIB / 16);
    ck_assert_int_eq(errno, 7);
    ck_assert(all_zero(p, MIB / 16));
    oaki_os_release(p, MIB / 16);
}
END_TEST

START_TEST(mapped_memory_is_zero_and_no_memory_is_a_value)
{
    char *p = oaki_os_map(MIB);
    ck_assert_ptr_nonnull(p);
    ck_assert(all_zero(p, MIB));
    oaki_os_release(p, MIB);
    errno = 0;
    ck_assert_ptr_null(oaki_os_map(SIZE_MAX / 2 & ~(size_t)4095));
    ck_assert_int_eq(errno, ENOMEM);
}
END_TEST

static size_t address_space(void)
{
    size_t pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (!f || fscanf(f, "%zu", &pages) != 1) exit(4);
    fclose(f);
    return pages * oaki_os_page_size();
}

static void reserve_under_limit(void *arg)
{
    size_t limit = address_space() + 512 * MIB;
    (void)arg;
    setrlimit(RLIMIT_AS, &(struct rlimit){ limit, limit });
    if (oaki_os_reserve(1024 * MIB, 64 * MIB)) exit(1);
    if (errno != ENOMEM) exit(2);
    if (!oaki_os_reserve(64 * MIB, MIB)) exit(3);
}

START_TEST(a_limit_on_address_space_is_a_value)
{
    char err[64];
    ck_assert_int_eq(test_capture(reserve_under_limit, NULL, err, sizeof err), 0);
}
END_TEST

START_TEST(cpus_are_those_of_the_affinity_mask)
{
    cpu_set_t all, one;
    ck_assert_int_eq(sched_getaffinity(0, sizeof all, &all), 0);
    ck_assert_uint_eq(oaki_os_cpus(), (unsigned)CPU_COUNT(&all));
    int cpu = 0;
    while (!CPU_ISSET(cpu, &all)) cpu++;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    ck_assert_int_eq(sched_setaffinity(0, sizeof one, &one), 0);
    ck_assert_uint_eq(oaki_os_cpus(), 1);
}
END_TEST

START_TEST(clocks_advance)
{
    uint64_t now = oaki_os_now_ns(), wall = oaki_os_wall_ns(), cpu = oaki_os_cpu_ns();
    oaki_os_sleep_ns(3000000);
    ck_assert_uint_ge(oaki_os_now_ns() - now, 3000000);
    ck_assert_uint_gt(wall, (uint64_t)1500000000 * 1000000000);
    while (oaki_os_cpu_ns() == cpu) continue;
    ck_assert_int_eq(oaki_os_tid(), getpid());
}
END_TEST

static struct {
    AO_t clock, over;
} worker;

static void *work(void *arg)
{
    AO_store_release(&worker.clock, (AO_t)oaki_os_thread_clock());
    while (!AO_load_acquire(&worker.over)) continue;
    return arg;
}

/* Of another thread: what it has used, and nothing once it is gone. */
START_TEST(a_thread_has_a_clock)
{
    pthread_t id;
    ck_assert_int_eq(pthread_create(&id, NULL, work, NULL), 0);
    while (!AO_load_acquire(&worker.clock)) oaki_os_yield();
    int clock = (int)AO_load(&worker.clock);
    uint64_t first = oaki_os_clock_ns(clock);
    while (oaki_os_clock_ns(clock) < first + 1000000) oaki_os_yield();
    AO_store_release(&worker.over, 1);
    pthread_join(id, NULL);
    while (oaki_os_clock_ns(clock) != 0) oaki_os_yield();
    ck_assert_uint_gt(oaki_os_clock_ns(oaki_os_thread_clock()), 0);
}
END_TEST

START_TEST(random_bytes_differ)
{
    unsigned char a[400] = { 0 }, b[400] = { 0 };
    oaki_os_random(a, sizeof a - 1);
    oaki_os_random(b, sizeof b - 1);
    ck_assert_int_ne(memcmp(a, b, sizeof a), 0);
    ck_assert_uint_eq(a[399], 0);
    ck_assert(!all_zero((char *)a + 350, 49));
}
END_TEST

static unsigned word;

static void *wait_for_one(void *arg)
{
    while (AO_int_load_acquire(&word) == 0) oaki_futex_wait(&word, 0, 0);
    return arg;
}

START_TEST(a_futex_wakes_its_sleepers)
{
    pthread_t t[3];
    for (int i = 0; i < 3; i++) pthread_create(&t[i], NULL, wait_for_one, NULL);
    oaki_os_sleep_ns(2000000);
    AO_int_store_release(&word, 1);
    oaki_futex_wake(&word, 3);
    for (int i = 0; i < 3; i++) ck_assert_int_eq(pthread_join(t[i], NULL), 0);
    errno = 7;
    oaki_futex_wait(&word, 0, 0);       /* the word is not what was seen: returns at once */
    oaki_futex_wait(&word, 1, 1000000); /* nobody wakes it: the time runs out */
    ck_assert_int_eq(errno, 7);
}
END_TEST

Suite *suite_runtime_os(void)
{
    Suite *s = suite_create("runtime_os");
    TCase *tc = tcase_create("os");
    tcase_add_test(tc, a_reservation_is_aligned_and_costs_nothing);
    tcase_add_test(tc, a_reservation_is_split);
    tcase_add_test(tc, aligned_reservations_follow_each_other);
    tcase_add_test(tc, reserved_memory_is_inaccessible_until_it_is_committed);
    tcase_add_test(tc, resident_counts_written_pages_and_purge_drops_them);
    tcase_add_test(tc, purged_memory_reads_as_zero_even_when_it_is_locked);
    tcase_add_test(tc, mapped_memory_is_zero_and_no_memory_is_a_value);
    tcase_add_test(tc, a_limit_on_address_space_is_a_value);
    tcase_add_test(tc, cpus_are_those_of_the_affinity_mask);
    tcase_add_test(tc, clocks_advance);
    tcase_add_test(tc, a_thread_has_a_clock);
    tcase_add_test(tc, random_bytes_differ);
    tcase_add_test(tc, a_futex_wakes_its_sleepers);
    suite_add_tcase(s, tc);
    return s;
}
