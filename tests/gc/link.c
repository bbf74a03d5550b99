/* link.c - tests of gc/refs/link.c: links are cleared when their object goes, each sort at its
 * time, and go with their holder; the tables agree with a model; threads that read beside
 * collections. */
#include "gc/refs/link.h"
#include "gc/refs/tables.h"

#include "gc/host.h"
#include "runtime/collector.h"
#include "runtime/os.h"
#include "tests/heap.h"
#include "tests/threads.h"

#include <stdlib.h>
#include <string.h>

Suite *suite_gc_link(void);

#define MANY 3000
#define LUCK 4
#define MASK 0x5a5a5a5a5a5a5a5a

static void *strong[MANY];
static void **word; /* MANY of them, in malloc's memory, which isn't scanned */

static void set_up(void)
{
    test_heap_start_stressed(test_config());
    word = calloc(MANY, sizeof *word);
}

static void tear_down(void)
{
    free(word);
}

static void *disguise(const void *p)
{
    return (void *)((uintptr_t)p ^ MASK);
}

/* The rules of the tables, and how many links there are. */
static size_t links(bool is_long)
{
    oaki_thread *t = oaki_gc_stop_begin();
    const char *rule = oaki_tables_check();
    size_t n = oaki_link_count(is_long);
    oaki_gc_stop_end(t);
    ck_assert_msg(!rule, "%s", rule);
    return n;
}

static void make_one(size_t i, size_t size, bool is_long)
{
    strong[i] = oak_alloc(size);
    word[i] = disguise(strong[i]);
    ck_assert_int_eq(oaki_link_add(&word[i], strong[i], is_long), 0);
}

static void make_all(void *is_long)
{
    for (size_t i = 0; i < MANY; i++) make_one(i, 16 + 8 * (i % 50), *(bool *)is_long);
}

START_TEST(a_link_lives_as_long_as_its_object)
{
    bool is_long = _i;
    test_seed("gc/link");
    test_build(make_all, &is_long);
    ck_assert_uint_eq(links(is_long), MANY);
    ck_assert_uint_eq(links(!is_long), 0);
    for (size_t left = MANY; left > 0; left -= MANY / 5) {
        size_t stray = 0, alive = 0;
        for (size_t i = 0; i < MANY; i++)
            if (test_below(left) < MANY / 5) strong[i] = NULL;
        oak_collect();
        for (size_t i = 0; i < MANY; i++) {
            if (strong[i]) ck_assert_ptr_eq(word[i], disguise(strong[i]));
            else stray += word[i] != NULL;
            alive += word[i] != NULL;
        }
        ck_assert_uint_le(stray, LUCK);
        ck_assert_uint_eq(links(is_long), alive);
    }
    memset(strong, 0, sizeof strong);
    oak_collect();
    ck_assert_uint_le(links(is_long), LUCK);
}
END_TEST

static void make_two(void *arg)
{
    (void)arg;
    strong[0] = oak_alloc(32);
    strong[1] = oak_alloc(32);
    word[0] = disguise(strong[0]);
    ck_assert_int_eq(oaki_link_add(&word[0], strong[0], false), 0);
    word[0] = disguise(strong[1]);
    ck_assert_int_eq(oaki_link_add(&word[0], strong[1], false), 1);
}

START_TEST(a_second_registration_replaces_the_first)
{
    test_build(make_two, NULL);
    ck_assert_uint_eq(links(false), 1);
    strong[0] = NULL;
    oak_collect();
    ck_assert_ptr_eq(word[0], disguise(strong[1]));
    strong[1] = NULL;
    oak_collect();
    ck_assert_ptr_null(word[0]);
    ck_assert(!oaki_link_remove(&word[0], false));
}
END_TEST

static void make_three(void *arg)
{
    (void)arg;
    for (size_t i = 0; i < 3; i++) make_one(i, 48, false);
}

