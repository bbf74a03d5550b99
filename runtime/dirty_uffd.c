/* dirty_uffd.c - dirty pages by userfaultfd's asynchronous write protection: PAGEMAP_SCAN lists the
 * written pages and protects them again in one step.
 *
 * Programs close descriptors that they don't know, and a thread may have a descriptor table of its
 * own (close_range, unshare). If the descriptors were open in no other table, the range is no
 * longer tracked and nothing in it is protected. New descriptors then see all of it as written. If
 * another table still has them, the range stays registered with that one, and a thread without them
 * goes without tracking.
 *
 * A list of runs is too long for the stack of a mutator, so its memory is here: the rooms.
 *
 * Owns: the userfaultfd and the page map's descriptor; the rooms. Lock: as in dirty.h; the lock of
 * `mend` to change the descriptors. Other threads read meanwhile: a number with the identity of
 * another file is ignored. A room belongs to the thread that has set its bit in `rooms_taken`. */
#include "fd.h"
#include "heap.h"
#include "os.h"
#include "pagemap.h"
#include "print.h"
#include "roots.h"
#include "writer.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Missing in the headers of older systems. */
#define FEATURE_WP_ASYNC ((uint64_t)1 << 15)
#ifndef UFFD_USER_MODE_ONLY
#define UFFD_USER_MODE_ONLY 1
#endif

#define RUNS 512
#define ROOMS 8  /* threads that may take dirty pages at a time in a stop */
#define FEW 20   /* runs per call for a thread that finds all rooms taken */
#define TRIES 100 /* pages that stay protected cost one fault each, no more */

typedef struct file {
    AO_t number;   /* + 1; 0: none */
    AO_t dev, ino; /* each userfaultfd that supports WP_ASYNC has an inode of its own */
} file;

typedef struct files {
    file uffd, pagemap;
} files;

static files self;

static long control(int fd, unsigned long request, void *arg)
{
    return syscall(SYS_ioctl, fd, request, arg);
}

static int number(const file *f)
{
    return (int)AO_load(&f->number) - 1;
}

/* The program may have closed the file, and its number may now be that of a userfaultfd of the
 * program. */
static bool is_ours(const file *f)
{
    oaki_fd_file id = { .dev = (dev_t)AO_load(&f->dev), .ino = (ino_t)AO_load(&f->ino) };
    return oaki_fd_is(number(f), &id);
}

static bool has_both(void)
{
    return is_ours(&self.uffd) && is_ours(&self.pagemap);
}

static void close_files(const files *f)
{
    if (is_ours(&f->uffd)) syscall(SYS_close, number(&f->uffd));
    if (is_ours(&f->pagemap)) syscall(SYS_close, number(&f->pagemap));
}

static void copy(file *to, const file *from)
{
    AO_store(&to->dev, from->dev);
    AO_store(&to->ino, from->ino);
    AO_store(&to->number, from->number);
}

static void set_files(const files *f)
{
    copy(&self.uffd, &f->uffd);
    copy(&self.pagemap, &f->pagemap);
}

/* ---- taking dirty pages ---- */

static oaki_page_run rooms[ROOMS][RUNS];
static AO_t rooms_taken;

/* Returns the index of a room, or ROOMS when all are taken. */
static size_t take_room(void)
{
    for (size_t i = 0; i < ROOMS; i++)
        for (AO_t seen; !((seen = AO_load(&rooms_taken)) >> i & 1);)
            if (AO_compare_and_swap_full(&rooms_taken, seen, seen | (AO_t)1 << i)) return i;
    return ROOMS;
}

static void give_room(size_t i)
{
    AO_t seen;
    OAKI_ASSERT(AO_load(&rooms_taken) >> i & 1);
    do seen = AO_load(&rooms_taken);
    while (!AO_compare_and_swap_full(&rooms_taken, seen, seen & ~((AO_t)1 << i)));
}

/* Fails where the range isn't tracked any more, as when the program has closed unknown descriptors.
 * Otherwise nothing would count as written. A flag requests this failure. A second category would
 * take the kernel off its short path, for 2.7 times the time. */
