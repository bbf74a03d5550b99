/* map_layout.c - the layout of a map type's entries, and the mark functions that read them.
 *
 * Owns: the layouts, one for each different oak_map_type that a map was made of, never freed;
 * the oak_types of headers, directories and segments.
 * Invariants: a layout is complete before it is in the list. A mark function reads a segment by its
 * tags, and of an entry only the words that may hold pointers. So deleted entries and unused slots
 * keep nothing alive.
 * Lock: types_lock for making layouts; readers need none. */
#include "held.h"
#include "inspect.h"
#include "map.h"
#include "parts.h"
#include "runtime/contract.h"
#include "runtime/heap.h"
#include "runtime/meta.h"
#include "runtime/track.h"
#include "runtime/type.h"
#include <errno.h>
#include <oakum/heap.h>
#include <stdalign.h>
#include <string.h>

#define BUCKETS 64
#define ENTRY_MAX ((size_t)2 * OAK_MAP_INDIRECT_ + 32) /* bytes */

static struct {
    AO_t bucket[BUCKETS]; /* oaki_map_layout * */
    AO_t header, directory; /* const oak_type * */
} self;

/* ---- the collector's view ---- */

#define GATHER 64 /* words; an entry has no more */

/* The map may change meanwhile (oaki_type_anytime). So a value that is read is used only within the
 * bounds of the segment and the heap. A change makes the page dirty, and then it is rescanned. */
static size_t groups_of(const oaki_map_head *head, const uint8_t *tags, size_t slots)
{
    size_t n = OAKI_MIN((size_t)head->groups, OAKI_MAX(slots / OAK_MAP_SLOTS_, 1));
    if (!oaki_heap_contains(tags) || !oaki_heap_contains(tags + n * OAKI_MAP_GROUP - 1)) return 0;
    return n;
}

static const uint8_t *tags_of(const oaki_map_head *head)
{
    return (const uint8_t *)AO_load((const AO_t *)(const void *)&head->tags);
}

/* Pointers are gathered, as the marker takes many at once at less cost than one by one. The tags
 * may have been freed by now, so AddressSanitizer must not check these reads. */
OAKI_NO_ASAN static void mark_by_tags(oak_marker *marker, const oaki_map_layout *l,
                                      const oaki_map_head *head, const uint8_t *tags, size_t bytes,
                                      size_t from, size_t to)
{
    const char *entries = (char *)(head + 1);
    uintptr_t found[GATHER];
    size_t slots = (bytes - sizeof *head) / l->entry_size; /* a small map's are less than a group */
    const size_t most = GATHER - oaki_popcount(l->words);
    OAKI_ASSERT(l->words && bytes >= sizeof *head + l->entry_size);
    size_t n = 0, groups = groups_of(head, tags, slots), each = OAK_MAP_SLOTS_ * l->entry_size;
    size_t g = from > sizeof *head ? (from - sizeof *head) / each : 0;
    groups = OAKI_MIN(groups, to > sizeof *head ? (to - sizeof *head + each - 1) / each : 0);
    oak_mark_ptr(marker, tags);
    for (; g < groups; g++) {
        unsigned used = oak_map_used_((const char *)tags + g * OAKI_MAP_GROUP);
        used &= (1u << OAKI_MIN(slots - g * OAK_MAP_SLOTS_, OAK_MAP_SLOTS_)) - 1;
        for (; used; used &= used - 1) {
            const char *e = entries + (g * OAK_MAP_SLOTS_ + oaki_ctz(used)) * l->entry_size;
            for (uint64_t w = l->words; w; w &= w - 1)
                memcpy(&found[n++], e + oaki_ctz(w) * sizeof found[0], sizeof found[0]);
            OAKI_ASSERT(n <= GATHER);
            if (n <= most) continue;
            oak_mark_range(marker, found, n * sizeof found[0]);
            n = 0;
        }
    }
    oak_mark_range(marker, found, n * sizeof found[0]);
}

