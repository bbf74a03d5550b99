/* thread.h - the threads that Oakum knows, and how they are stopped.
 *
 * A thread is in one of three places. In user code, where a signal may stop it anywhere. In the
 * runtime (between oaki_enter and oaki_leave), where it holds locks and half-changed structures,
 * so the stop signal's handler only notes stop_pending and the thread parks itself in
 * oaki_leave. Or blocked (between oaki_blocking_enter and _leave), where its stack is already
 * described and nobody signals it; it can't come back while the world is stopped.
 *
 * Owns: struct oaki_thread and the list of them. Lock: oaki_heap.threads_lock guards the list;
 * it is held for the whole of a stop, so that threads neither appear nor disappear in one.
 * Fields marked (self) are written by the thread alone and read by others only when it is
 * stopped. */
#ifndef OAKI_THREAD_H
#define OAKI_THREAD_H

#include "base.h"
#include "spill.h"
#include <pthread.h>

struct oaki_lock;
struct oaki_mcache;

/* Words that oak_fiber_switch keeps of the stack that is left (fiber.c). */
#define OAKI_FIBER_TOP 32

typedef enum oaki_thread_state {
    OAKI_THREAD_RUNNING = 0, /* user code or runtime */
    OAKI_THREAD_BLOCKED = 1, /* in a blocking region */
    OAKI_THREAD_STOPPED = 2  /* parked by a stop */
} oaki_thread_state;

/* How one is waited for that is to stand; the stopper's, under threads_lock. */
typedef struct oaki_lateness {
    size_t stop; /* the number of the stop of which the rest tells */
    uint64_t waited_ns, resend_ns;
    uint64_t held_ns; /* that it has stood with the world running */
    bool complained;
    bool gone;        /* another thread has its id */
} oaki_lateness;

/* How often it was refused memory in a row, in a zone (room.c). */
typedef struct oaki_patience {
    uint32_t zone;
    unsigned refused, at_once; /* times; of them without a collection, since the last one */
    uint64_t last_ns;
} oaki_patience;

typedef struct oaki_thread {
    struct oaki_thread *next, *prev;  /* heap's list */
    struct oaki_mcache *mcache;       /* (self) that it allocates from */
    struct oaki_mcache *home;         /* its cache in the default zone */
    /* (self) of the zones that it has entered, the latest first, or NULL (zonecache.c); and of
     * those that its own stack is in while it runs on a fiber */
    struct oaki_mcache *zones, *native_zones;
    bool in_full;                     /* (self) a zone's handler for lack of memory is running */
    bool finalizes;                   /* (self) it runs finalizers */
    oaki_patience patience;           /* (self) */
    unsigned int in_runtime;          /* (self) oaki_runtime_depth: the handler only takes note */
    unsigned int stop_pending;        /* (self) it is to stand on its way out */
    unsigned int state;               /* AO_int, oaki_thread_state */
    unsigned int stop_epoch;          /* AO_int: the stop that it has answered last */
    unsigned int blocking_depth;      /* (self) */
    uintptr_t waits_for;              /* (self) oak_blocking_wait's object, inverted; 0: none */
    int tid;
    bool own;                         /* the collector's */
    bool bare;                        /* (self) no reference of the program is in its frames */
    pthread_t pthread;
    char *stack_lo, *stack_hi;        /* its own stack */
    char *sp;                         /* (self) valid when stopped or blocked; may be on alt */
    char *interrupted_sp;             /* (self) of the interrupted code, or NULL; as pc */
    /* (self) the alternate signal stack, when a signal stopped it while its own stack or fiber was
     * left for one; else NULL */
    char *alt_lo, *alt_hi;
    char *native_sp;                  /* (self) of its own stack while it runs on a fiber */
    /* (self) callee-saved registers, when blocked or parked in oaki_leave */
    uintptr_t regs[OAKI_REGS];
    /* (self) of its own stack's context while it runs on a fiber */
    uintptr_t native_regs[OAKI_REGS];
    uintptr_t native_top[OAKI_FIBER_TOP]; /* and the words at native_sp, as they were */
    char *tp;                         /* thread pointer: finds its TLS */
    struct oak_fiber *fiber;          /* (self) that it runs on, or NULL */
    /* (self) that it ran on before, or NULL: between oak_fiber_switch and the program's own switch
     * it still does; a visit of the roots clears it */
    struct oak_fiber *fiber_left;
    const void *pc;                   /* (self) interrupted by the stop signal, or NULL */
    unsigned int signalled;           /* AO_int: is a stop signal on its way to it? (stop.c) */
    /* AO_int: a stop was given up for its sake: it stands until that comes, or a while */
    unsigned int late;
    oaki_lateness lateness;
    struct oaki_labels *labels;       /* (self) of its allocations, or NULL (label.h) */
    /* (self) an interpreter's, or NULL (<oakum/frames.h>) */
    const struct oak_frame_source *frames;
    char *const *bottom;              /* AO: oaki_thread_stack_bottom's, or NULL */
    /* (self) metadata of who builds on the runtime, or NULL: its words are roots, and it is freed
     * with this record */
    void *kept;
    size_t kept_bytes;
} oaki_thread;

