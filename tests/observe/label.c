/* label.c - tests of runtime/label.c and of what labels do to a profile. */
#include "runtime/label.h"
#include "find.h"
#include "observe/site.h"
#include "tests/heap.h"
#include "tests/threads.h"

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

Suite *suite_observe_label(void);

static void start(void)
{
    test_seed("observe/label");
    test_heap_start(test_config());
    ck_assert_int_eq(oak_profile_set_rate(1), 0);
}

static OAKI_NOINLINE void *make(size_t n)
{
    void *p = oak_alloc(n);
    __asm__("" : : "r"(p) : "memory");
    return p;
}

/* ---- sets ---- */

static void assert_labels(const char *expected)
{
    oak_label l[8];
    char text[400] = "", number[32];
    size_t n = oak_labels_read(l, 8), len = 0;
    for (size_t i = 0; i < n && i < 8; i++) {
        snprintf(number, sizeof number, "%ld%s", (long)l[i].number, l[i].unit ? l[i].unit : "");
        len += (size_t)snprintf(text + len, sizeof text - len, "%s=%s ", l[i].key,
                                l[i].value ? l[i].value : number);
    }
    ck_assert_str_eq(text, expected);
}

START_TEST(sets_nest_and_are_sorted)
{
    assert_labels("");
    int a = oak_label_push("tenant", "blue");
    int b = oak_label_push_number("size", -5, "bytes");
    assert_labels("size=-5bytes tenant=blue ");
    int c = oak_label_push("tenant", "red");
    assert_labels("size=-5bytes tenant=red ");
    oak_labels_pop(c);
    assert_labels("size=-5bytes tenant=blue ");
    oak_labels_pop(c); /* again: nothing */
    oak_labels_pop(-1);
    assert_labels("size=-5bytes tenant=blue ");
    (void)oak_label_push("more", "");
    (void)b;
    oak_labels_pop(a);
    assert_labels("");
}
END_TEST

START_TEST(a_statement_runs_with_a_label)
{
    OAK_WITH_LABEL("a", "1") OAK_WITH_LABEL("b", "2") assert_labels("a=1 b=2 ");
    assert_labels("");
}
END_TEST

START_TEST(what_makes_no_sense_changes_nothing)
{
    static char huge[OAKI_LABELS_BYTES + 1];
    oak_label many[OAKI_LABELS_MAX + 1];
    char names[OAKI_LABELS_MAX + 1][8];
    memset(huge, 'x', sizeof huge);
    (void)oak_label_push("kept", "yes");
    for (size_t i = 0; i < OAKI_COUNT(many); i++) {
        snprintf(names[i], sizeof names[i], "k%zu", i);
        many[i] = (oak_label){ .key = names[i], .value = "v" };
    }
    const oak_label bad[] = { { .value = "v" },
                              { .key = "", .value = "v" },
                              { .key = "k", .value = huge, .value_len = sizeof huge },
                              { .key = huge, .key_len = sizeof huge, .value = "" },
                              { .key = huge, .key_len = SIZE_MAX, .value = "" } };
    const int why[] = { EINVAL, EINVAL, E2BIG, E2BIG, E2BIG };
    for (size_t i = 0; i < OAKI_COUNT(bad); i++) {
        errno = 0;
        ck_assert_int_eq(oak_labels_push(&bad[i], 1), -1);
        ck_assert_int_eq(errno, why[i]);
    }
    ck_assert_int_eq(oak_labels_push(many, OAKI_COUNT(many)), -1);
    ck_assert_int_eq(errno, E2BIG);
    assert_labels("kept=yes ");
    ck_assert_int_ge(oak_labels_push(many, OAKI_LABELS_MAX - 1), 0);
}
END_TEST

/* Whatever is pushed, what is read is the union, sorted, the last one of a key. */
START_TEST(random_pushes_are_a_map)
{
    char value[16][4] = { "" };
    int depth[200];
    char saved[200][16][4];
    size_t n = 0;
    for (size_t i = 0; i < test_scale(20000); i++) {
        if (n < 200 && test_below(2)) {
            char key[2] = { (char)('a' + test_below(16)), 0 };
            memcpy(saved[n], value, sizeof value);
            snprintf(value[key[0] - 'a'], 4, "%zu", test_below(100) + 1);
            depth[n++] = oak_label_push(key, value[key[0] - 'a']);
            ck_assert_int_ge(depth[n - 1], 0);
        } else if (n > 0) {
            n = test_below(n);
            oak_labels_pop(depth[n]);
            memcpy(value, saved[n], sizeof value);
        }
        oak_label l[16];
        size_t k = 0, got = oak_labels_read(l, 16);
        for (char c = 'a'; c < 'a' + 16; c++) {
            if (!value[c - 'a'][0]) continue;
            ck_assert_uint_lt(k, got);
            ck_assert_int_eq(l[k].key[0], c);
            ck_assert_str_eq(l[k++].value, value[c - 'a']);
        }
        ck_assert_uint_eq(k, got);
    }
}
END_TEST

