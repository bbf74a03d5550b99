/* classic_oom.c - the classic map when memory runs out: a put that fails leaves the map as it was,
 * everything else goes on, and growth is made up for later.
 *
 * The linker sends every call of oak_alloc, oak_alloc_noscan and oak_alloc_typed from another file
 * through the wrappers here (--wrap), which fail from a chosen call on, or only at it. */
#include "maps/classic.h"
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

void *__real_oak_alloc(size_t n);
void *__real_oak_alloc_noscan(size_t n);
void *__real_oak_alloc_typed(const oak_type *t, size_t count);
void *__wrap_oak_alloc(size_t n);
void *__wrap_oak_alloc_noscan(size_t n);
void *__wrap_oak_alloc_typed(const oak_type *t, size_t count);

static __thread struct {
    long calls_left; /* until a call fails; negative: none does */
    bool go_on;      /* and so do all after it */
    bool failed;
} plan = { -1, false, false };

static bool fails(void)
{
    if (plan.calls_left < 0 || plan.calls_left-- > 0) return false;
    if (plan.go_on) plan.calls_left = 0;
    plan.failed = true;
    errno = ENOMEM;
    return true;
}

void *__wrap_oak_alloc(size_t n)
{
    return fails() ? NULL : __real_oak_alloc(n);
}

void *__wrap_oak_alloc_noscan(size_t n)
{
    return fails() ? NULL : __real_oak_alloc_noscan(n);
}

void *__wrap_oak_alloc_typed(const oak_type *t, size_t count)
{
    return fails() ? NULL : __real_oak_alloc_typed(t, count);
}

static void fail_at(long call, bool go_on)
{
    plan.calls_left = call;
    plan.go_on = go_on;
    plan.failed = false;
}

static void fail_no_more(void)
{
    plan.calls_left = -1;
}

/* ---- maps whose chains are long, so that evacuation needs memory ---- */

static uint64_t few_hashes(const void *key, uint64_t seed, size_t size)
{
    uint64_t k;
    memcpy(&k, key, 8);
    k %= 23;
    return oak_classic_hash_bytes(&k, seed, size < 8 ? size : 8);
}

/* As few_hashes, but of every third key the hash is random, and the key is not equal to itself. */
static uint64_t hash_with_nans(const void *key, uint64_t seed, size_t size)
{
    uint64_t k;
    memcpy(&k, key, 8);
    return k % 3 == 0 ? oaki_hash_random() : few_hashes(key, seed, size);
}

static bool equal_with_nans(const void *a, const void *b, size_t size)
{
    uint64_t k;
    memcpy(&k, a, 8);
    return k % 3 != 0 && memcmp(a, b, size) == 0;
}

static const oak_classic_type types[] = {
    { 8, 8, oak_classic_hash_bytes, oak_classic_equal_bytes, 0 },
    { 8, 8, few_hashes, oak_classic_equal_bytes, 0 },
    { 8, 8, few_hashes, oak_classic_equal_bytes, OAK_CLASSIC_VALUE_POINTERS },
    { 200, 136, few_hashes, oak_classic_equal_bytes, 0 },
    { 8, 8, hash_with_nans, equal_with_nans, 0 },
};
enum { WIDE = 3, WITH_NANS = 4 };

typedef union room {
    int64_t word;
    char wide[200];
} room;

static const void *make_key(int64_t k, room *r)
{
    memset(r, 0, sizeof *r);
    r->word = k;
    return r;
}

static void *put(oak_classic_map *m, int64_t k)
{
    room r;
    int64_t *v = oak_classic_put(m, make_key(k, &r));
    if (v) *v = k + 1;
    return v;
}

static bool has(oak_classic_map *m, int64_t k)
{
    room r;
    int64_t *v = oak_classic_get(m, make_key(k, &r));
    if (v && *v != k + 1) ck_abort_msg("key %d has a wrong value", (int)k);
    return v != NULL;
}

static bool del(oak_classic_map *m, int64_t k)
{
    room r;
    return oak_classic_delete(m, make_key(k, &r));
}

/* Keys [from, to) are there and no others, each once. */
static void expect_keys(oak_classic_map *m, int64_t from, int64_t to)
{
    const char *broken = oaki_classic_check(m);
    ck_assert_msg(!broken, "%s", broken);
    ck_assert_uint_eq(oak_classic_len(m), (size_t)(to - from));
    bool *seen = calloc((size_t)to, 1);
    oak_classic_iter it;
    for (oak_classic_iter_init(&it, m); oak_classic_iter_next(&it);) {
        int64_t k = *(const int64_t *)it.key;
        if (k < from || k >= to || seen[k] || *(int64_t *)it.value != k + 1)
            ck_abort_msg("key %d is wrong", (int)k);
        seen[k] = true;
    }
    for (int64_t k = from; k < to; k++)
        if (!seen[k]) ck_abort_msg("key %d is missing", (int)k);
    free(seen);
}

