/* maplabel.c - labels for words in maps and iterators (maplabel.h).
 *
 * All objects of a default map have types. Of a classic map, only the header has one: its buckets
 * are recognized by the path that leads to them.
 *
 * Owns:  nothing.
 * Bound: O(1); O(segments) for a directory. */
#include "maplabel.h"

#include "graph.h"
#include "maps/classic.h"
#include "maps/inspect.h"
#include "maps/parts.h"
#include "runtime/print.h"
#include "runtime/probe.h"
#include <string.h>

/* ---- reads of memory that may be absent ---- */

static bool copy(void *out, const void *p, size_t n)
{
    return oaki_probe_copy(out, p, n) == n;
}

/* Does an object of at least n bytes begin at p? */
static bool is_object(const oaki_image *im, const void *p, size_t n)
{
    size_t slot = oaki_graph_object(im, (uintptr_t)p);
    return slot != SIZE_MAX && (const char *)oaki_the_heap.base + slot == (const char *)p &&
           oaki_object_size(slot) >= n;
}

/* ---- keys ---- */

/* Writes bytes in quotes: printable ones as they are, others escaped. `more`: the key is longer. */
static size_t put_text(char *out, size_t n, const char *p, size_t len, bool more)
{
    size_t at = oaki_format(out, n, "\"");
    for (size_t i = 0; i < len && at + 8 < n; i++) {
        unsigned char c = (unsigned char)p[i];
        if (c == '"' || c == '\\')
            at += oaki_format(out + at, n - at, "\\%c", c);
        else if (c < 0x20 || c >= 0x7f)
            at += oaki_format(out + at, n - at, "\\x%02x", c);
        else
            at += oaki_format(out + at, n - at, "%c", c);
    }
    return at + oaki_format(out + at, n - at, more ? "\"..." : "\"");
}

static size_t put_hex(char *out, size_t n, const char *p, size_t len, bool more)
{
    size_t at = oaki_format(out, n, "0x");
    for (size_t i = 0; i < len && at + 6 < n; i++)
        at += oaki_format(out + at, n - at, "%02x", (unsigned char)p[i]);
    return at + (more ? oaki_format(out + at, n - at, "...") : 0);
}

/* Writes the string up to its NUL, as far as it can be read. */
static size_t put_cstring(char *out, size_t n, const char *s)
{
    char text[OAKI_KEY_SHOWN];
    size_t got = s ? oaki_probe_copy(text, s, sizeof text) : SIZE_MAX;
    if (got == SIZE_MAX || got == 0) return oaki_format(out, n, "%p", (const void *)s);
    const char *end = memchr(text, '\0', got);
    return put_text(out, n, text, end ? (size_t)(end - text) : got, !end);
}

static size_t put_slice(char *out, size_t n, const void *data, size_t len)
{
    char text[OAKI_KEY_SHOWN];
    size_t want = OAKI_MIN(len, sizeof text), got = want ? oaki_probe_copy(text, data, want) : 0;
    if (got == SIZE_MAX || got < want)
        return oaki_format(out, n, "%zu bytes at %p", len, data);
    return put_text(out, n, text, got, got < len);
}

static size_t put_number(char *out, size_t n, const char *p, size_t size)
{
    uint64_t v = 0;
    memcpy(&v, p, OAKI_MIN(size, sizeof v));
    return oaki_format(out, n, "%llu", (unsigned long long)v);
}

static size_t put_double(char *out, size_t n, const char *p, size_t size)
{
    double d;
    float f;
    if (size == sizeof f) {
        memcpy(&f, p, sizeof f);
        d = (double)f;
    } else {
        memcpy(&d, p, sizeof d);
    }
    if (d != d) return oaki_format(out, n, "NaN");
    return oaki_format(out, n, "%.6f", d);
}

