/* objtable - tests of gc/refs/objtable.c: against a plain list, with the structure checked as it
 * goes. The objects are made-up addresses: the table never follows them. */
#include "gc/refs/objtable.h"
#include "gc/tuning.h"

#include <check.h>
#include <oakum/oakum.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

Suite *suite_gc_objtable(void);

typedef struct record {
    oaki_record link;
    unsigned tag;
} record;

#define TAGS 4096
#define STEPS (getenv("UNDER_VALGRIND") ? 6000u : 60000u)

static oaki_lock owner = OAKI_LOCK_INIT(OAKI_RANK_FINALIZER);
static oaki_objtable table;
static char *object_of[TAGS]; /* of the record with this tag; NULL: there is none */

static record *at(uint32_t i)
{
    return oaki_objtable_at(&table, i);
}

static uint32_t number_of(unsigned tag)
{
    for (uint32_t i = 0; table.plain && i < table.records.len; i++)
        if (at(i)->tag == tag) return i;
    for (uint32_t i = oaki_objtable_first(&table, object_of[tag]); i != OAKI_RECORD_NONE;
         i = at(i)->link.next)
        if (at(i)->tag == tag) return i;
    return OAKI_RECORD_NONE;
}

static void add(unsigned tag, char *obj)
{
    uint32_t after = rand() % 2 ? oaki_objtable_first(&table, obj) : OAKI_RECORD_NONE;
    ck_assert_int_eq(oaki_objtable_reserve(&table), 0);
    oaki_objslot *place;
    bool looks = after == OAKI_RECORD_NONE && !table.plain && rand() % 2;
    if (looks)
        ck_assert_uint_eq(oaki_objtable_find(&table, obj, &place),
                          oaki_objtable_first(&table, obj));
    uint32_t i = looks ? oaki_objtable_add_at(&table, obj, place) :
                         oaki_objtable_add(&table, obj, after);
    ck_assert_ptr_eq(at(i)->link.obj, obj);
    if (after == OAKI_RECORD_NONE && !table.plain)
        ck_assert_uint_eq(oaki_objtable_first(&table, obj), i);
    at(i)->tag = tag;
    object_of[tag] = obj;
}

static void check_all(size_t live)
{
    const char *broken = oaki_objtable_check(&table);
    ck_assert_msg(broken == NULL, "%s", broken ? broken : "");
    ck_assert_uint_eq(table.records.len, live);
    for (unsigned tag = 0; tag < TAGS; tag++)
        if (object_of[tag]) ck_assert_uint_ne(number_of(tag), OAKI_RECORD_NONE);
}

/* With an index, and without. */
static void change_index(void)
{
    if (table.plain) ck_assert_int_eq(oaki_objtable_index(&table), 0);
    else oaki_objtable_unindex(&table);
}

static void expect_first(unsigned tag)
{
    uint32_t i = oaki_objtable_first(&table, object_of[tag]);
    ck_assert_uint_lt(i, table.records.len);
    ck_assert_ptr_eq(at(i)->link.obj, object_of[tag]);
}

/* Few objects make long chains, many make long probes. */
static void random_walk(unsigned objects, bool shrinking)
{
    size_t live = table.records.len;
    for (unsigned step = 0; step < STEPS; step++) {
        unsigned tag = (unsigned)rand() % TAGS;
        if (!object_of[tag]) {
            if (shrinking && rand() % 4) continue;
            add(tag, (char *)(uintptr_t)(0x7000000000 + 16 * ((size_t)rand() % objects)));
            live++;
        } else {
            uint32_t i = number_of(tag);
            ck_assert_uint_ne(i, OAKI_RECORD_NONE);
            expect_first(tag);
            oaki_objtable_remove(&table, i);
            object_of[tag] = NULL;
            live--;
        }
        if (rand() % 4096 == 0) change_index();
        if (step % 1024 == 0) (void)oaki_objtable_trim(&table, OAKI_TUNE_TABLE_FORGET);
        if (step % 4096 == 0) check_all(live);
    }
    check_all(live);
}

