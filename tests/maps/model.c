/* model.c - the reference: a table of what is in the map, and what each iterator gave.
 *
 * Entries are numbered as they are put. An iterator that began when `first` was the next number
 * must give, by its end, each entry below `first` that still lives; and no entry twice. */
#include "model.h"

#include "maps/map.h"
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct entry {
    uintptr_t hidden; /* the complement of where the stored key's text is */
    uint32_t key;
    uint16_t version; /* of the value */
    bool live, nan, negative;
} entry;

typedef struct walk {
    bool open;
    uint64_t first, *given, words; /* a bit for each entry */
} walk;

/* Roots: what the collector must see. */
static struct {
    oak_map *map;
    oak_map_iter it[MODEL_WALKS];
} root;

static struct {
    const model_kind *kind;
    size_t space, len, nnans, steps;
    bool may_fail, starved;
    entry *entries; /* those that were ever put */
    uint64_t next, room;
    uint64_t *current; /* of each key, the number of its entry and 1; 0: absent */
    uint64_t *nans;    /* entries with a NaN, which live until a clear */
    walk walks[MODEL_WALKS];
} w;

enum { SMALL = 64 };

const char *model_who = "model";

void model_fail(const char *format, ...)
{
    char what[256];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    fprintf(stderr, "%s: OAK_TEST_SEED=%llu, map of %s, %zu keys, step %zu: %s\n", model_who,
            (unsigned long long)model_run_seed, w.kind->name, w.space, w.steps, what);
    abort();
}

#define REQUIRE(x, ...) \
    do { \
        if (!(x)) model_fail(__VA_ARGS__); \
    } while (0)

static void *grown(void *p, uint64_t n, size_t size)
{
    void *q = realloc(p, n * size);
    if (!q) abort();
    return q;
}

void model_begin(const model_kind *kind, size_t space, size_t hint)
{
    w.kind = kind;
    w.space = space;
    w.current = calloc(space, sizeof *w.current);
    root.map = oak_map_new(&kind->type, hint);
    REQUIRE(root.map && w.current, "no map: errno %d", errno);
    oak_map_set_seed(root.map, model_random());
    model_hash_for(kind, root.map);
}

void model_end(void)
{
    for (unsigned i = 0; i < MODEL_WALKS; i++) free(w.walks[i].given);
    free(w.entries);
    free(w.current);
    free(w.nans);
    memset(&w, 0, sizeof w);
    memset(&root, 0, sizeof root);
}

oak_map *model_map(void)
{
    return root.map;
}

size_t model_len(void)
{
    return w.len;
}

void model_may_fail(bool may)
{
    w.may_fail = may;
    w.starved |= may;
}

/* ---- entries ---- */

static uint64_t value_word(uint64_t id)
{
    return id << 16 | w.entries[id].version;
}

static uint64_t new_entry(uint32_t key)
{
    if (w.next == w.room) {
        w.room = w.room * 2 + 1000;
        w.entries = grown(w.entries, w.room, sizeof *w.entries);
    }
    w.entries[w.next] = (entry){ .key = key, .live = true };
    return w.next++;
}

static bool is_present(unsigned k)
{
    return w.current[k] != 0;
}

/* ---- puts ---- */

static bool refused(const char *what)
{
    REQUIRE(w.may_fail && errno == ENOMEM, "%s without reason: errno %d", what, errno);
    REQUIRE(oak_map_len(root.map) == w.len, "another length after a put that failed");
    return false;
}

/* With the value of the entry's next version. `at`: the key's bytes. */
static bool put(uint64_t id, bool fresh, const void *at)
{
    char zeros[MODEL_VALUE_MAX] = { 0 };
    uint64_t word = value_word(id) + !fresh;
    void *b = NULL, *slot;
    if (w.kind->boxed && !(b = model_make_box(word))) return refused("no box");
    w.steps++;
    if (!(slot = oak_map_put(root.map, at))) return refused("no slot");
    if (fresh)
        REQUIRE(memcmp(slot, zeros, w.kind->type.value_size) == 0, "a new value isn't zero");
    else
        REQUIRE(model_value_is(w.kind, slot, value_word(id)), "a put changed the old value");
    if (!fresh) w.entries[id].version++;
    model_write_value(w.kind, slot, word, b);
    w.len += fresh;
    REQUIRE(oak_map_len(root.map) == w.len, "len %zu, not %zu", oak_map_len(root.map), w.len);
    return true;
}

