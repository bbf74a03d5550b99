/* restore.c - notes and puts back the library's variables (restore.h).
 *
 * Noted are the words that are not 0, in runs, as almost all are 0 before the heap is started. Of
 * the pages that the loader left empty, those are not read that nobody has touched.
 *
 * Owns: the record, in a mapping of its own, outside of the table of mappings.
 * Lock: none: the start's (note), or nobody else is there (restore).
 * Bound: O(bytes of variables), some 10 us. */
#include "restore.h"

#include "os.h"

#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#define EXCEPTIONS 16
#define EXCEPTED 1024

/* The writable segment behind what the loader protects, and thread-local storage. */
typedef struct segment {
    uintptr_t lo, filled, hi; /* [lo, filled) came from the file */
    const char *tls_image;
    size_t tls_filled, tls_size;
    char *tls; /* the calling thread's */
} segment;

/* Words of one stretch; they follow. */
typedef struct run {
    uint32_t at, n; /* in words from `lo` */
} run;

typedef enum how { KEPT, LEAST, UNCHANGED } how;

typedef struct exception {
    void *p;
    size_t n;
    how how;
} exception;

typedef struct record {
    size_t bytes; /* of the mapping */
    size_t used;  /* of `text` */
    segment of;
    exception but[EXCEPTIONS]; /* while variables are put back */
    char kept[EXCEPTED];
    char text[];
} record;

static struct {
    record *record;
    exception but[EXCEPTIONS];
    AO_t restores;
} self;

AO_t oaki_restores(void)
{
    return AO_load(&self.restores);
}

static void except(void *p, size_t n, how how)
{
    size_t sum = 0;
    for (size_t i = 0; i < EXCEPTIONS; i++) {
        if (self.but[i].p == p) return;
        if (!self.but[i].p) {
            OAKI_INVARIANT(sum + n <= EXCEPTED, "too many bytes outlive the heap");
            self.but[i] = (exception){ p, n, how };
            return;
        }
        sum += self.but[i].n;
    }
    OAKI_INVARIANT(false, "too many variables outlive the heap");
}

void oaki_restore_except(void *p, size_t n)
{
    except(p, n, KEPT);
}

void oaki_restore_count(AO_t *count)
{
    except(count, sizeof *count, LEAST);
}

void oaki_restore_setting(AO_t *setting)
{
    except(setting, sizeof *setting, UNCHANGED);
}

#ifdef PIC

/* ---- the segment ---- */

static int find_own(struct dl_phdr_info *info, size_t size, void *ctx)
{
    segment *s = ctx;
    uintptr_t self_at = (uintptr_t)&self, relro = 0;
    bool found = false;
    (void)size;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *p = &info->dlpi_phdr[i];
        uintptr_t at = info->dlpi_addr + p->p_vaddr;
        if (p->p_type == PT_GNU_RELRO) relro = at + p->p_memsz;
        if (p->p_type == PT_TLS) {
            s->tls_image = (const char *)at;
            s->tls_filled = p->p_filesz;
            s->tls_size = p->p_memsz;
        }
        if (p->p_type != PT_LOAD || self_at - at >= p->p_memsz) continue;
        found = true;
        s->lo = at;
        s->filled = at + p->p_filesz;
        s->hi = at + p->p_memsz;
    }
    if (!found || relro <= s->lo || relro >= s->hi) { /* addresses of functions may be anywhere */
        memset(s, 0, sizeof *s);
        return found;
    }
    s->lo = OAKI_ALIGN_DOWN(relro, oaki_os_page_size());
    s->lo = OAKI_ALIGN_UP(s->lo, sizeof(uintptr_t));
    s->hi = OAKI_ALIGN_DOWN(s->hi, sizeof(uintptr_t));
    s->tls = info->dlpi_tls_data;
    return 1;
}

/* ---- noting ---- */

