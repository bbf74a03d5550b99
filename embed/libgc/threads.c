/* threads.c - creating, joining, registering threads; signals; fork.
 *
 * The heap attaches a thread when it first allocates, so registering is a courtesy here: a thread
 * that forgets it is scanned all the same. What a thread returned is kept alive until it is joined,
 * as libgc does: in a pinned record, which is listed by thread.
 *
 * Owns: the records. Lock: `lock`, a mutex of the host's; nothing is allocated and nobody waits
 *   for a thread while it is held, and no callback of a collection takes it. A forked child starts
 *   with it free. Bound: joining and detaching, O(records). */
#include "libgc.h"

#include <errno.h>
#include <oakum/gc.h>

typedef struct record {
    struct record *next, *prev;
    void *(*fn)(void *);
    void *arg, *result;
    pthread_t thread;
    unsigned held; /* by its creator, and by who is joining: it stays */
    /* it is in the list; its thread is over; nobody will ask for the result. With all three it
     * goes, once nobody holds it */
    bool listed, over, unwanted;
} record;

static struct {
    pthread_mutex_t lock;
    record *all; /* pinned objects */
} self = { .lock = PTHREAD_MUTEX_INITIALIZER };

/* The calling thread's; pinned, so that this word need not be scanned. */
static __thread record *mine __attribute__((tls_model("initial-exec")));

/* ---- records ---- */

static void *lock(void *unused)
{
    pthread_mutex_lock(&self.lock);
    return unused;
}

/* A thread that was stopped by a signal may hold it: who waits counts as stopped. */
static void lock_records(void)
{
    if (pthread_mutex_trylock(&self.lock) != 0) (void)oak_blocking_call(lock, NULL);
}

static void drop(record *r);
LGC_OUTSIDE(void, drop, (record *r), (r))

static void drop(record *r)
{
    if (lgc_is_blocked()) drop_outside(r);
    else oak_free(r);
}

/* And let go of this record, if that was the last use of it. */
static void unlock_records(record *r)
{
    bool gone = r && !r->held && r->listed && r->over && r->unwanted;
    if (gone) {
        if (r->next) r->next->prev = r->prev;
        if (r->prev) r->prev->next = r->next;
        else self.all = r->next;
    }
    pthread_mutex_unlock(&self.lock);
    if (gone) drop(r);
}

/* By the thread or by its creator, whichever comes first: so before others know its number. */
static void list(record *r, pthread_t thread)
{
    if (r->listed) return;
    r->thread = thread;
    r->listed = true;
    r->next = self.all;
    if (r->next) r->next->prev = r;
    self.all = r;
}

/* The latest: one that is over may have had the same number. */
static record *find(pthread_t thread)
{
    record *r = self.all;
    while (r && (r->unwanted || !pthread_equal(r->thread, thread))) r = r->next;
    return r;
}

/* The calling thread is over, with this result. */
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
    result = mine->fn(mine->arg);
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

/* Looked up first: once the thread is joined, another one may have its number. */
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

/* ---- registering ---- */

void GC_allow_register_threads(void)
{
    lgc_ready();
    GC_start_mark_threads();
}

int GC_register_my_thread(const struct GC_stack_base *base)
{
    (void)base; /* the whole stack is scanned, from where the thread is on it */
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

/* Alternate signal stacks are found where the kernel has them. */
void GC_register_altstack(void *stack, GC_word size, void *altstack, GC_word altsize)
{
    (void)stack;
    (void)size;
    (void)altstack;
    (void)altsize;
}

/* They start when there is something to mark. */
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

/* No second signal is needed: a stopped thread waits for a word in memory. */
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

/* The heap has handlers of its own, always: a child can allocate and collect. */
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

static void fork_child(void)
{
    pthread_mutex_init(&self.lock, NULL);
}

void lgc_threads_init(void)
{
    oaki_fork_register(fork_child);
}
