/* last.c - ends a process with the last of its own threads; the runtime's helpers don't count.
 *
 * POSIX ends a process when its last thread calls pthread_exit, but helper threads would stay for
 * ever, with all signals blocked. So a watcher starts when an attached thread exits, the main
 * thread is gone, and only threads that Oakum has started are attached. It samples the process's
 * threads until only helpers are left: their names begin with "oakum/". Then it calls exit(0), as
 * libc would have done. Without /proc, as after chroot, threads can't be seen. There the crew ends,
 * so that libc ends the process with its last thread. A debug server or leak detector that runs
 * keeps it.
 *
 * Owns: the watcher, one at a time. Lock: none. */
#include "crew.h"
#include "heap.h"
#include "os.h"
#include "task.h"
#include "thread.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LOOK_NS 20000000u

/* AO_int: stays set to the process's end or the heap's, as the main thread doesn't come back. A
 * fork's child has a main thread of its own, and no watcher. */
static unsigned int watching;

typedef enum life { GONE, UNKNOWN, ALIVE } life;

/* GONE: the thread has exited, belongs to the system, or is one of the runtime's own. UNKNOWN:
 * /proc can't be read, and the process doesn't end yet. */
static life life_of(int tid)
{
    oaki_task task;
    if (oaki_task_read(tid, &task))
        return oaki_task_is_dead(&task) || task.worker ? GONE
               : strncmp(task.name, "oakum/", 6) == 0  ? GONE
                                                       : ALIVE;
    return oaki_task_none(errno) ? GONE : UNKNOWN;
}

static bool only_helpers_left(void)
{
    DIR *d = opendir("/proc/self/task");
    bool only = d != NULL;
    while (only) {
        errno = 0;
        const struct dirent *e = readdir(d);
        if (!e) {
            only = errno == 0;
            break;
        }
        only = e->d_name[0] == '.' || life_of(atoi(e->d_name)) == GONE;
    }
    if (d) closedir(d);
    return only;
}

static bool can_see(void)
{
    return access("/proc/self/task", F_OK) == 0 || errno != ENOENT;
}

/* The program may leave /proc at any time. */
static void *watch(void *arg)
{
    while (can_see()) {
        if (life_of(oaki_os_pid()) == GONE && only_helpers_left() && can_see()) exit(0);
        if (oaki_crew_nap(LOOK_NS)) continue;
        AO_int_store(&watching, 0);
        return arg;
    }
    oaki_crew_dismiss();
    return arg;
}

static void after_fork(void)
{
    OAKI_REQUIRES_FORKED();
    AO_int_store(&watching, 0);
}

void oaki_last_init(void)
{
    oaki_fork_register(after_fork);
}

/* Those that Oakum has started may be left. If the exiting thread is the main one, it is still
 * alive here; the watcher waits for its end. */
void oaki_last_thread_exits(bool is_main)
{
    const oaki_heap *h = &oaki_the_heap;
    if (AO_load(&h->started) == 0 || AO_load(&h->nthreads) > AO_load(&h->nhired)) return;
    if (!is_main && life_of(oaki_os_pid()) == ALIVE) return;
    if (!AO_int_compare_and_swap_full(&watching, 0, 1)) return;
    if (oaki_thread_spawn("oakum/last", watch, NULL, false) != 0) AO_int_store(&watching, 0);
}
