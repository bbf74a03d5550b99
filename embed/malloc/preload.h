/* preload.h - what the files of liboakum-malloc.so share.
 *
 * entry.c   malloc and its kin: the fast path, and when it can't be taken
 * info.c    what glibc tells of its malloc, and settings
 * free.c    free, realloc, and what is freed where the heap can't be entered
 * deepbind.c libraries that prefer libc's functions to these
 * cache.c   what a thread frees and uses again, where nothing is observed
 * new.c     C++'s operators new and delete
 * others.c blocks of other allocators in the process
 * side.c    memory for calls that come where the heap can't be entered
 * start.c   start-up, what was asked for, the program's end
 * environ.c what `oakum run` has put into the environment, taken out of it
 * thread.c  threads from their first instruction on
 * real.c    what is behind the library's own functions of libc's names
 * signals.c the stop signal, which stays open; the stacks of handlers
 * own.c     what Oakum itself has mapped
 * maps.c    roots that nobody declares: memory that the program has mapped
 * walk.c    what is reached from roots, and from where nothing is
 * lost.c    the leak check: an image, and what it tells
 * report.c  the check in words
 * tell.c    where they go
 * seal.c    programs that forbid themselves system calls
 * limit.c   programs that limit their own address space
 * advice.c  memory that programs keep out of forks
 * check.c   the guard: writes outside of blocks, and to free ones
 * note.c    which allocations are noted
 * growth.c  what runs beside the program: looks for growth, reports on demand, the debug server
 *
 * The program's memory is of kind OAKI_SCAN and freed by the program only, or by --collect: no
 * collection of gc/ runs, ever. What Oakum itself, or a library that it calls, allocates by malloc
 * (between oaki_quiet_begin and _end) is of kind OAKI_PINNED: not the program's, and so never
 * lost. */
#ifndef OAKI_PRELOAD_H
#define OAKI_PRELOAD_H

#include "runtime/heap.h"
#include <stdlib.h>

#define OAKI_EXPORT __attribute__((visibility("default")))

/* What glibc's function is called where the usual name is taken. In the file that defines it. */
#if __has_attribute(copy)
#define OAKI_COPY(name) __attribute__((copy(name)))
#else
#define OAKI_COPY(name)
#endif
#define OAKI_LIBC_NAME(name)                                                                       \
    OAKI_EXPORT OAKI_COPY(name) extern __typeof__(name) __libc_##name __attribute__((alias(#name)))

/* The calling thread's. */
typedef struct oaki_mine {
    unsigned quiet; /* depth: what is allocated is not the program's */
    bool busy;      /* starting the heap, or attaching: malloc comes from the side */
    bool was_attached;
    bool no_cache;  /* it has one, or is to have none */
    struct oaki_cache *cache; /* or NULL */
    size_t asked;   /* bytes that malloc was asked for, while the heap allocates; else 0 */
    const void *caller; /* of malloc, likewise */
    size_t freed;   /* bytes freed by hand and not yet counted in oaki_freed */
    const void *signal_stack; /* that the kernel has: all that may refer to it */
} oaki_mine;

extern OAKI_HIDDEN __thread oaki_mine oaki_my __attribute__((tls_model("initial-exec")));

OAKI_INLINE void oaki_quiet_begin(void) { oaki_my.quiet++; }
OAKI_INLINE void oaki_quiet_end(void) { oaki_my.quiet--; }

/* ---- what was asked for (start.c); constant once the program runs ---- */

typedef struct oaki_asked {
    bool tracks; /* leaks, collect or growth: threads are attached from their start */
    bool leaks, collect, quiet, all, possible;
    bool caches; /* nothing is observed: threads keep what they free */
    unsigned frames;    /* of a stack that are shown and told apart */
    int error_exit;     /* status of a program that leaks; 0: its own */
    int signal;         /* that asks for a report; 0: none */
    unsigned growth_ms; /* between two looks; 0: none */
    const char *log, *profile, *serve; /* or NULL */
    const char *check; /* words of --check, or NULL */
    int stop_signal;
} oaki_asked;

extern OAKI_HIDDEN oaki_asked oaki_wanted;

/* The program's main is about to run, or runs. */
extern OAKI_HIDDEN AO_t oaki_started;

/* The heap of this process is usable, now that it isn't yet; starts it. false in a nested call. */
bool oaki_start_heap(void);

/* This process is the one that was asked to report: not a child by vfork or clone. */
bool oaki_is_process(void);

/* Write to where reports go, whatever the program has closed. false: it could not be written, or
 * not all. */
bool oaki_tell(const char *text, size_t n);
bool oaki_say(const char *format, ...) OAK_PRINTF(1, 2); /* one line, with the process's number */

/* ---- environ.c ---- */

/* `first`: the list that the kernel made. */
void oaki_environ_forget(char **first);

/* ---- entering (entry.c) ---- */

/* May the calling thread use the heap here? Attaches it. false: inside of the runtime, in a
 * handler that interrupted it, while attaching, or after the thread has detached for good. */
bool oaki_can_enter(void);
bool oaki_can_enter_again(void); /* ... or attached again: by who ends the process */

/* ---- start.c, with a profile asked for ---- */

void oaki_save_profile(bool last);

/* ---- free.c ---- */

/* Free what was put off because the heap could not be entered. Where it can be. */
void oaki_free_put_off(void);
/* The first of what is put off; the next one's address is in its first word. They are free, and
 * nobody else's to free. */
const void *oaki_free_first_put_off(void);
/* Heap object, offset `off`, of the program's; where the heap can be entered. */
void oaki_free_here(oaki_thread *t, void *p, size_t off);

/* ---- side.c ---- */