/* Repeats while the segment gets other tags: those that were read may have been freed and reused
 * meanwhile. A segment has its new tags before the old ones are freed. */
static void mark_part(oak_marker *marker, void *object, size_t bytes, size_t from, size_t to)
{
    const oaki_map_layout *l = oaki_type_by_id(oaki_type_id_at(oaki_heap_offset(object)))->data;
    const uint8_t *tags, *now = tags_of(object);
    do {
        tags = now;
        mark_by_tags(marker, l, object, tags, bytes, from, to);
    } while ((now = tags_of(object)) != tags);
}

static void mark_segment(oak_marker *marker, void *object, size_t bytes)
{
    mark_part(marker, object, bytes, 0, bytes);
}

/* The id of the segments' oak_type, which is made at first use. 0: no memory. */
static uint32_t segment_type(const oaki_map_layout *layout)
{
    oaki_map_layout *l = (oaki_map_layout *)(uintptr_t)layout;
    uint32_t id = (uint32_t)AO_load_acquire(&l->segment_type);
    if (OAKI_LIKELY(id)) return id;
    oak_type *t = oak_type_function(l->type.name ? l->type.name : "map segment", sizeof(void *),
                                    mark_segment);
    if (!t) return 0;
    t->data = l; /* two threads may each make one, and either will do */
    oaki_type_in_parts(t, mark_part);
    AO_store_release(&l->segment_type, t->id);
    return t->id;
}

/* Lies before the places of a directory. */
typedef struct dir_head {
    size_t n, stride;
} dir_head;

static void mark_places(oak_marker *marker, char *const *dir, size_t n, size_t stride)
{
    for (size_t s = 0; s < n; s++) {
        const char *place = (const char *)AO_load((const AO_t *)(const void *)&dir[s]);
        if (place) oak_mark_ptr(marker, place + s * stride);
    }
}

static void mark_directory(oak_marker *marker, void *object, size_t bytes)
{
    const dir_head *head = object;
    size_t n = OAKI_MIN(head->n, (bytes - sizeof *head) / sizeof(char *));
    mark_places(marker, (char *const *)(const void *)(head + 1), n, head->stride);
}

static void mark_header(oak_marker *marker, void *object, size_t bytes)
{
    const oak_map *m = object;
    (void)bytes;
    oak_mark_ptr(marker, m->more);
    for (unsigned i = 0; i < 2; i++) {
        const struct oak_map_array_ *a = &m->array[i];
        oak_mark_ptr(marker, a->tags);
        char *const *dir = (char *const *)AO_load((const AO_t *)(const void *)&a->dir);
        if (dir == m->few_dir[i])
            mark_places(marker, dir, OAKI_COUNT(m->few_dir[i]), oaki_map_stride(m, a));
        else
            oak_mark_ptr(marker, dir);
    }
}

/* Headers and directories, too, are read while they change. A torn read gives an address of no
 * object or of another one, which is harmless. The changed page is rescanned. */
static const oak_type *type_once(AO_t *where, const char *name, oak_mark_fn mark)
{
    const oak_type *t = oaki_type_once(where, name, sizeof(void *), mark);
    if (t && !t->anytime) oaki_type_anytime(t);
    return t;
}

static const oak_type *header_type(void)
{
    return type_once(&self.header, "oak_map", mark_header);
}

bool oaki_map_is_header_type(const oak_type *t)
{
    return t->mark == mark_header;
}

static size_t held_at(const char *p)
{
    const char *obj = p ? oaki_object_base(p) : NULL;
    return obj ? oaki_object_size(oaki_heap_offset(obj)) : 0;
}

