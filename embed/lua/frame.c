/* frame.c - lines of a script as frames (frame.h).
 *
 * Owns: struct self, written once: the ranges of hidden code. Bound: O(frames). */
#include "frame.h"
#include <dlfcn.h>
#include <link.h>
#include <oakum/profile.h>
#include <pthread.h>
#include <stdio.h>

#define NAME 160

static uintptr_t frame_of(lua_State *L, lua_Debug *d)
{
    char name[NAME];
    if (!lua_getinfo(L, "Sln", d) || d->what[0] == 'C') return 0;
    const char *file = d->source[0] == '@' ? d->source + 1 : NULL;
    const char *function = d->what[0] == 'm' ? NULL : d->name;
    int n = snprintf(name, sizeof name, "%s:%d", d->short_src, d->currentline);
    if (function && n > 0 && (size_t)n < sizeof name)
        snprintf(name + n, sizeof name - (size_t)n, " %s", function);
    return oak_frame_number(name, file ? file : d->short_src, d->currentline);
}

size_t oaki_lua_frames(lua_State *L, uintptr_t *frame, size_t max)
{
    lua_Debug d;
    size_t told = 0;
    for (int level = 0; told < max && lua_getstack(L, level, &d); level++) {
        uintptr_t f = frame_of(L, &d);
        if (f) frame[told++] = f;
    }
    return told;
}

/* ---- the interpreter's own code ---- */

static struct {
    pthread_once_t once;
    oak_code_range hidden[2];
    size_t n;
} self = { .once = PTHREAD_ONCE_INIT };

static int add_code(struct dl_phdr_info *info, size_t size, void *ctx)
{
    (void)size;
    const Dl_info *of = ctx;
    if (info->dlpi_addr != (ElfW(Addr))of->dli_fbase || !info->dlpi_name[0]) return 0;
    for (size_t i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *h = &info->dlpi_phdr[i];
        if (h->p_type != PT_LOAD || !(h->p_flags & PF_X)) continue;
        uintptr_t lo = info->dlpi_addr + h->p_vaddr;
        self.hidden[self.n++] = (oak_code_range){ lo, lo + h->p_memsz };
        return 1;
    }
    return 1;
}

/* Find the interpreter's code if it is in a shared library. If it is part of the program, it can't
 * be distinguished from the program's own code. */
static void find_code(void)
{
    Dl_info of;
    if (dladdr((void *)lua_newstate, &of)) (void)dl_iterate_phdr(add_code, &of);
    if (dladdr((void *)find_code, &of)) (void)dl_iterate_phdr(add_code, &of);
}

oak_frame_source oaki_lua_frame_source(size_t (*read)(uintptr_t *frame, size_t max, void *ctx),
                                       void *ctx)
{
    (void)pthread_once(&self.once, find_code);
    return (oak_frame_source){ read, ctx, self.hidden, self.n };
}

/* ---- around an allocation ---- */

static size_t read_lines(uintptr_t *frame, size_t max, void *ctx)
{
    return oaki_lua_frames(ctx, frame, max);
}

static __thread struct {
    oak_frame_source source;
    const oak_frame_source *outer;
    bool set;
    oak_zone *zone; /* the entered zone, or NULL */
} around;

void oaki_lua_alloc_begin(lua_State *L)
{
    oak_zone *z = oaki_lua_zone_of(L);
    around.zone = z && oak_zone_enter(z) == 0 ? z : NULL;
    if (OAKI_LUA_LIKELY(oak_profile_rate() == 0)) return;
    around.source = oaki_lua_frame_source(read_lines, L);
    around.outer = oak_frame_source_set(&around.source);
    around.set = true;
}

void oaki_lua_alloc_end(void)
{
    if (around.zone) oak_zone_leave(around.zone);
    if (OAKI_LUA_LIKELY(!around.set)) return;
    (void)oak_frame_source_set(around.outer);
    around.set = false;
}
