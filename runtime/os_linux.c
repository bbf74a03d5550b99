/* os_linux.c - memory, clocks and futexes of Linux (os.h). Unmapping is in os_release.c, random
 * numbers in os_random.c, thread ids in os_self.c.
 *
 * Owns `latest`, a hint, and takes no lock. Uses syscall() where libc's wrapper is a cancellation
 * point: a cancelled thread must not unwind out of the runtime. A function without a result keeps
 * errno, as it may run in a signal handler. Reads /proc/thread-self, as /proc/self shows no memory
 * once the process's first thread has ended. */
#include "os.h"

#include "mappings.h"
#include "pagemap.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#if __has_include(<sys/single_threaded.h>)
#include <sys/single_threaded.h>
#endif
#include <sys/syscall.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#define MAPPINGS_DEFAULT 65530
#define NS 1000000000u
#define PLACES 4 /* where an aligned mapping is tried, before a larger one is cut */
#define HIGH ((void *)((uintptr_t)7 << 32)) /* a hint; the upper half of a word is rarely 7 */

static char *map_near(void *hint, size_t size)
{
    void *p = mmap(hint, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

/* Takes an address of the system's choice, if it is above 4 GiB. Valgrind gives lower ones: 32 bits
 * of a hash or of a length would look like pointers there, and keep objects alive. */
static char *map_inaccessible(size_t size)
{
    char *p = map_near(NULL, size);
    if (!p || (uintptr_t)p > UINT32_MAX) return p;
    munmap(p, size);
    return map_near(HIGH, size);
}

/* Tries the aligned places below the system's first choice: mappings grow downwards, so there is
 * mostly room. That choice may be a gap between others. */
static char *map_again(char *p, size_t size, size_t align)
{
    munmap(p, size);
    uintptr_t at = OAKI_ALIGN_DOWN((uintptr_t)p, align);
    for (int i = 0; i < PLACES && at > UINT32_MAX; i++, at -= align) {
        p = map_near((char *)at, size);
        if (!p || ((uintptr_t)p & (align - 1)) == 0) return p;
        munmap(p, size);
    }
    return NULL;
}

/* The latest reservation: there is mostly room below it. */
static AO_t latest;

static char *map_below(size_t size, size_t align)
{
    uintptr_t at = AO_load(&latest);
    if (align <= oaki_os_page_size() || at <= size) return map_inaccessible(size);
    char *p = map_near((char *)OAKI_ALIGN_DOWN(at - size, align), size);
    if (!p || (uintptr_t)p > UINT32_MAX) return p;
    munmap(p, size);
    return map_inaccessible(size);
}

static char *map_aligned(size_t size, size_t align)
{
    char *p = map_below(size, align);
    if (!p || ((uintptr_t)p & (align - 1)) == 0) return p;
    p = map_again(p, size, align);
    if (p) return p;
    if (size > SIZE_MAX - align) {
        errno = ENOMEM;
        return NULL;
    }
    p = map_inaccessible(size + align);
    if (!p) return NULL;
    char *start = (char *)OAKI_ALIGN_UP((uintptr_t)p, align);
    size_t head = (size_t)(start - p), tail = align - head;
    if (head > 0) oaki_os_release(p, head);
    if (tail > 0) oaki_os_release(start + size, tail);
    return start;
}

/* A mapping that has no place in the table is not made. */
static void *noted(void *p, size_t size)
{
    if (!p || oaki_mapping_add(p, size)) return p;
    munmap(p, size);
    errno = ENOMEM;
    return NULL;
}

void *oaki_os_reserve(size_t size, size_t align)
{
    char *p = map_aligned(size, align);
    if (p) AO_store(&latest, (AO_t)p);
    return noted(p, size);
}

bool oaki_os_split(void *p, size_t size, size_t first)
{
    OAKI_ASSERT(first > 0 && first < size && first % oaki_os_page_size() == 0);
    if (!oaki_mapping_add((char *)p + first, size - first)) return false;
    oaki_mapping_change(p, p, first);
    return true;
}

void oaki_os_shorten(void *p, size_t size, size_t keep)
{
    keep = OAKI_ALIGN_UP(keep, oaki_os_page_size());
    if (keep >= size) return;
    oaki_mapping_change(p, p, keep);
    oaki_os_release((char *)p + keep, size - keep);
}

int oaki_os_commit(void *p, size_t size)
{
    return mprotect(p, size, PROT_READ | PROT_WRITE);
}

/* By making them: every second page of a mapping becomes one of its own, and leaves another. */
bool oaki_os_can_map(size_t n)
{
    int saved = errno;
    size_t page = oaki_os_page_size();
    char *p = map_inaccessible(n * page);
    bool can = p != NULL;
    for (size_t i = 1; can && i < n; i += 2)
        can = mprotect(p + i * page, page, PROT_READ) == 0 || errno != ENOMEM;
    if (p) oaki_os_release(p, n * page);
    errno = saved;
    return can;
}

/* Maps new memory over the old, where a filter forbids advice. The range's userfaultfd registration
 * is lost then; dirty_uffd.c detects that. */
static bool map_over(void *p, size_t size)
{
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED;
    return mmap(p, size, PROT_READ | PROT_WRITE, flags, -1, 0) == p;
}

/* MADV_DONTNEED refuses locked memory (mlockall). Such memory stays resident, but must read as zero
 * as well. */
static void purge_pages(char *p, size_t size)
{
    if (madvise(p, size, MADV_DONTNEED) != 0 && (errno == EINVAL || !map_over(p, size)))
        memset(p, 0, size);
}

/* Where the system's pages are larger than the heap's, both ends may share one with other memory:
 * the kernel would round the length up, and zero that, too. */
void oaki_os_purge(void *p, size_t size)
{
    int saved = errno;
    size_t page = oaki_os_page_size();
    char *from = p, *to = from + size;
    char *lo = (char *)OAKI_ALIGN_UP((uintptr_t)from, page);
    char *hi = (char *)OAKI_ALIGN_DOWN((uintptr_t)to, page);
    if (lo >= hi) {
        memset(from, 0, size);
    } else {
        memset(from, 0, (size_t)(lo - from));
        purge_pages(lo, (size_t)(hi - lo));
        memset(hi, 0, (size_t)(to - hi));
    }
    errno = saved;
}

/* Works since Linux 5.14. On older systems the page faults come one by one, at first use. */
void oaki_os_touch(void *p, size_t size)
{
#ifdef MADV_POPULATE_WRITE
    int saved = errno;
    char *from = (char *)OAKI_ALIGN_DOWN((uintptr_t)p, oaki_os_page_size());
    (void)madvise(from, size + (size_t)((char *)p - from), MADV_POPULATE_WRITE);
    errno = saved;
#else
    (void)p;
    (void)size;
#endif
}

void *oaki_os_map(size_t size)
{
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p != MAP_FAILED) return noted(p, size);
    errno = ENOMEM; /* in place of any other error: a caller passes it on */
    return NULL;
}

void *oaki_os_map_scratch(size_t size)
{
    void *p = oaki_os_map(size);
    if (p) return p;
    int flags = MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE;
    p = mmap(NULL, size, PROT_READ | PROT_WRITE, flags, -1, 0);
    if (p != MAP_FAILED) return noted(p, size);
    errno = ENOMEM;
    return NULL;
}

void *oaki_os_remap(void *p, size_t size, size_t to)
{
    void *q = mremap(p, size, to, MREMAP_MAYMOVE);
    if (q != MAP_FAILED) {
        oaki_mapping_change(p, q, to);
        return q;
    }
    errno = ENOMEM;
    return NULL;
}

void oaki_os_huge(void *p, size_t size, bool on)
{
    int saved = errno;
    (void)madvise(p, size, on ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
    errno = saved;
}

/* Missing in the headers of older systems. */
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

bool oaki_os_join(void *p, size_t size)
{
    int saved = errno;
    bool joined = madvise(p, size, MADV_COLLAPSE) == 0;
    errno = saved;
    return joined;
}

size_t oaki_os_page_size(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

size_t oaki_os_memory(void)
{
    long pages = sysconf(_SC_PHYS_PAGES);
    return pages > 0 ? (size_t)pages * oaki_os_page_size() : SIZE_MAX;
}

size_t oaki_os_mappings_most(void)
{
    char text[32] = "";
    size_t n = 0;
    int fd = (int)syscall(SYS_openat, AT_FDCWD, "/proc/sys/vm/max_map_count", O_RDONLY | O_CLOEXEC);
    if (fd < 0) return MAPPINGS_DEFAULT;
    if (syscall(SYS_read, fd, text, sizeof text - 1) < 0) text[0] = '\0';
    syscall(SYS_close, fd);
    for (const char *p = text; *p >= '0' && *p <= '9' && n < SIZE_MAX / 20; p++)
        n = n * 10 + (size_t)(*p - '0');
    return n > 0 ? n : MAPPINGS_DEFAULT;
}

bool oaki_os_limited(void)
{
    static const int limits[] = { RLIMIT_AS, RLIMIT_DATA };
    struct rlimit rl;
    for (size_t i = 0; i < OAKI_COUNT(limits); i++)
        if (getrlimit(limits[i], &rl) == 0 && rl.rlim_cur != RLIM_INFINITY) return true;
    return false;
}

/* The raw call: glibc's CPU_COUNT set is too small for the largest machines, and the kernel
 * refuses a mask that is too small. */
unsigned oaki_os_cpus(void)
{
    uint64_t mask[64]; /* 4,096 processors */
    long bytes = syscall(SYS_sched_getaffinity, 0, sizeof mask, mask);
    unsigned n = 0;
    for (long i = 0; i < bytes / (long)sizeof mask[0]; i++) n += oaki_popcount(mask[i]);
    return n > 0 ? n : 1;
}

static uint64_t clock_ns(clockid_t clock)
{
    struct timespec ts = { 0 };
    (void)clock_gettime(clock, &ts);
    return (uint64_t)ts.tv_sec * NS + (uint64_t)ts.tv_nsec;
}

uint64_t oaki_os_now_ns(void)
{
    return clock_ns(CLOCK_MONOTONIC);
}

uint64_t oaki_os_lately_ns(void)
{
    return clock_ns(CLOCK_MONOTONIC_COARSE);
}

uint64_t oaki_os_wall_ns(void)
{
    return clock_ns(CLOCK_REALTIME);
}

uint64_t oaki_os_cpu_ns(void)
{
    return clock_ns(CLOCK_PROCESS_CPUTIME_ID);
}

uint64_t oaki_os_thread_cpu_ns(void)
{
    return clock_ns(CLOCK_THREAD_CPUTIME_ID);
}

int oaki_os_thread_clock(void)
{
    clockid_t clock;
    return pthread_getcpuclockid(pthread_self(), &clock) == 0 ? (int)clock : 0;
}

uint64_t oaki_os_clock_ns(int clock)
{
    int saved = errno;
    uint64_t ns = clock_ns((clockid_t)clock);
    errno = saved;
    return ns;
}

bool oaki_os_alone(void)
{
#if __has_include(<sys/single_threaded.h>)
    return __libc_single_threaded;
#else
    return false;
#endif
}

static struct timespec timespec_of(uint64_t ns)
{
    return (struct timespec){ .tv_sec = (time_t)(ns / NS), .tv_nsec = (long)(ns % NS) };
}

/* Sleeps to a deadline, so that signals don't lengthen the sleep. */
void oaki_os_sleep_ns(uint64_t ns)
{
    int saved = errno;
    struct timespec until = timespec_of(oaki_os_now_ns() + ns);
    while (syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) != 0 &&
           errno == EINTR)
        continue;
    errno = saved;
}

void oaki_os_sleep_exactly_ns(uint64_t ns)
{
    int saved = errno, slack = prctl(PR_GET_TIMERSLACK);
    (void)prctl(PR_SET_TIMERSLACK, 1000ul);
    oaki_os_sleep_ns(ns);
    if (slack > 0) (void)prctl(PR_SET_TIMERSLACK, (unsigned long)slack);
    errno = saved;
}

void oaki_os_prefer_others(void)
{
    struct sched_param none = { 0 };
    (void)syscall(SYS_sched_setscheduler, 0, SCHED_BATCH, &none);
}

void oaki_os_yield(void)
{
    syscall(SYS_sched_yield);
}

void oaki_futex_wait(unsigned int *word, unsigned int seen, uint64_t timeout_ns)
{
    int saved = errno;
    struct timespec timeout = timespec_of(timeout_ns);
    (void)syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, seen, timeout_ns ? &timeout : NULL, NULL, 0);
    errno = saved;
}

void oaki_futex_wake(unsigned int *word, int n)
{
    int saved = errno;
    (void)syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, n, NULL, NULL, 0);
    errno = saved;
}

