/* dlroots.c - the writable data of loaded objects.
 *
 * Owns: the table of loaded objects: writable segments, TLS modules, names, and the chain of link
 * maps at that time; struct known.
 * Lock: gc_lock; at start-up none. A new table is read with none of Oakum's locks held, as the
 * loader's is taken for it. The holder of that lock (in a callback of dl_iterate_phdr) may be
 * waiting for one of Oakum's.
 * Bounds: refresh is O(1) unless something was loaded or unloaded; consistent is O(loaded objects).
 *
 * The loader keeps a list for debuggers (struct r_debug, found by DT_DEBUG): a state and the chain
 * of link maps. docs/roots.md lists the points where a thread may be stopped inside dlopen and
 * dlclose, and why each is safe. In short: an object is in the chain from after it is mapped until
 * after it is unmapped. Only in state RT_DELETE may an object of the chain be unmapped.
 *
 * A thread unknown to Oakum isn't stopped, and may unload an object during a mark. So for objects
 * loaded after start-up, a copy of the data is scanned. The kernel makes the copy, and it ends
 * where the memory is gone. */
#include "dlroots.h"
#include "contain.h"

#include "heap.h"
#include "meta.h"
#include "os.h"
#include "probe.h"
#include "track.h"
#include <link.h>
#include <string.h>

#define COPY_MAX ((size_t)4 << 20) /* a larger segment is scanned in place */
#define TLS_RETRIES 8              /* waits for a vector that looks moved */
#define PAUSE_NS 50000u            /* before a stop is repeated; longer each time, up to ... */
#define PAUSE_MOST_NS 1000000u

#ifdef OAKI_SHARED
#define SHARED true
#else
#define SHARED false
#endif

typedef struct segment {
    const char *lo, *hi;
    size_t name;
    bool main;   /* of the program itself */
    bool copied;
    size_t copy; /* offset in the copies */
} segment;

typedef struct node {
    const struct link_map *map;
    ElfW(Addr) addr;
    const ElfW(Dyn) * dynamic;
    const char *name;
    bool lasting;
} node;

typedef struct objects {
    oaki_vec segments, modules, chain, names;
    char *copies;
    size_t copies_size;
    unsigned long long adds, subs; /* the loader's counts, which only grow */
    AO_t filter;                   /* that it was read with */
} objects;

static objects table;

/* Receives the next reading. There may be no memory for another one when it is needed. */
static objects spare;
static unsigned int spare_taken; /* AO_int */

static struct known {
    const struct r_debug *debug; /* NULL in a static program */
    oaki_vec lasting;            /* addresses of the objects loaded at start-up */
    bool started;                /* lasting is complete */
    unsigned tls_retries;
    unsigned int unwanted;       /* AO_int: the complement of the set given to oaki_roots_objects */
    /* read without a lock, before a stop */
    unsigned int stale;          /* AO_int: stops in a row that saw a change */
    AO_t filter;                 /* oaki_roots_filter *, or 0 */
    AO_t filtered;               /* of the table */
    AO_t modules;                /* of the table */
    AO_t adds, subs;
} known;

/* One reading. Items that don't fit are counted, and the reading is repeated with more room. */
typedef struct reading {
    objects *to;
    bool first, full;
    bool main; /* the object being read is the program */
    size_t copies;
} reading;

/* ---- reading, in dl_iterate_phdr: under the loader's lock; takes no memory and no lock ---- */

static void *push(oaki_vec *v, reading *r, size_t n)
{
    size_t at = v->len * v->item;
    v->len += n;
    if (v->len <= v->cap) return (char *)v->items + at;
    r->full = true;
    return NULL;
}

static size_t push_name(const char *name, reading *r)
{
    size_t at = r->to->names.len, n = strlen(name) + 1;
    char *p = push(&r->to->names, r, n);
    if (p) memcpy(p, name, n);
    return at;
}

static bool is_lasting(ElfW(Addr) addr)
{
    const ElfW(Addr) *a = known.lasting.items;
    for (size_t i = 0; i < known.lasting.len; i++)
        if (a[i] == addr) return true;
    return false;
}

static void read_chain(reading *r)
{
    if (!known.debug) return;
    for (const struct link_map *m = known.debug->r_map; m; m = m->l_next) {
        node *n = push(&r->to->chain, r, 1);
        if (n) *n = (node){ m, m->l_addr, m->l_ld, m->l_name, is_lasting(m->l_addr) };
    }
}

