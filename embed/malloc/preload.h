/* preload.h - declarations that the files of liboakum-malloc.so share.
 *
 * entry.c    malloc, calloc and the aligned forms: the fast path, and the ways around it
 * info.c     glibc's statistics and settings of malloc
 * free.c     free and realloc, and blocks that are freed where the heap can't be entered
 * deepbind.c libraries that prefer libc's functions to these
 * cache.c    caches of freed slots, if nothing is observed
 * new.c      C++'s operators new and delete
 * others.c   blocks of other allocators in the process
 * side.c     memory for calls that can't enter the heap
 * start.c    start-up, the options, the program's end
 * environ.c  removes the variables of `oakum run` from the environment
 * trim.c     free memory goes back to the system
 * thread.c   attaches threads before their first instruction
 * real.c     libc's functions of the same names as this library's
 * signals.c  keeps the stop signal unblocked; alternate stacks
 * own.c      Oakum's own mappings
 * maps.c     undeclared roots: memory that the program has mapped
 * walk.c     which objects roots reach, and which objects are lost
 * lost.c     the leak check and --collect, in an image
 * report.c   the report of the leak check
 * suppressed.c  leaks that suppressions hide
 * leakfile.c the leaks as files: suppressions, JSON, JUnit
 * tell.c     the destination of reports
 * seal.c     programs that forbid themselves system calls
 * limit.c    programs that limit their own address space
 * advice.c   memory that a forked child doesn't get
 * check.c    the guard: writes outside of blocks, and to free ones
 * note.c     which allocations are recorded
 * growth.c   threads of Oakum's own: looks for growth, reports on demand, the debug server
 * last.c     ends the process when only those threads are left
 *
 * The program's blocks are of kind OAKI_SCAN. Only the program frees them, or --collect; gc/ never
 * collects. Blocks that Oakum or a library that it calls allocates by malloc, between
 * oaki_quiet_begin and oaki_quiet_end, are of kind OAKI_PINNED. They aren't the program's, so they
 * are never lost. */
#ifndef OAKI_PRELOAD_H
#define OAKI_PRELOAD_H

#include "runtime/heap.h"
#include "runtime/os.h"
#include <stdlib.h>

#define OAKI_EXPORT __attribute__((visibility("default")))

/* Export a function under glibc's second name for it, too. Used in the file that defines it. */
#if __has_attribute(copy)
#define OAKI_COPY(name) __attribute__((copy(name)))
#else
#define OAKI_COPY(name)
#endif
#define OAKI_LIBC_NAME(name)                                                                       \
    OAKI_EXPORT OAKI_COPY(name) extern __typeof__(name) __libc_##name __attribute__((alias(#name)))

/* Has the thread a filter of its own on system calls? (seal.c) */
enum { OAKI_SEALED_UNKNOWN, OAKI_SEALED_NOT, OAKI_SEALED };

/* The state of the calling thread. */
typedef struct oaki_mine {
    unsigned quiet; /* depth of oaki_quiet_begin: allocations are not the program's */
    bool busy;      /* the thread starts the heap or attaches: malloc uses the side range */
    bool was_attached;
    bool no_cache;  /* make no cache: the thread has one, or must not have one */
    unsigned char sealed; /* OAKI_SEALED... */
    struct oaki_cache *cache; /* or oaki_cache_none */
    size_t asked;   /* requested bytes, while malloc allocates from the heap; else 0 */
    const void *caller; /* return address of malloc, likewise */
    size_t freed;   /* freed bytes that aren't yet counted in oaki_freed */
    const void *signal_stack; /* the alternate stack, to which often only the kernel refers */
} oaki_mine;

extern OAKI_HIDDEN __thread oaki_mine oaki_my __attribute__((tls_model("initial-exec")));

OAKI_INLINE void oaki_quiet_begin(void) { oaki_my.quiet++; }
OAKI_INLINE void oaki_quiet_end(void) { oaki_my.quiet--; }

/* ---- options (start.c); constant once the program runs ---- */

typedef struct oaki_asked {
    bool tracks; /* leaks, collect or growth: threads attach at their start */
    bool leaks, collect, quiet, all, possible, verbose;
    bool caches; /* nothing is observed: threads have caches */
    unsigned frames;    /* of a stack that are shown and compared */
    int error_exit;     /* exit status of a program that leaks; 0: its own */
    int signal;         /* that requests a report; 0: none */
    unsigned growth_ms; /* between two looks for growth; 0: no looks */
    const char *log, *profile, *serve; /* or NULL */
    const char *generate, *json, *junit; /* files of leaks, or NULL */
    const char *check; /* words of --check, or NULL */
    int stop_signal;
} oaki_asked;

extern OAKI_HIDDEN oaki_asked oaki_wanted;

/* Set once start-up is complete: before the program's main. */
extern OAKI_HIDDEN AO_t oaki_started;

/* Start the heap. Returns false in a nested call. */
bool oaki_start_heap(void);

