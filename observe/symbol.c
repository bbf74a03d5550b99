/* symbol.c - finds names, and caches them (symbol.h).
 *
 * Owns: struct self: strings, each once, and a table from code addresses to frames. Neither
 * shrinks: both are bounded by the code that allocates. Lock: `lock`, a mutex of the host's
 * library. A thread that holds it waits for nothing of Oakum's except the end of a fork.
 * Invariant: a cached result is true of the object loaded at the address, or of the last one that
 * was. The loader's counts of loads and unloads say when to check.
 * Bound: O(1) for a cached address. For a new one, libdw's time, or O(symbols). After an unload,
 * O(loaded objects) more, once for each address. */
#include "symbol.h"
#include "cancel.h"
#include "dwarf.h"
#include "elfsym.h"
#include "frames.h"
#include "object.h"
#include "runtime/print.h"
#include "runtime/thread.h"
#include "runtime/xxh.h"
#include <dlfcn.h>
#include <link.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

typedef struct text {
    struct text *next;
    uint64_t hash;
    char s[];
} text;

/* The loader's counts of loads and unloads. */
typedef struct loads {
    unsigned long long adds, subs;
} loads;

typedef struct entry {
    struct entry *next;
    uintptr_t pc;
    loads seen;  /* the counts when the entry was last known to be true */
    bool placed; /* an object was loaded there at that time */
    bool poor;   /* libdw was not asked, for lack of stack, or of a process to ask it in */
    uintptr_t base; /* what was added to that object's addresses */
    size_t n;
    oak_frame frame[];
} entry;

enum { BUCKETS = 512 };

static struct {
    pthread_mutex_t loading; /* taken before the lock, and without it */
    pthread_mutex_t lock;
    text *texts[BUCKETS];
    entry *entries[BUCKETS];
    loads loads;
} self = { .loading = PTHREAD_MUTEX_INITIALIZER, .lock = PTHREAD_MUTEX_INITIALIZER };

/* In a child: the holder of the locks doesn't exist, and its data is whole. */
static void in_child(void)
{
    pthread_mutex_init(&self.loading, NULL);
    pthread_mutex_init(&self.lock, NULL);
}

static void load(void)
{
    if (oaki_dwarf_is_tried()) return;
    oaki_fork_register(in_child);
    pthread_mutex_lock(&self.loading);
    oaki_dwarf_load();
    pthread_mutex_unlock(&self.loading);
}

static int read_loads(struct dl_phdr_info *info, size_t size, void *ctx)
{
    (void)size;
    *(loads *)ctx = (loads){ info->dlpi_adds, info->dlpi_subs };
    return 1;
}

/* After an unload, closes libdw's data, as another object may be in the old one's place. */
static void look_at_loader(void)
{
    loads before = self.loads;
    (void)dl_iterate_phdr(read_loads, &self.loads);
    if (self.loads.subs != before.subs) oaki_dwarf_close();
    if (self.loads.adds != before.adds) oaki_dwarf_note_load();
}

/* Holds off forks, as in the child the loader's list would stay locked by this thread. Some calls
 * take the loader's other lock: loading libdw, and dlsym. They stay outside, as a library's
 * constructor may fork with that lock held. */
static void lock(void)
{
    load();
    pthread_mutex_lock(&self.lock);
    oaki_fork_hold();
    look_at_loader();
}

static void unlock(void)
{
    oaki_fork_release();
    pthread_mutex_unlock(&self.lock);
}

/* ---- strings ---- */

/* The length without the suffixes of a compiler's copies and parts of a function. */
static size_t plain_length(const char *s)
{
    static const char *const suffix[] = { ".constprop.", ".part.", ".isra.", ".cold",
                                          ".lto_priv." };
    size_t n = strlen(s);
    for (size_t i = 0; i < OAKI_COUNT(suffix); i++) {
        const char *at = strstr(s, suffix[i]);
        if (at && at > s) n = OAKI_MIN(n, (size_t)(at - s));
    }
    return n;
}

