/* thread.c - attaching, detaching and starting threads.
 *
 * A thread attaches when it first needs the heap. It detaches on request or, by the destructor of a
 * pthread key, when it exits. A thread may also end without detaching: by the exit system call, or
 * in a destructor that allocates after Oakum's has run for the last time. The next stop finds it
 * dead, or the thread that gets its id does.
 *
 * Owns: the list of threads, the records, oaki_tls_thread and oaki_tls_mcache, the exit key.
 * Invariants: a thread is in the list exactly while its oaki_tls_thread is set. Both change under
 * threads_lock, so no stop sees one without the other.
 * Lock: threads_lock, for which an attached thread waits parked, as a stop may hold it. Attaching
 * takes no lock of libc, which may hold any of them as it calls malloc. A step that may call the
 * host's malloc (setting the key's value) comes last, outside the runtime.
 * Bound: attach is O(threads), as it looks for a dead one with its id; detach is O(1). */
#include "contract.h"
#include "crew.h"
#include "dirty.h"
#include "heap.h"
#include "label.h"
#include "meta.h"
#include "os.h"
#include "ownstack.h"
#include "roots.h"
#include "stopsignal.h"
#include "thread.h"
#include "track.h"

#include <errno.h>
#include <limits.h>
#include <oakum/oakum.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define LITTLE_SPACE ((rlim_t)1 << 30)
#define LIMITED_STACK ((size_t)1 << 20)
#define MAPPINGS_LEFT 32 /* a helper takes up to four; the rest is for the heap and the host */

__thread oaki_mcache *oaki_tls_mcache
    __attribute__((tls_model("initial-exec"))) = &oaki_mcache_none;
__thread oaki_thread *oaki_tls_thread __attribute__((tls_model("initial-exec")));
__thread unsigned char oak_attached_ __attribute__((tls_model("initial-exec")));

/* Rounds of key destructors that this thread has completed. */
static __thread unsigned exit_rounds __attribute__((tls_model("initial-exec")));

static pthread_key_t exit_key, early_key;
static bool have_early_key;

/* ---- the list ---- */

static void link_thread(oaki_thread *t)
{
    oaki_heap *h = &oaki_the_heap;
    OAKI_REQUIRES_LOCK(&h->threads_lock);
    OAKI_ASSERT(!t->next && !t->prev && h->threads != t);
    t->next = h->threads;
    if (t->next) t->next->prev = t;
    h->threads = t;
    /* last.c reads them without the lock: no hired thread may seem to be the program's */
    if (!t->own && t->hired) AO_store_full(&h->nhired, AO_load(&h->nhired) + 1);
    if (!t->own) AO_store_full(&h->nthreads, AO_load(&h->nthreads) + 1);
}

void oaki_thread_unlink(oaki_thread *t)
{
    oaki_heap *h = &oaki_the_heap;
    OAKI_REQUIRES_LOCK(&h->threads_lock);
    OAKI_REQUIRES_RUNNING();
    OAKI_ASSERT(t->prev ? t->prev->next == t : h->threads == t);
    OAKI_ASSERT(!t->next || t->next->prev == t);
    OAKI_ASSERT(t->own || AO_load(&h->nthreads) > 0);
    if (t->next) t->next->prev = t->prev;
    if (t->prev) t->prev->next = t->next;
    else h->threads = t->next;
    if (!t->own) AO_store(&h->nthreads, AO_load(&h->nthreads) - 1);
    if (!t->own && t->hired) AO_store(&h->nhired, AO_load(&h->nhired) - 1);
    t->next = t->prev = NULL;
}

void oaki_thread_free(oaki_thread *t)
{
    OAKI_REQUIRES_LOCK(&oaki_the_heap.threads_lock);
    OAKI_REQUIRES_RUNNING();
    OAKI_ASSERT(t != oaki_the_heap.threads && !t->prev); /* unlinked */
    if (t->clears) oaki_pages_free(t->clears);
    oaki_zones_leave_all(t);
    oaki_mcache_free(t->home);
    oaki_labels_free(t->labels);
    oaki_meta_free(t->kept, t->kept_bytes, OAKI_META_OTHER);
    oaki_meta_free(t, sizeof *t, OAKI_META_OTHER);
}

/* Removes a dead thread that had this id. Ids are reused, so its record would seem alive. */
static void reap(int tid)
{
    oaki_thread *t = oaki_the_heap.threads;
    while (t && t->tid != tid) t = t->next;
    if (!t) return;
    oaki_thread_unlink(t);
    oaki_thread_free(t);
}

/* ---- attach ---- */

