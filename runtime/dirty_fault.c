/* dirty_fault.c - dirty pages by faults: memory that is scanned is made read-only. The first write
 * to a page raises SIGSEGV, whose handler (faultsignal.c) makes the page writable again.
 *
 * Objects without references are never protected, so a system call may write to them.
 *
 * A change of protection inside a mapping splits it. The number of mappings of a process is limited
 * (vm.max_map_count, 65,530), and the program's own mappings count toward it. So this file counts
 * the places where its protection changes, in shares of a sixteenth of the limit:
 *   - one share for runs of protected pages; beyond it, runs stay unprotected and count as dirty;
 *   - another share for single pages that are written; beyond it, a write opens a whole block
 *     around it;
 *   - blocks are so large that the heap has at most one share of them.
 *
 * So the total never exceeds a quarter of the limit, except after a fork. The child's mappings
 * don't merge again, and its initial number is taken off its share. When the program itself uses up
 * all mappings, nothing that takes one more is requested until the next cycle. Each refusal costs a
 * call for each page, and the remaining mappings are left to the program.
 *
 * Owns: `self`; the bitmap P, a bit for each page of the system.
 * Invariant: whenever the lock is free, a page is protected iff its bit in P is set. The exception
 * is a page that the program keeps read-only, by a seal or a mapping of its own.
 * Lock: self.lock, of a special kind: the handler takes it at any write, under any lock of the
 * runtime. All signals are blocked while it is held, so its holder is neither interrupted nor
 * stopped. It lies in a page that a fork wipes. pages_lock is held while pages are protected, so
 * that they don't change their kind meanwhile.
 * Bound: HELD bytes and RUNS runs under pages_lock at a time. */
#include "heap.h"
#include "os.h"
#include "ownmask.h"
#include "print.h"
#include "writer.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#define HELD ((size_t)4 << 20)
#define RUNS 32
#define BLOCK_LEAST ((size_t)64 << 10)
#define SAMPLES 10 /* samples of the threads' masks */
#define SAMPLE_NS 500000u
#define LASTS_NS 1000000000u /* a blocked signal is reported after this time */

typedef struct run {
    size_t from, to; /* pages of the system */
} run;

static struct {
    unsigned int *lock; /* AO_int: 0 free, 1 held, 2 held with waiters */
    AO_t *protected;    /* P */
    AO_t changes;       /* of protection, since the start */
    AO_t any;           /* pages protected */
    unsigned shift;     /* of a page of the system */
    size_t share;       /* of the limit on mappings */
    size_t ends;        /* places where a run of protected pages ends */
    size_t stuck;       /* the same, from before a fork */
    AO_t full;          /* no mapping was left in this cycle; atomic, not under the lock */
    int refused;        /* errno once mprotect is refused as such, otherwise 0 */
} self;

/* A page of the heap, plus 1, that this thread found unprotected although a write to it failed; and
 * the value of self.changes then. */
static __thread struct {
    size_t page;
    AO_t changes;
} puzzle __attribute__((tls_model("initial-exec")));

/* ---- the lock ---- */

/* A thread that has waited takes it as held with waiters: there may be others. */
static void acquire(void)
{
    unsigned int mine = 1;
    while (!AO_int_compare_and_swap_full(self.lock, 0, mine)) {
        unsigned int seen = AO_int_load(self.lock);
        if (seen == 0 || (seen == 1 && !AO_int_compare_and_swap_full(self.lock, 1, 2))) continue;
        oaki_futex_wait(self.lock, 2, 0);
        mine = 2;
    }
}

#ifdef OAKI_DEBUG

static bool is_locked(void)
{
    return AO_int_load(self.lock) != 0;
}

#endif

static void release_lock(void)
{
    OAKI_ASSERT(is_locked());
    if (AO_int_compare_and_swap_full(self.lock, 1, 0)) return;
    AO_int_store_release(self.lock, 0);
    oaki_futex_wake(self.lock, 1);
}

