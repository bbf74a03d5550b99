/* thread.h - the threads that Oakum knows, and how they are stopped.
 *
 * A thread is in one of three places:
 *   In user code, where a signal may stop it anywhere.
 *   In the runtime (between oaki_enter and oaki_leave), where it holds locks and half-changed
 *   structures. There the stop signal's handler only sets stop_pending, and the thread parks
 *   itself in oaki_leave.
 *   Blocked (between oak_blocking_enter and _leave), where its stack is already described and it
 *   gets no signal. It can't come back while the world is stopped.
 *
 * Owns: struct oaki_thread and the list of them. Lock: oaki_heap.threads_lock guards the list. A
 * stop holds it throughout, so that no thread appears or disappears meanwhile.
 * Fields marked (self) are written by the thread alone. Other threads read them only when it is
 * stopped. */
#ifndef OAKI_THREAD_H
#define OAKI_THREAD_H

#include "base.h"
#include "held.h"
#include "spill.h"
#include <pthread.h>

struct oaki_lock;
struct oaki_mcache;

/* Number of words that oak_fiber_switch saves of the stack that it leaves (fiber.c). */
#define OAKI_FIBER_TOP 32

typedef enum oaki_thread_state {
    OAKI_THREAD_RUNNING = 0, /* user code or runtime */
    OAKI_THREAD_BLOCKED = 1, /* in a blocking region */
    OAKI_THREAD_STOPPED = 2  /* parked by a stop */
} oaki_thread_state;

/* The state of waiting for a thread that is late to stop. Used by the stopper, under
 * threads_lock. */
typedef struct oaki_lateness {
    size_t stop; /* the number of the stop that the other fields are about */
    uint64_t waited_ns, resend_ns;
    uint64_t held_ns; /* time that it has stayed parked while the world ran */
    bool complained;
    bool gone;        /* another thread has its id */
} oaki_lateness;

#define OAKI_PATIENCE_SIZES 8
#define OAKI_PATIENCE_LIMITS 4

/* Refusals of memory in a row, at one limit (room.c). */
typedef struct oaki_patience {
    uint32_t zone; /* whose limit it is; 0: the heap's, or the system's */
    struct {
        /* In a row; of those, without a collection since the last one. */
        unsigned refused, at_once;
    } of[OAKI_PATIENCE_SIZES]; /* requests for 1 page, for 2, up to 4, up to 8, ... */
    uint64_t last_ns;
} oaki_patience;