static oaki_thread *new_thread(int tid, char *lo, char *hi)
{
    OAKI_REQUIRES_LOCK(&oaki_the_heap.threads_lock);
    oaki_thread *t = oaki_meta_zalloc(sizeof *t, OAKI_META_OTHER);
    if (!t) return NULL;
    t->mcache = t->home = oaki_mcache_new(t, &oaki_the_heap.zone0);
    if (!t->mcache) {
        oaki_meta_free(t, sizeof *t, OAKI_META_OTHER);
        return NULL;
    }
    t->tid = tid;
    t->pthread = pthread_self();
    t->stack_lo = lo;
    t->stack_hi = hi;
    t->tp = oaki_thread_pointer();
    t->in_runtime = OAKI_IN_RUNTIME;
    return t;
}

/* Keeps forks out until the thread is attached. */
static oaki_thread *attach(int tid, char *lo, char *hi, bool own, bool hired)
{
    oaki_heap *h = &oaki_the_heap;
    OAKI_REQUIRES_STOPPABLE();
    OAKI_ASSERT(oaki_tls_mcache == &oaki_mcache_none);
    oaki_fork_hold();
    oaki_lock_acquire(&h->threads_lock);
    reap(tid);
    oaki_thread *t = new_thread(tid, lo, hi);
    if (t) {
        t->own = t->bare = own;
        t->hired = hired || oaki_crew_has_me();
        link_thread(t);
        oaki_tls_mcache = t->mcache;
        AO_compiler_barrier();
        oaki_tls_thread = t;
        oak_attached_ = 1;
    }
    oaki_lock_release(&h->threads_lock);
    oaki_fork_release();
    return t;
}

static void detach(oaki_thread *t);

/* Sets the key's value. If neither key is one of the first, libc calls calloc for a thread's first
 * value. That may be a function of the host's that comes back here, to a thread that is attached.
 * Any value but NULL works: the destructor reads oaki_tls_thread. */
static bool will_be_told_of_exit(void)
{
    if (pthread_setspecific(exit_key, &exit_key) == 0) return true;
    detach(oaki_enter());
    return false;
}

static oaki_thread *attach_self(bool own, bool hired)
{
    char *lo, *hi;
    int saved = errno;
    if (oaki_tls_thread) return oaki_tls_thread;
    if (!oaki_heap_ready()) return NULL;
    int tid = oaki_os_tid();
    oaki_ownstack(tid, &lo, &hi);
    oaki_thread *t = attach(tid, lo, hi, own, hired);
    if (t) {
        oaki_stopsignal_allow();
        oaki_leave(t);
        if (will_be_told_of_exit()) {
            errno = saved;
            return t;
        }
    }
    errno = ENOMEM;
    return NULL;
}

oaki_thread *oaki_thread_attach_self(void)
{
    return attach_self(false, false);
}

oaki_thread *oaki_thread_attach_hired(void)
{
    OAKI_ASSERT(!oaki_tls_thread);
    return attach_self(false, true);
}

oaki_thread *oaki_thread_attach_own(void)
{
    return attach_self(true, false);
}

int oak_thread_attach(void)
{
    return oaki_thread_attach_self() ? 0 : -1;
}

static const char *where(const oaki_thread *t)
{
    if (t->in_runtime == OAKI_IN_BLOCKING) return "in a blocking region";
    return "inside Oakum: from a signal handler, a mark function, a heap walk, a hook of a pause, "
           "or a handler of pthread_atfork";
}

OAKI_COLD oaki_thread *oaki_enter_slow(void)
{
    oaki_thread *t = oaki_tls_thread;
    if (t) oak_fatal("oakum: called %s", where(t));
    if (AO_int_load(&oaki_fork_gate) == (unsigned int)oaki_os_tid())
        oak_fatal("oakum: called from a handler of pthread_atfork");
    t = oaki_thread_attach_self();
    return t ? oaki_enter() : NULL;
}

/* ---- detach ---- */

/* A stray signal's handler may read either variable between the two stores. */
static void detach(oaki_thread *t)
{
    oaki_heap *h = &oaki_the_heap;
    OAKI_ASSERT(t->in_runtime == OAKI_IN_RUNTIME && t->blocking_depth == 0);
    oaki_lock_acquire_parked(t, &h->threads_lock);
    t->clears = NULL; /* a signal's handler that detaches it returns there */
    oaki_fiber_thread_exit(t);
    oak_attached_ = 0;
    oaki_tls_mcache = &oaki_mcache_none;
    oaki_tls_thread = NULL;
    AO_compiler_barrier();
    oaki_thread_unlink(t);
    oaki_thread_free(t);
    oaki_lock_release(&h->threads_lock);
}

