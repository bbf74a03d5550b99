/* unwind_find.c - finds a pc's object, and its entry in the tables (unwind_find.h).
 *
 * The loader's own look-up, _dl_find_object (glibc 2.35), takes no lock and may be called in a
 * signal handler. Without it, a table is made from dl_iterate_phdr, at the start and after
 * collections. Objects loaded since then are missing in it.
 *
 * A static program has no .eh_frame_hdr, as gcc asks the linker for one only in dynamic programs.
 * Its .eh_frame is found in the file instead, and has no search table.
 *
 * Owns: struct table; struct program, written at the start. Lock: none for readers. The table has
 * one writer at a time, which holds `writing`. It increments `seq` to an odd number, writes, and
 * increments it again. A reader that sees seq change has found nothing.
 * Bound: O(log objects), O(log entries); O(entries) without a search table. */
#include "unwind_find.h"

#include "elfsym.h"
#include "gc/event.h"
#include "runtime/heap.h"
#include "runtime/meta.h"
#include "unwind_cfi.h"
#include <dlfcn.h>
#include <errno.h>
#include <link.h>

#define OBJECTS 1024
#define ENTRIES_MOST 200000 /* most entries read one by one */
#define SEARCHED 0x3b       /* the table's encoding: four signed bytes, relative to the header */

typedef struct place {
    uintptr_t lo, hi, header;
} place;

static struct {
    place *item; /* sorted */
    AO_t n;
    AO_t seq;
    unsigned int writing; /* AO_int */
    unsigned long long adds, subs;
    bool by_loader;
} table;

static struct {
    uintptr_t lo, hi;      /* the whole program: the loader reports only a static program's code */
    uintptr_t frames, end; /* its .eh_frame, if it has no header; else 0 */
} program;

/* ---- the loader's look-up ---- */

#ifdef DLFO_STRUCT_HAS_EH_DBASE
#pragma weak _dl_find_object

static bool loader_finds(void)
{
    return _dl_find_object != NULL;
}

static bool ask_loader(uintptr_t pc, oaki_unwind_object *out)
{
    struct dl_find_object found;
    if (_dl_find_object((void *)pc, &found) != 0) return false;
    out->lo = (uintptr_t)found.dlfo_map_start;
    out->hi = (uintptr_t)found.dlfo_map_end;
    out->header = (uintptr_t)found.dlfo_eh_frame;
    out->identity = (uint64_t)(uintptr_t)found.dlfo_link_map;
    return true;
}
#else
static bool loader_finds(void)
{
    return false;
}

static bool ask_loader(uintptr_t pc, oaki_unwind_object *out)
{
    (void)pc;
    (void)out;
    return false;
}
#endif

/* ---- our own table ---- */

static void insert(place p)
{
    size_t i = table.n;
    if (p.lo >= p.hi || i == OBJECTS) return;
    for (; i > 0 && table.item[i - 1].lo > p.lo; i--) table.item[i] = table.item[i - 1];
    table.item[i] = p;
    table.n++;
}

static place place_of(const struct dl_phdr_info *info)
{
    place p = { UINTPTR_MAX, 0, 0 };
    for (size_t i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *h = &info->dlpi_phdr[i];
        uintptr_t lo = info->dlpi_addr + h->p_vaddr;
        if (h->p_type == PT_GNU_EH_FRAME) p.header = lo;
        if (h->p_type != PT_LOAD) continue;
        p.lo = OAKI_MIN(p.lo, lo);
        p.hi = OAKI_MAX(p.hi, lo + h->p_memsz);
    }
    return p;
}

/* The first object brings the loader's counts. */
static int read_object(struct dl_phdr_info *info, size_t size, void *first)
{
    (void)size;
    if (*(bool *)first) {
        if (table.item && table.adds == info->dlpi_adds && table.subs == info->dlpi_subs &&
            table.n > 0)
            return 1;
        table.adds = info->dlpi_adds;
        table.subs = info->dlpi_subs;
        table.n = 0;
        *(bool *)first = false;
        AO_fetch_and_add1_full(&table.seq);
    }
    insert(place_of(info));
    return 0;
}

/* Not on the sampling path, as this waits for the loader's lock. */
static void refresh(void)
{
    bool first = true;
    if (!AO_int_compare_and_swap_full(&table.writing, 0, 1)) return; /* another thread does it */
    (void)oaki_loader_each(read_object, &first);
    if (!first) AO_fetch_and_add1_full(&table.seq);
    AO_int_store_release(&table.writing, 0);
}

static bool look_up(uintptr_t pc, oaki_unwind_object *out)
{
    AO_t seq = AO_load_acquire(&table.seq);
    size_t lo = 0, hi = OAKI_MIN(AO_load(&table.n), (AO_t)OBJECTS);
    if ((seq & 1) || !table.item) return false;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (table.item[mid].lo <= pc)
            lo = mid + 1;
        else
            hi = mid;
    }
    if (lo == 0) return false;
    place p = table.item[lo - 1];
    AO_nop_full();
    if (AO_load(&table.seq) != seq || pc >= p.hi) return false;
    *out = (oaki_unwind_object){ p.lo, p.hi, p.header, seq };
    return true;
}

