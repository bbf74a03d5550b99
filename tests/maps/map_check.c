/* map_check.c - holds a default map to the rules of maps/map.h: each entry is in the array that
 * its position says, where a lookup comes to it; what groups tell of entries that went past is so,
 * and in the array that is filled no more than is so; tags that a lookup may come to are sound. */
#include "tests/maps/map_check.h"

#include "maps/map.h"

typedef struct seen {
    size_t len;
    size_t first[8]; /* of each kind of tag, the least home of those in the groups behind */
} seen;

static const char *check_group(const oak_map *m, unsigned i, size_t g, seen *s)
{
    const struct oak_map_array_ *a = &m->array[i];
    const uint8_t *tags = oaki_map_tags(a, g);
    unsigned told = tags[OAK_MAP_SLOTS_], must = 0;
    for (unsigned kind = 0; kind < 8; kind++) must |= (unsigned)(s->first[kind] <= g) << kind;
    if (must & ~told) return "a group tells of every entry that went past it";
    if (i == 0 && told != must) return "a group tells of no entry that isn't there";
    for (unsigned used = oaki_map_used(tags); used; used &= used - 1, s->len++) {
        unsigned slot = oaki_ctz(used), tag = tags[slot];
        uint64_t hash = oaki_map_entry_hash(m, m->type, oaki_map_entry(m, a, g, slot));
        uint64_t p = oak_map_position_(hash);
        size_t home = oaki_map_home(a, p);
        if (!(a->slots >> slot & 1)) return "a slot that is used is one that there is";
        if (tag != oak_map_tag_(hash)) return "a tag is its entry's";
        if ((p > m->last) != i) return "an entry is on its side of the frontier";
        if (home > g) return "an entry is in its home or behind it";
        if (home < s->first[tag & 7]) s->first[tag & 7] = home;
    }
    return NULL;
}

static bool is_clear(const uint8_t *tags)
{
    return !oaki_map_used(tags) && !tags[OAK_MAP_SLOTS_];
}

/* Does the frontier leave home g, or a part of it, to array i? */
static bool is_in_use(const oak_map *m, unsigned i, size_t g)
{
    uint64_t lo = (uint64_t)g << m->array[i].shift;
    return i == 0 ? lo <= m->last : lo + (UINT64_C(1) << m->array[i].shift) - 1 > m->last;
}

/* What the collector reads of segment s. */
static bool knows_its_tags(const oak_map *m, unsigned i, size_t s)
{
    const struct oak_map_array_ *a = &m->array[i];
    const oaki_map_head *head = (const void *)oaki_map_segment(m, a, s);
    bool tail = m->more && s + 1 == m->more->segments[i];
    size_t groups = tail ? m->more->tail[i] : (size_t)a->gmask + 1;
    if (!head || !oaki_map_layout_of(m)->words) return true;
    return head[-1].tags == (const char *)oaki_map_tags(a, s << a->gbits) &&
           head[-1].groups == groups;
}

static const char *check_array(const oak_map *m, unsigned i, size_t *len)
{
    const struct oak_map_array_ *a = &m->array[i];
    seen s = { 0 };
    for (unsigned kind = 0; kind < 8; kind++) s.first[kind] = SIZE_MAX;
    for (size_t g = oaki_map_array_groups(m, i), homes = oaki_map_homes(a); g-- > 0;) {
        if (a->dir[g >> a->gbits]) {
            const char *broken = check_group(m, i, g, &s);
            if (!knows_its_tags(m, i, g >> a->gbits)) broken = "a segment knows its tags";
            if (broken) return broken;
        } else if (g < homes && is_in_use(m, i, g) && !is_clear(oaki_map_tags(a, g))) {
            return "the tags of a home without a segment are clear";
        }
    }
    *len += s.len;
    return NULL;
}

const char *map_check(const oak_map *m)
{
    size_t len = 0;
    const char *broken = check_array(m, 0, &len);
    if (!broken && m->resizing) broken = check_array(m, 1, &len);
    if (!broken && m->more && m->more->released > 0 &&
        (!m->resizing || m->more->released > (size_t)((m->last + 1) >> m->array[1].shift)))
        broken = "tags without memory lie before the frontier";
    if (!broken && len != m->len) broken = "there are as many entries as it has counted";
    return broken;
}
