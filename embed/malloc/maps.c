/* maps.c - undeclared roots: memory that the program has mapped. It may belong to another allocator
 * (such as Python's), to a coroutine's stack or to the break, and may refer to blocks of malloc.
 *
 * The kernel lists all mappings. Roots are the private writable ones, except for Oakum's own
 * (own.c) and the stacks of threads. The data of libraries is among them. Shared mappings are roots
 * if they belong to no file on disk: anonymous memory, memfd, shm.
 *
 * libc keeps the stacks of some ended threads for new ones. Their contents are stale, so they are
 * no roots. Such a stack is recognized by the thread's descriptor at its end: the descriptor begins
 * with its own address, repeats it two words later, and has the stack's address. Only its vector of
 * thread-local blocks is a root, as the next thread will use it; and the thread's result, for the
 * thread that joins it.
 *
 * Pages that were never touched are skipped. The kernel's page map shows them for private mappings.
 * For shared mappings in an image, mincore does, except for swapped pages; and for all mappings, if
 * the page map is another user's, as in a process that has changed its own.
 *
 * Above the first thread's first frame are the arguments and the environment.
 *
 * Owns: struct self, written once. Runs in an image: no lock, no malloc. Bound: O(mapped words in
 * touched pages). */
#include "preload.h"
#include "runtime/dlroots.h"
#include "runtime/probe.h"
#include "runtime/os.h"
#include "runtime/track.h"
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#define DESCRIPTOR 2304                /* bytes of a descriptor in which the stack's address is */
#define ABOVE ((uintptr_t)64 << 10)    /* the most bytes of a stack above the descriptor's start */
#define PRESENT ((uint64_t)1 << 63)    /* page map entry: in memory */
#define SWAPPED ((uint64_t)1 << 62)    /* page map entry: swapped; or a guard (Linux 6.13) */
#define OF_FILE ((uint64_t)1 << 61)    /* page map entry: unwritten page of a file, or shared */
#define PAGES 512                      /* entries that are read at a time */

static struct {
    size_t tid;    /* offset of a thread's id in its descriptor; 0: not known */
    size_t result; /* offset of its result; 0: not known */
} self;

extern void *__libc_stack_end; /* the first thread's stack pointer at program start */

typedef struct pages {
    uint64_t entry[PAGES];
    unsigned char in[PAGES];
    bool there[PAGES];
} pages;

typedef struct walk {
    void (*fn)(const char *lo, const char *hi, void *ctx);
    void *ctx;
    const oaki_extent *own;
    size_t nown;
    int pagemap;
    pages *pages; /* of mappings that are examined together */
    bool shared; /* the current mapping is shared */
    bool written_once; /* it is of a file and read-only now: only written pages count */
    bool swaps;  /* some of it may be swapped */
    bool *failed; /* the system refused to tell of some pages */
} walk;

/* Find the offset of the thread id in a descriptor, from the first thread's. The result is two
 * words before the start routine, whose offset glibc exports for debuggers. */
void oaki_maps_learn(void)
{
    static const char routine[] = "_thread_db_pthread_start_routine";
    const uint32_t *field = dlvsym(RTLD_DEFAULT, routine, "GLIBC_PRIVATE");
    if (field && field[2] < DESCRIPTOR) self.result = field[2] - 2 * sizeof(void *);
    const char *tp = oaki_thread_pointer();
    int tid = oaki_os_tid();
    for (size_t at = 64; at < 1024 && !self.tid; at += sizeof tid)
        if (memcmp(tp + at, &tid, sizeof tid) == 0) self.tid = at;
}

/* ---- stacks ---- */

#if defined(__x86_64__)
static bool is_descriptor(const uintptr_t *p)
{
    return p[0] == (uintptr_t)p && p[2] == (uintptr_t)p;
}
#else
static bool is_descriptor(const uintptr_t *p)
{
    (void)p;
    return false;
}
#endif

