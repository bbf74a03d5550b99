/* map_array.c - arrays of groups: tags, directories, segments, and a free slot for an entry.
 *
 * Owns: the memory of arrays. An array of one group has its tags and its directory in the header.
 * Invariants: behind the home groups come a few more, the tail, for entries that the last homes
 * have no room for. They are in segments too; the last one has `more->tail` groups. The directory
 * always has a place for one segment of the tail.
 * Bound: making an array writes its directory, and no tags unless it must. */
#include "held.h"
#include "map.h"
#include "runtime/heap.h"
#include "runtime/zone.h"
#include <oakum/heap.h>
#include <string.h>

#define TAIL_GROUPS 16 /* of the tail, with tags from the beginning; fewer in a small array */
#define RELEASE ((size_t)64 << 10) /* bytes of tags at a time */

static size_t segments_of(const struct oak_map_array_ *a)
{
    return ((oaki_map_homes(a) - 1) >> a->gbits) + 1;
}

bool oaki_map_need_more(oak_map *m)
{
    if (m->more) return true;
    OAKI_ASSERT(m->bits == 0 && !m->resizing);
    struct oak_map_more_ *more = OAKI_PART(m, oak_alloc_noscan(sizeof *more));
    if (!more) return false;
    more->segments[0] = more->segments[1] = 2;
    more->groups[0] = more->groups[1] = 1;
    m->more = more;
    return true;
}

/* An array that is only resized whole is one segment, if that is a small object. */
static unsigned choose_gbits(const oaki_map_layout *l, unsigned bits)
{
    size_t bytes = (OAK_MAP_SLOTS_ * l->entry_size << bits) + sizeof(oaki_map_head);
    if (bits < oaki_map_whole_bits && bytes <= OAKI_SMALL_MAX) return bits;
    unsigned g = bits > OAKI_MAP_SEGMENTS_BITS ? bits - OAKI_MAP_SEGMENTS_BITS : 0;
    g = OAKI_MIN(OAKI_MAX(g, l->gbits_min), l->gbits_max);
    return OAKI_MIN(g, bits);
}

bool oaki_map_array_init(oak_map *m, unsigned i, unsigned bits, unsigned slots, bool zero)
{
    unsigned gbits = choose_gbits(oaki_map_layout_of(m), bits);
    size_t n = ((size_t)1 << (bits - gbits)) + 1, groups = (size_t)1 << bits;
    char **dir = m->few_dir[i], *tags = m->few_tags[i];
    size_t stride = ((size_t)OAK_MAP_SLOTS_ * m->entry_size) << gbits;
    OAKI_ASSERT(bits <= OAKI_MAP_BITS_MAX && !m->array[i].dir);
    OAKI_ASSERT(slots == OAK_MAP_USED_ || (bits == 0 && (slots == 0x7 || slots == 0x7f)));
    if (bits > 0) {
        groups += OAKI_MIN(groups / 2, TAIL_GROUPS);
        if (!oaki_map_need_more(m) || !(tags = oaki_map_tags_new(m, groups, zero))) return false;
        if (n > 2 && !(dir = oaki_map_dir_new(m, n, stride))) {
            oak_free(tags);
            return false;
        }
    } else {
        memset(tags, 0, OAKI_MAP_GROUP);
    }
    dir[0] = dir[1] = NULL;
    m->array[i] = (struct oak_map_array_){
        .tags = tags,
        .dir = dir,
        .gmask = ((uint32_t)1 << gbits) - 1,
        .slots = (uint16_t)slots,
        .shift = (uint8_t)(63 - bits),
        .gbits = (uint8_t)gbits,
    };
    if (m->more) {
        m->more->tail[i] = 0;
        m->more->segments[i] = n;
        m->more->groups[i] = groups;
    }
    return true;
}

void oaki_map_drop_segment(oak_map *m, unsigned i, size_t s)
{
    struct oak_map_array_ *a = &m->array[i];
    OAKI_ASSERT(s < (m->more ? m->more->segments[i] : 2));
    char *segment = oaki_map_segment(m, a, s);
    if (!segment) return;
    OAKI_HOLD(segment);
    a->dir[s] = NULL;
    oaki_map_segment_free(oaki_map_layout_of(m), segment);
}