size_t oaki_map_array_held(const oak_map *m, unsigned i)
{
    const struct oak_map_array_ *a = &m->array[i];
    OAKI_REQUIRES_STOPPED();
    char *const *dir = a->dir;
    size_t n = OAKI_COUNT(m->few_dir[i]), stride = oaki_map_stride(m, a);
    size_t bytes = a->tags == m->few_tags[i] ? 0 : held_at(a->tags);
    if (i == 1 && m->more && bytes > 0) bytes -= m->more->released * OAKI_MAP_GROUP;
    if (!dir) return bytes;
    if (dir != m->few_dir[0] && dir != m->few_dir[1]) {
        const dir_head *head = (const dir_head *)(const void *)dir - 1;
        if (oaki_object_base(head) != (void *)(uintptr_t)head) return bytes;
        bytes += held_at((const char *)head);
        n = head->n;
        stride = head->stride;
    }
    for (size_t s = 0; s < n; s++)
        if (dir[s]) bytes += held_at(dir[s] + s * stride);
    return bytes;
}

oak_map *oaki_map_header_new(void)
{
    const oak_type *t = header_type();
    return t ? oak_alloc_typed(t, sizeof(oak_map) / sizeof(void *)) : NULL;
}

bool oaki_map_is_header(const oak_map *m)
{
    const oak_type *t = (const oak_type *)AO_load(&self.header);
    return t && oaki_heap_contains(m) && oaki_object_base(m) == m &&
           oaki_type_id_at(oaki_heap_offset(m)) == t->id;
}

char **oaki_map_dir_new(const oak_map *m, size_t n, size_t stride)
{
    OAKI_ASSERT(n > OAKI_COUNT(m->few_dir[0]) && stride > 0);
    const oak_type *t = type_once(&self.directory, "map directory", mark_directory);
    dir_head *head =
        t ? OAKI_PART(m, oak_alloc_typed(t, sizeof *head / sizeof(void *) + n)) : NULL;
    if (!head) return NULL;
    head->n = n;
    head->stride = stride;
    return (char **)(void *)(head + 1);
}

void oaki_map_dir_free(char **dir)
{
    dir_head *head = (dir_head *)(void *)dir - 1;
    OAKI_ASSERT(head->n > 2 && oak_base(head) == head);
    oak_free(head);
}

/* A large object is zeroed only with `zero`, and its allocation waits only briefly for a mark. */
static char *raw(size_t bytes, oaki_kind kind, uint32_t type, bool zero)
{
    if (bytes <= OAKI_SMALL_MAX) return oaki_alloc_kind(bytes, 1, kind, type);
    return oaki_large_alloc(bytes, 1, kind, type, OAKI_LARGE_SOON | (zero ? OAKI_LARGE_ZERO : 0));
}

char *oaki_map_tags_new(const oak_map *m, size_t groups, bool zero)
{
    return OAKI_PART(m, raw(groups * OAKI_MAP_GROUP, OAKI_NOSCAN, 0, zero));
}

char *oaki_map_segment_new(const oak_map *m, const char *tags, size_t groups, size_t slots)
{
    const oaki_map_layout *l = oaki_map_layout_of(m);
    size_t bytes = groups * slots * l->entry_size;
    OAKI_ASSERT(groups > 0 && slots > 0 && slots <= OAK_MAP_SLOTS_ && tags);
    if (!l->words) return OAKI_PART(m, raw(bytes, OAKI_NOSCAN, 0, false));
    uint32_t type = segment_type(l);
    oaki_map_head *head =
        type ? OAKI_PART(m, raw(sizeof *head + bytes, OAKI_TYPED, type, false)) : NULL;
    if (!head) return NULL;
    head->tags = tags;
    AO_compiler_barrier(); /* a segment of no groups is not read */
    head->groups = groups;
    return (char *)(head + 1);
}

static size_t head_size(const oaki_map_layout *l)
{
    return l->words ? sizeof(oaki_map_head) : 0;
}

void oaki_map_segment_set_tags(const oaki_map_layout *l, char *segment, const char *tags)
{
    if (!l->words) return;
    oaki_map_head *head = (oaki_map_head *)(void *)segment - 1;
    OAKI_ASSERT(head->groups > 0 && head->tags);
    head->tags = tags;
}

