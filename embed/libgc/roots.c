/* roots.c - static roots, and the pointers into an object that count (displacements).
 *
 * oak_root_add refuses ranges in the heap. Such a range is scanned in each root phase, also if its
 * objects are of an unscanned kind.
 *
 * Owns: the list of ranges that the program has added, for GC_remove_roots; the displacements.
 * Lock: `lock`, inside the runtime; with the world stopped, none. Bound: adding O(1); adding in the
 * heap, and removing, O(ranges); a root phase O(bytes of ranges in the heap). */
#include "libgc.h"

#include "runtime/dlroots.h"
#include "runtime/meta.h"
#include <oakum/gc.h>
#include <string.h>

typedef struct range {
    char *lo;
    size_t n;
    bool in_heap;
} range;

static struct {
    oaki_lock lock;
    oaki_vec ranges;
    AO_t allowed[OAKI_DISPLACEMENTS / 64]; /* only ever gains bits; without the lock */
} self = { .lock = OAKI_LOCK_INIT(OAKI_RANK_TYPES) };

/* ---- ranges ---- */

static bool trim(void *lo, void *hi, range *out)
{
    uintptr_t from = OAKI_ALIGN_UP((uintptr_t)lo, sizeof(void *)),
              to = OAKI_ALIGN_DOWN((uintptr_t)hi, sizeof(void *));
    if (to <= from) return false;
    *out = (range){ (char *)from, to - from, oaki_heap_contains((char *)from) };
    return true;
}

/* Whether this list has the range already. oak_root_add counts ranges outside of the heap. */
static bool is_noted(const range *r)
{
    const range *known = self.ranges.items;
    for (size_t i = 0; r->in_heap && i < self.ranges.len; i++)
        if (known[i].lo == r->lo && known[i].n == r->n) return true;
    return false;
}

static bool note(const range *r)
{
    oaki_thread *t = oaki_enter();
    if (!t) return false;
    oaki_lock_acquire(&self.lock);
    bool noted = is_noted(r);
    range *place = noted ? NULL : oaki_vec_push(&self.ranges);
    if (place) *place = *r;
    oaki_lock_release(&self.lock);
    oaki_leave(t);
    return noted || place != NULL;
}

LGC_OUTSIDE(void, GC_add_roots, (void *lo, void *hi), (lo, hi))

void GC_add_roots(void *lo, void *hi)
{
    range r;
    lgc_ready();
    if (lgc_is_blocked()) {
        GC_add_roots_outside(lo, hi);
        return;
    }
    if (!trim(lo, hi, &r)) return;
    if ((!r.in_heap && oak_root_add(r.lo, r.n) != 0) || !note(&r))
        oak_fatal("oakum: GC_add_roots: no memory to note %zu bytes at %p", r.n, (void *)r.lo);
}

static void mark_range(const oaki_root *r, void *m)
{
    oak_mark_range(m, r->lo, (size_t)(r->hi - r->lo));
}

/* Scan the ranges in the heap, as far as the heap is readable. */
void lgc_roots_mark(oak_marker *m)
{
    const oaki_heap *h = &oaki_the_heap;
    const char *end = (char *)h->base + AO_load(&h->used);
    const oaki_root_visitor v = { mark_range, m };
    const range *r = self.ranges.items;
    for (size_t i = 0; i < self.ranges.len; i++)
        if (r[i].in_heap && r[i].lo < end)
            oaki_root_emit_cut(&v, (oaki_root){ .kind = OAKI_ROOT_RANGE,
                                                .lo = r[i].lo,
                                                .hi = OAKI_MIN(r[i].lo + r[i].n, end) });
}

/* Remove one range within [lo, hi) from the list, and return it in *out. */
static bool take_within(const char *lo, const char *hi, range *out)
{
    bool found = false;
    oaki_thread *t = oaki_enter();
    if (!t) return false;
    oaki_lock_acquire(&self.lock);
    range *r = self.ranges.items;
    for (size_t i = 0; i < self.ranges.len && !found; i++) {
        if (r[i].lo < lo || r[i].lo + r[i].n > hi) continue;
        *out = r[i];
        r[i] = r[--self.ranges.len];
        found = true;
    }
    oaki_lock_release(&self.lock);
    oaki_leave(t);
    return found;
}

LGC_OUTSIDE(void, GC_remove_roots, (void *lo, void *hi), (lo, hi))

void GC_remove_roots(void *lo, void *hi)
{
    range r;
    lgc_ready();
    if (lgc_is_blocked()) {
        GC_remove_roots_outside(lo, hi);
        return;
    }
    while (take_within(lo, hi, &r))
        if (!r.in_heap) (void)oak_root_remove(r.lo, r.n);
}

