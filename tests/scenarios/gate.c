/* gate.c - threads that wait until they are let through, and clocks.
 *
 * A gate is a static variable: what waits is in a blocking region and touches no heap. */
#include "scenario.h"

#include <atomic_ops.h>
#include <string.h>
#include <time.h>

static void *wait_at(void *arg)
{
    scn_gate *g = arg;

    pthread_mutex_lock(&g->lock);
    g->waiting++;
    pthread_cond_broadcast(&g->changed);
    while (!g->open) pthread_cond_wait(&g->changed, &g->lock);
    pthread_mutex_unlock(&g->lock);
    return NULL;
}

void scn_gate_wait(scn_gate *g)
{
    oak_blocking_call(wait_at, g);
}

typedef struct await_call {
    scn_gate *gate;
    size_t n;
} await_call;

static void *await(void *arg)
{
    await_call *c = arg;

    pthread_mutex_lock(&c->gate->lock);
    while (c->gate->waiting < c->n) pthread_cond_wait(&c->gate->changed, &c->gate->lock);
    pthread_mutex_unlock(&c->gate->lock);
    return NULL;
}

void scn_gate_await(scn_gate *g, size_t n)
{
    await_call c = { g, n };

    oak_blocking_call(await, &c);
}

void scn_gate_open(scn_gate *g)
{
    pthread_mutex_lock(&g->lock);
    g->open = true;
    pthread_cond_broadcast(&g->changed);
    pthread_mutex_unlock(&g->lock);
}

void scn_gate_close(scn_gate *g)
{
    pthread_mutex_lock(&g->lock);
    g->open = false;
    g->waiting = 0;
    pthread_mutex_unlock(&g->lock);
}

/* What threads that are about to start will run. A table of our own: oak_thread_create's block is
 * an object, whose address stays on the new thread's stack after it was freed, and would hold
 * whatever takes its place. */
typedef struct start {
    void *(*fn)(void *arg);
    void *arg;
} start;

#define STARTS 2048

static start starts[STARTS];
static AO_t next_start;

static void *run_started(void *slot)
{
    start *s = slot, mine = *s;

    if (oak_thread_attach() != 0) scn_die("no room for a thread");
    *s = (start){ NULL, NULL };
    return mine.fn(mine.arg);
}

pthread_t scn_thread_start(void *(*fn)(void *arg), void *arg, size_t stack)
{
    start *s = &starts[AO_fetch_and_add1_full(&next_start) % STARTS];
    pthread_attr_t attr;
    pthread_t thread;
    int error;

    if (s->fn != NULL) scn_die("more than %d threads are about to start", STARTS);
    *s = (start){ fn, arg };
    pthread_attr_init(&attr);
    if (stack != 0) pthread_attr_setstacksize(&attr, stack);
    error = pthread_create(&thread, &attr, run_started, s);
    pthread_attr_destroy(&attr);
    if (error != 0) scn_die("thread: %s", strerror(error));
    return thread;
}

static void *lock_call(void *lock)
{
    pthread_mutex_lock(lock);
    return NULL;
}

void scn_lock(pthread_mutex_t *lock)
{
    if (pthread_mutex_trylock(lock) != 0) oak_blocking_call(lock_call, lock);
}

static double clock_us(clockid_t clock)
{
    struct timespec t;

    clock_gettime(clock, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

double scn_thread_us(void)
{
    return clock_us(CLOCK_THREAD_CPUTIME_ID);
}

double scn_wall_us(void)
{
    return clock_us(CLOCK_MONOTONIC);
}
