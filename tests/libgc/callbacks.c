/* callbacks.c - what the program is told of: the heap's size, threads that are stopped; and what it
 * is asked: whether a collection may come. */
#include "api.h"
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <unistd.h>

/* ---- the heap's size ---- */

static long resizes;
static GC_word last_size;

static void resized(GC_word size)
{
    resizes++;
    last_size = size;
}

static NOINLINE void grow(void)
{
    static void *kept[64];
    GC_disable();
    for (int i = 0; i < 64; i++) kept[i] = GC_malloc_atomic(1 << 20);
    GC_enable();
    memset(kept, 0, sizeof kept);
}

/* By GC_expand_hp, and by allocations that no collection comes between. */
static void heap_size(void)
{
    GC_set_on_heap_resize(resized);
    GC_gcollect();
    resizes = 0;
    GC_expand_hp(64 << 20);
    say("told of an expansion", resizes > 0);
    say("and the size", last_size == GC_get_heap_size());
    GC_set_on_heap_resize(NULL);
    GC_on_heap_resize = resized;
    resizes = 0;
    last_size = GC_get_heap_size();
    GC_word before = last_size;
    grow();
    grow();
    say("told of growth", resizes > 0);
    say("a larger size", last_size > before);
    GC_on_heap_resize = NULL;
    resizes = 0;
    GC_expand_hp(1 << 20);
    say("told no more", resizes);
}

/* ---- threads ---- */

static long stopped, started;
static pthread_t told_of;

static void on_thread(GC_EventType e, void *thread)
{
    stopped += e == GC_EVENT_THREAD_SUSPENDED;
    started += e == GC_EVENT_THREAD_UNSUSPENDED;
    told_of = (pthread_t)thread;
}

static sem_t ready, done;

static void *waits(void *arg)
{
    sem_post(&ready);
    while (sem_wait(&done) != 0) continue;
    return arg;
}

static void thread_events(void)
{
    pthread_t t;
    sem_init(&ready, 0, 0);
    sem_init(&done, 0, 0);
    GC_pthread_create(&t, NULL, waits, NULL);
    while (sem_wait(&ready) != 0) continue;
    GC_gcollect();
    GC_set_on_thread_event(on_thread);
    GC_gcollect();
    GC_set_on_thread_event(NULL);
    say("told of a stopped thread", stopped);
    say("and that it goes on", started);
    say("which it is", pthread_equal(told_of, t) != 0);
    GC_gcollect();
    say("told no more", stopped);
    sem_post(&done);
    GC_pthread_join(t, NULL);
}

/* ---- asking ---- */

static long asked;

static int stop(void)
{
    asked++;
    return 1;
}

static int go_on(void)
{
    return 0;
}

static NOINLINE void drop_many(watch *w)
{
    for (int i = 0; i < MANY; i++) watch_add(w, GC_malloc(40));
}

static void stop_function(void)
{
    GC_stop_func was = GC_get_stop_func();
    watch w;
    watch_init(&w);
    drop_many(&w);
    GC_set_stop_func(stop);
    collect();
    say("asked", asked > 0);
    say_of_many("there while they are given up", watch_alive(&w));
    GC_word before = GC_get_gc_no();
    say("only the function that is given is asked", GC_try_to_collect(go_on));
    GC_gcollect_and_unmap();
    say("and none where memory is to be returned", GC_get_gc_no() >= before + 2);
    GC_set_stop_func(was);
    collect();
    say_of_many("there after others", watch_alive(&w));
}

static void churn(size_t bytes)
{
    for (size_t n = 0; n < bytes; n += 1000) *(char *)GC_malloc(1000) = 1;
}

static atomic_long looked;

/* Other threads stop the world meanwhile. */
static int looks(void)
{
    usleep(100);
    looked += GC_get_total_bytes() > 0;
    return 0;
}

static void *churns(void *arg)
{
    for (int i = 0; i < 20; i++) {
        churn(4 << 20);
        GC_gcollect();
    }
    return arg;
}

static void asked_beside_threads(void)
{
    GC_stop_func was = GC_get_stop_func();
    pthread_t t[3];
    alarm(200);
    GC_set_stop_func(looks);
    for (int i = 0; i < 3; i++) GC_pthread_create(&t[i], NULL, churns, NULL);
    for (int i = 0; i < 3; i++) GC_pthread_join(t[i], NULL);
    GC_set_stop_func(was);
    alarm(0);
    say("looked at figures when asked", looked > 0);
}

static void automatic(void)
{
    GC_set_disable_automatic_collection(1);
    GC_word before = GC_get_gc_no();
    churn(32 << 20);
    say("by themselves while they may not", (long)(GC_get_gc_no() - before));
    GC_gcollect();
    say("asked for", GC_get_gc_no() > before);
    GC_set_disable_automatic_collection(0);
    before = GC_get_gc_no();
    GC_dont_gc = 1;
    churn(32 << 20);
    say("while the variable says no", (long)(GC_get_gc_no() - before));
    GC_dont_gc = 0;
}

void test_callbacks(void)
{
    heap_size();
    thread_events();
    stop_function();
    asked_beside_threads();
    automatic();
}