START_TEST(it_agrees_with_a_list)
{
    unsigned seed = (unsigned)time(NULL) ^ (unsigned)_i << 20;
    static const unsigned objects[] = { 1, 3, 100, 3000, 1000000 };
    printf("gc/objtable seed %u\n", seed);
    srand(seed);
    oaki_objtable_init(&table, sizeof(record), &owner);
    ck_assert_uint_eq(oaki_objtable_first(&table, &table), OAKI_RECORD_NONE);
    random_walk(objects[_i], false);
    random_walk(objects[_i], true);
}
END_TEST

/* ---- what a cycle knows of them ---- */

static unsigned known[TAGS]; /* the state that the record with this tag should have */
static uint32_t seen, expected, last;

static bool is_sure(void *ctx, uint32_t i)
{
    (void)ctx;
    if (rand() % 2) known[at(i)->tag] |= OAKI_RECORD_CERTAIN;
    return known[at(i)->tag] & OAKI_RECORD_CERTAIN;
}

static void expect(void *ctx, uint32_t i)
{
    (void)ctx;
    (void)i;
    expected++;
}

static void see(void *ctx, uint32_t i)
{
    (void)ctx;
    ck_assert(seen == 0 || i > last);
    ck_assert_uint_gt(expected, seen);
    ck_assert(!(known[at(i)->tag] & OAKI_RECORD_CERTAIN));
    last = i;
    seen++;
}

static void drop(uint32_t i)
{
    ck_assert(known[at(i)->tag] & OAKI_RECORD_FLAGGED);
    object_of[at(i)->tag] = NULL;
    oaki_objtable_remove(&table, i);
}

static void check_known(void)
{
    uint32_t unsure = 0;
    for (uint32_t i = 0; i < table.records.len; i++) {
        ck_assert_uint_eq(oaki_objtable_state(&table, i), known[at(i)->tag]);
        unsure += !(known[at(i)->tag] & OAKI_RECORD_CERTAIN);
    }
    seen = expected = 0;
    oaki_objtable_each_uncertain(&table, expect, see, NULL);
    ck_assert_uint_eq(seen, unsure);
    ck_assert_uint_eq(expected, unsure);
}

static void change_one(void)
{
    unsigned tag = (unsigned)rand() % TAGS;
    if (!object_of[tag]) {
        add(tag, (char *)(uintptr_t)(0x7000000000 + 16 * ((size_t)rand() % 3000)));
        known[tag] = 0;
        return;
    }
    uint32_t i = number_of(tag);
    switch (rand() % 4) {
    case 0:
        oaki_objtable_uncertain(&table, i);
        known[tag] &= ~(unsigned)OAKI_RECORD_CERTAIN;
        break;
    case 1: {
        if (known[tag] & OAKI_RECORD_CERTAIN) return; /* the stop passes by these */
        enum oaki_record_state flag = rand() % 2 ? OAKI_RECORD_GONE : OAKI_RECORD_LOST;
        oaki_objtable_flag(&table, i, flag);
        known[tag] |= flag;
        break;
    }
    case 2:
        oaki_objtable_unflag(&table, i);
        known[tag] &= ~(unsigned)OAKI_RECORD_FLAGGED;
        break;
    default:
        object_of[tag] = NULL;
        oaki_objtable_remove(&table, i);
    }
}

/* Records come and go between two calls of it. */
static void settle(void)
{
    uint32_t from = 0;
    while (oaki_objtable_reclaim(&table, &from, drop)) change_one();
    for (unsigned tag = 0; tag < TAGS; tag++) known[tag] = 0;
    for (uint32_t i = 0; i < table.records.len; i++)
        ck_assert_uint_eq(oaki_objtable_state(&table, i), 0);
}

START_TEST(it_knows_what_it_is_told_of_its_records)
{
    unsigned seed = (unsigned)time(NULL);
    printf("gc/objtable seed %u\n", seed);
    srand(seed);
    oaki_objtable_init(&table, sizeof(record), &owner);
    for (unsigned step = 1; step <= STEPS; step++) {
        change_one();
        if (step % 64 == 0)
            (void)oaki_objtable_note_certain(&table, (uint32_t)rand() % TAGS, 50, expect, is_sure,
                                             NULL);
        if (step % 512 == 0) check_known();
        if (step % 1024 == 0) (void)oaki_objtable_trim(&table, 1);
        if (step % 4096 == 0) settle();
        if (step % 4096 == 0) check_all(table.records.len);
    }
}
END_TEST

