/* image.c - an image of the heap, by a pause, a fork and a pipe (image.h).
 *
 * The pipe carries frames: a length, then that many bytes. The last frame has the child's result.
 * So the parent needs no end of file, which another child of the program would delay by a copy of
 * the pipe.
 *
 * The child has exit signal 0: wait() doesn't see it, and the program gets no SIGCHLD. The parent
 * reaps it by its pid, with __WALL. A program that waits for any child with that flag may reap it
 * first. That does no harm, as the result is in the last frame.
 *
 * Owns: the images under way, each in the stack frames of its calling thread; `closed`.
 * Lock: gc_lock, for the pause. Several threads may each have a child. */
#include "image.h"

#include "cancel.h"
#include "child.h"
#include "gc/concurrent/concurrent.h"
#include "gc/trace/trace.h"
#include "runtime/collector.h"
#include "runtime/fd.h"
#include "runtime/os.h"
#include "runtime/thread.h"
#include "runtime/track.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define FRAME ((size_t)64 << 10)
#define LAST UINT32_MAX      /* the length field of the last frame */
#define LOOK_MS 100          /* interval of checks that a silent child lives */
#define GRACE_NS 2000000000u /* time past the deadline before the child is killed */
#define STOP_NS UINT64_C(10000000000) /* most time to stop all threads; then EBUSY */
#define ANSWER_MIN ((size_t)64 << 10)

typedef struct run {
    size_t lo, hi; /* offsets */
} run;

typedef struct ending {
    int32_t error, pad;
    uint64_t extra_memory;
} ending;

struct oaki_image {
    const oaki_image_request *request;
    oaki_image_answer *answer; /* for work in a pause */
    const oaki_thread *self;
    int fd; /* the pipe's end for writing, used in the child */
    bool in_stop, late;
    uint64_t deadline, extra_memory;
    run *runs; /* sorted by address */
    size_t nruns, runs_mapped;
    size_t n; /* bytes in buf */
    char *buf;
};

static unsigned int closed; /* AO_int: pages of the heap may be unreadable */

/* ---- queries of work ---- */

const oaki_thread *oaki_image_self(const oaki_image *im) { return im->self; }
const char *oaki_image_own_sp(const oaki_image *im) { return im->request->own_sp; }
bool oaki_image_in_stop(const oaki_image *im) { return im->in_stop; }

bool oaki_image_late(oaki_image *im)
{
    if (!im->late) im->late = oaki_os_now_ns() > im->deadline;
    return im->late;
}

bool oaki_image_run_has(const oaki_image *im, size_t slot)
{
    size_t lo = 0, hi = im->nruns;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (im->runs[mid].hi <= slot)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < im->nruns && im->runs[lo].lo <= slot;
}

size_t oaki_image_runs(const oaki_image *im)
{
    return im->nruns;
}

void oaki_image_run(const oaki_image *im, size_t i, size_t *lo, size_t *hi)
{
    *lo = im->runs[i].lo;
    *hi = im->runs[i].hi;
}

/* ---- runs ---- */

static size_t each_run(run *out)
{
    size_t n = 0;
    for (const oaki_mcache *mc = oaki_the_heap.mcaches; mc; mc = mc->next)
        for (unsigned sc = 0; sc < OAKI_SPANCLASSES; sc++) {
            const char *next = mc->run[sc].next, *end = mc->run_end[sc];
            if (!end || next >= end) continue;
            if (out) out[n] = (run){ oaki_heap_offset(next), oaki_heap_offset(end) };
            n++;
        }
    return n;
}

static void sift(run *a, size_t i, size_t n)
{
    for (size_t child; (child = 2 * i + 1) < n; i = child) {
        if (child + 1 < n && a[child + 1].lo > a[child].lo) child++;
        if (a[i].lo >= a[child].lo) return;
        run x = a[i];
        a[i] = a[child];
        a[child] = x;
    }
}

