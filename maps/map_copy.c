/* map_copy.c - copies of a map, segment by segment.
 *
 * Owns: the copy, until it is returned. It has the original's seed, so every entry keeps its place,
 * and a segment is copied at one go. A resize that is under way is copied as it is: both arrays and
 * the frontier.
 * Invariants: a tag is written after its entry, and the segment's pages once more after its tags.
 * So a mark that goes on meanwhile sees every entry (map.h).
 * Lock: none, as for a lookup; a concurrent write is checked for at each segment.
 * Bound: O(bytes of the original). */
#include "held.h"
#include "map.h"
#include "resizehook.h"
#include "runtime/zone.h"
#include <errno.h>
#include <oakum/heap.h>
#include <string.h>

#define PAGE 4096 /* the least unit of dirty tracking */

/* Copies the fields that both maps have alike. The copy has no array yet. */
static bool copy_header(oak_map *c, const oak_map *m)
{
    c->type = m->type;
    c->entry_size = m->entry_size;
    c->value_offset = m->value_offset;
    c->seed = m->seed;
    c->mult = m->mult;
    c->flags = m->flags;
    c->bits = m->bits;
    c->moves = m->moves;
    if (!m->more) return true;
    struct oak_map_more_ *more = OAKI_IN_ZONE_OF(c, oak_alloc_noscan(sizeof *more));
    if (!more) return false;
    *more = *m->more;
    more->growths = more->shrinks = more->reseeds = 0;
    more->released = 0;
    c->more = more;
    return true;
}

/* A large key or value gets an object of its own. `at` is its place in the copy's entry, which has
 * no tag yet. */
static bool copy_cell(const oak_map *c, char *at, size_t size, bool scanned)
{
    void *from, *to = oaki_map_cell_new(c, size, scanned);
    if (!to) return false;
    memcpy(&from, at, sizeof from);
    memcpy(to, from, size);
    memcpy(at, &to, sizeof to);
    return true;
}

/* Copies one entry. Each allocation may collect. The collection finds the new objects by the
 * entry's tag, or in this frame. */
static bool copy_entry(const oak_map *c, char *to, const char *from, uint8_t *tag, uint8_t value)
{
    const oak_map_type *t = c->type;
    char entry[2 * OAK_MAP_INDIRECT_ + 32] __attribute__((aligned(16)));
    OAKI_ASSERT(c->entry_size <= sizeof entry);
    memcpy(entry, from, c->entry_size);
    if (t->key_size > OAK_MAP_INDIRECT_ &&
        !copy_cell(c, entry, t->key_size, (t->flags & OAK_MAP_SCAN_KEY) != 0))
        return false;
    if (t->value_size > OAK_MAP_INDIRECT_ &&
        !copy_cell(c, entry + t->value_offset, t->value_size, (t->flags & OAK_MAP_SCAN_VALUE) != 0))
        return false;
    memcpy(to, entry, c->entry_size);
    AO_compiler_barrier();
    *tag = value;
    oaki_map_note_write(to);
    char *held = entry;
    OAKI_HOLD(held);
    return true;
}

static bool copy_entries(const oak_map *c, char *to, const char *from, uint8_t *tags,
                         const uint8_t *old, size_t groups)
{
    for (size_t g = 0; g < groups; g++, tags += OAKI_MAP_GROUP, old += OAKI_MAP_GROUP) {
        for (unsigned used = oaki_map_used(old); used; used &= used - 1) {
            unsigned slot = oaki_ctz(used);
            size_t at = (g * OAK_MAP_SLOTS_ + slot) * c->entry_size;
            if (!copy_entry(c, to + at, from + at, &tags[slot], old[slot])) return false;
        }
        tags[OAK_MAP_SLOTS_] = old[OAK_MAP_SLOTS_];
    }
    return true;
}

static void copy_whole(const oak_map *c, char *to, const char *from, size_t bytes, uint8_t *tags,
                       const uint8_t *old, size_t groups)
{
    memcpy(to, from, bytes);
    AO_compiler_barrier();
    memcpy(tags, old, groups * OAKI_MAP_GROUP);
    if (!oaki_map_layout_of(c)->words) return;
    for (size_t at = 0; at < bytes; at += PAGE) oaki_map_note_write(to + at);
    oaki_map_note_write(to + bytes - 1);
}

