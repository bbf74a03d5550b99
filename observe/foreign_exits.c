/* foreign_exits.c - puts Oakum's functions in the place of those that end the process
 * (foreign_exits.h).
 *
 * The loader stores the addresses of imported functions in a table of the importing object. After
 * that, RELRO makes the table read-only. So a page of the table is writable for one store, and is
 * then protected as before. The C library's own calls of abort pass by no such table: a damaged
 * malloc heap ends the process.
 *
 * Owns: those entries of the tables. Lock: foreign.c's, which is held while a library is loaded. */
#include "foreign_exits.h"
#include "foreign.h"
#include "runtime/os.h"
#include "runtime/print.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__x86_64__)
#define JUMP_SLOT R_X86_64_JUMP_SLOT
#define GLOB_DAT R_X86_64_GLOB_DAT
#elif defined(__aarch64__)
#define JUMP_SLOT R_AARCH64_JUMP_SLOT
#define GLOB_DAT R_AARCH64_GLOB_DAT
#endif

/* ---- what is called instead ---- */

#define GIVES_UP "oakum: a library that Oakum has loaded gives up, and is not called again: "

static _Noreturn void end_by_abort(void)
{
    oaki_log(GIVES_UP "abort\n");
    oaki_foreign_give_up();
    abort();
}

static _Noreturn void end_by_assertion(const char *what, const char *file, unsigned line,
                                       const char *function)
{
    (void)function;
    oaki_log(GIVES_UP "%.60s:%u: %.100s\n", file ? file : "", line, what ? what : "");
    oaki_foreign_give_up();
    abort();
}

static _Noreturn void end_by_exit(int status)
{
    oaki_log(GIVES_UP "exit(%d)\n", status);
    oaki_foreign_give_up();
    syscall(SYS_exit_group, status);
    __builtin_unreachable();
}

static const struct {
    const char *name;
    void (*instead)(void);
} ends[] = {
    { "abort", (void (*)(void))end_by_abort },
    { "__assert_fail", (void (*)(void))end_by_assertion },
    { "exit", (void (*)(void))end_by_exit },
    { "_exit", (void (*)(void))end_by_exit },
};

/* ---- the table ---- */

typedef struct table {
    uintptr_t base;
    const ElfW(Sym) *symbols;
    const char *names;
    const ElfW(Rela) *calls, *others; /* relocations: of calls through the PLT, and the rest */
    size_t ncalls, nothers;
    uintptr_t sealed, sealed_end; /* the part that RELRO has made read-only */
} table;

/* glibc adds the object's base to the addresses of the dynamic section; other loaders don't. */
static const void *place(const table *t, ElfW(Addr) at)
{
    return (const void *)(at < t->base ? at + t->base : at); // NOLINT(performance-no-int-to-ptr)
}

static void read_dynamic(table *t, const ElfW(Dyn) *d)
{
    for (; d->d_tag != DT_NULL; d++) {
        switch (d->d_tag) {
        case DT_SYMTAB: t->symbols = place(t, d->d_un.d_ptr); break;
        case DT_STRTAB: t->names = place(t, d->d_un.d_ptr); break;
        case DT_JMPREL: t->calls = place(t, d->d_un.d_ptr); break;
        case DT_PLTRELSZ: t->ncalls = d->d_un.d_val / sizeof *t->calls; break;
        case DT_RELA: t->others = place(t, d->d_un.d_ptr); break;
        case DT_RELASZ: t->nothers = d->d_un.d_val / sizeof *t->others; break;
        default: break;
        }
    }
}

/* The loader seals whole pages only. */
static void read_sealed(table *t, const void *in_object)
{
    Dl_info info;
    const ElfW(Ehdr) *head;
    if (!dladdr(in_object, &info)) return;
    head = info.dli_fbase;
    if (memcmp(head->e_ident, ELFMAG, SELFMAG) != 0) return;
    const ElfW(Phdr) *p = (const void *)((const char *)info.dli_fbase + head->e_phoff);
    uintptr_t page = ~(uintptr_t)(oaki_os_page_size() - 1);
    for (size_t i = 0; i < head->e_phnum; i++) {
        if (p[i].p_type != PT_GNU_RELRO) continue;
        t->sealed = (t->base + p[i].p_vaddr) & page;
        t->sealed_end = (t->base + p[i].p_vaddr + p[i].p_memsz) & page;
    }
}

static bool unprotect(const table *t, uintptr_t at, int protection)
{
    uintptr_t page = at & ~(uintptr_t)(oaki_os_page_size() - 1);
    if (at < t->sealed || at >= t->sealed_end) return true;
    return mprotect((void *)page, oaki_os_page_size(), protection) == 0;
}

/* Without memory to split a mapping, the entry stays as it is. */
static void replace(const table *t, const ElfW(Rela) *r, void (*instead)(void))
{
    uintptr_t at = t->base + r->r_offset;
    if (!unprotect(t, at, PROT_READ | PROT_WRITE)) return;
    AO_store((AO_t *)at, (AO_t)instead);
    (void)unprotect(t, at, PROT_READ);
}

static void look_through(const table *t, const ElfW(Rela) *r, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t type = ELF64_R_TYPE(r[i].r_info);
        if (type != JUMP_SLOT && type != GLOB_DAT) continue;
        const char *name = t->names + t->symbols[ELF64_R_SYM(r[i].r_info)].st_name;
        for (size_t k = 0; k < OAKI_COUNT(ends); k++)
            if (strcmp(name, ends[k].name) == 0) replace(t, &r[i], ends[k].instead);
    }
}

void oaki_foreign_exits_redirect(const struct link_map *object)
{
    table t = { .base = object->l_addr };
    read_dynamic(&t, object->l_ld);
    if (!t.symbols || !t.names) return;
    read_sealed(&t, object->l_ld);
    if (t.calls) look_through(&t, t.calls, t.ncalls);
    if (t.others) look_through(&t, t.others, t.nothers);
}