/* A digest of all that lookups and later writes can see: header, chains, lists. */
static uint64_t mixin(uint64_t h, const void *p, size_t n)
{
    return oaki_hash_bytes(p, n, h + 1);
}

static uint64_t digest_array(const oak_classic_map *m, char *array, uint8_t B)
{
    uint64_t h = 0;
    for (size_t i = 0; i < oaki_classic_nbuckets(B); i++)
        for (oaki_bmap *b = oaki_classic_bucket(m->type, array, i); b;
             b = oaki_classic_overflow(m->type, b))
            h = mixin(h, b, oaki_classic_bucket_size(m->type));
    return h;
}

static uint64_t digest(const oak_classic_map *m)
{
    uint64_t h = mixin(0, m, offsetof(struct oak_classic_map, extra));
    size_t nold = oaki_classic_growing(m) ? oaki_classic_noldbuckets(m) : 0;
    h ^= digest_array(m, m->buckets, m->B);
    if (nold > 0) h += digest_array(m, m->oldbuckets, (uint8_t)oaki_log2(nold));
    if (m->extra) {
        h = mixin(h, &m->extra->next_overflow, sizeof m->extra->next_overflow);
        if (m->extra->overflow)
            h = mixin(h, &m->extra->overflow->len, sizeof m->extra->overflow->len);
    }
    return h;
}

/* ---- tests ---- */

/* Put key k, failing at each allocation in turn until it succeeds. */
static unsigned put_through_failures(oak_classic_map *m, int64_t k)
{
    unsigned failures = 0;
    for (long call = 0;; call++) {
        size_t len = oak_classic_len(m);
        fail_at(call, false);
        errno = 0;
        void *v = put(m, k);
        bool failed = plan.failed;
        fail_no_more();
        failures += failed;
        if (v) {
            if (oak_classic_len(m) != len + 1) ck_abort_msg("length after key %d", (int)k);
            return failures;
        }
        if (!failed || errno != ENOMEM) ck_abort_msg("put %d failed by itself", (int)k);
        if (oak_classic_len(m) != len) ck_abort_msg("length after failing key %d", (int)k);
        const char *broken = oaki_classic_check(m);
        if (broken) ck_abort_msg("after failing key %d: %s", (int)k, broken);
    }
}

START_TEST(each_allocation_may_fail)
{
    enum { N = 700 };
    oak_classic_map *m = oak_classic_new(&types[_i], 0);
    unsigned failures = 0;
    oak_classic_set_seed(m, 1);
    for (int64_t k = 0; k < N; k++) {
        failures += put_through_failures(m, k);
        if (k % 50 == 0) expect_keys(m, 0, k + 1);
    }
    expect_keys(m, 0, N);
    ck_assert_uint_gt(failures, 20);
}
END_TEST

/* An evacuation that fails is undone to the byte. */
START_TEST(a_failed_evacuation_leaves_no_trace)
{
    oak_classic_map *m = oak_classic_new(&types[_i], 0);
    unsigned undone = 0;
    oak_classic_set_seed(m, (uint32_t)_i + 5);
    oak_classic_iter it;
    for (int64_t k = 0; k < 1500; k++) {
        if (k % 100 == 0) oak_classic_iter_init(&it, m);
        while (oaki_classic_growing(m)) {
            room r;
            size_t nold = oaki_classic_noldbuckets(m);
            size_t old = (size_t)oaki_classic_hash(m, make_key(k, &r)) & (nold - 1);
            uint64_t before = digest(m);
            fail_at(0, true);
            AO_char_or(&m->flags, OAKI_WRITING);
            oaki_classic_grow_work(m, old);
            AO_char_and(&m->flags, (unsigned char)~OAKI_WRITING);
            bool failed = plan.failed;
            fail_no_more();
            if (!failed || oaki_classic_evacuated(oaki_classic_bucket(m->type, m->oldbuckets, old)))
                break;
            undone++;
            /* An unequal key's tag means only its lowest bit, and so may have changed. */
            if (_i != WITH_NANS && digest(m) != before) ck_abort_msg("key %d: a trace", (int)k);
            const char *broken = oaki_classic_check(m);
            ck_assert_msg(!broken, "%s", broken);
            break;
        }
        put(m, k);
    }
    expect_keys(m, 0, 1500);
    if (_i != 0) ck_assert_uint_gt(undone, 10);
}
END_TEST

