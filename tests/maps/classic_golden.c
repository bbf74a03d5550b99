/* classic_golden.c - the classic map against Go 1.19's own.
 *
 * tests/maps/go/record.go drove Go's map and wrote classic_golden.txt: operations, and what the
 * map's insides were after them. Here the same operations are done to the classic map, hashing as
 * Go did, and every state must be the same: count, B, flags, noverflow, whether it grows,
 * nevacuate, which old buckets are evacuated and which of them are cleared, overflow buckets, the
 * longest chain, and the order in which iterators give the keys. Only noverflow from B = 16 up is
 * sampled, and so is held to within six standard deviations.
 *
 * Operations: new TYPE HINT SEED; put FROM TO; del FROM TO; get FROM TO FOUND; window LOW HIGH N
 * (insert and delete in turn); mix SEED N SPACE PERCENT (see below); clear; seed SEED; range I
 * BUCKET OFFSET; next I N GIVEN CHECKSUM; state and ten numbers. */
#include "maps/classic.h"
#include <check.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { ITERATORS = 16 };

static uint64_t hashkey;

/* ---- the hash that Go uses on a machine without AES: wyhash, as runtime/hash64.go has it ---- */

static uint64_t fold(uint64_t a, uint64_t b)
{
    unsigned __int128 p = (unsigned __int128)a * b;
    return (uint64_t)(p >> 64) ^ (uint64_t)p;
}

static uint64_t wyhash(const char *p, size_t n, uint64_t seed)
{
    uint64_t a, b;
    if (n < 8 || n > 16) ck_abort_msg("a key of %zu bytes", n);
    memcpy(&a, p, 8);
    memcpy(&b, p + n - 8, 8);
    seed ^= hashkey ^ UINT64_C(0xa0761d6478bd642f);
    return fold(UINT64_C(0x1d8e4e27c47d124f) ^ n, fold(a ^ UINT64_C(0xe7037ed1a0b428db), b ^ seed));
}

static uint64_t hash_int(const void *key, uint64_t seed, size_t size)
{
    return wyhash(key, size, seed);
}

static uint64_t hash_string(const void *key, uint64_t seed, size_t size OAKI_UNUSED)
{
    const oak_classic_string *s = key;
    return wyhash(s->data, s->len, seed);
}

static const struct kind {
    const char *name;
    bool strings;
    oak_classic_type type;
} kinds[] = {
    { "int_int", false, { 8, 8, hash_int, oak_classic_equal_bytes, 0 } },
    { "int_ptr", false, { 8, 8, hash_int, oak_classic_equal_bytes, OAK_CLASSIC_VALUE_POINTERS } },
    { "int_130", false, { 8, 130, hash_int, oak_classic_equal_bytes, 0 } },
    { "int_0", false, { 8, 0, hash_int, oak_classic_equal_bytes, 0 } },
    { "string_int",
      true,
      { sizeof(oak_classic_string), 8, hash_string, oak_classic_equal_string,
        OAK_CLASSIC_KEY_POINTERS | OAK_CLASSIC_NEED_KEY_UPDATE } },
};

/* ---- the map and what is done to it ---- */

static struct {
    const struct kind *kind;
    oak_classic_map *m;
    oak_classic_iter iters[ITERATORS];
    char *sequence;
    size_t line;
} run;

/* The key k of this kind of map, in *room; a string's bytes are in text. */
static const void *make_key(int64_t k, oak_classic_string *room, char text[16])
{
    if (!run.kind->strings) return memcpy(room, &k, sizeof k);
    room->len = (size_t)snprintf(text, 16, "user:%08" PRId64, k);
    room->data = text;
    return room;
}

static int64_t key_number(const void *key)
{
    int64_t k;
    if (!run.kind->strings)
        memcpy(&k, key, sizeof k);
    else
        k = atoll(((const oak_classic_string *)key)->data + strlen("user:"));
    return k;
}

static void put(int64_t k)
{
    oak_classic_string room;
    char *text = run.kind->strings ? oak_alloc_noscan(16) : NULL;
    void *value = oak_classic_put(run.m, make_key(k, &room, text));
    if (!value) ck_abort_msg("line %zu: out of memory", run.line);
    if (run.kind->type.flags & OAK_CLASSIC_VALUE_POINTERS)
        *(void **)value = &run;
    else if (run.kind->type.value_size == 8)
        memcpy(value, &k, 8);
    else if (run.kind->type.value_size > 0)
        *(char *)value = 1;
}

static bool del(int64_t k)
{
    oak_classic_string room;
    char text[16];
    return oak_classic_delete(run.m, make_key(k, &room, text));
}

static bool get(int64_t k)
{
    oak_classic_string room;
    char text[16];
    return oak_classic_get(run.m, make_key(k, &room, text)) != NULL;
}

