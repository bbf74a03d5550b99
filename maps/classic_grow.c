/* classic_grow.c - the classic map's arrays: making, overflow buckets, growth, evacuation.
 *
 * A map grows to twice the buckets when one more entry would bring it above 6.5 a bucket. It grows
 * to as many buckets when it has about as many overflow buckets. The new array is made at once. The
 * entries move later, an old bucket with its chain at a time, in writes only.
 *
 * Owns:       buckets, oldbuckets, B, nevacuate, noverflow and `extra`.
 * Invariants: those of classic.h. A destination bucket is empty before its old bucket is evacuated.
 *             So wiping it undoes an evacuation that runs out of memory.
 * Lock:       none; all here is part of a write.
 * Bound:      evacuating is O(one chain); growing allocates, and zeroes, an array. */
#include "classic.h"
#include "held.h"
#include "resizehook.h"
#include "runtime/heap.h"
#include <errno.h>

enum { MARK_STEPS = 1024 }; /* evacuated buckets that one write may skip */

/* Places of the old list that the evacuation of a bucket examines. The list is hardly longer than
 * the old array, so each place is examined more than once in a growth. */
enum { LOOKS = 2 };

/* ---- arrays ---- */

/* The memory that a map needs before it can use another array. */
typedef struct fresh {
    char *buckets;
    oaki_bmap *spare;        /* first preallocated overflow bucket, or NULL */
    oaki_classic_list *list; /* NULL when buckets are scanned */
} fresh;

/* Buckets in the array's allocation, those that the heap's rounding adds included. */
static size_t array_buckets(const oak_classic_type *t, uint8_t B, const char *array)
{
    if (B < OAKI_SPARE_FROM) return oaki_classic_nbuckets(B);
    return oak_usable_size(array) / oaki_classic_bucket_size(t);
}

/* Marks the end of the zeroed preallocated buckets. Returns the first, or NULL when there are
 * none. */
static oaki_bmap *end_spares(const oak_classic_type *t, uint8_t B, char *array)
{
    size_t n = array_buckets(t, B, array), base = oaki_classic_nbuckets(B);
    OAKI_ASSERT(n >= base);
    if (n == base) return NULL;
    *oaki_classic_link(t, oaki_classic_bucket(t, array, n - 1)) = (oaki_bmap *)array;
    return oaki_classic_bucket(t, array, base);
}

static bool make_array(const oak_classic_type *t, uint8_t B, fresh *f)
{
    size_t n = oaki_classic_nbuckets(B), size;
    if (B >= OAKI_SPARE_FROM) n += oaki_classic_nbuckets((uint8_t)(B - OAKI_SPARE_FROM));
    if (B >= 8 * sizeof(size_t) - 1 ||
        __builtin_mul_overflow(n, oaki_classic_bucket_size(t), &size)) {
        errno = ENOMEM;
        return false;
    }
    f->buckets = oaki_classic_scanned(t) ? oak_alloc(size) : oak_alloc_noscan(size);
    if (!f->buckets) return false;
    size_t used = array_buckets(t, B, f->buckets) * oaki_classic_bucket_size(t);
    if (used > size) memset(f->buckets + size, 0, used - size);
    f->spare = end_spares(t, B, f->buckets);
    return true;
}

static bool make_parts(oak_classic_map *m, uint8_t B, fresh *f)
{
    bool listed = !oaki_classic_scanned(m->type);
    *f = (fresh){ NULL, NULL, NULL };
    if (listed && !(f->list = oak_alloc(sizeof *f->list))) return false;
    if (!make_array(m->type, B, f)) return false;
    if (!m->extra && (listed || f->spare)) m->extra = oak_alloc(sizeof *m->extra);
    return m->extra || !(listed || f->spare);
}

static bool make_fresh(oak_classic_map *m, uint8_t B, fresh *f)
{
    return OAKI_PART(m, make_parts(m, B, f) ? m : NULL) != NULL;
}