/* Lists the runs in order of address. Heapsort, as libc's qsort may call malloc. */
static bool find_runs(oaki_image *im)
{
    size_t n = im->nruns = each_run(NULL);
    im->runs_mapped = n * sizeof(run);
    if (n == 0) return true;
    run *a = im->runs = oaki_os_map_scratch(im->runs_mapped);
    if (!a) return false;
    each_run(a);
    for (size_t i = n / 2; i-- > 0;) sift(a, i, n);
    while (n-- > 1) {
        run x = a[0];
        a[0] = a[n];
        a[n] = x;
        sift(a, 0, n);
    }
    return true;
}

static int work_on(oaki_image *im)
{
    if (!find_runs(im)) return ENOMEM;
    int error = im->request->work(im, im->request->arg);
    return im->late && !error ? ETIMEDOUT : error;
}

/* ---- answers ---- */

/* Makes room for n more bytes in an answer. */
static bool reserve(oaki_image_answer *a, size_t n)
{
    if (n <= a->mapped - a->n) return true;
    size_t mapped = OAKI_MAX(a->mapped * 2, ANSWER_MIN);
    while (mapped - a->n < n) mapped *= 2;
    char *p = oaki_os_map_scratch(mapped);
    if (!p) return false;
    if (a->data) {
        memcpy(p, a->data, a->n);
        oaki_os_release(a->data, a->mapped);
    }
    a->data = p;
    a->mapped = mapped;
    return true;
}

static bool append(oaki_image_answer *a, const void *p, size_t n)
{
    if (!reserve(a, n)) return false;
    memcpy(a->data + a->n, p, n);
    a->n += n;
    return true;
}

void oaki_image_answer_free(oaki_image_answer *a)
{
    if (a->data) oaki_os_release(a->data, a->mapped);
    *a = (oaki_image_answer){ 0 };
}

static bool write_pipe(int fd, const void *p, size_t n)
{
    for (const char *at = p; n > 0;) {
        ssize_t done = write(fd, at, n);
        if (done < 0 && errno == EINTR) continue;
        if (done <= 0) return false;
        at += done;
        n -= (size_t)done;
    }
    return true;
}

static bool flush(oaki_image *im)
{
    uint32_t length = (uint32_t)im->n;
    if (length == 0) return true;
    im->n = 0;
    return write_pipe(im->fd, &length, sizeof length) && write_pipe(im->fd, im->buf, length);
}

bool oaki_image_put(oaki_image *im, const void *p, size_t n)
{
    if (im->in_stop) return append(im->answer, p, n);
    while (n > 0) {
        size_t piece = OAKI_MIN(n, FRAME - im->n);
        memcpy(im->buf + im->n, p, piece);
        im->n += piece;
        p = (const char *)p + piece;
        n -= piece;
        if (im->n == FRAME && !flush(im)) return false;
    }
    return true;
}

/* ---- the child ---- */

static void close_others(int a, int b)
{
#ifdef SYS_close_range
    unsigned lo = (unsigned)OAKI_MIN(a, b), hi = (unsigned)OAKI_MAX(a, b);
    if (b < 0) lo = hi = (unsigned)a;
    if (lo > 0) syscall(SYS_close_range, 0u, lo - 1, 0u);
    if (hi > lo + 1) syscall(SYS_close_range, lo + 1, hi - 1, 0u);
    syscall(SYS_close_range, hi + 1, ~0u, 0u);
#else
    (void)a;
    (void)b;
#endif
}

/* Raises the program's limits of memory, as far as permitted: they are not meant for the child. The
 * heap's reserved and unused space is unmapped, as it counts towards a limit of address space. */
