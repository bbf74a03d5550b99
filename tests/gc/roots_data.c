/* roots_data.c - what the program's data keeps alive: interior pointers, data of libraries loaded
 * later, registered and excluded ranges, pinned objects, ephemerons. */
#include "roots_support.h"
#include "tests/heap.h"
#include "tests/refuse.h"

#include <check.h>
#include <dlfcn.h>
#include <errno.h>
#include <oakum/oakum.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

Suite *suite_gc_roots_data(void);

static roots_group group, other;
static void *slots[ROOTS_N];

static void keep_and_drop(void **where, size_t add)
{
    roots_reveal(&group, where, add);
    roots_assert_kept(roots_alive(&group));
    roots_forget(where);
    roots_assert_gone(roots_alive(&group));
}

START_TEST(static_data_keeps_objects)
{
    roots_start();
    roots_make(&group, 48);
    keep_and_drop(slots, 0);
}
END_TEST

/* Any byte of a small object, and of one that has pages of its own. */
START_TEST(an_interior_pointer_keeps_the_object)
{
    static const size_t size[] = { 48, 48, 48, 1024, 65536, 65536 };
    static const size_t inside[] = { 1, 17, 47, 1023, 40000, 65535 };
    roots_start();
    for (size_t i = 0; i < sizeof size / sizeof *size; i++) {
        roots_make(&group, size[i]);
        keep_and_drop(slots, inside[i]);
    }
}
END_TEST

static void *load(void)
{
    void *lib = dlopen(TEST_MODULES "/libdata.so", RTLD_NOW | RTLD_LOCAL);
    if (!lib) ck_abort_msg("%s", dlerror());
    return lib;
}

static void library(const char *symbol)
{
    roots_start();
    roots_collect(); /* the loaded objects are known */
    roots_make(&group, 48);
    void *lib = load();
    void **where = dlsym(lib, symbol);
    ck_assert_ptr_nonnull(where);
    keep_and_drop(where, 0);
    roots_make(&group, 48);
    roots_reveal(&group, where, 0);
    roots_assert_kept(roots_alive(&group));
    ck_assert_int_eq(dlclose(lib), 0);
    roots_assert_gone(roots_alive(&group));
}

START_TEST(initialised_data_of_a_library_loaded_later_keeps_objects)
{
    library("libdata_data");
}
END_TEST

START_TEST(zeroed_data_of_a_library_loaded_later_keeps_objects)
{
    library("libdata_bss");
}
END_TEST

/* The host's malloc is not scanned: so the range is what keeps them. */
START_TEST(a_registered_range_keeps_objects)
{
    roots_start();
    void **where = malloc(sizeof slots);
    roots_make(&group, 48);
    roots_make(&other, 48);
    roots_reveal(&group, where, 0);
    ck_assert_int_eq(oak_root_add(where, sizeof slots), 0);
    ck_assert_int_eq(oak_root_add(where, sizeof slots), 0);
    roots_assert_kept(roots_alive(&group));
    ck_assert_int_eq(oak_root_remove(where, sizeof slots), 0);
    roots_assert_kept(roots_alive(&group)); /* it was added twice */
    ck_assert_int_eq(oak_root_remove(where, sizeof slots), 0);
    roots_assert_gone(roots_alive(&group));
    roots_reveal(&other, where, 0);
    roots_assert_gone(roots_alive(&other));
    free(where);
}
END_TEST

START_TEST(a_range_that_is_not_aligned_keeps_what_its_aligned_words_hold)
{
    roots_start();
    char *where = malloc(sizeof slots + 16);
    roots_make(&group, 48);
    roots_reveal(&group, (void **)(where + 8), 0);
    ck_assert_int_eq(oak_root_add(where + 1, sizeof slots + 14), 0);
    roots_assert_kept(roots_alive(&group));
    ck_assert_int_eq(oak_root_remove(where + 1, sizeof slots + 14), 0);
    ck_assert_int_eq(oak_root_add(where + 9, sizeof slots - 1), 0);
    size_t alive = roots_alive(&group);
    ck_assert_uint_ge(alive, ROOTS_N - 1); /* without the first word */
    ck_assert_uint_le(alive, ROOTS_N);
    free(where);
}
END_TEST

