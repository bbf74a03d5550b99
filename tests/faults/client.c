/* client.c - a program on libgc's interface for check-faults: lists, threads, finalizers, links. */
#ifndef GC_THREADS
#define GC_THREADS
#endif
#include <gc/gc.h>
#include <pthread.h>

#define GUEST_NEW GC_MALLOC
#define GUEST_ROOM 0
#include "list.h"

static node *kept;

static void finalizer(void *obj, void *ctx)
{
    (void)obj;
    (void)ctx;
}

static void *thread(void *arg)
{
    node *own = list_of(3000);
    (void)arg;
    list_of(30000);
    check_list(own, 3000);
    return NULL;
}

static void batches(void)
{
    for (int round = 0; round < 50; round++) {
        void *batch = GC_malloc_many(32);
        if (!batch) failed("GC_malloc_many");
        long n = 0;
        for (; batch; batch = GC_NEXT(batch)) n++;
        if (n < 1) wrong("objects of a batch", n, 1);
    }
}

/* Small stacks: libc keeps 40 MiB of them for later threads, and aborts where it can't unmap what
 * is more. */
int main(void)
{
    enum { N = 4 };
    pthread_t t[N];
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, 256 << 10);
    void *link = NULL;
    faults_on();
    GC_INIT();
    kept = list_of(20000);
    for (int i = 0; i < 10; i++) {
        list_of(20000);
        if (!GC_MALLOC_ATOMIC(200000)) failed("GC_MALLOC_ATOMIC");
        void *p = GC_MALLOC(100);
        if (!p) failed("GC_MALLOC");
        GC_REGISTER_FINALIZER(p, finalizer, NULL, NULL, NULL);
    }
    link = (void *)GC_HIDE_POINTER(kept);
    if (GC_GENERAL_REGISTER_DISAPPEARING_LINK(&link, kept) != GC_SUCCESS) failed("a link");
    for (int i = 0; i < N; i++) {
        int error = GC_pthread_create(&t[i], &attr, thread, NULL);
        if (error == 0) continue;
        errno = error;
        failed("GC_pthread_create");
    }
    GC_gcollect();
    for (int i = 0; i < N; i++) GC_pthread_join(t[i], NULL);
    batches();
    GC_gcollect();
    if (GC_REVEAL_POINTER(link) != kept) wrong("a link", 0, 1);
    check_list(kept, 20000);
    if (GC_get_heap_size() < 20000 * sizeof(node)) wrong("heap", (long)GC_get_heap_size(), 0);
    say("collected\n");
    return 0;
}
