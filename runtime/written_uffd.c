/* written_uffd.c - written pages by userfaultfd's asynchronous write protection: PAGEMAP_SCAN lists
 * the written pages and protects them again in one step.
 *
 * Owns: the userfaultfd and the page map's descriptor. Lock: as written.h says. */
#include "fd.h"
#include "heap.h"
#include "os.h"
#include "pagemap.h"
#include "writer.h"

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
#define TRIES 100 /* what stays protected costs a fault a page, no more */

typedef struct file {
    int fd; /* -1: none */
    oaki_fd_file id; /* a userfaultfd that knows WP_ASYNC has one of its own */
} file;

static struct {
    file uffd, pagemap;
} self = { { .fd = -1 }, { .fd = -1 } };

static long control(int fd, unsigned long request, void *arg)
{
    return syscall(SYS_ioctl, fd, request, arg);
}

/* The program may have closed it, and a userfaultfd of its own have the number by now. */
static bool is_ours(const file *f)
{
    return oaki_fd_is(f->fd, &f->id);
}

static void close_all(void)
{
    if (is_ours(&self.uffd)) syscall(SYS_close, self.uffd.fd);
    if (is_ours(&self.pagemap)) syscall(SYS_close, self.pagemap.fd);
    self.uffd.fd = self.pagemap.fd = -1;
}

/* ---- asking ---- */

/* Refused where the range isn't tracked any more, as when the program has closed descriptors that
 * it doesn't know: nothing would count as written. The flag sees to that; a second category would
 * take the kernel off its short path, 4.9 ns a page instead of 1.8. */
static size_t take(oaki_taking *x)
{
    oaki_page_run run[RUNS];
    uintptr_t base = oaki_the_heap.base;
    size_t pages = 0;
    while (x->from < x->to && pages < x->most) {
        oaki_page_scan scan = {
            .size = sizeof scan,
            .flags = OAKI_SCAN_NEED_TRACKED | (x->again ? OAKI_SCAN_PROTECT : 0),
            .start = base + x->from,
            .end = base + x->to,
            .runs = (uintptr_t)run,
            .runs_n = RUNS,
            .max_pages = x->most == SIZE_MAX ? 0 : x->most - pages,
            .required = OAKI_PAGE_WRITTEN,
            .returned = OAKI_PAGE_WRITTEN,
        };
        long n = control(self.pagemap.fd, OAKI_PAGEMAP_SCAN, &scan);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0 || scan.stopped_at <= scan.start) return SIZE_MAX;
        x->from = scan.stopped_at - base;
        (void)AO_fetch_and_add1(&oaki_written_batch);
        for (long i = 0; i < n; i++) {
            pages += (run[i].end - run[i].start) / oaki_os_page_size();
            if (x->fn) x->fn(run[i].start - base, run[i].end - base, x->ctx);
        }
    }
    return pages;
}

static void release(size_t from, size_t to)
{
    struct uffdio_writeprotect w = {
        .range = { .start = oaki_the_heap.base + from, .len = to - from },
    };
    for (int i = 0; i < TRIES && is_ours(&self.uffd); i++)
        if (control(self.uffd.fd, UFFDIO_WRITEPROTECT, &w) == 0 || errno != EAGAIN) return;
}

static const char *begin(bool *gone)
{
    *gone = false;
    return NULL;
}

/* ---- start ---- */

static bool register_range(void)
{
    struct uffdio_register r = {
        .range = { .start = oaki_the_heap.base, .len = oaki_the_heap.reserved },
        .mode = UFFDIO_REGISTER_MODE_WP,
    };
    return control(self.uffd.fd, UFFDIO_REGISTER, &r) == 0;
}

/* A range of one page, for a kernel that knows the first half of it only. */
static bool can_scan(void)
{
    oaki_taking x = { .to = oaki_os_page_size(), .most = SIZE_MAX };
    return take(&x) != SIZE_MAX;
}

static bool open_all(const char **what)
{
    struct uffdio_api api = { .api = UFFD_API, .features = FEATURE_WP_ASYNC };
    *what = "userfaultfd";
    self.uffd.fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY);
    if (!oaki_fd_note(self.uffd.fd, &self.uffd.id)) return false;
    *what = "userfaultfd's asynchronous write protection";
    if (control(self.uffd.fd, UFFDIO_API, &api) != 0 || !register_range()) return false;
    *what = "/proc/thread-self/pagemap";
    self.pagemap.fd =
        (int)syscall(SYS_openat, AT_FDCWD, "/proc/thread-self/pagemap", O_RDONLY | O_CLOEXEC);
    if (!oaki_fd_note(self.pagemap.fd, &self.pagemap.id)) return false;
    *what = "PAGEMAP_SCAN";
    return can_scan();
}

static int open_or_not(const char **what)
{
    if (open_all(what)) return 0;
    int error = errno;
    close_all();
    return error;
}

/* What the program has mapped over a part of the heap is in the range again. Not what it shares:
 * another mapping of the same memory has page table entries of its own, and writes by way of those
 * are not told. */
static bool mend(void)
{
    const oaki_heap *h = &oaki_the_heap;
    return is_ours(&self.uffd) && is_ours(&self.pagemap) && register_range() && can_scan() &&
           !oaki_os_is_shared(h->base, h->base + h->reserved);
}

/* The child's copy of the range is not registered, nor protected. */
const oaki_writer oaki_writer_uffd = {
    .name = "userfaultfd",
    .open = open_or_not,
    .begin = begin,
    .take = take,
    .release = release,
    .mend = mend,
    .child = close_all,
};
