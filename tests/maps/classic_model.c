/* classic_model.c - random operations on the classic map and on a plain table beside it, with
 * iterators open meanwhile.
 *
 * What holds of an iterator: it gives only entries that are in the map, with their values; an entry
 * that is there throughout exactly once; none twice that was not put again. Go 1.19 breaks this in
 * two ways (see maps/classic_iter.c): after a clear nothing is checked of the iterators that were
 * open; after a growth to the same size keys may repeat.
 *
 * Seeds are printed with a failure; OAK_TEST_SEED=n runs that one. */
#include "maps/classic.h"
#include <check.h>
#include <stdio.h>
#include <stdlib.h>

enum { SPACE = 1200, ITERATORS = 4, STEPS = 6000, SMALL = 64 };

/* ---- kinds of keys and values ---- */

/* Few hashes, so that chains are long and growths to the same size frequent. */
static uint64_t bad_hash(const void *key, uint64_t seed, size_t size)
{
    uint64_t k;
    memcpy(&k, key, 8);
    k %= 37;
    return oak_classic_hash_bytes(&k, seed, size < 8 ? size : 8);
}

enum { WORD, STRING, DOUBLE, WIDE };

static const struct kind {
    const char *name;
    int key;
    bool boxed; /* values are pointers to heap objects */
    oak_classic_type type;
} kinds[] = {
    { "int_int", WORD, false, { 8, 8, oak_classic_hash_bytes, oak_classic_equal_bytes, 0 } },
    { "int_ptr",
      WORD,
      true,
      { 8, 8, oak_classic_hash_bytes, oak_classic_equal_bytes, OAK_CLASSIC_VALUE_POINTERS } },
    { "int_136", WORD, false, { 8, 136, oak_classic_hash_bytes, oak_classic_equal_bytes, 0 } },
    { "wide_ptr",
      WIDE,
      true,
      { 200, 16, oak_classic_hash_bytes, oak_classic_equal_bytes, OAK_CLASSIC_VALUE_POINTERS } },
    { "string_int",
      STRING,
      false,
      { sizeof(oak_classic_string), 8, oak_classic_hash_string, oak_classic_equal_string,
        OAK_CLASSIC_KEY_POINTERS | OAK_CLASSIC_NEED_KEY_UPDATE } },
    { "double_int",
      DOUBLE,
      false,
      { 8, 8, oak_classic_hash_double, oak_classic_equal_double, OAK_CLASSIC_NEED_KEY_UPDATE } },
    { "bad_int", WORD, false, { 8, 8, bad_hash, oak_classic_equal_bytes, 0 } },
    { "bad_ptr",
      WORD,
      true,
      { 8, 8, bad_hash, oak_classic_equal_bytes, OAK_CLASSIC_VALUE_POINTERS } },
};

/* ---- state ---- */

typedef struct walk {
    oak_classic_iter it;
    bool open, cleared, same_size;
    uint64_t same_size_growths;
    bool must[SPACE];  /* there since the beginning */
    bool given[SPACE]; /* and not put again since */
} walk;

typedef struct world {
    const struct kind *kind;
    oak_classic_map *m;
    int64_t value[SPACE]; /* -1: absent */
    size_t count;
    walk walks[ITERATORS];
    uint64_t seed, rng;
    size_t step;
} world;

static uint64_t draw(world *w)
{
    w->rng += UINT64_C(0x9e3779b97f4a7c15);
    return oaki_hash_u64(w->rng, 17);
}

#define FAIL(w, ...)                                                        \
    do {                                                                    \
        fprintf(stderr, "classic_model: OAK_TEST_SEED=%lu, step %zu, %s\n", \
                (unsigned long)(w)->seed, (w)->step, (w)->kind->name);      \
        ck_abort_msg(__VA_ARGS__);                                          \
    } while (0)

typedef union room {
    int64_t word;
    double d;
    oak_classic_string s;
    char wide[200];
} room;

static const void *make_key(const world *w, int k, room *r, char text[16])
{
    switch (w->kind->key) {
    case WORD:
        r->word = k;
        break;
    case DOUBLE:
        r->d = k == 0 ? -0.0 : k;
        break;
    case STRING:
        r->s = (oak_classic_string){ text, (size_t)snprintf(text, 16, "key%d", k) };
        break;
    default:
        memset(r->wide, k, sizeof r->wide);
        memcpy(r->wide, &k, sizeof k);
    }
    return r;
}

static int key_number(const world *w, const void *key)
{
    int k;
    switch (w->kind->key) {
    case WORD:
        return (int)*(const int64_t *)key;
    case DOUBLE:
        return (int)*(const double *)key;
    case STRING:
        return atoi(((const oak_classic_string *)key)->data + 3);
    default:
        memcpy(&k, key, sizeof k);
        return k;
    }
}

static int64_t read_value(const world *w, const void *value)
{
    return w->kind->boxed ? **(int64_t *const *)value : *(const int64_t *)value;
}

/* ---- operations ---- */

static void put(world *w, int k)
{
    room r;
    char *text = w->kind->key == STRING ? oak_alloc_noscan(16) : NULL;
    int64_t v = (int64_t)(draw(w) >> 2), *box = NULL;
    if (w->kind->boxed && (box = oak_alloc_noscan(sizeof *box)) != NULL) *box = v;
    void *slot = oak_classic_put(w->m, make_key(w, k, &r, text));
    if (!slot) FAIL(w, "put %d: no memory", k);
    if (w->value[k] < 0) {
        if ((w->kind->boxed ? *(int64_t **)slot != NULL : *(int64_t *)slot != 0))
            FAIL(w, "put %d: a new value is not zero", k);
        w->count++;
        for (int i = 0; i < ITERATORS; i++) w->walks[i].given[k] = false;
    } else if (read_value(w, slot) != w->value[k]) {
        FAIL(w, "put %d: not the old value", k);
    }
    memcpy(slot, w->kind->boxed ? (void *)&box : &v, 8);
    w->value[k] = v;
}