void oaki_map_array_free(oak_map *m, unsigned i)
{
    struct oak_map_array_ *a = &m->array[i];
    size_t n = m->more ? m->more->segments[i] : 2;
    char **dir = a->dir, *tags = a->tags;
    if (!dir) return;
    for (size_t s = 0; s < n; s++) oaki_map_drop_segment(m, i, s);
    a->dir = NULL;
    a->tags = NULL;
    if (i == 1 && m->more) m->more->released = 0;
    if (dir != m->few_dir[i]) oaki_map_dir_free(dir);
    if (tags != m->few_tags[i]) oak_free(tags);
}

void oaki_map_array_move(oak_map *m, unsigned i, unsigned j)
{
    const oaki_map_layout *l = oaki_map_layout_of(m);
    struct oak_map_array_ a = m->array[i];
    OAKI_ASSERT(a.dir && !m->array[j].dir);
    OAKI_ASSERT(!m->more || m->more->released == 0);
    if (a.dir == m->few_dir[i]) {
        memcpy(m->few_dir[j], m->few_dir[i], sizeof m->few_dir[0]);
        a.dir = m->few_dir[j];
    }
    if (a.tags == m->few_tags[i]) {
        memcpy(m->few_tags[j], m->few_tags[i], sizeof m->few_tags[0]);
        a.tags = m->few_tags[j];
        if (a.dir[0]) oaki_map_segment_set_tags(l, a.dir[0], a.tags);
    }
    if (m->more) {
        m->more->tail[j] = m->more->tail[i];
        m->more->segments[j] = m->more->segments[i];
        m->more->groups[j] = m->more->groups[i];
        m->more->released = 0;
    }
    m->array[j] = a;
    AO_compiler_barrier();
    m->array[i].dir = NULL;
    m->array[i].tags = NULL;
}

size_t oaki_map_array_bytes(const oak_map *m, unsigned i)
{
    const struct oak_map_array_ *a = &m->array[i];
    size_t n = m->more ? m->more->segments[i] : 2, bytes = 0;
    if (!a->dir) return 0;
    for (size_t s = 0; s < n; s++)
        if (a->dir[s])
            bytes += oaki_map_segment_bytes(oaki_map_layout_of(m), oaki_map_segment(m, a, s));
    if (a->dir != m->few_dir[i]) bytes += oak_usable_size(a->dir);
    if (a->tags != m->few_tags[i]) bytes += oak_usable_size(a->tags);
    if (i == 1 && m->more) bytes -= m->more->released * OAKI_MAP_GROUP;
    return bytes;
}

size_t oaki_map_array_groups(const oak_map *m, unsigned i)
{
    const struct oak_map_array_ *a = &m->array[i];
    if (!a->dir) return 0;
    if (!m->more) return 1;
    /* tags behind the tail's groups were never set */
    return ((m->more->segments[i] - 1) << a->gbits) + m->more->tail[i];
}

/* ---- segments ---- */

/* A place in a directory is no pointer into its segment, so it doesn't keep the segment alive.
 * While a place is set or cleared, the segment's own address is held. */
static void set_place(const oak_map *m, struct oak_map_array_ *a, size_t s, char *segment)
{
    OAKI_ASSERT(segment && s < (m->more ? m->more->segments[a - m->array] : 2));
    a->dir[s] = segment - s * oaki_map_stride(m, a);
    OAKI_HOLD(segment);
}

static bool make_segment(oak_map *m, unsigned i, size_t s)
{
    struct oak_map_array_ *a = &m->array[i];
    size_t groups = (size_t)a->gmask + 1;
    OAKI_REQUIRES_WRITE(m);
    OAKI_ASSERT(!a->dir[s]);
    size_t slots = a->slots == OAK_MAP_USED_ ? OAK_MAP_SLOTS_ : oaki_popcount(a->slots);
    uint8_t *tags = oaki_map_tags(a, s << a->gbits);
    memset(tags, 0, groups * OAKI_MAP_GROUP);
    AO_compiler_barrier(); /* before they can be read through the segment */
    char *p = oaki_map_segment_new(m, (char *)tags, groups, slots);
    if (p) set_place(m, a, s, p);
    return p != NULL;
}

