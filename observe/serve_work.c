/* serve_work.c - the threads that make answers, and the queues between them and the loop.
 *
 * Owns: struct works. Lock: works.lock, a mutex of the host's library. Workers take it only in
 * blocking regions, so no pause stops a worker that holds it. The loop is never stopped.
 * Invariant: a request is in at most one of the queues and the list of completed ones. */
#include "reading.h"
#include "runtime/thread.h"
#include "serve.h"
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

typedef struct worker {
    pthread_t id;
    pthread_cond_t wanted;
    oaki_request *first, **last; /* queued */
    const char *name;
    bool started;
} worker;

static struct {
    pthread_mutex_t lock;
    worker worker[OAKI_MAKERS];
    oaki_request *done;
    bool quit;
} works = { .lock = PTHREAD_MUTEX_INITIALIZER,
            .worker = { [OAKI_MAKER_LIGHT] = { .wanted = PTHREAD_COND_INITIALIZER,
                                               .name = "oakum/serve-1" },
                        [OAKI_MAKER_HEAVY] = { .wanted = PTHREAD_COND_INITIALIZER,
                                               .name = "oakum/serve-2" } } };

/* ---- lists, under the lock ---- */

static oaki_request *pop(worker *w)
{
    oaki_request *r = w->first;
    w->first = r->next;
    if (!w->first) w->last = &w->first;
    r->next = NULL;
    r->state = OAKI_REQUEST_RUNNING;
    return r;
}

static void push(worker *w, oaki_request *r)
{
    r->next = NULL;
    r->state = OAKI_REQUEST_QUEUED;
    *w->last = r;
    w->last = &r->next;
}

static void unlink_queued(worker *w, const oaki_request *r)
{
    for (oaki_request **at = &w->first; *at; at = &(*at)->next) {
        if (*at != r) continue;
        *at = r->next;
        if (!*at) w->last = at;
        return;
    }
}

static void unlink_done(const oaki_request *r)
{
    for (oaki_request **at = &works.done; *at; at = &(*at)->next) {
        if (*at != r) continue;
        *at = r->next;
        return;
    }
}

/* ---- workers ---- */

/* The answer is made. Returns whether the loop wants it. */
static bool hand_back(oaki_request *r)
{
    if (r->abandoned) return false;
    r->state = OAKI_REQUEST_DONE;
    r->next = works.done;
    works.done = r;
    oaki_wake();
    return true;
}

/* Hands back a completed request, and waits for the next; NULL: quit. */
static oaki_request *exchange(worker *w, oaki_request *done)
{
    oaki_request *r = NULL;
    oaki_thread *t = oaki_thread_self();
    if (t) oaki_blocking_begin(t);
    pthread_mutex_lock(&works.lock);
    bool unwanted = done && !hand_back(done);
    while (!w->first && !works.quit) pthread_cond_wait(&w->wanted, &works.lock);
    if (!works.quit) r = pop(w);
    pthread_mutex_unlock(&works.lock);
    if (t) oaki_blocking_end(t);
    if (unwanted) oaki_request_free(done);
    return r;
}

static void *work(void *arg)
{
    worker *w = arg;
    oaki_request *r = NULL;
    oaki_serve_thread_begin(w->name);
    (void)oaki_thread_attach_hired(); /* if this fails, the first reading tries again */
    oaki_last_thread_exits(false); /* it may have been the program's last one meanwhile */
    while ((r = exchange(w, r)) != NULL) r->route->make(r);
    if (w == &works.worker[OAKI_MAKER_LIGHT]) oaki_reading_end();
    return NULL;
}

static int start(worker *w)
{
    w->first = NULL;
    w->last = &w->first;
    int e = oaki_serve_thread_start(&w->id, work, w);
    w->started = e == 0;
    return e;
}

int oaki_works_start(void)
{
    works.quit = false;
    int e = oaki_reading_begin();
    if (e == 0) e = start(&works.worker[OAKI_MAKER_LIGHT]);
    if (e == 0) e = start(&works.worker[OAKI_MAKER_HEAVY]);
    if (e != 0) {
        oaki_works_quit();
        oaki_works_join();
    }
    return e;
}

void oaki_works_quit(void)
{
    pthread_mutex_lock(&works.lock);
    works.quit = true;
    for (int i = OAKI_MAKER_LIGHT; i < OAKI_MAKERS; i++)
        pthread_cond_signal(&works.worker[i].wanted);
    pthread_mutex_unlock(&works.lock);
}

/* The light worker frees the reading, if there is one. */
void oaki_works_join(void)
{
    for (int i = OAKI_MAKER_LIGHT; i < OAKI_MAKERS; i++) {
        worker *w = &works.worker[i];
        if (w->started) pthread_join(w->id, NULL);
        w->started = false;
        while (w->first) oaki_request_free(pop(w)); /* requests that came after the worker's end */
    }
    oaki_reading_off();
}

/* ---- for the loop ---- */

void oaki_works_give(oaki_request *r)
{
    worker *w = &works.worker[r->route->maker];
    pthread_mutex_lock(&works.lock);
    push(w, r);
    pthread_cond_signal(&w->wanted);
    pthread_mutex_unlock(&works.lock);
}

oaki_request_state oaki_works_state(const oaki_request *r)
{
    pthread_mutex_lock(&works.lock);
    oaki_request_state state = r->state;
    pthread_mutex_unlock(&works.lock);
    return state;
}

bool oaki_works_withdraw(oaki_request *r)
{
    pthread_mutex_lock(&works.lock);
    bool queued = r->state == OAKI_REQUEST_QUEUED, waits = r->state == OAKI_REQUEST_WAITING;
    if (queued) {
        unlink_queued(&works.worker[r->route->maker], r);
        r->state = OAKI_REQUEST_WAITING;
    }
    pthread_mutex_unlock(&works.lock);
    return queued || waits;
}

oaki_request *oaki_works_take(void)
{
    pthread_mutex_lock(&works.lock);
    oaki_request *all = works.done;
    works.done = NULL;
    for (oaki_request *r = all; r; r = r->next) r->state = OAKI_REQUEST_READY;
    pthread_mutex_unlock(&works.lock);
    return all;
}

void oaki_works_abandon(oaki_request *r)
{
    pthread_mutex_lock(&works.lock);
    bool running = r->state == OAKI_REQUEST_RUNNING, later = false;
    if (r->state == OAKI_REQUEST_QUEUED) unlink_queued(&works.worker[r->route->maker], r);
    if (r->state == OAKI_REQUEST_DONE) unlink_done(r);
    if (running) {
        r->abandoned = true;
    } else if (r->trace) { /* ending a trace calls listeners: not on the loop's thread */
        r->abandoned = later = true;
        push(&works.worker[OAKI_MAKER_LIGHT], r);
        pthread_cond_signal(&works.worker[OAKI_MAKER_LIGHT].wanted);
    }
    pthread_mutex_unlock(&works.lock);
    if (!running && !later) oaki_request_free(r);
}

/* In a child: the workers don't exist, and the requests they were processing are lost. */
void oaki_works_child(void)
{
    pthread_mutex_init(&works.lock, NULL);
    for (int i = OAKI_MAKER_LIGHT; i < OAKI_MAKERS; i++) {
        worker *w = &works.worker[i];
        pthread_cond_init(&w->wanted, NULL);
        w->first = NULL;
        w->last = &w->first;
        w->started = false;
    }
    works.done = NULL;
    oaki_reading_child();
}