static void del(world *w, int k)
{
    room r;
    char text[16];
    if (oak_classic_delete(w->m, make_key(w, k, &r, text)) != (w->value[k] >= 0))
        FAIL(w, "delete %d", k);
    if (w->value[k] < 0) return;
    w->value[k] = -1;
    w->count--;
    for (int i = 0; i < ITERATORS; i++) w->walks[i].must[k] = false;
}

static void get(world *w, int k)
{
    room r;
    char text[16];
    void *slot = oak_classic_get(w->m, make_key(w, k, &r, text));
    if ((slot ? read_value(w, slot) : -1) != w->value[k]) FAIL(w, "get %d", k);
}

static void clear(world *w)
{
    oak_classic_clear(w->m);
    w->count = 0;
    for (int k = 0; k < SPACE; k++) w->value[k] = -1;
    for (int i = 0; i < ITERATORS; i++) w->walks[i].cleared = true;
}

static void begin(world *w, walk *x)
{
    x->open = true;
    x->cleared = x->same_size = false;
    x->same_size_growths = w->m->same_size_growths;
    for (int k = 0; k < SPACE; k++) {
        x->must[k] = w->value[k] >= 0;
        x->given[k] = false;
    }
    oak_classic_iter_init(&x->it, w->m);
}

static void end(world *w, walk *x)
{
    x->open = false;
    if (x->cleared) return;
    for (int k = 0; k < SPACE; k++)
        if (x->must[k] && !x->given[k]) FAIL(w, "iterator: %d was not given", k);
}

/* Returns whether the key that was given last is still good: then it may be written. */
static void step(world *w, walk *x)
{
    if (!oak_classic_iter_next(&x->it)) {
        end(w, x);
        return;
    }
    int k = key_number(w, x->it.key);
    x->same_size = x->same_size || w->m->same_size_growths != x->same_size_growths;
    if (x->cleared) return;
    if (k < 0 || k >= SPACE || w->value[k] < 0) FAIL(w, "iterator: gave %d, which is not there", k);
    if (read_value(w, x->it.value) != w->value[k]) FAIL(w, "iterator: %d has another value", k);
    if (x->given[k] && !x->same_size) FAIL(w, "iterator: gave %d twice", k);
    x->given[k] = true;
    if (draw(w) % 8 == 0) { /* the key as the iterator has it, in the map's own memory */
        if (!oak_classic_delete(w->m, x->it.key)) FAIL(w, "iterator: can't delete %d", k);
        w->value[k] = -1;
        w->count--;
        for (int i = 0; i < ITERATORS; i++) w->walks[i].must[k] = false;
    }
}

/* ---- runs ---- */

static void one_step(world *w, unsigned put_percent, int space)
{
    uint64_t r = draw(w);
    int k = (int)(draw(w) % (uint64_t)space);
    walk *x = &w->walks[draw(w) % ITERATORS];
    if (r % 100 < 30) {
        if (!x->open) {
            begin(w, x);
        } else {
            for (uint64_t n = draw(w) % 40; n > 0 && x->open; n--) step(w, x);
        }
    } else if (r % 100 < 40) {
        get(w, k);
    } else if (r % 5000 == 99) {
        clear(w);
    } else if ((r >> 20) % 100 < put_percent) {
        put(w, k);
    } else {
        del(w, k);
    }
}

static void run(const struct kind *kind, uint64_t seed)
{
    static world the_world;
    world *w = &the_world;
    memset(w, 0, sizeof *w);
    w->kind = kind;
    w->seed = w->rng = seed;
    w->m = oak_classic_new(&kind->type, draw(w) % 4 == 0 ? draw(w) % SPACE : 0);
    oak_classic_set_seed(w->m, (uint32_t)seed);
    for (int k = 0; k < SPACE; k++) w->value[k] = -1;
    unsigned percent = 50;
    int space = SPACE;
    for (w->step = 0; w->step < STEPS; w->step++) {
        if (w->step % 700 == 0) {
            percent = 5 + (unsigned)(draw(w) % 91);
            space = 1 + (int)(draw(w) % SPACE);
        }
        one_step(w, percent, space);
        if (oak_classic_len(w->m) != w->count) FAIL(w, "length");
        if (w->step % 64 != 0 && w->count > SMALL) continue;
        const char *broken = oaki_classic_check(w->m);
        if (broken) FAIL(w, "%s", broken);
    }
    for (int k = 0; k < SPACE; k++) get(w, k);
    for (int i = 0; i < ITERATORS; i++)
        while (w->walks[i].open) step(w, &w->walks[i]);
}

START_TEST(agrees_with_a_table)
{
    const char *given = getenv("OAK_TEST_SEED");
    if (given) {
        run(&kinds[_i], strtoull(given, NULL, 10));
        return;
    }
    for (uint64_t n = 0; n < 20; n++) run(&kinds[_i], oaki_hash_random());
}
END_TEST

Suite *suite_maps_classic_model(void)
{
    Suite *s = suite_create("maps_classic_model");
    TCase *tc = tcase_create("random");
    tcase_add_loop_test(tc, agrees_with_a_table, 0, OAKI_COUNT(kinds));
    suite_add_tcase(s, tc);
    return s;
}
