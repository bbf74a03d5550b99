/* inspect.c - a map's figures for a census (inspect.h), and the hook of resizes (resizehook.h).
 *
 * Owns: the hook. */
#include "inspect.h"

#include "classic.h"
#include "map.h"
#include "resizehook.h"
#include "runtime/contract.h"
#include "runtime/heap.h"
#include <string.h>

AO_t oaki_resize_hook;

void oaki_maps_on_resize(oaki_resize_fn fn)
{
    AO_store_release(&oaki_resize_hook, (AO_t)fn);
}

oaki_map_kind oaki_map_kind_of(const oak_type *t)
{
    if (!t || !t->mark) return OAKI_MAP_NONE;
    if (oaki_map_is_header_type(t)) return OAKI_MAP_DEFAULT;
    return oaki_classic_is_header_type(t) ? OAKI_MAP_CLASSIC : OAKI_MAP_NONE;
}

static size_t bytes_at(const void *p)
{
    const char *obj = p ? oaki_object_base(p) : NULL;
    return obj ? oaki_object_size(oaki_heap_offset(obj)) : 0;
}

#define SAMPLE 64 /* groups */

/* -1 unless the map is at rest and between writes: only then its fields are consistent. */
static double crowded(const oak_map *m)
{
    const struct oak_map_array_ *a = &m->array[0];
    size_t groups = (size_t)1 << m->bits, step = OAKI_MAX(groups / SAMPLE, (size_t)1);
    size_t seen = 0, passed = 0;
    if (m->busy || m->resizing) return -1;
    for (size_t g = 0; a->dir && g < groups; g += step) {
        if (!a->dir[g >> a->gbits]) continue;
        seen++;
        passed += oaki_map_tags(a, g)[OAK_MAP_SLOTS_] != 0;
    }
    return seen ? (double)passed / (double)seen : 0;
}

#define ALIKE 8 /* entries of one group with one tag: more than by chance */

/* Do few hashes have many entries each? Then whole groups have one tag. */
static bool has_few_tags(const oak_map *m, unsigned i)
{
    const struct oak_map_array_ *a = &m->array[i];
    size_t groups = oaki_map_array_groups(m, i), step = OAKI_MAX(groups / SAMPLE, (size_t)1);
    if (m->busy || !a->dir) return false;
    for (size_t g = 0; g < groups; g += step) {
        if (!a->dir[g >> a->gbits]) continue;
        const uint8_t *tags = oaki_map_tags(a, g);
        unsigned used = oaki_map_used(tags), alike = 0;
        for (unsigned left = used; left; left &= left - 1)
            alike += tags[oaki_ctz(left)] == tags[oaki_ctz(used)];
        if (alike >= ALIKE && alike == oaki_popcount(used)) return true;
    }
    return false;
}

/* From B = 16 up noverflow counts one in `each`. */
static double crowded_classic(const oak_classic_map *m)
{
    uint64_t each = m->B < 16 ? 1 : UINT64_C(1) << (m->B - 15);
    return (double)m->noverflow * (double)each / (double)oaki_classic_nbuckets(m->B);
}

#define LOOK 128 /* buckets */

/* With more entries than buckets, few buckets are empty, unless all entries share few hashes. */
static bool is_crowded(const oak_classic_map *m)
{
    size_t n = oaki_classic_nbuckets(m->B), look = OAKI_MIN(n, LOOK), used = 0;
    if (m->B < 7 || m->count < n) return false;
    for (size_t i = 0; i < look; i++) {
        const oaki_bmap *b = oaki_classic_bucket(m->type, m->buckets, i * (n / look));
        unsigned any = 0;
        for (unsigned k = 0; k < OAKI_SLOTS; k++) any += b->tags[k] >= OAKI_TAG_MIN;
        used += any > 0;
    }
    return used < look / 4; /* by chance it is 63 % at least */
}

void oaki_classic_inspect(const oak_classic_map *m, oaki_map_view *out)
{
    uint8_t flags = oaki_classic_flags(m);
    out->len = m->count;
    out->busy = (flags & OAKI_WRITING) != 0;
    out->growths = m->doublings + m->same_size_growths;
    if (!m->buckets) return;
    out->entry_bytes = oaki_classic_bucket_size(m->type) / OAKI_SLOTS;
    out->bad_hash = !out->busy && !m->oldbuckets && is_crowded(m);
    out->capacity = oaki_classic_nbuckets(m->B) * OAKI_SLOTS;
    out->array_bytes = bytes_at(m->buckets);
    out->crowded = crowded_classic(m);
    out->growing = oaki_classic_growing(m);
    if (!out->growing) return;
    out->same_size = (flags & OAKI_SAME_SIZE) != 0;
    out->old_array_bytes = bytes_at(m->oldbuckets);
    out->progress = m->nevacuate;
    out->moved = (double)m->nevacuate / (double)oaki_classic_noldbuckets(m);
}

/* While a resize begins or ends, array[0] and array[1] may refer to one directory. */
void oaki_map_inspect(const oak_map *m, oaki_map_view *out)
{
    out->len = m->len;
    out->busy = m->busy != 0;
    out->capacity = m->bits ? (size_t)OAK_MAP_SLOTS_ << m->bits : oaki_popcount(m->array[0].slots);
    out->array_bytes = oaki_map_array_held(m, 0);
    out->entry_bytes = m->entry_size + 1;
    out->reserved = (m->flags & OAKI_MAP_HINTED) != 0;
    if (m->type && m->type->name) strncpy(out->name, m->type->name, sizeof out->name - 1);
    out->crowded = crowded(m);
    if (m->more && oaki_object_base(m->more) == (void *)m->more) {
        out->growths = m->more->growths + m->more->shrinks + m->more->reseeds;
        out->bad_hash = m->more->bad_hash || has_few_tags(m, 0) || has_few_tags(m, 1);
    }
    out->growing = m->resizing != 0;
    if (!out->growing) return;
    if (m->array[1].dir != m->array[0].dir) out->old_array_bytes = oaki_map_array_held(m, 1);
    out->progress = m->last;
    out->moved = (double)(m->last + 1) / (double)OAKI_MAP_HALF;
}

bool oaki_map_view_read(const void *p, oaki_map_kind kind, oaki_map_view *out)
{
    OAKI_REQUIRES_STOPPED();
    OAKI_ASSERT(kind == OAKI_MAP_DEFAULT || kind == OAKI_MAP_CLASSIC);
    memset(out, 0, sizeof *out);
    out->kind = kind;
    if (kind == OAKI_MAP_CLASSIC) {
        const oak_classic_map *m = p;
        if (!m->type) return false;
        oaki_classic_inspect(m, out);
    } else {
        const oak_map *m = p;
        if (!m->type) return false;
        oaki_map_inspect(m, out);
    }
    return true;
}
