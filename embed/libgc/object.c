/* object.c - the start, size and kind of the object at an address; checks of pointers.
 *
 * Lock: none; the tables are read without a lock. So the functions may be called under the
 * allocation lock and in callbacks. */
#include "libgc.h"

void *GC_base(void *p)
{
    return oaki_object_base(p);
}

int GC_is_heap_ptr(const void *p)
{
    if (!oaki_heap_contains(p)) return 0;
    return (oaki_the_heap.pte[oaki_heap_offset(p) >> OAKI_PAGE_SHIFT] & OAKI_PTE_CLASS) != 0;
}

oaki_span *lgc_span_of(const void *p)
{
    return oaki_object_base(p) == p && p ? oaki_span_of_offset(oaki_heap_offset(p)) : NULL;
}

size_t GC_size(const void *p)
{
    return oak_usable_size(p);
}

static int kind_of(const void *obj);
LGC_OUTSIDE(int, kind_of, (const void *obj), (obj))

/* oaki_is_held enters the runtime. */
static int kind_of(const void *obj)
{
    if (lgc_is_blocked()) return kind_of_outside(obj);
    const oaki_span *s = oaki_span_of_offset(oaki_heap_offset(obj));
    const lgc_layout *l = s->kind == OAKI_TYPED ? oaki_type_data_of(obj) : NULL;
    if (l) return l->kind;
    if (s->kind == OAKI_PINNED) return GC_KIND_UNCOLLECTABLE;
    if (s->kind != OAKI_NOSCAN) return GC_KIND_NORMAL;
    return oaki_is_held(obj) ? GC_KIND_ATOMIC_UNCOLLECTABLE : GC_KIND_ATOMIC;
}

int GC_get_kind_and_size(const void *p, size_t *size)
{
    const void *obj = oaki_object_base(p);
    if (size) *size = oak_usable_size(p);
    return obj ? kind_of(obj) : GC_KIND_NORMAL;
}

/* i is a request in granules, without the added byte. */
size_t GC_get_size_map_at(int i)
{
    if (i < 0 || (size_t)i > OAKI_SMALL_MAX / 2) return SIZE_MAX;
    size_t want = (size_t)i + lgc.extra;
    return oaki_classes[oaki_class_small[(OAKI_MAX(want, 1) + 15) / 16]].size;
}

/* ---- checks of pointers ---- */

void *GC_same_obj(void *p, void *q)
{
    lgc_ready();
    void *a = oaki_object_base(p), *b = oaki_object_base(q);
    bool p_free = !a && GC_is_heap_ptr(p), q_free = !b && GC_is_heap_ptr(q);
    if (a != b && !(p_free && q_free)) GC_same_obj_print_proc(p, q);
    return p;
}

void *GC_pre_incr(void **p, ptrdiff_t how_much)
{
    void *from = *p, *to = GC_same_obj((char *)from + how_much, from);
    return *p = to;
}

void *GC_post_incr(void **p, ptrdiff_t how_much)
{
    void *from = *p;
    *p = GC_same_obj((char *)from + how_much, from);
    return from;
}

/* Any address outside of the heap counts as visible, as it may be on a stack. */
void *GC_is_visible(void *p)
{
    lgc_ready();
    if (GC_is_heap_ptr(p) && !oaki_object_base(p)) GC_is_visible_print_proc(p);
    return p;
}

static bool is_valid_displacement(const void *p)
{
    const char *obj = oaki_object_base(p);
    if (!obj) return false;
    if (lgc.interior) return true;
    return lgc_is_displacement((size_t)((const char *)p - obj));
}

void *GC_is_valid_displacement(void *p)
{
    lgc_ready();
    if (GC_is_heap_ptr(p) && !is_valid_displacement(p)) GC_is_valid_displacement_print_proc(p);
    return p;
}

/* ---- functions that this collector doesn't need ---- */

void GC_change_stubborn(const void *p)
{
    (void)p;
}

void GC_end_stubborn_change(const void *p)
{
    (void)p;
}

void GC_ptr_store_and_dirty(void *p, const void *q)
{
    *(const void **)p = q;
}

void GC_noop1(GC_word x)
{
    __asm__ __volatile__("" : : "r"(x) : "memory");
}

#define CLEAR_BYTES 2048

/* Clear the stack below the caller's frame, to the depth of simple calls. */
OAKI_NOINLINE void *GC_clear_stack(void *p)
{
    char dead[CLEAR_BYTES];
    __builtin_memset(dead, 0, sizeof dead);
    __asm__ __volatile__("" : : "r"(dead) : "memory");
    return p;
}