bool oaki_classic_make(oak_classic_map *m, uint8_t B)
{
    fresh f;
    OAKI_ASSERT(!m->buckets && !m->oldbuckets && m->count == 0);
    if (!make_fresh(m, B, &f)) return false;
    m->B = B;
    m->buckets = f.buckets;
    if (m->extra) {
        m->extra->overflow = f.list;
        m->extra->next_overflow = f.spare;
    }
    return true;
}

void oaki_classic_reset(oak_classic_map *m)
{
    const oak_classic_type *t = m->type;
    OAKI_REQUIRES_CLASSIC_WRITE(m);
    OAKI_ASSERT(m->buckets && m->count == 0);
    if (m->oldbuckets) oaki_resize_ends(m, true, 0);
    m->oldbuckets = NULL;
    m->nevacuate = 0;
    m->noverflow = 0;
    memset(m->buckets, 0, array_buckets(t, m->B, m->buckets) * oaki_classic_bucket_size(t));
    oaki_bmap *spare = end_spares(t, m->B, m->buckets);
    if (!m->extra) return;
    m->extra->next_overflow = spare;
    m->extra->oldoverflow = NULL;
    /* An iterator may need the buckets in the list, so the map gets a new list. Without memory for
     * one the old list stays, and keeps its buckets alive until the map grows. */
    oaki_classic_list *old = m->extra->overflow;
    if (old && old->len > 0) {
        oaki_classic_list *list = OAKI_PART(m, oak_alloc(sizeof *list));
        if (list) m->extra->overflow = list;
    }
}

/* ---- overflow buckets ---- */

/* Makes room for one more. Grows as Go's slices do: twofold while short, by a quarter when long. */
static bool list_reserve(oaki_classic_list *l)
{
    OAKI_ASSERT(l->len <= l->cap);
    if (l->len < l->cap) return true;
    size_t cap = l->cap == 0 ? 1 : l->cap < 256 ? 2 * l->cap : l->cap + (l->cap + 3 * 256) / 4;
    oaki_bmap **data = OAKI_PART(l, oak_alloc(cap * sizeof *data));
    if (!data) return false;
    if (l->len > 0) memcpy(data, l->data, l->len * sizeof *data);
    l->data = data;
    l->cap = oak_usable_size(data) / sizeof *data;
    memset(data + cap, 0, (l->cap - cap) * sizeof *data);
    return true;
}

/* From B = 16 up the 16 bits can't hold the number, so it counts in units of 2^(B-15). */
static void count_overflow(oak_classic_map *m)
{
    if (m->noverflow == UINT16_MAX) return; /* growth was put off, without memory */
    if (m->B >= 16 && (oaki_classic_random(m) & (((uint64_t)1 << (m->B - 15)) - 1)) != 0) return;
    m->noverflow++;
}

oaki_bmap *oaki_classic_add_overflow(oak_classic_map *m, oaki_bmap *b)
{
    const oak_classic_type *t = m->type;
    oaki_classic_extra *x = m->extra;
    oaki_classic_list *list = x ? x->overflow : NULL;
    OAKI_REQUIRES_CLASSIC_WRITE(m);
    OAKI_ASSERT(!list == oaki_classic_scanned(t) && !oaki_classic_overflow(t, b));
    if (list && !list_reserve(list)) return NULL;
    oaki_bmap *more = x ? x->next_overflow : NULL;
    if (more) {
        bool last = oaki_classic_overflow(t, more) != NULL;
        x->next_overflow = last ? NULL : oaki_classic_bucket(t, (char *)more, 1);
        *oaki_classic_link(t, more) = NULL;
    } else {
        size_t size = oaki_classic_bucket_size(t);
        more = OAKI_PART(m, list ? oak_alloc_noscan(size) : oak_alloc(size));
        if (!more) return NULL;
    }
    count_overflow(m);
    if (list) list->data[list->len++] = more;
    *oaki_classic_link(t, b) = more;
    return more;
}

/* ---- growth ---- */

/* Chains are too long with about as many overflow buckets as buckets. Most of the overflow buckets
 * must then be nearly empty, or the load would be too high. */