static void make_room(void)
{
    static const int limits[] = { RLIMIT_AS, RLIMIT_DATA };
    const oaki_heap *h = &oaki_the_heap;
    bool limited = false;
    for (size_t i = 0; i < OAKI_COUNT(limits); i++) {
        struct rlimit l, most = { RLIM_INFINITY, RLIM_INFINITY };
        if (syscall(SYS_prlimit64, 0, limits[i], NULL, &l) != 0) continue;
        if (l.rlim_cur == RLIM_INFINITY) continue;
        limited = true;
        if (syscall(SYS_prlimit64, 0, limits[i], &most, NULL) == 0) continue;
        l.rlim_cur = l.rlim_max;
        syscall(SYS_prlimit64, 0, limits[i], &l, NULL);
    }
    size_t used = AO_load(&h->used);
    if (limited && used < h->reserved) syscall(SYS_munmap, h->base + used, h->reserved - used);
}

void oaki_image_expect_closed(void)
{
    AO_int_store(&closed, 1);
}

bool oaki_image_expects_closed(void)
{
    return AO_int_load(&closed) != 0;
}

/* Writable, too: the stack of the calling thread may be a block of the heap. */
static void open_pages(void)
{
    const oaki_heap *h = &oaki_the_heap;
    if (oaki_image_expects_closed())
        syscall(SYS_mprotect, h->base, AO_load(&h->used), PROT_READ | PROT_WRITE);
}

/* Prepares the child: no handlers of the program run, and the system kills the child first when
 * memory runs out. Uses bare system calls (child.h). */
