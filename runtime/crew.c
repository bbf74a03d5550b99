/* crew.c - the threads that Oakum starts, and their end (crew.h).
 *
 * The threads are detached, so that one that ends by itself leaves nothing behind. A wait for an
 * end asks the system whether the thread exists. Once it doesn't, it runs no code of Oakum's, not
 * even the end of its function.
 *
 * Owns: the seats, each thread's pointer to its own, the threads that have just left.
 * Invariant: a thread notes its waker before it looks at `ending`, and sleeps after that. The
 * crew's end sets `ending` before it looks at the wakers. So the thread sees it, or is woken.
 * Lock: none; all is atomic. Bound: O(seats). */
#include "crew.h"

#include "contract.h"
#include "stopsignal.h"
#include "task.h"
#include "thread.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SEATS 96 /* 64 markers, and one of each of the others */
#define EXITS 64
#define POLL_NS 100000u
#define PASSED_NS UINT64_C(10000000000) /* a thread has long left the destructor that noted it */

enum { SEAT_FREE, SEAT_TAKEN };
enum { END_NONE, END_ATTACHED, END_ALL };

struct oaki_seat {
    unsigned int state;    /* AO_int */
    unsigned int tid;      /* AO_int; 0: the thread has not begun */
    unsigned int attached; /* AO_int: it may run functions of the program */
    unsigned int over;     /* AO_int: its function has returned */
    oaki_waker nap;
    AO_t waker; /* the waker that it sleeps at, or 0 */
    char name[16];
};

typedef struct leaver {
    unsigned int tid; /* AO_int */
    AO_t ns;
} leaver;

static oaki_seat seats[SEATS];
static unsigned int ending; /* AO_int */
static leaver left[EXITS];
static AO_t nleft;

static __thread oaki_seat *mine __attribute__((tls_model("initial-exec")));

/* ---- is it gone? ---- */

/* Where a filter refuses the signal, /proc tells; where /proc is missing, the signal does. After
 * the end of a thread (name) its id may be another one's by now, of another name. */
static bool is_gone(int tid, const char *name)
{
    oaki_task task;
    bool refused = syscall(SYS_tgkill, oaki_os_pid(), tid, 0) != 0;
    if (refused && errno == ESRCH) return true;
    if (!oaki_task_read(tid, &task)) return refused && oaki_task_none(errno);
    return oaki_task_is_dead(&task) || (name && strcmp(task.name, name) != 0);
}

static bool is_empty(oaki_seat *s)
{
    if (AO_int_load_acquire(&s->state) == SEAT_FREE) return true;
    int tid = (int)AO_int_load_acquire(&s->tid);
    return tid != 0 && is_gone(tid, AO_int_load_acquire(&s->over) ? s->name : NULL);
}

/* ---- seats ---- */

static bool sit(oaki_seat *s, bool attach)
{
    if (!AO_int_compare_and_swap_full(&s->state, SEAT_FREE, SEAT_TAKEN)) return false;
    AO_int_store(&s->tid, 0);
    AO_int_store(&s->attached, attach);
    AO_int_store(&s->over, 0);
    AO_store(&s->waker, 0);
    return true;
}

/* A thread keeps its seat beyond its end: only the system knows when that is. */
static void clear_seats(void)
{
    for (size_t i = 0; i < SEATS; i++)
        if (AO_int_load(&seats[i].state) == SEAT_TAKEN && is_empty(&seats[i]))
            oaki_crew_give(&seats[i]);
}

bool oaki_crew_is_to_end(void)
{
    return AO_int_load_acquire(&ending) != END_NONE;
}

oaki_seat *oaki_crew_take(bool attach)
{
    int saved = errno;
    for (int round = 0; round < 2 && !oaki_crew_is_to_end(); round++) {
        for (size_t i = 0; i < SEATS; i++)
            if (sit(&seats[i], attach)) return &seats[i];
        clear_seats();
        errno = saved;
    }
    return NULL;
}

void oaki_crew_give(oaki_seat *s)
{
    AO_int_store_release(&s->state, SEAT_FREE);
}

void oaki_crew_enter(oaki_seat *s)
{
    mine = s;
    (void)prctl(PR_GET_NAME, s->name);
    AO_int_store_release(&s->tid, (unsigned)oaki_os_tid());
}