/* Resident as the kernel counts it: present, and not the shared zero page. SIZE_MAX before Linux
 * 6.7. */
static size_t resident_by_scan(int fd, uintptr_t start, uintptr_t end)
{
    oaki_page_run run[20];
    oaki_page_scan scan = { .size = sizeof scan,
                            .runs = (uintptr_t)run,
                            .runs_n = OAKI_COUNT(run),
                            .inverted = OAKI_PAGE_ZERO,
                            .required = OAKI_PAGE_PRESENT | OAKI_PAGE_ZERO,
                            .returned = OAKI_PAGE_PRESENT };
    size_t found = 0;
    for (uintptr_t at = start; at < end; at = scan.stopped_at) {
        scan.start = at;
        scan.end = end;
        long n = syscall(SYS_ioctl, fd, OAKI_PAGEMAP_SCAN, &scan);
        if (n < 0 || scan.stopped_at <= at) return SIZE_MAX;
        for (long i = 0; i < n; i++) found += run[i].end - run[i].start;
    }
    return found;
}

/* The same for older kernels. The page map has a word per page, whose top bit means that something
 * is mapped. It counts the zero page too. */
static size_t resident_by_bits(int fd, uintptr_t start, uintptr_t end, size_t page)
{
    uint64_t entry[64];
    size_t found = 0;
    for (uintptr_t at = start; at < end;) {
        size_t want = OAKI_MIN((end - at) / page, OAKI_COUNT(entry));
        uintptr_t offset = at / page * sizeof entry[0];
        long got = syscall(SYS_pread64, fd, entry, want * sizeof entry[0], offset);
        if (got < (long)sizeof entry[0]) return SIZE_MAX;
        size_t n = (size_t)got / sizeof entry[0];
        for (size_t i = 0; i < n; i++) found += entry[i] >> 63;
        at += n * page;
    }
    return found * page;
}

