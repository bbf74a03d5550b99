/* config.c - tests of oak_config_read: the configuration in effect, and who started the heap. */
#include "tests/heap.h"

#include <check.h>
#include <string.h>

Suite *suite_gc_config(void);

START_TEST(before_the_start_it_is_the_default)
{
    oak_config c, d;
    oak_started by;
    memset(&by, 1, sizeof by);
    ck_assert(!oak_config_read(&c, &by));
    oak_config_default(&d);
    ck_assert_int_eq(c.gc_percent, d.gc_percent);
    ck_assert_uint_eq(c.min_heap, d.min_heap);
    ck_assert_int_eq(by.how, OAK_START_NOT);
    ck_assert_str_eq(by.by, "");
    ck_assert_uint_eq(AO_load(&oaki_the_heap.started), 0);
}
END_TEST

START_TEST(a_first_use_is_nobodys)
{
    oak_started by;
    ck_assert_ptr_nonnull(oak_alloc(10));
    ck_assert(oak_config_read(NULL, &by));
    ck_assert_int_eq(by.how, OAK_START_FIRST_USE);
    ck_assert_str_eq(by.by, "");
    ck_assert_int_eq(oak_init(NULL), 0); /* later calls change nothing */
    ck_assert(oak_config_read(NULL, &by));
    ck_assert_int_eq(by.how, OAK_START_FIRST_USE);
    ck_assert(oak_config_read(NULL, NULL));
}
END_TEST

START_TEST(a_call_is_its_objects)
{
    oak_started by;
    ck_assert_int_eq(oak_init(NULL), 0);
    ck_assert(oak_config_read(NULL, &by));
    ck_assert_int_eq(by.how, OAK_START_INIT);
    ck_assert_msg(strstr(by.by, "check_oakum") != NULL, "%s", by.by);
}
END_TEST

START_TEST(changes_after_the_start_are_seen)
{
    oak_config c = test_config(), now;
    test_heap_start(c);
    ck_assert(oak_config_read(&now, NULL));
    ck_assert_int_eq(now.gc_percent, c.gc_percent);
    ck_assert_int_eq(now.scavenge, c.scavenge);
    ck_assert_uint_eq(now.heap_reserve, oaki_the_heap.reserved);
    ck_assert_int_gt(now.stop_signal, 0);
    oak_set_gc_percent(33);
    oak_set_heap_max((size_t)1 << 30);
    oak_set_memory_limit((size_t)1 << 29);
    oak_set_finalizer_thread(!c.finalizer_thread);
    ck_assert_int_eq(oak_profile_set_rate(12345), 0);
    ck_assert(oak_config_read(&now, NULL));
    ck_assert_int_eq(now.gc_percent, 33);
    ck_assert_uint_eq(now.heap_max, (size_t)1 << 30);
    ck_assert_uint_eq(now.memory_limit, (size_t)1 << 29);
    ck_assert_int_eq(now.finalizer_thread, !c.finalizer_thread);
    ck_assert_uint_eq(now.profile_rate, 12345);
}
END_TEST

Suite *suite_gc_config(void)
{
    Suite *s = suite_create("gc/config");
    TCase *c = tcase_create("config");
    tcase_set_timeout(c, 60);
    tcase_add_test(c, before_the_start_it_is_the_default);
    tcase_add_test(c, a_first_use_is_nobodys);
    tcase_add_test(c, a_call_is_its_objects);
    tcase_add_test(c, changes_after_the_start_are_seen);
    suite_add_tcase(s, c);
    return s;
}