void oaki_crew_leave(void)
{
    AO_int_store_release(&mine->over, 1);
}

bool oaki_crew_has_me(void)
{
    return mine != NULL;
}

/* ---- sleeping ---- */

bool oaki_crew_ends(void)
{
    unsigned int e = AO_int_load_acquire(&ending);
    return OAKI_UNLIKELY(e != END_NONE) && mine && (e == END_ALL || oaki_thread_self());
}

static void note_waker(oaki_waker *w)
{
    if (!mine) return;
    if (oaki_thread_self()) AO_int_store(&mine->attached, 1);
    AO_store(&mine->waker, (AO_t)w);
    AO_nop_full();
}

bool oaki_crew_wait(oaki_waker *w, unsigned *seen)
{
    note_waker(w);
    while (oaki_waker_calls(w) == *seen && !oaki_crew_ends()) oaki_futex_wait(&w->calls, *seen, 0);
    *seen = oaki_waker_calls(w);
    if (mine) AO_store(&mine->waker, 0);
    return !oaki_crew_ends();
}

bool oaki_crew_nap(uint64_t ns)
{
    if (!mine) {
        oaki_os_sleep_ns(ns);
        return true;
    }
    unsigned seen = oaki_waker_calls(&mine->nap);
    note_waker(&mine->nap);
    uint64_t now = oaki_os_now_ns(), until = now + ns;
    for (; now < until && !oaki_crew_ends(); now = oaki_os_now_ns())
        (void)oaki_waker_wait_ns(&mine->nap, &seen, until - now);
    AO_store(&mine->waker, 0);
    return !oaki_crew_ends();
}

/* ---- the end ---- */

/* Counts those that are still there, and wakes them. */
static size_t call(bool all)
{
    size_t n = 0;
    for (size_t i = 0; i < SEATS; i++) {
        oaki_seat *s = &seats[i];
        if (!all && !AO_int_load(&s->attached)) continue;
        if (is_empty(s)) continue;
        n++;
        oaki_waker *w = (oaki_waker *)AO_load_acquire(&s->waker);
        if (w) oaki_waker_wake(w, INT_MAX);
    }
    return n;
}

static size_t leaving(void)
{
    size_t n = 0;
    uint64_t now = oaki_os_lately_ns();
    for (size_t i = 0; i < EXITS; i++) {
        int tid = (int)AO_int_load_acquire(&left[i].tid);
        if (!tid) continue;
        if (now - AO_load(&left[i].ns) > PASSED_NS || is_gone(tid, NULL))
            AO_int_store(&left[i].tid, 0);
        else
            n++;
    }
    return n;
}

void oaki_crew_dismiss(void)
{
    AO_int_store(&ending, END_ALL);
    AO_nop_full();
    (void)call(true);
}

bool oaki_crew_end(bool all, uint64_t patience_ns)
{
    OAKI_REQUIRES_OUTSIDE();
    OAKI_ASSERT(!oaki_crew_has_me());
    uint64_t until = oaki_os_now_ns() + patience_ns;
    AO_int_store(&ending, all ? END_ALL : END_ATTACHED);
    AO_nop_full();
    while (call(all) > 0 || (all && leaving() > 0)) {
        if (oaki_os_now_ns() >= until) return false;
        oaki_os_sleep_ns(POLL_NS);
    }
    if (all) clear_seats();
    return true;
}

void oaki_crew_resume(void)
{
    AO_int_store_release(&ending, END_NONE);
}

void oaki_crew_note_exit(int tid)
{
    leaver *l = &left[AO_fetch_and_add1(&nleft) % EXITS];
    AO_store(&l->ns, (AO_t)oaki_os_lately_ns());
    AO_int_store_release(&l->tid, (unsigned)tid);
}

void oaki_crew_child(void)
{
    for (size_t i = 0; i < SEATS; i++)
        if (&seats[i] != mine) oaki_crew_give(&seats[i]);
    for (size_t i = 0; i < EXITS; i++) AO_int_store(&left[i].tid, 0);
    AO_int_store(&ending, END_NONE);
    if (mine) AO_int_store(&mine->tid, (unsigned)oaki_os_tid());
}