static uintptr_t text_of(const void *key)
{
    const void *p = NULL;
    if (w.kind->form == MODEL_TEXT || w.kind->form == MODEL_SLICE) memcpy(&p, key, sizeof p);
    return ~(uintptr_t)p;
}

static bool updates(void)
{
    return w.kind->form == MODEL_REAL || (w.kind->type.flags & OAK_MAP_KEY_UPDATE) != 0;
}

static bool is_negative(const void *key)
{
    if (w.kind->form != MODEL_REAL) return false;
    if (w.kind->type.key_size == sizeof(float)) return signbit(*(const float *)key);
    return signbit(*(const double *)key);
}

/* at: where the key is; NULL: it is to be made. */
static bool put_at(unsigned k, const void *at)
{
    model_room r;
    char *text = NULL;
    bool fresh = !is_present(k), negative = model_below(2) == 0;
    size_t size = model_text_size(w.kind, k);
    if (at) {
        negative = is_negative(at);
    } else {
        if (size > 0 && !(text = oak_alloc_noscan(size))) return refused("no text");
        model_make_key(w.kind, k, negative, text, &r);
        at = &r;
    }
    uintptr_t hidden = text_of(at);
    uint64_t id = fresh ? new_entry(k) : w.current[k] - 1;
    if (!put(id, fresh, at)) {
        if (fresh) w.entries[id].live = false;
        return false;
    }
    if (fresh || updates()) {
        w.entries[id].hidden = hidden;
        w.entries[id].negative = negative;
    }
    w.current[k] = id + 1;
    return true;
}

bool model_put(unsigned k)
{
    return put_at(k, NULL);
}

bool model_put_nan(void)
{
    model_room r;
    bool single = w.kind->type.key_size == sizeof(float);
    /* Equal bits time and again, and other ones. */
    if (single) r.f = model_below(2) ? nanf("") : -nanf("77");
    else r.d = model_below(2) ? nan("") : -nan("77");
    uint64_t id = new_entry(0);
    w.entries[id].nan = true;
    if (!put(id, true, &r)) return w.entries[id].live = false;
    w.nans = grown(w.nans, w.nnans + 1, sizeof *w.nans);
    w.nans[w.nnans++] = id;
    REQUIRE(!oak_map_get(root.map, &r), "found a NaN");
    REQUIRE(!oak_map_delete(root.map, &r), "deleted a NaN");
    return true;
}

/* ---- lookups and deletes ---- */

static void check_value(uint64_t id, const void *slot)
{
    REQUIRE(model_value_is(w.kind, slot, value_word(id)), "key %u: a wrong value",
            w.entries[id].key);
    size_t size = w.kind->type.value_size, align = size & -size;
    if (align > 16) align = 16;
    REQUIRE(size == 0 || (uintptr_t)slot % align == 0, "a slot at %p", slot);
}

void model_get(unsigned k)
{
    model_room r;
    char text[80];
    model_make_key(w.kind, k, model_below(2) == 0, text, &r);
    void *slot = oak_map_get(root.map, &r);
    REQUIRE((slot != NULL) == is_present(k), "key %u is %s", k, slot ? "there" : "missing");
    if (slot) check_value(w.current[k] - 1, slot);
}

static void delete_at(unsigned k, const void *at)
{
    model_room r;
    char text[80];
    if (!at) {
        model_make_key(w.kind, k, model_below(2) == 0, text, &r);
        at = &r;
    }
    w.steps++;
    bool was = oak_map_delete(root.map, at);
    REQUIRE(was == is_present(k), "key %u was %s to be deleted", k, was ? "there" : "not there");
    if (was) {
        w.entries[w.current[k] - 1].live = false;
        w.current[k] = 0;
        w.len--;
    }
    REQUIRE(oak_map_len(root.map) == w.len, "len %zu, not %zu", oak_map_len(root.map), w.len);
}

void model_delete(unsigned k)
{
    delete_at(k, NULL);
}

void model_clear(void)
{
    oak_map_clear(root.map);
    for (uint64_t id = 0; id < w.next; id++) w.entries[id].live = false;
    memset(w.current, 0, w.space * sizeof *w.current);
    w.len = w.nnans = 0;
    REQUIRE(oak_map_len(root.map) == 0, "entries after a clear");
}

/* ---- many at once ---- */