/* Whether the calling thread's variables are its own. A child of vfork has its parent's variables,
 * but a stack and handlers of its own. */
OAKI_INLINE bool oaki_is_own_thread(void)
{
    return !oaki_tls_thread || oaki_tls_thread->tid == oaki_os_tid();
}

/* Whether this process has to report: it isn't a child by vfork or clone. */
bool oaki_is_process(void);

/* Write a text to the destination of reports, even if the program has closed its descriptors.
 * Returns false if not all of it could be written. */
bool oaki_tell(const char *text, size_t n);
bool oaki_say(const char *format, ...) OAK_PRINTF(1, 2); /* a line after the process id */

/* ---- environ.c ---- */

/* Remove the variables of `oakum run`. `first` is the list that the kernel made. */
void oaki_environ_forget(char **first);

/* ---- entering (entry.c) ---- */

/* Whether the calling thread may use the heap here; attaches it. Returns false inside of the
 * runtime, in a handler that has interrupted it, while attaching, and after the thread has
 * detached. */
bool oaki_can_enter(void);
bool oaki_can_enter_again(void); /* for the thread that ends the process: attaches it again */

/* ---- start.c, with --profile ---- */

/* Save the profile. `last`: at the program's end, after which no other call saves it. */
void oaki_save_profile(bool last);

/* ---- free.c ---- */

/* Free the deferred blocks. Where the heap can be entered. */
void oaki_free_put_off(void);
/* The first deferred block; its first word is the address of the next one. For the leak check: the
 * blocks are free, and so not lost. */
const void *oaki_free_first_put_off(void);
/* Free a block of the program at heap offset `off`. Where the heap can be entered. */
void oaki_free_here(oaki_thread *t, void *p, size_t off);
/* Free n small blocks of a size class, which were checked when they came to a cache. Fatal if one
 * is free. Inside of oaki_enter. */
void oaki_free_batch(void *const *block, size_t n, unsigned cls);

/* ---- trim.c; outside of oaki_enter ---- */

/* So many bytes were freed: memory may go back to the system. */
void oaki_freed_add(size_t bytes);
/* Free memory goes back, but for what is likely to be needed soon. */
void oaki_give_back(void);

/* ---- side.c ---- */

void *oaki_side_alloc(size_t n, size_t align); /* zeroed; NULL with ENOMEM */
void oaki_side_free(void *p);
size_t oaki_side_size(const void *p);
bool oaki_side_has(const void *p);
/* Shrink the reserved range to its share of an address space limit, in bytes. */
void oaki_side_limit(size_t limit);
void oaki_side_range(const char **lo, const char **hi); /* the part that may hold references */

/* ---- own.c ---- */

void oaki_own_add(const void *p, size_t n);
void oaki_own_remove(const void *p);

typedef struct oaki_extent {
    uintptr_t lo, hi;
} oaki_extent;

/* All extents, sorted, in a new mapping of *mapped bytes. In an image. NULL without memory. */
oaki_extent *oaki_own_sorted(size_t *n, size_t *mapped);

/* ---- real.c ---- */

#define OAKI_EACH_REAL(X)                                                                          \
    X(exit) X(pthread_create) X(thrd_create) X(prlimit) X(pthread_sigmask) X(sighold)              \
    X(sigaction) X(signal) X(bsd_signal) X(ssignal) X(sysv_signal) X(__sysv_signal) X(sigset)      \
    X(sigignore) X(sigaltstack) X(sigwait) X(sigwaitinfo) X(sigtimedwait) X(signalfd)              \
    X(sigsuspend) X(ppoll) X(__ppoll_chk) X(pselect) X(epoll_pwait) X(epoll_pwait2) X(dlopen)      \
    X(syscall)

#define OAKI_REAL_INDEX(name) OAKI_REAL_##name,
enum { OAKI_EACH_REAL(OAKI_REAL_INDEX) OAKI_REALS };

/* The address of the function that this library's function of the same name hides. */
void *oaki_real(unsigned which);
void oaki_reals_find(void); /* looks up all: before main */

#define OAKI_REAL(name) ((__typeof__(&name))oaki_real(OAKI_REAL_##name))

/* ---- seal.c ---- */

void oaki_seal_start(void);
/* If the program has forbidden itself system calls since oaki_seal_start, a line that says so. A
 * report might then kill the program. Otherwise NULL. */
const char *oaki_sealed(void);
const char *oaki_sealed_as_noted(void); /* by what is noted alone: without a system call */
/* Work that forks or opens files begins, unless the result says why not, as oaki_sealed. Then a
 * filter for all threads waits until it ends. */
const char *oaki_seal_work_begin(void);
void oaki_seal_work_end(void);
/* As the begin, for a thread that is about to be started: it ends that once it is at rest. */
void oaki_seal_work_starts(void);
void oaki_seal_after_fork(void);
bool oaki_sealed_strictly(void); /* only read, write and the thread's end are allowed */

/* ---- advice.c ---- */