typedef struct oaki_thread {
    struct oaki_thread *next, *prev;  /* heap's list */
    struct oaki_mcache *mcache;       /* (self) the cache that it allocates from */
    struct oaki_mcache *home;         /* its cache in the default zone */
    /* (self) caches of the zones that it has entered, the latest first, or NULL (zonecache.c).
     * native_zones: those of its own stack while it runs on a fiber. */
    struct oaki_mcache *zones, *native_zones;
    bool in_full;                     /* (self) a zone's on_full handler is running */
    bool finalizes;                   /* (self) it runs finalizers */
    oaki_held held;                   /* (self) what it calls later */
    unsigned notifies;                /* (self) calls of oak_finalizer_notify's function */
    oaki_patience patience[OAKI_PATIENCE_LIMITS]; /* (self) at the limits that it met last */
    /* (self) not 0: the handler only sets stop_pending; see OAKI_IN_RUNTIME */
    unsigned int in_runtime;
    unsigned int stop_pending;        /* (self) it must park on its way out */
    unsigned int state;               /* AO_int, oaki_thread_state */
    unsigned int stop_epoch;          /* AO_int: the last stop that it has answered */
    unsigned int blocking_depth;      /* (self) */
    uintptr_t waits_for;              /* (self) oak_blocking_wait's object, inverted; 0: none */
    int tid;
    bool own;                         /* a thread of the collector's */
    bool hired;                       /* a thread of Oakum's, which ends when it is told to */
    bool bare;                        /* (self) its frames hold no reference of the host's */
    pthread_t pthread;
    char *stack_lo, *stack_hi;        /* its own stack */
    char *sp;                         /* (self) valid when stopped or blocked; may be on alt */
    char *interrupted_sp;             /* (self) the interrupted code's, or NULL; as pc */
    /* (self) the alternate signal stack, if a signal stopped the thread on one, away from its own
     * stack or fiber; else NULL */
    char *alt_lo, *alt_hi;
    char *native_sp;                  /* (self) its own stack's sp while it runs on a fiber */
    /* (self) callee-saved registers, when blocked or parked in oaki_leave */
    uintptr_t regs[OAKI_REGS];
    /* (self) its own stack's registers while it runs on a fiber */
    uintptr_t native_regs[OAKI_REGS];
    uintptr_t native_top[OAKI_FIBER_TOP]; /* and a copy of the words at native_sp */
    char *tp;                         /* thread pointer: leads to its TLS */
    struct oak_fiber *fiber;          /* (self) the fiber that it runs on, or NULL */
    /* (self) the fiber that it ran on before, or NULL. It still runs there between oak_fiber_switch
     * and the host's own switch. A visit of the roots clears the field. */
    struct oak_fiber *fiber_left;
    const void *pc;                   /* (self) where the stop signal interrupted it, or NULL */
    unsigned int signalled; /* AO_int: the state of the stop signal on its way to it (park.h) */
    /* AO_int: a stop was abandoned because of this thread. It parks until the stop is complete, or
     * for a while. */
    unsigned int late;
    oaki_lateness lateness;
    /* AO_int: another thread has suspended it. Set in a stop; it stays where it parked, counting as
     * blocked, until this is 0 and it is woken here. */
    unsigned int suspended;
    struct oaki_labels *labels;       /* (self) labels of its allocations, or NULL (label.h) */
    /* (self) an interpreter's frames, or NULL (<oakum/frames.h>) */
    const struct oak_frame_source *frames;
    char *const *bottom;              /* AO: oaki_thread_stack_bottom's, or NULL */
    /* (self) metadata of a library built on the runtime, or NULL. Its words are roots, and it is
     * freed with this record. */
    void *kept;
    size_t kept_bytes;
    /* (self) what it does for a moment outside of the runtime, where it may end, or be missing in a
     * fork's child: the span that it clears, which is in no list, and the zone that it enters. */
    struct oaki_span *clears;
    struct oak_zone *comes;
} oaki_thread;

/* Values of in_runtime, besides 0 for user code. */
enum {
    OAKI_IN_RUNTIME = 1, /* between oaki_enter and oaki_leave, or attaching or detaching */
    OAKI_IN_BLOCKING = 2 /* in a blocking region */
};

/* The calling thread's cache, never NULL. An unattached thread's is oaki_mcache_none, whose runs
 * are all empty: its first allocation takes the slow path and attaches. In a blocking region it is
 * an empty one too, and t->mcache is the thread's. Initial-exec: 8 bytes of static TLS, which
 * dlopen can provide. */
extern OAKI_HIDDEN __thread struct oaki_mcache *oaki_tls_mcache
    __attribute__((tls_model("initial-exec")));
extern OAKI_HIDDEN __thread oaki_thread *oaki_tls_thread __attribute__((tls_model("initial-exec")));

/* Id of the thread that is in fork, or 0. Meanwhile no other thread enters the runtime. */
extern unsigned int oaki_fork_gate; /* AO_int */

/* Leads to the calling thread's TLS. */
OAKI_INLINE char *oaki_thread_pointer(void)
{
#if defined(__x86_64__)
    char *tp;
    __asm__("movq %%fs:0, %0" : "=r"(tp));
    return tp;
#else
    return __builtin_thread_pointer();
#endif
}

