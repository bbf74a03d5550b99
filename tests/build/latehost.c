/* latehost.c - a program without Oakum that loads plugins and calls late_run of each.
 *
 * usage: latehost PLUGIN[:]...: with a colon, it is loaded only. A thread that was there before
 * runs each as well. With -DBOEHM the program lives on Boehm's collector, and its own objects must
 * survive both collectors. Exit status 1 when something fails. */
#ifdef BOEHM
#define GC_THREADS
#include <gc/gc.h>
#endif
#include <dlfcn.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

static int (*run)(void);
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int asked, answered, status;
static bool quit;

static void *thread(void *arg)
{
    pthread_mutex_lock(&mutex);
    for (;;) {
        while (asked == answered && !quit) pthread_cond_wait(&changed, &mutex);
        if (quit) break;
        status = run();
        answered++;
        pthread_cond_broadcast(&changed);
    }
    pthread_mutex_unlock(&mutex);
    return arg;
}

static int run_in_thread(void)
{
    pthread_mutex_lock(&mutex);
    asked++;
    pthread_cond_broadcast(&changed);
    while (asked != answered) pthread_cond_wait(&changed, &mutex);
    pthread_mutex_unlock(&mutex);
    return status;
}

#ifdef BOEHM
static void **list;

static void own_begin(void)
{
    GC_INIT();
}

static bool own_objects_live(void)
{
    enum { N = 50000 };
    uintptr_t n = 0;
    for (uintptr_t i = N; !list && i-- > 0;) {
        static void **head;
        void **p = GC_MALLOC(2 * sizeof *p);
        p[0] = head;
        p[1] = (void *)(i << 1 | 1);
        head = p;
        if (i == 0) list = head;
    }
    GC_gcollect();
    for (void **p = list; p; p = *p)
        if ((uintptr_t)p[1] != (n++ << 1 | 1)) return false;
    return n == N;
}
#else
static void own_begin(void) {}
static bool own_objects_live(void)
{
    return true;
}
#endif

static int load(char *name)
{
    bool only = name[strlen(name) - 1] == ':';
    if (only) name[strlen(name) - 1] = '\0';
    void *handle = dlopen(name, RTLD_NOW);
    if (!handle) {
        fprintf(stderr, "latehost: %s\n", dlerror());
        return -1;
    }
    if (only) return 0;
    *(void **)&run = dlsym(handle, "late_run");
    int here = run ? run() : -1, there = run ? run_in_thread() : -1;
    if (here == 0 && there == 0) return 0;
    fprintf(stderr, "latehost: %s: late_run gives %d, and %d in a thread\n", name, here, there);
    return -1;
}

int main(int argc, char **argv)
{
    pthread_t t;
    int failed = 0;
    own_begin();
    if (!own_objects_live() || pthread_create(&t, NULL, thread, NULL) != 0) return 1;
    for (int i = 1; i < argc && !failed; i++) failed = load(argv[i]) != 0 || !own_objects_live();
    pthread_mutex_lock(&mutex);
    quit = true;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&mutex);
    pthread_join(t, NULL);
    return failed || !own_objects_live();
}