static void push_segment(reading *r, const char *lo, const char *hi, size_t name, bool copied)
{
    if (lo >= hi) return;
    size_t size = (size_t)(hi - lo);
    segment *s = push(&r->to->segments, r, 1);
    copied = copied && size <= COPY_MAX;
    if (s) *s = (segment){ lo, hi, name, r->main, copied, r->copies };
    if (copied) r->copies += OAKI_ALIGN_UP(size, 16);
}

/* Memory that is read-only after relocation never holds a reference of the program. */
static void find_relro(const struct dl_phdr_info *info, const char **lo, const char **hi)
{
    *lo = *hi = NULL;
    for (size_t i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *p = &info->dlpi_phdr[i];
        if (p->p_type != PT_GNU_RELRO) continue;
        uintptr_t at = info->dlpi_addr + p->p_vaddr, page = oaki_os_page_size();
        *lo = (const char *)OAKI_ALIGN_DOWN(at, page);
        *hi = (const char *)OAKI_ALIGN_DOWN(at + p->p_memsz, page);
    }
}

static void read_segment(const struct dl_phdr_info *info, const ElfW(Phdr) * p, reading *r,
                         size_t name)
{
    const char *lo = (const char *)(info->dlpi_addr + p->p_vaddr), *hi = lo + p->p_memsz;
    const char *relro_lo, *relro_hi;
    bool copied = known.started && !is_lasting(info->dlpi_addr);
    find_relro(info, &relro_lo, &relro_hi);
    if (relro_lo >= relro_hi || relro_hi <= lo || relro_lo >= hi) {
        push_segment(r, lo, hi, name, copied);
        return;
    }
    push_segment(r, lo, relro_lo, name, copied);
    push_segment(r, relro_hi, hi, name, copied);
}

static void read_module(const struct dl_phdr_info *info, size_t size, reading *r, size_t name)
{
    if (oaki_tlsroots_learn(oaki_thread_pointer(), info->dlpi_tls_data)) return; /* static */
    oaki_tls_module *m = push(&r->to->modules, r, 1);
    if (m) *m = (oaki_tls_module){ info->dlpi_tls_modid, size, name };
}

static bool holds(const struct dl_phdr_info *info, const void *p)
{
    for (size_t i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *h = &info->dlpi_phdr[i];
        if (h->p_type == PT_LOAD && (uintptr_t)p - info->dlpi_addr - h->p_vaddr < h->p_memsz)
            return true;
    }
    return false;
}

/* liboakum.so's own data, and that of its metadata's library: 1 or 2 MB without references to
 * objects. The static library's data lies among its program's. */
static bool is_ours(const struct dl_phdr_info *info)
{
    const void *meta = oaki_meta_library();
    return SHARED && (holds(info, &table) || (meta && holds(info, meta)));
}

/* Does the host's filter let the segment be scanned? */
static bool is_let_in(const struct dl_phdr_info *info, const ElfW(Phdr) * p, const reading *r)
{
    oaki_roots_filter *filter = (oaki_roots_filter *)r->to->filter;
    void *lo = (void *)(info->dlpi_addr + p->p_vaddr);
    bool let = true;
    if (filter) OAKI_CALL_INSIDE(let = filter(info->dlpi_name, lo, p->p_memsz) != 0);
    return let;
}

static int read_object(struct dl_phdr_info *info, size_t size, void *ctx)
{
    reading *r = ctx;
    (void)size;
    r->main = r->first; /* the program comes first */
    if (r->first) {
        r->to->adds = info->dlpi_adds;
        r->to->subs = info->dlpi_subs;
        read_chain(r);
        r->first = false;
    }
    size_t name = push_name(info->dlpi_name && *info->dlpi_name ? info->dlpi_name : "(program)", r);
    bool ours = is_ours(info);
    for (size_t i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *p = &info->dlpi_phdr[i];
        if (p->p_type == PT_LOAD && (p->p_flags & PF_W) && !ours && is_let_in(info, p, r))
            read_segment(info, p, r, name);
        if (p->p_type == PT_TLS && info->dlpi_tls_modid) read_module(info, p->p_memsz, r, name);
    }
    if (!known.started) {
        ElfW(Addr) *a = push(&known.lasting, r, 1);
        if (a) *a = info->dlpi_addr;
    }
    return 0;
}