size_t oaki_os_resident(const void *p, size_t n)
{
    int saved = errno;
    size_t found = SIZE_MAX, page = oaki_os_page_size();
    int fd = (int)syscall(SYS_openat, AT_FDCWD, "/proc/thread-self/pagemap",
                          O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        uintptr_t start = OAKI_ALIGN_DOWN((uintptr_t)p, page);
        uintptr_t end = OAKI_ALIGN_UP((uintptr_t)p + n, page);
        found = resident_by_scan(fd, start, end);
        if (found == SIZE_MAX) found = resident_by_bits(fd, start, end, page);
        syscall(SYS_close, fd);
    }
    errno = saved;
    return found;
}

static uint64_t change_mask(int how, uint64_t mask)
{
    uint64_t before = 0;
    int saved = errno;
    (void)syscall(SYS_rt_sigprocmask, how, &mask, &before, sizeof mask);
    errno = saved;
    return before;
}

uint64_t oaki_os_block_signals(uint64_t set)
{
    return change_mask(SIG_BLOCK, set);
}

uint64_t oaki_os_mask_signals(int but)
{
    return change_mask(SIG_SETMASK, but ? ~((uint64_t)1 << (but - 1)) : ~(uint64_t)0);
}

void oaki_os_unmask_signals(uint64_t before)
{
    (void)change_mask(SIG_SETMASK, before);
}

