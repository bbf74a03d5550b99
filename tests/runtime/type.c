/* type.c - tests of runtime/type.c: the table, its arguments, and that the marker goes by it. */
#include "runtime/type.h"

#include "runtime/heap.h"
#include "tests/gc/away.h"
#include "tests/heap.h"

#include <check.h>
#include <errno.h>
#include <oakum/oakum.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

Suite *suite_runtime_type(void);

static const uint64_t first_word = 1;

static void mark_nothing(oak_marker *m, void *obj, size_t size)
{
    (void)m;
    (void)obj;
    (void)size;
}

START_TEST(a_type_keeps_copies_of_name_and_bitmap)
{
    char name[] = "pair";
    uint64_t bits[2] = { ~(uint64_t)0, ~(uint64_t)0 };
    oak_type *t = oak_type_bitmap(name, 70 * 8, bits);
    ck_assert_ptr_nonnull(t);
    memset(name, 'x', sizeof name - 1);
    bits[0] = 0;
    ck_assert_str_eq(oak_type_name(t), "pair");
    ck_assert_uint_eq(t->nwords, 70);
    ck_assert_uint_eq(t->bitmap[0], ~(uint64_t)0);
    ck_assert_msg(t->bitmap[1] == 63, "bits behind the last word are cleared");
    ck_assert_ptr_eq(oaki_type_by_id(t->id), t);
    ck_assert_ptr_null(oaki_type_by_id(0));
}
END_TEST

START_TEST(wrong_arguments_are_refused)
{
    errno = 0;
    ck_assert_ptr_null(oak_type_bitmap(NULL, 8, &first_word));
    ck_assert_int_eq(errno, EINVAL);
    ck_assert_ptr_null(oak_type_bitmap("t", 0, &first_word));
    ck_assert_ptr_null(oak_type_bitmap("t", 12, &first_word));
    ck_assert_ptr_null(oak_type_bitmap("t", 8, NULL));
    ck_assert_ptr_null(oak_type_function("t", 8, NULL));
    ck_assert_ptr_null(oak_type_function("t", 4, mark_nothing));
    errno = 0;
    ck_assert_ptr_null(oak_type_function("t", SIZE_MAX - 7, mark_nothing));
    ck_assert_int_eq(errno, EINVAL);
}
END_TEST

static void allocate_without_type(void *arg)
{
    (void)!oak_alloc_typed(arg, 3);
}

START_TEST(no_type_is_fatal)
{
    test_dies(allocate_without_type, NULL, "oakum: oak_alloc_typed: the type is NULL");
}
END_TEST

#define MAKERS 4
#define EACH 3000

static void *make_many(void *arg)
{
    oak_type **made = arg;
    char name[32];
    for (int i = 0; i < EACH; i++) {
        snprintf(name, sizeof name, "%p-%d", arg, i);
        made[i] = oak_type_function(name, 8, mark_nothing);
    }
    return NULL;
}

START_TEST(ids_are_distinct_and_find_their_types)
{
    static oak_type *made[MAKERS][EACH];
    static bool seen[MAKERS * EACH + 1];
    pthread_t t[MAKERS];
    for (int i = 0; i < MAKERS; i++) pthread_create(&t[i], NULL, make_many, made[i]);
    for (int i = 0; i < MAKERS; i++) pthread_join(t[i], NULL);
    for (int i = 0; i < MAKERS; i++)
        for (int k = 0; k < EACH; k++) {
            oak_type *type = made[i][k];
            ck_assert_ptr_nonnull(type);
            ck_assert_uint_ge(type->id, 1);
            ck_assert_uint_le(type->id, MAKERS * EACH);
            ck_assert(!seen[type->id]);
            seen[type->id] = true;
            ck_assert_ptr_eq(oaki_type_by_id(type->id), type);
        }
}
END_TEST

START_TEST(an_object_knows_its_type)
{
    oak_type *a = oak_type_bitmap("a", 48, &first_word),
             *b = oak_type_function("b", 48, mark_nothing);
    char *objects[200];
    for (int i = 0; i < 200; i++) objects[i] = oak_alloc_typed(i % 3 ? a : b, 1);
    for (int i = 0; i < 200; i++) {
        ck_assert_ptr_eq(oak_type_of(objects[i]), i % 3 ? a : b);
        ck_assert_ptr_eq(oak_type_of(objects[i] + 47), i % 3 ? a : b);
    }
    char *large = oak_alloc_typed(b, 10000);
    ck_assert_ptr_eq(oak_type_of(large), b);
    ck_assert_ptr_eq(oak_type_of(large + 100000), b);
    ck_assert_ptr_null(oak_type_of(oak_alloc(48)));
    ck_assert_ptr_null(oak_type_of(oak_alloc(100000)));
    ck_assert_ptr_null(oak_type_of(oak_alloc_noscan(48)));
    ck_assert_ptr_null(oak_type_of(&a));
    ck_assert_ptr_null(oak_type_of(NULL));
}
END_TEST