/* The state of some pages in a row, by the system. */
typedef struct window {
    size_t page, first, n; /* `first` in pages */
    uintptr_t end;         /* of the segment */
    bool swaps;            /* pages may be swapped out */
    int pagemap;           /* -1: not open; CLOSED: it can't be */
    bool touched[384];
} window;

#define CLOSED (-2)

static bool is_swapping(void)
{
    struct sysinfo info;
    return sysinfo(&info) != 0 || info.totalswap != info.freeswap;
}

/* mincore calls a page that is swapped out absent. If there was one, the swap is in use now. */
static bool ask_mincore(window *w)
{
    unsigned char in[OAKI_COUNT(w->touched)];
    uintptr_t at = w->first * w->page;
    size_t n = OAKI_MIN((w->end - at + w->page - 1) / w->page, OAKI_COUNT(in));
    if (w->swaps || syscall(SYS_mincore, at, n * w->page, in) != 0) return false;
    w->swaps = is_swapping();
    if (w->swaps) return false;
    for (size_t i = 0; i < n; i++) w->touched[i] = in[i] & 1;
    w->n = n;
    return true;
}

/* The table of pages knows both, and takes five times as long to open as to ask mincore. */
static bool ask_pagemap(window *w)
{
    uint64_t entry[32];
    if (w->pagemap == -1)
        w->pagemap =
            (int)syscall(SYS_openat, AT_FDCWD, "/proc/thread-self/pagemap", O_RDONLY | O_CLOEXEC);
    if (w->pagemap < 0) w->pagemap = CLOSED;
    if (w->pagemap == CLOSED) return false;
    long got = syscall(SYS_pread64, w->pagemap, entry, sizeof entry, w->first * sizeof entry[0]);
    w->n = got > 0 ? (size_t)got / sizeof entry[0] : 0;
    for (size_t i = 0; i < w->n; i++) w->touched[i] = entry[i] >> 62 != 0;
    return w->n > 0;
}

/* Does the page have memory, or is it swapped out? Where the system doesn't say, it may. */
static bool is_touched(window *w, uintptr_t at)
{
    size_t i = at / w->page;
    if (i - w->first >= w->n) {
        w->first = i;
        w->n = 0;
        if (!ask_mincore(w) && !ask_pagemap(w)) return true;
    }
    return w->touched[i - w->first];
}

/* Appends the run of words that aren't 0 at *at, and moves that behind it. false: no room. */
static bool append(record *r, const uintptr_t *words, size_t *at, size_t end)
{
    size_t from = *at, n = 0;
    while (from + n < end && words[from + n] != 0) n++;
    *at = from + n;
    size_t bytes = sizeof(run) + n * sizeof *words;
    if (sizeof *r + r->used + bytes > r->bytes) return false;
    *(run *)(void *)(r->text + r->used) = (run){ (uint32_t)from, (uint32_t)n };
    memcpy(r->text + r->used + sizeof(run), words + from, n * sizeof *words);
    r->used += bytes;
    return true;
}

static bool fill(record *r, const segment *s, window *w)
{
    size_t end = (s->hi - s->lo) / sizeof(uintptr_t);
    const uintptr_t *words = (const uintptr_t *)s->lo;
    for (size_t i = 0; i < end;) {
        uintptr_t at = (uintptr_t)&words[i], next = OAKI_ALIGN_UP(at + 1, w->page);
        bool skipped = at >= OAKI_ALIGN_UP(s->filled, w->page) && !is_touched(w, at);
        size_t to = OAKI_MIN(end, (next - s->lo) / sizeof(uintptr_t));
        while (!skipped && i < to)
            if (words[i] == 0)
                i++;
            else if (!append(r, words, &i, end))
                return false;
        if (skipped) i = to;
    }
    return true;
}

