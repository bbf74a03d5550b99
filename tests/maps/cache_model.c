/* cache_model.c - random operations on a cache and on a plain list beside it.
 *
 * The list is in the order of use. When an entry whose time is over goes is the cache's own
 * business (within bounds that other tests check), so the list follows the callbacks: each must be
 * of an entry that is there, with its value, for a reason that holds at that moment; what holds
 * after each operation is compared in full. */
#include "maps/cache.h"
#include "tests/heap.h"

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

Suite *suite_maps_cache_model(void);

enum { SPACE = 200, SMALL = 32, TICK = 1 << OAKI_WHEEL_TICK };

typedef struct entry {
    int key;
    uintptr_t hidden; /* the value, inverted: an object that holds its key's number */
    size_t bytes;
    uint64_t when; /* 0: never */
} entry;

/* One cache and its list. */
static struct {
    oak_cache *c;
    oak_cache_config f;
    int kind;
    entry list[SPACE]; /* most recent first */
    size_t n, bytes;
    uint64_t now;
    int put_key; /* of the put under way, or -1 */
    size_t put_bytes;
    bool clearing;
    size_t calls, step;
} w;

#define FAIL(...)                                  \
    do {                                           \
        printf("cache_model: step %zu\n", w.step); \
        ck_abort_msg(__VA_ARGS__);                 \
    } while (0)

/* ---- keys ---- */

typedef union room {
    uint64_t word;
    double real;
    const char *text;
    char wide[200];
} room;

static const oak_map_type wide = { .key = OAK_KEY_BYTES, .key_size = 200 };
static const oak_map_type *const kinds[] = { &oak_map_u64_ptr, &oak_map_cstring_ptr,
                                             &oak_map_double_ptr, &wide };

static const void *make_key(int k, room *r)
{
    memset(r, 0, sizeof *r);
    if (w.kind == 1) {
        char *s = oak_alloc_noscan(12);
        snprintf(s, 12, "%d", k);
        r->text = s;
    } else if (w.kind == 2) {
        r->real = k == 0 && test_below(2) ? -0.0 : k;
    } else {
        r->word = (uint64_t)k;
    }
    return r;
}

static int key_of(const void *key)
{
    if (w.kind == 1) return atoi(*(const char *const *)key);
    if (w.kind == 2) return (int)*(const double *)key;
    return (int)*(const uint64_t *)key;
}

/* ---- the list ---- */

static void **shown(const entry *e)
{
    return (void **)~e->hidden;
}

static size_t find(int key)
{
    for (size_t i = 0; i < w.n; i++)
        if (w.list[i].key == key) return i;
    return SIZE_MAX;
}

static void take(size_t i)
{
    w.bytes -= w.list[i].bytes;
    memmove(&w.list[i], &w.list[i + 1], (--w.n - i) * sizeof(entry));
}

static void add(entry e)
{
    memmove(&w.list[1], &w.list[0], w.n++ * sizeof(entry));
    w.list[0] = e;
    w.bytes += e.bytes;
}

static bool over(const entry *e)
{
    return e->when != 0 && e->when <= w.now;
}

/* The live entry of the key. */
static const entry *live(int key)
{
    size_t i = find(key);
    return i != SIZE_MAX && !over(&w.list[i]) ? &w.list[i] : NULL;
}

static void told(oak_cache *c, const void *key, void *value, oak_cache_reason why, void *ctx)
{
    int k = key_of(key);
    size_t i = find(k);
    w.calls++;
    if (c != w.c || ctx != &w) FAIL("whose callback is it");
    if (i == SIZE_MAX || shown(&w.list[i]) != value)
        FAIL("key %d was out, or has another value", k);
    if (*(void **)value != (void *)(uintptr_t)k) FAIL("key %d: its value was collected", k);
    const entry e = w.list[i];
    bool ok = false;
    switch (why) {
    case OAK_CACHE_EXPIRED:
        ok = over(&e);
        break;
    case OAK_CACHE_REPLACED:
        ok = k == w.put_key && !over(&e);
        break;
    case OAK_CACHE_DELETED:
        ok = !over(&e);
        break;
    case OAK_CACHE_CLEARED:
        ok = w.clearing && i == w.n - 1;
        break;
    case OAK_CACHE_CAPACITY:
        ok = i == w.n - 1 && k != w.put_key &&
             ((w.f.max_entries && w.n + (w.put_key >= 0) > w.f.max_entries) ||
              (w.f.max_bytes && w.bytes + w.put_bytes > w.f.max_bytes));
    }
    if (!ok) FAIL("key %d is out because of %d", k, why);
    take(i);
    if (why != OAK_CACHE_REPLACED && oak_cache_peek(c, key)) FAIL("key %d is there", k);
}

/* ---- operations ---- */

/* Over the same key the list's entry goes first, in the callback or here when the value is the same
 * and there is none; so it doesn't count for capacity. */