START_TEST(links_are_removed_and_moved)
{
    test_build(make_three, NULL);
    ck_assert(!oaki_link_remove(&word[0], true));
    ck_assert(oaki_link_remove(&word[0], false));
    ck_assert(!oaki_link_remove(&word[0], false));
    ck_assert_int_eq(oaki_link_move(&word[0], &word[5], false), -1);
    ck_assert_int_eq(oaki_link_move(&word[1], &word[2], false), 1);
    ck_assert_int_eq(oaki_link_move(&word[1], &word[1], false), 0);
    ck_assert_int_eq(oaki_link_move(&word[1], &word[5], true), -1);
    word[5] = word[1];
    ck_assert_int_eq(oaki_link_move(&word[1], &word[5], false), 0);
    memset(strong, 0, sizeof strong);
    oak_collect();
    ck_assert_ptr_nonnull(word[0]);
    ck_assert_ptr_nonnull(word[1]);
    ck_assert_ptr_null(word[2]);
    ck_assert_ptr_null(word[5]);
}
END_TEST

static int data_object;

START_TEST(what_is_not_in_the_heap_never_goes)
{
    word[0] = &data_object;
    ck_assert_int_eq(oaki_link_add(&word[0], &data_object, false), 0);
    ck_assert_int_eq(oaki_link_add(&word[1], &data_object, false), 0);
    oak_collect();
    ck_assert_ptr_eq(word[0], &data_object);
    ck_assert(oaki_link_remove(&word[0], false));
    ck_assert(oaki_link_remove(&word[1], false));
    ck_assert_uint_eq(links(false), 0);
}
END_TEST

static void link_to_the_dead(void *arg)
{
    char *p = oak_alloc(64);
    (void)arg;
    oak_free(p);
    (void)oaki_link_add(&word[0], p, false);
}

START_TEST(a_link_to_no_object_is_fatal)
{
    test_dies(link_to_the_dead, NULL, "which is not in a live object");
}
END_TEST

/* ---- with finalizers ---- */

static size_t runs;
static void *at_run[2];

static void run(void *obj, void *ctx)
{
    (void)obj;
    (void)ctx;
    memcpy(at_run, word, sizeof at_run);
    runs++;
}

/* word[0] is a short link to an object with a finalizer, word[1] a long one; 2 and 3 are those of
 * what it refers to. */
static void make_finalizable(void *arg)
{
    void **p = oak_alloc(32), *q = oak_alloc(16);
    p[0] = q;
    for (size_t i = 0; i < 4; i++) {
        word[i] = disguise(i < 2 ? (void *)p : q);
        ck_assert_int_eq(oaki_link_add(&word[i], i < 2 ? (void *)p : q, i % 2), 0);
    }
    ck_assert_int_eq(oak_finalizer_set_ex(p, run, NULL, *(int *)arg, NULL, NULL), 0);
}

START_TEST(short_links_are_cleared_before_finalizers_and_long_ones_after)
{
    int flags = _i;
    test_build(make_finalizable, &flags);
    oak_collect();
    ck_assert_ptr_null(word[0]);
    ck_assert_ptr_nonnull(word[1]);
    ck_assert_ptr_null(word[2]);
    ck_assert_ptr_nonnull(word[3]);
    ck_assert_uint_eq(test_run_finalizers(), 1);
    ck_assert_ptr_null(at_run[0]);
    ck_assert_ptr_nonnull(at_run[1]);
    oak_collect();
    ck_assert_ptr_null(word[1]);
    ck_assert_ptr_null(word[3]);
    ck_assert_uint_eq(links(true), 0);
}
END_TEST

/* ---- links in heap objects ---- */

static void make_holder(void *arg)
{
    void **holder = *(bool *)arg ? oak_alloc_noscan(100000) : oak_alloc_noscan(64);
    strong[0] = oak_alloc(32);
    strong[1] = holder;
    for (size_t i = 0; i < 4; i++) {
        holder[i] = disguise(strong[0]);
        ck_assert_int_eq(oaki_link_add(&holder[i], strong[0], i % 2), 0);
    }
    word[0] = disguise(strong[0]);
    ck_assert_int_ge(oaki_link_add(&word[0], strong[0], false), 0);
}