/* Debug builds: may a stop find the calling thread from here on? It must hold no lock that the stop
 * would wait for. gc_lock is not one: its holder alone begins a stop. */
bool oaki_lock_lets_leave(void);

/* NULL when not attached */
OAKI_INLINE oaki_thread *oaki_thread_self(void) { return oaki_tls_thread; }

/* Attaches the calling thread; starts the heap first if needed. NULL with errno ENOMEM. Not to be
 * called inside oaki_enter. */
oaki_thread *oaki_thread_attach_self(void);
oaki_thread *oaki_thread_attach_own(void); /* for the collector's: bare, and not reported */
oaki_thread *oaki_thread_attach_hired(void); /* one that Oakum has started; not attached yet */

oaki_thread *oaki_enter_slow(void);                /* attaches, or is fatal */
oaki_thread *oaki_enter_at_gate(oaki_thread *t);   /* waits until the fork is over */
void oaki_thread_park(oaki_thread *t);             /* answers a pending stop */

/* Flags the calling thread as in the runtime, attaching it first. NULL with ENOMEM when it can't be
 * attached. Keeps errno. Budget: 7 instructions. Fatal in a blocking region, and when the thread is
 * already inside. In the latter case Oakum was called by a mark function, or by a signal handler
 * that interrupted the allocator.
 *
 * The flag is read by the handler on the same thread, and by a fork. A fork first closes the gate
 * and then issues a fence on all threads. So compiler barriers are enough. */
OAKI_INLINE oaki_thread *oaki_enter(void)
{
    oaki_thread *t = oaki_tls_thread;
    if (OAKI_UNLIKELY(t == NULL || t->in_runtime != 0)) return oaki_enter_slow();
    t->in_runtime = OAKI_IN_RUNTIME;
    AO_compiler_barrier();
    if (OAKI_UNLIKELY(AO_int_load(&oaki_fork_gate) != 0)) return oaki_enter_at_gate(t);
    return t;
}

/* Parks here when a stop is pending. Keeps errno. Budget: 3 instructions. */
OAKI_INLINE void oaki_leave(oaki_thread *t)
{
    OAKI_ASSERT(t == oaki_tls_thread && t->in_runtime != 0);
    OAKI_ASSERT(oaki_lock_lets_leave());
    AO_compiler_barrier();
    t->in_runtime = 0;
    AO_compiler_barrier();
    if (OAKI_UNLIKELY(t->stop_pending)) oaki_thread_park(t);
}

/* Takes a lock that may be held for long, or that a stop holds (gc_lock, threads_lock). Inside
 * oaki_enter, with no lock held. While it waits, the caller counts as stopped: a collection may
 * run, and flush its cache. */
void oaki_lock_acquire_parked(oaki_thread *t, struct oaki_lock *l);

/* As above for gc_lock, for a thread that takes it often and briefly. It goes ahead of waiting
 * threads, as waking each in its turn takes many times as long. Now and then it waits for its own
 * turn, so that no thread waits forever. */
void oaki_gc_lock_barge(oaki_thread *t);

/* As oak_blocking_enter and _leave, for runtime code outside oaki_enter that waits for something a
 * stopped world may delay. */
void oaki_blocking_begin(oaki_thread *t);
void oaki_blocking_end(oaki_thread *t);

/* suspend: the calling thread leaves all its nested blocking regions, so that it may use the heap.
 * resume: it goes back, and its scanned state is scanned again. */
typedef struct oaki_region {
    uintptr_t regs[OAKI_REGS];
    char *sp;
    unsigned int depth;
} oaki_region;

void oaki_blocking_suspend(oaki_thread *t, oaki_region *r);
void oaki_blocking_resume(oaki_thread *t, const oaki_region *r);

/* Bytes of stack below the caller's frame, for an attached thread. SIZE_MAX where unknown: on an
 * alternate signal stack, or an undescribed one. */
size_t oaki_stack_left(void);

