/* dwarf.c - functions, lines and inlined calls by libdw (dwarf.h).
 *
 * An address lies in a chain of scopes: inlined calls, the innermost first, up to the function that
 * contains the code. The line table gives the line of the innermost scope. Each inlined call gives
 * the line in the next scope from which it is made.
 *
 * Owns: struct self. Lock: symbol.c's. libdw is one of foreign.h's libraries. */
#include "dwarf.h"
#include "debugfile.h"
#include "foreign.h"
#include "mapped.h"
#include "runtime/fiber.h"
#include "runtime/os.h"
#include "runtime/ownstack.h"
#include "runtime/print.h"
#include "runtime/roomy.h"
#include "shield.h"
#include <dwarf.h>
#include <elfutils/libdw.h>
#include <elfutils/libdwfl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The functions of libdw that are used here. */
#define FUNCTIONS(X)                                                                           \
    X(dwfl_begin) X(dwfl_end) X(dwfl_report_begin) X(dwfl_report_module) X(dwfl_report_end)    \
    X(dwfl_linux_proc_find_elf) X(dwfl_module_build_id)                                        \
    X(dwfl_build_id_find_debuginfo) X(dwfl_addrmodule) X(dwfl_module_addrinfo)                 \
    X(dwfl_module_getsrc) X(dwfl_lineinfo) X(dwfl_module_addrdie) X(dwfl_module_nextcu)        \
    X(dwarf_haspc) X(dwarf_getsrc_die) X(dwarf_linesrc) X(dwarf_lineno) X(dwarf_getscopes)     \
    X(dwarf_getscopes_die) X(dwarf_tag) X(dwarf_diename) X(dwarf_attr_integrate)               \
    X(dwarf_attr) X(dwarf_formstring) X(dwarf_formudata) X(dwarf_getsrcfiles) X(dwarf_filesrc)

static struct {
    AO_t tried; /* set when the rest is */
    void *library;
    Dwfl *dwfl;
    bool given_up; /* libdw was left in the middle of a call (oaki_foreign_try_shielded) */
    bool refused; /* the last question was */
    bool grown;   /* objects were loaded since the last opening */
    unsigned failures, refusals; /* to open; of questions; one after the other */
    uint64_t retry_ns; /* after TRIES refusals, none is asked before that time */
    char *debug_path;
    char vdso[32]; /* libdw's name for it, by this process: it is read from memory, later */
    Dwfl_Callbacks callbacks;
#define POINTER(fn) __typeof__(&fn) fn;
    struct {
        FUNCTIONS(POINTER)
    } dw;
#undef POINTER
} self;

/* ---- opening ---- */

/* libdw reads a table of lines into arrays on the stack: 150 KiB in 0.188. */
#define STACK_NEEDED ((ptrdiff_t)200 << 10)

#define TRIES 8 /* a lack of memory, processes or descriptors may be over by the next */
#define REST_NS UINT64_C(1000000000)

/* Also false if the bounds of the stack are unknown. */
static bool stack_suffices(void)
{
    const char *sp = __builtin_frame_address(0);
    const oaki_thread *t = oaki_thread_self();
    const oak_fiber *f = t ? t->fiber : NULL;
    if (f && sp >= f->lo && sp < f->hi) return sp - f->lo >= STACK_NEEDED;
    if (oaki_roomy_left(sp) >= (size_t)STACK_NEEDED) return true;
    char *lo, *hi;
    oaki_ownstack(oaki_os_tid(), &lo, &hi);
    return lo && sp >= lo && sp < hi && sp - lo >= STACK_NEEDED;
}