bool oaki_classic_wants_growth(const oak_classic_map *m)
{
    return oaki_classic_over_load(m->count + 1, m->B) ||
           m->noverflow >= (uint16_t)(1u << OAKI_MIN(m->B, 15));
}

bool oaki_classic_grow(oak_classic_map *m)
{
    bool bigger = oaki_classic_over_load(m->count + 1, m->B);
    fresh f;
    OAKI_REQUIRES_CLASSIC_WRITE(m);
    OAKI_ASSERT(!oaki_classic_growing(m) && m->buckets && !oaki_classic_same_size(m));
    if (m->growth_put_off > 0) {
        m->growth_put_off--;
        return false;
    }
    if (!make_fresh(m, (uint8_t)(m->B + bigger), &f)) {
        /* each attempt costs a collection, so chains get longer for a while instead */
        m->growth_put_off = (uint32_t)OAKI_MIN(OAKI_SLOTS + m->count / 64, (size_t)UINT32_MAX);
        return false;
    }
    uint8_t flags = oaki_classic_flags(m), next = flags & OAKI_WRITING;
    if (flags & OAKI_ITERATOR) next |= OAKI_OLD_ITERATOR;
    if (bigger)
        m->doublings++;
    else {
        next |= OAKI_SAME_SIZE;
        m->same_size_growths++;
    }
    AO_char_store(&m->flags, next);
    m->B = (uint8_t)(m->B + bigger);
    m->oldbuckets = m->buckets;
    m->buckets = f.buckets;
    m->nevacuate = 0;
    m->noverflow = 0;
    if (m->extra) {
        OAKI_INVARIANT(!m->extra->oldoverflow, "classic map: the last growth is not over");
        m->extra->oldoverflow = m->extra->overflow;
        m->extra->overflow = f.list;
        m->extra->next_old = 0;
        /* the rest of the old array's spares is dropped; an array without any keeps the field */
        if (f.spare) m->extra->next_overflow = f.spare;
    }
    oaki_resize_begins(m, true, m->count, oaki_classic_noldbuckets(m) * OAKI_SLOTS,
                       oaki_classic_nbuckets(m->B) * OAKI_SLOTS);
    return true;
}

/* ---- evacuation ---- */

typedef struct destination {
    oaki_bmap *b;
    size_t i; /* next free slot */
} destination;

static void copy_place(void *to, const void *from, size_t n)
{
    if (n == 8)
        memcpy(to, from, 8);
    else
        memcpy(to, from, n);
}

/* The half that an entry of a doubling map goes to: 0 or 1. *tag is its new tag. A key that isn't
 * equal to itself has another hash each time, but an iterator must find the same half. So the tag's
 * lowest bit decides. The key gets a new tag, so that a later growth spreads such keys again. */
static unsigned half(const oak_classic_map *m, const void *key, size_t newbit, uint8_t *tag)
{
    uint64_t hash = oaki_classic_hash(m, key);
    if ((oaki_classic_flags(m) & OAKI_ITERATOR) && !oaki_classic_reflexive(m->type, key)) {
        unsigned y = *tag & 1;
        *tag = oaki_classic_tag(hash);
        return y;
    }
    return ((size_t)hash & newbit) != 0;
}