/* The program's DT_DEBUG, which the loader sets to the address of its list for debuggers. The
 * symbol _r_debug is unsuitable: a program may have a copy of it that is never updated. */
static int find_debug(struct dl_phdr_info *info, size_t size, void *ctx)
{
    (void)size;
    (void)ctx;
    for (size_t i = 0; i < info->dlpi_phnum; i++) {
        if (info->dlpi_phdr[i].p_type != PT_DYNAMIC) continue;
        const ElfW(Dyn) *d = (const ElfW(Dyn) *)(info->dlpi_addr + info->dlpi_phdr[i].p_vaddr);
        for (; d->d_tag != DT_NULL; d++)
            if (d->d_tag == DT_DEBUG) known.debug = (const struct r_debug *)d->d_un.d_ptr;
    }
    return 1; /* the program is the first */
}

/* ---- outside dl_iterate_phdr ---- */

static void init_objects(objects *o)
{
    *o = (objects){ 0 };
    oaki_vec_init(&o->segments, sizeof(segment), OAKI_META_OTHER);
    oaki_vec_init(&o->modules, sizeof(oaki_tls_module), OAKI_META_OTHER);
    oaki_vec_init(&o->chain, sizeof(node), OAKI_META_OTHER);
    oaki_vec_init(&o->names, 1, OAKI_META_OTHER);
}

static void free_objects(objects *o)
{
    oaki_vec *v[] = { &o->segments, &o->modules, &o->chain, &o->names };
    for (size_t i = 0; i < OAKI_COUNT(v); i++) oaki_vec_free(v[i]);
    oaki_meta_free(o->copies, o->copies_size, OAKI_META_OTHER);
}

/* Makes room for the items that a reading counted. Without memory for copies the data is scanned in
 * place. An unload during a mark is less likely than a need for that mark. */
static int reserve(objects *o, size_t copies)
{
    oaki_vec *v[] = { &o->segments, &o->modules, &o->chain, &o->names, &known.lasting };
    for (size_t i = 0; i < OAKI_COUNT(v) - known.started; i++) {
        size_t want = v[i]->len + v[i]->len / 2 + (v[i] == &o->names ? 512 : 16);
        bool fits = v[i]->len <= v[i]->cap;
        v[i]->len = OAKI_MIN(v[i]->len, v[i]->cap); /* the number of items to move */
        if (!fits && oaki_vec_reserve(v[i], want) != 0) return -1;
    }
    if (copies <= o->copies_size) return 0;
    oaki_meta_free(o->copies, o->copies_size, OAKI_META_OTHER);
    o->copies_size = 0;
    o->copies = oaki_meta_alloc(copies, OAKI_META_OTHER);
    if (o->copies) o->copies_size = copies;
    segment *s = o->segments.items;
    for (size_t i = 0; i < o->segments.len && !o->copies; i++) s[i].copied = false;
    return 0;
}

/* Did all of it fit? */
static bool read_once(reading *r)
{
    objects *o = r->to;
    o->segments.len = o->modules.len = o->chain.len = o->names.len = 0;
    o->filter = AO_load_acquire(&known.filter);
    if (!known.started) known.lasting.len = 0;
    dl_iterate_phdr(read_object, r);
    return !r->full;
}

/* With the world running. The thread, if any, counts as stopped while it waits for the loader's
 * lock; its context is saved. */
static int read_objects(oaki_thread *t, objects *to)
{
    for (bool done = false; !done;) {
        reading r = { .to = to, .first = true };
        oaki_loader_begin(t);
        done = read_once(&r);
        oaki_loader_end(t);
        if (reserve(to, r.copies) != 0) return -1;
    }
    return 0;
}

static void install(objects *o)
{
    OAKI_REQUIRES_LOCK_OR_STARTING(&oaki_the_heap.gc_lock);
    OAKI_ASSERT(o->segments.len <= o->segments.cap && o->names.len <= o->names.cap);
    objects old = table;
    table = *o;
    *o = old;
    AO_store(&known.filtered, table.filter);
    AO_store(&known.modules, table.modules.len);
    AO_store(&known.adds, (AO_t)table.adds);
    AO_store(&known.subs, (AO_t)table.subs);
}

