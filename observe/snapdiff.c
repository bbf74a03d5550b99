/* snapdiff.c - the difference between two snapshots, by type.
 *
 * Objects are counted by their type's name in both; for an object without a type, by its shape. The
 * names are a stranger's: their hash has a seed, so that nobody can choose names that collide.
 *
 * Owns a table for the length of a call. Bound: linear in the objects, O(log types) each. */
#include "snapread.h"
#include "runtime/os.h"
#include "runtime/xxh.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

typedef struct tally {
    const char *type;
    uint64_t objects[2], bytes[2];
} tally;

typedef struct kinds {
    tally *item; /* hashed by name; NULL type: free */
    size_t cap, used;
    uint64_t seed;
} kinds;

static size_t place(const kinds *k, const char *type)
{
    size_t i = XXH3_64bits_withSeed(type, strlen(type), k->seed) & (k->cap - 1);
    while (k->item[i].type && strcmp(k->item[i].type, type) != 0) i = (i + 1) & (k->cap - 1);
    return i;
}

static bool grow(kinds *k)
{
    kinds fresh = { .cap = k->cap ? k->cap * 2 : 256, .used = k->used, .seed = k->seed };
    fresh.item = calloc(fresh.cap, sizeof *fresh.item);
    if (!fresh.item) return false;
    for (size_t i = 0; i < k->cap; i++)
        if (k->item[i].type) fresh.item[place(&fresh, k->item[i].type)] = k->item[i];
    free(k->item);
    *k = fresh;
    return true;
}

static tally *of_type(kinds *k, const char *type)
{
    if ((k->used + 1) * 2 > k->cap && !grow(k)) return NULL;
    tally *t = &k->item[place(k, type)];
    k->used += t->type == NULL;
    t->type = type;
    return t;
}

static bool count(kinds *k, const oak_snapshot *s, unsigned side)
{
    const char *last = NULL;
    tally *t = NULL;
    for (size_t i = 0; i < s->objects.n; i++) {
        const oaki_snapobject *o = oaki_snapobject_at(s, i);
        const char *type = oaki_snaptype(s, o);
        if (type != last && !(t = of_type(k, type))) return false;
        last = type;
        t->objects[side]++;
        t->bytes[side] += oaki_snapbytes(o);
    }
    return true;
}

static int by_growth(const void *a, const void *b)
{
    const tally *x = a, *y = b;
    int64_t dx = (int64_t)(x->bytes[1] - x->bytes[0]), dy = (int64_t)(y->bytes[1] - y->bytes[0]);
    if (dx != dy) return dx > dy ? -1 : 1;
    return x->type && y->type ? strcmp(x->type, y->type) : (x->type == NULL) - (y->type == NULL);
}

int oak_snapshot_diff(const oak_snapshot *before, const oak_snapshot *after,
                      oak_snapshot_change *out, size_t max, size_t *total)
{
    if (!before || !after) return errno = EINVAL, -1;
    kinds k = { NULL, 0, 0, 0 };
    oaki_os_seed(&k.seed, sizeof k.seed);
    if (!out) max = 0;
    int stored = 0;
    if (!count(&k, before, 0) || !count(&k, after, 1)) {
        free(k.item);
        errno = ENOMEM;
        return -1;
    }
    size_t n = 0;
    for (size_t i = 0; i < k.cap; i++)
        if (k.item[i].type) k.item[n++] = k.item[i];
    if (n > 0) qsort(k.item, n, sizeof *k.item, by_growth);
    for (size_t i = 0; i < n && (size_t)stored < max; i++)
        out[stored++] = (oak_snapshot_change){ .type = k.item[i].type,
                                               .objects_before = k.item[i].objects[0],
                                               .objects_after = k.item[i].objects[1],
                                               .bytes_before = k.item[i].bytes[0],
                                               .bytes_after = k.item[i].bytes[1] };
    if (total) *total = n;
    free(k.item);
    return stored;
}