START_TEST(a_link_in_a_dead_object_is_dropped)
{
    bool large = _i;
    test_build(make_holder, &large);
    ck_assert_uint_eq(links(false) + links(true), 5);
    strong[1] = NULL;
    oak_collect();
    ck_assert_uint_eq(links(false), 1);
    ck_assert_uint_eq(links(true), 0);
    strong[0] = NULL;
    oak_collect();
    ck_assert_ptr_null(word[0]);
}
END_TEST

START_TEST(freeing_by_hand_clears_and_drops)
{
    bool large = _i;
    test_build(make_holder, &large);
    oak_free(strong[1]);
    ck_assert_uint_eq(links(false), 1);
    ck_assert_uint_eq(links(true), 0);
    test_build(make_holder, &large);
    oak_free(strong[0]);
    for (size_t i = 0; i < 4; i++) ck_assert_ptr_null(((void **)strong[1])[i]);
    ck_assert_ptr_null(word[0]);
    ck_assert_uint_eq(links(false) + links(true), 0);
}
END_TEST

/* Many links elsewhere, so that a large holder's are looked for record by record, and few, so that
 * they are looked for word by word. */
START_TEST(the_links_of_a_freed_holder_are_found_among_many)
{
    bool large = _i, is_long = false;
    test_build(make_all, &is_long);
    void *kept = strong[0];
    test_build(make_holder, &large);
    size_t before = links(false);
    oak_free(strong[1]);
    ck_assert_uint_eq(links(false), before - 2);
    ck_assert_uint_eq(links(true), 0);
    ck_assert_ptr_nonnull(kept);
}
END_TEST

/* ---- many at once ---- */

/* Those whose number isn't a multiple of n. */
static void forget_all_but(size_t n)
{
    for (size_t i = 0; i < MANY; i++)
        if (i % n != 0) strong[i] = NULL;
    oak_collect();
}

static size_t freed_by_hand(bool is_long)
{
    size_t before = links(is_long), n = 0;
    for (size_t i = 0; i < MANY; i++) {
        if (!strong[i]) continue;
        oak_free(strong[i]);
        strong[i] = NULL;
        ck_assert_ptr_null(word[i]);
        n++;
    }
    ck_assert_uint_eq(links(is_long), before - n);
    return n;
}

START_TEST(what_is_left_when_most_went_is_found_by_object_and_by_link)
{
    bool is_long = _i % 2;
    test_build(make_all, &is_long);
    if (_i < 4) { /* from here on they are found by object */
        oak_free(strong[1]);
        strong[1] = NULL;
        ck_assert_ptr_null(word[1]);
    }
    forget_all_but(_i / 2 % 2 ? 10 : MANY - 20); /* most go, or nearly all */
    size_t left = links(is_long);
    strong[0] = NULL;
    ck_assert(oaki_link_remove(&word[0], is_long));
    ck_assert_uint_eq(links(is_long), left - 1);
    ck_assert_uint_eq(freed_by_hand(is_long), _i / 2 % 2 ? MANY / 10 - 1 : 1);
    ck_assert_uint_le(links(is_long), LUCK);
}
END_TEST

static void make_holders(void *is_long)
{
    void *obj = oak_alloc(32);
    for (size_t i = 0; i < MANY; i++) {
        void **holder = strong[i] = oak_alloc_noscan(48);
        holder[3] = disguise(obj);
        ck_assert_int_eq(oaki_link_add(&holder[3], obj, *(bool *)is_long), 0);
    }
    word[0] = obj;
    ck_assert_int_eq(oak_root_add(&word[0], sizeof word[0]), 0);
}

START_TEST(the_links_of_many_dead_holders_are_dropped)
{
    bool is_long = _i;
    test_build(make_holders, &is_long);
    ck_assert_uint_eq(links(is_long), MANY);
    forget_all_but(3);
    ck_assert_uint_ge(links(is_long), MANY / 3);
    ck_assert_uint_le(links(is_long), MANY / 3 + LUCK);
    for (size_t i = 0; i < MANY; i += 3) {
        ck_assert_ptr_eq(((void **)strong[i])[3], disguise(word[0]));
        ck_assert(oaki_link_remove((void **)strong[i] + 3, is_long));
    }
    ck_assert_uint_le(links(is_long), LUCK);
    ck_assert_int_eq(oak_root_remove(&word[0], sizeof word[0]), 0);
}
END_TEST

