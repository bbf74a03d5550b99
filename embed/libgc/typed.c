/* typed.c - objects with an explicit descriptor, and objects of gcj, whose class has the
 * descriptor.
 *
 * A descriptor is a word: a length, a bitmap of up to 62 words, or the number of a longer bitmap.
 * It isn't stored in the object, which has no extra word. Instead, objects with the same descriptor
 * have the same type of the heap.
 *
 * Owns: the tables of long bitmaps and of layouts. Lock: `lock`, inside the runtime. Both tables
 * are read without it, as published entries don't change. Bound: a look-up is O(1). */
#include "libgc.h"

#include "runtime/meta.h"
#include <string.h>

#define BITMAP_BITS 62
#define BUCKETS 256
#define GCJ_DESCR_OFFSET sizeof(void *) /* of the descriptor in the class */

typedef struct long_bitmap {
    size_t bits;
    GC_word *bitmap;
} long_bitmap;

static struct {
    oaki_lock lock;
    AO_t bucket[BUCKETS]; /* lgc_layout *, by descriptor and element size */
    long_bitmap *longs;
    AO_t nlongs, room;
} self = { .lock = OAKI_LOCK_INIT(OAKI_RANK_TYPES) };

/* ---- descriptors ---- */

static bool bit_of(const GC_word *bitmap, size_t i)
{
    return bitmap[i / 64] >> (i % 64) & 1;
}

/* Enlarge the table by a copy. The old one isn't freed, as a marker may be reading it. */
static bool make_room(void)
{
    if (self.nlongs < self.room) return true;
    size_t room = self.room ? self.room * 2 : 16;
    long_bitmap *more = oaki_meta_zalloc(room * sizeof *more, OAKI_META_OTHER);
    if (!more) return false;
    if (self.nlongs > 0) memcpy(more, self.longs, self.nlongs * sizeof *more);
    AO_store_release((AO_t *)&self.longs, (AO_t)more);
    self.room = room;
    return true;
}

/* Add a long bitmap. Returns its number, or SIZE_MAX without memory. */
static size_t add_long(const GC_word *bitmap, size_t bits)
{
    size_t words = (bits + 63) / 64, index = SIZE_MAX;
    oaki_thread *t = lgc_enter();
    oaki_lock_acquire(&self.lock);
    GC_word *copy = oaki_meta_alloc(words * sizeof *copy, OAKI_META_OTHER);
    if (copy && make_room()) {
        memcpy(copy, bitmap, words * sizeof *copy);
        index = self.nlongs;
        self.longs[index] = (long_bitmap){ bits, copy };
        AO_store_release(&self.nlongs, index + 1);
    }
    oaki_lock_release(&self.lock);
    lgc_leave(t);
    return index;
}

GC_word GC_make_descriptor(const GC_word *bitmap, size_t bits)
{
    lgc_ready();
    while (bits > 0 && !bit_of(bitmap, bits - 1)) bits--;
    size_t ones = 0;
    while (ones < bits && bit_of(bitmap, ones)) ones++;
    if (ones == bits) return bits * sizeof(GC_word);
    if (bits > BITMAP_BITS) {
        size_t index = add_long(bitmap, bits);
        return index == SIZE_MAX ? bits * sizeof(GC_word) : GC_MAKE_PROC(LGC_PROC_LONG, index);
    }
    GC_word descr = GC_DS_BITMAP;
    for (size_t i = 0; i < bits; i++)
        if (bit_of(bitmap, i)) descr |= (GC_word)1 << (63 - i);
    return descr;
}

void lgc_mark_long(oak_marker *m, char *obj, size_t size, GC_word env)
{
    const long_bitmap *all = (const long_bitmap *)AO_load_acquire((AO_t *)&self.longs);
    if (env >= AO_load(&self.nlongs)) return;
    const long_bitmap *b = &all[env];
    const uintptr_t *p = (const uintptr_t *)obj;
    size_t n = OAKI_MIN(b->bits, size / sizeof *p);
    for (size_t i = 0; i < n; i++)
        if (bit_of(b->bitmap, i)) oaki_mark_value(m, p[i]);
}

/* ---- layouts ---- */

static lgc_layout *look_up(const AO_t *bucket, GC_word descr, size_t element)
{
    lgc_layout *l = (lgc_layout *)AO_load_acquire(bucket);
    while (l && (l->descr != descr || l->element != element)) l = l->next;
    return l;
}