/* Reserves as much room as `like` has, except for copies, which are optional. */
static int reserve_as(objects *o, const objects *like)
{
    bool done = oaki_vec_reserve(&o->segments, like->segments.cap) == 0 &&
                oaki_vec_reserve(&o->modules, like->modules.cap) == 0 &&
                oaki_vec_reserve(&o->chain, like->chain.cap) == 0 &&
                oaki_vec_reserve(&o->names, like->names.cap) == 0;
    return done ? 0 : -1;
}

/* A table that a vanished thread was about to change is left alone. */
static void in_child(void)
{
    OAKI_REQUIRES_FORKED();
    if (AO_int_load(&spare_taken)) init_objects(&spare);
    AO_int_store(&spare_taken, 0);
}

int oaki_dlroots_init(void)
{
    OAKI_REQUIRES_STARTING();
    objects fresh;
    known.started = false; /* it may be set, by a start that failed later */
    init_objects(&table);
    init_objects(&fresh);
    oaki_vec_init(&known.lasting, sizeof(ElfW(Addr)), OAKI_META_OTHER);
    oaki_tlsroots_init();
    dl_iterate_phdr(find_debug, NULL);
    if (oaki_roots_exclude(&table, sizeof table) != 0 ||
        oaki_roots_exclude(&spare, sizeof spare) != 0 ||
        oaki_roots_exclude(&known, sizeof known) != 0 || read_objects(NULL, &fresh) != 0)
        return -1;
    node *n = fresh.chain.items;
    for (size_t i = 0; i < fresh.chain.len; i++) n[i].lasting = true;
    known.started = true;
    install(&fresh);
    init_objects(&spare);
    AO_int_store(&spare_taken, 0);
    oaki_fork_register(in_child);
    return reserve_as(&spare, &table);
}

static int unchanged(struct dl_phdr_info *info, size_t size, void *ctx)
{
    (void)size;
    (void)ctx;
    bool same = (AO_t)info->dlpi_adds == AO_load(&known.adds) &&
                (AO_t)info->dlpi_subs == AO_load(&known.subs);
    return same ? 1 : 2;
}

static bool needs_reading(oaki_thread *t)
{
    if (AO_int_load(&known.stale)) return true;
    if (AO_load(&known.filter) != AO_load(&known.filtered)) return true;
    if (known.debug && AO_load(&known.modules) == 0) return false;
    oaki_loader_begin(t);
    bool same = dl_iterate_phdr(unchanged, NULL) == 1;
    oaki_loader_end(t);
    return !same;
}

/* A thread that was stopped inside dlopen or dlclose must get out of it; each attempt leaves it
 * more time. */
static void wait_for_loader(oaki_thread *t)
{
    unsigned tries = AO_int_load(&known.stale);
    if (tries == 0) return;
    oaki_stop_block(t);
    oaki_os_sleep_ns(tries > 5 ? PAUSE_MOST_NS : OAKI_MIN(PAUSE_NS << (tries - 1), PAUSE_MOST_NS));
    oaki_stop_unblock(t);
}

/* The stop reports a change of the chain, so the loader is not called for a program that loads
 * nothing. The loader's counts are compared where there is no chain, or where there are dynamic TLS
 * modules, whose numbers the chain doesn't show. Another thread may have read later, and finished
 * first: the newer table stays. */
OAKI_NOINLINE bool oaki_roots_refresh(oaki_thread *t)
{
    OAKI_REQUIRES_INSIDE();
    OAKI_REQUIRES_STOPPABLE();
    objects own, *fresh;
    bool mine, done;
    oaki_thread_save_context(t);
    if (!needs_reading(t)) return true;
    wait_for_loader(t);
    init_objects(&own);
    for (;;) { /* the spare table has room, as a rule */
        mine = AO_int_compare_and_swap_acquire(&spare_taken, 0, 1);
        fresh = mine ? &spare : &own;
        done = read_objects(t, fresh) == 0;
        if (done || mine) break;
        oaki_stop_block(t);
        oaki_os_sleep_ns(PAUSE_NS);
        oaki_stop_unblock(t);
    }
    oaki_lock_acquire_parked(t, &oaki_the_heap.gc_lock);
    if (done && fresh->adds + fresh->subs >= table.adds + table.subs) install(fresh);
    oaki_lock_release(&oaki_the_heap.gc_lock);
    if (mine) AO_int_store_release(&spare_taken, 0);
    free_objects(&own);
    return done;
}

