/* kinds.c - kinds of the program's own, mark procedures, and marking by a descriptor.
 *
 * A kind from 4 on is a type of the heap. Its mark function finds the kind's layout by the object,
 * and traces the object by its descriptor. A mark procedure gets the marker in place of its mark
 * stack. GC_mark_and_push passes objects to the marker, which takes any number of them. The
 * procedure's result is ignored.
 *
 * Owns: the tables of kinds and of procedures, and the functions that describe objects of a kind.
 * Lock: `lock`, inside the runtime, to add to the tables. An entry is complete before its number is
 * returned. */
#include "libgc.h"

#include "runtime/meta.h"
#include <string.h>

#define FIRST_KIND 4

static struct {
    oaki_lock lock;
    lgc_layout kind[GC_KINDS_MAX];
    unsigned kinds; /* number of kinds, whose numbers begin with FIRST_KIND */
    GC_mark_proc proc[GC_MAX_MARK_PROCS];
    unsigned procs; /* likewise; numbers begin with GC_RESERVED_MARK_PROCS */
    GC_describe_type_fn describe[GC_KINDS_MAX];
} self = { .lock = OAKI_LOCK_INIT(OAKI_RANK_TYPES) };

/* ---- marking ---- */

/* The marker as the entry or the limit of a mark stack, for a mark procedure. */
static struct GC_ms_entry *as_stack(oak_marker *m, size_t room)
{
    return (struct GC_ms_entry *)((char *)m + room);
}

static void mark_bitmap(oak_marker *m, const uintptr_t *p, size_t words, GC_word descr)
{
    uint64_t bits = descr & ~(GC_word)GC_DS_TAGS;
    for (size_t i = 0; bits && i < words; i++, bits <<= 1)
        if (bits >> 63) oaki_mark_value(m, p[i]);
}

static void mark_by_proc(oak_marker *m, char *obj, size_t size, GC_word descr)
{
    unsigned index = (unsigned)(descr >> GC_DS_TAG_BITS) % GC_MAX_MARK_PROCS;
    GC_word env = descr >> (GC_DS_TAG_BITS + GC_LOG_MAX_MARK_PROCS);
    if (index == LGC_PROC_LONG && !self.proc[index]) {
        lgc_mark_long(m, obj, size, env);
        return;
    }
    if (!self.proc[index])
        oak_fatal("oakum: an object's descriptor names mark procedure %u, which nobody has "
                  "registered", index);
    (void)self.proc[index]((GC_word *)obj, as_stack(m, 0), as_stack(m, (size_t)1 << 20), env);
}

/* The descriptor in the object, or where its first word points. 0 if there is none: the object is
 * new, or in a free list of the program. */
static GC_word descr_in_object(const char *obj, size_t size, GC_word descr)
{
    intptr_t at = (intptr_t)descr;
    if (at >= 0) {
        size_t offset = (size_t)(descr & ~(GC_word)GC_DS_TAGS);
        return offset + sizeof(GC_word) <= size ? *(const GC_word *)(obj + offset) : 0;
    }
    const char *type = *(const char *const *)obj;
    if (!type) return 0;
    return *(const GC_word *)(type - (at - GC_DS_PER_OBJECT + GC_INDIR_PER_OBJ_BIAS));
}

void lgc_mark_by(oak_marker *m, char *obj, size_t size, GC_word descr)
{
    if ((descr & GC_DS_TAGS) == GC_DS_PER_OBJECT) descr = descr_in_object(obj, size, descr);
    switch (descr & GC_DS_TAGS) {
    case GC_DS_LENGTH:
        oak_mark_range(m, obj, OAKI_MIN(size, (size_t)descr));
        break;
    case GC_DS_BITMAP:
        mark_bitmap(m, (const uintptr_t *)obj, size / sizeof(uintptr_t), descr);
        break;
    case GC_DS_PROC:
        mark_by_proc(m, obj, size, descr);
        break;
    default: /* a descriptor that refers to another: each word may be a pointer */
        oak_mark_range(m, obj, size);
        break;
    }
}

static void mark_object(oak_marker *m, void *obj, size_t size)
{
    const lgc_layout *l = oaki_type_data_of(obj);
    if (l->plain) {
        oak_mark_range(m, obj, size);
    } else if (l->element) {
        char *p = obj;
        for (size_t left = size; left >= l->element; left -= l->element, p += l->element)
            lgc_mark_by(m, p, l->element, l->descr);
    } else {
        lgc_mark_by(m, obj, size, l->adjust ? l->descr + size : l->descr);
    }
}

struct GC_ms_entry *GC_mark_and_push(void *obj, struct GC_ms_entry *top,
                                     struct GC_ms_entry *limit, void **src)
{
    (void)limit;
    (void)src;
    oaki_mark_displaced(top ? (oak_marker *)top : lgc.marker, obj);
    return top;
}

