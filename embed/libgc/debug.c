/* debug.c - checked objects, which have a note of the allocating code and a guard at their end.
 *
 * The note is at the end of the object's slot. The words between the requested size and the note
 * are filled with a pattern. GC_debug_free and each GC_gcollect check it, and so find writes beyond
 * the end. As in libgc, a word that the size ends in is zero to its end, and may be used whole.
 * There is no header: the address is the slot's start. Checked objects have types of their own, by
 * which they are recognized.
 *
 * Owns: those types. Lock: none. Bound: a check of all objects is O(slots of the heap). */
#include "libgc.h"

#include <oakum/walk.h>
#include <string.h>

#define MAGIC ((AO_t)0xfeedface0badcafe)
#define FILL 0xe5
#define SMASHED_MAX 32

typedef struct note {
    AO_t magic; /* set once the rest is written */
    const char *file;
    size_t size; /* the requested size */
    int line;
} note;

static lgc_layout composite = { .plain = true, .kind = GC_KIND_NORMAL },
                  atomic = { .descr = GC_DS_LENGTH, .kind = GC_KIND_ATOMIC };

static note *note_of(const void *obj)
{
    return (note *)((char *)(uintptr_t)obj + oak_usable_size(obj) - sizeof(note));
}

static bool is_debug(const void *obj)
{
    const oaki_span *s = lgc_span_of(obj);
    const void *l = s && s->kind == OAKI_TYPED ? oaki_type_data_of(obj) : NULL;
    return l == &composite || l == &atomic;
}

static char *pattern_of(const void *obj, size_t size)
{
    return (char *)(uintptr_t)obj + OAKI_ALIGN_UP(size, sizeof(GC_word));
}

/* The first overwritten byte of the pattern, or NULL. */
static const char *smashed_at(const void *obj)
{
    const note *k = note_of(obj);
    if (k->magic != MAGIC || k->size > (size_t)((const char *)k - (const char *)obj))
        return (const char *)k;
    const char *p = pattern_of(obj, k->size);
    while (p < (const char *)k && *(const unsigned char *)p == FILL) p++;
    return p < (const char *)k ? p : NULL;
}

static void tell_smashed(const void *obj, const char *at)
{
    const note *k = note_of(obj);
    if (k->magic == MAGIC)
        lgc_err("%p in or near object at %p (%s:%d, sz=%zu)\n", (const void *)at, obj, k->file,
                k->line, k->size);
    else
        lgc_err("%p in or near object at %p\n", (const void *)at, obj);
}

bool lgc_debug_where(const void *obj, const char **file, int *line, size_t *size)
{
    if (!is_debug(obj) || note_of(obj)->magic != MAGIC) return false;
    const note *k = note_of(obj);
    *file = k->file;
    *line = k->line;
    *size = k->size;
    return true;
}

/* ---- allocating ---- */

/* NULL when out of memory. */
static void *try(size_t n, lgc_layout *l, const char *file, int line)
{
    size_t want;
    if (__builtin_add_overflow(n, sizeof(note), &want)) return NULL;
    char *p = lgc_try_layout(want, l);
    if (!p) return NULL;
    note *k = note_of(p);
    char *pattern = pattern_of(p, n);
    memset(pattern, FILL, (size_t)((char *)k - pattern));
    k->file = file;
    k->size = n;
    k->line = line;
    AO_store_release(&k->magic, MAGIC); /* last: a pause may come halfway */
    return p;
}

static void *alloc(size_t n, lgc_layout *l, const char *file, int line)
{
    void *p = try(n, l, file, line);
    return OAKI_LIKELY(p != NULL) ? p : lgc_out_of_memory(n);
}

void *GC_debug_malloc(size_t n, LIBGC_WHERE)
{
    return alloc(n, &composite, file, line);
}

void *GC_debug_malloc_atomic(size_t n, LIBGC_WHERE)
{
    return alloc(n, &atomic, file, line);
}

static void *held(size_t n, lgc_layout *l, const char *file, int line);
LGC_OUTSIDE(void *, held, (size_t n, lgc_layout *l, const char *file, int line), (n, l, file, line))

/* Inside of a blocking region the object could be collected before it is held. */
static void *held(size_t n, lgc_layout *l, const char *file, int line)
{
    if (lgc_is_blocked()) return held_outside(n, l, file, line);
    return lgc_hold(try(n, l, file, line), n);
}

void *GC_debug_malloc_uncollectable(size_t n, LIBGC_WHERE)
{
    return held(n, &composite, file, line);
}

void *GC_debug_malloc_atomic_uncollectable(size_t n, LIBGC_WHERE)
{
    return held(n, &atomic, file, line);
}

void *GC_debug_malloc_stubborn(size_t n, LIBGC_WHERE)
{
    return alloc(n, &composite, file, line);
}

void *GC_debug_malloc_ignore_off_page(size_t n, LIBGC_WHERE)
{
    return alloc(n, &composite, file, line);
}

void *GC_debug_malloc_atomic_ignore_off_page(size_t n, LIBGC_WHERE)
{
    return alloc(n, &atomic, file, line);
}