static uint64_t lock(void)
{
    uint64_t before = oaki_os_mask_signals(0);
    oaki_ownmask_enter(before);
    acquire();
    return before;
}

static void unlock(uint64_t before)
{
    release_lock();
    oaki_ownmask_leave();
    oaki_os_unmask_signals(before);
}

/* ---- P ---- */

static bool is_protected(size_t page)
{
    return AO_load(&self.protected[page / 64]) >> (page % 64) & 1;
}

static void note(run r, bool on)
{
    for (size_t page = r.from; page < r.to;) {
        size_t n = OAKI_MIN(r.to - page, 64 - page % 64);
        AO_t mask = ~(AO_t)0 >> (64 - n) << (page % 64), *word = &self.protected[page / 64];
        AO_store(word, on ? AO_load(word) | mask : AO_load(word) & ~mask);
        page += n;
    }
}

/* The first page in [page, end) whose bit equals `on`, or end. */
static size_t next_page(size_t page, size_t end, bool on)
{
    while (page < end) {
        AO_t word = AO_load(&self.protected[page / 64]);
        word = (on ? word : ~word) >> (page % 64);
        if (word) return OAKI_MIN(page + oaki_ctz(word), end);
        page = (page / 64 + 1) * 64;
    }
    return end;
}

static size_t pages_used(void)
{
    return AO_load(&oaki_the_heap.used) >> self.shift;
}

/* The change of `ends` when r, whose pages are all alike, changes. */
static int ends_more(run r, bool on)
{
    bool left = r.from > 0 && is_protected(r.from - 1);
    bool right = r.to < pages_used() && is_protected(r.to);
    return on ? 2 - 2 * (left + right) : 2 * (left + right) - 2;
}

static bool protect_system(run r, int prot)
{
    char *p = (char *)oaki_the_heap.base + (r.from << self.shift);
    return mprotect(p, (r.to - r.from) << self.shift, prot) == 0;
}

static bool is_refused_as_such(void)
{
    return mprotect(self.lock, oaki_os_page_size(), PROT_READ | PROT_WRITE) != 0;
}

/* A program that restricts itself (seccomp) may have the call refused as such. Then nothing has
 * changed, and protected pages stay protected for good. */
static void note_refused(int error, bool on)
{
    self.refused = error;
    if (on) return;
    oak_fatal("oakum: mprotect is refused by now (error %d): pages of the heap stay read only; "
              "allow it, or begin with another OAKUM_TRACKING than faults",
              error);
}

#ifdef OAKI_DEBUG

/* Do all bits of r equal `on`? */
static bool is_all(run r, bool on)
{
    return next_page(r.from, r.to, !on) == r.to;
}

#endif

/* Notes the change of r, whose pages were all in the other state. */
static void book(run r, bool on)
{
    size_t n = r.to - r.from;
    OAKI_ASSERT(is_locked());
    OAKI_ASSERT(r.from < r.to && r.to <= pages_used() && (on || AO_load(&self.any) >= n));
    OAKI_CHECK_SLOW(is_all(r, !on));
    self.ends += (size_t)ends_more(r, on);
    note(r, on);
    AO_store(&self.any, on ? AO_load(&self.any) + n : AO_load(&self.any) - n);
    AO_store(&self.changes, AO_load(&self.changes) + 1);
    OAKI_ASSERT(self.ends % 2 == 0 && (self.ends > 0) == (AO_load(&self.any) > 0));
}

/* Opens r, all of which is protected. Where the system refuses, a part may already be open and
 * written. So smaller parts are tried, down to one page, which is opened or not. A page that is
 * refused belongs to the program: it is sealed, or covered by another mapping. It stays as it is,
 * and is no longer tracked. Returns false when memory for mappings is out. */