/* What in_runtime says besides 0, user code. */
enum {
    OAKI_IN_RUNTIME = 1, /* between oaki_enter and oaki_leave, or attaching or detaching */
    OAKI_IN_BLOCKING = 2 /* in a blocking region */
};

/* The calling thread's cache. Never NULL: an unattached thread's is oaki_mcache_none, whose runs
 * are all empty, so that its first allocation takes the slow path and attaches; in a blocking
 * region it is one like that, and t->mcache is the thread's. Initial-exec: 8
 * bytes of static TLS, which dlopen can provide. */
extern OAKI_HIDDEN __thread struct oaki_mcache *oaki_tls_mcache
    __attribute__((tls_model("initial-exec")));
extern OAKI_HIDDEN __thread oaki_thread *oaki_tls_thread __attribute__((tls_model("initial-exec")));

/* Thread id of the thread that is in fork, or 0: nobody else enters the runtime meanwhile. */
extern unsigned int oaki_fork_gate; /* AO_int */

/* Finds the calling thread's TLS. */
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

/* Debug builds: from here on a stop may find the calling thread, which holds no lock that the stop
 * would wait for. gc_lock is not one: its holder alone begins a stop. */
bool oaki_lock_lets_leave(void);

/* NULL when not attached */
OAKI_INLINE oaki_thread *oaki_thread_self(void) { return oaki_tls_thread; }

/* Attach the calling thread, starting the heap first if needed. NULL with errno ENOMEM. Not to be
 * called inside oaki_enter. */
oaki_thread *oaki_thread_attach_self(void);
oaki_thread *oaki_thread_attach_own(void); /* the collector's: bare, and nobody is told of it */

oaki_thread *oaki_enter_slow(void);                /* not attached, or fatal */
oaki_thread *oaki_enter_at_gate(oaki_thread *t);   /* wait until the fork is over */
void oaki_thread_park(oaki_thread *t);             /* answer a stop that the handler took note of */

/* Flag the calling thread as being in the runtime, attaching it first. NULL with ENOMEM when it
 * can't be attached. Fatal when it is inside already (a signal handler that interrupted the
 * allocator, or a mark function, called Oakum), or in a blocking region. Keeps errno.
 * Budget: 7 instructions. The flag is for the handler on the same thread, and for a fork, which
 * makes all threads' fences once it has closed the gate: so compiler barriers are enough. */
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

/* Take a lock that may be held for long, or that a stop holds (gc_lock, threads_lock), inside
 * oaki_enter with no lock held: while it waits, the caller counts as stopped, so it may be
 * collected around, and its cache flushed. */
void oaki_lock_acquire_parked(oaki_thread *t, struct oaki_lock *l);

/* gc_lock, as above, for who holds it for a moment and comes often: ahead of those who wait, as
 * waking each in its turn takes many times as long. Now and then it waits for its own turn, so
 * that nobody waits forever. */
void oaki_gc_lock_barge(oaki_thread *t);

/* As oak_blocking_enter and _leave, for runtime code outside oaki_enter: to wait for something
 * that a stopped world may delay. */
void oaki_blocking_begin(oaki_thread *t);
void oaki_blocking_end(oaki_thread *t);

/* The calling thread, which is in a region, leaves all that it is in, so that it may use the heap;
 * and goes back: what was scanned of it is scanned again. */
typedef struct oaki_region {
    uintptr_t regs[OAKI_REGS];
    char *sp;
    unsigned int depth;
} oaki_region;

void oaki_blocking_suspend(oaki_thread *t, oaki_region *r);
void oaki_blocking_resume(oaki_thread *t, const oaki_region *r);

/* Bytes of stack below the caller's frame, SIZE_MAX where that isn't known: on an alternate signal
 * stack, or one that nobody described. For an attached thread. */
size_t oaki_stack_left(void);

/* From here on *bottom, read in each stop, is the cold end of the stack that t runs on: for a
 * program that switches stacks by itself and tells so by assigning a variable. NULL, or an address
 * in t's own stack, in *bottom: t is on its own. Otherwise, while t's stack pointer lies below
 * *bottom in one stretch of memory with it, what lies between them is scanned and t's own stack is
 * not, which the program marks where it needs to (gc/host.h). When it doesn't, as between the
 * assignment and the switch, both stacks are scanned. `bottom` NULL: undo. Any thread, for one that
 * is attached; *bottom must stay readable until t has detached. */
void oaki_thread_stack_bottom(oaki_thread *t, char *const *bottom);

/* Stop every attached thread but the caller, which is inside oaki_enter and holds gc_lock (and
 * so is the only one that stops). Takes threads_lock. On return each is parked, blocked, or gone;
 * the set of loaded objects is known and consistent (roots.h), and each thread's sp, regs and pc
 * are valid. The caller's own sp and regs must have been saved by oaki_thread_save_context, in a
 * frame that outlives the stop. Threads that vanished without detaching have had their caches
 * flushed by oaki_mcache_flush and their records freed later, on start. Where a thread doesn't stop
 * soon, the world runs again while it is waited for: what the caller knew of the heap may have
 * changed since the call. false when the loaded objects have changed since oaki_roots_refresh: the
 * world runs, and the caller lets go of gc_lock, refreshes, and tries again. */
