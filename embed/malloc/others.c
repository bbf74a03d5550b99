/* others.c - blocks of other allocators in the process: free and realloc pass them back.
 *
 * A library with its own malloc may use it internally, or export it under names of its own. A
 * library that is loaded with RTLD_DEEPBIND may use libc's malloc. Blocks of either may come to the
 * free of this library.
 *
 * The owner of a block is found as follows. jemalloc, tcmalloc and mimalloc have functions for
 * that. A block of libc has its size in front of it, and a neighbour that confirms it. Of any other
 * allocator only one thing is known: its memory is neither on the caller's stack nor part of a
 * loaded object. A pointer that no allocator can have returned is an error of the program.
 *
 * Symbols are read from the objects' own tables (DT_GNU_HASH, or DT_HASH): dlsym may call malloc,
 * and may wait for a thread that is inside of dlopen.
 *
 * Owns: the table of allocators. Lock: the loader's, which dl_iterate_phdr holds; none while an
 * allocator is called. Bound: O(loaded objects). When these change, some 30 look-ups for each. */
#include "others.h"
#include "preload.h"
#include "runtime/os.h"
#include "runtime/probe.h"
#include <errno.h>
#include <link.h>
#include <string.h>

#define MOST 8 /* allocators; further ones are ignored */

typedef enum kind { JEMALLOC, TCMALLOC, MIMALLOC, LIBC, OTHER } kind;

typedef struct allocator {
    kind kind;
    void (*free)(void *p);
    void *(*realloc)(void *p, size_t n);
    size_t (*usable_size)(void *p);
    void *owns; /* the allocator's function that recognizes its blocks, or NULL */
} allocator;

static struct {
    unsigned long long adds, subs; /* the loader's counts of objects when the table was made */
    size_t n;
    allocator of[MOST];
} self;

/* ---- symbols of a loaded object ---- */

typedef struct symbols {
    uintptr_t base;
    const ElfW(Sym) *symbol;
    const char *string;
    const uint32_t *hash, *old_hash; /* GNU's table, or the older one alone */
} symbols;

/* The address in an entry of the dynamic section. The loader has added the base, except for the
 * vdso. */
static const void *at(uintptr_t base, uintptr_t address)
{
    return (const void *)(address < base ? base + address : address);
}

static bool read_symbols(const struct dl_phdr_info *o, symbols *out)
{
    const ElfW(Dyn) *d = NULL;
    *out = (symbols){ .base = o->dlpi_addr };
    for (size_t i = 0; i < o->dlpi_phnum; i++)
        if (o->dlpi_phdr[i].p_type == PT_DYNAMIC)
            d = (const ElfW(Dyn) *)(o->dlpi_addr + o->dlpi_phdr[i].p_vaddr);
    for (; d && d->d_tag != DT_NULL; d++) {
        if (d->d_tag == DT_SYMTAB) out->symbol = at(out->base, d->d_un.d_ptr);
        if (d->d_tag == DT_STRTAB) out->string = at(out->base, d->d_un.d_ptr);
        if (d->d_tag == DT_GNU_HASH) out->hash = at(out->base, d->d_un.d_ptr);
        if (d->d_tag == DT_HASH) out->old_hash = at(out->base, d->d_un.d_ptr);
    }
    return out->symbol && out->string && (out->hash || out->old_hash);
}

static uint32_t hash_of(const char *name)
{
    uint32_t h = 5381;
    for (; *name; name++) h = h * 33 + (unsigned char)*name;
    return h;
}

static bool is_it(const symbols *s, const ElfW(Sym) *y, const char *name)
{
    return y->st_shndx != SHN_UNDEF && ELF64_ST_TYPE(y->st_info) == STT_FUNC &&
           strcmp(s->string + y->st_name, name) == 0;
}

/* Of --hash-style=sysv, whose table has the number of symbols. */
static void *find_among_all(const symbols *s, const char *name)
{
    for (uint32_t i = 0; i < s->old_hash[1]; i++)
        if (is_it(s, &s->symbol[i], name)) return (void *)(s->base + s->symbol[i].st_value);
    return NULL;
}

/* A function that the object defines, or NULL. */
static void *find(const symbols *s, const char *name)
{
    if (!s->hash) return find_among_all(s, name);
    uint32_t buckets = s->hash[0], first = s->hash[1], words = s->hash[2], h = hash_of(name);
    const uint32_t *bucket = s->hash + 4 + words * (sizeof(ElfW(Addr)) / sizeof(uint32_t));
    const uint32_t *chain = bucket + buckets;
    if (buckets == 0 || bucket[h % buckets] < first) return NULL;
    for (uint32_t i = bucket[h % buckets];; i++) {
        const ElfW(Sym) *y = &s->symbol[i];
        uint32_t other = chain[i - first];
        if ((other | 1) == (h | 1) && is_it(s, y, name)) return (void *)(s->base + y->st_value);
        if (other & 1) return NULL;
    }
}

/* ---- the table ---- */

static void add(const symbols *s)
{
    static const char *const tells[] = { "mallctl", "MallocExtension_GetOwnership",
                                         "mi_is_in_heap_region", "gnu_get_libc_version" };
    allocator a = { .kind = JEMALLOC };
    *(void **)&a.free = find(s, "free");
    *(void **)&a.realloc = find(s, "realloc");
    *(void **)&a.usable_size = find(s, "malloc_usable_size");
    if (!a.free || a.free == free || !a.realloc || self.n == MOST) return;
    while (a.kind < OTHER && !(a.owns = find(s, tells[a.kind]))) a.kind++;
    self.of[self.n++] = a;
}