/* Makes *bottom, read in each stop, the cold end of the stack that t runs on. For a host that
 * switches stacks by itself, and reports that by assigning a variable. If *bottom is NULL or in t's
 * own stack, t is on its own stack.
 *
 * Otherwise t's stack pointer may lie below *bottom, in one stretch of memory with it. Then the
 * range between the two is scanned, and t's own stack is not: the host marks that where needed
 * (gc/host.h). If the stack pointer lies elsewhere, as between the assignment and the switch, both
 * stacks are scanned.
 *
 * `bottom` NULL: undo. Callable from any thread, for an attached one. *bottom must stay readable
 * until t has detached. */
void oaki_thread_stack_bottom(oaki_thread *t, char *const *bottom);

/* Stops every attached thread but the caller, which is inside oaki_enter. The caller holds gc_lock,
 * and so is the only stopper. Takes threads_lock.
 *
 * On return each thread is parked, blocked, or gone, and its sp, regs and pc are valid. The set of
 * loaded objects is known and consistent (roots.h). The caller has saved its own sp and regs by
 * oaki_thread_save_context, in a frame that outlives the stop. Threads that vanished without
 * detaching have had their caches flushed by oaki_mcache_flush. oaki_world_start frees their
 * records.
 *
 * Where a thread doesn't stop soon, the world runs again while the caller waits for it. So the heap
 * may have changed since the call.
 *
 * false when the loaded objects have changed since oaki_roots_refresh: the world runs. The caller
 * then releases gc_lock, refreshes, and tries again. */
bool oaki_world_stop(oaki_thread *self);
void oaki_world_start(oaki_thread *self); /* releases threads_lock */
bool oaki_world_stopped(void);

/* When the last stop began, by oaki_os_now_ns. Mutators ran until then, whatever the stopper had
 * waited for. gc_lock held. */
uint64_t oaki_world_asked_ns(void);

/* The cost of the last stop's failed attempts. longest_ns: the longest pause of one. rest_cpu_ns:
 * the process's CPU time while the world ran and late threads were waited for; that time is the
 * host's own. gc_lock held. */
typedef struct oaki_failed_stops {
    uint64_t longest_ns, rest_cpu_ns;
} oaki_failed_stops;

oaki_failed_stops oaki_world_failed(void);

/* As oaki_world_stop, with a limit in nanoseconds for all tries and the rests between them; 0: no
 * limit. Returns 0; EAGAIN when the loaded objects have changed, or EBUSY when a thread didn't
 * stop: then the world runs. */
int oaki_world_try_stop(oaki_thread *self, uint64_t limit_ns);

/* The same, however long a thread takes to stop and whatever the loader does. The stopped threads
 * can't be scanned. */
void oaki_world_halt(oaki_thread *self);

/* Waits until each attached thread but the caller has been outside of the runtime. It has then
 * dropped everything that it found there before (handshake.c). gc_lock held. */
void oaki_world_handshake(oaki_thread *self);

/* Saves the calling frame's registers and stack pointer in t. A macro, as it must expand in the
 * frame that stays. The registers pushed in that function's prologue lie above the stack
 * pointer. */
#define oaki_thread_save_context(t)                                \
    do {                                                           \
        oaki_thread_spill((t)->regs);                              \
        (t)->sp = (char *)(t)->regs[OAKI_REG_SP];                  \
    } while (0)

/* The calling thread, attached until now, exits (last.c). */
void oaki_last_thread_exits(bool is_main);
void oaki_last_init(void); /* once */

int oaki_threads_init(void); /* signal handler, exit key; 0 or -1 with errno */
/* The first keys of glibc: their values lie in the thread's descriptor, others are allocated. */
#define OAKI_FREE_KEYS 32
/* How many attached threads there are besides, with those that Oakum has started (hired) or
 * without. threads_lock held. */