/* ---- the marker ---- */

#define ELEMENTS 50

static void *typed_root;
static oak_weak *in_pointer[ELEMENTS], *in_number[ELEMENTS];
static size_t marked_elements;

typedef struct element {
    void *pointer;
    uintptr_t number;
} element;

static void mark_pointers(oak_marker *m, void *obj, size_t size)
{
    element *e = obj;
    for (size_t i = 0; i < size / sizeof *e; i++) oak_mark_ptr(m, e[i].pointer);
    marked_elements = size / sizeof *e;
}

/* An array of elements: what their first words point to is to live, what their second ones hold
 * not. */
static void build(void *type)
{
    element *e = oak_alloc_typed(type, ELEMENTS);
    for (int i = 0; i < ELEMENTS; i++) {
        e[i].pointer = oak_alloc(64);
        e[i].number = (uintptr_t)oak_alloc(64);
        in_pointer[i] = oak_weak_new(e[i].pointer);
        in_number[i] = oak_weak_new((void *)e[i].number);
    }
    typed_root = e;
}

static void check_marked_by_type(oak_type *type)
{
    test_build(build, type);
    oak_collect();
    ck_assert_ptr_nonnull(typed_root);
    int stray = 0;
    for (int i = 0; i < ELEMENTS; i++) {
        ck_assert_ptr_nonnull(oak_weak_get(in_pointer[i]));
        stray += oak_weak_get(in_number[i]) != NULL;
    }
    ck_assert_int_le(stray, 2);
}

START_TEST(a_bitmap_says_which_words_are_pointers)
{
    check_marked_by_type(oak_type_bitmap("element", sizeof(element), &first_word));
}
END_TEST

START_TEST(a_function_says_which_words_are_pointers)
{
    check_marked_by_type(oak_type_function("element", sizeof(element), mark_pointers));
    ck_assert_uint_ge(marked_elements, ELEMENTS);
}
END_TEST

/* ---- before its type is stored ---- */

enum { SLOTS = 3000, KEEP = 8 /* one in so many, so that their spans stay */ };
static uintptr_t hidden[SLOTS];
static void *kept[SLOTS];
static size_t marked;

static void count_marked(oak_marker *m, void *obj, size_t size)
{
    (void)m;
    (void)obj;
    (void)size;
    marked++;
}

/* Freed by hand, or garbage for a collection. */
static void make_and_drop(void *by_hand)
{
    const oak_type *t = oak_type_function("counted", 64, count_marked);
    for (size_t i = 0; i < SLOTS; i++) {
        void *p = oak_alloc_typed(t, 1);
        hidden[i] = ~(uintptr_t)p;
        if (i % KEEP == 0) kept[i] = p;
    }
    for (size_t i = 0; by_hand && i < SLOTS; i++)
        if (!kept[i]) oak_free((void *)~hidden[i]);
}

static bool was_one(const void *p)
{
    for (size_t i = 0; i < SLOTS; i++)
        if ((void *)~hidden[i] == p) return true;
    return false;
}

/* A collection may come between: by the former owner's type, a slot of zeros would be given to its
 * mark function. */
START_TEST(a_slot_has_no_type_of_its_former_owner)
{
    static void *held[SLOTS];
    size_t again = 0;
    test_build(make_and_drop, _i ? hidden : NULL);
    oak_collect();
    for (size_t i = 0; i < SLOTS; i++) {
        void *p = held[i] = oaki_alloc_kind(64, 1, OAKI_TYPED, 0);
        ck_assert_uint_eq(oaki_type_id_at(oaki_heap_offset(p)), 0);
        again += was_one(p);
    }
    ck_assert_uint_gt(again, SLOTS / 2);
    memset(kept, 0, sizeof kept);
    oak_collect();
    marked = 0;
    oak_collect();
    ck_assert_uint_le(marked, 2); /* what a stray word may keep */
    ck_assert_ptr_eq(oak_base(held[0]), held[0]);
}
END_TEST

static void start(void)
{
    test_start(0);
}

Suite *suite_runtime_type(void)
{
    Suite *s = suite_create("runtime/type");
    TCase *c = tcase_create("table");
    tcase_add_checked_fixture(c, start, NULL);
    tcase_add_test(c, a_type_keeps_copies_of_name_and_bitmap);
    tcase_add_test(c, wrong_arguments_are_refused);
    tcase_add_test(c, no_type_is_fatal);
    tcase_add_test(c, ids_are_distinct_and_find_their_types);
    tcase_add_test(c, an_object_knows_its_type);
    tcase_add_test(c, a_bitmap_says_which_words_are_pointers);
    tcase_add_test(c, a_function_says_which_words_are_pointers);
    tcase_add_loop_test(c, a_slot_has_no_type_of_its_former_owner, 0, 2);
    suite_add_tcase(s, c);
    return s;
}