void oak_thread_detach(void)
{
    if (!oaki_tls_thread) return;
    int saved = errno;
    detach(oaki_enter());
    pthread_setspecific(exit_key, NULL);
    errno = saved;
}

/* ThreadSanitizer forgets a thread in the last round. Instrumented code crashes after that. */
#ifdef OAKI_TSAN
#define ROUNDS (PTHREAD_DESTRUCTOR_ITERATIONS - 1)
#else
#define ROUNDS PTHREAD_DESTRUCTOR_ITERATIONS
#endif

/* A thread that is cancelled in a blocking region gets here from inside it. Other keys' destructors
 * may still need the heap, so this one asks for another call until the last round. */
static void on_exit_of_thread(void *value)
{
    oaki_thread *t = oaki_tls_thread;
    if (t && t->blocking_depth > 0) {
        t->blocking_depth = 1;
        oaki_blocking_end(t);
    }
    if (++exit_rounds < ROUNDS) pthread_setspecific(exit_key, value);
    else if (t) {
        int tid = t->tid;
        oaki_crew_note_exit(tid);
        detach(oaki_enter());
        oaki_last_thread_exits(tid == oaki_os_pid());
    }
}

/* ---- starting threads ---- */

typedef struct start {
    void *(*fn)(void *);
    void *arg;
    bool attach;
    oaki_seat *seat;     /* of a thread of Oakum's own */
    oaki_labels *labels; /* inherited from the creating thread */
    char name[16];
} start;

static void *run_attached(void *hidden)
{
    start *s = (start *)~(uintptr_t)hidden;
    /* Out of memory: the object is never freed, and keeps the argument. */
    bool attached = oaki_thread_attach_self() != NULL;
    void *(*fn)(void *) = s->fn;
    void *arg = s->arg;
    if (attached) {
        oaki_tls_thread->labels = s->labels;
        oak_free(s);
    }
    return fn(arg);
}

/* A copy of the calling thread's labels for another thread; none without memory. */
static oaki_labels *inherited(void)
{
    if (!oaki_tls_thread->labels) return NULL;
    oaki_thread *t = oaki_enter();
    oaki_labels *l = oaki_labels_copy(t->labels);
    oaki_leave(t);
    return l;
}

static void disinherit(oaki_labels *l)
{
    if (!l) return;
    oaki_thread *t = oaki_enter();
    oaki_labels_free(l);
    oaki_leave(t);
}

int oak_thread_create(void *thread, const void *attr, void *(*fn)(void *), void *arg)
{
    if (!fn) return EINVAL;
    start *s = oak_zone_alloc_pinned(NULL, sizeof *s); /* the new thread outlives the zone */
    pthread_t id;
    if (!s) return ENOMEM;
    s->fn = fn;
    s->arg = arg;
    s->labels = inherited();
    /* The argument is stored inverted. The C library keeps it in the thread's descriptor as long as
     * the thread runs. So it would keep the next object in this record's memory alive. */
    int e = pthread_create(thread ? thread : &id, attr, run_attached, (void *)~(uintptr_t)s);
    if (e != 0) {
        disinherit(s->labels);
        oak_free(s);
    }
    return e;
}

void oaki_thread_mask_signals(void)
{
    sigset_t all;
    sigfillset(&all);
    if (oaki_dirty_faults()) sigdelset(&all, SIGSEGV);
    pthread_sigmask(SIG_SETMASK, &all, NULL);
}

static void *run_own(void *p)
{
    oaki_thread_mask_signals();
    oaki_fork_hold();
    start s = *(start *)p;
    oaki_meta_free(p, sizeof s, OAKI_META_OTHER);
    oaki_fork_release();
    pthread_setname_np(pthread_self(), s.name);
    oaki_crew_enter(s.seat);
    void *result = !s.attach || oaki_thread_attach_self() ? s.fn(s.arg) : NULL;
    oaki_crew_leave();
    return result;
}

/* Enters the runtime for metadata, if this thread can be stopped and is not inside already. */
static oaki_thread *come_in(void)
{
    oaki_thread *t = oaki_tls_thread;
    return t && !t->in_runtime ? oaki_enter() : NULL;
}

static start *new_start(void)
{
    oaki_thread *t = come_in();
    start *s = oaki_meta_zalloc(sizeof *s, OAKI_META_OTHER);
    if (t) oaki_leave(t);
    return s;
}

