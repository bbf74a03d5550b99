/* stack.c - capturing stacks (stack.h).
 *
 * The unwinder asks whether an address may be read by a pipe of its own, whose descriptors are the
 * lowest that were free. Where the program has closed them (as daemons do), perhaps to open files
 * there, it would read from the one and write to the other: then libc's is used instead. Where
 * pipe2 is ours (embed/malloc) they are out of the way.
 *
 * Owns: struct self: written by oaki_stack_init, before the first capture; `unwind` and `pipe` once
 *   more by whoever finds the pipe closed.
 * A fork waits for a capture: it may hold a lock of the unwinder's, which the child would inherit.
 * Bound: O(frames), plus one search of a table for each of Oakum's own. */
#include "stack.h"
#include "object.h"
#include "runtime/fd.h"
#include "runtime/meta.h"
#include "runtime/thread.h"
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <link.h>
#include <oakum/gc.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#define PADDING 64    /* bytes between two functions */
#define NEAR 64       /* descriptors, in which the pipe's other end is looked for */
#define OWN_FRAMES 32 /* of Oakum's own at the top, at most */

typedef struct range {
    uintptr_t lo, hi;
} range;

typedef int unwinder(void **pc, int max);

static struct {
    pthread_once_t once, own_once;
    AO_t unwind;       /* unwinder * */
    range unwinder;    /* where its library lies */
    unsigned int pipe; /* AO_int: the end that it reads from, + 1; 0: none is known */
    int other;         /* the end that it writes to */
    oaki_fd_file file; /* of both */
    range *own; /* sorted */
    size_t nown;
} self = { .once = PTHREAD_ONCE_INIT, .own_once = PTHREAD_ONCE_INIT };

/* ---- Oakum's own code (owncode.h) ---- */

extern OAKI_HIDDEN const int32_t code_start[] __asm__("__start_oaki_code");
extern OAKI_HIDDEN const int32_t code_stop[] __asm__("__stop_oaki_code");
extern OAKI_HIDDEN const char fast_start[] __asm__("__start_oaki_fast");
extern OAKI_HIDDEN const char fast_stop[] __asm__("__stop_oaki_fast");

static uintptr_t noted(const int32_t *at)
{
    return (uintptr_t)at + (uintptr_t)(intptr_t)*at;
}

/* Ranges are few hundred, and nearly sorted as they come. */
static void add_own(uintptr_t lo, uintptr_t hi)
{
    size_t i = self.nown;
    if (lo >= hi) return;
    for (; i > 0 && self.own[i - 1].lo > lo; i--) self.own[i] = self.own[i - 1];
    self.own[i] = (range){ lo, hi };
    self.nown++;
}

/* Between one file's code and the next one's there is padding only: a handful of ranges is left. */
static void join_own(void)
{
    size_t n = 0;
    for (size_t i = 1; i < self.nown; i++) {
        if (self.own[i].lo - self.own[n].hi > PADDING) self.own[++n] = self.own[i];
        else self.own[n].hi = OAKI_MAX(self.own[n].hi, self.own[i].hi);
    }
    self.nown = OAKI_MIN(self.nown, n + 1);
}

static void find_own(void)
{
    size_t n = (size_t)(code_stop - code_start) / 2 + 1;
    oaki_thread *t = oaki_enter();
    if (!t) return;
    self.own = oaki_meta_alloc(n * sizeof *self.own, OAKI_META_BUCKHASH);
    oaki_leave(t);
    if (!self.own) return;
    for (const int32_t *at = code_start; at < code_stop; at += 2) add_own(noted(at), noted(at + 1));
    add_own((uintptr_t)fast_start, (uintptr_t)fast_stop);
    join_own();
}

void oaki_stack_find_own(void)
{
    (void)pthread_once(&self.own_once, find_own);
}

bool oaki_stack_is_own(uintptr_t pc)
{
    size_t lo = 0, hi = self.nown;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (self.own[mid].lo <= pc) lo = mid + 1;
        else hi = mid;
    }
    return lo > 0 && pc < self.own[lo - 1].hi;
}

/* ---- capture ---- */