/* Writes the key of entry e of a map of type t. */
static size_t put_key(char *out, size_t n, const oak_map_type *t, const char *e)
{
    char large[OAKI_KEY_SHOWN];
    size_t shown = OAKI_MIN(t->key_size, sizeof large);
    oak_slice slice;
    const char *s;
    switch (t->key) {
    case OAK_KEY_U32:
    case OAK_KEY_U64: return put_number(out, n, e, t->key_size);
    case OAK_KEY_POINTER:
        memcpy(&s, e, sizeof s);
        return oaki_format(out, n, "%p", (const void *)s);
    case OAK_KEY_CSTRING:
        memcpy(&s, e, sizeof s);
        return put_cstring(out, n, s);
    case OAK_KEY_SLICE:
        memcpy(&slice, e, sizeof slice);
        return put_slice(out, n, slice.data, slice.len);
    case OAK_KEY_DOUBLE: return put_double(out, n, e, t->key_size);
    case OAK_KEY_BYTES:
    case OAK_KEY_CUSTOM: break;
    }
    if (t->key_size > OAK_MAP_INDIRECT_) {
        memcpy(&s, e, sizeof s);
        if (!copy(large, s, shown)) return oaki_format(out, n, "at %p", (const void *)s);
        e = large;
    }
    return put_hex(out, n, e, shown, shown < t->key_size);
}

/* Writes the key at place k of a bucket. */
static size_t put_classic_key(char *out, size_t n, const oak_classic_type *t, const char *k)
{
    char large[OAKI_KEY_SHOWN];
    size_t shown = OAKI_MIN(t->key_size, sizeof large);
    if (oaki_classic_key_indirect(t)) {
        const char *p;
        memcpy(&p, k, sizeof p);
        if (!copy(large, p, shown)) return oaki_format(out, n, "at %p", (const void *)p);
        k = large;
    }
    if (t->hash == oak_classic_hash_string) {
        oak_classic_string s;
        memcpy(&s, k, sizeof s);
        return put_slice(out, n, s.data, s.len);
    }
    if (t->hash == oak_classic_hash_double && t->key_size == 8) return put_double(out, n, k, 8);
    if (t->key_size <= 8) return put_number(out, n, k, t->key_size);
    return put_hex(out, n, k, shown, shown < t->key_size);
}

/* ---- the default map ---- */

static bool in_dir(char *const *dir, size_t n, size_t stride, const char *to, size_t head)
{
    for (size_t s = 0; s < n; s++)
        if (dir[s] && dir[s] + s * stride - head == to) return true;
    return false;
}

static void label_header(const char *from, const char *to, char out[OAKI_LABEL])
{
    const oak_map *m = (const oak_map *)(const void *)from;
    if ((const char *)m->more == to) oaki_format(out, OAKI_LABEL, "more");
    for (unsigned i = 0; i < 2; i++) {
        const struct oak_map_array_ *a = &m->array[i];
        const char *old = i ? "old " : "";
        if (a->tags == to) oaki_format(out, OAKI_LABEL, "%stags", old);
        if (!a->dir) continue;
        if (a->dir == m->few_dir[i]) {
            size_t stride = oaki_map_stride(m, a);
            if (in_dir(a->dir, OAKI_COUNT(m->few_dir[i]), stride, to, 0) ||
                in_dir(a->dir, OAKI_COUNT(m->few_dir[i]), stride, to, sizeof(oaki_map_head)))
                oaki_format(out, OAKI_LABEL, "%sarray", old);
        } else if (oaki_heap_contains(a->dir) &&
                   oaki_slot_offset(oaki_heap_offset(a->dir)) == oaki_heap_offset(to)) {
            oaki_format(out, OAKI_LABEL, "%sarray", old);
        }
    }
}

/* The entry that contains the word at offset `at` of a map's entries, or NULL. */
static const char *entry_at(const oaki_map_layout *l, const char *from, size_t at)
{
    if (at < sizeof(oaki_map_head) || at == SIZE_MAX) return NULL;
    size_t i = (at - sizeof(oaki_map_head)) / l->entry_size;
    return from + sizeof(oaki_map_head) + i * l->entry_size;
}

static void label_entry(const oaki_map_layout *l, const char *from, size_t at,
                        char out[OAKI_LABEL])
{
    const char *e = entry_at(l, from, at);
    if (!e) {
        if (at == 0) oaki_format(out, OAKI_LABEL, "tags");
        return;
    }
    bool value = l->type.value_size > 0 && from + at >= e + l->value_offset;
    size_t n = oaki_format(out, OAKI_LABEL, value ? "value of key " : "key ");
    put_key(out + n, OAKI_LABEL - n, &l->type, e);
}