static bool copy_segment(oak_map *c, const oak_map *m, unsigned i, size_t s)
{
    const struct oak_map_array_ *a = &m->array[i];
    struct oak_map_array_ *b = &c->array[i];
    bool tail = m->more && s + 1 == m->more->segments[i];
    size_t groups = tail ? m->more->tail[i] : (size_t)a->gmask + 1;
    /* segments after the first always have all slots (grow_tail) */
    bool whole = s > 0 || a->slots == OAK_MAP_USED_;
    size_t slots = whole ? OAK_MAP_SLOTS_ : oaki_popcount(a->slots);
    uint8_t *tags = oaki_map_tags(b, s << b->gbits), *old = oaki_map_tags(a, s << a->gbits);
    const char *from = oaki_map_segment(m, a, s);
    char *to = oaki_map_segment_new(c, (char *)tags, groups, slots);
    if (!to) return false;
    b->dir[s] = to - s * oaki_map_stride(c, b);
    OAKI_HOLD(to);
    if (m->flags & OAKI_MAP_CELLS) {
        if (!copy_entries(c, to, from, tags, old, groups)) return false;
    } else {
        copy_whole(c, to, from, groups * slots * c->entry_size, tags, old, groups);
    }
    OAKI_HOLD(to);
    return true;
}

/* Copies tags and directory, and then the segments. Of the tags only those of segments are copied.
 * The others are clear, or are not read yet. */
static bool copy_array(oak_map *c, const oak_map *m, unsigned i)
{
    const struct oak_map_array_ *a = &m->array[i];
    size_t n = m->more ? m->more->segments[i] : OAKI_COUNT(m->few_dir[i]);
    struct oak_map_array_ b = *a;
    b.tags =
        a->tags == m->few_tags[i] ? c->few_tags[i] : oaki_map_tags_new(c, m->more->groups[i], true);
    if (!b.tags) return false;
    b.dir = a->dir == m->few_dir[i] ? c->few_dir[i] : oaki_map_dir_new(c, n, oaki_map_stride(m, a));
    if (!b.dir) {
        if (b.tags != c->few_tags[i]) oak_free(b.tags);
        return false;
    }
    c->array[i] = b;
    for (size_t s = 0; s < n; s++) {
        if (a->dir[s] && !copy_segment(c, m, i, s)) return false;
        if (m->busy || m->moves != c->moves) oak_map_misuse_(m, OAK_MAP_READ_);
    }
    return true;
}

static oak_map *copy(const oak_map *m)
{
    if (m->busy) oak_map_misuse_(m, OAK_MAP_READ_);
    size_t len = m->len;
    oak_map *c = oaki_map_header_new();
    if (!c) return NULL;
    bool done = copy_header(c, m) && copy_array(c, m, 0) && (!m->resizing || copy_array(c, m, 1));
    if (!done) {
        oaki_map_array_free(c, 0);
        oaki_map_array_free(c, 1);
        errno = ENOMEM;
        return NULL;
    }
    if (m->len != len) oak_map_misuse_(m, OAK_MAP_READ_);
    c->len = len;
    c->limit = m->limit;
    c->shrink_at = m->shrink_at;
    c->last = m->last;
    c->resizing = m->resizing;
    if (c->resizing)
        oaki_resize_begins(c, false, len, (size_t)OAK_MAP_SLOTS_ << (63u - c->array[1].shift),
                           (size_t)OAK_MAP_SLOTS_ << c->bits);
    OAKI_REQUIRES_SOUND(oaki_map_check(c));
    return c;
}

/* The program may not write to m meanwhile, so its functions are held back. */
oak_map *oak_map_copy(const oak_map *m)
{
    if (!m) return errno = EINVAL, NULL;
    oak_map *c;
    if (!oaki_attached()) return NULL;
    oaki_held_forget();
    do {
        oaki_thread *t = oaki_held_begin();
        c = copy(m);
        oaki_held_end(t);
    } while (oaki_held_retry(m, !c));
    return c;
}
