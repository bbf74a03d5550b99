/* map_array.c - arrays of groups: directories, segments, and a free slot for an entry.
 *
 * Owns: the memory of arrays. Directories of two, which small maps have, are in the header.
 * Invariants: a segment that nothing was put into is oaki_map_empty, which is never written;
 * behind
 *   the last segment comes the tail, which takes what the last groups have no room for: its tags
 *   are those of a whole segment, its entries as many as `more->tail` says.
 * Bound: making an array writes its directory and nothing else. */
#include "map.h"
#include <oakum/heap.h>
#include <string.h>

const char oaki_map_empty[(OAK_MAP_SLOTS_ + 1) << OAKI_MAP_SEGMENT_BITS]
    __attribute__((aligned(16))) = { 0 };

static unsigned gbits_of(const struct oak_map_array_ *a)
{
    return oaki_log2((uint64_t)a->gmask + 1);
}

size_t oaki_map_segments(const oak_map *m, unsigned i)
{
    return (size_t)1 << (63 - m->array[i].segshift);
}

bool oaki_map_need_more(oak_map *m)
{
    if (m->more) return true;
    struct oak_map_more_ *more = oak_alloc_noscan(sizeof *more);
    if (!more) return false;
    more->segments[0] = more->segments[1] = 2;
    m->more = more;
    return true;
}

static unsigned choose_gbits(const oaki_map_layout *l, unsigned bits)
{
    unsigned g = bits > OAKI_MAP_SEGMENTS_BITS ? bits - OAKI_MAP_SEGMENTS_BITS : 0;
    g = OAKI_MIN(OAKI_MAX(g, l->gbits_min), l->gbits_max);
    return OAKI_MIN(g, bits);
}

bool oaki_map_array_init(oak_map *m, unsigned i, unsigned bits, unsigned slots)
{
    unsigned gbits = choose_gbits(oaki_map_layout_of(m), bits);
    size_t n = ((size_t)1 << (bits - gbits)) + 1;
    char **dir = m->few[i];
    if (bits > 0 && !oaki_map_need_more(m)) return false;
    if (n > 2 && !(dir = oaki_map_dir_new(n))) return false;
    for (size_t s = 0; s < n; s++) dir[s] = OAKI_MAP_EMPTY;
    m->array[i] = (struct oak_map_array_){
        .dir = dir,
        .gmask = ((uint32_t)1 << gbits) - 1,
        .entries = (OAK_MAP_SLOTS_ + 1u) << gbits,
        .shift = (uint8_t)(63 - bits),
        .segshift = (uint8_t)(63 - (bits - gbits)),
        .slots = (uint16_t)slots,
    };
    if (m->more) {
        m->more->tail[i] = 0;
        m->more->segments[i] = (uint32_t)n;
    }
    return true;
}

void oaki_map_array_free(oak_map *m, unsigned i)
{
    struct oak_map_array_ *a = &m->array[i];
    size_t n = m->more ? m->more->segments[i] : 2;
    char **dir = a->dir;
    if (!dir) return;
    for (size_t s = 0; s < n; s++) {
        char *segment = dir[s];
        if (segment == OAKI_MAP_EMPTY) continue;
        dir[s] = OAKI_MAP_EMPTY;
        oak_free(segment);
    }
    if (dir == m->few[i]) return;
    a->dir = NULL;
    oak_free(dir);
}

size_t oaki_map_array_bytes(const oak_map *m, unsigned i)
{
    const struct oak_map_array_ *a = &m->array[i];
    size_t n = m->more ? m->more->segments[i] : 2, bytes = 0;
    if (!a->dir) return 0;
    for (size_t s = 0; s < n; s++)
        if (a->dir[s] != OAKI_MAP_EMPTY) bytes += oak_usable_size(a->dir[s]);
    return bytes + (a->dir == m->few[i] ? 0 : n * sizeof a->dir[0]);
}

/* ---- segments ---- */

