/* crowd.c - many threads at once: a heap whose limit the environment sets, threads that start
 * threads and collections, libraries that are loaded and unloaded meanwhile, and who has the lock
 * while a kind's function is called. */
#include "api.h"
#include <dlfcn.h>
#include <gc/gc_disclaim.h>
#include <pthread.h>
#include <stdatomic.h>

#define THREADS 4

/* ---- GC_MAXIMUM_HEAP_SIZE ---- */

#define SHARE ((size_t)13 << 20) /* that a thread takes at most: more than the limit */
#define ROUNDS 2

typedef struct taker {
    size_t size, bytes; /* of an object; of all that it holds */
    void **list;
    bool told; /* that there is no memory */
    bool whole;
} taker;

static taker takers[THREADS];
static pthread_barrier_t taken, seen;

static NOINLINE void take(taker *t)
{
    t->bytes = 0;
    t->told = false;
    while (t->bytes < SHARE) {
        void **p = GC_malloc(t->size);
        if (!p) {
            t->told = true;
            break;
        }
        *p = t->list;
        t->list = p;
        t->bytes += t->size;
    }
}

static NOINLINE void drop(taker *t)
{
    size_t bytes = 0;
    for (void **p = t->list; p; p = *p) bytes += t->size;
    t->whole &= bytes == t->bytes;
    t->list = NULL;
}

static void *takes(void *arg)
{
    taker *t = arg;
    pthread_barrier_wait(&seen); /* all threads are there, as libgc ends without memory for one */
    for (int i = 0; i < ROUNDS; i++) {
        take(t);
        pthread_barrier_wait(&taken);
        drop(t);
        pthread_barrier_wait(&seen);
        pthread_barrier_wait(&seen);
    }
    return NULL;
}

/* libgc's heap exceeds its limit by a few pages, and is in pieces after a round. */
static void look_at(size_t limit, size_t least)
{
    size_t bytes = 0, told = 0;
    for (int i = 0; i < THREADS; i++) {
        bytes += takers[i].bytes;
        told += takers[i].told;
    }
    say("threads that are told", (long)told);
    say("a limit holds", !told || (bytes <= limit && GC_get_heap_size() <= limit + limit / 64));
    say("and leaves them enough", !told || bytes >= least);
}

void test_maximum(void)
{
    static const size_t sizes[THREADS] = { 64, 2000, 50000, 500000 };
    pthread_t id[THREADS];
    const char *text = getenv("GC_MAXIMUM_HEAP_SIZE");
    size_t limit = text ? (size_t)atol(text) << 20 : 0;
    bool ours = dlsym(RTLD_DEFAULT, "oak_version") != NULL; /* libgc's may leave next to nothing */
    GC_set_warn_proc(GC_ignore_warn_proc);
    GC_allow_register_threads();
    pthread_barrier_init(&taken, NULL, THREADS + 1);
    pthread_barrier_init(&seen, NULL, THREADS + 1);
    for (int i = 0; i < THREADS; i++) {
        takers[i] = (taker){ .size = sizes[i], .whole = true };
        GC_pthread_create(&id[i], NULL, takes, &takers[i]);
    }
    pthread_barrier_wait(&seen);
    for (int i = 0; i < ROUNDS; i++) {
        pthread_barrier_wait(&taken);
        look_at(limit, i == 0 ? limit / 2 : ours ? limit / 16 : 0);
        pthread_barrier_wait(&seen);
        collect();
        pthread_barrier_wait(&seen);
    }
    for (int i = 0; i < THREADS; i++) {
        GC_pthread_join(id[i], NULL);
        say("its list was whole", takers[i].whole);
    }
}

/* ---- threads that start threads and collections ---- */

#define DEPTH 4

static NOINLINE long build(int n)
{
    void **head = NULL;
    long good = 0;
    for (int i = 0; i < n; i++) {
        void **p = GC_malloc(40);
        *p = head;
        head = p;
    }
    GC_gcollect();
    for (; head; head = *head) good++;
    return good;
}

/* Returns an object that only the result refers to: the number of threads of its tree. */
static void *starts_two(void *arg)
{
    intptr_t depth = (intptr_t)arg;
    pthread_t t[2];
    long threads = 1;
    for (int i = 0; depth > 0 && i < 2; i++)
        GC_pthread_create(&t[i], NULL, starts_two, (void *)(depth - 1));
    long good = build(300) + build(300);
    for (int i = 0; depth > 0 && i < 2; i++) {
        void *below;
        GC_pthread_join(t[i], &below);
        GC_gcollect();
        threads += *(long *)below;
    }
    long *result = GC_malloc_atomic(sizeof *result);
    *result = good == 600 ? threads : 0;
    return result;
}

void test_subthreads(void)
{
    GC_allow_register_threads();
    for (int i = 0; i < 3; i++) say("threads", *(long *)starts_two((void *)(intptr_t)DEPTH));
}

/* ---- libraries that come and go ---- */

static atomic_long over, cycles;

static void *collects(void *arg)
{
    while (!over) {
        (void)build(100);
        cycles++;
    }
    return arg;
}

/* LIBRARY has a word for each of MANY objects (staticlib.c). Returns how many of them are whole. */
static NOINLINE long use(void *library)
{
    long **word = dlsym(library, "words");
    long whole = 0;
    for (int i = 0; i < MANY; i++) {
        long *p = GC_malloc(48);
        *p = i;
        word[i] = p;
    }
    for (long until = cycles + 3; cycles < until;) (void)build(10);
    for (int i = 0; i < MANY; i++) whole += *word[i] == i;
    return whole;
}

void test_loading(void)
{
    pthread_t id[2];
    long whole = 0;
    const char *path = getenv("LIBRARY");
    GC_allow_register_threads();
    for (int i = 0; i < 2; i++) GC_pthread_create(&id[i], NULL, collects, NULL);
    for (int round = 0; round < 20; round++) {
        void *library = path ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : NULL;
        if (!library) continue;
        whole += use(library);
        dlclose(library);
    }
    over = 1;
    for (int i = 0; i < 2; i++) GC_pthread_join(id[i], NULL);
    say("objects of libraries that are whole", whole);
}

/* ---- a kind's function, and the allocation lock ---- */

static atomic_long has_lock, calls, clashes;

static void *hold(void *arg)
{
    has_lock = 1;
    for (atomic_int i = 0; i < 2000;) i++;
    has_lock = 0;
    return arg;
}

static void *holds_lock(void *arg)
{
    while (!over) GC_call_with_alloc_lock(hold, arg);
    return arg;
}

static int called(void *obj)
{
    if (!(*(uintptr_t *)obj & 1)) return 0; /* a part of a free list */
    calls++;
    clashes += has_lock;
    return 0;
}

static NOINLINE void make_called(int kind)
{
    for (int i = 0; i < 10 * MANY; i++) *(uintptr_t *)GC_generic_malloc(32, kind) = 4711;
}

void test_locked(void)
{
    pthread_t id[2];
    int kind = (int)GC_new_kind(GC_new_free_list(), GC_DS_LENGTH, 1, 1);
    GC_register_disclaim_proc(kind, called, 1);
    GC_allow_register_threads();
    for (int i = 0; i < 2; i++) GC_pthread_create(&id[i], NULL, holds_lock, NULL);
    for (int i = 0; i < 10; i++) {
        make_called(kind);
        GC_gcollect();
    }
    over = 1;
    for (int i = 0; i < 2; i++) GC_pthread_join(id[i], NULL);
    say("a kind's function is called", calls >= 80 * MANY);
    say("while another thread has the lock", clashes);
}