bool oaki_world_stop(oaki_thread *self);
void oaki_world_start(oaki_thread *self); /* releases threads_lock */
bool oaki_world_stopped(void);

/* When the last stop began, as oaki_os_now_ns: until then the program ran on, whatever the one that
 * stops it had waited for. gc_lock held. */
uint64_t oaki_world_asked_ns(void);

/* What the last stop cost before it came about: the longest time that the world stood for it in
 * vain, and what the process had of processors while threads that were late were
 * waited for with the world running, which is the program's own. gc_lock held. */
typedef struct oaki_vain {
    uint64_t longest_ns, rest_cpu_ns;
} oaki_vain;

oaki_vain oaki_world_vain(void);

/* The same, but for a thread that doesn't stop within so many nanoseconds. 0; EAGAIN when the
 * loaded objects have changed, or EBUSY when one didn't stop: the world runs. */
int oaki_world_try_stop(oaki_thread *self, uint64_t limit_ns);

/* The same, however long a thread takes to stop and whatever the loader is doing: what is stopped
 * can't be scanned. */
void oaki_world_halt(oaki_thread *self);

/* Wait until each attached thread but the caller, which holds gc_lock, has been outside of the
 * runtime: it has let go of what it found there before (handshake.c). */
void oaki_world_handshake(oaki_thread *self);

/* Save the calling frame's registers and stack pointer in t. A macro, as it must expand in the
 * frame that stays: what its function pushed in its prologue lies above the stack pointer. */
#define oaki_thread_save_context(t)                                \
    do {                                                           \
        oaki_thread_spill((t)->regs);                              \
        (t)->sp = (char *)(t)->regs[OAKI_REG_SP];                  \
    } while (0)

/* The calling thread, attached until now, is exiting (last.c). */
void oaki_last_thread_exits(bool is_main);

int oaki_threads_init(void); /* signal handler, exit key; 0 or -1 with errno */
int oaki_stop_init(void);    /* of these, the signal */

/* From here the calling thread, whose context is saved, counts as stopped; until the world runs,
 * here. For blocking.c and those like it: the handler must be told by in_runtime to keep out. */
void oaki_stop_block(oaki_thread *t);
void oaki_stop_unblock(oaki_thread *t);

/* Let go of a thread that is not coming back: cache and record, unlinked from the list first or
 * not in it any more. threads_lock held, world running. */
void oaki_thread_unlink(oaki_thread *t);
void oaki_thread_free(oaki_thread *t);

/* A thread of the runtime's own (marker, sweeper, scavenger, finalizer): all signals blocked.
 * With attach, it may hold references and is stopped like any other (finalizer); without, it
 * never is (helper). 0 or an error number. Takes locks of the host, malloc's for one: not inside
 * oaki_enter unless gc_lock is held, and not in a stop. */
int oaki_thread_spawn(const char *name, void *(*fn)(void *), void *arg, bool attach);

/* In the calling thread, one that runs nothing of the program's: all signals blocked, save SIGSEGV
 * where a write to the heap may raise it. */
void oaki_thread_mask_signals(void);

/* No fork may come in between: hold waits until none is under way, and a fork waits for release. No
 * gc_lock, nothing that waits for a thread of the program in between; the heap may be entered, and
 * hold called again, but no collection begins. */
void oaki_fork_hold(void);
/* A fork that comes from a signal handler meanwhile, in this thread, waits for nothing; its child
 * can't use the heap. */
void oaki_fork_inside(bool on);
void oaki_fork_release(void);
bool oaki_fork_is_held(void); /* by the calling thread */

/* Around a call of dl_iterate_phdr, whose lock a child would find locked for ever: no fork comes in
 * between. t, which may be NULL, counts as stopped meanwhile, its context saved. */
void oaki_loader_begin(oaki_thread *t);
void oaki_loader_end(oaki_thread *t);

/* No stop halts a helper, so its pieces of work on the heap, one at a time and small, go between
 * begin and end: neither a stop nor a fork comes in between. */
void oaki_helper_begin(void);
void oaki_helper_end(void);

/* The same for a thread that a stop may halt, inside of oaki_enter: false when a stop or another
 * helper goes first. oaki_lock_release of helper_lock ends it. */
bool oaki_helper_try(void);

/* By the thread that holds gc_lock, around a stop in which the heap is looked at: no helper is at
 * work. */
void oaki_helpers_hold(void);
void oaki_helpers_release(void);
bool oaki_helpers_are_held(void); /* in a stop */

/* The calling thread is in fork, between our handlers of it: it may not attach. */
bool oaki_fork_is_ours(void);

/* fork.c calls these in the child, in the order of registration, with the world as it was, no
 * lock held: each layer that has threads to start again or tables to put right adds one. */
void oaki_fork_register(void (*child)(void));

#endif