/* Whether there is a descriptor at p; *out gets the stack whose address it has. */
static OAKI_NO_ASAN bool names_stack(const uintptr_t *p, uintptr_t end, oaki_extent *out)
{
    uintptr_t at = (uintptr_t)p, page = oaki_os_page_size();
    for (size_t i = 3; i < DESCRIPTOR / sizeof *p && (uintptr_t)(p + i + 2) <= end; i++) {
        uintptr_t lo = p[i], n = p[i + 1];
        if (lo == 0 || n == 0 || (lo | n) % page != 0 || lo >= at || lo + n <= at) continue;
        if (lo + n - at > ABOVE) continue;
        *out = (oaki_extent){ lo, lo + n };
        return true;
    }
    return false;
}

static bool is_attached(uintptr_t tp)
{
    for (const oaki_thread *t = oaki_the_heap.threads; t; t = t->next)
        if ((uintptr_t)t->tp == tp) return true;
    return false;
}

/* The id of a descriptor's thread; 0: it has ended, or the place isn't known; -1: it was joined. */
static OAKI_NO_ASAN int tid_of(const uintptr_t *p)
{
    int tid = 0;
    if (self.tid) memcpy(&tid, (const char *)p + self.tid, sizeof tid);
    return tid;
}

/* Whether a descriptor is that of a live thread that isn't attached: its whole stack is a root. */
static bool is_unknown(const uintptr_t *p)
{
    return tid_of(p) > 0 && !is_attached((uintptr_t)p);
}

static void give(const oaki_root *r, void *ctx)
{
    const walk *w = ctx;
    w->fn(r->lo, r->hi, w->ctx);
}

/* Visit [lo, hi), except for excluded ranges. */
static void give_rest(const walk *w, uintptr_t lo, uintptr_t hi)
{
    oaki_root_visitor v = { give, (void *)w };
    oaki_root_emit_cut(&v, (oaki_root){ .kind = OAKI_ROOT_RANGE,
                                        .lo = (const char *)lo,
                                        .hi = (const char *)hi });
}

/* The result of a thread that has ended, and may be joined. */
static OAKI_NO_ASAN void give_result(const walk *w, const uintptr_t *p)
{
    uintptr_t at = (uintptr_t)p + self.result;
    if (self.result && tid_of(p) == 0) give_rest(w, at, at + sizeof(void *));
}

/* Visit [lo, hi), whose pages exist, except for stacks of ended threads. */
static OAKI_NO_ASAN void without_stacks(const walk *w, uintptr_t lo, uintptr_t hi)
{
    for (uintptr_t at = OAKI_ALIGN_UP(lo, 64); at + DESCRIPTOR <= hi; at += 64) {
        const uintptr_t *p = (const uintptr_t *)at;
        oaki_extent stack;
        if (!is_descriptor(p) || !names_stack(p, hi, &stack) || is_unknown(p)) continue;
        if (stack.lo > lo) give_rest(w, lo, OAKI_MIN(stack.lo, at));
        give_rest(w, (uintptr_t)(p + 1), (uintptr_t)(p + 2));
        give_result(w, p);
        lo = OAKI_MIN(stack.hi, hi);
        at = OAKI_MAX(at, OAKI_ALIGN_DOWN(lo, 64) - 64);
    }
    if (lo < hi) give_rest(w, lo, hi);
}

/* ---- pages ---- */

/* Find out which of at most PAGES pages exist. Returns the number of pages that were checked. */
static size_t are_touched(const walk *w, uintptr_t at, size_t n, bool *there)
{
    uint64_t *entry = w->pages->entry;
    uintptr_t page = oaki_os_page_size();
    ssize_t got = syscall(SYS_pread64, w->pagemap, entry, n * sizeof *entry,
                          (long)(at / page * sizeof *entry));
    n = got > 0 ? (size_t)got / sizeof *entry : 0; /* 0: the kernel's own, as [vsyscall] */
    *w->failed |= got < 0;
    uint64_t wrong = w->written_once ? OF_FILE : 0;
    for (size_t i = 0; i < n; i++)
        there[i] = !(entry[i] & wrong) &&
                   ((entry[i] & PRESENT) ||
                    ((entry[i] & SWAPPED) && oaki_probe((const char *)at + i * page)));
    return n;
}