void oaki_map_segment_free(const oaki_map_layout *l, char *segment)
{
    oak_free(segment - head_size(l));
}

size_t oaki_map_segment_bytes(const oaki_map_layout *l, const char *segment)
{
    return oak_usable_size(segment - head_size(l));
}

void *oaki_map_cell_new(const void *owner, size_t size, bool scanned)
{
    return OAKI_PART(owner, scanned ? oak_alloc(size) : oak_alloc_noscan(size));
}

oaki_map_part oaki_map_part_of(const oak_type *t, const oaki_map_layout **layout)
{
    *layout = NULL;
    if (!t) return OAKI_MAP_NO_PART;
    if (t->mark == mark_header) return OAKI_MAP_HEADER;
    if (t->mark == mark_directory) return OAKI_MAP_DIRECTORY;
    if (t->mark != mark_segment) return OAKI_MAP_NO_PART;
    *layout = t->data;
    return OAKI_MAP_ENTRIES;
}

/* ---- layouts ---- */

static size_t key_size_of(const oak_map_type *t)
{
    static const uint8_t fixed[] = { [OAK_KEY_BYTES] = 0,   [OAK_KEY_U32] = 4,
                                     [OAK_KEY_U64] = 8,     [OAK_KEY_POINTER] = 8,
                                     [OAK_KEY_CSTRING] = 8, [OAK_KEY_SLICE] = 16,
                                     [OAK_KEY_DOUBLE] = 8,  [OAK_KEY_CUSTOM] = 0 };
    if ((unsigned)t->key >= OAKI_COUNT(fixed)) return 0;
    if (t->key == OAK_KEY_DOUBLE && t->key_size == sizeof(float)) return sizeof(float);
    if (!fixed[t->key]) return t->key_size;
    return t->key_size == 0 || t->key_size == fixed[t->key] ? fixed[t->key] : 0;
}

static size_t cell(size_t size)
{
    return size > OAK_MAP_INDIRECT_ ? sizeof(void *) : size;
}

/* The alignment of any C type of that size: at most its lowest bit, and 16. */
static size_t alignment(size_t size)
{
    return size ? OAKI_MIN(size & (~size + 1), 16) : 1;
}

static uint64_t words_of(size_t offset, size_t size)
{
    uint64_t set = 0;
    for (size_t w = offset / 8; w * 8 < offset + size; w++) set |= UINT64_C(1) << w;
    return set;
}

static bool geometry(oaki_map_layout *l)
{
    oak_map_type *t = &l->type;
    t->key_size = key_size_of(t);
    if (t->key_size == 0 || t->key_size > PTRDIFF_MAX / 4 || t->value_size > PTRDIFF_MAX / 4)
        return false;
    if (t->key == OAK_KEY_CUSTOM ? !t->hash : t->hash || t->equal) return false;
    size_t key = cell(t->key_size), value = cell(t->value_size);
    unsigned flags = OAK_MAP_SCAN_KEY | OAK_MAP_SCAN_VALUE | OAK_MAP_KEY_UPDATE;
    if (t->key == OAK_KEY_CUSTOM) flags |= OAK_MAP_AVALANCHING;
    if (t->flags & ~flags) return false;
    if (t->entry_size > ENTRY_MAX || t->value_offset > ENTRY_MAX) return false;
    size_t va = alignment(value);
    size_t ka = t->key == OAK_KEY_SLICE ? alignof(oak_slice) : alignment(key);
    if (t->value_offset == 0 && value > 0) t->value_offset = OAKI_ALIGN_UP(key, va);
    if (t->entry_size == 0)
        t->entry_size = OAKI_ALIGN_UP(t->value_offset + value > key ? t->value_offset + value : key,
                                      OAKI_MAX(ka, va));
    if ((value > 0 && t->value_offset < key) || t->value_offset + value > t->entry_size ||
        t->entry_size < key || t->entry_size > ENTRY_MAX)
        return false;
    bool scan_key = (t->flags & OAK_MAP_SCAN_KEY) != 0 || t->key_size > OAK_MAP_INDIRECT_;
    bool scan_value = (t->flags & OAK_MAP_SCAN_VALUE) != 0 || t->value_size > OAK_MAP_INDIRECT_;
    if (scan_key) l->words |= words_of(0, key);
    if (scan_value) l->words |= words_of(t->value_offset, value);
    if (l->words && t->entry_size % 8 != 0) return false;
    if (((t->flags & OAK_MAP_SCAN_KEY) && t->key_size % 8 != 0) ||
        ((t->flags & OAK_MAP_SCAN_VALUE) && t->value_size % 8 != 0) ||
        (scan_value && t->value_offset % 8 != 0))
        return false;
    return true;
}

