/* type.c - the table of types.
 *
 * Owns: every struct oak_type, with its name and bitmap in one block of metadata, never freed. Also
 * the table from ids to them: blocks that double in size and never move, so markers read it without
 * a lock.
 *
 * Invariants: id k is in block b = floor(log2(k / FIRST + 1)). An entry is stored before its id is
 * handed out.
 * Lock: types_lock for adding. Bound: a look-up is O(1). */
#include "type.h"

#include "heap.h"
#include "meta.h"

#include <errno.h>
#include <string.h>

#define FIRST 64  /* entries of block 0 */
#define BLOCKS 26 /* together more entries than 32-bit ids */

typedef const oak_type *entry;

static struct {
    AO_t blocks[BLOCKS]; /* entry * */
    unsigned int count;  /* AO_int: ids in use: 1 .. count */
} self;

/* ---- the table ---- */

static unsigned block_of(uint32_t id)
{
    return oaki_log2(id / FIRST + 1);
}

/* The entry index of a block's first id. */
static uint32_t block_start(unsigned b)
{
    return FIRST * (((uint32_t)1 << b) - 1);
}

const oak_type *oaki_type_by_id(uint32_t id)
{
    if (id == 0) return NULL;
    OAKI_ASSERT(id <= AO_int_load(&self.count));
    unsigned b = block_of(id);
    const entry *block = (const entry *)AO_load_acquire(&self.blocks[b]);
    return block[id - block_start(b)];
}

uint32_t oaki_type_count(void)
{
    return AO_int_load_acquire(&self.count);
}

/* Gives t an id. */
static int publish(oak_type *t)
{
    OAKI_REQUIRES_LOCK(&oaki_the_heap.types_lock);
    unsigned b = block_of(self.count + 1);
    if (b >= BLOCKS) {
        errno = ENOMEM;
        return -1;
    }
    entry *block = (entry *)AO_load(&self.blocks[b]);
    if (!block) {
        block = oaki_meta_zalloc(((size_t)FIRST << b) * sizeof *block, OAKI_META_OTHER);
        if (!block) return -1;
        AO_store_release(&self.blocks[b], (AO_t)block);
    }
    t->id = self.count + 1;
    block[t->id - block_start(b)] = t;
    AO_int_store_release(&self.count, t->id);
    return 0;
}

/* ---- making types ---- */

/* Makes a type with a copy of name and bitmap, in one block. *bytes is the block's size. */
static oak_type *build(const char *name, size_t elem_size, const uint64_t *bitmap, size_t *bytes)
{
    size_t nwords = elem_size / sizeof(void *), nmap = bitmap ? (nwords + 63) / 64 : 0,
           length = strlen(name) + 1;
    *bytes = sizeof(oak_type) + nmap * sizeof *bitmap + length;
    oak_type *t = oaki_meta_alloc(*bytes, OAKI_META_OTHER);
    if (!t) return NULL;
    uint64_t *map = (uint64_t *)(t + 1);
    char *text = (char *)(map + nmap);
    memcpy(text, name, length);
    *t = (oak_type){ .name = text, .elem_size = elem_size, .nwords = nwords };
    if (bitmap) {
        memcpy(map, bitmap, nmap * sizeof *map);
        if (nwords % 64 != 0) map[nmap - 1] &= ((uint64_t)1 << nwords % 64) - 1;
        t->bitmap = map;
    }
    return t;
}

static oak_type *add(const char *name, size_t elem_size, const uint64_t *bitmap, oak_mark_fn mark,
                     const void *data)
{
    if (!name || elem_size == 0 || elem_size % sizeof(void *) != 0 || elem_size > PTRDIFF_MAX) {
        errno = EINVAL;
        return NULL;
    }
    oaki_thread *self_thread = oaki_enter();
    if (!self_thread) return NULL;
    size_t bytes;
    oak_type *t = build(name, elem_size, bitmap, &bytes);
    if (t) {
        t->mark = mark;
        t->data = data;
        oaki_lock_acquire(&oaki_the_heap.types_lock);
        bool published = publish(t) == 0;
        oaki_lock_release(&oaki_the_heap.types_lock);
        if (!published) {
            oaki_meta_free(t, bytes, OAKI_META_OTHER);
            t = NULL;
        }
    }
    oaki_leave(self_thread);
    if (!t) errno = ENOMEM;
    return t;
}

oak_type *oak_type_bitmap(const char *name, size_t elem_size, const uint64_t *bitmap)
{
    if (!bitmap) {
        errno = EINVAL;
        return NULL;
    }
    return add(name, elem_size, bitmap, NULL, NULL);
}

oak_type *oak_type_function(const char *name, size_t elem_size, oak_mark_fn fn)
{
    if (!fn) {
        errno = EINVAL;
        return NULL;
    }
    return add(name, elem_size, NULL, fn, NULL);
}

const oak_type *oaki_type_host(const char *name, size_t elem_size, oak_mark_fn mark,
                               const void *data)
{
    if (!mark) {
        errno = EINVAL;
        return NULL;
    }
    return add(name, elem_size, NULL, mark, data);
}

const oak_type *oaki_type_once(AO_t *where, const char *name, size_t elem_size, oak_mark_fn mark)
{
    const oak_type *t = (const oak_type *)AO_load_acquire(where);
    if (OAKI_LIKELY(t)) return t;
    t = oak_type_function(name, elem_size, mark);
    if (!t || AO_compare_and_swap_full(where, 0, (AO_t)t)) return t;
    return (const oak_type *)AO_load_acquire(where); /* another thread's: objects have one type */
}

void oaki_type_anytime(const oak_type *t)
{
    OAKI_ASSERT(t->mark);
    ((oak_type *)(uintptr_t)t)->anytime = true;
}

void oaki_type_in_parts(const oak_type *t, oaki_mark_part_fn *part)
{
    ((oak_type *)(uintptr_t)t)->part = part;
    oaki_type_anytime(t);
}

const char *oak_type_name(const oak_type *t)
{
    return t ? t->name : NULL;
}

/* ---- of an object ---- */

uint32_t oaki_type_id_at(size_t off)
{
    const oaki_span *s = oaki_span_of_offset(off);
    if (s->kind != OAKI_TYPED) return 0;
    if (s->cls == OAKI_CLASS_LARGE) return s->type;
    if (!s->types) return 0;
    size_t in_span = off - (oaki_span_page(s) << OAKI_PAGE_SHIFT);
    return s->types[(in_span * oaki_classes[s->cls].magic) >> 32];
}

const void *oaki_type_data_of(const void *obj)
{
    const oak_type *t = oaki_type_by_id(oaki_type_id_at(oaki_heap_offset(obj)));
    return t ? t->data : NULL;
}

const oak_type *oak_type_of(const void *p)
{
    const char *obj = oaki_object_base(p);
    return obj ? oaki_type_by_id(oaki_type_id_at(oaki_heap_offset(obj))) : NULL;
}