static size_t are_in_memory(const walk *w, uintptr_t at, size_t n, bool *there)
{
    unsigned char *in = w->pages->in;
    uintptr_t page = oaki_os_page_size();
    bool known = !w->swaps && mincore((void *)at, n * page, in) == 0;
    *w->failed |= !known && !w->shared; /* too many may be untouched */
    for (size_t i = 0; i < n; i++)
        there[i] = w->shared ? !known || (in[i] & 1)
                             : known && (in[i] & 1) && oaki_probe((const char *)at + i * page);
    return n;
}

/* Visit the runs of existing pages. A descriptor and the touched part of its stack are in one run.
 */
static void touched_pages(const walk *w, uintptr_t lo, uintptr_t hi)
{
    bool *there = w->pages->there;
    uintptr_t page = oaki_os_page_size(), from = 0;
    for (uintptr_t at = OAKI_ALIGN_DOWN(lo, page); at < hi;) {
        size_t want = OAKI_MIN((hi - at + page - 1) / page, (size_t)PAGES);
        bool mapped = w->shared || w->pagemap < 0;
        size_t n = mapped ? are_in_memory(w, at, want, there) : are_touched(w, at, want, there);
        if (n == 0) break;
        for (size_t i = 0; i < n; i++, at += page) {
            if (there[i] && !from) from = OAKI_MAX(at, lo);
            if (!there[i] && from) {
                without_stacks(w, from, at);
                from = 0;
            }
        }
    }
    if (from) without_stacks(w, from, hi);
}

/* Whether an address is in the stack of an attached thread; *end gets the end of this part. */
static bool in_known_stack(uintptr_t at, uintptr_t *end)
{
    for (const oaki_thread *t = oaki_the_heap.threads; t; t = t->next)
        if (at >= (uintptr_t)t->stack_lo && at < (uintptr_t)t->stack_hi) {
            *end = OAKI_ALIGN_UP((uintptr_t)t->stack_hi, oaki_os_page_size());
            return true;
        }
    return false;
}

static uintptr_t next_known_stack(uintptr_t at, uintptr_t hi)
{
    for (const oaki_thread *t = oaki_the_heap.threads; t; t = t->next)
        if ((uintptr_t)t->stack_lo > at && (uintptr_t)t->stack_lo < hi) hi = (uintptr_t)t->stack_lo;
    return OAKI_ALIGN_DOWN(hi, oaki_os_page_size());
}

/* Visit [lo, hi) without the stacks of attached threads. The kernel merges similar neighbours into
 * one mapping, so a stack may be in the middle of one. */
static void without_known_stacks(const walk *w, uintptr_t lo, uintptr_t hi)
{
    while (lo < hi) {
        uintptr_t end;
        if (in_known_stack(lo, &end)) {
            lo = end;
            continue;
        }
        end = next_known_stack(lo, hi);
        if (end <= lo) return;
        touched_pages(w, lo, end);
        lo = end;
    }
}

static void without_own(const walk *w, uintptr_t lo, uintptr_t hi)
{
    size_t a = 0, b = w->nown; /* first extent that ends after lo */
    while (a < b) {
        size_t mid = (a + b) / 2;
        if (w->own[mid].hi <= lo) a = mid + 1;
        else b = mid;
    }
    for (; a < w->nown && w->own[a].lo < hi; a++) {
        if (w->own[a].lo > lo) without_known_stacks(w, lo, w->own[a].lo);
        lo = OAKI_MAX(lo, w->own[a].hi);
    }
    if (lo < hi) without_known_stacks(w, lo, hi);
}

/* ---- the kernel's list ---- */

typedef struct text {
    int fd;
    size_t n, at;
    bool end, failed;
    char buf[8192];
    pages pages; /* the walk's */
} text;

/* The next line of the text, without a newline; or NULL. If a file's name is too long for the
 * buffer, its middle is left out: only its beginning is looked at. */
static char *next_line(text *t)
{
    for (;;) {
        char *nl = memchr(t->buf + t->at, '\n', t->n - t->at);
        if (nl) {
            char *line = t->buf + t->at;
            *nl = '\0';
            t->at = (size_t)(nl - t->buf) + 1;
            return line;
        }
        if (t->end) return NULL;
        memmove(t->buf, t->buf + t->at, t->n - t->at);
        t->n -= t->at;
        t->at = 0;
        if (t->n == sizeof t->buf) t->n /= 2;
        ssize_t got = syscall(SYS_read, t->fd, t->buf + t->n, sizeof t->buf - t->n);
        if (got < 0 && errno == EINTR) continue;
        t->failed |= got < 0;
        if (got <= 0) t->end = true;
        else t->n += (size_t)got;
    }
}