START_TEST(an_excluded_part_of_data_or_of_a_range_is_not_looked_at)
{
    roots_start();
    void **where = malloc(sizeof slots);
    roots_make(&group, 48);
    roots_make(&other, 48);
    roots_reveal(&group, slots, 0);
    roots_reveal(&other, where, 0);
    ck_assert_int_eq(oak_root_add(where, sizeof slots), 0);
    roots_assert_kept(roots_alive(&group));
    roots_assert_kept(roots_alive(&other));
    ck_assert_int_eq(oak_root_exclude(slots, sizeof slots), 0);
    ck_assert_int_eq(oak_root_exclude(where + 8, sizeof(void *) * (ROOTS_N - 16)), 0);
    roots_assert_gone(roots_alive(&group));
    size_t alive = roots_alive(&other);
    ck_assert_uint_ge(alive, 16);
    ck_assert_uint_le(alive, 16 + ROOTS_LUCK);
    free(where);
}
END_TEST

START_TEST(bad_ranges_are_refused)
{
    roots_start();
    void *object = oak_alloc(100);
    struct {
        void *p;
        size_t n;
    } bad[] = {
        { slots, 0 }, { slots, SIZE_MAX }, { object, 8 }, { (char *)object - 65536, 131072 }
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        errno = 0;
        ck_assert_int_eq(oak_root_add(bad[i].p, bad[i].n), -1);
        ck_assert_int_eq(errno, EINVAL);
    }
    errno = 0;
    ck_assert_int_eq(oak_root_remove(slots, sizeof slots), -1);
    ck_assert_int_eq(errno, ENOENT);
    ck_assert_int_eq(oak_root_add(slots, sizeof slots), 0);
    ck_assert_int_eq(oak_root_remove(slots, sizeof slots - 8), -1);
    ck_assert_int_eq(errno, ENOENT);
    errno = 0;
    ck_assert_int_eq(oak_root_exclude(slots, 0), -1);
    ck_assert_int_eq(errno, EINVAL);
}
END_TEST

static __attribute__((noinline)) uintptr_t pin(void)
{
    void **p = oak_alloc_pinned(sizeof slots);
    ck_assert_ptr_nonnull(p);
    roots_reveal(&group, p, 0);
    return (uintptr_t)p ^ ROOTS_MASK;
}

static __attribute__((noinline)) void unpin(uintptr_t hidden)
{
    oak_free((void *)(hidden ^ ROOTS_MASK));
}

START_TEST(a_pinned_object_keeps_objects_until_it_is_freed)
{
    roots_start();
    roots_make(&group, 48);
    uintptr_t hidden = pin();
    roots_assert_kept(roots_alive(&group));
    unpin(hidden);
    roots_assert_gone(roots_alive(&group));
}
END_TEST

static void *keys[ROOTS_N];
static oak_ephemeron *ephemerons[ROOTS_N];

static __attribute__((noinline)) void make_ephemerons(void)
{
    void *values[ROOTS_N];
    roots_reveal(&group, values, 0);
    for (size_t i = 0; i < ROOTS_N; i++) {
        keys[i] = oak_alloc(32);
        ephemerons[i] = oak_ephemeron_new(keys[i], values[i]);
        ck_assert_ptr_nonnull(ephemerons[i]);
    }
    roots_forget(values);
    /* nobody reads the arrays but the collector */
    __asm__ __volatile__("" ::"r"(keys), "r"(ephemerons) : "memory");
}

START_TEST(an_ephemeron_keeps_its_value_while_its_key_lives)
{
    roots_start();
    roots_make(&group, 48);
    make_ephemerons();
    roots_assert_kept(roots_alive(&group));
    roots_forget(keys);
    roots_assert_gone(roots_alive(&group));
}
END_TEST