static int exclude_data(struct dl_phdr_info *info, size_t size, void *base)
{
    (void)size;
    if (info->dlpi_addr != *(const ElfW(Addr) *)base) return 0;
    for (size_t i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *h = &info->dlpi_phdr[i];
        char *lo = (char *)(info->dlpi_addr + h->p_vaddr);
        if (h->p_type != PT_LOAD) continue;
        if (h->p_flags & PF_W) (void)oak_root_exclude(lo, h->p_memsz);
        if (h->p_flags & PF_X) self.unwinder = (range){ (uintptr_t)lo, (uintptr_t)lo + h->p_memsz };
    }
    return 1;
}

/* Its tables are of code, and hold words of stacks besides: no roots. As it was loaded late they
 * would be copied in every collection, which costs more than all samples between two. */
static void exclude_roots(void *lib)
{
    struct link_map *map;
    if (dlinfo(lib, RTLD_DI_LINKMAP, &map) == 0) (void)dl_iterate_phdr(exclude_data, &map->l_addr);
}

/* Its first call makes the pipe: not of descriptors that are those of standard streams, if the
 * program was started without. */
static void warm_up(unwinder *fn)
{
    void *warm[4];
    struct stat s;
    int held[STDERR_FILENO + 1], n = 0, fd;
    while ((fd = eventfd(0, EFD_CLOEXEC)) >= 0 && fd <= STDERR_FILENO) held[n++] = fd;
    if (fd >= 0) close(fd);
    (void)fn(warm, OAKI_COUNT(warm));
    while (n > 0) close(held[--n]);
    if (fd < 0 || fstat(fd, &s) != 0 || !S_ISFIFO(s.st_mode)) return;
    (void)oaki_fd_note(fd, &self.file);
    self.other = fd + 1;
    while (self.other < fd + NEAR && !oaki_fd_is(self.other, &self.file)) self.other++;
    AO_int_store(&self.pipe, (unsigned)fd + 1);
}

static void init(void)
{
    void *warm[4], *lib = oaki_object_reader("libunwind.so.8"), *fn = NULL;
    if (lib) exclude_roots(lib);
    AO_store(&self.unwind, (AO_t)backtrace);
    if (lib) fn = dlsym(lib, "unw_backtrace");
    if (fn) warm_up((unwinder *)fn);
    if (fn) AO_store(&self.unwind, (AO_t)fn);
    if (!fn || AO_int_load(&self.pipe)) (void)backtrace(warm, OAKI_COUNT(warm));
    oaki_stack_find_own();
}

bool oaki_stack_is_unwinder(const void *pc)
{
    return (uintptr_t)pc >= self.unwinder.lo && (uintptr_t)pc < self.unwinder.hi;
}

static unwinder *find_unwinder(void)
{
    unsigned pipe = AO_int_load(&self.pipe);
    int saved = errno;
    if (pipe &&
        !(oaki_fd_is((int)pipe - 1, &self.file) && oaki_fd_is(self.other, &self.file))) {
        AO_store(&self.unwind, (AO_t)backtrace);
        AO_int_store(&self.pipe, 0);
    }
    errno = saved;
    return (unwinder *)AO_load(&self.unwind);
}

void oaki_stack_init(void)
{
    (void)pthread_once(&self.once, init);
}

size_t oaki_stack_capture(uintptr_t *pc, size_t max)
{
    void *raw[OAKI_STACK_FRAMES + OWN_FRAMES];
    size_t want = OAKI_MIN(max, (size_t)OAKI_STACK_FRAMES) + OWN_FRAMES, skip = 0;
    oaki_fork_hold();
    int got = find_unwinder()(raw, (int)want);
    oaki_fork_release();
    size_t n = got > 0 ? (size_t)got : 0;
    while (skip < n && oaki_stack_is_own((uintptr_t)raw[skip] - 1)) skip++;
    if (skip == n) skip = 0; /* a thread of Oakum's */
    n = OAKI_MIN(n - skip, OAKI_MIN(max, (size_t)OAKI_STACK_FRAMES));
    for (size_t i = 0; i < n; i++) pc[i] = (uintptr_t)raw[skip + i];
    return n;
}