static uintptr_t hexadecimal(char **s)
{
    uintptr_t x = 0;
    for (;; (*s)++) {
        unsigned c = (unsigned char)**s;
        if (c >= '0' && c <= '9') x = x << 4 | (c - '0');
        else if (c >= 'a' && c <= 'f') x = x << 4 | (c - 'a' + 10);
        else return x;
    }
}

/* The file's name in a line, or the kernel's word for a mapping without a file. It follows the
 * fourth blank. */
static const char *name_in(const char *s)
{
    for (int i = 0; i < 4 && s; i++) {
        s = strchr(s, ' ');
        if (s) s++;
    }
    while (s && *s == ' ') s++;
    return s ? s : "";
}

static bool begins(const char *s, const char *with)
{
    return strncmp(s, with, strlen(with)) == 0;
}

static bool is_shared_memory(const char *name)
{
    return begins(name, "/dev/zero") || begins(name, "/memfd:") || begins(name, "/SYSV") ||
           begins(name, "/dev/shm/") || begins(name, "/anon_hugepage");
}

/* Whether a mapping is of a device. A private mapping of /dev/zero or of a file is plain memory. */
static bool is_device(const char *name)
{
    return begins(name, "/dev/") && !begins(name, "/dev/zero") && !begins(name, "/dev/shm/") &&
           !begins(name, "/dev/hugepages/");
}

/* Whether a mapping is memory, and not the kernel's own, such as [vvar]. */
static bool is_memory(const char *name)
{
    return begins(name, "[anon") || begins(name, "[heap");
}

/* Whether a shared mapping's file is this process's own. For another user's read-only file, mincore
 * reports all pages as present. Reading them would fault beyond its end, and fill its holes. */
static bool is_of_this_process(const char *name)
{
    return begins(name, "/dev/zero") || begins(name, "/memfd:");
}

static void look_at(walk *w, char *line)
{
    uintptr_t lo = hexadecimal(&line);
    if (*line++ != '-') return;
    uintptr_t hi = hexadecimal(&line);
    if (*line++ != ' ' || *line != 'r') return;
    const char *name = name_in(line);
    w->shared = line[3] == 's';
    w->written_once = line[1] != 'w' && !w->shared && *name != '\0';
    if (w->written_once && *name == '[' && !is_memory(name)) return;
    if (w->shared && line[1] != 'w' && !is_of_this_process(name)) return;
    if (w->shared ? !is_shared_memory(name) : is_device(name)) return;
    if (begins(name, "[stack"))
        lo = OAKI_MAX(lo, OAKI_ALIGN_DOWN((uintptr_t)__libc_stack_end, oaki_os_page_size()));
    without_own(w, lo, hi);
}

static bool swap_is_used(void)
{
    struct sysinfo s;
    return sysinfo(&s) != 0 || s.freeswap < s.totalswap;
}

static int open_own(const char *path)
{
    return (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
}

bool oaki_maps_each(void (*fn)(const char *lo, const char *hi, void *ctx), void *ctx)
{
    size_t mapped = 0;
    walk w = { .fn = fn, .ctx = ctx, .pagemap = open_own("/proc/thread-self/pagemap") };
    w.swaps = swap_is_used();
    text *t = oaki_os_map_scratch(sizeof *t);
    w.own = oaki_own_sorted(&w.nown, &mapped);
    bool can = t && w.own && (t->fd = open_own("/proc/thread-self/maps")) >= 0;
    if (can) {
        w.pages = &t->pages;
        w.failed = &t->failed;
        for (char *line; (line = next_line(t)) != NULL;) look_at(&w, line);
        syscall(SYS_close, t->fd);
        can = !t->failed;
    }
    if (w.own) oaki_os_release((void *)w.own, mapped);
    if (t) oaki_os_release(t, sizeof *t);
    if (w.pagemap >= 0) syscall(SYS_close, w.pagemap);
    return can;
}