START_TEST(an_unlinked_record_stays_and_moves)
{
    oaki_objtable_init(&table, sizeof(record), &owner);
    add(1, (char *)0x1000);
    add(2, (char *)0x2000);
    add(3, (char *)0x1000);
    uint32_t third = number_of(3);
    oaki_objtable_unlink(&table, third);
    object_of[3] = NULL;
    ck_assert_uint_eq(oaki_objtable_first(&table, (char *)0x1000), number_of(1));
    check_all(3);
    oaki_objtable_remove(&table, number_of(1));
    object_of[1] = NULL;
    check_all(2);
    unsigned found = 0;
    for (uint32_t i = 0; i < 2; i++) found += at(i)->tag == 3 && !at(i)->link.obj;
    ck_assert_uint_eq(found, 1);
}
END_TEST

START_TEST(memory_follows_the_number_of_records)
{
    oaki_objtable_init(&table, sizeof(record), &owner);
    size_t before = oaki_meta_in_use(OAKI_META_OTHER);
    for (size_t i = 0; i < 100000; i++) {
        if (oaki_objtable_reserve(&table) != 0) ck_abort_msg("out of memory");
        oaki_objtable_add(&table, (char *)(0x10000 + 16 * i), OAKI_RECORD_NONE);
    }
    size_t most = oaki_meta_in_use(OAKI_META_OTHER);
    ck_assert_uint_ge(most - before, 100000 * sizeof(record));
    while (table.records.len > 10) oaki_objtable_remove(&table, (uint32_t)table.records.len - 1);
    ck_assert_uint_eq(oaki_objtable_trim(&table, OAKI_TUNE_TABLE_FORGET), 100000);
    ck_assert_uint_eq(oaki_meta_in_use(OAKI_META_OTHER), most); /* it may fill again */
    for (int i = 0; i < 80; i++) (void)oaki_objtable_trim(&table, OAKI_TUNE_TABLE_FORGET);
    ck_assert_ptr_null(oaki_objtable_check(&table));
    ck_assert_uint_lt(oaki_meta_in_use(OAKI_META_OTHER) - before, 16384);
}
END_TEST

/* As one that is filled between any two collections, which leave little of it. */
START_TEST(a_table_that_fills_again_keeps_its_memory)
{
    size_t in_use[3];
    oaki_objtable_init(&table, sizeof(record), &owner);
    for (size_t round = 0; round < 3; round++) {
        for (size_t i = 0; i < 20000; i++) {
            if (oaki_objtable_reserve(&table) != 0) ck_abort_msg("out of memory");
            oaki_objtable_add(&table, (char *)(0x10000 + 16 * i), OAKI_RECORD_NONE);
        }
        while (table.records.len > 1)
            oaki_objtable_remove(&table, (uint32_t)table.records.len - 1);
        for (int i = 0; i < 3; i++) (void)oaki_objtable_trim(&table, OAKI_TUNE_TABLE_FORGET);
        in_use[round] = oaki_meta_in_use(OAKI_META_OTHER);
    }
    ck_assert_uint_ge(in_use[0], 20000 * sizeof(record));
    ck_assert_uint_eq(in_use[1], in_use[0]);
    ck_assert_uint_eq(in_use[2], in_use[0]);
}
END_TEST

static void start(void)
{
    ck_assert_int_eq(oak_init(NULL), 0);
    oaki_lock_acquire(&owner);
}

static void end(void)
{
    oaki_lock_release(&owner);
}

Suite *suite_gc_objtable(void)
{
    Suite *s = suite_create("gc/objtable");
    TCase *c = tcase_create("table");
    tcase_add_checked_fixture(c, start, end);
    tcase_add_loop_test(c, it_agrees_with_a_list, 0, 5);
    tcase_add_test(c, it_knows_what_it_is_told_of_its_records);
    tcase_add_test(c, an_unlinked_record_stays_and_moves);
    tcase_add_test(c, memory_follows_the_number_of_records);
    tcase_add_test(c, a_table_that_fills_again_keeps_its_memory);
    suite_add_tcase(s, c);
    return s;
}
