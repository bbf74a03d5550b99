/* twin.c - what a collection of one heap takes, against that of another.
 *
 * A heap is kept in a child, as it was at the fork. It collects when it is asked to, in turn with
 * the others and on the same processor: on a machine that is shared, one processor may be half as
 * fast as another, and this moment as the next. A collection by several markers would count the
 * time in which they wait for one that the system has put aside: OAKUM_GC_THREADS is 1.
 *
 * Owns: nothing; a twin is its scenario's. It ends with the scenario's process. */
#include "scenario.h"

#include <errno.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define TURNS 20
#define TURN_MOST 10 /* collections, */
#define TURN_MS 10.0 /* and begun before that is over */

static double cpu_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static double fastest_ms(void)
{
    double best = 1e9, total = 0;

    for (int i = 0; i < TURN_MOST && total < TURN_MS; i++) {
        double began = cpu_ms(), ms;

        oak_collect();
        ms = cpu_ms() - began;
        total += ms;
        if (ms < best) best = ms;
    }
    return best;
}

static void answer(int fd)
{
    char ask;

    while (read(fd, &ask, 1) == 1) {
        double ms = fastest_ms();

        if (write(fd, &ms, sizeof(ms)) != sizeof(ms)) break;
    }
    _exit(0);
}

void scn_twin_begin(scn_twin *t)
{
    int fds[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0 || (t->pid = fork()) < 0)
        scn_die("no process for a heap's twin: %m");
    if (t->pid == 0) {
        close(fds[0]);
        answer(fds[1]);
    }
    close(fds[1]);
    t->fd = fds[0];
}

static double ask(const scn_twin *t)
{
    double ms;

    if (send(t->fd, "", 1, MSG_NOSIGNAL) != 1 || read(t->fd, &ms, sizeof(ms)) != sizeof(ms))
        scn_die("a heap's twin is gone");
    return ms;
}

void scn_twins_time(scn_twin *const *twins, size_t n)
{
    cpu_set_t one;

    CPU_ZERO(&one);
    CPU_SET((size_t)sched_getcpu(), &one);
    for (size_t i = 0; i < n; i++) {
        twins[i]->ms = 1e9;
        sched_setaffinity(twins[i]->pid, sizeof(one), &one);
    }
    for (int turn = 0; turn < TURNS; turn++)
        for (size_t i = 0; i < n; i++) {
            double ms = ask(twins[i]);

            if (ms < twins[i]->ms) twins[i]->ms = ms;
        }
}

void scn_twin_end(scn_twin *t)
{
    shutdown(t->fd, SHUT_RDWR); /* other twins have the descriptor, too */
    close(t->fd);
    while (waitpid(t->pid, NULL, 0) < 0 && errno == EINTR) continue;
}
