/* environment.c - what the variables GC_* change: a part is run under each of them (compare). */
#include "api.h"
#include <pthread.h>
#include <semaphore.h>
#include <unistd.h>

void test_environment(void)
{
    GC_set_all_interior_pointers(0);
    GC_INIT();
    say("heap of 40 MiB", GC_get_heap_size() >= 40 << 20);
    say("divisor", (long)GC_get_free_space_divisor());
    say("retries", (long)GC_get_max_retries());
    say("disabled", GC_is_disabled());
    say("interior", GC_get_all_interior_pointers());
    say("find leak", GC_get_find_leak());
    say("full frequency", GC_get_full_freq());
    say("time limit", (long)GC_get_time_limit());
    say("entire heap", GC_use_entire_heap);
    say("unmap", GC_get_force_unmap_on_gcollect());
}

static void tell(char *message, GC_word arg)
{
    char text[200];
    snprintf(text, sizeof text, message, arg);
    printf("warned: %s", text);
}

/* Bad values; and what GC_DONT_GC makes of the number of collections. */
void test_warnings(void)
{
    GC_set_warn_proc(tell);
    GC_INIT();
    GC_gcollect();
    say("collections", (long)GC_get_gc_no());
    GC_disable();
    GC_disable();
    say("disabled", GC_is_disabled());
}

/* libgc starts them with the first thread. */
void test_markers(void)
{
    GC_allow_register_threads();
    GC_start_mark_threads();
    GC_gcollect();
    say("several", GC_get_parallel() > 0);
}

/* Marks that take long: by one marker, or by several where that is tried. */
void test_helped(void)
{
    static void **list;
    long several = 0;
    GC_INIT();
    for (long i = 0; i < 1000000; i++) {
        void **next = GC_malloc(2 * sizeof *next);
        *next = list;
        list = next;
    }
    for (int i = 0; i < 16; i++) {
        GC_gcollect();
        several += GC_get_parallel() > 0;
    }
    say("alone", several < 16);
    say("together", several > 0);
}

/* Is there a limit? 200 MiB are asked for. */
void test_limit(void)
{
    static void *kept[200];
    long n = 0;
    GC_set_warn_proc(GC_ignore_warn_proc);
    while (n < 200 && (kept[n] = GC_malloc_atomic(1 << 20))) n++;
    say("all of it", n == 200);
    say("a part", n > 20 && n < 100);
    say("the last", kept[n - 1] != NULL);
}

static long described;
static sem_t asked, answered;

/* Needs another thread, which is to run, and the allocator of the C library. */
static void describe(void *obj, char *out)
{
    sem_post(&asked);
    while (sem_wait(&answered) != 0) continue;
    described += GC_base(obj) != NULL && *(char *)obj == 'x';
    char *text = strdup("a leaked thing");
    memcpy(out, text, 15);
    free(text);
}

static void *answers(void *arg)
{
    for (;;) {
        while (sem_wait(&asked) != 0) continue;
        sem_post(&answered);
    }
    return arg;
}

static NOINLINE void leak(void)
{
    for (int i = 0; i < 20; i++)
        GC_reachable_here(memset(GC_debug_malloc(100, "leak.c", 3), 'x', 100));
}

void test_leaking(void)
{
    pthread_t t;
    sem_init(&asked, 0, 0);
    sem_init(&answered, 0, 0);
    GC_allow_register_threads();
    GC_pthread_create(&t, NULL, answers, NULL);
    alarm(100);
    GC_register_describe_type_fn(1, describe);
    leak();
    collect();
    say("described", described > 0);
}