/* Moves the chain from b on to to[0] and to[1]. false with ENOMEM: part of it was moved. */
static bool move_chain(oak_classic_map *m, oaki_bmap *b, destination to[2], size_t newbit)
{
    const oak_classic_type *t = m->type;
    bool same_size = oaki_classic_same_size(m);
    for (; b; b = oaki_classic_overflow(t, b)) {
        for (size_t i = 0; i < OAKI_SLOTS; i++) {
            uint8_t tag = b->tags[i];
            if (oaki_classic_empty(tag)) {
                b->tags[i] = OAKI_EVACUATED_EMPTY;
                continue;
            }
            OAKI_INVARIANT(tag >= OAKI_TAG_MIN, "classic map: entry moved twice");
            unsigned y = same_size ? 0 : half(m, oaki_classic_key(t, b, i), newbit, &tag);
            destination *d = &to[y];
            OAKI_ASSERT(d->b && d->i <= OAKI_SLOTS && tag >= OAKI_TAG_MIN);
            if (d->i == OAKI_SLOTS) {
                oaki_bmap *more = oaki_classic_add_overflow(m, d->b);
                if (!more) return false;
                *d = (destination){ more, 0 };
            }
            OAKI_ASSERT(d->b->tags[d->i] == OAKI_EMPTY_REST);
            b->tags[i] = (uint8_t)(OAKI_EVACUATED_X + y);
            d->b->tags[d->i] = tag;
            copy_place(oaki_classic_key_place(t, d->b, d->i), oaki_classic_key_place(t, b, i),
                       oaki_classic_key_slot(t));
            copy_place(oaki_classic_value_place(t, d->b, d->i), oaki_classic_value_place(t, b, i),
                       oaki_classic_value_slot(t));
            d->i++;
        }
    }
    return true;
}

/* ---- an evacuation that ran out of memory ---- */

/* The fields that add_overflow changes, as they were before. */
typedef struct before {
    oaki_bmap *spare;
    size_t list_len;
    uint16_t noverflow;
} before;

static before remember(const oak_classic_map *m)
{
    const oaki_classic_extra *x = m->extra;
    return (before){ x ? x->next_overflow : NULL, x && x->overflow ? x->overflow->len : 0,
                     m->noverflow };
}

/* Restores the tags of the old chain from those of its entries in the new array. Slots that were
 * not reached still have theirs. */
static void restore_tags(const oak_classic_map *m, oaki_bmap *head, destination from[2])
{
    const oak_classic_type *t = m->type;
    oaki_bmap *b, *last = NULL;
    size_t last_i = 0;
    for (b = head; b; b = oaki_classic_overflow(t, b)) {
        for (size_t i = 0; i < OAKI_SLOTS; i++) {
            unsigned y = b->tags[i] & 1;
            if (b->tags[i] == OAKI_EVACUATED_X || b->tags[i] == OAKI_EVACUATED_Y) {
                destination *d = &from[y];
                if (d->i == OAKI_SLOTS) *d = (destination){ oaki_classic_overflow(t, d->b), 0 };
                OAKI_ASSERT(d->b && d->b->tags[d->i] >= OAKI_TAG_MIN);
                uint8_t tag = d->b->tags[d->i++];
                if (!oaki_classic_reflexive(t, oaki_classic_key(t, b, i)))
                    tag = (uint8_t)(OAKI_MAX(tag & ~1u, OAKI_TAG_MIN + 1u) | y); /* see half() */
                b->tags[i] = tag;
            } else if (b->tags[i] == OAKI_EVACUATED_EMPTY) {
                b->tags[i] = OAKI_EMPTY_ONE;
            }
            if (!oaki_classic_empty(b->tags[i])) {
                last = b;
                last_i = i;
            }
        }
    }
    bool rest = !last;
    for (b = head; b; b = oaki_classic_overflow(t, b))
        for (size_t i = 0; i < OAKI_SLOTS; i++) {
            if (rest) b->tags[i] = OAKI_EMPTY_REST;
            rest = rest || (b == last && i == last_i);
        }
}

static void undo(oak_classic_map *m, oaki_bmap *old, oaki_bmap *const heads[2], before was)
{
    const oak_classic_type *t = m->type;
    size_t size = oaki_classic_bucket_size(t);
    destination from[2] = { { heads[0], 0 }, { heads[1], 0 } };
    char *end = m->buckets + array_buckets(t, m->B, m->buckets) * size;
    restore_tags(m, old, from);
    for (unsigned y = 0; y < 2; y++) {
        for (oaki_bmap *b = heads[y], *next; b; b = next) {
            next = oaki_classic_overflow(t, b);
            if ((char *)b >= m->buckets && (char *)b < end)
                memset(b, 0, size); /* preallocated ones are used again */
        }
    }
    m->noverflow = was.noverflow;
    if (!m->extra) return;
    m->extra->next_overflow = was.spare;
    if (was.spare) (void)end_spares(t, m->B, m->buckets);
    oaki_classic_list *list = m->extra->overflow;
    OAKI_ASSERT(!list || list->len >= was.list_len);
    if (list && list->len > was.list_len) {
        memset(list->data + was.list_len, 0, (list->len - was.list_len) * sizeof *list->data);
        list->len = was.list_len;
    }
}