static void new_map(const char *name, size_t hint, uint32_t seed)
{
    memset(run.iters, 0, sizeof run.iters);
    for (size_t i = 0; i < OAKI_COUNT(kinds); i++)
        if (strcmp(kinds[i].name, name) == 0) run.kind = &kinds[i];
    run.m = oak_classic_new(&run.kind->type, hint);
    ck_assert_ptr_nonnull(run.m);
    run.m->hash0 = seed;
}

/* Pseudo-random puts (percent of the operations) and deletes of keys below space; never to 0
 * entries, which would draw a new seed. */
static void mix(uint64_t x, unsigned n, uint64_t space, uint64_t percent)
{
    while (n-- > 0) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        int64_t k = (int64_t)((x >> 20) % space);
        if ((x >> 8) % 100 < percent)
            put(k);
        else if (oak_classic_len(run.m) > 1 || !get(k))
            del(k);
    }
}

static void start_iterator(oak_classic_iter *it, size_t bucket, unsigned offset)
{
    oak_classic_iter_init(it, run.m);
    it->start_bucket = it->bucket = bucket;
    it->offset = (uint8_t)offset;
}

static void step_iterator(oak_classic_iter *it, size_t n, size_t given, uint64_t sum)
{
    size_t have = 0;
    uint64_t have_sum = 0;
    for (; have < n && oak_classic_iter_next(it); have++)
        have_sum = have_sum * 31 + (uint64_t)key_number(it->key);
    ck_assert_msg(have == given && have_sum == sum,
                  "line %zu (%s): iterator gave %zu, checksum %" PRIu64 "; Go: %zu, %" PRIu64,
                  run.line, run.sequence, have, have_sum, given, sum);
}

/* ---- the comparison ---- */

static long cleared_buckets(void)
{
    const oak_classic_type *t = run.m->type;
    long n = 0;
    for (size_t i = 0; run.m->oldbuckets && i < oaki_classic_noldbuckets(run.m); i++) {
        const char *b = (const char *)oaki_classic_bucket(t, run.m->oldbuckets, i);
        if (!oaki_classic_evacuated((const oaki_bmap *)b)) continue;
        size_t at = OAKI_TAGS_SIZE;
        while (at < oaki_classic_bucket_size(t) && b[at] == 0) at++;
        n += at == oaki_classic_bucket_size(t);
    }
    return n;
}

/* Overflow buckets of the current array, which is what noverflow samples. */
static double current_overflow(void)
{
    size_t n = 0;
    for (size_t i = 0; i < oaki_classic_nbuckets(run.m->B); i++) {
        oaki_bmap *b = oaki_classic_bucket(run.m->type, run.m->buckets, i);
        while ((b = oaki_classic_overflow(run.m->type, b)) != NULL) n++;
    }
    return (double)n;
}

static void compare(const long go[10])
{
    static const char *const names[10] = { "count",        "B",       "flags",
                                           "noverflow",    "growing", "nevacuate",
                                           "evacuated",    "cleared", "overflow buckets",
                                           "longest chain" };
    oak_classic_stats s;
    oak_classic_stats_read(run.m, &s);
    const char *broken = oaki_classic_check(run.m);
    ck_assert_msg(!broken, "line %zu (%s): %s", run.line, run.sequence, broken);
    long have[10] = { (long)s.count,
                      s.B,
                      s.flags,
                      s.noverflow,
                      s.growing,
                      (long)s.nevacuate,
                      (long)s.evacuated,
                      cleared_buckets(),
                      (long)s.overflow_buckets,
                      (long)s.longest_chain };
    for (unsigned i = 0; i < 10; i++) {
        if (i == 3 && go[i] < 0) {
            double p = 1 / exp2(s.B - 15), n = current_overflow();
            ck_assert_msg(fabs((double)have[i] - n * p) <= 6 * sqrt(n * p * (1 - p)) + 1,
                          "line %zu (%s): noverflow %ld of %.0f sampled with p = %g", run.line,
                          run.sequence, have[i], n, p);
            continue;
        }
        ck_assert_msg(have[i] == go[i], "line %zu (%s): %s is %ld, in Go %ld", run.line,
                      run.sequence, names[i], have[i], go[i]);
    }
}

/* ---- the record ---- */

