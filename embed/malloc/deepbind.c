/* deepbind.c - libraries that are loaded with RTLD_DEEPBIND, as PHP loads its modules.
 *
 * Such a library finds libc's malloc and free in its own dependencies, before the preloaded ones.
 * So it would free blocks of this library with libc's free, and the other way round. When dlopen
 * returns, the newly loaded objects are bound again: references to libc's functions are replaced by
 * the functions of the same name that this library exports. All other references keep the binding
 * of RTLD_DEEPBIND.
 *
 * dlopen searches the caller's DT_RUNPATH, and finds its caller by the return address. So without
 * RTLD_DEEPBIND the call is passed on by a jump. With it the call returns here, and the caller's
 * DT_RUNPATH is lost. If the caller has one and the name has no slash, the call is a jump without
 * RTLD_DEEPBIND instead.
 *
 * Owns nothing. Any thread. Objects are walked under the loader's lock (dl_iterate_phdr); there
 * neither memory nor another lock is taken. Bound: O(references of the new objects). */
#include "preload.h"
#include "runtime/os.h"
#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <string.h>
#include <sys/mman.h>

typedef void *open_fn(const char *file, int mode);

/* The tables of a loaded object with its references. */
typedef struct references {
    uintptr_t base;
    const ElfW(Sym) * symbols;
    const char *names;
    const ElfW(Rela) * list[2]; /* of the PLT, and of data */
    size_t n[2];
    uintptr_t relro, relro_end;
    bool has_path; /* DT_RUNPATH or DT_RPATH */
} references;

typedef struct binding {
    const struct link_map *from; /* the first new object */
    bool reached;
    uintptr_t libc, libc_end; /* code of libc: references to it are replaced */
    const char *own_names;
    const ElfW(Sym) * own_symbols;
    size_t own_n;
    uintptr_t own_base;
} binding;

/* The address in an entry of the dynamic section. glibc has relocated it, except in the vdso: there
 * it is an offset, which is below the object's base. */
static uintptr_t address(uintptr_t base, ElfW(Addr) entry)
{
    return entry < base ? base + entry : entry;
}

static void read_dynamic(references *r, uintptr_t base, const ElfW(Dyn) * d)
{
    memset(r, 0, sizeof *r);
    r->base = base;
    size_t bytes[2] = { 0, 0 };
    for (; d && d->d_tag != DT_NULL; d++) {
        switch (d->d_tag) {
        case DT_SYMTAB:
            r->symbols = (void *)address(base, d->d_un.d_ptr);
            break;
        case DT_STRTAB:
            r->names = (void *)address(base, d->d_un.d_ptr);
            break;
        case DT_JMPREL:
            r->list[0] = (void *)address(base, d->d_un.d_ptr);
            break;
        case DT_PLTRELSZ:
            bytes[0] = d->d_un.d_val;
            break;
        case DT_RELA:
            r->list[1] = (void *)address(base, d->d_un.d_ptr);
            break;
        case DT_RELASZ:
            bytes[1] = d->d_un.d_val;
            break;
        case DT_RUNPATH:
        case DT_RPATH:
            r->has_path = true;
            break;
        default:
            break;
        }
    }
    for (int i = 0; i < 2; i++) r->n[i] = r->list[i] ? bytes[i] / sizeof *r->list[i] : 0;
}

/* The function that this library exports under a name, or 0. */
static uintptr_t own_function(const binding *b, const char *name)
{
    for (size_t i = 1; i < b->own_n; i++) {
        const ElfW(Sym) *s = &b->own_symbols[i];
        if (s->st_shndx != SHN_UNDEF && s->st_value && !strcmp(b->own_names + s->st_name, name))
            return b->own_base + s->st_value;
    }
    return 0;
}

static bool binds_function(const ElfW(Rela) * rela)
{
    switch (ELF64_R_TYPE(rela->r_info)) {
#if defined(__x86_64__)
    case R_X86_64_JUMP_SLOT:
    case R_X86_64_GLOB_DAT:
    case R_X86_64_64:
        return true;
#else
    case R_AARCH64_JUMP_SLOT:
    case R_AARCH64_GLOB_DAT:
    case R_AARCH64_ABS64:
        return true;
#endif
    default:
        return false;
    }
}

