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

int64_t scn_hash_groups = 1;

static uint64_t grouped_hash(const void *key, uint64_t seed, size_t size)
{
    int64_t group = *(const int64_t *)key % scn_hash_groups;

    return oak_hash_bytes(&group, size, seed);
}

/* ---- classic ---- */

_Static_assert(sizeof(scn_string) == sizeof(oak_classic_string),
               "a string key is the map's own string");

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
    case SCN_KEY_DOUBLE:
        t->hash = oak_classic_hash_double;
        t->equal = oak_classic_equal_double;
        t->flags |= OAK_CLASSIC_NEED_KEY_UPDATE;
        break;
    case SCN_KEY_GROUPED:
        t->hash = grouped_hash;
        t->equal = oak_classic_int_int.equal;
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

static int64_t classic_limit(unsigned B)
{
    return (int64_t)13 << (B - 1);
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
    out->in_overflow = st.in_overflow;
    out->unfindable = st.unfindable;
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
    .overwrites_move = true,
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
    .limit = classic_limit,
    .stats = classic_stats,
};

/* ---- default ---- */

_Static_assert(sizeof(scn_string) == sizeof(oak_slice), "a string key is a slice");

static oak_map_type default_types[SCN_KIND_COUNT];
static pthread_once_t default_once = PTHREAD_ONCE_INIT;

static void default_type_set(oak_map_type *t, scn_key_class key, size_t key_size, size_t value_size,
                             bool value_pointers)
{
    t->key_size = key_size;
    t->value_size = value_size;
    t->flags = value_pointers ? OAK_MAP_SCAN_VALUE : 0;
    if (key_size <= 128 && value_size <= 128) { /* as in a C struct: none of these aligns to 16 */
        t->value_offset = key_size;
        t->entry_size = key_size + value_size;
    }
    switch (key) {
    case SCN_KEY_INT:
        t->key = OAK_KEY_U64;
        break;
    case SCN_KEY_STRING:
        t->key = OAK_KEY_SLICE;
        t->flags |= OAK_MAP_SCAN_KEY | OAK_MAP_KEY_UPDATE;
        break;
    case SCN_KEY_PTR:
        t->key = OAK_KEY_POINTER;
        t->flags |= OAK_MAP_SCAN_KEY;
        break;
    case SCN_KEY_ANY:
        t->key = OAK_KEY_CUSTOM;
        t->hash = any_hash;
        t->equal = any_equal;
        t->flags |= OAK_MAP_SCAN_KEY | OAK_MAP_KEY_UPDATE;
        break;
    case SCN_KEY_DOUBLE:
        t->key = OAK_KEY_DOUBLE;
        break;
    case SCN_KEY_GROUPED:
        t->key = OAK_KEY_CUSTOM;
        t->hash = grouped_hash; /* and compared by their bytes, as the classic map does */
        break;
    }
}

static void default_types_ready(void)
{
#define SET(name, key, key_size, value_size, pointers) \
    default_type_set(&default_types[SCN_##name], key, key_size, value_size, pointers);
    SCN_KINDS(SET)
#undef SET
}

static void *default_new(scn_kind kind, size_t hint)
{
    pthread_once(&default_once, default_types_ready);
    return scn_must(oak_map_new(&default_types[kind], hint));
}

static void *default_get(const void *m, const void *key)
{
    return oak_map_get(m, key);
}

static void *default_put(void *m, const void *key)
{
    return scn_must(oak_map_put(m, key));
}

static bool default_delete(void *m, const void *key)
{
    return oak_map_delete(m, key);
}

static void default_clear(void *m)
{
    oak_map_clear(m);
}

static size_t default_len(const void *m)
{
    return oak_map_len(m);
}

/* Anywhere, as Go's. */
static void default_iter_init(scn_iter *it, const void *m)
{
    memset(it, 0, sizeof(*it));
    oak_map_iter_init_random(&it->u.map, m);
}

static bool default_iter_next(scn_iter *it)
{
    bool more = oak_map_iter_next(&it->u.map);

    it->key = it->u.map.key;
    it->value = it->u.map.value;
    return more;
}

static scn_place default_iter_place(const scn_iter *it)
{
    return it->u.map.old ? SCN_PLACE_OLD : SCN_PLACE_NEW;
}

/* A position in hash order stands in no array. */
static size_t default_iter_array(const scn_iter *it)
{
    (void)it;
    return 0;
}

/* 12.5 entries in each of its groups of 15 slots, where Go has 6.5 in 8. */
static int64_t default_limit(unsigned B)
{
    return (int64_t)25 << (B - 2);
}

/* How far a growth is, is told in groups of the new array. */
static void default_stats(const void *m, scn_map_stats *out)
{
    oak_map_stats st;

    oak_map_stats_read(m, &st);
    memset(out, 0, sizeof(*out));
    out->count = st.len;
    out->array_bytes = st.array_bytes;
    out->old_array_bytes = st.old_array_bytes;
    out->growing = st.resizing;
    if (st.resizing) {
        out->old_buckets = st.groups;
        out->evacuated = (size_t)(st.evacuated * (double)st.groups + 0.5);
    }
    out->longest_chain = st.longest_probe;
    out->mean_chain = st.mean_probe;
    out->in_overflow = st.overflowed;
    out->unfindable = st.unfindable;
    out->bad_hash = st.bad_hash;
    out->growths = st.growths;
}

static const scn_map_policy default_policy = {
    .name = "default",
    .leaks_as_go = false,
    .overwrites_move = false,
    .new = default_new,
    .get = default_get,
    .put = default_put,
    .delete = default_delete,
    .clear = default_clear,
    .len = default_len,
    .iter_init = default_iter_init,
    .iter_next = default_iter_next,
    .iter_place = default_iter_place,
    .iter_array = default_iter_array,
    .limit = default_limit,
    .stats = default_stats,
};

const scn_map_policy *const scn_policies[] = { &classic_policy, &default_policy };
const unsigned scn_policy_count = sizeof(scn_policies) / sizeof(scn_policies[0]);

void *scn_new_limited(const scn_map_policy *p, scn_kind kind)
{
    void *m = p->new (kind, 0);

    if (p == &default_policy) oak_map_set_seed(m, 1);
    return m;
}