LGC_OUTSIDE(void, GC_clear_roots, (void), ())

/* Remove all roots, the program's data too, and the data of libraries unless GC_no_dls is set. */
void GC_clear_roots(void)
{
    lgc_ready();
    if (lgc_is_blocked()) {
        GC_clear_roots_outside();
        return;
    }
    lgc.roots_cleared = true;
    oaki_roots_clear();
    oaki_thread *t = oaki_enter();
    if (t) {
        oaki_lock_acquire(&self.lock);
        oaki_vec_free(&self.ranges);
        oaki_vec_init(&self.ranges, sizeof(range), OAKI_META_OTHER);
        oaki_lock_release(&self.lock);
        oaki_leave(t);
    }
    lgc_roots_apply();
}

void lgc_roots_apply(void)
{
    unsigned without = lgc.roots_cleared ? OAKI_OBJECTS_NONE : OAKI_OBJECTS_MAIN;
    oaki_roots_objects(GC_no_dls ? without : OAKI_OBJECTS_ALL);
}

LGC_OUTSIDE(void, GC_exclude_static_roots, (void *lo, void *hi), (lo, hi))

void GC_exclude_static_roots(void *lo, void *hi)
{
    lgc_ready();
    if (lgc_is_blocked()) {
        GC_exclude_static_roots_outside(lo, hi);
        return;
    }
    if ((char *)hi > (char *)lo) (void)oak_root_exclude(lo, (size_t)((char *)hi - (char *)lo));
}

LGC_OUTSIDE(void, GC_clear_exclusion_table, (void), ())

/* The heap's own data stays excluded. */
void GC_clear_exclusion_table(void)
{
    lgc_ready();
    if (lgc_is_blocked()) GC_clear_exclusion_table_outside();
    else if (oaki_roots_exclude_own_only() != 0)
        oak_fatal("oakum: GC_clear_exclusion_table: out of memory");
}

void GC_register_has_static_roots_callback(GC_has_static_roots_func fn)
{
    oaki_roots_set_filter(fn);
}

/* Needs no lock: the heap notices if a pause has interrupted the loader, and tries again. */
void *GC_dlopen(const char *path, int mode)
{
    return dlopen(path, mode);
}

LGC_OUTSIDE(int, GC_is_tmp_root, (void *p), (p))

/* Whether p is in the data of the program or of a library. libgc calls all of it temporary, as it
 * is looked up anew in each collection. Under the allocation lock, and in callbacks of a
 * collection, the caller holds gc_lock already. */
int GC_is_tmp_root(void *p)
{
    lgc_ready();
    if (lgc_is_blocked()) return GC_is_tmp_root_outside(p);
    const oaki_thread *t = oaki_thread_self();
    bool inside = t && t->in_runtime;
    if (!inside && oaki_gc_exclude() != 0) return 0;
    bool found = oaki_roots_in_object(p);
    if (!inside) oaki_gc_release();
    return found;
}

/* ---- displacements ---- */

static void apply_rule(void);

LGC_OUTSIDE(void, apply_rule, (void), ())

static void apply_rule(void)
{
    if (lgc_is_blocked()) {
        apply_rule_outside();
        return;
    }
    oaki_mark_displacements(lgc.interior ? NULL : self.allowed, OAKI_DISPLACEMENTS);
}

bool lgc_is_displacement(size_t d)
{
    return d < OAKI_DISPLACEMENTS && (self.allowed[d / 64] >> d % 64 & 1);
}

void GC_register_displacement(size_t n)
{
    if (n >= OAKI_DISPLACEMENTS)
        oak_fatal("oakum: GC_register_displacement: %zu is not below %d", n, OAKI_DISPLACEMENTS);
    AO_or_full(&self.allowed[n / 64], (AO_t)1 << n % 64);
    if (AO_load_acquire(&lgc.started) && !lgc.interior) apply_rule();
}

void GC_set_all_interior_pointers(int value)
{
    GC_all_interior_pointers = value != 0;
    if (!AO_load_acquire(&lgc.started)) return;
    lgc.interior = value != 0;
    lgc.extra = lgc.interior;
    apply_rule();
}

void lgc_roots_init(void)
{
    oaki_vec_init(&self.ranges, sizeof(range), OAKI_META_OTHER);
    self.allowed[0] |= 1;
    lgc.interior = GC_all_interior_pointers != 0;
    lgc.extra = lgc.interior;
    apply_rule();
    lgc_roots_apply();
}
