/* starting.c - what Boehm's own tests look at besides: a start in a secondary thread, thread keys
 * whose destructors use the heap, leaks and smashed objects of several threads, requests that are
 * far too large, and data of libraries that come and go. */
#include "api.h"
#include <dlfcn.h>
#include <gc/gc_disclaim.h>
#include <pthread.h>

#define THREADS 4

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

/* ---- a start in a thread that is not the first ---- */

static void *starts(void *arg)
{
    GC_INIT();
    GC_allow_register_threads();
    return (void *)(intptr_t)(build(5000) + (arg != NULL));
}

static void *comes_later(void *arg)
{
    struct GC_stack_base base;
    (void)arg;
    GC_get_stack_base(&base);
    GC_register_my_thread(&base);
    long good = build(5000);
    GC_unregister_my_thread();
    return (void *)good;
}

static long run(void *(*fn)(void *))
{
    pthread_t t;
    void *result;
    if (pthread_create(&t, NULL, fn, NULL) != 0) abort();
    pthread_join(t, &result);
    return (long)(intptr_t)result;
}

void test_secondary(void)
{
    say("in the thread that starts", run(starts));
    say("in one that comes later", run(comes_later));
    say("started", GC_is_init_called());
}

/* ---- keys ---- */

static pthread_key_t key;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static long ended, whole;

/* The heap is used after its own destructor may have run, and once more in the next round. */
static void ends(void *value)
{
    struct GC_stack_base base;
    GC_get_stack_base(&base); /* libgc has forgotten the thread by now */
    GC_register_my_thread(&base);
    long good = build(500);
    GC_unregister_my_thread();
    pthread_mutex_lock(&lock);
    ended++;
    whole += good == 500;
    pthread_mutex_unlock(&lock);
    if (value == &key) pthread_setspecific(key, &lock);
}

static void *has_value(void *arg)
{
    (void)arg;
    pthread_setspecific(key, &key);
    return (void *)build(500);
}

void test_keys(void)
{
    pthread_t t[THREADS];
    GC_allow_register_threads();
    pthread_key_create(&key, ends);
    for (int round = 0; round < 5; round++) {
        for (int i = 0; i < THREADS; i++) GC_pthread_create(&t[i], NULL, has_value, NULL);
        for (int i = 0; i < THREADS; i++) GC_pthread_join(t[i], NULL);
    }
    say("destructors", ended);
    say("with their objects whole", whole);
}

/* ---- leaks; the script counts the lines ---- */

static NOINLINE void leak(void)
{
    for (int i = 0; i < 8; i++) {
        void *p = GC_debug_malloc(100, "leaks.c", 7);
        void *q = GC_debug_malloc(50, "freed.c", 8);
        memset(p, 1, 100);
        GC_debug_free(q);
        GC_free(GC_malloc(340)); /* would wait for reuse, on a thread that ends */
    }
}

static void *leaks(void *arg)
{
    leak();
    return arg;
}

void test_leaks(void)
{
    pthread_t t[THREADS];
    for (int i = 0; i < THREADS; i++) GC_pthread_create(&t[i], NULL, leaks, NULL);
    for (int i = 0; i < THREADS; i++) GC_pthread_join(t[i], NULL);
    collect();
}

/* ---- smashed objects; likewise ---- */

static char *smashed[12];

void test_smashing(void)
{
    for (int i = 0; i < 12; i++) {
        smashed[i] = GC_debug_malloc_atomic(64 + 8 * (size_t)i, "smashed.c", 100 + i);
        if (i < 6) smashed[i][64 + 8 * i] = 'x';
    }
    GC_gcollect();
    fflush(stdout);
    for (int i = 6; i < 12; i++) {
        smashed[i][64 + 8 * i] = 'y';
        GC_debug_free(smashed[i]);
        smashed[i] = NULL;
    }
}

/* ---- requests that nothing can satisfy ---- */

static long given(size_t n)
{
    static const struct GC_finalizer_closure none;
    GC_word bits = 1;
    GC_descr descr = GC_make_descriptor(&bits, 4);
    static int kind;
    if (kind == 0) kind = (int)GC_new_kind(GC_new_free_list(), GC_DS_LENGTH, 1, 1);
    void *p = GC_malloc(16), *q = GC_malloc_atomic(16), *out = NULL;
    const void *all[] = {
        GC_malloc(n), GC_malloc_atomic(n), GC_malloc_uncollectable(n),
        GC_malloc_atomic_uncollectable(n), GC_malloc_ignore_off_page(n),
        GC_malloc_atomic_ignore_off_page(n), GC_generic_malloc(n, kind),
        GC_generic_malloc_ignore_off_page(n, kind), GC_generic_malloc_uncollectable(n, 1),
        GC_malloc_kind(n, kind), GC_generic_or_special_malloc(n, kind),
        GC_malloc_explicitly_typed(n, descr), GC_malloc_explicitly_typed_ignore_off_page(n, descr),
        GC_calloc_explicitly_typed(n, 32, descr), GC_calloc_explicitly_typed(2, n, descr),
        GC_realloc(p, n), GC_realloc(q, n), GC_memalign(64, n),
        GC_debug_malloc(n, "huge.c", 1), GC_debug_malloc_atomic(n, "huge.c", 2),
        GC_debug_malloc_uncollectable(n, "huge.c", 3), GC_finalized_malloc(n, &none),
    };
    long some = GC_posix_memalign(&out, 64, n) == 0;
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) some += all[i] != NULL;
    return some;
}

void test_huge(void)
{
    static const size_t less[] = { 0, 1, 8, 16, 4095, 4096, 8192, 65536 };
    GC_set_warn_proc(GC_ignore_warn_proc);
    GC_init_finalized_malloc();
    long some = 0;
    for (size_t i = 0; i < sizeof less / sizeof less[0]; i++) {
        some += given(SIZE_MAX - less[i]) + given(SIZE_MAX / 2 - less[i]);
        if (i < 4) some += given(SIZE_MAX / 2 + 1 + less[i]);
    }
    say("huge requests that are satisfied", some);
    say("and the heap works", build(1000));
}

/* ---- libraries ---- */

/* LIBRARY is a shared library with a word for each of MANY objects (staticlib.c). */
static NOINLINE void fill(void *library, watch *w)
{
    void **word = dlsym(library, "words");
    for (int i = 0; i < MANY; i++) watch_add(w, word[i] = GC_malloc(32));
}

void test_libraries(void)
{
    const char *path = getenv("LIBRARY");
    for (int round = 0; round < 3; round++) {
        watch w;
        watch_init(&w);
        void *library = path ? GC_dlopen(path, RTLD_NOW | RTLD_LOCAL) : NULL;
        if (!library) {
            printf("no library: %s\n", path ? dlerror() : "LIBRARY is not set");
            return;
        }
        fill(library, &w);
        collect();
        say_of_many("loaded", watch_alive(&w));
        dlclose(library);
        collect();
        say_of_many("unloaded", watch_alive(&w));
    }
}