static bool open_all(run r)
{
    bool all = true;
    OAKI_CHECK_SLOW(is_all(r, true));
    for (size_t n = r.to - r.from; r.from < r.to;) {
        run now = { r.from, OAKI_MIN(r.from + n, r.to) };
        bool open = protect_system(now, PROT_READ | PROT_WRITE);
        int error = open ? 0 : errno;
        if (error && error != ENOMEM && is_refused_as_such()) note_refused(error, false);
        n = now.to - now.from;
        if (!open && n > 1) {
            n /= 2;
            continue;
        }
        if (error == ENOMEM) {
            all = false;
            AO_store(&self.full, 1);
        } else {
            book(now, false);
        }
        if (open) n *= 2;
        r.from = now.to;
    }
    return all;
}

/* Protects r, all of which is open. Returns false when the system refuses: then it is still open. A
 * part may be protected by then, and is opened again as if all of it was. If that takes a mapping,
 * and the program has taken the last one meanwhile, the part stays protected and is noted so. */
static bool close_all(run r)
{
    OAKI_ASSERT(is_locked());
    OAKI_CHECK_SLOW(is_all(r, false));
    bool closed = protect_system(r, PROT_READ);
    int error = closed ? 0 : errno;
    if (error && error != ENOMEM && is_refused_as_such()) {
        note_refused(error, true);
        return false;
    }
    if (error == ENOMEM) AO_store(&self.full, 1);
    book(r, true);
    if (!closed) (void)open_all(r);
    return closed;
}

static bool is_within(int more, size_t shares)
{
    if (more <= 0) return true;
    return !AO_load(&self.full) && self.ends + self.stuck + (size_t)more <= shares * self.share;
}

/* Opens all of [from, to). Returns false when memory for mappings is out. */
static bool open_run(size_t from, size_t to)
{
    bool done = true;
    OAKI_ASSERT(is_locked());
    for (run r = { from, from };; r.from = r.to) {
        r.from = next_page(r.from, to, true);
        if (r.from == to) return done;
        r.to = next_page(r.from, to, false);
        if (!open_all(r)) done = false;
    }
}

/* ---- the handler's part ---- */

static size_t block_pages(size_t used)
{
    size_t n = BLOCK_LEAST >> self.shift;
    while (used / n > self.share) n *= 2;
    return n;
}

/* The program may have left no mapping: then all protected pages around the page are opened, which
 * takes none. */
static bool open_around(size_t page, size_t used)
{
    size_t n = block_pages(used), from = page / n * n;
    if (open_run(from, OAKI_MIN(from + n, used))) return true;
    for (from = page; from > 0 && is_protected(from - 1);) from--;
    return open_run(from, next_page(page, used, false));
}

static bool open_page(size_t page, size_t used)
{
    run r = { page, page + 1 };
    return (is_within(ends_more(r, false), 2) && open_all(r)) || open_around(page, used);
}

/* The page is not protected. Another thread may have had the same fault, and the page is now
 * writable. If it isn't at the next fault, and nothing has changed since, it is protected by other
 * code. */
static bool may_try_again(size_t page)
{
    AO_t changes = AO_load(&self.changes);
    if (puzzle.page == page + 1 && puzzle.changes == changes) {
        puzzle.page = 0;
        return false;
    }
    puzzle.page = page + 1;
    puzzle.changes = changes;
    return true;
}

bool oaki_fault_resolve(uintptr_t at)
{
    size_t off = at - oaki_the_heap.base, used = AO_load(&oaki_the_heap.used);
    if (off >= used) return false;
    size_t page = off >> self.shift;
    acquire();
    bool ours = is_protected(page);
    bool resolved = ours ? open_page(page, used >> self.shift) : may_try_again(page);
    release_lock();
    if (ours) oaki_dirty_count_fault();
    if (ours && !resolved)
        oak_fatal("oakum: no memory to make a page of the heap writable (RLIMIT_DATA?)");
    return resolved;
}

/* ---- for the collector ---- */

void oaki_fault_release(size_t from, size_t to)
{
    uint64_t mask = lock();
    (void)open_run(from >> self.shift, to >> self.shift);
    unlock(mask);
}