/* ---- a model ---- */

enum { SLOTS = 200, OBJECTS = 100 };

static struct {
    int of[SLOTS][2]; /* object that the slot's link of each sort is to, or -1 */
} model;

static void expect_model(void)
{
    size_t n[2] = { 0, 0 };
    for (size_t s = 0; s < SLOTS; s++)
        for (size_t k = 0; k < 2; k++) n[k] += model.of[s][k] >= 0;
    ck_assert_uint_eq(links(false), n[0]);
    ck_assert_uint_eq(links(true), n[1]);
}

static void model_free(int obj)
{
    oak_free(strong[obj]);
    strong[obj] = NULL;
    for (size_t s = 0; s < SLOTS; s++)
        for (size_t k = 0; k < 2; k++)
            if (model.of[s][k] == obj) {
                ck_assert_ptr_null(word[s]);
                model.of[s][k] = -1;
            }
}

/* One of so many objects stays, no more than a few of the others do. */
static void model_drop(size_t of)
{
    size_t stray = 0;
    for (int obj = 0; obj < OBJECTS; obj++)
        if (test_below(of) != 0) strong[obj] = NULL;
    oak_collect();
    for (size_t s = 0; s < SLOTS; s++)
        for (size_t k = 0; k < 2; k++) {
            int *obj = &model.of[s][k];
            if (*obj < 0 || strong[*obj]) continue;
            stray += oaki_link_remove(&word[s], k);
            *obj = -1;
        }
    ck_assert_uint_le(stray, LUCK * 8);
}

static void model_step(void)
{
    size_t s = test_below(SLOTS), to = test_below(SLOTS);
    bool k = test_below(2);
    int obj = (int)test_below(OBJECTS), *of = &model.of[s][k];
    if (!strong[obj]) strong[obj] = oak_alloc(test_size(3000));
    switch (test_below(8)) {
    case 0:
    case 1:
    case 2:
        ck_assert_int_eq(oaki_link_add(&word[s], strong[obj], k), *of >= 0);
        word[s] = &data_object;
        *of = obj;
        break;
    case 3:
    case 4:
        ck_assert_int_eq(oaki_link_remove(&word[s], k), *of >= 0);
        *of = -1;
        break;
    case 5:
    case 6: {
        int result = *of < 0 ? -1 : to == s ? 0 : model.of[to][k] >= 0;
        ck_assert_int_eq(oaki_link_move(&word[s], &word[to], k), result);
        if (result != 0 || to == s) break;
        word[to] = &data_object;
        model.of[to][k] = *of;
        *of = -1;
        break;
    }
    case 7:
        if (test_below(4) == 0) model_free(obj);
        if (test_below(1000) == 0) model_drop(1 + test_below(OBJECTS));
        break;
    }
}

START_TEST(the_tables_agree_with_a_model)
{
    test_seed("gc/link model");
    memset(&model, 0xff, sizeof model);
    for (size_t i = 0, n = test_scale(20000); i < n; i++) {
        model_step();
        if (i % 500 == 0) expect_model();
        if (i % 3000 == 0) oak_collect();
    }
    expect_model();
}
END_TEST

/* ---- threads ---- */

#define MAGIC 0x0123456789abcdef
#define SHARED 64
#define READERS 2

static void *hidden_in[SHARED]; /* disguised addresses: nothing that a scan would follow */

static void *read_links(void *arg)
{
    uint64_t random = (uintptr_t)arg * 77 + 1;
    while (!AO_load(&test_quit)) {
        size_t i = test_draw(&random) % SHARED;
        if (oaki_gc_exclude() != 0) abort();
        void *seen = (void *)AO_load((AO_t *)&hidden_in[i]);
        uint64_t *p = seen ? disguise(seen) : NULL;
        __asm__ __volatile__("" : "+r"(p)); /* the address itself is in hand from here on */
        oaki_gc_release();
        test_expect(!p || p[3] == MAGIC, __LINE__);
        AO_fetch_and_add1(&test_moved);
    }
    return NULL;
}

