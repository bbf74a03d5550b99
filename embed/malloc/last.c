/* last.c - ends a process whose last thread ends by the system call exit, behind libc's back.
 *
 * At such an end no destructor of a key runs, so that the runtime doesn't learn of it
 * (runtime/last.c). Oakum's own threads would keep the process, and they block all signals. So a
 * thread waits for a robust mutex that the main thread holds from the start: the kernel releases it
 * when that thread ends, in whatever way. Then it looks at the process's threads, more and more
 * rarely, until only Oakum's are left.
 *
 * The process ends as it would without them: no exit handlers run, and its status is that of the
 * thread that ends last. A system call that doesn't come through libc's syscall is not noted.
 *
 * Owns: struct self. Lock: none but the mutex. */
#include "preload.h"
#include "runtime/crew.h"
#include "runtime/thread.h"
#include <errno.h>
#include <pthread.h>
#include <unistd.h>

#define LOOK_NS UINT64_C(20000000)
#define LOOK_NS_MOST UINT64_C(1000000000)

static struct {
    pthread_mutex_t main_lives;
    pthread_key_t key; /* its destructor notes ends by libc */
    bool has_key;
    AO_t status; /* of the last end of a thread */
} self;

static void on_end_by_libc(void *unused)
{
    (void)unused;
    AO_store(&self.status, 0);
}

void oaki_last_note(int status)
{
    if (self.has_key && oaki_is_own_thread()) AO_store(&self.status, (unsigned char)status);
}

void oaki_last_thread_begins(void)
{
    if (!self.has_key) return;
    oaki_quiet_begin();
    (void)pthread_setspecific(self.key, &self);
    oaki_quiet_end();
}

/* Threads that ended behind libc's back stay attached. Without one, the runtime ends the process.
 */
static bool is_over(void)
{
    const oaki_heap *h = &oaki_the_heap;
    return AO_load(&h->nthreads) > AO_load(&h->nhired) && oaki_threads_all_own();
}

static void *await_end(void *arg)
{
    if (pthread_mutex_lock(&self.main_lives) != EOWNERDEAD) return arg;
    for (uint64_t ns = LOOK_NS; oaki_crew_nap(ns); ns = OAKI_MIN(2 * ns, LOOK_NS_MOST))
        if (!oaki_sealed_as_noted() && is_over()) _exit((int)AO_load(&self.status));
    return arg;
}

void oaki_last_start(void)
{
    pthread_mutexattr_t a;
    if (!self.has_key) self.has_key = pthread_key_create(&self.key, on_end_by_libc) == 0;
    oaki_last_thread_begins();
    if (pthread_mutexattr_init(&a) != 0) return;
    bool made = pthread_mutexattr_setrobust(&a, PTHREAD_MUTEX_ROBUST) == 0 &&
                pthread_mutex_init(&self.main_lives, &a) == 0 &&
                pthread_mutex_lock(&self.main_lives) == 0;
    pthread_mutexattr_destroy(&a);
    if (!made || oaki_thread_spawn("oakum/end", await_end, NULL, false) != 0)
        oaki_say("oakum: no thread to notice that the program's last one ends by a system call");
}