/* Nearly all is 0: a quarter of the segment is room enough, and takes memory only where used. */
static record *make(const segment *s)
{
    size_t bytes = OAKI_ALIGN_UP((s->hi - s->lo) / 4 + sizeof(record), oaki_os_page_size());
    record *r = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (r == MAP_FAILED) return NULL;
    window w = { .page = oaki_os_page_size(), .end = s->hi, .pagemap = -1 };
    r->bytes = bytes;
    r->of = *s;
    bool filled = fill(r, s, &w);
    if (w.pagemap >= 0) (void)syscall(SYS_close, w.pagemap);
    if (filled) return r;
    (void)munmap(r, bytes);
    return NULL;
}

/* Without a record the heap starts, and is the last one. */
bool oaki_restore_note(void)
{
    segment s = { 0 };
    int saved = errno;
    if (!self.record && dl_iterate_phdr(find_own, &s) == 1 && s.hi) self.record = make(&s);
    errno = saved;
    return self.record != NULL;
}

/* ---- putting back ---- */

static void clear(uintptr_t lo, uintptr_t hi)
{
    size_t page = oaki_os_page_size();
    uintptr_t from = OAKI_ALIGN_UP(lo, page), to = OAKI_ALIGN_DOWN(hi, page);
    if (from >= to) {
        memset((void *)lo, 0, hi - lo);
        return;
    }
    memset((void *)lo, 0, from - lo);
    if (madvise((void *)from, to - from, MADV_DONTNEED) != 0) memset((void *)from, 0, to - from);
    memset((void *)to, 0, hi - to);
}

static void put_back(const record *r)
{
    const segment *s = &r->of;
    uintptr_t filled = OAKI_MIN(OAKI_ALIGN_UP(s->filled, oaki_os_page_size()), s->hi);
    memset((void *)s->lo, 0, filled - s->lo);
    clear(filled, s->hi);
    for (size_t at = 0; at < r->used;) {
        const run *x = (const run *)(const void *)(r->text + at);
        memcpy((uintptr_t *)s->lo + x->at, x + 1, x->n * sizeof(uintptr_t));
        at += sizeof *x + x->n * sizeof(uintptr_t);
    }
}

static void put_back_own(const segment *s)
{
    if (!s->tls) return;
    memset(s->tls + s->tls_filled, 0, s->tls_size - s->tls_filled);
    memcpy(s->tls, s->tls_image, s->tls_filled);
}

static void keep(record *r)
{
    char *to = r->kept;
    memcpy(r->but, self.but, sizeof r->but);
    for (const exception *e = r->but; e < r->but + EXCEPTIONS && e->p; to += e++->n)
        memcpy(to, e->p, e->n);
}

static void put_back_kept(const record *r)
{
    const char *from = r->kept;
    for (const exception *e = r->but; e < r->but + EXCEPTIONS && e->p; from += e++->n) {
        AO_t now = 0, noted = 0;
        if (e->how != KEPT) {
            memcpy(&now, from, sizeof now);
            memcpy(&noted, e->p, sizeof noted);
        }
        if (e->how == LEAST) now = OAKI_MIN(now, noted);
        if (e->how == UNCHANGED && now != noted) now = 0;
        memcpy(e->p, e->how == KEPT ? from : (const char *)&now, e->n);
    }
}

/* Signals wait, as a handler of Oakum's that is still installed reads variables. Another thread may
 * have noted them: where this one's are is looked up. */
bool oaki_restore(void)
{
    segment own = { 0 };
    record *r = self.record;
    if (!r || dl_iterate_phdr(find_own, &own) != 1) return false;
    AO_store(&self.restores, AO_load(&self.restores) + 1);
    oaki_restore_except(&self.restores, sizeof self.restores);
    keep(r);
    uint64_t mask = oaki_os_mask_signals(0);
    put_back(r);
    put_back_kept(r);
    put_back_own(&own);
    oaki_os_unmask_signals(mask);
    (void)munmap(r, r->bytes);
    return true;
}

#else

bool oaki_restore_note(void)
{
    return false;
}

bool oaki_restore(void)
{
    return false;
}

#endif