static void settle_in(pid_t parent, int fd, int keep)
{
    static const int faults[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT };
    static const uint64_t standard[4]; /* the kernel's sigaction: SIG_DFL, no flags, no mask */
    for (size_t i = 0; i < OAKI_COUNT(faults); i++)
        syscall(SYS_rt_sigaction, faults[i], standard, NULL, sizeof(uint64_t));
    oaki_child_settle(parent);
    make_room();
    open_pages();
    close_others(fd, keep);
    int oom = (int)syscall(SYS_openat, AT_FDCWD, "/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    if (oom < 0) return;
    (void)!write(oom, "1000", 4);
    close(oom);
}

/* Bytes of memory private to this process, from the kernel; 0: unknown. */
static uint64_t own_memory(void)
{
    static const char label[] = "Private_Dirty:";
    char text[2048];
    int fd = (int)syscall(SYS_openat, AT_FDCWD, "/proc/self/smaps_rollup", O_RDONLY | O_CLOEXEC);
    if (fd < 0) return 0;
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    text[OAKI_MAX(n, 0)] = '\0';
    const char *p = strstr(text, label);
    uint64_t kib = 0;
    for (p = p ? p + sizeof label - 1 : ""; *p == ' '; p++) {}
    for (; *p >= '0' && *p <= '9'; p++) kib = kib * 10 + (uint64_t)(*p - '0');
    return kib << 10;
}

void oaki_image_measure(oaki_image *im)
{
    if (!im->request->measure || im->in_stop) return;
    uint64_t now = own_memory();
    im->extra_memory = OAKI_MAX(im->extra_memory, now);
}

static OAK_NORETURN void child(oaki_image *im, pid_t parent)
{
    uint32_t last = LAST;
    settle_in(parent, im->fd, im->request->keep_fd);
    im->buf = oaki_os_map_scratch(FRAME);
    ending end = { .error = im->buf ? work_on(im) : ENOMEM };
    oaki_image_measure(im);
    end.extra_memory = im->extra_memory;
    bool whole = !im->buf || flush(im);
    if (whole && write_pipe(im->fd, &last, sizeof last)) write_pipe(im->fd, &end, sizeof end);
    for (;;) syscall(SYS_exit_group, 0);
}

/* Returns the child's pid, 0 in the child, or -1. */
static pid_t fork_bare(void)
{
#ifdef OAKI_TSAN
    errno = ENOSYS;
    return -1;
#else
    return (pid_t)syscall(SYS_clone, 0L, NULL, NULL, NULL, NULL);
#endif
}

/* ---- the parent ---- */

/* Would a child be the first process of a new namespace (unshare(CLONE_NEWPID))? With its end no
 * other could begin there. The link can't be read before there is one. Noinline: the frame of
 * oaki_image_take is looked at as a root, and stays small. */
static OAKI_NOINLINE bool begins_namespace(void)
{
    static const char link[] = "/proc/thread-self/ns/pid_for_children";
    char to[64];
    struct stat s;
    return readlink(link, to, sizeof to) <= 0 && lstat(link, &s) == 0;
}

/* The pipe. The program may close all descriptors, and the numbers may then be others'. */
typedef struct channel {
    int fd[2];
    oaki_fd_file file; /* of both ends */
} channel;

static bool open_channel(channel *c)
{
    if (pipe2(c->fd, O_CLOEXEC) != 0) return false;
    if (oaki_fd_note(c->fd[0], &c->file)) return true;
    close(c->fd[0]);
    close(c->fd[1]);
    return false;
}

static bool is_lost(const channel *c, int end)
{
    errno = EBADF; /* of another file; a failure of the system says nothing */
    return !oaki_fd_is(c->fd[end], &c->file) && errno == EBADF;
}

static void close_end(const channel *c, int end)
{
    if (!is_lost(c, end)) close(c->fd[end]);
}

/* Bytes received from the child and not processed yet. */
typedef struct inbox {
    char data[FRAME + sizeof(uint32_t)];
    size_t n;
} inbox;

typedef enum progress { MORE, DONE, BROKEN, NO_ROOM } progress;

/* Processes all bytes of the inbox that can be used now; *left is the rest of an incomplete
 * frame. */
static progress take_frames(inbox *in, uint32_t *left, oaki_image_answer *out, ending *end)
{
    size_t at = 0;
    progress p = MORE;
    while (p == MORE) {
        if (*left == 0) {
            if (in->n - at < sizeof *left) break;
            memcpy(left, in->data + at, sizeof *left);
            at += sizeof *left;
            if (*left != LAST && (*left == 0 || *left > FRAME)) p = BROKEN;
            continue;
        }
        if (*left == LAST) {
            if (in->n - at < sizeof *end) break;
            memcpy(end, in->data + at, sizeof *end);
            p = DONE;
            continue;
        }
        size_t n = OAKI_MIN((size_t)*left, in->n - at);
        if (n == 0) break;
        if (!append(out, in->data + at, n)) p = NO_ROOM;
        at += n;
        *left -= (uint32_t)n;
    }
    memmove(in->data, in->data + at, in->n - at);
    in->n -= at;
    return p;
}

static bool gone(pid_t pid)
{
    pid_t r = waitpid(pid, NULL, WNOHANG | __WALL);
    return r == pid || (r < 0 && errno == ECHILD);
}

/* Receives the child's answer. Returns 0 or an error number. *reaped: the child is reaped. */
static int listen_to(const channel *c, pid_t pid, uint64_t deadline, oaki_image_answer *out,
                     bool *reaped)
{
    inbox *in = oaki_os_map_scratch(sizeof *in);
    uint32_t left = 0;
    ending end = { .error = EIO };
    progress p = in ? MORE : NO_ROOM;
    bool late = false, refused = false;
    while (p == MORE) {
        struct pollfd poll_fd = { .fd = c->fd[0], .events = POLLIN };
        int ready = poll(&poll_fd, 1, *reaped ? 0 : LOOK_MS);
        refused = ready < 0 && errno == EINVAL; /* the limit of descriptors is 0 */
        if (refused || is_lost(c, 0)) break;
        if (ready > 0) {
            ssize_t n = read(c->fd[0], in->data + in->n, sizeof in->data - in->n);
            if (n < 0 && errno == EINTR) continue;
            if (n <= 0) break;
            in->n += (size_t)n;
            p = take_frames(in, &left, out, &end);
        } else if (*reaped) {
            break; /* the child is dead, and all its output has been read */
        } else {
            *reaped = gone(pid);
        }
        late = oaki_os_now_ns() > deadline + GRACE_NS;
        if (late) break;
    }
    if (in) oaki_os_release(in, sizeof *in);
    out->extra_memory = end.extra_memory;
    if (p == NO_ROOM) return ENOMEM;
    return p == DONE ? end.error : late ? ETIMEDOUT : refused ? EMFILE : EIO;
}

static void reap(pid_t pid, int error, bool reaped)
{
    if (reaped || (error && gone(pid))) return;
    if (error) kill(pid, SIGKILL);
    oaki_child_reap(pid);
}

/* Receives the answer and reaps the child. Called by an attached thread outside of the runtime. The
 * thread counts as stopped meanwhile. */
static OAKI_NOINLINE int hear_out(oaki_thread *t, const channel *c, pid_t pid, uint64_t deadline,
                                  oaki_image_answer *out)
{
    bool reaped = false;
    oaki_blocking_begin(t);
    int error = listen_to(c, pid, deadline, out, &reaped);
    reap(pid, error, reaped);
    oaki_blocking_end(t);
    return error;
}

/* Stops the world and forks. The frame holds the thread's saved context, so the function returns
 * only when the world runs again. Returns the child's pid, or -1: work ran in the pause, or the
 * world didn't stop. */
static OAKI_NOINLINE pid_t stop_and_fork(oaki_thread *t, oaki_image *im, oaki_image_answer *out,
                                         int *error)
{
    oaki_heap *h = &oaki_the_heap;
    pid_t parent = oaki_os_pid(), pid = -1;
    for (;;) {
        if (!oaki_roots_refresh(t)) {
            *error = ENOMEM;
            return -1;
        }
        oaki_lock_acquire_parked(t, &h->gc_lock);
        oaki_thread_save_context(t);
        oaki_helpers_hold();
        oaki_gc_sweep_all();
        *error = oaki_world_try_stop(t, STOP_NS);
        if (*error == 0) break;
        oaki_helpers_release();
        oaki_lock_release(&h->gc_lock);
        if (*error == EBUSY) return -1;
    }
    if (!im->in_stop) pid = fork_bare();
    if (pid == 0) child(im, parent);
    if (pid < 0) {
        out->stopped = im->in_stop = true;
        oaki_concurrent_give_up();
        *error = oaki_image_expects_closed() ? EACCES : work_on(im);
        if (im->runs) oaki_os_release(im->runs, im->runs_mapped);
    }
    oaki_world_start(t);
    out->pause_ns = oaki_os_now_ns() - oaki_world_asked_ns();
    oaki_helpers_release();
    oaki_lock_release(&h->gc_lock);
    return pid;
}

int oaki_image_take(const oaki_image_request *r, oaki_image_answer *out)
{
    OAKI_NO_CANCEL;
    channel c = { .fd = { -1, -1 } };
    int error = 0;
    *out = (oaki_image_answer){ 0 };
    oaki_thread *t = oaki_enter();
    if (!t) return -1;
    oaki_image im = { .request = r, .answer = out, .self = t };
    im.in_stop = r->in_stop || begins_namespace() || !open_channel(&c);
    bool piped = !im.in_stop;
    im.fd = c.fd[1];
    im.deadline = oaki_os_now_ns() + OAKI_MIN(r->timeout_ns, UINT64_MAX / 4);
    pid_t pid = stop_and_fork(t, &im, out, &error);
    oaki_leave(t);
    if (piped) close_end(&c, 1);
    if (pid > 0) error = hear_out(t, &c, pid, im.deadline, out);
    if (piped) close_end(&c, 0);
    if (error == 0) return 0;
    oaki_image_answer_free(out);
    errno = error;
    return -1;
}

int oaki_image_ask(const oaki_image_request *r, void *out, size_t n, bool *stopped)
{
    oaki_image_answer a;
    if (oaki_image_take(r, &a) != 0) return -1;
    bool whole = a.n == n;
    if (whole) memcpy(out, a.data, n);
    if (stopped) *stopped = a.stopped;
    oaki_image_answer_free(&a);
    if (whole) return 0;
    errno = EIO;
    return -1;
}