static void free_start(start *s)
{
    oaki_thread *t = come_in();
    oaki_meta_free(s, sizeof *s, OAKI_META_OTHER);
    if (t) oaki_leave(t);
}

static bool is_scarce(int limit)
{
    struct rlimit space;
    return getrlimit(limit, &space) == 0 && space.rlim_cur < LITTLE_SPACE;
}

/* Limits the stack where address space or data is scarce: at full size, four such threads would
 * take the space that the host's own threads need. Attached threads keep the full size, as all that
 * they do is run functions of the host's. */
static void limit_stack(pthread_attr_t *attr, bool attach)
{
    size_t usual;
    if (attach || !(is_scarce(RLIMIT_AS) || is_scarce(RLIMIT_DATA))) return;
    if (pthread_attr_getstacksize(attr, &usual) == 0 && usual > LIMITED_STACK)
        (void)pthread_attr_setstacksize(attr, LIMITED_STACK);
}

/* Creates the thread; `limited`: with limit_stack. The caller retries without it, as the host's
 * thread-local storage comes out of the stack and may need more. */
static int create(start *s, bool limited)
{
    pthread_t id;
    pthread_attr_t attr;
    int e = pthread_attr_init(&attr);
    if (e != 0) return e;
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    if (limited) limit_stack(&attr, s->attach);
    e = pthread_create(&id, &attr, run_own, s);
    pthread_attr_destroy(&attr);
    return e;
}

/* The new thread blocks signals itself. If they were blocked here meanwhile, a stop would wait for
 * this thread, and this thread for a stopped one that is inside malloc. */
int oaki_thread_spawn(const char *name, void *(*fn)(void *), void *arg, bool attach)
{
    OAKI_REQUIRES_NO_STOP();
    if (!attach && !oaki_os_can_map(MAPPINGS_LEFT)) return EAGAIN;
    oaki_seat *seat = oaki_crew_take(attach);
    if (!seat) return oaki_crew_is_to_end() ? ECANCELED : EAGAIN;
    start *s = new_start();
    if (!s) {
        oaki_crew_give(seat);
        return ENOMEM;
    }
    s->seat = seat;
    s->fn = fn;
    s->arg = arg;
    s->attach = attach;
    strncpy(s->name, name, sizeof s->name - 1);
    int e = create(s, true);
    if (e == EINVAL) e = create(s, false);
    if (e != 0) {
        oaki_crew_give(seat);
        free_start(s);
    }
    return e;
}

/* Made at load time, when few keys are taken. */
static __attribute__((constructor(101))) void make_early_key(void)
{
    have_early_key = pthread_key_create(&early_key, on_exit_of_thread) == 0;
}

/* With a later key, more destructors of other keys run before Oakum's in each round. But with one
 * of the first keys, whose values need no memory, attaching calls no malloc. */
static int make_exit_key(void)
{
    int e = pthread_key_create(&exit_key, on_exit_of_thread);
    if (!have_early_key) return e;
    if (e == 0 && exit_key >= OAKI_FREE_KEYS) {
        pthread_key_delete(exit_key);
        e = EAGAIN;
    }
    if (e == 0) pthread_key_delete(early_key);
    else exit_key = early_key;
    return 0;
}

static bool have_key;

/* Called again when an earlier start failed at a later step. */
int oaki_threads_init(void)
{
    int e = have_key ? 0 : make_exit_key();
    if (e == 0 && !have_key) {
        oaki_last_init();
        oaki_fork_register(oaki_os_release_after_fork);
    }
    have_key = e == 0;
    if (e == 0) return oaki_stop_init();
    errno = e;
    return -1;
}

size_t oaki_threads_others(const oaki_thread *but, bool hired)
{
    size_t n = 0;
    oaki_heap *h = &oaki_the_heap;
    OAKI_REQUIRES_LOCK(&h->threads_lock);
    for (const oaki_thread *t = h->threads; t; t = t->next)
        n += t != but && (hired || !(t->own || t->hired));
    return n;
}

/* The thread's record goes with the metadata. A key that is deleted calls no destructor. */
void oaki_threads_end(void)
{
    OAKI_REQUIRES_STARTING();
    oak_attached_ = 0;
    oaki_tls_mcache = &oaki_mcache_none;
    oaki_tls_thread = NULL;
    OAKI_ASSERT(have_key);
    (void)pthread_setspecific(exit_key, NULL);
    (void)pthread_key_delete(exit_key);
    have_key = have_early_key = false;
    oaki_stopsignal_end();
}

void oaki_threads_drop_key(bool there)
{
    if (there && have_early_key) (void)pthread_key_delete(early_key);
    have_early_key = false;
}