/* Whether the program has ever kept memory out of forks: an image may lack it. */
bool oaki_kept_from_forks(void);

/* ---- closed.c ---- */

/* Opens the pages of a block that is about to be free, if the program has closed any. */
void oaki_closed_open(void *p, size_t n);

/* ---- thread.c ---- */

/* Whether there is an unattached thread: one of libc's own, or one made by clone. A pause doesn't
 * stop it, and its registers are not seen. Outside of oaki_enter, within oaki_quiet_begin. */
bool oaki_threads_unknown(void);
/* Whether no thread of the program is left. False, too, if it can't be told. */
bool oaki_threads_all_own(void);

/* The library's own static data; NULL if it isn't found. */
void *oaki_own_data(size_t *n);

/* ---- maps.c ---- */

/* Call fn with each range of mapped memory that may hold references. Oakum's own memory is left
 * out, and so are stacks of attached and of ended threads. In an image. Returns false if the
 * mappings can't be read. */
bool oaki_maps_each(void (*fn)(const char *lo, const char *hi, void *ctx), void *ctx);
void oaki_maps_learn(void); /* once, on the first thread */

/* ---- note.c ---- */

/* Start to record objects with their stacks: all with rate 1, else samples. Returns 0 or -1. */
int oaki_note_start(size_t rate);
/* Record an object again that is resized in place: the resizing call, which returns to `caller`,
 * counts as its allocation. */
void oaki_note_again(void *p, size_t asked, const void *caller);

/* ---- check.c, with --check ---- */

void oaki_check_start(void);
int oaki_check_end(int status); /* returns the exit status in place of `status` */

/* ---- lost.c ---- */

/* The first statement of a function that calls the leak check: stores its callers' registers in its
 * frame, at OAKI_SAVED_SP and above. The stack below holds only Oakum's frames, and stale words. */
#if defined(__x86_64__)
#define OAKI_SAVE_REGISTERS __asm__("" ::: "rbx", "r12", "r13", "r14", "r15")
#define OAKI_SAVED_SP ((const char *)__builtin_frame_address(0) - 5 * sizeof(void *))
#else
#define OAKI_SAVE_REGISTERS                                                                        \
    __asm__("" ::: "x19", "x20", "x21", "x22", "x23", "x24", "x25", "x26", "x27", "x28")
#define OAKI_SAVED_SP ((const char *)__builtin_frame_address(0))
#endif

typedef enum oaki_loss {
    OAKI_KEPT,     /* reached from roots by pointers to beginnings */
    OAKI_POSSIBLE, /* reached from roots, but only through pointers into objects */
    OAKI_INDIRECT, /* reached only from lost objects */
    OAKI_LOST,     /* not reached */
    OAKI_LOSSES
} oaki_loss;

typedef struct oaki_sum {
    uint64_t blocks, bytes;
} oaki_sum;

/* The result for one site. */
typedef struct oaki_lost_site {
    uint32_t id, pad;
    oaki_sum of[OAKI_LOSSES];
    oaki_sum below; /* reached only from lost objects of this site */
} oaki_lost_site;

typedef struct oaki_lost {
    oaki_sum of[OAKI_LOSSES]; /* of recorded objects */
    oaki_sum unknown;         /* lost objects that were allocated before recording began */
    uint64_t pause_ns;
    bool blind;               /* the program's mappings could not be read */
    bool kept_out;            /* the program has memory that a fork doesn't get */
    size_t n;
    oaki_lost_site *site;
} oaki_lost;

/* Find lost objects. Returns 0, or -1 with errno. Within oaki_quiet_begin, where the heap can be
 * entered. */
int oaki_lost_find(oaki_lost *out, const char *own_sp);
void oaki_lost_free(oaki_lost *l);

/* Collect for a request that waits for room, and serve all waiting requests (runtime/room.h).
 * Inside of oaki_enter. Returns false if the collection failed, or --collect isn't given. */
struct oaki_want;
bool oaki_lost_make_room(oaki_thread *t, struct oaki_want *w);

/* With --collect, before an allocation: collect if the heap has grown enough. */
void oaki_lost_grown(void);
void oaki_lost_after_fork(void); /* in the child */

/* ---- report.c ---- */

/* Write the report. Returns false if blocks are lost, or it could not be written. */
bool oaki_report_leaks(const char *own_sp);
/* The report as a text, for the debug server. The caller frees it. NULL without memory. */
char *oaki_report_text(size_t *n);

/* ---- growth.c ---- */

void oaki_growth_start(void);
void oaki_growth_tell(void); /* reports the active findings again */
void oaki_signal_start(void);
void oaki_growth_after_fork(void); /* starts both threads again, with --children=follow */
void oaki_serve_start(void);

/* ---- last.c ---- */

/* On the main thread, if Oakum has threads of its own: notices the end of the program's last one.
 */
void oaki_last_start(void);
void oaki_last_thread_begins(void); /* a thread of the program */
/* The calling thread is about to end by the system call exit, with this status. */
void oaki_last_note(int status);

#endif