size_t oaki_map_key_at(const void *entries, size_t at, char *out, size_t n)
{
    const oaki_map_layout *l;
    const oak_type *t = oaki_type_by_id(oaki_type_id_at(oaki_heap_offset(entries)));
    if (oaki_map_part_of(t, &l) != OAKI_MAP_ENTRIES) return 0;
    const char *e = entry_at(l, entries, at);
    return e ? OAKI_MIN(put_key(out, n, &l->type, e), n - 1) : 0;
}

/* ---- the classic map ---- */

static bool makes_sense(const oak_classic_type *t)
{
    return t->hash && t->equal && t->key_size <= (size_t)1 << 20 &&
           t->value_size <= (size_t)1 << 30 && t->flags < 8;
}

const oak_classic_map *oaki_classic_seen(const oaki_image *im, const void *obj)
{
    const oak_classic_map *m = obj;
    oak_classic_type t;
    const oak_type *type = oaki_type_by_id(oaki_type_id_at(oaki_heap_offset(obj)));
    if (!type || !oaki_classic_is_header_type(type) || m->B > 48 || !m->buckets) return NULL;
    if (!copy(&t, m->type, sizeof t) || !makes_sense(&t)) return NULL;
    size_t bucket = oaki_classic_bucket_size(&t);
    if (!is_object(im, m->buckets, bucket << m->B)) return NULL;
    if (m->oldbuckets && !is_object(im, m->oldbuckets, bucket)) return NULL;
    return m->extra && !is_object(im, m->extra, sizeof *m->extra) ? NULL : m;
}

static void label_classic(oaki_label_context *c, const oak_classic_map *m, size_t at,
                          char out[OAKI_LABEL])
{
    c->map = m;
    c->at = OAKI_AT_NONE;
    if (at == offsetof(oak_classic_map, buckets) || at == offsetof(oak_classic_map, oldbuckets))
        c->at = OAKI_AT_BUCKETS;
    if (at == offsetof(oak_classic_map, extra)) c->at = OAKI_AT_LISTS;
    oaki_format(out, OAKI_LABEL, "%s",
                at == offsetof(oak_classic_map, buckets)      ? "buckets"
                : at == offsetof(oak_classic_map, oldbuckets) ? "oldbuckets"
                : at == offsetof(oak_classic_map, extra)      ? "extra"
                                                              : "");
}

/* The place of the key of the entry that contains a word of buckets; NULL: the word is in none. */
static const char *classic_key(const oak_classic_type *t, const char *from, size_t at, bool *value)
{
    size_t bucket = oaki_classic_bucket_size(t), in = at % bucket;
    size_t keys = OAKI_SLOTS * oaki_classic_key_slot(t),
           values = OAKI_SLOTS * oaki_classic_value_slot(t);
    if (at == SIZE_MAX || in < OAKI_TAGS_SIZE || in - OAKI_TAGS_SIZE >= keys + values) return NULL;
    in -= OAKI_TAGS_SIZE;
    *value = in >= keys;
    size_t slot = *value ? (in - keys) / oaki_classic_value_slot(t) : in / oaki_classic_key_slot(t);
    return from + at / bucket * bucket + OAKI_TAGS_SIZE + slot * oaki_classic_key_slot(t);
}

/* Labels a word of an array of buckets, or of an overflow bucket. */
static void label_bucket(oaki_label_context *c, const char *from, size_t at, char out[OAKI_LABEL])
{
    bool value;
    const char *k = classic_key(c->map->type, from, at, &value);
    if (!k) {
        if (at != SIZE_MAX) oaki_format(out, OAKI_LABEL, "overflow");
        return;
    }
    size_t n = oaki_format(out, OAKI_LABEL, value ? "value of key " : "key ");
    put_classic_key(out + n, OAKI_LABEL - n, c->map->type, k);
    c->at = OAKI_AT_NONE;
}

size_t oaki_classic_key_at(const oak_classic_map *m, const void *array, size_t at, char *out,
                           size_t n)
{
    bool value;
    const char *k = classic_key(m->type, array, at, &value);
    return k ? OAKI_MIN(put_classic_key(out, n, m->type, k), n - 1) : 0;
}

/* ---- both ---- */

static bool label_iterator(const oaki_image *im, const char *place, char out[OAKI_LABEL]);