void *GC_debug_generic_or_special_malloc(size_t n, int kind, LIBGC_WHERE)
{
    switch (kind) {
    case GC_KIND_ATOMIC: return GC_debug_malloc_atomic(n, file, line);
    case GC_KIND_NORMAL: return GC_debug_malloc(n, file, line);
    case GC_KIND_UNCOLLECTABLE: return GC_debug_malloc_uncollectable(n, file, line);
    case GC_KIND_ATOMIC_UNCOLLECTABLE:
        return GC_debug_malloc_atomic_uncollectable(n, file, line);
    default: return GC_generic_malloc(n, kind);
    }
}

void *GC_debug_malloc_replacement(size_t n)
{
    return GC_debug_malloc(n, "unknown", 0);
}

char *GC_debug_strndup(const char *s, size_t n, LIBGC_WHERE)
{
    size_t len = strnlen(s, n);
    char *copy = GC_debug_malloc_atomic(len + 1, file, line);
    if (!copy) return NULL;
    memcpy(copy, s, len);
    copy[len] = '\0';
    return copy;
}

char *GC_debug_strdup(const char *s, LIBGC_WHERE)
{
    return s ? GC_debug_strndup(s, SIZE_MAX - 1, file, line) : NULL;
}

/* ---- freeing, resizing ---- */

void GC_debug_free(void *p)
{
    if (!p) return;
    lgc_ready();
    const char *at = is_debug(p) ? smashed_at(p) : NULL;
    if (at) {
        lgc_err("GC_debug_free: found smashed location at ");
        tell_smashed(p, at);
    }
    GC_free(p);
}

LGC_OUTSIDE(void *, GC_debug_realloc, (void *p, size_t n, LIBGC_WHERE), (p, n, file, line))

void *GC_debug_realloc(void *p, size_t n, LIBGC_WHERE)
{
    int kind;
    if (lgc_is_blocked()) return GC_debug_realloc_outside(p, n, file, line);
    if (!p) return GC_debug_malloc(n, file, line);
    if (n == 0) {
        GC_debug_free(p);
        return NULL;
    }
    if (!is_debug(p)) return GC_realloc(p, n);
    bool held = oaki_is_held(p);
    kind = oaki_type_data_of(p) == &atomic ? GC_KIND_ATOMIC : GC_KIND_NORMAL;
    if (held) kind = kind ? GC_KIND_UNCOLLECTABLE : GC_KIND_ATOMIC_UNCOLLECTABLE;
    size_t old = note_of(p)->size;
    void *q = GC_debug_generic_or_special_malloc(n, kind, file, line);
    if (!q) return NULL;
    memcpy(q, p, OAKI_MIN(old, n));
    GC_debug_free(p);
    return q;
}

void *GC_debug_realloc_replacement(void *p, size_t n)
{
    return GC_debug_realloc(p, n, "unknown", 0);
}

/* ---- checking ---- */

typedef struct smashed {
    size_t n;
    const void *obj[SMASHED_MAX];
} smashed;

static bool look(const oak_object *o, void *ctx)
{
    smashed *s = ctx;
    const void *obj = o->object;
    if (is_debug(obj) && note_of(obj)->magic && smashed_at(obj)) s->obj[s->n++] = obj;
    return s->n < SMASHED_MAX;
}

/* In a pause, as other threads make and free spans, and write notes. */
void lgc_debug_check(void)
{
    smashed s = { .n = 0 };
    if (!AO_load(&composite.type) && !AO_load(&atomic.type)) return;
    if (oak_heap_each(look, &s, 0) != 0) return;
    if (s.n == 0) return;
    lgc_err("GC_check_heap_block: found %zu smashed heap objects:\n", s.n);
    for (size_t i = 0; i < s.n; i++) tell_smashed(s.obj[i], smashed_at(s.obj[i]));
}

/* ---- functions that ignore the note ---- */

size_t GC_get_debug_header_size(void)
{
    return 0;
}

void GC_debug_change_stubborn(const void *p)
{
    (void)p;
}

void GC_debug_end_stubborn_change(const void *p)
{
    (void)p;
}

void GC_debug_ptr_store_and_dirty(void *p, const void *q)
{
    GC_ptr_store_and_dirty(GC_is_visible(p), GC_is_valid_displacement((void *)(uintptr_t)q));
}

void GC_debug_register_displacement(size_t n)
{
    GC_register_displacement(n);
}

void GC_debug_register_finalizer(void *obj, GC_finalization_proc fn, void *cd,
                                 GC_finalization_proc *ofn, void **ocd)
{
    GC_register_finalizer(obj, fn, cd, ofn, ocd);
}

void GC_debug_register_finalizer_ignore_self(void *obj, GC_finalization_proc fn, void *cd,
                                             GC_finalization_proc *ofn, void **ocd)
{
    GC_register_finalizer_ignore_self(obj, fn, cd, ofn, ocd);
}

void GC_debug_register_finalizer_no_order(void *obj, GC_finalization_proc fn, void *cd,
                                          GC_finalization_proc *ofn, void **ocd)
{
    GC_register_finalizer_no_order(obj, fn, cd, ofn, ocd);
}

void GC_debug_register_finalizer_unreachable(void *obj, GC_finalization_proc fn, void *cd,
                                             GC_finalization_proc *ofn, void **ocd)
{
    GC_register_finalizer_unreachable(obj, fn, cd, ofn, ocd);
}
