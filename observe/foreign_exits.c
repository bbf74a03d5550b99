/* foreign_exits.c - puts Oakum's functions in the place of those that end the process
 * (foreign_exits.h).
 *
 * The loader stores the addresses of imported functions in a table of the importing object. After
 * that, RELRO makes the table read-only. So a page of the table is writable for one store, and is
 * then protected as before. The C library's own calls of abort pass by no such table: a damaged
 * malloc heap ends the process. So do the forms of fprintf that look for %n.
 *
 * Owns: those entries of the tables. Lock: foreign.c's, which is held while a library is loaded. */
#include "foreign_exits.h"
#include "foreign.h"
#include "foreign_checks.h"
#include "runtime/os.h"
#include "runtime/print.h"

#include <dlfcn.h>
#include <signal.h>
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

_Noreturn void oaki_foreign_end(const char *why)
{
    oaki_log(GIVES_UP "%s\n", why);
    oaki_foreign_give_up();
    abort();
}

void oaki_foreign_exits_tell(int sig)
{
    if (sig == SIGXCPU) oaki_log(GIVES_UP "it took too long\n");
    else oaki_log(GIVES_UP "signal %d\n", sig);
}

static _Noreturn void end_by_abort(void)
{
    oaki_foreign_end("abort");
}

/* The stack may be damaged further up, too: then nothing helps. */
static _Noreturn void end_by_stack(void)
{
    oaki_foreign_end("stack smashing");
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

/* Signals to others pass. A library that sends one to itself has nothing more to say. */
static int end_by_kill(pid_t to, int sig)
{
    if (sig == 0 || to != (pid_t)oaki_os_pid()) return (int)syscall(SYS_kill, to, sig);
    oaki_log(GIVES_UP "signal %d\n", sig);
    oaki_foreign_give_up();
    return (int)syscall(SYS_kill, to, sig);
}

static int end_by_raise(int sig)
{
    return end_by_kill((pid_t)oaki_os_pid(), sig);
}

static const oaki_foreign_form ends[] = {
    { "abort", (void (*)(void))end_by_abort },
    { "__stack_chk_fail", (void (*)(void))end_by_stack },
    { "__assert_fail", (void (*)(void))end_by_assertion },
    { "exit", (void (*)(void))end_by_exit },
    { "_exit", (void (*)(void))end_by_exit },
    { "kill", (void (*)(void))end_by_kill },
    { "raise", (void (*)(void))end_by_raise },
    { NULL, NULL },
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
static void replace(const table *t, const ElfW(Rela) *r, void (*form)(void))
{
    uintptr_t at = t->base + r->r_offset;
    if (!unprotect(t, at, PROT_READ | PROT_WRITE)) return;
    AO_store((AO_t *)at, (AO_t)form);
    (void)unprotect(t, at, PROT_READ);
}

static void replace_if_listed(const table *t, const ElfW(Rela) *r, const oaki_foreign_form *f)
{
    const char *name = t->names + t->symbols[ELF64_R_SYM(r->r_info)].st_name;
    while (f->name && strcmp(name, f->name) != 0) f++;
    if (f->name) replace(t, r, f->form);
}

static void look_through(const table *t, const ElfW(Rela) *r, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t type = ELF64_R_TYPE(r[i].r_info);
        if (type != JUMP_SLOT && type != GLOB_DAT) continue;
        replace_if_listed(t, &r[i], ends);
        replace_if_listed(t, &r[i], oaki_foreign_checks);
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