/* Nothing can be allocated for a while: keys that fit go in, others don't; lookups, overwrites,
 * deletes and iterators go on; afterwards the map catches up. */
START_TEST(no_memory_for_a_while)
{
    oak_classic_map *m = oak_classic_new(&types[_i], 0);
    int64_t n = 0, refused = 0;
    oak_classic_set_seed(m, 3);
    while (n < 417) put(m, n++); /* in mid-growth */
    fail_at(0, true);
    for (int64_t k = 417; k < 2000; k++) {
        if (k == n && put(m, k))
            n++;
        else
            refused++;
    }
    ck_assert_int_gt(refused, 0);
    expect_keys(m, 0, n);
    if (_i != WITH_NANS) {
        for (int64_t k = 0; k < n; k++)
            if (!has(m, k) || !put(m, k)) ck_abort_msg("key %d", (int)k);
        for (int64_t k = 0; k < 100; k++)
            if (!del(m, k)) ck_abort_msg("can't delete %d", (int)k);
        expect_keys(m, 100, n);
    }
    fail_no_more();
    for (; n < 5000; n++)
        if (!put(m, n)) ck_abort_msg("key %d afterwards", (int)n);
    expect_keys(m, _i != WITH_NANS ? 100 : 0, 5000);
    ck_assert_uint_eq(m->B, 10);
}
END_TEST

/* The large array alone can't be had: the map goes on with longer chains, and doesn't try each
 * time. */
START_TEST(growth_is_put_off)
{
    oak_classic_map *m = oak_classic_new(&oak_classic_int_int, 0);
    unsigned tries = 0;
    for (int64_t k = 0; k < 2000; k++) {
        bool due = k >= 416 && !oaki_classic_growing(m) && oaki_classic_wants_growth(m);
        /* The list's header is what growing asks for first. */
        if (due && m->growth_put_off == 0) {
            fail_at(0, false);
            tries++;
        }
        if (!put(m, k)) ck_abort_msg("key %d", (int)k);
        fail_no_more();
    }
    expect_keys(m, 0, 2000);
    ck_assert_uint_eq(m->B, 6);
    ck_assert_uint_gt(tries, 10);
    ck_assert_uint_lt(tries, 200);
    for (int64_t k = 2000; k < 4000; k++) put(m, k);
    expect_keys(m, 0, 4000);
    ck_assert_uint_eq(m->B, 10);
}
END_TEST

START_TEST(making_and_clearing)
{
    errno = 0;
    fail_at(0, true);
    ck_assert_ptr_null(oak_classic_new(&oak_classic_int_int, 0));
    ck_assert_int_eq(errno, ENOMEM);
    for (long call = 1; call < 4; call++) {
        errno = 0;
        fail_at(call, true);
        oak_classic_map *small = oak_classic_new(&oak_classic_int_int, 1000);
        fail_no_more();
        ck_assert_ptr_nonnull(small); /* it is as without the hint */
        ck_assert_uint_eq(small->B, 0);
        ck_assert_int_eq(errno, 0);
        for (int64_t k = 0; k < 300; k++) put(small, k);
        expect_keys(small, 0, 300);
    }
    oak_classic_map *m = oak_classic_new(&types[1], 0);
    oak_classic_iter it;
    for (int64_t k = 0; k < 300; k++) put(m, k);
    fail_at(0, true);
    oak_classic_iter_init(&it, m);
    ck_assert(oak_classic_iter_next(&it));
    oak_classic_clear(m);
    expect_keys(m, 0, 0);
    fail_no_more();
    for (int64_t k = 0; k < 300; k++) put(m, k);
    expect_keys(m, 0, 300);
}
END_TEST

Suite *suite_maps_classic_oom(void)
{
    Suite *s = suite_create("maps_classic_oom");
    TCase *tc = tcase_create("out of memory");
    tcase_add_loop_test(tc, each_allocation_may_fail, 0, OAKI_COUNT(types));
    tcase_add_loop_test(tc, a_failed_evacuation_leaves_no_trace, 0, OAKI_COUNT(types));
    tcase_add_loop_test(tc, no_memory_for_a_while, 0, OAKI_COUNT(types));
    tcase_add_test(tc, growth_is_put_off);
    tcase_add_test(tc, making_and_clearing);
    suite_add_tcase(s, tc);
    return s;
}