static void write_slot(const references *r, uintptr_t *slot, uintptr_t value)
{
    uintptr_t page = OAKI_ALIGN_DOWN((uintptr_t)slot, oaki_os_page_size());
    bool sealed = (uintptr_t)slot >= r->relro && (uintptr_t)slot < r->relro_end;
    if (sealed && mprotect((void *)page, oaki_os_page_size(), PROT_READ | PROT_WRITE) != 0) return;
    AO_store_release((AO_t *)slot, value);
    if (sealed) (void)mprotect((void *)page, oaki_os_page_size(), PROT_READ);
}

/* Whether a reference is bound to libc. An unresolved slot of the PLT points into the object
 * itself. */
static bool is_taken(const binding *b, const references *r, uintptr_t value, bool plt,
                     const struct dl_phdr_info *info)
{
    if (value >= b->libc && value < b->libc_end) return true;
    if (!plt) return false;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *p = &info->dlpi_phdr[i];
        uintptr_t lo = r->base + p->p_vaddr;
        if (p->p_type == PT_LOAD && value >= lo && value < lo + p->p_memsz) return true;
    }
    return false;
}

static void bind_object(const binding *b, references *r, const struct dl_phdr_info *info)
{
    for (int table = 0; table < 2; table++) {
        for (size_t i = 0; i < r->n[table]; i++) {
            const ElfW(Rela) *rela = &r->list[table][i];
            const ElfW(Sym) *s = &r->symbols[ELF64_R_SYM(rela->r_info)];
            uintptr_t *slot = (uintptr_t *)(r->base + rela->r_offset);
            if (!binds_function(rela) || s->st_shndx != SHN_UNDEF || rela->r_addend != 0) continue;
            if (!is_taken(b, r, *slot, table == 0, info)) continue;
            uintptr_t own = own_function(b, r->names + s->st_name);
            if (own) write_slot(r, slot, own);
        }
    }
}

static int visit(struct dl_phdr_info *info, size_t size, void *ctx)
{
    binding *b = ctx;
    const ElfW(Dyn) *dynamic = NULL;
    references r;
    (void)size;
    for (int i = 0; i < info->dlpi_phnum; i++)
        if (info->dlpi_phdr[i].p_type == PT_DYNAMIC)
            dynamic = (void *)(info->dlpi_addr + info->dlpi_phdr[i].p_vaddr);
    if (dynamic == b->from->l_ld) b->reached = true;
    if (!b->reached || !dynamic || info->dlpi_addr == b->own_base) return 0;
    read_dynamic(&r, info->dlpi_addr, dynamic);
    if (!r.symbols || !r.names) return 0;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        if (info->dlpi_phdr[i].p_type != PT_GNU_RELRO) continue;
        r.relro = r.base + info->dlpi_phdr[i].p_vaddr;
        r.relro_end = r.relro + info->dlpi_phdr[i].p_memsz;
        r.relro_end = OAKI_ALIGN_DOWN(r.relro_end, oaki_os_page_size()); /* as the loader has it */
    }
    bind_object(b, &r, info);
    return 0;
}

typedef struct image {
    uintptr_t within, lo, hi;
} image;

static int find_image(struct dl_phdr_info *info, size_t size, void *ctx)
{
    image *m = ctx;
    uintptr_t lo = UINTPTR_MAX, hi = 0;
    (void)size;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *p = &info->dlpi_phdr[i];
        if (p->p_type != PT_LOAD) continue;
        lo = OAKI_MIN(lo, info->dlpi_addr + p->p_vaddr);
        hi = OAKI_MAX(hi, info->dlpi_addr + p->p_vaddr + p->p_memsz);
    }
    if (m->within < lo || m->within >= hi) return 0;
    m->lo = lo;
    m->hi = hi;
    return 1;
}