static bool make_segment(oak_map *m, unsigned i, size_t s)
{
    struct oak_map_array_ *a = &m->array[i];
    const oaki_map_layout *l = oaki_map_layout_of(m);
    size_t groups = (size_t)a->gmask + 1;
    size_t slots = a->slots == OAK_MAP_USED_ ? groups * OAK_MAP_SLOTS_ : oaki_popcount(a->slots);
    char *p = oaki_map_segment_new(l, gbits_of(a), a->entries + slots * l->entry_size);
    if (!p) return false;
    AO_compiler_barrier(); /* its tags are clear before anybody finds it */
    a->dir[s] = p;
    return true;
}

/* The directory with one more place, for another tail segment. */
static bool longer_dir(oak_map *m, unsigned i)
{
    struct oak_map_array_ *a = &m->array[i];
    size_t n = m->more->segments[i];
    char **old = a->dir, **dir = oaki_map_dir_new(n + 1);
    if (!dir) return false;
    memcpy(dir, old, n * sizeof *dir);
    dir[n] = OAKI_MAP_EMPTY;
    AO_compiler_barrier();
    a->dir = dir;
    m->more->segments[i] = (uint32_t)n + 1;
    m->more->tail[i] = 0;
    m->moves++;
    if (old != m->few[i]) oak_free(old);
    return true;
}

/* The tail segment s gets room for `groups` groups: by doubling, so that most tails are of one. */
static bool grow_tail(oak_map *m, unsigned i, size_t s, size_t groups)
{
    struct oak_map_array_ *a = &m->array[i];
    const oaki_map_layout *l = oaki_map_layout_of(m);
    size_t have = m->more->tail[i], group = OAK_MAP_SLOTS_ * l->entry_size;
    size_t want = OAKI_MIN(OAKI_MAX(groups, have * 2), (size_t)a->gmask + 1);
    char *old = a->dir[s], *p = oaki_map_segment_new(l, gbits_of(a), a->entries + want * group);
    if (!p) return false;
    if (have) memcpy(p, old, a->entries + have * group);
    AO_compiler_barrier();
    a->dir[s] = p;
    m->more->tail[i] = (uint32_t)want;
    m->moves++;
    if (have) oak_free(old);
    return true;
}

/* There is memory for the group at `at`. */
static bool make_group(oak_map *m, unsigned i, oaki_map_place at)
{
    struct oak_map_array_ *a = &m->array[i];
    if (OAKI_LIKELY(at.s < oaki_map_segments(m, i)))
        return a->dir[at.s] != OAKI_MAP_EMPTY || make_segment(m, i, at.s);
    if (!oaki_map_need_more(m)) return false;
    while (at.s >= m->more->segments[i])
        if (!longer_dir(m, i)) return false;
    bool last = at.s + 1 == m->more->segments[i];
    return !last || at.g < m->more->tail[i] || grow_tail(m, i, at.s, at.g + 1);
}

bool oaki_map_make_room(oak_map *m, unsigned i, oaki_map_place at, size_t n)
{
    struct oak_map_array_ *a = &m->array[i];
    for (size_t room = 0;; oaki_map_next(a, &at)) {
        if (!make_group(m, i, at)) return false;
        room += oaki_popcount(~oaki_map_used(oaki_map_tags(a, at)) & a->slots);
        if (room >= n) return true;
    }
}

uint8_t *oaki_map_take_slot(oak_map *m, unsigned i, uint64_t p, char **entry, size_t *past)
{
    struct oak_map_array_ *a = &m->array[i];
    oaki_map_place home = oaki_map_home(a, p), at = home;
    unsigned free;
    for (*past = 0;; oaki_map_next(a, &at), ++*past) {
        if (OAKI_UNLIKELY(!make_group(m, i, at))) return NULL;
        free = ~oaki_map_used(oaki_map_tags(a, at)) & a->slots;
        if (OAKI_LIKELY(free)) break;
    }
    for (size_t k = *past; k > 0; k--, oaki_map_next(a, &home)) {
        uint8_t *count = oaki_map_tags(a, home) + OAK_MAP_SLOTS_;
        *count = (uint8_t)(*count + (*count != UINT8_MAX));
    }
    size_t size = m->entry_size;
    *entry = oaki_map_entries(a, at, size) + oaki_ctz(free) * size;
    return oaki_map_tags(a, at) + oaki_ctz(free);
}