static size_t scan_into(oaki_page_run *run, size_t runs, int pagemap, oaki_taking *x)
{
    uintptr_t base = oaki_the_heap.base;
    size_t pages = 0;
    while (x->from < x->to && pages < x->most) {
        oaki_page_scan scan = {
            .size = sizeof scan,
            .flags = OAKI_SCAN_NEED_TRACKED | (x->again ? OAKI_SCAN_PROTECT : 0),
            .start = base + x->from,
            .end = base + x->to,
            .runs = (uintptr_t)run,
            .runs_n = runs,
            .max_pages = x->most == SIZE_MAX ? 0 : x->most - pages,
            .required = OAKI_PAGE_WRITTEN,
            .returned = OAKI_PAGE_WRITTEN,
        };
        long n = control(pagemap, OAKI_PAGEMAP_SCAN, &scan);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0 || scan.stopped_at <= scan.start) return SIZE_MAX;
        x->from = scan.stopped_at - base;
        (void)AO_fetch_and_add1(&oaki_dirty_batch);
        for (long i = 0; i < n; i++) {
            pages += (run[i].end - run[i].start) / oaki_os_page_size();
            oaki_dirty_count_run(run[i].start - base, run[i].end - base, x->again);
            if (x->fn) x->fn(run[i].start - base, run[i].end - base, x->ctx);
        }
    }
    return pages;
}

static OAKI_NOINLINE size_t scan_few(int pagemap, oaki_taking *x)
{
    oaki_page_run run[FEW];
    return scan_into(run, FEW, pagemap, x);
}

static size_t scan_all(int pagemap, oaki_taking *x)
{
    size_t i = take_room();
    if (i == ROOMS) return scan_few(pagemap, x);
    size_t pages = scan_into(rooms[i], RUNS, pagemap, x);
    int saved = errno;
    give_room(i);
    errno = saved;
    return pages;
}

static size_t take(oaki_taking *x)
{
    return scan_all(number(&self.pagemap), x);
}

static void release(size_t from, size_t to)
{
    struct uffdio_writeprotect w = {
        .range = { .start = oaki_the_heap.base + from, .len = to - from },
    };
    for (int i = 0; i < TRIES && is_ours(&self.uffd); i++)
        if (control(number(&self.uffd), UFFDIO_WRITEPROTECT, &w) == 0 || errno != EAGAIN) break;
    oaki_dirty_count_released(from, to);
}

static const char *begin(bool *gone)
{
    *gone = false;
    return NULL;
}

/* ---- start ---- */

static bool register_memory(const files *f, uintptr_t at, size_t size)
{
    struct uffdio_register r = {
        .range = { .start = at, .len = size },
        .mode = UFFDIO_REGISTER_MODE_WP,
    };
    return control(number(&f->uffd), UFFDIO_REGISTER, &r) == 0;
}

static bool register_range(const files *f)
{
    return register_memory(f, oaki_the_heap.base, oaki_the_heap.reserved);
}

/* Scans one page, as a kernel may support asynchronous protection but not the scan. */
static bool can_scan(const files *f)
{
    oaki_taking x = { .to = oaki_os_page_size(), .most = SIZE_MAX };
    return scan_all(number(&f->pagemap), &x) != SIZE_MAX;
}

/* Moves the descriptor out of the way of a program that closes all descriptors and then relies on
 * low numbers. */
static bool note(file *f, long fd)
{
    oaki_fd_file id;
    if (fd < 0) return false;
    fd = oaki_fd_move_high((int)fd);
    if (!oaki_fd_note((int)fd, &id)) return false;
    *f = (file){ .number = (AO_t)fd + 1, .dev = (AO_t)id.dev, .ino = (AO_t)id.ino };
    return true;
}

