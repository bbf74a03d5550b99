/* threads.c - creates, joins and registers threads; signals; fork.
 *
 * The heap attaches a thread at its first allocation, so registration isn't necessary here. As in
 * libgc, the result of a thread is kept alive until the thread is joined. It is in a pinned record,
 * in a list of all threads' records.
 *
 * Owns: the records. Lock: `lock`, a mutex of the host's. While it is held, the holder doesn't
 * allocate, and doesn't wait for a thread. No callback of a collection takes it. A forking thread
 * holds it. Bound: joining and detaching, O(records). */
#include "libgc.h"

#include <errno.h>
#include <oakum/gc.h>

typedef struct record {
    struct record *next, *prev;
    void *(*fn)(void *);
    void *arg, *result;
    pthread_t thread;
    unsigned held; /* number of users: the creator, joining threads */
    /* in the list; its thread has ended; its result isn't needed. With all three, and without
     * users, the record is freed */
    bool listed, over, unwanted;
} record;

static struct {
    pthread_mutex_t lock;
    record *all; /* pinned objects */
} self = { .lock = PTHREAD_MUTEX_INITIALIZER };

/* How often the calling thread has taken the lock: a handler of a signal may fork meanwhile. */
static __thread unsigned holds __attribute__((tls_model("initial-exec")));

/* The calling thread's record. It is pinned, so this word need not be scanned. */
static __thread record *mine __attribute__((tls_model("initial-exec")));

/* ---- records ---- */

static void *lock(void *unused)
{
    pthread_mutex_lock(&self.lock);
    return unused;
}

/* Take the lock. Its holder may be stopped by a pause, so a waiting thread counts as stopped, too.
 */
static void lock_records(void)
{
    if (holds++ > 0) return;
    if (pthread_mutex_trylock(&self.lock) != 0) (void)oak_blocking_call(lock, NULL);
}

static void release(void)
{
    if (--holds == 0) pthread_mutex_unlock(&self.lock);
}

static void drop(record *r);
LGC_OUTSIDE(void, drop, (record *r), (r))

static void drop(record *r)
{
    if (lgc_is_blocked()) drop_outside(r);
    else oak_free(r);
}

/* Release the lock, and free the record if it is no longer needed. */
static void unlock_records(record *r)
{
    bool gone = r && !r->held && r->listed && r->over && r->unwanted;
    if (gone) {
        if (r->next) r->next->prev = r->prev;
        if (r->prev) r->prev->next = r->next;
        else self.all = r->next;
    }
    release();
    if (gone) drop(r);
}

/* Put a record into the list. The thread or its creator does it, whichever is first. So the record
 * is listed before other threads know the thread's id. */
static void list(record *r, pthread_t thread)
{
    if (r->listed) return;
    r->thread = thread;
    r->listed = true;
    r->next = self.all;
    if (r->next) r->next->prev = r;
    self.all = r;
}

/* The newest record of a thread id: a thread that has ended may have had the same id. */
static record *find(pthread_t thread)
{
    record *r = self.all;
    while (r && (r->unwanted || !pthread_equal(r->thread, thread))) r = r->next;
    return r;
}

/* Record the end of the calling thread, and its result. */
static void finish(void *result)
{
    record *r = mine;
    if (!r) return;
    mine = NULL;
    lock_records();
    r->result = result;
    r->over = true;
    unlock_records(r);
}

static void *run(void *arg)
{
    void *result;
    mine = arg;
    pthread_cleanup_push(finish, NULL);
    lock_records();
    list(mine, pthread_self());
    unlock_records(NULL);
    void *given = mine->arg;
    mine->arg = NULL; /* the record lives until the thread is joined */
    result = mine->fn(given);
    pthread_cleanup_pop(0);
    finish(result);
    return result;
}

static bool is_detached(const pthread_attr_t *attr)
{
    int state = PTHREAD_CREATE_JOINABLE;
    if (attr) pthread_attr_getdetachstate(attr, &state);
    return state == PTHREAD_CREATE_DETACHED;
}

LGC_OUTSIDE(int, GC_pthread_create,
            (pthread_t *thread, const pthread_attr_t *attr, void *(*fn)(void *), void *arg),
            (thread, attr, fn, arg))

int GC_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*fn)(void *), void *arg)
{
    lgc_ready();
    if (lgc_is_blocked()) return GC_pthread_create_outside(thread, attr, fn, arg);
    record *r = oak_alloc_pinned(sizeof *r);
    if (!r) return ENOMEM;
    *r = (record){ .fn = fn, .arg = arg, .held = 1, .unwanted = is_detached(attr) };
    int e = oak_thread_create(thread, attr, run, r);
    if (e != 0) {
        oak_free(r);
        return e;
    }
    lock_records();
    list(r, *thread);
    r->held--;
    unlock_records(r);
    return 0;
}

