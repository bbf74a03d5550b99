/* note.c - decides which allocations are recorded, and with how many bytes.
 *
 * The sampler's hooks (runtime/sample.h) come here before the table of sites (observe/site.h).
 * Allocations by Oakum itself are left out. So are the loader's own: they include vectors of ended
 * threads, which libc keeps in their stacks for new threads, and which no root shows. An object
 * counts with the bytes that the program requested.
 *
 * Owns: struct self; written before the first hook is set. */
#include "preload.h"
#include "observe/profile.h"
#include "observe/site.h"
#include "runtime/sample.h"
#include <link.h>
#include <sys/auxv.h>

static struct {
    const oaki_sample_hooks *sites;
    size_t rate;
    uintptr_t loader_lo, loader_hi; /* the loader's code */
} self;

static int find_loader(struct dl_phdr_info *info, size_t size, void *ctx)
{
    (void)size, (void)ctx;
    if (info->dlpi_addr != getauxval(AT_BASE)) return 0;
    for (size_t i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *p = &info->dlpi_phdr[i];
        if (p->p_type != PT_LOAD || !(p->p_flags & PF_X)) continue;
        self.loader_lo = info->dlpi_addr + p->p_vaddr;
        self.loader_hi = self.loader_lo + p->p_memsz;
    }
    return 1;
}

static bool is_loaders(void)
{
    uintptr_t pc = (uintptr_t)oaki_my.caller;
    return pc >= self.loader_lo && pc < self.loader_hi;
}

/* A source of frames may call malloc; that allocation isn't recorded. */
static void note(void *obj, size_t bytes, size_t rate)
{
    if (oaki_my.quiet || OAKI_UNLIKELY(oaki_sealed_strictly())) return;
    size_t asked = oaki_my.asked;
    oaki_quiet_begin();
    if (!is_loaders()) self.sites->note(obj, rate == 1 && asked ? asked : bytes, rate);
    oaki_quiet_end();
}

static void freed(void *obj)
{
    self.sites->freed(obj);
}

static void resized(void *obj, size_t bytes)
{
    self.sites->resized(obj, bytes);
}

void oaki_note_again(void *p, size_t asked, const void *caller)
{
    if (self.rate != 1 || oaki_my.quiet || oaki_side_has(p) || !oaki_can_enter()) return;
    const oaki_span *s = oaki_span_of_offset(oaki_heap_offset(p));
    if (s->kind != OAKI_SCAN) return;
    oaki_thread *t = oaki_enter();
    if (AO_char_load(&s->sampled) != 0) self.sites->freed(p);
    oaki_leave(t);
    oaki_my.asked = asked;
    oaki_my.caller = caller;
    note(p, s->size, 1);
    oaki_my.asked = 0;
}

int oaki_note_start(size_t rate)
{
    static const oaki_sample_hooks hooks = { note, freed, resized };
    oaki_quiet_begin();
    (void)dl_iterate_phdr(find_loader, NULL);
    self.sites = oaki_sites_hooks();
    self.rate = rate;
    int r = oak_profile_set_rate(rate); /* so that profiles have the rate */
    if (r == 0) r = oaki_sample_set_rate(rate, &hooks, 0);
    oaki_quiet_end();
    return r;
}