static OAKI_COLD lgc_layout *add_layout(AO_t *bucket, GC_word descr, size_t element)
{
    oaki_thread *t = lgc_enter();
    oaki_lock_acquire(&self.lock);
    lgc_layout *l = look_up(bucket, descr, element);
    if (!l) l = oaki_meta_zalloc(sizeof *l, OAKI_META_OTHER);
    if (l && l->descr != descr) {
        *l = (lgc_layout){ .descr = descr,
                           .element = element,
                           .kind = GC_KIND_NORMAL,
                           .next = (lgc_layout *)AO_load(bucket) };
        AO_store_release(bucket, (AO_t)l);
    }
    oaki_lock_release(&self.lock);
    lgc_leave(t);
    return l;
}

/* The layout of a descriptor, which is made if need be. NULL without memory. */
static lgc_layout *layout_of(GC_word descr, size_t element)
{
    uint64_t h = (descr ^ element << 17) * 0x9e3779b97f4a7c15u;
    AO_t *bucket = &self.bucket[(h >> 32) % BUCKETS];
    lgc_layout *l = look_up(bucket, descr, element);
    return OAKI_LIKELY(l != NULL) ? l : add_layout(bucket, descr, element);
}

/* ---- allocating ---- */

/* Allocate a cleared object of n bytes, and the byte that GC_malloc adds, too. */
static void *alloc_typed(size_t n, size_t element, GC_word descr)
{
    lgc_ready();
    if (descr == 0) {
        void *p = lgc_alloc(n, OAKI_NOSCAN, 0);
        if (p) memset(p, 0, n);
        return p;
    }
    size_t size = element ? element : n;
    if ((descr & GC_DS_TAGS) == GC_DS_LENGTH && descr >= size) return GC_malloc(n);
    lgc_layout *l = layout_of(descr, element);
    return l ? lgc_alloc_layout(n, l) : lgc_out_of_memory(n);
}

void *GC_malloc_explicitly_typed(size_t n, GC_word descr)
{
    return alloc_typed(n, 0, descr);
}

void *GC_malloc_explicitly_typed_ignore_off_page(size_t n, GC_word descr)
{
    return alloc_typed(n, 0, descr);
}

void *GC_calloc_explicitly_typed(size_t count, size_t size, GC_word descr)
{
    size_t n;
    if (__builtin_mul_overflow(count, size, &n)) return lgc_out_of_memory(SIZE_MAX);
    return alloc_typed(n, count > 1 ? size : 0, descr);
}

/* ---- gcj ---- */

void GC_init_gcj_malloc(int index, void *proc)
{
    lgc_ready();
    if (index < 0 || index >= GC_RESERVED_MARK_PROCS)
        oak_fatal("oakum: GC_init_gcj_malloc: the number of the mark procedure must be below %d",
                  GC_RESERVED_MARK_PROCS);
    if (GC_gcj_kind) return;
    lgc_set_proc((unsigned)index, (GC_mark_proc)(uintptr_t)proc);
    GC_word in_type = ((GC_word)0 - GC_DESCR_IN_TYPE(GCJ_DESCR_OFFSET)) | GC_DS_PER_OBJECT;
    if (lgc.conservative_gcj) {
        GC_gcj_kind = GC_gcj_debug_kind = (int)GC_new_kind(NULL, GC_DS_LENGTH, 1, 1);
        return;
    }
    GC_gcj_kind = (int)GC_new_kind(NULL, in_type, 0, 1);
    GC_gcj_debug_kind = (int)GC_new_kind(NULL, GC_MAKE_PROC(index, 1), 0, 1);
}

static void *alloc_gcj(size_t n, int kind, void *vtable)
{
    void *p = GC_generic_malloc(OAKI_MAX(n, 2 * sizeof(void *)), kind);
    if (p) *(void **)p = vtable;
    return p;
}

void *GC_gcj_malloc(size_t n, void *vtable)
{
    return alloc_gcj(n, GC_gcj_kind, vtable);
}

/* The mark procedure is called with 1, which means that the object may have a header; here it has
 * none. The object has no note of the allocating code, either, as the type may have references at
 * its end. */
void *GC_debug_gcj_malloc(size_t n, void *vtable, LIBGC_WHERE)
{
    (void)file;
    (void)line;
    return alloc_gcj(n, GC_gcj_debug_kind, vtable);
}

void *GC_gcj_malloc_ignore_off_page(size_t n, void *vtable)
{
    return GC_gcj_malloc(n, vtable);
}