void *oaki_side_alloc(size_t n, size_t align); /* zeroed; NULL with ENOMEM */
void oaki_side_free(void *p);
size_t oaki_side_size(const void *p);
bool oaki_side_has(const void *p);
/* The address space is limited to so many bytes: give back what is reserved beyond a share. */
void oaki_side_limit(size_t limit);
void oaki_side_range(const char **lo, const char **hi); /* that may hold references */

/* ---- own.c ---- */

void oaki_own_add(const void *p, size_t n);
void oaki_own_remove(const void *p);

typedef struct oaki_extent {
    uintptr_t lo, hi;
} oaki_extent;

/* All of it, sorted, in memory of its own; in an image. NULL without memory. */
oaki_extent *oaki_own_sorted(size_t *n, size_t *mapped);

/* ---- real.c ---- */

#define OAKI_EACH_REAL(X)                                                                          \
    X(exit) X(pthread_create) X(thrd_create) X(prlimit) X(pthread_sigmask) X(sighold)              \
    X(sigaction) X(signal) X(bsd_signal) X(ssignal) X(sysv_signal) X(__sysv_signal) X(sigset)      \
    X(sigignore) X(sigaltstack) X(sigwait) X(sigwaitinfo) X(sigtimedwait) X(signalfd)              \
    X(sigsuspend) X(ppoll) X(__ppoll_chk) X(pselect) X(epoll_pwait) X(epoll_pwait2) X(dlopen)

#define OAKI_REAL_INDEX(name) OAKI_REAL_##name,
enum { OAKI_EACH_REAL(OAKI_REAL_INDEX) OAKI_REALS };

/* The address of that name behind this library. */
void *oaki_real(unsigned which);
void oaki_reals_find(void); /* of all: before main */

#define OAKI_REAL(name) ((__typeof__(&name))oaki_real(OAKI_REAL_##name))

/* ---- seal.c ---- */

void oaki_seal_start(void);
/* Since then the program has forbidden itself system calls, so that a report may end it: why there
 * is none, or NULL. */
const char *oaki_sealed(void);
bool oaki_sealed_strictly(void); /* all but read, write and the thread's end */

/* ---- advice.c ---- */

/* The program keeps memory out of forks, or did: an image may lack it. */
bool oaki_kept_from_forks(void);

/* ---- thread.c ---- */

/* There is a thread that has not attached: of libc's own making, or by clone. Nobody stops it, and
 * what it has in registers is not seen. Outside of oaki_enter, quiet. */
bool oaki_threads_unknown(void);

/* The library's own static data; NULL when it can't be told. */
void *oaki_own_data(size_t *n);

/* ---- maps.c ---- */

/* Call fn with each piece of memory that the program has mapped and may hold references: not
 * Oakum's own, no stack of a thread that is known or has ended. In an image. false when it can't be
 * told. */
bool oaki_maps_each(void (*fn)(const char *lo, const char *hi, void *ctx), void *ctx);
void oaki_maps_learn(void); /* by the first thread, once */

/* ---- note.c ---- */

/* Note each object with where it was allocated; or a sample, for a profile. 0 or -1. */
int oaki_note_start(size_t rate);
/* The object has been resized in place, by a call that counts as its allocation. */
void oaki_note_again(void *p, size_t asked);

/* ---- check.c, with the check asked for ---- */

void oaki_check_start(void);
int oaki_check_end(int status); /* with `status`; returns what to end with */

/* ---- lost.c ---- */

/* First in a function from which the heap is looked at: what its callers have in registers goes to
 * its frame, at OAKI_SAVED_SP and above. What lies below is Oakum's, and relics. */
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
    OAKI_POSSIBLE, /* reached, but only by way of pointers into objects */
    OAKI_INDIRECT, /* reached only from what is lost */
    OAKI_LOST,
    OAKI_LOSSES
} oaki_loss;

typedef struct oaki_sum {
    uint64_t blocks, bytes;
} oaki_sum;

/* Of one site. */
typedef struct oaki_lost_site {
    uint32_t id, pad;
    oaki_sum of[OAKI_LOSSES];
    oaki_sum below; /* reached only from what this site has lost */
} oaki_lost_site;

typedef struct oaki_lost {
    oaki_sum of[OAKI_LOSSES]; /* of what was noted */
    oaki_sum unknown;         /* lost, and allocated before anything was noted */
    uint64_t pause_ns;
    bool blind;               /* what the program has mapped could not be looked at; */
    bool kept_out;            /* ... what it keeps out of forks */
    size_t n;
    oaki_lost_site *site;
} oaki_lost;

/* 0, or -1 with errno. Quiet; where the heap can be entered. */
int oaki_lost_find(oaki_lost *out, const char *own_sp);
void oaki_lost_free(oaki_lost *l);

/* For a request that waits for room: find what is lost, free it, and serve all that wait
 * (runtime/room.h). Inside of oaki_enter. false: it could not be looked for, or is not wanted. */
struct oaki_want;
bool oaki_lost_make_room(oaki_thread *t, struct oaki_want *w);

/* Where collections are wanted, before an allocation: collect if the heap has grown enough. */
void oaki_lost_grown(void);
void oaki_lost_after_fork(void); /* in the child */

/* ---- report.c ---- */

/* Write it. false: blocks are lost, or what there was to say could not be written. */
bool oaki_report_leaks(const char *own_sp);
/* The same into a text of malloc's, for the debug server. NULL without memory. */
char *oaki_report_text(size_t *n);

/* ---- growth.c ---- */

void oaki_growth_start(void);
void oaki_growth_tell(void); /* again, of what still grows */
void oaki_signal_start(void);
void oaki_growth_after_fork(void); /* both again, in a child that is followed */
void oaki_serve_start(void);

#endif