/* ---- in the stop ---- */

static OAKI_NO_ASAN bool chain_unchanged(bool may_grow)
{
    const node *n = table.chain.items;
    const struct link_map *m = known.debug->r_map;
    for (size_t i = 0; i < table.chain.len; i++, m = m->l_next)
        if (m != n[i].map || (!n[i].lasting && !oaki_probe(m)) || m->l_addr != n[i].addr ||
            m->l_ld != n[i].dynamic || m->l_name != n[i].name)
            return false;
    return may_grow || m == NULL;
}

static bool vectors_sane(void)
{
    if (table.modules.len == 0 || known.tls_retries >= TLS_RETRIES) return true;
    for (const oaki_thread *t = oaki_the_heap.threads; t; t = t->next)
        if (!oaki_tlsroots_sane(t->tp)) return false;
    return true;
}

bool oaki_roots_consistent(void)
{
    OAKI_REQUIRES_STOPPED();
    if (known.debug) {
        unsigned state = AO_int_load((const unsigned *)&known.debug->r_state);
        /* an object being added has run no code yet, and holds no references */
        if (state == RT_DELETE || !chain_unchanged(state == RT_ADD)) {
            AO_int_fetch_and_add1(&known.stale);
            return false;
        }
    }
    if (!vectors_sane()) {
        known.tls_retries++;
        AO_int_fetch_and_add1(&known.stale);
        return false;
    }
    known.tls_retries = 0;
    AO_int_store(&known.stale, 0);
    return true;
}

void oaki_roots_set_filter(oaki_roots_filter *fn)
{
    AO_store_release(&known.filter, (AO_t)fn);
}

void oaki_roots_objects(unsigned which)
{
    AO_int_store(&known.unwanted, ~which & OAKI_OBJECTS_ALL);
}

static bool is_wanted(const segment *s)
{
    unsigned whose = s->main ? OAKI_OBJECTS_MAIN : OAKI_OBJECTS_LIBRARIES;
    return !(AO_int_load(&known.unwanted) & whose);
}

void oaki_dlroots_visit(const oaki_root_visitor *v)
{
    OAKI_REQUIRES_STOPPED();
    const segment *s = table.segments.items;
    for (size_t i = 0; i < table.segments.len; i++) {
        if (!is_wanted(&s[i])) continue;
        oaki_root root = { .kind = OAKI_ROOT_DATA,
                           .lo = s[i].lo,
                           .hi = s[i].hi,
                           .name = oaki_dlroots_name(s[i].name) };
        if (s[i].copied && !oaki_roots_excluded(s[i].lo, s[i].hi)) {
            /* keeps the words of the copy aligned as the originals are */
            const char *lo = (const char *)OAKI_ALIGN_UP((uintptr_t)s[i].lo, 8);
            char *copy = table.copies + s[i].copy;
            OAKI_ASSERT(s[i].copy + (size_t)(s[i].hi - s[i].lo) <= table.copies_size);
            size_t n = lo < s[i].hi ? oaki_probe_copy(copy, lo, (size_t)(s[i].hi - lo)) : 0;
            if (n != SIZE_MAX) {
                root.lo = copy;
                root.hi = copy + n;
                root.shift = lo - copy;
            }
        }
        oaki_root_emit_cut(v, root);
    }
}

bool oaki_roots_in_object(const void *p)
{
    OAKI_REQUIRES_LOCK_OR_STOPPED(&oaki_the_heap.gc_lock);
    const segment *s = table.segments.items;
    for (size_t i = 0; i < table.segments.len; i++)
        if ((const char *)p >= s[i].lo && (const char *)p < s[i].hi) return is_wanted(&s[i]);
    return false;
}

const oaki_tls_module *oaki_dlroots_tls(size_t *n)
{
    *n = table.modules.len;
    return table.modules.items;
}

const char *oaki_dlroots_name(size_t offset)
{
    OAKI_ASSERT(offset < table.names.len);
    return (const char *)table.names.items + offset;
}