/* Stores a string once. NULL without memory, and for NULL. */
static const char *keep(const char *s, size_t n)
{
    if (!s) return NULL;
    uint64_t hash = XXH3_64bits(s, n);
    text **head = &self.texts[hash % BUCKETS], *t = *head;
    for (; t; t = t->next)
        if (t->hash == hash && strncmp(t->s, s, n) == 0 && t->s[n] == '\0') return t->s;
    t = malloc(sizeof *t + n + 1);
    if (!t) return NULL;
    t->hash = hash;
    memcpy(t->s, s, n);
    t->s[n] = '\0';
    t->next = *head;
    *head = t;
    return t->s;
}

static const char *keep_all(const char *s)
{
    return s ? keep(s, strlen(s)) : NULL;
}

/* ---- sources of names ---- */

static void name_by_elf(const oaki_object *o, uintptr_t pc, oak_frame *f)
{
    oaki_elf e;
    uintptr_t start;
    size_t size;
    if (oaki_elf_open(&e, o->path) != 0) return;
    const char *name = oaki_elf_symbol(&e, pc - o->base, OAKI_ELF_FUNCTION, &start, &size);
    if (name) f->function = keep(name, plain_length(name));
    oaki_elf_close(&e);
}

static const char *name_by_loader(uintptr_t pc)
{
    Dl_info info;
    return dladdr((void *)pc, &info) != 0 ? info.dli_sname : NULL;
}

static size_t look_up(uintptr_t pc, oak_frame *out, uintptr_t *base)
{
    oaki_objects objects;
    const oaki_object *o = NULL;
    memset(out, 0, OAKI_SYMBOL_INLINED * sizeof *out);
    bool listed = oaki_objects_read(&objects) == 0;
    if (listed) o = oaki_objects_find(&objects, pc, NULL);
    *base = o ? o->base : 0;
    size_t n = o ? oaki_dwarf_code(pc, out) : 0;
    n = OAKI_MAX(n, 1);
    for (size_t i = 0; i < n; i++) {
        const char *name = out[i].function;
        out[i].function = name ? keep(name, plain_length(name)) : NULL;
        out[i].file = keep_all(out[i].file);
        out[i].object = o ? keep_all(o->path) : NULL;
        out[i].address = pc;
    }
    if (!out[n - 1].function && o) name_by_elf(o, pc, &out[n - 1]);
    if (listed) oaki_objects_free(&objects);
    return n;
}

/* ---- code ---- */

static entry **place_of(uintptr_t pc)
{
    entry **at = &self.entries[(pc ^ pc >> 12) % BUCKETS];
    while (*at && (*at)->pc != pc) at = &(*at)->next;
    return at;
}

static bool is_loaded(uintptr_t pc)
{
    oaki_objects objects;
    if (oaki_objects_read(&objects) != 0) return false;
    bool found = oaki_objects_find(&objects, pc, NULL) != NULL;
    oaki_objects_free(&objects);
    return found;
}

/* True while no object was unloaded, and for an address without an object, none loaded either. */
static bool is_up_to_date(const entry *e)
{
    return e->seen.subs == self.loads.subs && (e->placed || e->seen.adds == self.loads.adds);
}

/* The cached entry, unless another object may be there by now, or libdw is wanted and can be asked
 * now. If no object is there, the entry stays valid. */
static const entry *find(uintptr_t pc, bool lines)
{
    entry **at = place_of(pc), *e = *at;
    bool richer = lines && e && e->poor && oaki_dwarf_here() == OAKI_DWARF_READY;
    if (!e || (is_up_to_date(e) && !richer)) return e;
    if (!is_loaded(pc)) {
        e->seen = self.loads;
        e->placed = e->poor = false;
        return e;
    }
    *at = e->next;
    free(e);
    return NULL;
}