static void put(int k)
{
    room r;
    const void *key = make_key(k, &r);
    const entry *old = live(k);
    bool same = old && test_below(3) == 0;
    void **value = same ? shown(old) : oak_alloc(16 + test_below(100));
    entry e = { k, ~(uintptr_t)value, test_below(20) ? test_below(50) : 2000, 0 };
    uint64_t ttl = test_below(3) ? test_random() >> (30 + test_below(34)) : 0;
    bool fits = !w.f.max_bytes || e.bytes <= w.f.max_bytes;
    *value = (void *)(uintptr_t)k;
    if (ttl != 0 || w.f.ttl != 0) e.when = w.now + (ttl ? ttl : w.f.ttl);
    if (same && fits) take(find(k));
    w.put_key = k;
    w.put_bytes = e.bytes;
    errno = 0;
    int result = oak_cache_put_ex(w.c, key, value, e.bytes, ttl);
    w.put_key = -1;
    w.put_bytes = 0;
    if (result != (fits ? 0 : -1) || (!fits && errno != E2BIG)) FAIL("put %d: %d", k, result);
    if (fits) add(e);
}

static void get(int k, bool only_peek)
{
    room r;
    const entry *e = live(k);
    void *expect = e ? (void *)shown(e) : NULL;
    void *value = (only_peek ? oak_cache_peek : oak_cache_get)(w.c, make_key(k, &r));
    if (value != expect) FAIL("get %d", k);
    if (!value || only_peek) return;
    entry copy = *e;
    take(find(k));
    add(copy);
}

static void delete (int k)
{
    room r;
    bool there = live(k) != NULL;
    if (oak_cache_delete(w.c, make_key(k, &r)) != there) FAIL("delete %d", k);
    if (find(k) != SIZE_MAX) FAIL("delete %d didn't tell", k);
}

static void set_limit(void)
{
    size_t entries = test_below(3) ? test_below(SPACE) + 1 : 0, bytes = test_below(3000);
    if (entries == 0 && bytes == 0) return;
    w.f.max_entries = entries;
    w.f.max_bytes = bytes;
    if (oak_cache_set_limit(w.c, entries, bytes) != 0) FAIL("set_limit");
    if ((entries && w.n > entries) || (bytes && w.bytes > bytes)) FAIL("limits don't hold");
}

static bool compare(const void *key, void *value, void *ctx)
{
    size_t *i = ctx;
    while (*i < w.n && over(&w.list[*i])) ++*i;
    if (*i >= w.n || w.list[*i].key != key_of(key) || shown(&w.list[*i]) != value)
        FAIL("each: %d isn't number %zu", key_of(key), *i);
    ++*i;
    return true;
}

static void compare_all(void)
{
    size_t i = 0;
    oak_cache_stats s;
    const char *broken = oaki_cache_check(w.c);
    if (broken) FAIL("%s", broken);
    oak_cache_each(w.c, compare, &i);
    while (i < w.n && over(&w.list[i])) i++;
    if (i != w.n) FAIL("each gives too few");
    oak_cache_stats_read(w.c, &s);
    if (s.entries != w.n || s.bytes != w.bytes) FAIL("counts");
}

static void operate(void)
{
    int k = (int)test_below(SPACE);
    switch (test_below(200)) {
    case 0:
        w.clearing = true;
        oak_cache_clear(w.c);
        w.clearing = false;
        if (w.n != 0) FAIL("clear left %zu", w.n);
        break;
    case 1:
    case 2:
        set_limit();
        break;
    case 3:
    case 4:
        (void)oak_cache_purge_expired(w.c, test_below(200));
        break;
    case 5:
        oak_collect();
        break;
    case 6:
        while (oak_cache_purge_expired(w.c, 100)) {
        }
        for (size_t i = 0; i < w.n; i++)
            if (over(&w.list[i]) && w.list[i].when + TICK <= w.now) FAIL("a purge left one");
        break;
    default:
        switch (test_below(8)) {
        case 0:
            delete (k);
            break;
        case 1:
            w.now += test_random() >> (30 + test_below(34));
            break;
        case 2:
            get(k, true);
            break;
        case 3:
        case 4:
            get(k, false);
            break;
        default:
            put(k);
        }
    }
}

static uint64_t fake_clock(void *ctx)
{
    (void)ctx;
    return w.now;
}

START_TEST(random_operations_against_a_list)
{
    test_heap_start_stressed(test_config());
    test_seed("maps/cache_model");
    w.kind = _i / 2;
    w.put_key = -1;
    w.now = test_random() >> 4;
    w.f = (oak_cache_config){ .keys = kinds[w.kind],
                              .max_entries = 100,
                              .max_bytes = 1500,
                              .ttl = test_below(2) ? 1 + (test_random() >> 36) : 0,
                              .flags = _i % 2 ? OAK_CACHE_LOCKED : 0,
                              .evicted = told,
                              .clock = fake_clock,
                              .ctx = &w };
    w.c = oak_cache_new(&w.f);
    ck_assert_ptr_nonnull(w.c);
    for (size_t n = test_scale(100000); w.step < n; w.step++) {
        operate();
        const char *broken = w.n <= SMALL ? oaki_cache_check(w.c) : NULL;
        if (broken) FAIL("%s", broken);
        if (w.step % 16 == 0) compare_all();
    }
    compare_all();
    ck_assert_uint_gt(w.calls, w.step / 20);
}
END_TEST

Suite *suite_maps_cache_model(void)
{
    Suite *s = suite_create("maps_cache_model");
    TCase *tc = tcase_create("model");
    tcase_add_loop_test(tc, random_operations_against_a_list, 0, 2 * (int)OAKI_COUNT(kinds));
    suite_add_tcase(s, tc);
    return s;
}