/* ---- the tables ---- */

static void lock_tables(void)
{
    oaki_lock_acquire(&self.lock);
}

static void unlock_tables(void)
{
    oaki_lock_release(&self.lock);
}

static unsigned add_proc(GC_mark_proc proc)
{
    lock_tables();
    unsigned index = GC_RESERVED_MARK_PROCS + self.procs;
    if (index < GC_MAX_MARK_PROCS) {
        self.proc[index] = proc;
        self.procs++;
    }
    unlock_tables();
    return index;
}

static unsigned check_proc(unsigned index)
{
    if (index >= GC_MAX_MARK_PROCS)
        oak_fatal("oakum: GC_new_proc: there are %d mark procedures already", GC_MAX_MARK_PROCS);
    return index;
}

unsigned GC_new_proc(GC_mark_proc proc)
{
    lgc_ready();
    oaki_thread *t = lgc_enter();
    unsigned index = add_proc(proc);
    lgc_leave(t);
    return check_proc(index);
}

unsigned GC_new_proc_inner(GC_mark_proc proc)
{
    return GC_new_proc(proc);
}

void lgc_set_proc(unsigned index, GC_mark_proc proc)
{
    self.proc[index % GC_MAX_MARK_PROCS] = proc;
}

/* Returns an unused array: the heap has no free lists. */
void **GC_new_free_list(void)
{
    return GC_malloc_uncollectable(2 * GC_GRANULE_BYTES * sizeof(void *));
}

/* The array is never read. The caller may hold the allocation lock. */
void **GC_new_free_list_inner(void)
{
    static void *list[2 * GC_GRANULE_BYTES];
    return list;
}

unsigned GC_new_kind(void **free_list, GC_word descr, int adjust, int clear)
{
    (void)free_list;
    (void)clear; /* each object is cleared */
    lgc_ready();
    oaki_thread *t = lgc_enter();
    lock_tables();
    unsigned number = FIRST_KIND + self.kinds;
    if (number < GC_KINDS_MAX) {
        self.kind[number] = (lgc_layout){ .descr = descr,
                                          .adjust = adjust != 0,
                                          .plain = descr == GC_DS_LENGTH && adjust,
                                          .kind = (int)number };
        self.kinds++;
    }
    unlock_tables();
    lgc_leave(t);
    if (number >= GC_KINDS_MAX)
        oak_fatal("oakum: GC_new_kind: there are %d kinds already", GC_KINDS_MAX);
    return number;
}

unsigned GC_new_kind_inner(void **free_list, GC_word descr, int adjust, int clear)
{
    return GC_new_kind(free_list, descr, adjust, clear);
}

void GC_register_describe_type_fn(int kind, GC_describe_type_fn fn)
{
    if ((unsigned)kind >= GC_KINDS_MAX)
        oak_fatal("oakum: GC_register_describe_type_fn: there is no kind %d", kind);
    self.describe[kind] = fn;
}

void lgc_describe(void *obj, int kind, char out[GC_TYPE_DESCR_LEN + 1])
{
    memset(out, 0, GC_TYPE_DESCR_LEN + 1);
    if (self.describe[kind]) self.describe[kind](obj, out);
    out[GC_TYPE_DESCR_LEN] = '\0';
}

lgc_layout *lgc_kind(int kind)
{
    if (kind < FIRST_KIND || (unsigned)kind >= FIRST_KIND + self.kinds)
        oak_fatal("oakum: GC_generic_malloc: there is no kind %d", kind);
    return &self.kind[kind];
}

uint32_t lgc_layout_type(lgc_layout *l)
{
    const oak_type *t = (const oak_type *)AO_load_acquire(&l->type);
    if (OAKI_LIKELY(t != NULL)) return t->id;
    const char *name = l->kind < FIRST_KIND ? "GC_malloc_explicitly_typed" : "GC_new_kind";
    t = oaki_type_host(name, sizeof(void *), mark_object, l);
    if (!t) return 0;
    /* two threads may make the type at the same time: the first one's is that of all objects */
    if (AO_compare_and_swap_full(&l->type, 0, (AO_t)t)) return t->id;
    return ((const oak_type *)AO_load_acquire(&l->type))->id;
}

LGC_OUTSIDE(void *, lgc_try_layout, (size_t n, lgc_layout *l), (n, l))

void *lgc_try_layout(size_t n, lgc_layout *l)
{
    lgc_ready();
    if (lgc_is_blocked()) return lgc_try_layout_outside(n, l);
    uint32_t type = lgc_layout_type(l);
    return type ? lgc_try(n, OAKI_TYPED, type) : NULL;
}

void *lgc_alloc_layout(size_t n, lgc_layout *l)
{
    void *p = lgc_try_layout(n, l);
    return OAKI_LIKELY(p != NULL) ? p : lgc_out_of_memory(n);
}