void model_get_many(size_t n)
{
    static char keys[MODEL_MANY * sizeof(model_room)], texts[MODEL_MANY][80];
    static unsigned number[MODEL_MANY];
    void *slots[MODEL_MANY + 1];
    size_t size = model_key_size(w.kind), present = 0;
    for (size_t i = 0; i < n; i++) {
        model_room r;
        number[i] = i > 0 && model_below(4) == 0 ? number[i - 1]
                                                 : (unsigned)model_below(w.space);
        model_make_key(w.kind, number[i], model_below(2) == 0, texts[i], &r);
        memcpy(keys + i * size, &r, size);
        present += is_present(number[i]);
    }
    slots[n] = slots;
    size_t found = oak_map_get_many(root.map, keys, n, model_below(4) ? slots : NULL);
    REQUIRE(found == present, "of many %zu are there, and not %zu", found, present);
    found = oak_map_get_many(root.map, keys, n, slots);
    REQUIRE(found == present && slots[n] == slots, "of many %zu, not %zu", found, present);
    for (size_t i = 0; i < n; i++) {
        unsigned k = number[i];
        REQUIRE((slots[i] != NULL) == is_present(k), "of many, key %u", k);
        if (slots[i]) check_value(w.current[k] - 1, slots[i]);
        if (i > 0 && k == number[i - 1]) REQUIRE(slots[i] == slots[i - 1], "two slots of %u", k);
    }
}

/* Which is in the map as it is given. */
static uint64_t entry_given(const void *key, void *value)
{
    uint64_t word, id;
    if (model_key_is_nan(w.kind, key)) {
        memcpy(&word, value, sizeof word);
        if (w.kind->boxed && w.kind->type.value_size == sizeof word)
            word = **(uint64_t **)value;
        id = word >> 16;
        REQUIRE(id < w.next && w.entries[id].live && w.entries[id].nan, "given: an unknown NaN");
    } else {
        long k = model_key_number(w.kind, key);
        REQUIRE(k >= 0 && (size_t)k < w.space, "given: what is no key");
        REQUIRE(is_present((unsigned)k), "given: key %ld, which isn't in the map", k);
        id = w.current[k] - 1;
        const entry *e = &w.entries[id];
        REQUIRE(text_of(key) == e->hidden, "key %ld isn't the one that was put", k);
        REQUIRE(k != 0 || w.kind->form != MODEL_REAL || is_negative(key) == e->negative,
                "a zero of the wrong sign");
    }
    check_value(id, value);
    return id;
}

static void drop_entry(uint64_t id)
{
    w.entries[id].live = false;
    w.len--;
    if (!w.entries[id].nan) {
        w.current[w.entries[id].key] = 0;
        return;
    }
    size_t n = 0;
    while (w.nans[n] != id) n++;
    w.nans[n] = w.nans[--w.nnans];
}

static void write_value(uint64_t id, void *slot)
{
    void *b = NULL;
    if (w.kind->boxed && !(b = model_make_box(value_word(id) + 1))) return;
    w.entries[id].version++;
    model_write_value(w.kind, slot, value_word(id), b);
}

typedef struct passing {
    size_t part, calls;
} passing;

static bool keep_some(const void *key, void *value, void *arg)
{
    passing *p = arg;
    uint64_t id = entry_given(key, value);
    p->calls++;
    if (model_below(8) == 0) model_get((unsigned)model_below(w.space));
    if (model_below(8) == 0) write_value(id, value);
    if (model_below(p->part) > 0) return true;
    drop_entry(id);
    return false;
}

void model_retain(size_t part)
{
    passing p = { part, 0 };
    size_t before = w.len;
    w.steps++;
    size_t deleted = oak_map_retain(root.map, keep_some, &p);
    REQUIRE(p.calls == before, "%zu calls for %zu entries", p.calls, before);
    REQUIRE(deleted == before - w.len, "%zu deleted, not %zu", deleted, before - w.len);
    REQUIRE(oak_map_len(root.map) == w.len, "len %zu, not %zu", oak_map_len(root.map), w.len);
}

bool model_reserve(size_t n)
{
    w.steps++;
    if (oak_map_reserve(root.map, n) != 0) return refused("no room");
    return true;
}