/* Array i gets new tags for n groups, with the content of the old ones. */
static bool new_tags(oak_map *m, unsigned i, size_t n)
{
    struct oak_map_array_ *a = &m->array[i];
    size_t from = i == 1 ? m->more->released * OAKI_MAP_GROUP : 0;
    OAKI_REQUIRES_WRITE(m);
    OAKI_ASSERT(n > m->more->groups[i] && from <= m->more->groups[i] * OAKI_MAP_GROUP);
    char *old = a->tags, *tags = oaki_map_tags_new(m, n, true);
    if (!tags) return false;
    memcpy(tags + from, old + from, m->more->groups[i] * OAKI_MAP_GROUP - from);
    AO_compiler_barrier();
    for (size_t s = 0; s < m->more->segments[i]; s++)
        if (a->dir[s])
            oaki_map_segment_set_tags(oaki_map_layout_of(m), oaki_map_segment(m, a, s),
                                      tags + (s << a->gbits) * OAKI_MAP_GROUP);
    a->tags = tags;
    m->more->groups[i] = n;
    if (i == 1) m->more->released = 0;
    m->moves++;
    if (old != m->few_tags[i]) oak_free(old);
    return true;
}

/* Makes tags for more groups behind the last home, by a copy. Needed only where a hash puts
 * hundreds of keys into the last homes. */
static bool longer_tags(oak_map *m, unsigned i)
{
    size_t homes = oaki_map_homes(&m->array[i]);
    return new_tags(m, i, homes + 2 * (m->more->groups[i] - homes) + 2);
}

/* Bytes of the tags of the segments before group g, in whole pieces. */
static size_t tag_bytes_before(const struct oak_map_array_ *a, size_t g)
{
    return OAKI_ALIGN_DOWN((g & ~(size_t)a->gmask) * OAKI_MAP_GROUP, RELEASE);
}

bool oaki_map_restore_tags(oak_map *m, size_t g)
{
    const struct oak_map_array_ *a = &m->array[1];
    size_t bytes = tag_bytes_before(a, g);
    OAKI_REQUIRES_RESIZE(m);
    OAKI_ASSERT(bytes <= m->more->released * OAKI_MAP_GROUP);
    if (!OAKI_PART(m, oaki_large_take_back(a->tags, bytes))) return false;
    m->more->released = bytes / OAKI_MAP_GROUP;
    return true;
}

void oaki_map_release_tags(oak_map *m)
{
    const struct oak_map_array_ *a = &m->array[1];
    OAKI_REQUIRES_RESIZE(m);
    OAKI_ASSERT(m->last < OAKI_MAP_HALF);
    size_t bytes = tag_bytes_before(a, oaki_map_home(a, m->last));
    if (bytes <= m->more->released * OAKI_MAP_GROUP) return;
    m->more->released = bytes / OAKI_MAP_GROUP;
    oaki_large_give_back(a->tags, bytes, oak_usable_size(a->tags));
}

/* Makes a place for one more segment. */
static bool longer_dir(oak_map *m, unsigned i)
{
    struct oak_map_array_ *a = &m->array[i];
    size_t n = m->more->segments[i];
    /* a segment that is no longer the last one is whole */
    OAKI_ASSERT(m->more->tail[i] == 0 || m->more->tail[i] == a->gmask + 1);
    char **old = a->dir, **dir = oaki_map_dir_new(m, n + 1, oaki_map_stride(m, a));
    if (!dir) return false;
    memcpy(dir, old, n * sizeof *dir);
    AO_compiler_barrier();
    a->dir = dir;
    m->more->segments[i] = n + 1;
    m->more->tail[i] = 0;
    m->moves++;
    if (old != m->few_dir[i]) oaki_map_dir_free(old);
    return true;
}

