/* rootname.c - descriptions of roots.
 *
 * A thread-local variable is found by its module's ELF data. A static block lies at the same
 * distance from the thread pointer in every thread. So the calling thread's block tells where
 * another thread's begins. A symbol's value is its offset in the block.
 *
 * Owns nothing. Bound: one symbol look-up per root. */
#include "rootname.h"

#include "runtime/print.h"
#include "symbolname.h"
#include <fcntl.h>
#include <link.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

void oaki_thread_name(int tid, char out[16])
{
    char path[64];
    out[0] = '\0';
    oaki_format(path, sizeof path, "/proc/self/task/%d/comm", tid);
    /* system calls directly: no cancellation points */
    int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return;
    long n = syscall(SYS_read, fd, out, 15);
    (void)syscall(SYS_close, fd);
    out[n > 0 ? n : 0] = '\0';
    char *end = strchr(out, '\n');
    if (end) *end = '\0';
}

/* ---- thread-local variables ---- */

typedef struct tls_query {
    uintptr_t addr, tp; /* the word's address, its thread's thread pointer */
    size_t offset;      /* in the module's block */
    const char *file;
    ElfW(Addr) base;
    bool found;
} tls_query;

static int look_in_module(struct dl_phdr_info *info, size_t size, void *ctx)
{
    tls_query *q = ctx;
    (void)size;
    if (!info->dlpi_tls_modid || !info->dlpi_tls_data) return 0;
    uintptr_t distance = (uintptr_t)info->dlpi_tls_data - (uintptr_t)oaki_thread_pointer();
    for (size_t i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *p = &info->dlpi_phdr[i];
        if (p->p_type != PT_TLS || q->addr - (q->tp + distance) >= p->p_memsz) continue;
        q->offset = q->addr - (q->tp + distance);
        q->file = info->dlpi_name && *info->dlpi_name ? info->dlpi_name : "/proc/self/exe";
        q->found = true;
        return 1;
    }
    return 0;
}

static void name_tls(const oaki_root_found *f, oak_root_info *out)
{
    tls_query q = { .addr = (uintptr_t)f->address, .tp = (uintptr_t)f->tp };
    if (!q.tp) return;
    (void)oaki_loader_each(look_in_module, &q);
    if (!q.found) return;
    out->offset = q.offset;
    oaki_name_of_tls(q.file, q.offset, out->where, sizeof out->where, &out->offset);
    oaki_name_of_file(q.file, out->file, sizeof out->file);
}

/* ---- all kinds of roots ---- */

void oaki_root_name(const oaki_root_found *f, oak_root_info *out)
{
    *out = (oak_root_info){ .kind = (oak_root_kind)f->kind,
                            .thread = f->thread,
                            .caller = f->caller != 0,
                            .address = (const void *)(uintptr_t)f->address,
                            .value = (const void *)(uintptr_t)f->value,
                            .offset = SIZE_MAX };
    if (f->thread) oaki_thread_name(f->thread, out->thread_name);
    oaki_format(out->file, sizeof out->file, "%s", f->object);
    switch (out->kind) {
    case OAK_ROOT_GLOBAL:
    case OAK_ROOT_RANGE:
        oaki_name_of_data((uintptr_t)f->address, out->where, sizeof out->where, out->file,
                          sizeof out->file, &out->offset);
        break;
    case OAK_ROOT_STACK:
    case OAK_ROOT_FIBER:
        if (f->pc)
            oaki_name_of_code((uintptr_t)f->pc, out->where, sizeof out->where, out->file,
                              sizeof out->file);
        break;
    case OAK_ROOT_FINALIZER:
    case OAK_ROOT_CLEANUP:
    case OAK_ROOT_WAITING:
        if (f->fn)
            oaki_name_of_code((uintptr_t)f->fn, out->where, sizeof out->where, out->file,
                              sizeof out->file);
        break;
    case OAK_ROOT_REGISTER:
        oaki_format(out->where, sizeof out->where, "%.24s", f->reg);
        break;
    case OAK_ROOT_TLS: name_tls(f, out); break;
    case OAK_ROOT_NONE:
    case OAK_ROOT_PINNED:
    case OAK_ROOT_RUNTIME: break;
    }
}