void oaki_map_label(const oaki_image *im, oaki_label_context *c, const char *from, size_t at,
                    const char *to, char out[OAKI_LABEL])
{
    const oaki_map_layout *l;
    const oak_type *t = oaki_type_by_id(oaki_type_id_at(oaki_heap_offset(from)));
    out[0] = '\0';
    switch (oaki_map_part_of(t, &l)) {
    case OAKI_MAP_HEADER: label_header(from, to, out); return;
    case OAKI_MAP_DIRECTORY: oaki_format(out, OAKI_LABEL, "segment"); return;
    case OAKI_MAP_ENTRIES: label_entry(l, from, at, out); return;
    case OAKI_MAP_NO_PART: break;
    }
    const oak_classic_map *m = oaki_classic_seen(im, from);
    if (m)
        label_classic(c, m, at, out);
    else if (c->at == OAKI_AT_BUCKETS)
        label_bucket(c, from, at, out);
    else if (c->at == OAKI_AT_LISTS)
        oaki_format(out, OAKI_LABEL, "overflow buckets");
    else if (at != SIZE_MAX)
        label_iterator(im, from + at, out);
}

/* ---- iterators ---- */

typedef struct field {
    const char *name;
    size_t offset;
} field;

static bool is_classic_iterator(const oaki_image *im, const char *p)
{
    oak_classic_iter it;
    if (!copy(&it, p, sizeof it) || it.offset >= OAKI_SLOTS || it.i > OAKI_SLOTS ||
        it.wrapped > 1 || it.B > 48)
        return false;
    size_t nbuckets = (size_t)1 << it.B;
    if (it.start_bucket >= nbuckets || it.bucket > nbuckets ||
        !is_object(im, it.map, sizeof(oak_classic_map)) || !oaki_classic_seen(im, it.map))
        return false;
    return is_object(im, it.buckets, oaki_classic_bucket_size(it.map->type) << it.B) &&
           oaki_type_id_at(oaki_heap_offset(it.buckets)) == 0;
}

static bool is_map_iterator(const oaki_image *im, const char *p)
{
    const oaki_map_layout *l;
    oak_map_iter it;
    if (!copy(&it, p, sizeof it) ||
        !is_object(im, it.map, sizeof(oak_map)))
        return false;
    const oak_type *t = oaki_type_by_id(oaki_type_id_at(oaki_heap_offset(it.map)));
    return oaki_map_part_of(t, &l) == OAKI_MAP_HEADER && it.seed == it.map->seed &&
           it.mult == it.map->mult;
}

static bool label_iterator(const oaki_image *im, const char *place, char out[OAKI_LABEL])
{
    static const field classic[] = {
        { "key", offsetof(oak_classic_iter, key) },
        { "value", offsetof(oak_classic_iter, value) },
        { "map", offsetof(oak_classic_iter, map) },
        { "buckets", offsetof(oak_classic_iter, buckets) },
        { "bptr", offsetof(oak_classic_iter, bptr) },
        { "overflow", offsetof(oak_classic_iter, overflow) },
        { "oldoverflow", offsetof(oak_classic_iter, oldoverflow) },
    };
    static const field map[] = {
        { "key", offsetof(oak_map_iter, key) },   { "value", offsetof(oak_map_iter, value) },
        { "map", offsetof(oak_map_iter, map) },   { "tags", offsetof(oak_map_iter, tags) },
        { "entries", offsetof(oak_map_iter, entries) }, { "more", offsetof(oak_map_iter, more) },
    };
    for (size_t i = 0; i < OAKI_COUNT(classic); i++)
        if (is_classic_iterator(im, place - classic[i].offset)) {
            oaki_format(out, OAKI_LABEL, "oak_classic_iter.%s", classic[i].name);
            return true;
        }
    for (size_t i = 0; i < OAKI_COUNT(map); i++)
        if (is_map_iterator(im, place - map[i].offset)) {
            oaki_format(out, OAKI_LABEL, "oak_map_iter.%s", map[i].name);
            return true;
        }
    return false;
}

void oaki_iterator_label(const oaki_image *im, const char *place, char out[OAKI_LABEL])
{
    out[0] = '\0';
    if (place) label_iterator(im, place, out);
}