/* Find the library's exports. DT_GNU_HASH has no count of symbols; they end where the names begin.
 */
static bool own_exports(binding *b)
{
    struct link_map *map;
    Dl_info info;
    references r;
    if (!dladdr1((void *)own_exports, &info, (void **)&map, RTLD_DL_LINKMAP)) return false;
    read_dynamic(&r, map->l_addr, map->l_ld);
    if (!r.symbols || !r.names || (uintptr_t)r.names < (uintptr_t)r.symbols) return false;
    b->own_base = map->l_addr;
    b->own_symbols = r.symbols;
    b->own_names = r.names;
    b->own_n = ((uintptr_t)r.names - (uintptr_t)r.symbols) / sizeof *r.symbols;
    return true;
}

/* No call of the loader follows a failed dlopen: it would replace dlerror's message. */
static void *open_deep(const char *file, int mode)
{
    void *handle = OAKI_REAL(dlopen)(file, mode);
    if (!handle) return NULL;
    int saved = errno;
    binding b = { .from = handle };
    image libc = { .within = (uintptr_t)dlsym(RTLD_NEXT, "gnu_get_libc_version") };
    if (own_exports(&b) && oaki_loader_each(find_image, &libc)) {
        b.libc = libc.lo;
        b.libc_end = libc.hi;
        (void)oaki_loader_each(visit, &b);
    }
    errno = saved;
    return handle;
}

static bool has_path(const void *code)
{
    struct link_map *map;
    Dl_info info;
    references r;
    if (!dladdr1(code, &info, (void **)&map, RTLD_DL_LINKMAP)) return false;
    read_dynamic(&r, map->l_addr, map->l_ld);
    return r.has_path;
}

/* Whether the program's malloc is this library's, and not the program's own. */
static bool serves(void)
{
    return dlsym(RTLD_DEFAULT, "malloc") == (void *)malloc;
}

/* The target of dlopen's jump, and the mode to pass: returned in two registers. */
typedef struct way {
    open_fn *open;
    long mode;
} way;

OAKI_HIDDEN way oaki_dlopen_way(const char *file, int mode, const void *caller);
way oaki_dlopen_way(const char *file, int mode, const void *caller)
{
    way w = { OAKI_REAL(dlopen), mode };
    if (!(mode & RTLD_DEEPBIND) || !file || !serves()) return w;
    if (!strchr(file, '$') && (strchr(file, '/') || !has_path(caller))) /* as $ORIGIN */
        w.open = open_deep;
    else
        w.mode &= ~RTLD_DEEPBIND;
    return w;
}

#if defined(__x86_64__)
__asm__(".pushsection .text\n"
        ".globl dlopen\n"
        ".type dlopen,@function\n"
        ".p2align 4\n"
        "dlopen:\n"
        ".cfi_startproc\n"
        "endbr64\n"
        "movq (%rsp), %rdx\n"
        "pushq %rdi\n"
        ".cfi_adjust_cfa_offset 8\n"
        "call oaki_dlopen_way\n"
        "popq %rdi\n"
        ".cfi_adjust_cfa_offset -8\n"
        "movq %rdx, %rsi\n"
        "jmp *%rax\n"
        ".cfi_endproc\n"
        ".size dlopen, . - dlopen\n"
        ".popsection");
#else
__asm__(".pushsection .text\n"
        ".globl dlopen\n"
        ".type dlopen,%function\n"
        ".p2align 4\n"
        "dlopen:\n"
        ".cfi_startproc\n"
        "stp x0, x30, [sp, #-16]!\n"
        ".cfi_adjust_cfa_offset 16\n"
        ".cfi_rel_offset x30, 8\n"
        "mov x2, x30\n"
        "bl oaki_dlopen_way\n"
        "mov x16, x0\n"
        "ldp x0, x30, [sp], #16\n"
        ".cfi_restore x30\n"
        ".cfi_adjust_cfa_offset -16\n"
        "br x16\n"
        ".cfi_endproc\n"
        ".size dlopen, . - dlopen\n"
        ".popsection");
#endif