typedef struct search {
    const char *p;
    bool in_object;
    bool same; /* the loaded objects are those of the table */
    size_t n;
    allocator of[MOST];
} search;

static bool has(const struct dl_phdr_info *o, const char *p)
{
    for (size_t i = 0; i < o->dlpi_phnum; i++) {
        const ElfW(Phdr) *h = &o->dlpi_phdr[i];
        if (h->p_type == PT_LOAD && (uintptr_t)p - (o->dlpi_addr + h->p_vaddr) < h->p_memsz)
            return true;
    }
    return false;
}

static int look(struct dl_phdr_info *o, size_t size, void *ctx)
{
    search *q = ctx;
    symbols s;
    (void)size;
    if (q->n == 0) { /* the first object */
        q->n = 1;
        q->same = self.adds == o->dlpi_adds && self.subs == o->dlpi_subs;
        self.adds = o->dlpi_adds;
        self.subs = o->dlpi_subs;
        if (!q->same) memset(self.of, 0, sizeof self.of), self.n = 0;
    }
    if (has(o, q->p)) q->in_object = true;
    if (!q->same && !has(o, (const char *)(uintptr_t)&self) && read_symbols(o, &s)) add(&s);
    memcpy(q->of, self.of, sizeof q->of);
    return 0;
}

/* ---- the owner of a block ---- */

/* jemalloc before 5.1 can't be asked: then it is one of the others. */
static bool jemalloc_owns(allocator *a, const void *p)
{
    int (*mallctl)(const char *name, void *old, size_t *oldlen, void *new, size_t newlen);
    unsigned arena;
    size_t n = sizeof arena;
    *(void **)&mallctl = a->owns;
    int e = mallctl("arenas.lookup", &arena, &n, &p, sizeof p);
    if (e == ENOENT) a->kind = OTHER;
    return e == 0;
}

static bool tcmalloc_owns(void *fn, const void *p)
{
    int (*ownership)(const void *p);
    *(void **)&ownership = fn;
    return ownership(p) == 1;
}

static bool mimalloc_owns(void *fn, const void *p)
{
    bool (*is_in_heap)(const void *p);
    *(void **)&is_in_heap = fn;
    return is_in_heap(p);
}

/* Whether p is a block of libc. The word before it has its size, and flags: 1, the previous block
 * is in use; 2, the block is a mapping of its own; 4, it isn't of the main arena. After the block
 * is the head of the next one, whose flag says that this one is in use. A block with flag 2 begins
 * a distance behind the start of its pages; the word before the size has that distance. */
static bool libc_owns(const char *p)
{
    uintptr_t head[2], next;
    const uintptr_t page = 4096;
    if ((uintptr_t)p % 16 != 0 || oaki_probe_copy(head, p - 16, sizeof head) != sizeof head)
        return false;
    uintptr_t size = head[1] & ~(uintptr_t)7;
    if (size < 32 || size % 16 != 0 || size > (uintptr_t)1 << 46) return false;
    if (head[1] & 2)
        return (size + head[0]) % page == 0 && ((uintptr_t)p - 16 - head[0]) % page == 0;
    return oaki_probe_copy(&next, p - 8 + size, sizeof next) == sizeof next && (next & 1) != 0 &&
           (next & ~(uintptr_t)7) >= 16 && next < (uintptr_t)1 << 46;
}

/* Whether p is on the caller's stack. Of an undeclared stack, such as a coroutine's, only the
 * innermost frames are known. */
static bool is_on_stack(const char *p)
{
    const oaki_thread *t = oaki_tls_thread;
    const char *sp = __builtin_frame_address(0), *hi = sp + (16 << 10);
    if (t && sp >= t->stack_lo && sp < t->stack_hi) hi = t->stack_hi;
    return p >= sp - 4096 && p < hi;
}

static bool owns(allocator *a, const search *q)
{
    switch (a->kind) {
    case JEMALLOC: return jemalloc_owns(a, q->p);
    case TCMALLOC: return tcmalloc_owns(a->owns, q->p);
    case MIMALLOC: return mimalloc_owns(a->owns, q->p);
    case LIBC: return !q->in_object && !is_on_stack(q->p) && libc_owns(q->p);
    default: return !q->in_object && !is_on_stack(q->p) && oaki_probe(q->p);
    }
}

/* Find the owner of a block. Allocators that recognize their blocks are asked first, then libc,
 * then those without a way to ask. */
static bool find_owner(void *p, allocator *out)
{
    search q = { .p = p };
    (void)oaki_loader_each(look, &q);
    for (kind k = JEMALLOC; k <= OTHER; k++)
        for (size_t i = 0; i < MOST; i++) {
            *out = q.of[i];
            if (out->free && out->kind == k && owns(&q.of[i], &q)) return true;
        }
    return false;
}

bool oaki_others_free(void *p)
{
    allocator a;
    if (!find_owner(p, &a)) return false;
    a.free(p);
    return true;
}

bool oaki_others_realloc(void *p, size_t n, void **out)
{
    allocator a;
    if (!find_owner(p, &a)) return false;
    *out = a.realloc(p, n);
    return true;
}

bool oaki_others_size(void *p, size_t *out)
{
    allocator a;
    if (!find_owner(p, &a) || !a.usable_size) return false;
    *out = a.usable_size(p);
    return true;
}