/* ---- the steps of a write ---- */

static bool is_evacuated(const oak_classic_map *m, size_t old)
{
    return oaki_classic_evacuated(oaki_classic_bucket(m->type, m->oldbuckets, old));
}

/* Steps over evacuated buckets, at most MARK_STEPS. Past the last one the growth is done. */
static void advance_mark(oak_classic_map *m, size_t nold)
{
    OAKI_ASSERT(m->nevacuate < nold);
    OAKI_ASSERT(is_evacuated(m, m->nevacuate));
    m->nevacuate++;
    size_t stop = OAKI_MIN(m->nevacuate + MARK_STEPS, nold);
    while (m->nevacuate != stop && is_evacuated(m, m->nevacuate)) m->nevacuate++;
    OAKI_ASSERT(is_evacuated(m, m->nevacuate - 1));
    if (m->nevacuate == nold) {
        m->oldbuckets = NULL;
        if (m->extra) m->extra->oldoverflow = NULL;
        AO_char_store(&m->flags, (uint8_t)(oaki_classic_flags(m) & ~OAKI_SAME_SIZE));
        oaki_resize_ends(m, true, m->count);
        OAKI_REQUIRES_SOUND(oaki_classic_check_inside(m));
    }
}

/* Removes evacuated overflow buckets from the old list. */
static void thin_old_list(oaki_classic_extra *x)
{
    oaki_classic_list *l = x->oldoverflow;
    OAKI_ASSERT(l && l != x->overflow);
    for (int n = 0; n < LOOKS && l->len > 0; n++) {
        if (x->next_old >= l->len) x->next_old = 0;
        if (oaki_classic_evacuated(l->data[x->next_old])) {
            l->data[x->next_old] = l->data[--l->len];
            l->data[l->len] = NULL;
        } else {
            x->next_old++;
        }
    }
}

/* Evacuates an old bucket with its chain. false: no memory; the bucket is as it was. */
static bool evacuate(oak_classic_map *m, size_t old)
{
    const oak_classic_type *t = m->type;
    oaki_bmap *b = oaki_classic_bucket(t, m->oldbuckets, old);
    size_t nold = oaki_classic_noldbuckets(m);
    OAKI_ASSERT(old < nold);
    if (!oaki_classic_evacuated(b)) {
        oaki_bmap *heads[2] = { oaki_classic_bucket(t, m->buckets, old), NULL };
        if (!oaki_classic_same_size(m)) heads[1] = oaki_classic_bucket(t, m->buckets, old + nold);
        destination to[2] = { { heads[0], 0 }, { heads[1], 0 } };
        before was = remember(m);
        if (!move_chain(m, b, to, nold)) {
            undo(m, b, heads, was);
            return false;
        }
        /* drop the old copy's references, its overflow buckets included, unless an iterator may
         * read it */
        if (!(oaki_classic_flags(m) & OAKI_OLD_ITERATOR)) {
            if (oaki_classic_scanned(t))
                memset((char *)b + OAKI_TAGS_SIZE, 0, oaki_classic_bucket_size(t) - OAKI_TAGS_SIZE);
            else if (oaki_classic_same_size(m))
                thin_old_list(m->extra);
        }
    }
    if (old == m->nevacuate) advance_mark(m, nold);
    return true;
}

void oaki_classic_grow_work(oak_classic_map *m, size_t bucket)
{
    OAKI_REQUIRES_CLASSIC_WRITE(m);
    OAKI_ASSERT(oaki_classic_growing(m) && bucket < oaki_classic_nbuckets(m->B));
    if (evacuate(m, bucket & (oaki_classic_noldbuckets(m) - 1)) && oaki_classic_growing(m))
        (void)evacuate(m, m->nevacuate);
}