static unsigned floor_bits(size_t n)
{
    return n ? oaki_log2(n) : 0;
}

static oaki_map_layout *build(const oak_map_type *given)
{
    oaki_map_layout *l = oaki_meta_zalloc(sizeof *l, OAKI_META_OTHER);
    if (!l) {
        errno = ENOMEM;
        return NULL;
    }
    l->given = l->type = *given;
    if (!geometry(l)) {
        oaki_meta_free(l, sizeof *l, OAKI_META_OTHER);
        errno = EINVAL;
        return NULL;
    }
    l->entry_size = l->type.entry_size;
    l->value_offset = l->type.value_offset;
    size_t group = OAK_MAP_SLOTS_ * l->entry_size;
    l->gbits_max = (uint8_t)OAKI_MIN(floor_bits(OAKI_MAP_SEGMENT / group), OAKI_MAP_SEGMENT_BITS);
    l->gbits_min = (uint8_t)OAKI_MIN(floor_bits(OAKI_MAP_SEGMENT_MIN / group), l->gbits_max);
    OAKI_ASSERT(l->gbits_max == 0 || group << l->gbits_max <= OAKI_MAP_SEGMENT);
    OAKI_ASSERT(oaki_popcount(l->words) <= GATHER && l->entry_size <= UINT16_MAX);
    return l;
}

static bool same_type(const oak_map_type *a, const oak_map_type *b)
{
    return a->key == b->key && a->flags == b->flags && a->key_size == b->key_size &&
           a->value_size == b->value_size && a->hash == b->hash && a->equal == b->equal &&
           a->value_offset == b->value_offset && a->entry_size == b->entry_size &&
           a->name == b->name && a->split == b->split;
}

static oaki_map_layout *look(unsigned b, const oak_map_type *t)
{
    oaki_map_layout *l = (oaki_map_layout *)AO_load_acquire(&self.bucket[b]);
    while (l && !same_type(&l->given, t)) l = l->next;
    return l;
}

static unsigned bucket_of(const oak_map_type *t)
{
    uint64_t pointers = (uintptr_t)t->name ^ (uintptr_t)t->hash ^ (uintptr_t)t->split;
    uint64_t x = pointers ^ t->key_size << 20 ^ t->value_size << 4 ^ (uint64_t)t->key << 40 ^
                 t->flags;
    return (unsigned)(x * UINT64_C(0x9e3779b97f4a7c15) >> 58) % BUCKETS;
}

const oaki_map_layout *oaki_map_layout_get(const oak_map_type *t)
{
    unsigned b = bucket_of(t);
    oaki_map_layout *l = look(b, t);
    if (OAKI_LIKELY(l)) return l;
    oaki_thread *thread = oaki_enter();
    if (!thread) return NULL;
    oaki_lock_acquire(&oaki_the_heap.types_lock);
    l = look(b, t);
    if (!l && (l = build(t))) {
        l->next = (oaki_map_layout *)AO_load(&self.bucket[b]);
        AO_store_release(&self.bucket[b], (AO_t)l);
    }
    oaki_lock_release(&oaki_the_heap.types_lock);
    oaki_leave(thread);
    return l;
}