size_t oaki_threads_others(const oaki_thread *but, bool hired);
/* The calling thread is the last one, and the heap is closed: undoes the rest of attaching, and
 * oaki_threads_init. */
void oaki_threads_end(void);
/* The key that was made as the library was loaded is no more; `there`: it is to be deleted. */
void oaki_threads_drop_key(bool there);
int oaki_stop_init(void);    /* the signal's part of that */

/* block: from here the calling thread, whose context is saved, counts as stopped. unblock: waits
 * until the world runs, and ends that. For blocking.c and the like: in_runtime must already keep
 * the handler out. */
void oaki_stop_block(oaki_thread *t);
void oaki_stop_unblock(oaki_thread *t);

/* unlink, then free, give up a thread that is not coming back: its cache and its record. It may be
 * off the list already. threads_lock held, world running. */
void oaki_thread_unlink(oaki_thread *t);
void oaki_thread_free(oaki_thread *t);

/* Starts a thread of the runtime's own (marker, sweeper, scavenger, finalizer), with all signals
 * blocked. With attach, it may hold references and is stopped like any other (finalizer). Without,
 * it never is (helper), and isn't started where mappings of the process run out: EAGAIN. 0 or an
 * error number; ECANCELED: the crew is to end. Takes locks of the host, such as malloc's. So not to
 * be called in a stop, nor inside oaki_enter unless gc_lock is held. */
int oaki_thread_spawn(const char *name, void *(*fn)(void *), void *arg, bool attach);

/* For a calling thread that runs no code of the host's: blocks all signals, save SIGSEGV where a
 * write to the heap may raise it. */
void oaki_thread_mask_signals(void);

/* Keeps forks out between hold and release. hold waits until no fork is under way, and a fork waits
 * for release. In between, the thread takes no gc_lock, and waits for no thread of the host's. It
 * may enter the heap and call hold again, but no collection begins. */
void oaki_fork_hold(void);
/* While on, a fork from a signal handler in this thread waits for nothing; its child can't use the
 * heap. */
void oaki_fork_inside(bool on);
void oaki_fork_release(void);
bool oaki_fork_is_held(void); /* by the calling thread */

/* Enclose a call of dl_iterate_phdr, whose lock a forked child would find locked for ever: no fork
 * comes in between. t may be NULL. Meanwhile it counts as stopped, its context saved. */
void oaki_loader_begin(oaki_thread *t);
void oaki_loader_end(oaki_thread *t);

/* dl_iterate_phdr between the two. Any thread, any state; fn may not fork. */
struct dl_phdr_info;
int oaki_loader_each(int (*fn)(struct dl_phdr_info *info, size_t size, void *ctx), void *ctx);

/* No stop halts a helper. So each of its small quanta on the heap goes between begin and end, for
 * one helper at a time. Neither a stop nor a fork comes in between. */
void oaki_helper_begin(void);
void oaki_helper_end(void);

/* The same for a thread that a stop may halt, inside of oaki_enter. false when a stop or another
 * helper goes first. oaki_lock_release of helper_lock ends it. */
bool oaki_helper_try(void);

/* Called by the holder of gc_lock around a stop that inspects the heap: no helper is at work in
 * it. */
void oaki_helpers_hold(void);
void oaki_helpers_release(void);
bool oaki_helpers_are_held(void); /* in a stop */

/* Is the calling thread in fork, between our fork handlers? Then it may not attach. */
bool oaki_fork_is_ours(void);

/* Registers a function that fork.c calls in the child, in the order of registration. The world is
 * as before the fork, and no lock is held. For each layer with threads to restart or tables to
 * repair. */
void oaki_fork_register(void (*child)(void));
/* As pthread_atfork. With oaki_fork_stays, which a library that is never unloaded sets before the
 * first call, the handlers outlive its destructors. */
extern bool oaki_fork_stays;
void oaki_fork_at(void (*prepare)(void), void (*parent)(void), void (*child)(void));

#endif