static void remember(uintptr_t pc, uintptr_t base, const oak_frame *frame, size_t n)
{
    entry *e = malloc(sizeof *e + n * sizeof *frame), **at;
    if (!e) return;
    at = place_of(pc);
    *e = (entry){ .next = *at,
                  .pc = pc,
                  .seen = self.loads,
                  .placed = frame[0].object != NULL,
                  .poor = oaki_dwarf_here() == OAKI_DWARF_NO_STACK || oaki_dwarf_is_refused(),
                  .base = base,
                  .n = n };
    memcpy(e->frame, frame, n * sizeof *frame);
    *at = e;
}

size_t oaki_symbol_of_code(uintptr_t pc, oak_frame out[OAKI_SYMBOL_INLINED])
{
    OAKI_NO_CANCEL;
    if (oaki_frames_is(pc)) {
        out[0] = oaki_frames_name(pc);
        return 1;
    }
    if (oaki_symbol_is_gone(pc)) {
        out[0] = (oak_frame){ .address = oaki_symbol_address(pc) };
        return 1;
    }
    lock();
    const entry *e = find(pc, true);
    uintptr_t base = 0;
    size_t n = e ? e->n : look_up(pc, out, &base);
    if (e) {
        memcpy(out, e->frame, n * sizeof *out);
    } else {
        if (!out[n - 1].function) {
            oaki_fork_release();
            const char *name = name_by_loader(pc);
            oaki_fork_hold();
            if (name) out[n - 1].function = keep(name, plain_length(name));
        }
        remember(pc, base, out, n);
    }
    unlock();
    return n;
}

const char *oaki_symbol_of_frame(const oak_frame *f, char *buf, size_t n)
{
    OAKI_NO_CANCEL;
    if (f->function) return f->function;
    lock();
    const entry *e = f->object ? find(f->address, false) : NULL;
    uintptr_t base = e ? e->base : 0;
    unlock();
    const char *slash = e ? strrchr(f->object, '/') : NULL;
    if (e) oaki_format(buf, n, "%s+%p", slash ? slash + 1 : f->object, (void *)(f->address - base));
    else oaki_format(buf, n, "%p", (void *)f->address);
    return buf;
}

/* ---- data ---- */

static const char *data_by_elf(const oaki_object *o, uintptr_t addr, oaki_symbol *out)
{
    oaki_elf e;
    uintptr_t start = 0;
    if (oaki_elf_open(&e, o->path) != 0) return NULL;
    const char *name = keep_all(
        oaki_elf_symbol(&e, addr - o->base, OAKI_ELF_DATA, &start, &out->size));
    if (name) out->offset = addr - o->base - start;
    oaki_elf_close(&e);
    return name;
}

bool oaki_symbol_of_data(uintptr_t addr, oaki_symbol *out)
{
    OAKI_NO_CANCEL;
    oaki_objects objects;
    *out = (oaki_symbol){ .name = NULL };
    lock();
    const oaki_object *o = NULL;
    if (oaki_objects_read(&objects) == 0) o = oaki_objects_find(&objects, addr, NULL);
    if (o) {
        out->object = keep_all(o->path);
        out->name = keep_all(oaki_dwarf_data(addr, &out->offset, &out->size));
        if (!out->name) out->name = data_by_elf(o, addr, out);
        if (!out->name) out->offset = addr - o->base;
    }
    oaki_objects_free(&objects);
    unlock();
    return out->name != NULL;
}

void oaki_symbols_end(void)
{
    if (oaki_dwarf_is_open()) oaki_symbols_release(); /* else it would load libdw */
    for (size_t i = 0; i < BUCKETS; i++) {
        for (text *t; (t = self.texts[i]) != NULL; free(t)) self.texts[i] = t->next;
        for (entry *e; (e = self.entries[i]) != NULL; free(e)) self.entries[i] = e->next;
    }
}

void oaki_symbols_release(void)
{
    OAKI_NO_CANCEL;
    lock();
    oaki_dwarf_close();
    unlock();
}