/* ---- both ---- */

bool oaki_unwind_find_object(uintptr_t pc, oaki_unwind_object *out)
{
    if (!(table.by_loader ? ask_loader(pc, out) : look_up(pc, out))) return false;
    if (pc >= program.lo && pc < program.hi) {
        out->lo = program.lo;
        out->hi = program.hi;
    }
    uint64_t h = (out->identity ^ out->lo) * 0xbf58476d1ce4e5b9u;
    h = (h ^ out->hi) * 0x94d049bb133111ebu;
    h = (h ^ out->header) * 0x9e3779b97f4a7c15u;
    out->identity = h;
    return true;
}

static void after_cycle(const oaki_cycle *c, void *unused)
{
    (void)c;
    (void)unused;
    if (!table.by_loader) refresh();
}

/* In a child: the thread that was writing doesn't exist. */
static void after_fork(void)
{
    if (!AO_int_load(&table.writing)) return;
    table.n = 0;
    AO_store(&table.seq, (AO_load(&table.seq) | 1) + 1);
    AO_int_store(&table.writing, 0);
}

static int make_table(void)
{
    oaki_thread *t = oaki_enter();
    if (!t) return -1;
    place *item = oaki_meta_alloc(OBJECTS * sizeof *item, OAKI_META_BUCKHASH);
    oaki_leave(t);
    if (!item) {
        errno = ENOMEM;
        return -1;
    }
    table.item = item;
    oaki_fork_register(after_fork);
    return oaki_gc_on_cycle(after_cycle, NULL);
}

/* Reads the first object only, which is the program. */
static int look_at_program(struct dl_phdr_info *info, size_t size, void *base)
{
    place p = place_of(info);
    (void)size;
    program.lo = p.lo;
    program.hi = p.hi;
    *(uintptr_t *)base = info->dlpi_addr;
    return p.header ? 2 : 1;
}

static void look_for_frames(uintptr_t base)
{
    oaki_elf e;
    uintptr_t at;
    size_t size;
    if (oaki_elf_open(&e, "/proc/self/exe") != 0) return;
    if (oaki_elf_section(&e, ".eh_frame", &at, &size) && base + at >= program.lo &&
        base + at < program.hi && size <= program.hi - (base + at)) {
        program.end = base + at + size;
        program.frames = base + at;
    }
    oaki_elf_close(&e);
}

static void find_program(void)
{
    uintptr_t base = 0;
    if (program.hi) return;
    if (oaki_loader_each(look_at_program, &base) == 1) look_for_frames(base);
}

int oaki_unwind_find_init(bool by_loader)
{
    find_program();
    table.by_loader = by_loader && loader_finds();
    if (table.by_loader) return 0;
    if (!table.item && make_table() != 0) return -1;
    refresh();
    return 0;
}

/* ---- entries ---- */

/* Searches n pairs of four bytes at `at`. Returns the address from the second half of the last pair
 * whose first half is not above pc. */
static uintptr_t search(uintptr_t at, size_t n, uintptr_t header, uintptr_t pc, oaki_window *w)
{
    size_t lo = 0, hi = n;
    int32_t pair;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (!oaki_window_read(w, at + mid * 8, &pair, 4)) return 0;
        if (header + (uintptr_t)(intptr_t)pair <= pc)
            lo = mid + 1;
        else
            hi = mid;
    }
    if (lo == 0 || !oaki_window_read(w, at + (lo - 1) * 8 + 4, &pair, 4)) return 0;
    return header + (uintptr_t)(intptr_t)pair;
}

static uintptr_t look_at_each(uintptr_t at, uintptr_t end, uintptr_t pc, oaki_window *w)
{
    oaki_cfi cfi;
    for (int i = 0; i < ENTRIES_MOST && at < end; i++) {
        uintptr_t next = oaki_cfi_next(at, end, w);
        if (next == 0) return 0;
        if (oaki_cfi_read(at, end, w, &cfi) && pc >= cfi.start && pc - cfi.start < cfi.size)
            return at;
        at = next;
    }
    return 0;
}

uintptr_t oaki_unwind_find_entry(const oaki_unwind_object *o, uintptr_t pc, oaki_window *w)
{
    if (!o->header && program.frames && o->lo == program.lo)
        return look_at_each(program.frames, program.end, pc, w);
    oaki_cursor c = { w, o->header, o->hi, false };
    if (o->header < o->lo || o->header >= o->hi || oaki_cursor_bytes(&c, 1) != 1) return 0;
    unsigned pointer = (unsigned)oaki_cursor_bytes(&c, 1);
    unsigned count = (unsigned)oaki_cursor_bytes(&c, 1);
    unsigned pairs = (unsigned)oaki_cursor_bytes(&c, 1);
    uintptr_t frames = oaki_cursor_pointer(&c, pointer, o->header);
    size_t n = oaki_cursor_pointer(&c, count, o->header);
    if (c.bad) return 0;
    if (pairs == SEARCHED && count != OAKI_PE_OMIT && n <= (o->hi - c.at) / 8)
        return search(c.at, n, o->header, pc, w);
    return frames >= o->lo && frames < o->hi ? look_at_each(frames, o->hi, pc, w) : 0;
}