static bool do_map(const char *op, const char *args)
{
    char name[32];
    unsigned long a, b, c, d;
    if (strcmp(op, "new") == 0 && sscanf(args, "%31s %lu %lu", name, &a, &b) == 3)
        new_map(name, a, (uint32_t)b);
    else if (strcmp(op, "put") == 0 && sscanf(args, "%lu %lu", &a, &b) == 2)
        for (; a < b; a++) put((int64_t)a);
    else if (strcmp(op, "del") == 0 && sscanf(args, "%lu %lu", &a, &b) == 2)
        for (; a < b; a++) del((int64_t)a);
    else if (strcmp(op, "get") == 0 && sscanf(args, "%lu %lu %lu", &a, &b, &c) == 3) {
        for (d = 0; a < b; a++) d += get((int64_t)a);
        ck_assert_uint_eq(d, c);
    } else if (strcmp(op, "window") == 0 && sscanf(args, "%lu %lu %lu", &a, &b, &c) == 3) {
        for (d = 0; d < c; d++) {
            put((int64_t)(b + d));
            del((int64_t)(a + d));
        }
    } else if (strcmp(op, "mix") == 0 && sscanf(args, "%lu %lu %lu %lu", &a, &b, &c, &d) == 4)
        mix(a, (unsigned)b, c, d);
    else if (strcmp(op, "clear") == 0)
        oak_classic_clear(run.m);
    else if (strcmp(op, "seed") == 0 && sscanf(args, "%lu", &a) == 1) {
        ck_assert_uint_eq(oak_classic_len(run.m), 0);
        run.m->hash0 = (uint32_t)a;
    } else
        return false;
    return true;
}

static bool do_other(const char *op, const char *args)
{
    unsigned long a, b, c, d;
    long n[10];
    if (strcmp(op, "range") == 0 && sscanf(args, "%lu %lu %lu", &a, &b, &c) == 3)
        start_iterator(&run.iters[a], b, (unsigned)c);
    else if (strcmp(op, "next") == 0 && sscanf(args, "%lu %lu %lu %lu", &a, &b, &c, &d) == 4)
        step_iterator(&run.iters[a], b, c, d);
    else if (strcmp(op, "state") == 0 &&
             sscanf(args, "%ld %ld %ld %ld %ld %ld %ld %ld %ld %ld", &n[0], &n[1], &n[2], &n[3],
                    &n[4], &n[5], &n[6], &n[7], &n[8], &n[9]) == 10)
        compare(n);
    else
        return false;
    return true;
}

/* Repeat all sequences whose names begin with `prefix`. Returns how many states agreed. */
static size_t replay(const char *prefix)
{
    char line[256], name[256] = "", op[16];
    size_t states = 0;
    bool wanted = false;
    FILE *f = fopen(TEST_SRCDIR "/maps/classic_golden.txt", "r");
    ck_assert_msg(f != NULL, "can't open maps/classic_golden.txt");
    run.sequence = name;
    for (run.line = 1; fgets(line, sizeof line, f); run.line++) {
        int at = 0;
        if (line[0] == '#' || sscanf(line, "%15s%n", op, &at) != 1) continue;
        if (strcmp(op, "hashkey") == 0)
            hashkey = strtoull(line + at, NULL, 10);
        else if (strcmp(op, "sequence") == 0) {
            sscanf(line + at, "%255s", name);
            wanted = strncmp(name, prefix, strlen(prefix)) == 0;
        } else if (wanted) {
            ck_assert_msg(do_map(op, line + at) || do_other(op, line + at), "line %zu: %s",
                          run.line, line);
            states += strcmp(op, "state") == 0;
        }
    }
    fclose(f);
    return states;
}

/* A sequence's name, and the fewest states that it must have: an empty record proves nothing. */
static const struct {
    const char *name;
    size_t states;
} sequences[] = {
    { "hints", 46 },
    { "growth-steps", 300 },
    { "controlled-growth", 25 },
    { "sliding-window", 500 },
    { "what-moves-growth", 25 },
    { "emptied-mid-growth", 10 },
    { "emptied-while-growing", 40 },
    { "iterators", 40 },
    { "sticky-old-iterator", 70 },
    { "clear", 50 },
    { "same-size-under-iterator", 40 },
    { "random", 600 },
    { "idle-in-mid-growth-big", 60 },
};

START_TEST(same_states_as_go)
{
    size_t states = replay(sequences[_i].name);
    ck_assert_msg(states >= sequences[_i].states, "%s: only %zu states", sequences[_i].name,
                  states);
}
END_TEST

/* The record sets seeds; here they are left to the map. */
START_TEST(an_emptied_map_takes_a_new_seed)
{
    uint32_t seeds[3];
    hashkey = 1;
    new_map("int_int", 0, 12345);
    put(1);
    put(2);
    del(1);
    seeds[0] = run.m->hash0;
    del(2);
    seeds[1] = run.m->hash0;
    put(1);
    oak_classic_clear(run.m);
    seeds[2] = run.m->hash0;
    ck_assert_uint_eq(seeds[0], 12345);
    ck_assert_uint_ne(seeds[1], seeds[0]); /* the same by chance: 2^-32 */
    ck_assert_uint_ne(seeds[2], seeds[1]);
}
END_TEST

Suite *suite_maps_classic_golden(void)
{
    Suite *s = suite_create("maps_classic_golden");
    TCase *tc = tcase_create("go 1.19");
    tcase_add_loop_test(tc, same_states_as_go, 0, OAKI_COUNT(sequences));
    tcase_add_test(tc, an_emptied_map_takes_a_new_seed);
    suite_add_tcase(s, tc);
    return s;
}
