/* policy.c - the map policies that scenarios run on, each behind struct scn_map_policy.
 *
 * A policy is one struct of functions here and one line in scn_policies; the table grows a column
 * by it. Map types are constant after the first map; scenarios make their maps on one thread at a
 * time, or call types_ready by making one first. */
#include "scenario.h"

#include <pthread.h>
#include <string.h>

/* ---- what a kind's keys and values are ---- */

static uint64_t any_hash(const void *key, uint64_t seed, size_t size)
{
    const scn_any *a = key;

    (void)size;
    return oak_classic_hash_bytes(a->data, seed, sizeof(int64_t));
}

static bool any_equal(const void *a, const void *b, size_t size)
{
    const scn_any *x = a, *y = b;

    (void)size;
    return x->type == y->type && memcmp(x->data, y->data, sizeof(int64_t)) == 0;
}

/* ---- classic ---- */

_Static_assert(sizeof(scn_string) == sizeof(oak_classic_string),
               "a string key is the map's own string");
_Static_assert(sizeof(oak_classic_iter) <= sizeof(((scn_iter *)0)->u), "room for an iterator");

#define ARRAY_AT_LEAST \
    ((size_t)16 << 10) /* larger than any bucket that scenarios use, smaller than their arrays */

static oak_classic_type classic_types[SCN_KIND_COUNT];
static pthread_once_t classic_once = PTHREAD_ONCE_INIT;

static void classic_type_set(oak_classic_type *t, scn_key_class key, size_t key_size,
                             size_t value_size, bool value_pointers)
{
    t->key_size = key_size;
    t->value_size = value_size;
    t->flags = value_pointers ? OAK_CLASSIC_VALUE_POINTERS : 0;
    t->hash = oak_classic_hash_bytes;
    t->equal = oak_classic_equal_bytes;
    switch (key) {
    case SCN_KEY_INT:
        t->hash = oak_classic_int_int.hash;
        t->equal = oak_classic_int_int.equal;
        break;
    case SCN_KEY_STRING:
        t->hash = oak_classic_hash_string;
        t->equal = oak_classic_equal_string;
        t->flags |= OAK_CLASSIC_KEY_POINTERS | OAK_CLASSIC_NEED_KEY_UPDATE;
        break;
    case SCN_KEY_PTR:
        t->flags |= OAK_CLASSIC_KEY_POINTERS;
        break;
    case SCN_KEY_ANY:
        t->hash = any_hash;
        t->equal = any_equal;
        t->flags |= OAK_CLASSIC_KEY_POINTERS | OAK_CLASSIC_NEED_KEY_UPDATE;
        break;
    }
}

static void classic_types_ready(void)
{
#define SET(name, key, key_size, value_size, pointers) \
    classic_type_set(&classic_types[SCN_##name], key, key_size, value_size, pointers);
    SCN_KINDS(SET)
#undef SET
}

static void *classic_new(scn_kind kind, size_t hint)
{
    pthread_once(&classic_once, classic_types_ready);
    return scn_must(oak_classic_new(&classic_types[kind], hint));
}

static void *classic_get(const void *m, const void *key)
{
    return oak_classic_get(m, key);
}

static void *classic_put(void *m, const void *key)
{
    return scn_must(oak_classic_put(m, key));
}

static bool classic_delete(void *m, const void *key)
{
    return oak_classic_delete(m, key);
}

static void classic_clear(void *m)
{
    oak_classic_clear(m);
}

static size_t classic_len(const void *m)
{
    return oak_classic_len(m);
}

static void classic_iter_init(scn_iter *it, const void *m)
{
    memset(it, 0, sizeof(*it));
    oak_classic_iter_init(&it->u.classic, m);
}

static bool classic_iter_next(scn_iter *it)
{
    bool more = oak_classic_iter_next(&it->u.classic);

    it->key = it->u.classic.key;
    it->value = it->u.classic.value;
    return more;
}

/* The bucket an iterator stands in is inside the array it began with, inside another array, or an
 * overflow bucket, which tells nothing. */
static scn_place classic_iter_place(const scn_iter *it)
{
    const oak_classic_iter *c = &it->u.classic;
    const void *array = oak_base(c->buckets), *bucket = oak_base(c->bptr);

    if (array == NULL || bucket == NULL) return SCN_PLACE_NONE;
    if (bucket == array) return SCN_PLACE_NEW;
    return oak_usable_size(bucket) > ARRAY_AT_LEAST ? SCN_PLACE_OLD : SCN_PLACE_NONE;
}

static size_t classic_iter_array(const scn_iter *it)
{
    return oak_usable_size(it->u.classic.bptr);
}

static void classic_stats(const void *m, scn_map_stats *out)
{
    oak_classic_stats st;

    oak_classic_stats_read(m, &st);
    memset(out, 0, sizeof(*out));
    out->count = st.count;
    out->array_bytes = st.array_bytes;
    out->old_array_bytes = st.old_array_bytes;
    out->overflow = st.overflow_buckets;
    out->old_buckets = st.noldbuckets;
    out->evacuated = st.evacuated;
    out->longest_chain = st.longest_chain;
    out->mean_chain = st.mean_chain;
    out->growing = st.growing;
    out->growths = st.growths;
    out->same_size_growths = st.same_size_growths;
    if (st.overflow_buckets != 0) {
        size_t buckets = (size_t)1 << st.B;
        size_t spare = st.B >= 4 ? buckets >> 4 : 0;
        size_t bucket_bytes =
            st.array_bytes /
            (buckets + spare); /* rounding of the array is under one bucket in 2^B */
        size_t outside = st.overflow_buckets > spare ? st.overflow_buckets - spare : 0;

        out->overflow_bytes = outside * bucket_bytes;
    }
}

static const scn_map_policy classic_policy = {
    .name = "classic",
    .leaks_as_go = true,
    .new = classic_new,
    .get = classic_get,
    .put = classic_put,
    .delete = classic_delete,
    .clear = classic_clear,
    .len = classic_len,
    .iter_init = classic_iter_init,
    .iter_next = classic_iter_next,
    .iter_place = classic_iter_place,
    .iter_array = classic_iter_array,
    .stats = classic_stats,
};

const scn_map_policy *const scn_policies[] = { &classic_policy };
const unsigned scn_policy_count = sizeof(scn_policies) / sizeof(scn_policies[0]);