/* A link of its own for each slot of a thread's half. */
static void *make_links(void *arg)
{
    size_t half = (size_t)arg * (SHARED / 2);
    uint64_t random = half + 5;
    while (!AO_load(&test_quit)) {
        size_t i = half + test_draw(&random) % (SHARED / 2);
        AO_store((AO_t *)&hidden_in[i], 0); /* before nothing clears it any more */
        (void)oaki_link_remove(&hidden_in[i], false);
        uint64_t *p = oak_alloc(64 + test_draw(&random) % 200);
        p[3] = MAGIC;
        AO_store((AO_t *)&hidden_in[i], (AO_t)disguise(p));
        test_expect(oaki_link_add(&hidden_in[i], p, false) == 0, __LINE__);
        AO_fetch_and_add1(&test_moved);
    }
    return NULL;
}

/* What is read through a link is alive, whoever collects and overwrites meanwhile. */
START_TEST(readers_see_whole_objects_or_none)
{
    oaki_debug_switches.poison = 1;
    pthread_t id[READERS + 2];
    for (size_t i = 0; i < READERS; i++) id[i] = test_start(read_links, (void *)i);
    for (size_t i = 0; i < 2; i++) id[READERS + i] = test_start(make_links, (void *)i);
    for (size_t i = 0, n = test_scale(100); i < n; i++) oak_collect();
    test_wait(&test_moved, test_scale(20000));
    AO_store(&test_quit, 1);
    for (size_t i = 0; i < OAKI_COUNT(id); i++) test_join(id[i]);
    ck_assert_uint_eq(AO_load(&test_wrong), 0);
    (void)links(false);
}
END_TEST

/* ---- fork ---- */

static void clear_in_child(void *arg)
{
    (void)arg;
    memset(strong, 0, sizeof strong);
    oak_collect();
    size_t left = 0;
    for (size_t i = 0; i < MANY; i++) left += word[i] != NULL;
    ck_assert_uint_le(left, LUCK);
    ck_assert_uint_le(links(false), left + SHARED);
}

START_TEST(a_forked_child_has_links_of_its_own)
{
    bool is_long = false;
    test_build(make_all, &is_long);
    pthread_t id[2];
    for (size_t i = 0; i < 2; i++) id[i] = test_start(make_links, (void *)i);
    test_wait(&test_moved, 100);
    if (!test_skip_asan()) test_child(clear_in_child, NULL);
    AO_store(&test_quit, 1);
    for (size_t i = 0; i < 2; i++) test_join(id[i]);
    oak_collect();
    for (size_t i = 0; i < MANY; i++) ck_assert_ptr_eq(word[i], disguise(strong[i]));
}
END_TEST

Suite *suite_gc_link(void)
{
    Suite *s = suite_create("gc/link");
    TCase *t = tcase_create("links");
    tcase_set_timeout(t, 120);
    tcase_add_checked_fixture(t, set_up, tear_down);
    tcase_add_loop_test(t, a_link_lives_as_long_as_its_object, 0, 2);
    tcase_add_test(t, a_second_registration_replaces_the_first);
    tcase_add_test(t, links_are_removed_and_moved);
    tcase_add_test(t, what_is_not_in_the_heap_never_goes);
    tcase_add_test(t, a_link_to_no_object_is_fatal);
    tcase_add_loop_test(t, short_links_are_cleared_before_finalizers_and_long_ones_after, 0, 4);
    tcase_add_loop_test(t, a_link_in_a_dead_object_is_dropped, 0, 2);
    tcase_add_loop_test(t, freeing_by_hand_clears_and_drops, 0, 2);
    tcase_add_loop_test(t, the_links_of_a_freed_holder_are_found_among_many, 0, 2);
    tcase_add_loop_test(t, what_is_left_when_most_went_is_found_by_object_and_by_link, 0, 8);
    tcase_add_loop_test(t, the_links_of_many_dead_holders_are_dropped, 0, 2);
    tcase_add_test(t, the_tables_agree_with_a_model);
    tcase_add_test(t, readers_see_whole_objects_or_none);
    tcase_add_test(t, a_forked_child_has_links_of_its_own);
    suite_add_tcase(s, t);
    return s;
}