/* ---- in the profile ---- */

typedef struct query {
    const char *key, *value;
    size_t value_len;
    int64_t bytes;
    size_t sites;
} query;

static bool match(const oak_profile_site *s, void *ctx)
{
    query *q = ctx;
    for (size_t i = 0; i < s->nlabels; i++) {
        const oak_label *l = &s->labels[i];
        if (strcmp(l->key, q->key) != 0 || !l->value || l->value_len != q->value_len ||
            memcmp(l->value, q->value, q->value_len) != 0)
            continue;
        q->bytes += s->alloc_bytes;
        q->sites++;
    }
    return true;
}

static query labelled(const char *key, const char *value, size_t n)
{
    query q = { .key = key, .value = value, .value_len = n };
    ck_assert_int_eq(oak_profile_each(NULL, OAK_PROFILE_ALLOC_BYTES, match, &q), 0);
    return q;
}

START_TEST(allocations_carry_the_labels_of_their_thread)
{
    static const char odd[] = "\0\xff\n\"\\\xc3";
    oak_label l = { .key = "odd", .value = odd, .value_len = sizeof odd };
    (void)make(64);
    OAK_WITH_LABEL("tenant", "blue") (void)make(1024);
    OAK_WITH_LABEL("tenant", "red") {
        (void)make(2048);
        int was = oak_labels_push(&l, 1);
        (void)make(4096);
        oak_labels_pop(was);
    }
    ck_assert_int_eq(labelled("tenant", "blue", 4).bytes, 1024);
    ck_assert_int_eq(labelled("tenant", "red", 3).bytes, 2048 + 4096);
    ck_assert_int_eq(labelled("odd", odd, sizeof odd).bytes, 4096);
    ck_assert_int_eq(test_sum("make", 0).alloc_bytes, 64 + 1024 + 2048 + 4096);
    ck_assert_uint_eq(test_sum("make", 0).sites, 4);
}
END_TEST

static void *make_for_creator(void *arg)
{
    (void)make(512);
    OAK_WITH_LABEL("own", "yes") (void)make(256);
    return arg;
}

START_TEST(new_threads_inherit_labels)
{
    pthread_t id[2];
    int was = oak_label_push("tenant", "green");
    ck_assert_int_eq(oak_thread_create(&id[0], NULL, make_for_creator, NULL), 0);
    ck_assert_int_eq(pthread_create(&id[1], NULL, make_for_creator, NULL), 0); /* does not */
    oak_labels_pop(was);
    test_join(id[0]);
    test_join(id[1]);
    ck_assert_int_eq(labelled("own", "yes", 3).bytes, 512);
    ck_assert_int_ge(labelled("tenant", "green", 5).bytes, 512 + 256);
    ck_assert_int_lt(labelled("tenant", "green", 5).bytes, 2 * (512 + 256));
}
END_TEST

/* A value for each request must not fill memory: from some number on labels are left out. */
START_TEST(endless_values_are_bounded)
{
    char id[32];
    size_t n = OAKI_SITES_LABELLED + 1000;
    if (test_skip_slow()) return;
    for (size_t i = 0; i < n; i++) {
        snprintf(id, sizeof id, "request %zu", i);
        OAK_WITH_LABEL("id", id) (void)make(16);
    }
    test_site s = test_sum("make", 0);
    ck_assert_int_eq(s.alloc_objects, (int64_t)n);
    ck_assert_uint_le(s.sites, OAKI_SITES_LABELLED + 1);
}
END_TEST

/* Sets that are popped are freed, and those of threads that end. */
START_TEST(labels_leave_nothing_behind)
{
    ck_assert_int_eq(oak_profile_set_rate(0), 0);
    uint64_t before = 0;
    for (int i = 0; i < 200; i++) {
        pthread_t id;
        int was = oak_label_push("n", i % 2 ? "odd" : "even");
        (void)oak_label_push("m", "deeper");
        ck_assert_int_eq(oak_thread_create(&id, NULL, make_for_creator, NULL), 0);
        test_join(id);
        oak_labels_pop(was);
        if (i == 20) before = test_stats().buck_hash_sys;
    }
    ck_assert_uint_eq(test_stats().buck_hash_sys, before);
}
END_TEST

Suite *suite_observe_label(void)
{
    Suite *s = suite_create("observe/label");
    TCase *c = tcase_create("label");
    tcase_add_checked_fixture(c, start, NULL);
    tcase_add_test(c, sets_nest_and_are_sorted);
    tcase_add_test(c, a_statement_runs_with_a_label);
    tcase_add_test(c, what_makes_no_sense_changes_nothing);
    tcase_add_test(c, random_pushes_are_a_map);
    tcase_add_test(c, allocations_carry_the_labels_of_their_thread);
    tcase_add_test(c, new_threads_inherit_labels);
    tcase_add_test(c, endless_values_are_bounded);
    tcase_add_test(c, labels_leave_nothing_behind);
    suite_add_tcase(s, c);
    return s;
}