/* New spans are written at once; and a span without references must not be protected. */
void oaki_dirty_taken(size_t from, size_t to)
{
    OAKI_REQUIRES_LOCK(&oaki_the_heap.pages_lock);
    if (OAKI_LIKELY(AO_load(&self.any) == 0)) return;
    int saved = errno;
    from >>= self.shift;
    to >>= self.shift;
    if (next_page(from, to, true) < to) oaki_fault_release(from << self.shift, to << self.shift);
    errno = saved;
}

static bool is_scanned(size_t page)
{
    oaki_pte e = AO_int_load(&oaki_the_heap.pte[page >> (OAKI_PAGE_SHIFT - self.shift)]);
    unsigned kind = oaki_pte_kind(e);
    return (e & OAKI_PTE_CLASS) != 0 && kind < OAKI_KINDS && kind != OAKI_NOSCAN;
}

/* The next run of pages in [page, end) that are scanned and not protected; empty: none. */
static run next_written(size_t page, size_t end)
{
    run r = { end, end };
    for (page = next_page(page, end, false); page < end; page = next_page(page + 1, end, false)) {
        if (!is_scanned(page)) continue;
        r.from = page;
        for (r.to = page + 1; r.to < end && !is_protected(r.to) && is_scanned(r.to);) r.to++;
        return r;
    }
    return r;
}

/* Pages left unprotected stay dirty. */
static void close_runs(const run *r, size_t n)
{
    OAKI_REQUIRES_LOCK(&oaki_the_heap.pages_lock); /* no page changes its kind */
    uint64_t mask = lock();
    for (size_t i = 0; i < n; i++)
        if (is_within(ends_more(r[i], true), 1)) (void)close_all(r[i]);
    unlock(mask);
}

/* Finds runs from *at on, of at most `most` pages in all. *at is moved on to the end of the last
 * one. */
static size_t find_runs(size_t *at, size_t end, size_t most, bool again, run *r)
{
    size_t n = 0, stop = OAKI_MIN(end, *at + (HELD >> self.shift));
    if (again) oaki_lock_acquire(&oaki_the_heap.pages_lock);
    while (n < RUNS && most > 0 && *at < stop) {
        r[n] = next_written(*at, stop);
        if (r[n].to - r[n].from > most) r[n].to = r[n].from + most;
        *at = r[n].to;
        most -= r[n].to - r[n].from;
        n += r[n].from < r[n].to;
    }
    if (again) {
        close_runs(r, n);
        oaki_lock_release(&oaki_the_heap.pages_lock);
    }
    return n;
}

/* Do faults go to a handler that the program has set since? Its behaviour is unknown. Logged once,
 * as the change is for good. */
static bool lost(void)
{
    static AO_t reported;
    if (oaki_faultsignal_is_ours()) return false;
    if (!AO_compare_and_swap(&reported, 0, 1)) return true;
    oaki_log("oakum: the program now handles SIGSEGV: "
             "collections mark in one pause from here on\n");
    return true;
}

static size_t take(oaki_taking *x)
{
    run r[RUNS];
    size_t pages = 0, at = x->from >> self.shift, end = x->to >> self.shift;
    if (lost()) {
        errno = 0;
        return SIZE_MAX;
    }
    while (at < end && pages < x->most) {
        size_t n = find_runs(&at, end, x->most - pages, x->again, r);
        (void)AO_fetch_and_add1(&oaki_dirty_batch);
        for (size_t i = 0; i < n; i++) {
            pages += r[i].to - r[i].from;
            if (x->fn) x->fn(r[i].from << self.shift, r[i].to << self.shift, x->ctx);
        }
    }
    x->from = at << self.shift;
    errno = self.refused;
    return self.refused ? SIZE_MAX : pages;
}

/* Returns a thread that blocks the signal, as oaki_faultsignal_blocked does. *same: each sample
 * found that thread. Libc briefly blocks all signals where a thread begins and ends, so one sample
 * is no evidence. */
static int find_blocker(bool *same)
{
    int first = oaki_faultsignal_blocked(), tid = first;
    *same = true;
    for (unsigned i = 1; i < SAMPLES && tid; i++) {
        oaki_os_sleep_ns(SAMPLE_NS);
        tid = oaki_faultsignal_blocked();
        *same &= tid == first;
    }
    return tid;
}