static bool open_files(files *f, const char **what)
{
    struct uffdio_api api = { .api = UFFD_API, .features = FEATURE_WP_ASYNC };
    *what = "userfaultfd";
    if (!note(&f->uffd, syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY)))
        return false;
    *what = "userfaultfd's asynchronous write protection";
    if (control(number(&f->uffd), UFFDIO_API, &api) != 0) return false;
    *what = "/proc/thread-self/pagemap";
    return note(&f->pagemap, syscall(SYS_openat, AT_FDCWD, "/proc/thread-self/pagemap",
                                     O_RDONLY | O_CLOEXEC));
}

static bool track(const files *f, const char **what)
{
    *what = "userfaultfd's asynchronous write protection";
    if (!register_range(f)) return false;
    *what = "PAGEMAP_SCAN";
    return can_scan(f);
}

static int open_or_not(const char **what)
{
    files new = { 0 };
    if (open_files(&new, what) && track(&new, what)) {
        set_files(&new);
        return 0;
    }
    int error = errno;
    close_files(&new);
    return error;
}

static void report_lost(int error)
{
    static bool reported;
    if (!reported)
        oaki_log("oakum: userfaultfd is closed in a thread that can't open it again (error %d): "
                 "its collections mark in one pause\n",
                 error);
    reported = true;
}

/* Opens both files anew in a table that lacks one. If another table has both, it still has the
 * files named here. EBUSY shows that case. A file that can't be opened here may be open in another
 * table; that is no use if this thread counts. */
static bool open_again(bool counts)
{
    const char *what;
    files new = { 0 };
    close_files(&self);
    bool opened = open_files(&new, &what);
    if (opened && track(&new, &what)) {
        set_files(&new);
        oaki_dirty_count_released(0, AO_load(&oaki_the_heap.used));
        return true;
    }
    int error = errno;
    close_files(&new);
    errno = error;
    if (opened ? error != EBUSY : counts) return false;
    report_lost(error);
    return true;
}

/* Registers the range again, including parts over which the program has mapped something. Shared
 * memory is refused. Another mapping of the same memory has page table entries of its own, and
 * writes through those are not reported. */
static bool mend(bool counts)
{
    const oaki_heap *h = &oaki_the_heap;
    bool mended = has_both() ? register_range(&self) && can_scan(&self) : open_again(counts);
    if (!mended || !oaki_os_is_shared(h->base, h->base + h->reserved)) return mended;
    errno = EBUSY;
    return false;
}

void oaki_uffd_end(void)
{
    static const files none;
    OAKI_REQUIRES_STARTING();
    close_files(&self);
    set_files(&none);
}

/* The child's copy of the range is neither registered nor protected. */
static void child(void)
{
    OAKI_REQUIRES_FORKED();
    static const files none;
    close_files(&self);
    set_files(&none);
    oaki_dirty_count_released(0, AO_load(&oaki_the_heap.used));
    AO_store(&rooms_taken, 0);
}

/* ---- memory outside of the heap ---- */

static bool enroll(void *p, size_t size)
{
    return is_ours(&self.uffd) && register_memory(&self, (uintptr_t)p, size);
}

/* As scan_into, whose reports are ignored. */
static bool try_scan(void *p, size_t size, bool protect)
{
    oaki_page_run run;
    oaki_page_scan scan = {
        .size = sizeof scan,
        .flags = OAKI_SCAN_NEED_TRACKED | (protect ? OAKI_SCAN_PROTECT : 0),
        .start = (uintptr_t)p,
        .end = (uintptr_t)p + size,
        .runs = (uintptr_t)&run,
        .runs_n = 1,
        .required = OAKI_PAGE_WRITTEN,
        .returned = OAKI_PAGE_WRITTEN,
    };
    return is_ours(&self.pagemap) &&
           control(number(&self.pagemap), OAKI_PAGEMAP_SCAN, &scan) >= 0 &&
           scan.stopped_at == scan.end;
}

int oaki_uffd_init(void)
{
    return oaki_roots_exclude(rooms, sizeof rooms);
}

const oaki_writer oaki_writer_uffd = {
    .name = "userfaultfd",
    .open = open_or_not,
    .begin = begin,
    .take = take,
    .release = release,
    .has = has_both,
    .mend = mend,
    .child = child,
    .enroll = enroll,
    .try = try_scan,
};
