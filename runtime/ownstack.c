/* ownstack.c - where the calling thread's own stack is, without asking libc.
 *
 * A thread may attach while libc holds any of its locks. pthread_getattr_np holds the thread's own
 * lock as it calls malloc, and a nested call would wait for that lock. So the answer comes from
 * memory that the thread itself can read.
 *
 * glibc keeps three words in a thread's descriptor (struct pthread of its nptl/descr.h: stackblock,
 * stackblock_size, guardsize). They are the stack's lowest address, its size, and the size of the
 * guard at its low end. They are constant while the thread runs. Their place is found by the values
 * that they must have: the descriptor lies at the upper end of just that stack. That holds whether
 * libc or the host has mapped the stack. For the first thread, which the kernel made, the values
 * are 0 and __libc_stack_end.
 *
 * musl has such words, too, but its pthread_getattr_np only reads them, without a lock or malloc.
 *
 * If a descriptor has neither, the thread was made by clone alone, or libc has another layout. If
 * the memory from the thread's frame up to its descriptor has no gap, that is its stack. Otherwise
 * its stack is unknown: each stop probes the readable memory above its stack pointer
 * (stackroots.c).
 *
 * Owns: `place`, a hint. Lock: none. Bound: O(1); for an unknown thread one probe per page. */
#include "ownstack.h"

#include "os.h"
#include "probe.h"
#include "thread.h"
#include "track.h"

#include <errno.h>
#include <pthread.h>
#include <sys/auxv.h>
#include <sys/resource.h>
#include <unistd.h>

#define USUAL ((size_t)8 << 20) /* bytes, where there is no limit */
#define MOST ((uintptr_t)1 << 46)
#define GAP_MAX ((uintptr_t)1 << 30) /* between an unknown thread's frame and its descriptor */

typedef struct words {
    uintptr_t block, size, guard;
} words;

typedef enum owner { NOBODY, FIRST_THREAD, OTHER_THREAD } owner;

#ifdef __GLIBC__

/* FIRST to LAST: where the words may lie, as distances from the thread pointer. ABOVE: the most
 * from there to the upper end of the stack. */
#if defined(__x86_64__)
#define FIRST 0
#define LAST 2304
#define ABOVE ((uintptr_t)64 << 10)
#else
#define FIRST (-1600)
#define LAST 0
#define ABOVE ((uintptr_t)16 << 20) /* static TLS lies there */
#endif

extern void *__libc_stack_end; /* the first thread's stack pointer at program start */

static AO_t place; /* of the words, from FIRST on, + 1; 0: unknown so far */

static owner owner_of(const words *w, uintptr_t tp)
{
    if (w->block == 0 && w->size == (uintptr_t)__libc_stack_end) return FIRST_THREAD;
    if (w->block == 0 || w->block >= tp || w->size > MOST || w->guard >= w->size) return NOBODY;
    uintptr_t end = w->block + w->size;
    return end > tp && end - tp <= ABOVE && w->block + w->guard < tp ? OTHER_THREAD : NOBODY;
}

/* No ASan: the descriptor is libc's, and ASan does not know it. */
static OAKI_NO_ASAN owner owner_at(const char *tp, size_t at, words *w)
{
    *w = *(const words *)(tp + FIRST + at);
    return owner_of(w, (uintptr_t)tp);
}

static owner find(const char *tp, words *w)
{
    size_t known = AO_load(&place);
    owner o = known ? owner_at(tp, known - 1, w) : NOBODY;
    for (size_t at = 0; o == NOBODY && at + sizeof *w <= LAST - FIRST; at += sizeof(uintptr_t)) {
        o = owner_at(tp, at, w);
        if (o != NOBODY) AO_store(&place, at + 1);
    }
    return o;
}

static char *first_frame(void)
{
    return __libc_stack_end;
}

#else

static char *first_frame(void)
{
    return NULL; /* the random bytes lie above it */
}

/* For the first thread, musl tells the part in use. It ends within a page of the random bytes. */
static owner find(const char *tp, words *w)
{
    pthread_attr_t attr;
    void *block = NULL;
    uintptr_t random = getauxval(AT_RANDOM), near = 2 * oaki_os_page_size();
    (void)tp;
    *w = (words){ 0 };
    if (pthread_getattr_np(pthread_self(), &attr) != 0 ||
        pthread_attr_getstack(&attr, &block, &w->size) != 0)
        return NOBODY;
    w->block = (uintptr_t)block;
    uintptr_t end = w->block + w->size;
    return random + near > end && end + near > random ? FIRST_THREAD : OTHER_THREAD;
}

#endif

/* Above the first frame, the kernel puts the arrays of arguments and environment, then 16 random
 * bytes, then only strings. The stack grows: its bottom is the lowest address that it may reach. */
static void bounds_of_first(char **lo, char **hi)
{
    struct rlimit limit;
    size_t size = USUAL;
    char *top = first_frame(), *random = (char *)getauxval(AT_RANDOM);
    if (random > top) top = random;
    top = (char *)OAKI_ALIGN_DOWN((uintptr_t)top, sizeof(void *));
    if (getrlimit(RLIMIT_STACK, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY)
        size = limit.rlim_cur;
    *hi = top;
    *lo = top - OAKI_MIN(size, (uintptr_t)top);
}

static void bounds_of_unknown(const char *here, const char *tp, char **lo, char **hi)
{
    *lo = *hi = NULL;
    if (tp <= here || (uintptr_t)(tp - here) > GAP_MAX || oaki_probe_end(here, tp) != tp) return;
    *lo = (char *)oaki_probe_down(here - OAKI_MIN(USUAL, (uintptr_t)here), here);
    *hi = (char *)tp;
}

void oaki_ownstack(int tid, char **lo, char **hi)
{
    int saved = errno;
    words w;
    const char *tp = oaki_thread_pointer(), *here = __builtin_frame_address(0);
    owner o = find(tp, &w);
    if (o == OTHER_THREAD) {
        *lo = (char *)(w.block + w.guard);
        *hi = (char *)(w.block + w.size);
    } else {
        /* The id alone doesn't identify the first thread: in the child of a fork, the forking
         * thread has it. */
        bool first = o == FIRST_THREAD || tid == oaki_os_pid();
        if (first) bounds_of_first(lo, hi);
        if (o == NOBODY && !(first && *lo < here && here < *hi))
            bounds_of_unknown(here, tp, lo, hi);
    }
    errno = saved;
}