bool model_copy(void)
{
    w.steps++;
    oak_map *copy = oak_map_copy(root.map);
    if (!copy) return refused("no copy");
    const char *broken = oaki_map_check(copy);
    REQUIRE(!broken, "a copy: not so: %s", broken);
    oak_map_clear(root.map);
    root.map = copy;
    for (unsigned i = 0; i < MODEL_WALKS; i++) w.walks[i].open = false;
    REQUIRE(oak_map_len(copy) == w.len, "a copy's len %zu, not %zu", oak_map_len(copy), w.len);
    return true;
}

/* ---- iterators ---- */

static bool was_given(const walk *k, uint64_t id)
{
    return id / 64 < k->words && (k->given[id / 64] >> id % 64 & 1);
}

static void mark_given(walk *k, uint64_t id)
{
    if (id / 64 >= k->words) {
        uint64_t words = id / 32 + 16;
        k->given = grown(k->given, words, sizeof *k->given);
        memset(k->given + k->words, 0, (words - k->words) * sizeof *k->given);
        k->words = words;
    }
    k->given[id / 64] |= UINT64_C(1) << id % 64;
}

void model_start(unsigned i, bool random)
{
    walk *k = &w.walks[i];
    k->open = true;
    k->first = w.next;
    if (k->words > 0) memset(k->given, 0, k->words * sizeof *k->given);
    if (random) oak_map_iter_init_random(&root.it[i], root.map);
    else oak_map_iter_init(&root.it[i], root.map);
}

bool model_open(unsigned i)
{
    return w.walks[i].open;
}

static void at_end(unsigned i, int error)
{
    const walk *k = &w.walks[i];
    REQUIRE(!root.it[i].key, "a key at the end");
    if (error == ENOMEM && w.may_fail) return;
    REQUIRE(error == 0, "the end with errno %d", error);
    for (size_t key = 0; key < w.space; key++)
        REQUIRE(!is_present((unsigned)key) || w.current[key] > k->first ||
                    was_given(k, w.current[key] - 1),
                "iterator %u left out key %zu", i, key);
    for (size_t n = 0; n < w.nnans; n++)
        REQUIRE(w.nans[n] >= k->first || was_given(k, w.nans[n]), "iterator %u left out a NaN", i);
    if (model_below(4) == 0) REQUIRE(!oak_map_iter_next(&root.it[i]), "an entry after the end");
}

static void act_on(oak_map_iter *it, uint64_t id, model_act act)
{
    bool is_nan = w.entries[id].nan;
    if (act == MODEL_WRITE) {
        write_value(id, it->value);
    } else if (act == MODEL_DELETE_IT && is_nan) {
        REQUIRE(!oak_map_delete(root.map, it->key), "deleted a NaN");
    } else if (act == MODEL_DELETE_IT) {
        delete_at(w.entries[id].key, it->key);
    } else if (act == MODEL_PUT_IT && !is_nan) {
        put_at(w.entries[id].key, it->key);
    }
}

bool model_step(unsigned i, model_act act)
{
    oak_map_iter *it = &root.it[i];
    w.steps++;
    errno = EDOM;
    if (!oak_map_iter_next(it)) {
        at_end(i, errno);
        w.walks[i].open = false;
        return false;
    }
    uint64_t id = entry_given(it->key, it->value);
    REQUIRE(!was_given(&w.walks[i], id), "iterator %u gave key %u twice", i, w.entries[id].key);
    mark_given(&w.walks[i], id);
    act_on(it, id, act);
    return true;
}

/* ---- all of it ---- */

void model_hold(void)
{
    if (w.len > SMALL && w.steps % SMALL != 0) return;
    const char *broken = oaki_map_check(root.map);
    REQUIRE(!broken, "not so: %s", broken);
}

void model_check(void)
{
    static oak_map_stats s;
    w.steps++;
    for (size_t k = 0; k < w.space; k++) model_get((unsigned)k);
    const char *broken = oaki_map_check(root.map);
    REQUIRE(!broken, "not so: %s", broken);
    oak_map_stats_read(root.map, &s);
    REQUIRE(s.len == w.len && oak_map_len(root.map) == w.len, "stats of %zu entries", s.len);
    REQUIRE(s.load >= 0 && (s.load <= 1 || w.starved), "load %f", s.load);
    REQUIRE(s.evacuated >= 0 && s.evacuated <= 1, "evacuated %f", s.evacuated);
    REQUIRE(s.resizing || s.old_array_bytes == 0, "an old array at rest");
    REQUIRE(s.overflowed <= s.len && s.same_hash <= s.len, "more of a kind than entries");
}