typedef struct joining {
    pthread_t thread;
    void **result;
} joining;

static void *join(void *arg)
{
    const joining *j = arg;
    return (void *)(intptr_t)pthread_join(j->thread, j->result);
}

static void let_go(record *r, bool joined)
{
    if (!r) return;
    lock_records();
    r->held--;
    if (joined) r->over = r->unwanted = true;
    unlock_records(r);
}

static void is_cancelled(void *r)
{
    let_go(r, false);
}

/* The record is found first: once the thread is joined, a new one may have its id. */
int GC_pthread_join(pthread_t thread, void **result)
{
    int e;
    joining j = { thread, result };
    lock_records();
    record *r = find(thread);
    if (r) r->held++;
    unlock_records(NULL);
    pthread_cleanup_push(is_cancelled, r);
    e = (int)(intptr_t)oak_blocking_call(join, &j);
    pthread_cleanup_pop(0);
    let_go(r, e == 0);
    return e;
}

int GC_pthread_detach(pthread_t thread)
{
    lock_records();
    record *r = find(thread);
    if (r) r->unwanted = true;
    unlock_records(r);
    return pthread_detach(thread);
}

int GC_pthread_cancel(pthread_t thread)
{
    return pthread_cancel(thread);
}

void GC_pthread_exit(void *result)
{
    finish(result);
    pthread_exit(result);
}

/* ---- registration ---- */

void GC_allow_register_threads(void)
{
    lgc_ready();
    GC_start_mark_threads();
}

int GC_register_my_thread(const struct GC_stack_base *base)
{
    (void)base; /* the whole stack above the stack pointer is scanned */
    lgc_ready();
    if (oaki_thread_self()) return GC_DUPLICATE;
    return oak_thread_attach() == 0 ? GC_SUCCESS : GC_NO_MEMORY;
}

int GC_unregister_my_thread(void)
{
    oak_thread_detach();
    return GC_SUCCESS;
}

int GC_thread_is_registered(void)
{
    return oaki_thread_self() != NULL;
}

/* Does nothing: the kernel knows the alternate signal stacks. */
void GC_register_altstack(void *stack, GC_word size, void *altstack, GC_word altsize)
{
    (void)stack;
    (void)size;
    (void)altstack;
    (void)altsize;
}

/* Does nothing: markers start with the first mark. */
void GC_start_mark_threads(void)
{
    lgc_ready();
}

/* ---- signals ---- */

int GC_pthread_sigmask(int how, const sigset_t *set, sigset_t *old)
{
    sigset_t without;
    if (set && (how == SIG_BLOCK || how == SIG_SETMASK)) {
        without = *set;
        sigdelset(&without, lgc.suspend_signal);
        set = &without;
    }
    return pthread_sigmask(how, set, old);
}

static bool is_settable(int sig)
{
    return !AO_load_acquire(&lgc.started) && sig > 0 && sig <= SIGRTMAX;
}

void GC_set_suspend_signal(int sig)
{
    if (is_settable(sig)) lgc.suspend_signal = sig;
}

/* Does nothing: a stopped thread waits for a word in memory, not for a signal. */
void GC_set_thr_restart_signal(int sig)
{
    if (is_settable(sig)) lgc.restart_signal = sig;
}

int GC_get_suspend_signal(void)
{
    return lgc.suspend_signal;
}

int GC_get_thr_restart_signal(void)
{
    return lgc.restart_signal;
}

/* ---- fork ---- */

/* Does nothing: the heap always has fork handlers, so a child can allocate and collect. */
void GC_set_handle_fork(int value)
{
    (void)value;
}

void GC_atfork_prepare(void)
{
}

void GC_atfork_parent(void)
{
}

void GC_atfork_child(void)
{
}

/* Not inside the runtime, where the thread can't wait: such a child can't use the heap. */
static bool locks_in_fork(void)
{
    const oaki_thread *t = oaki_tls_thread;
    return !t || t->in_runtime != OAKI_IN_RUNTIME;
}

static void before_fork(void)
{
    if (locks_in_fork()) lock_records();
}

static void after_fork(void)
{
    if (locks_in_fork()) release();
}

/* A fork waits until no thread is halfway through a change of the list. As the heap's handlers are
 * registered earlier, this comes before what they do, and ends after it. */
void lgc_threads_init(void)
{
    (void)pthread_atfork(before_fork, after_fork, after_fork);
}