static void *load(void)
{
    char why[OAKI_FOREIGN_WHY];
    void *lib = oaki_foreign_load("libdw.so.1", why);
    if (!lib) return NULL;
#define FIND(fn) \
    if (!(*(void **)&self.dw.fn = oaki_foreign_find(lib, #fn))) return NULL;
    FUNCTIONS(FIND)
#undef FIND
    return lib;
}

/* The loader needs stack, too. A later call, by another thread, may have enough. */
void oaki_dwarf_load(void)
{
    if (oaki_dwarf_is_tried() || !stack_suffices()) return;
    self.library = load();
    AO_store_release(&self.tried, 1);
}

bool oaki_dwarf_is_tried(void)
{
    return AO_load_acquire(&self.tried);
}

oaki_dwarf_state oaki_dwarf_here(void)
{
    bool tried = oaki_dwarf_is_tried();
    if (self.given_up || self.failures == TRIES || (tried && !self.library)) return OAKI_DWARF_NONE;
    if (self.refusals >= TRIES && oaki_os_now_ns() < self.retry_ns) return OAKI_DWARF_REFUSED;
    return tried && stack_suffices() ? OAKI_DWARF_READY : OAKI_DWARF_NO_STACK;
}

static void note_refusal(bool refused)
{
    self.refused = refused;
    self.refusals = refused ? self.refusals + 1 : 0;
    if (refused) self.retry_ns = oaki_os_now_ns() + REST_NS;
}

/* Calls fn, which calls libdw. false: it was refused; or libdw's open objects are lost, and nothing
 * is opened again. */
static bool attempt(void (*fn)(void *ctx), void *ctx)
{
    oaki_foreign_result how = oaki_foreign_try_shielded(fn, ctx);
    note_refusal(how == OAKI_FOREIGN_REFUSED);
    if (how == OAKI_FOREIGN_OVER) return true;
    if (how == OAKI_FOREIGN_LEFT) {
        self.given_up = true;
        self.dwfl = NULL;
    }
    return false;
}

bool oaki_dwarf_is_refused(void)
{
    return self.refused;
}

static void close_it(void *unused)
{
    (void)unused;
    if (self.dwfl) self.dw.dwfl_end(self.dwfl);
    self.dwfl = NULL;
}

/* Finds the debugging file by the build id, or by the object's .gnu_debuglink. libdw's standard
 * callback would go on to servers on the network. For that it loads a library, and with it OpenSSL,
 * even if no server is configured. */
static int find_debug_file(Dwfl_Module *m, void **user, const char *name, Dwarf_Addr base,
                           const char *file, const char *link, GElf_Word crc, char **found)
{
    char path[OAKI_DEBUGFILE_PATH];
    GElf_Addr at;
    int fd = self.dw.dwfl_build_id_find_debuginfo(m, user, name, base, file, link, crc, found);
    if (fd >= 0 || !file || !link) return fd;
    oaki_debugfile d = { .object = file, .link = link, .crc = crc };
    int n = self.dw.dwfl_module_build_id(m, &d.id, &at);
    d.id_len = n > 0 ? (size_t)n : 0;
    fd = oaki_debugfile_open(&d, path);
    if (fd >= 0) *found = oaki_foreign_copy(path);
    return fd;
}

/* Reports the mapped objects to libdw. libdw's own reading of the mappings takes two copies of a
 * library for one, if only anonymous memory lies between them. */
static bool report(const oaki_mappings *m)
{
    self.dw.dwfl_report_begin(self.dwfl);
    for (size_t i = 0; i < m->n; i++) {
        const oaki_mapped *f = &m->item[i];
        const char *name = *f->name == '/' ? f->name : self.vdso;
        if (!self.dw.dwfl_report_module(self.dwfl, name, f->lo, f->hi)) return false;
    }
    return self.dw.dwfl_report_end(self.dwfl, NULL, NULL) == 0;
}

static void open_it(void *mappings)
{
    self.callbacks.find_elf = self.dw.dwfl_linux_proc_find_elf;
    self.callbacks.debuginfo_path = &self.debug_path;
    self.callbacks.find_debuginfo = find_debug_file;
    self.dwfl = self.dw.dwfl_begin(&self.callbacks);
    if (self.dwfl && !report(mappings)) close_it(NULL);
}

/* Opens the objects that are loaded now. */
static bool open_loaded(void)
{
    oaki_mappings m;
    if (self.given_up) return false;
    if (oaki_mappings_read(&m) != 0) {
        note_refusal(true);
        return false;
    }
    oaki_dwarf_close();
    oaki_format(self.vdso, sizeof self.vdso, "[vdso: %d]", oaki_os_pid());
    bool asked = attempt(open_it, &m);
    oaki_mappings_free(&m);
    if (asked) self.failures = self.dwfl ? 0 : self.failures + 1;
    self.grown = self.grown && !self.dwfl;
    return self.dwfl != NULL;
}

bool oaki_dwarf_is_open(void)
{
    return self.dwfl != NULL;
}

void oaki_dwarf_close(void)
{
    if (self.dwfl && !attempt(close_it, NULL)) self.dwfl = NULL; /* its memory is lost */
    oaki_shield_rest();
}

void oaki_dwarf_note_load(void)
{
    self.grown = true;
}

/* Not on the stack of the caller (oaki_foreign_try_shielded). */
static struct query {
    uintptr_t addr;
    oak_frame out[OAKI_SYMBOL_INLINED];
    const char *name;
    size_t n, offset;
    bool covered;
} query;

static bool ask_opened(void (*fn)(void *q), uintptr_t addr)
{
    query = (struct query){ .addr = addr };
    return self.dwfl && attempt(fn, &query) && query.covered;
}

/* The object may have been loaded after others were opened. false: nothing is known. */
static bool ask(void (*fn)(void *q), uintptr_t addr)
{
    oaki_dwarf_state state = oaki_dwarf_here();
    self.refused = state == OAKI_DWARF_REFUSED;
    if (state != OAKI_DWARF_READY) return false;
    if (ask_opened(fn, addr)) return true;
    if (self.refused || (self.dwfl && !self.grown)) return false;
    return open_loaded() && ask_opened(fn, addr);
}

/* ---- code ---- */

static const char *attribute_string(Dwarf_Die *die, unsigned name)
{
    Dwarf_Attribute a;
    if (!self.dw.dwarf_attr_integrate(die, name, &a)) return NULL;
    return self.dw.dwarf_formstring(&a);
}

static const char *name_of(Dwarf_Die *die)
{
    const char *linkage = attribute_string(die, DW_AT_linkage_name);
    return linkage ? linkage : attribute_string(die, DW_AT_name);
}

/* Sets file and line of `frame`, the next one, from which the inlined call is made. */
static void read_call(Dwarf_Die *call, Dwarf_Die *unit, oak_frame *frame)
{
    Dwarf_Attribute a;
    Dwarf_Word line = 0, file = 0;
    Dwarf_Files *files;
    size_t n;
    if (self.dw.dwarf_attr(call, DW_AT_call_line, &a)) (void)self.dw.dwarf_formudata(&a, &line);
    if (self.dw.dwarf_attr(call, DW_AT_call_file, &a)) (void)self.dw.dwarf_formudata(&a, &file);
    frame->line = (int)line;
    if (self.dw.dwarf_getsrcfiles(unit, &files, &n) == 0 && file < n)
        frame->file = self.dw.dwarf_filesrc(files, file, NULL, NULL);
}

/* Fills in the functions of a chain of scopes; out[0] has its file and line already. */
static size_t walk(Dwarf_Die *scopes, int n, Dwarf_Die *unit, oak_frame *out)
{
    size_t got = 0;
    for (int i = 0; i < n && got < OAKI_SYMBOL_INLINED; i++) {
        int tag = self.dw.dwarf_tag(&scopes[i]);
        if (tag != DW_TAG_inlined_subroutine && tag != DW_TAG_subprogram) continue;
        out[got].function = name_of(&scopes[i]);
        out[got].inlined = tag == DW_TAG_inlined_subroutine;
        if (!out[got++].inlined) break;
        if (got < OAKI_SYMBOL_INLINED) read_call(&scopes[i], unit, &out[got]);
    }
    return got;
}

static size_t functions_at(Dwarf_Die *unit, Dwarf_Addr addr, oak_frame *out)
{
    Dwarf_Die *scopes = NULL, *chain = NULL;
    int n = self.dw.dwarf_getscopes(unit, addr, &scopes), i = 0, deep;
    while (i < n && self.dw.dwarf_tag(&scopes[i]) != DW_TAG_inlined_subroutine &&
           self.dw.dwarf_tag(&scopes[i]) != DW_TAG_subprogram)
        i++;
    size_t got = 0;
    /* Of the scopes that enclose the address, the parent of an inlined call is where its function
     * is defined. Of those that enclose the entry, it is where the call is inlined. */
    if (i < n && (deep = self.dw.dwarf_getscopes_die(&scopes[i], &chain)) > 0)
        got = walk(chain, deep, unit, out);
    oaki_foreign_free(chain);
    oaki_foreign_free(scopes);
    return got;
}

/* The unit with the address. libdw looks it up in the table of ranges, which clang doesn't make:
 * then each unit is asked. */
static Dwarf_Die *unit_at(Dwfl_Module *m, Dwarf_Addr addr, Dwarf_Addr *bias)
{
    Dwarf_Die *unit = self.dw.dwfl_module_addrdie(m, addr, bias);
    if (unit) return unit;
    while ((unit = self.dw.dwfl_module_nextcu(m, unit, bias)))
        if (self.dw.dwarf_haspc(unit, addr - *bias) == 1) return unit;
    return NULL;
}

static void line_at(Dwfl_Module *m, Dwarf_Die *unit, Dwarf_Addr addr, Dwarf_Addr bias,
                    oak_frame *out)
{
    Dwfl_Line *line = self.dw.dwfl_module_getsrc(m, addr);
    if (line) {
        out->file = self.dw.dwfl_lineinfo(line, NULL, &out->line, NULL, NULL, NULL);
        return;
    }
    Dwarf_Line *in_unit = unit ? self.dw.dwarf_getsrc_die(unit, addr - bias) : NULL;
    if (!in_unit || self.dw.dwarf_lineno(in_unit, &out->line) != 0) return;
    out->file = self.dw.dwarf_linesrc(in_unit, NULL, NULL);
}

static void find_code(void *ctx)
{
    struct query *q = ctx;
    oak_frame *out = q->out;
    Dwfl_Module *m = self.dw.dwfl_addrmodule(self.dwfl, q->addr);
    q->covered = m != NULL;
    if (!m) return;
    Dwarf_Addr bias = 0;
    Dwarf_Die *unit = unit_at(m, q->addr, &bias);
    line_at(m, unit, q->addr, bias, &out[0]);
    q->n = unit ? functions_at(unit, q->addr - bias, out) : 0;
    if (q->n > 0 && out[q->n - 1].function) return;
    GElf_Off offset = 0;
    GElf_Sym sym;
    const char *name =
        self.dw.dwfl_module_addrinfo(m, q->addr, &offset, &sym, NULL, NULL, NULL);
    if (!name) return;
    q->n = OAKI_MAX(q->n, 1);
    out[q->n - 1].function = name;
}

size_t oaki_dwarf_code(uintptr_t pc, oak_frame out[OAKI_SYMBOL_INLINED])
{
    if (!ask(find_code, pc)) return 0;
    memcpy(out, query.out, sizeof query.out);
    return query.n;
}

/* ---- data ---- */

static void find_data(void *ctx)
{
    struct query *q = ctx;
    GElf_Off off = 0;
    GElf_Sym sym;
    Dwfl_Module *m = self.dw.dwfl_addrmodule(self.dwfl, q->addr);
    q->covered = m != NULL;
    if (!m) return;
    const char *name = self.dw.dwfl_module_addrinfo(m, q->addr, &off, &sym, NULL, NULL, NULL);
    if (!name || GELF_ST_TYPE(sym.st_info) != STT_OBJECT) return;
    if (sym.st_size && off >= sym.st_size) return;
    q->name = name;
    q->offset = off;
    q->n = sym.st_size;
}

const char *oaki_dwarf_data(uintptr_t addr, size_t *offset, size_t *size)
{
    if (!ask(find_data, addr) || !query.name) return NULL;
    *offset = query.offset;
    *size = query.n;
    return query.name;
}
