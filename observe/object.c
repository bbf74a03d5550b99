/* object.c - reads the list of loaded objects (object.h).
 *
 * Owns: nothing. Bound: O(objects * segments). */
#include "object.h"
#include "runtime/thread.h"
#include <elf.h>
#include <errno.h>
#include <limits.h>
#include <link.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

/* The program's path; without /proc, as after chroot, the name by which it was executed. */
static char *program_path(void)
{
    char *path = malloc(PATH_MAX); /* not on the stack, which may be small */
    ssize_t n = path ? readlink("/proc/thread-self/exe", path, PATH_MAX - 1) : 0;
    const char *executed = (const char *)getauxval(AT_EXECFN);
    if (n > 0) {
        path[n] = '\0';
        return path;
    }
    free(path);
    return strdup(executed ? executed : program_invocation_name);
}

static void read_build_id(oaki_object *o, const char *p, size_t n)
{
    while (n >= sizeof(ElfW(Nhdr))) {
        const ElfW(Nhdr) *h = (const ElfW(Nhdr) *)p;
        size_t name = OAKI_ALIGN_UP((size_t)h->n_namesz, 4);
        size_t desc = OAKI_ALIGN_UP((size_t)h->n_descsz, 4);
        if (name > n || desc > n || sizeof *h + name + desc > n) return;
        const char *at = p + sizeof *h;
        if (h->n_type == NT_GNU_BUILD_ID && h->n_namesz == 4 && memcmp(at, "GNU", 4) == 0) {
            o->build_id_len = OAKI_MIN(h->n_descsz, (size_t)OAKI_BUILD_ID_MAX);
            memcpy(o->build_id, at + name, o->build_id_len);
            return;
        }
        p += sizeof *h + name + desc;
        n -= sizeof *h + name + desc;
    }
}

static void read_segments(oaki_object *o, const struct dl_phdr_info *info)
{
    for (size_t i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *ph = &info->dlpi_phdr[i];
        uintptr_t lo = info->dlpi_addr + ph->p_vaddr;
        if (ph->p_type == PT_NOTE) read_build_id(o, (const char *)lo, ph->p_memsz);
        if (ph->p_type != PT_LOAD || o->nsegments == OAKI_OBJECT_SEGMENTS) continue;
        o->segment[o->nsegments++] = (oaki_segment){
            .lo = lo,
            .hi = lo + ph->p_memsz,
            .offset = ph->p_offset,
            .code = (ph->p_flags & PF_X) != 0,
        };
    }
}

static int add(struct dl_phdr_info *info, size_t size, void *arg)
{
    oaki_objects *list = arg;
    (void)size;
    if ((list->n & (list->n - 1)) == 0) { /* a power of two, or 0: full */
        size_t room = list->n ? list->n * 2 : 1;
        oaki_object *more = realloc(list->item, room * sizeof *more);
        if (!more) return -1;
        list->item = more;
    }
    oaki_object *o = &list->item[list->n];
    *o = (oaki_object){ .base = info->dlpi_addr };
    o->path = list->n == 0 ? program_path() : strdup(info->dlpi_name);
    if (!o->path) return -1;
    read_segments(o, info);
    list->n++;
    return 0;
}

int oaki_objects_read(oaki_objects *out)
{
    *out = (oaki_objects){ .n = 0 };
    if (oaki_loader_each(add, out) == 0) return 0;
    oaki_objects_free(out);
    errno = ENOMEM;
    return -1;
}

void oaki_objects_free(oaki_objects *o)
{
    for (size_t i = 0; i < o->n; i++) free(o->item[i].path);
    free(o->item);
    *o = (oaki_objects){ .n = 0 };
}

const oaki_object *oaki_objects_find(const oaki_objects *o, uintptr_t addr,
                                     const oaki_segment **segment)
{
    for (size_t i = 0; i < o->n; i++)
        for (size_t k = 0; k < o->item[i].nsegments; k++) {
            const oaki_segment *s = &o->item[i].segment[k];
            if (addr < s->lo || addr >= s->hi) continue;
            if (segment) *segment = s;
            return &o->item[i];
        }
    return NULL;
}

/* Sets 2 if the program, which comes first, has a dynamic linker. */
static int look_for_linker(struct dl_phdr_info *info, size_t size, void *unused)
{
    (void)size;
    (void)unused;
    for (size_t i = 0; i < info->dlpi_phnum; i++)
        if (info->dlpi_phdr[i].p_type == PT_INTERP) return 2;
    return 1;
}

bool oaki_objects_are_linked(void)
{
    return oaki_loader_each(look_for_linker, NULL) == 2;
}