/* The last segment, s, gets room for `groups` groups. It doubles from one, as most tails have one
 * group. */
static bool grow_tail(oak_map *m, unsigned i, size_t s, size_t groups)
{
    struct oak_map_array_ *a = &m->array[i];
    const oaki_map_layout *l = oaki_map_layout_of(m);
    size_t have = m->more->tail[i];
    size_t want = OAKI_MIN(OAKI_MAX(groups, have * 2), (size_t)a->gmask + 1);
    const char *tags = (char *)oaki_map_tags(a, s << a->gbits);
    want = OAKI_MIN(want, m->more->groups[i] - (s << a->gbits));
    OAKI_ASSERT(s + 1 == m->more->segments[i] && have < want && groups <= want);
    memset(oaki_map_tags(a, (s << a->gbits) + have), 0, (want - have) * OAKI_MAP_GROUP);
    char *old = oaki_map_segment(m, a, s);
    char *p = oaki_map_segment_new(m, tags, want, OAK_MAP_SLOTS_);
    if (!p) return false;
    if (have) memcpy(p, old, have * OAK_MAP_SLOTS_ * l->entry_size);
    AO_compiler_barrier();
    OAKI_HOLD(old);
    set_place(m, a, s, p);
    m->more->tail[i] = (uint32_t)want;
    m->moves++;
    if (have) oaki_map_segment_free(l, old);
    return true;
}

static OAKI_NOINLINE bool make_group_slow(oak_map *m, unsigned i, size_t g)
{
    struct oak_map_array_ *a = &m->array[i];
    size_t s = g >> a->gbits;
    if (s < segments_of(a)) return make_segment(m, i, s);
    if (!oaki_map_need_more(m)) return false;
    while (g >= m->more->groups[i])
        if (!longer_tags(m, i)) return false;
    while (s >= m->more->segments[i])
        if (!longer_dir(m, i)) return false;
    bool last = s + 1 == m->more->segments[i];
    return !last || (g & a->gmask) < m->more->tail[i] ||
           grow_tail(m, i, s, (size_t)(g & a->gmask) + 1);
}

/* Makes sure that there is memory for group g. */
OAKI_INLINE bool make_group(oak_map *m, unsigned i, size_t g)
{
    const struct oak_map_array_ *a = &m->array[i];
    if (OAKI_LIKELY(g < oaki_map_homes(a) && a->dir[g >> a->gbits])) return true;
    return make_group_slow(m, i, g);
}

bool oaki_map_make_room(oak_map *m, unsigned i, size_t g, size_t n)
{
    const struct oak_map_array_ *a = &m->array[i];
    OAKI_REQUIRES_WRITE(m);
    OAKI_ASSERT(n > 0 && g < oaki_map_homes(a));
    for (size_t room = 0;; g++) {
        if (!make_group(m, i, g)) return false;
        room += oaki_popcount(~oaki_map_used(oaki_map_tags(a, g)) & a->slots);
        if (room >= n) return true;
    }
}

uint8_t *oaki_map_take_slot(oak_map *m, unsigned i, uint64_t p, unsigned tag, char **entry,
                            size_t *past)
{
    const struct oak_map_array_ *a = &m->array[i];
    size_t home = oaki_map_home(a, p), g, size = m->entry_size;
    OAKI_REQUIRES_WRITE(m);
    OAKI_ASSERT(home < oaki_map_homes(a) && tag > 0 && tag <= UINT8_MAX);
    unsigned free;
    for (g = home;; g++) {
        if (OAKI_UNLIKELY(!make_group(m, i, g))) return NULL;
        free = ~oaki_map_used(oaki_map_tags(a, g)) & a->slots;
        if (OAKI_LIKELY(free)) break;
    }
    *past = g - home;
    for (; home < g; home++) {
        uint8_t *crossed = oaki_map_tags(a, home) + OAK_MAP_SLOTS_;
        *crossed = (uint8_t)(*crossed | oaki_map_class(tag));
    }
    *entry = oaki_map_entries(a, g, size) + oaki_ctz(free) * size;
    return oaki_map_tags(a, g) + oaki_ctz(free);
}