uint64_t oaki_os_mask_of(const void *context)
{
    uint64_t mask;
    memcpy(&mask, &((const ucontext_t *)context)->uc_sigmask, sizeof mask);
    return mask;
}

/* fn's return address is that of the interrupted instruction plus one, as an unwinder looks at the
 * byte before it. The interrupted code loses the data that it wrote below its stack pointer. */
void oaki_os_go_on_in(void *context, void (*fn)(void))
{
#if defined(__x86_64__)
    greg_t *r = ((ucontext_t *)context)->uc_mcontext.gregs;
    r[REG_RSP] -= (greg_t)sizeof(uintptr_t);
    *(uintptr_t *)r[REG_RSP] = (uintptr_t)r[REG_RIP] + 1;
    r[REG_RIP] = (greg_t)(uintptr_t)fn;
#elif defined(__aarch64__)
    mcontext_t *m = &((ucontext_t *)context)->uc_mcontext;
    m->regs[30] = m->pc + 1;
    m->pc = (uintptr_t)fn;
#else
#error "how does a handler have the thread go on elsewhere?"
#endif
}

/* Blocks both signals during the write, and consumes the one that the write raises. A signal that
 * was already pending stays. */
ssize_t oaki_os_write(int fd, const void *p, size_t n)
{
    const uint64_t pipe = (uint64_t)1 << (SIGPIPE - 1), size = (uint64_t)1 << (SIGXFSZ - 1);
    static const struct timespec now;
    uint64_t waiting = 0, before = oaki_os_block_signals(pipe | size);
    (void)syscall(SYS_rt_sigpending, &waiting, sizeof waiting);
    ssize_t done = syscall(SYS_write, fd, p, n);
    int saved = errno;
    uint64_t came = done >= 0 ? 0 : saved == EPIPE ? pipe : saved == EFBIG ? size : 0;
    if (came & ~waiting)
        while (syscall(SYS_rt_sigtimedwait, &came, NULL, &now, sizeof came) < 0 && errno == EINTR)
            continue;
    oaki_os_unmask_signals(before);
    errno = saved;
    return done;
}