/* Is RLIMIT_DATA set? Read-only pages don't count toward it. Other mappings would take the room
 * that they leave, and the pages could not be opened any more. */
static bool is_data_limited(void)
{
    struct rlimit data;
    return getrlimit(RLIMIT_DATA, &data) == 0 && data.rlim_cur != RLIM_INFINITY;
}

static void report_limited(void)
{
    static AO_t reported;
    if (!AO_compare_and_swap(&reported, 0, 1)) return;
    oaki_log("oakum: RLIMIT_DATA is set: collections mark in one pause meanwhile\n");
}

/* Logs the thread that blocks the signal, once that has lasted for a second: each sample at each
 * collection found that thread. With many short-lived threads on few processors, libc's brief block
 * lasts as long as a thread waits for a processor. */
static void report_blocker(int tid)
{
    static AO_t last, reported, since;
    uint64_t now = oaki_os_now_ns();
    if ((AO_t)tid != AO_load(&last)) AO_store(&since, now);
    AO_store(&last, (AO_t)tid);
    if (!tid || now - AO_load(&since) < LASTS_NS) return;
    if (!AO_compare_and_swap(&reported, 0, 1)) return;
    if (tid > 0)
        oaki_log("oakum: thread %d blocks SIGSEGV: collections mark in one pause meanwhile\n", tid);
    else
        oaki_log("oakum: /proc/self/task can't be read: collections mark in one pause\n");
}

static const char *begin(bool *gone)
{
    bool same;
    *gone = lost();
    if (*gone) return oaki_writer_fault.name;
    if (is_data_limited()) {
        report_limited();
        return "RLIMIT_DATA is set";
    }
    AO_store(&self.full, 0); /* without the lock, which a thread in mprotect may hold for long */
    int tid = find_blocker(&same);
    report_blocker(same ? tid : 0);
    return tid ? "SIGSEGV is blocked" : NULL;
}

/* ---- start ---- */

static bool make_lock(void)
{
    if (self.lock) return true;
    size_t size = oaki_os_page_size();
    void *p = oaki_os_map(size);
    if (!p) return false;
    if (madvise(p, size, MADV_WIPEONFORK) != 0) {
        int error = errno;
        oaki_os_release(p, size);
        errno = error;
        return false;
    }
    self.lock = p;
    return true;
}

static bool make_bitmap(void)
{
    if (self.protected) return true;
    size_t size = OAKI_ALIGN_UP(oaki_the_heap.reserved >> self.shift >> 3, oaki_os_page_size());
    void *p = oaki_os_reserve(size, oaki_os_page_size());
    if (!p) return false;
    if (oaki_os_commit(p, size) != 0) {
        oaki_os_release(p, size);
        errno = ENOMEM;
        return false;
    }
    self.protected = p;
    return true;
}

static int open_or_not(const char **what)
{
    size_t size = oaki_os_page_size();
    if (size > OAKI_PAGE) {
        *what = "page faults, as the system's pages are too large";
        return ENOTSUP;
    }
    if (is_data_limited()) {
        *what = "page faults, as RLIMIT_DATA is set";
        return ENOTSUP;
    }
    self.shift = oaki_log2(size);
    self.share = oaki_os_mappings_most() / 16;
    if (!make_lock() || !make_bitmap()) return errno;
    return oaki_faultsignal_install();
}

/* State of other threads is dropped, together with the lock. The mappings stay split. */
static void child(void)
{
    OAKI_REQUIRES_FORKED();
    self.stuck += self.ends;
    oaki_fault_release(0, AO_load(&oaki_the_heap.used));
    self.ends = 0;
    AO_store(&self.any, 0);
}

const oaki_writer oaki_writer_fault = {
    .name = "page faults",
    .open = open_or_not,
    .begin = begin,
    .take = take,
    .release = oaki_fault_release,
    .has = NULL,
    .mend = NULL,
    .child = child,
};
