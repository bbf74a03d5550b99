/* dwarf.c - functions, lines and inlined calls by libdw (dwarf.h).
 *
 * Owns: struct self. Lock: symbol.c's.
 * An address lies in a chain of scopes: inlined calls, the innermost first, up to the function that
 * has the code. The line table gives the line of the innermost; each inlined call says from which
 * line of the next one it was made. */
#include "dwarf.h"
#include "runtime/os.h"
#include "object.h"
#include <dlfcn.h>
#include <dwarf.h>
#include <elfutils/libdw.h>
#include <elfutils/libdwfl.h>
#include <stdlib.h>
#include <unistd.h>

/* What is used of libdw. */
#define FUNCTIONS(X)                                                                           \
    X(dwfl_begin) X(dwfl_end) X(dwfl_linux_proc_report) X(dwfl_report_end)                     \
    X(dwfl_linux_proc_find_elf) X(dwfl_standard_find_debuginfo)                                \
    X(dwfl_build_id_find_debuginfo) X(dwfl_addrmodule) X(dwfl_module_addrinfo)                 \
    X(dwfl_module_getsrc) X(dwfl_lineinfo) X(dwfl_module_addrdie) X(dwarf_getscopes)           \
    X(dwarf_getscopes_die) X(dwarf_tag) X(dwarf_diename) X(dwarf_attr_integrate)               \
    X(dwarf_attr) X(dwarf_formstring) X(dwarf_formudata) X(dwarf_getsrcfiles) X(dwarf_filesrc)

static struct {
    bool tried;
    void *library;
    Dwfl *dwfl;
    char *debug_path;
    Dwfl_Callbacks callbacks;
#define POINTER(fn) __typeof__(&fn) fn;
    struct {
        FUNCTIONS(POINTER)
    } dw;
#undef POINTER
} self;

/* ---- opening ---- */

bool oaki_dwarf_load(void)
{
    if (self.tried) return self.library != NULL;
    self.tried = true;
    void *lib = oaki_object_reader("libdw.so.1");
    if (!lib) return false;
#define FIND(fn) \
    if (!(*(void **)&self.dw.fn = dlsym(lib, #fn))) return false;
    FUNCTIONS(FIND)
#undef FIND
    self.library = lib;
    return true;
}

bool oaki_dwarf_open(void)
{
    oaki_dwarf_close();
    self.callbacks.find_elf = self.dw.dwfl_linux_proc_find_elf;
    self.callbacks.debuginfo_path = &self.debug_path;
    /* To name a function is no reason to ask a server on the network for a file. */
    const char *servers = getenv("DEBUGINFOD_URLS");
    self.callbacks.find_debuginfo = servers && *servers ? self.dw.dwfl_build_id_find_debuginfo
                                                        : self.dw.dwfl_standard_find_debuginfo;
    self.dwfl = self.dw.dwfl_begin(&self.callbacks);
    if (!self.dwfl) return false;
    /* Of this thread's number: the process's leads nowhere when its first thread has ended. */
    if (self.dw.dwfl_linux_proc_report(self.dwfl, oaki_os_tid()) == 0 &&
        self.dw.dwfl_report_end(self.dwfl, NULL, NULL) == 0)
        return true;
    oaki_dwarf_close();
    return false;
}

bool oaki_dwarf_is_open(void)
{
    return self.dwfl != NULL;
}

void oaki_dwarf_close(void)
{
    if (self.dwfl) self.dw.dwfl_end(self.dwfl);
    self.dwfl = NULL;
}

bool oaki_dwarf_covers(uintptr_t addr)
{
    return self.dwfl && self.dw.dwfl_addrmodule(self.dwfl, addr);
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

/* Where the inlined call was made: in the next frame. */
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

/* Functions of the chain of scopes; out[0] has its file and line already. */
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
    /* By the scopes that enclose the address a call's parent is where the function was written;
     * by those that enclose the entry it is where it was inlined. */
    if (i < n && (deep = self.dw.dwarf_getscopes_die(&scopes[i], &chain)) > 0)
        got = walk(chain, deep, unit, out);
    free(chain);
    free(scopes);
    return got;
}

size_t oaki_dwarf_code(uintptr_t pc, oak_frame out[OAKI_SYMBOL_INLINED])
{
    Dwfl_Module *m = self.dwfl ? self.dw.dwfl_addrmodule(self.dwfl, pc) : NULL;
    if (!m) return 0;
    Dwfl_Line *line = self.dw.dwfl_module_getsrc(m, pc);
    if (line) out[0].file = self.dw.dwfl_lineinfo(line, NULL, &out[0].line, NULL, NULL, NULL);
    Dwarf_Addr bias = 0;
    Dwarf_Die *unit = self.dw.dwfl_module_addrdie(m, pc, &bias);
    size_t got = unit ? functions_at(unit, pc - bias, out) : 0;
    if (got > 0 && out[got - 1].function) return got;
    GElf_Off offset = 0;
    GElf_Sym sym;
    const char *name =
        self.dw.dwfl_module_addrinfo(m, pc, &offset, &sym, NULL, NULL, NULL);
    if (name) out[got > 0 ? got - 1 : 0].function = name;
    return name ? OAKI_MAX(got, 1) : got;
}

/* ---- data ---- */

const char *oaki_dwarf_data(uintptr_t addr, size_t *offset, size_t *size)
{
    Dwfl_Module *m = self.dwfl ? self.dw.dwfl_addrmodule(self.dwfl, addr) : NULL;
    GElf_Off off = 0;
    GElf_Sym sym;
    if (!m) return NULL;
    const char *name = self.dw.dwfl_module_addrinfo(m, addr, &off, &sym, NULL, NULL, NULL);
    if (!name || GELF_ST_TYPE(sym.st_info) != STT_OBJECT) return NULL;
    if (sym.st_size && off >= sym.st_size) return NULL;
    *offset = off;
    *size = sym.st_size;
    return name;
}
