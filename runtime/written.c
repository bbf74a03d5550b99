/* written.c - written pages by userfaultfd's asynchronous write protection (written.h). */
#include "written.h"

#include "heap.h"
#include "os.h"
#include "pagemap.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <sys/syscall.h>
#include <unistd.h>

/* What the headers of older systems lack. */
#define FEATURE_WP_ASYNC ((uint64_t)1 << 15)
#ifndef UFFD_USER_MODE_ONLY
#define UFFD_USER_MODE_ONLY 1
#endif

#define RUNS 512

static struct {
    oaki_lock lock; /* for opening */
    bool tried;
    int uffd, pagemap; /* -1: none */
} self = { OAKI_LOCK_INIT(OAKI_RANK_BITS), false, -1, -1 };

static long control(int fd, unsigned long request, void *arg)
{
    return syscall(SYS_ioctl, fd, request, arg);
}

static void close_all(void)
{
    if (self.uffd >= 0) syscall(SYS_close, self.uffd);
    if (self.pagemap >= 0) syscall(SYS_close, self.pagemap);
    self.uffd = self.pagemap = -1;
}

static bool register_range(void)
{
    struct uffdio_register r = {
        .range = { .start = oaki_the_heap.base, .len = oaki_the_heap.reserved },
        .mode = UFFDIO_REGISTER_MODE_WP,
    };
    return control(self.uffd, UFFDIO_REGISTER, &r) == 0;
}

static bool open_all(void)
{
    struct uffdio_api api = { .api = UFFD_API, .features = FEATURE_WP_ASYNC };
    self.uffd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY);
    self.pagemap = (int)syscall(SYS_openat, AT_FDCWD, "/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    return self.uffd >= 0 && self.pagemap >= 0 && control(self.uffd, UFFDIO_API, &api) == 0 &&
           register_range();
}

bool oaki_written_start(void)
{
    int saved = errno;
    oaki_lock_acquire(&self.lock);
    if (!self.tried && !open_all()) close_all();
    self.tried = true;
    bool can = self.uffd >= 0;
    oaki_lock_release(&self.lock);
    errno = saved;
    return can;
}

/* ---- asking ---- */

/* Of [from, to), the written pages, protected again with `flags`. */
static size_t walk(size_t from, size_t to, uint64_t flags,
                   void (*fn)(size_t from, size_t to, void *ctx), void *ctx)
{
    oaki_page_run run[RUNS];
    uintptr_t base = oaki_the_heap.base, end = base + to;
    size_t pages = 0;
    for (uintptr_t at = base + from; at < end;) {
        oaki_page_scan scan = {
            .size = sizeof scan,
            .flags = flags,
            .start = at,
            .end = end,
            .runs = (uintptr_t)run,
            .runs_n = RUNS,
            .required = OAKI_PAGE_WRITTEN | OAKI_PAGE_TRACKABLE,
            .returned = OAKI_PAGE_WRITTEN,
        };
        long n = control(self.pagemap, OAKI_PAGEMAP_SCAN, &scan);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0 || scan.stopped_at <= at) return SIZE_MAX;
        at = scan.stopped_at;
        for (long i = 0; i < n; i++) {
            pages += (run[i].end - run[i].start) / oaki_os_page_size();
            if (fn) fn(run[i].start - base, run[i].end - base, ctx);
        }
    }
    return pages;
}

bool oaki_written_protect(size_t from, size_t to)
{
    int saved = errno;
    bool done = walk(from, to, OAKI_SCAN_PROTECT | OAKI_SCAN_NEED_TRACKED, NULL, NULL) != SIZE_MAX;
    errno = saved;
    return done;
}

size_t oaki_written_take(size_t from, size_t to, bool again,
                         void (*fn)(size_t from, size_t to, void *ctx), void *ctx)
{
    int saved = errno;
    size_t n = walk(from, to, again ? OAKI_SCAN_PROTECT | OAKI_SCAN_NEED_TRACKED : 0, fn, ctx);
    errno = saved;
    return n;
}

void oaki_written_release(size_t from, size_t to)
{
    int saved = errno;
    struct uffdio_writeprotect w = {
        .range = { .start = oaki_the_heap.base + from, .len = to - from },
    };
    while (control(self.uffd, UFFDIO_WRITEPROTECT, &w) != 0 && errno == EAGAIN) {
    }
    errno = saved;
}

/* ---- start ---- */

/* The child's copy of the range is not registered, nor protected. */
static void after_fork(void)
{
    oaki_lock_reset(&self.lock);
    close_all();
    self.tried = false;
}

int oaki_written_init(void)
{
    oaki_fork_register(after_fork);
    return 0;
}