/* The file's numbers are in pages: the address space, then the resident part. */
size_t oaki_os_rss(void)
{
    char line[64];
    int saved = errno, fd = (int)syscall(SYS_openat, AT_FDCWD, "/proc/thread-self/statm",
                                         O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? syscall(SYS_read, fd, line, sizeof line - 1) : 0;
    line[OAKI_MAX(n, 0)] = '\0';
    const char *second = strchr(line, ' ');
    if (fd >= 0) syscall(SYS_close, fd);
    errno = saved;
    return second ? strtoul(second, NULL, 10) * oaki_os_page_size() : 0;
}

/* Parses "from-to rwxs": hexadecimal addresses, and permissions whose fourth letter counts. */
static bool line_is_shared(const char *line, uintptr_t from, uintptr_t to)
{
    char *end;
    uintptr_t lo = strtoul(line, &end, 16), hi = *end == '-' ? strtoul(end + 1, &end, 16) : 0;
    return lo < to && hi > from && strlen(end) > 4 && end[4] == 's';
}

/* Keeps only the beginning of a line, which has all fields needed. */
bool oaki_os_is_shared(uintptr_t from, uintptr_t to)
{
    char in[512], line[64];
    size_t len = 0;
    ssize_t n;
    bool shared = false;
    int saved = errno, fd = (int)syscall(SYS_openat, AT_FDCWD, "/proc/thread-self/maps",
                                         O_RDONLY | O_CLOEXEC);
    while (fd >= 0 && !shared &&
           ((n = syscall(SYS_read, fd, in, sizeof in)) > 0 || (n < 0 && errno == EINTR)))
        for (ssize_t i = 0; i < n; i++) {
            if (in[i] != '\n') {
                if (len < sizeof line - 1) line[len++] = in[i];
                continue;
            }
            line[len] = '\0';
            len = 0;
            shared = shared || line_is_shared(line, from, to);
        }
    if (fd >= 0) syscall(SYS_close, fd);
    errno = saved;
    return shared;
}
