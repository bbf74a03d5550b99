/* map_check.c - holds a default map to the rules of map.h.
 *
 * Three kinds of rules: header and arrays agree; groups agree with the entries in them and behind
 * them; each entry is where its hash puts it. The last kind calls the type's hash. So inside a
 * write it is left out for keys that the map's user hashes or keeps elsewhere.
 *
 * Owns: in debug builds, the notes which maps were checked; they are atomic. Lock: none, as for a
 * lookup. Bound: O(groups and entries). */
#include "contract.h"
#include "hash.h"
#include "map.h"
#include "runtime/heap.h"

#ifdef OAKI_DEBUG
bool oaki_rules_hold(const char *broken)
{
    if (broken) oak_fatal("oakum: internal error: broken rule: %s", broken);
    return true;
}

bool oaki_is_to_check(const void *map)
{
    static AO_t noted[1024]; /* each a hash of a map's address and the number of the mark */
    AO_t mixed = (AO_t)oaki_hash_u64((uintptr_t)map, AO_load(&oaki_the_heap.cycle)) | 1;
    AO_t *place = &noted[(mixed >> 1) % OAKI_COUNT(noted)];
    bool first = AO_load(place) != mixed;
    if (first) AO_store(place, mixed);
    return first;
}
#endif

/* ---- header and arrays ---- */

static const char *check_array_header(const oak_map *m, unsigned i)
{
    const struct oak_map_array_ *a = &m->array[i];
    unsigned bits = 63u - a->shift;
    if (!a->dir || !a->tags) return "map: an array has a directory and tags";
    if (bits > OAKI_MAP_BITS_MAX) return "map: an array has at most 2^44 home groups";
    if (a->gbits > bits || a->gmask != (UINT32_C(1) << a->gbits) - 1)
        return "map: a segment has 2^gbits groups, of the array's";
    if (bits > 0 && a->slots != OAK_MAP_USED_) return "map: only a single group lacks slots";
    if (bits > 0 && !m->more) return "map: more than one group, more fields";
    if (!m->more) return NULL;
    size_t homes = oaki_map_homes(a), segments = m->more->segments[i];
    if ((segments > 2) != (a->dir != m->few_dir[i]))
        return "map: a directory of more than two places is an object";
    if ((m->more->groups[i] > 1) != (a->tags != m->few_tags[i]))
        return "map: tags of more than one group are an object";
    if (m->more->groups[i] < homes) return "map: every home has tags";
    if (segments < (homes >> a->gbits) + 1) return "map: every segment and the tail have a place";
    if (m->more->tail[i] > (size_t)a->gmask + 1) return "map: the tail is at most a segment";
    if (((segments - 1) << a->gbits) + m->more->tail[i] > m->more->groups[i])
        return "map: every group of the tail has tags";
    if ((m->more->tail[i] > 0) != (a->dir[segments - 1] != NULL))
        return "map: the last place is that of the tail";
    return NULL;
}

/* At rest everything is before the frontier. In a resize the frontier is between two homes of the
 * array that is left. */
static const char *check_frontier(const oak_map *m)
{
    const struct oak_map_array_ *old = &m->array[1];
    if (m->bits != 63u - m->array[0].shift) return "map: bits are those of the current array";
    if (!m->resizing) {
        if (m->last != UINT64_MAX) return "map: at rest there is no frontier";
        if (old->dir || old->tags) return "map: at rest there is one array";
        if (m->more && m->more->released) return "map: at rest all tags have memory";
        return NULL;
    }
    if (!m->more || !old->dir) return "map: a resize has two arrays";
    if (m->last >= OAKI_MAP_HALF - 1) return "map: a resize is not over";
    if ((m->last + 1) & ((UINT64_C(1) << old->shift) - 1))
        return "map: the frontier is between two homes";
    if (old->shift == m->array[0].shift) return "map: a resize is to another size";
    if (m->more->released > oaki_map_home(old, m->last + 1))
        return "map: tags without memory lie before the frontier";
    return NULL;
}

/* ---- groups and entries ---- */

typedef struct seen {
    size_t len;
    size_t first[8]; /* of each kind of tag, the least home of those in the groups behind */
} seen;

static const char *check_entry(const oak_map *m, unsigned i, size_t g, unsigned slot, seen *s)
{
    const struct oak_map_array_ *a = &m->array[i];
    unsigned tag = oaki_map_tags(a, g)[slot];
    uint64_t hash = oaki_map_entry_hash(m, m->type, oaki_map_entry(m, a, g, slot));
    uint64_t p = oak_map_position_(hash);
    size_t home = oaki_map_home(a, p);
    if (tag != oak_map_tag_(hash)) return "map: a tag is its entry's";
    if ((p > m->last) != i) return "map: an entry is on its side of the frontier";
    if (home > g) return "map: an entry is in its home or behind it";
    if (home < s->first[tag & 7]) s->first[tag & 7] = home;
    return NULL;
}

static const char *check_group(const oak_map *m, unsigned i, size_t g, bool hashes, seen *s)
{
    const struct oak_map_array_ *a = &m->array[i];
    const uint8_t *tags = oaki_map_tags(a, g);
    unsigned noted = tags[OAK_MAP_SLOTS_], used = oaki_map_used(tags), must = 0;
    const char *broken = NULL;
    for (unsigned kind = 0; kind < 8; kind++) must |= (unsigned)(s->first[kind] <= g) << kind;
    if (must & ~noted) return "map: a group notes each entry that went past it";
    if (hashes && i == 0 && noted != must) return "map: a group notes no entry that isn't there";
    if (used & ~(unsigned)a->slots) return "map: a slot that is used is one that there is";
    s->len += oaki_popcount(used);
    for (; hashes && used && !broken; used &= used - 1)
        broken = check_entry(m, i, g, oaki_ctz(used), s);
    return broken;
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

/* Do the fields of segment s that the collector reads lead to its tags? */
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

static const char *check_groups(const oak_map *m, unsigned i, bool hashes, size_t *len)
{
    const struct oak_map_array_ *a = &m->array[i];
    seen s = { 0 };
    for (unsigned kind = 0; kind < 8; kind++) s.first[kind] = SIZE_MAX;
    for (size_t g = oaki_map_array_groups(m, i), homes = oaki_map_homes(a); g-- > 0;) {
        if (a->dir[g >> a->gbits]) {
            const char *broken = check_group(m, i, g, hashes, &s);
            if (!knows_its_tags(m, i, g >> a->gbits)) broken = "map: a segment knows its tags";
            if (broken) return broken;
        } else if (g < homes && is_in_use(m, i, g) && !is_clear(oaki_map_tags(a, g))) {
            return "map: the tags of a home without a segment are clear";
        }
    }
    *len += s.len;
    return NULL;
}

/* ---- the whole ---- */

static const char *check(const oak_map *m, bool hashes)
{
    size_t len = 0;
    const char *broken = check_array_header(m, 0);
    if (!broken) broken = check_frontier(m);
    if (!broken && m->resizing) broken = check_array_header(m, 1);
    if (!broken) broken = check_groups(m, 0, hashes, &len);
    if (!broken && m->resizing) broken = check_groups(m, 1, hashes, &len);
    if (!broken && len != m->len) broken = "map: there are as many entries as it has counted";
    return broken;
}

const char *oaki_map_check(const oak_map *m)
{
    return check(m, true);
}

const char *oaki_map_check_inside(const oak_map *m)
{
    return check(m, oaki_map_hash_is_own(m->type));
}
