/* serve_wake.c - wakes the server's loop, and keeps its thread's descriptors apart.
 *
 * The loop's thread has a table of descriptors of its own. So a program that closes all unknown
 * descriptors, as daemons do, closes none of the server's. And the server keeps no descriptor of
 * the program open except standard error. If a filter refuses both close_range and unshare, the
 * table is the program's. Then a program that closes all descriptors ends the server.
 * The program has one end of a pair of sockets. If it closes that end and the number is reused,
 * nothing is sent to it. From then on the loop only wakes by its timeout.
 *
 * Owns: self. Lock: serve.c's. oaki_wake needs none: its end is open while any thread may call
 * it. */
#include "runtime/fd.h"
#include "runtime/thread.h"
#include "serve.h"
#include <dirent.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MANY (1 << 20) /* most descriptors closed one by one, if no limit is lower */

static struct {
    int end; /* the program's end, or -1 */
    int loops; /* the loop's end, or -1 */
    oaki_fd_file file, loops_file;
    bool apart; /* the loop has its own table */
    bool handed; /* and the program's table has no copies of its descriptors */
} self = { .end = -1, .loops = -1 };

int oaki_wake_open(void)
{
    int pair[2];
    oaki_fork_hold();
    int result = socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair);
    if (result == 0 && oaki_fd_note(pair[0], &self.file) &&
        oaki_fd_note(pair[1], &self.loops_file)) {
        self.end = oaki_fd_move_high(pair[0]);
        self.loops = pair[1];
        self.apart = self.handed = false;
    }
    oaki_fork_release();
    return result;
}

static bool is_ours(void)
{
    return oaki_fd_is(self.end, &self.file);
}

void oaki_wake(void)
{
    if (is_ours()) (void)send(self.end, "", 1, MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* ---- by the loop ---- */

int oaki_wake_fd(void)
{
    return self.loops;
}

bool oaki_wake_take(void)
{
    char some[64];
    ssize_t n = 0;
    if (!oaki_fd_is(self.loops, &self.loops_file)) self.loops = -1;
    while (self.loops >= 0 && (n = recv(self.loops, some, sizeof some, MSG_DONTWAIT)) > 0) continue;
    if (n < 0) return true;
    if (self.loops >= 0) close(self.loops);
    self.loops = -1;
    return false;
}

static int compare(const void *a, const void *b)
{
    int x = *(const int *)a, y = *(const int *)b;
    return (x > y) - (x < y);
}

/* Closes [from, to) except `keep`, which is sorted. */
static void close_each(int from, int to, const int *keep, size_t n)
{
    for (int fd = from; fd < to; fd++) {
        for (; n > 0 && *keep < fd; n--) keep++;
        if (n == 0 || *keep != fd) close(fd);
    }
}

/* One more than this thread's highest open descriptor. */
static int end_of_all(void)
{
    int end = 0;
    const struct dirent *e;
    DIR *all = opendir("/proc/thread-self/fd");
    while (all && (e = readdir(all))) end = OAKI_MAX(end, atoi(e->d_name) + 1);
    if (all) closedir(all);
    return end;
}

/* As close_range, for a filter that refuses it, and before Linux 5.9. If the limit was lowered,
 * some descriptors lie above it. They are listed after those below are closed, which leaves a free
 * one for the listing. */
static bool close_one_by_one(const int *keep, size_t n)
{
    struct rlimit limit = { .rlim_cur = MANY };
    if (unshare(CLONE_FILES) != 0) return false;
    (void)getrlimit(RLIMIT_NOFILE, &limit);
    int end = (int)OAKI_MIN(limit.rlim_cur, (rlim_t)MANY);
    close_each(0, end, keep, n);
    close_each(end, end_of_all(), keep, n);
    return true;
}

/* Closes the last range first: it is never empty, so its call unshares the table. */
static bool close_but(const int *keep, size_t n)
{
    unsigned flags = CLOSE_RANGE_UNSHARE, to = ~0u;
    for (size_t i = n + 1; i-- > 0; flags = 0) {
        unsigned from = i > 0 ? (unsigned)keep[i - 1] + 1 : 0;
        if (from <= to && syscall(SYS_close_range, from, to, flags) != 0 && flags)
            return close_one_by_one(keep, n);
        if (i > 0 && keep[i - 1] == 0) break;
        if (i > 0) to = (unsigned)keep[i - 1] - 1;
    }
    return true;
}

void oaki_wake_part(const oaki_listener *l)
{
    int keep[OAKI_SERVE_LISTENERS + 2] = { STDERR_FILENO, self.loops }, fd;
    size_t n = 2;
    for (unsigned i = 0; i < l->n; i++) keep[n++] = l->fd[i];
    qsort(keep, n, sizeof *keep, compare);
    self.apart = close_but(keep, n);
    /* occupies the standard descriptors, so that no later file gets them */
    while (self.apart && (fd = open("/dev/null", O_RDWR | O_CLOEXEC)) >= 0) {
        if (fd <= STDERR_FILENO) continue;
        close(fd);
        break;
    }
}

/* ---- by the program ---- */

static void close_loops(void)
{
    oaki_fd_close(self.loops, &self.loops_file);
}

bool oaki_wake_shares(void)
{
    return !self.apart;
}

bool oaki_wake_is_apart(void)
{
    return self.handed;
}

void oaki_wake_hand_over(const oaki_listener *l)
{
    if (!self.apart) return;
    oaki_fork_hold();
    close_loops();
    oaki_listen_let_go(l);
    self.handed = true;
    oaki_fork_release();
}

void oaki_wake_close(void)
{
    if (is_ours()) close(self.end);
    if (!self.handed) close_loops();
    self.end = self.loops = -1;
    self.apart = self.handed = false;
}