/* ---- ranges that can't be read any more ---- */

#define PAGES 6
#define OTHERS 200 /* ranges of pages of their own that can */

static char *area, *others;
static size_t page;

/* A page of a range has gone: whichever it is, and whether or not it stays mapped. */
static const struct gone {
    size_t pages; /* that the range lies in, the first and the last not wholly */
    size_t page;
    bool mapped; /* of what is so in the middle nothing is known */
} gone[] = { { PAGES, 0, false }, { PAGES, 2, false }, { PAGES, PAGES - 1, false },
             { PAGES, 0, true },  { PAGES, PAGES - 1, true },
             { 1, 0, false },     { 2, 1, false },     { 3, 1, false },   { 3, 2, true } };

static void add_ranges(void)
{
    page = (size_t)sysconf(_SC_PAGESIZE);
    area = mmap(NULL, PAGES * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    others = mmap(NULL, OTHERS * page, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ck_assert(area != MAP_FAILED && others != MAP_FAILED);
    for (size_t i = 0; i < OTHERS; i++)
        ck_assert_int_eq(oak_root_add(others + i * page + i % 3 * 8, 64), 0);
}

static void lose_a_page(void *arg)
{
    const struct gone *g = arg;
    size_t middle = (g->pages - OAKI_MIN(g->pages, 2)) * page;
    if (g->pages == 1) ck_assert_int_eq(oak_root_add(area + 8, 64), 0);
    else ck_assert_int_eq(oak_root_add(area + page - 8, middle + 16), 0);
    oak_collect();
    char *p = area + g->page * page;
    ck_assert_int_eq(g->mapped ? mprotect(p, page, PROT_NONE) : munmap(p, page), 0);
    oak_collect();
}

static void collect_the_first_page(void *arg)
{
    (void)arg;
    ck_assert_int_eq(oak_root_add((void *)8, 64), 0);
    oak_collect();
}

static void collect_without(void *arg)
{
    ck_assert_int_eq(oak_root_remove(arg, 64), 0);
    ck_assert_int_eq(munmap(arg, page), 0);
    oak_collect();
}

/* refused: by the system, to ask about all together. */
static void ranges_that_go(bool refused)
{
    test_heap_start(test_config());
    add_ranges();
    if (refused) test_refuse(SYS_process_vm_readv);
    for (size_t i = 0; i < sizeof gone / sizeof *gone; i++)
        test_dies(lose_a_page, (void *)(uintptr_t)&gone[i], "can't be read any more");
    test_dies(collect_the_first_page, NULL, "can't be read any more");
    test_child(collect_without, others + 99 * page);
}

START_TEST(ranges_that_can_not_be_read_any_more_are_told)
{
    ranges_that_go(_i);
}
END_TEST

Suite *suite_gc_roots_data(void)
{
    Suite *s = suite_create("gc/roots_data");
    TCase *c = tcase_create("data");
    tcase_add_test(c, static_data_keeps_objects);
    tcase_add_test(c, an_interior_pointer_keeps_the_object);
    tcase_add_test(c, initialised_data_of_a_library_loaded_later_keeps_objects);
    tcase_add_test(c, zeroed_data_of_a_library_loaded_later_keeps_objects);
    tcase_add_test(c, a_registered_range_keeps_objects);
    tcase_add_test(c, a_range_that_is_not_aligned_keeps_what_its_aligned_words_hold);
    tcase_add_test(c, an_excluded_part_of_data_or_of_a_range_is_not_looked_at);
    tcase_add_test(c, bad_ranges_are_refused);
    tcase_add_loop_test(c, ranges_that_can_not_be_read_any_more_are_told, 0, 2);
    tcase_add_test(c, a_pinned_object_keeps_objects_until_it_is_freed);
    tcase_add_test(c, an_ephemeron_keeps_its_value_while_its_key_lives);
    suite_add_tcase(s, c);
    return s;
}
