/* stack_use.c - how much stack each way into Oakum takes, and that it is no more than stated.
 *
 * Each path runs in a process of its own, under each set of options: a thread with a painted stack
 * takes the path, and the lowest byte that has lost its paint tells how deep it went. What a path
 * takes of its own is at most OAK_STACK_MIN; with the frame of a signal, oak_stack_min(). Then it
 * is taken on a fiber of just the stated size, and by a thread of PTHREAD_STACK_MIN, both with no
 * memory below.
 *
 * stack_use               all paths, all options; prints the deepest use of each path
 * stack_use PATH          this one, as the environment says; prints the bytes
 * stack_use PATH fiber    on a fiber
 * stack_use PATH thread   in a thread */
#include <atomic_ops.h>
#include <oakum/oakum.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#define STACK ((size_t)256 << 10)
#define BELOW 192 /* the frames that paint and measure */
#define PAINT 0xa5
#define UNWINDER 3072 /* of the heap profile, where there is room */
#define COUNT(a) (sizeof(a) / sizeof(a)[0])
#define NOINLINE __attribute__((noinline))

typedef struct node {
    struct node *next;
    char rest[48];
} node;

typedef struct path {
    const char *name;
    void (*before)(void); /* on the first thread */
    void (*take)(void);
    bool attaches; /* by itself */
    bool signals;  /* its figure has a signal's frame in it */
} path;

static const path *path_taken;
static char *stack_low; /* of the painted stack */
static char *from;      /* where the path began */
static void *sink, *kept;
static AO_t ready, quit;

/* ---- paint ---- */

static NOINLINE void paint(void)
{
    char *top = (char *)__builtin_frame_address(0) - BELOW;
    for (char *p = stack_low; p < top; p++) {
        *p = (char)PAINT;
        __asm__ __volatile__("" : : : "memory"); /* no call of memset, whose frame is below */
    }
    from = top;
}

static size_t depth(void)
{
    const char *p = stack_low;
    while (p < from && *p == (char)PAINT) p++;
    return (size_t)(from - p) + BELOW;
}

/* ---- paths ---- */

static void nothing(void)
{
}

static void attach(void)
{
    oak_thread_attach();
}

static void some_live(void)
{
    for (int i = 0; i < 20000; i++) {
        node *n = oak_alloc(sizeof *n);
        n->next = kept;
        kept = n;
    }
}

static NOINLINE void churn(int n)
{
    node *list = NULL;
    for (int i = 0; i < n; i++) {
        node *x = oak_alloc(sizeof *x);
        x->next = i % 500 ? list : NULL;
        list = x;
        if (i % 64 == 0) sink = oak_alloc_noscan((size_t)i % 5000);
        if (i % 4096 == 0) sink = oak_alloc(100000);
    }
    sink = list;
}

static void alloc_fast(void)
{
    sink = oak_alloc(48);
}

static void alloc_slow(void)
{
    for (size_t n = 1; n < 200000; n += n / 2 + 1) {
        sink = oak_alloc(n);
        sink = oak_alloc_noscan(n);
        sink = oak_alloc_pinned(n);
        sink = oak_alloc_aligned(64, n);
    }
}

static void alloc_collects(void)
{
    churn(400000);
}

static void collect(void)
{
    oak_collect();
    churn(1000);
    oak_collect();
}

static void free_some(void)
{
    static void *p[200];
    for (size_t i = 0; i < COUNT(p); i++) p[i] = oak_alloc(i * i * 4 + 1);
    for (size_t i = 0; i < COUNT(p); i++) oak_free(p[i]);
}

static void realloc_some(void)
{
    void *p = NULL;
    for (size_t n = 1; n < 1000000; n *= 2) p = oak_realloc(p, n);
    for (size_t n = 1000000; n > 1; n /= 3) p = oak_realloc(p, n);
    oak_free(p);
}

static void maps(void)
{
    oak_map *m = oak_map_new(&oak_map_u64_u64, 0);
    for (uint64_t i = 0; i < 20000; i++) *(uint64_t *)oak_map_put(m, &i) = i;
    for (uint64_t i = 0; i < 20000; i++) sink = oak_map_get(m, &i);
    for (uint64_t i = 0; i < 15000; i++) (void)oak_map_delete(m, &i);
    oak_map_iter it;
    for (oak_map_iter_init(&it, m); oak_map_iter_next(&it);) sink = m;
    oak_map_clear(m);
}

static void mark_node(oak_marker *m, void *obj, size_t size)
{
    oak_mark_ptr(m, ((node *)obj)->next);
    oak_mark_range(m, obj, size);
}

static void typed(void)
{
    static const uint64_t bitmap[1] = { 1 };
    const oak_type *types[] = { oak_type_bitmap("stack_use bits", sizeof(node), bitmap),
                                oak_type_function("stack_use node", sizeof(node), mark_node) };
    node *list = NULL;
    for (int i = 0; i < 20000; i++) {
        node *x = oak_alloc_typed(types[i % 2], i % 1000 ? 1 : 2000);
        x->next = list;
        list = x;
    }
    sink = list;
    oak_collect();
    churn(100000);
}

static void maps_other(void)
{
    oak_classic_map *c = oak_classic_new(&oak_classic_int_int, 0);
    for (long i = 0; i < 5000; i++) sink = oak_classic_put(c, &i);
    for (long i = 0; i < 5000; i++) (void)oak_classic_delete(c, &i);
    oak_weakvalue *w = oak_weakvalue_new(&oak_map_u64_ptr, 0, 0);
    oak_weakkey *k = oak_weakkey_new(0, 0);
    oak_syncmap *s = oak_syncmap_new(&oak_map_u64_ptr);
    oak_shardmap *h = oak_shardmap_new(&oak_map_u64_u64, 4, 0);
    for (uint64_t i = 0; i < 3000; i++) {
        void *x = oak_alloc(16);
        (void)oak_weakvalue_put(w, &i, x);
        (void)oak_weakkey_put(k, x, x);
        (void)oak_syncmap_store(s, &i, x);
        (void)oak_shardmap_put(h, &i, &i);
    }
    oak_collect();
    oak_map_stats stats;
    oak_map *m = oak_map_new(&oak_map_u64_u64, 0);
    for (uint64_t i = 0; i < 100; i++) *(uint64_t *)oak_map_put(m, &i) = i;
    oak_map_stats_read(m, &stats);
    sink = c;
}

static void finalize(void *obj, void *ctx)
{
    (void)obj;
    (void)ctx;
}

static void clean_up(void *ctx)
{
    (void)ctx;
}

static NOINLINE void make_refs(void)
{
    for (int i = 0; i < 2000; i++) {
        void *x = oak_alloc(32);
        (void)oak_finalizer_set(x, finalize, NULL);
        x = oak_alloc(32);
        (void)oak_cleanup_add(x, clean_up, NULL);
        sink = oak_weak_new(x);
        sink = oak_weak_get(sink);
        sink = oak_ephemeron_new(x, x);
        sink = oak_ephemeron_get(sink, NULL);
    }
}

static void refs(void)
{
    make_refs();
    oak_collect();
    (void)oak_finalizers_run();
    oak_collect();
}

static void statistics(void)
{
    static oak_memstats s;
    oak_zone_stats z;
    oak_heap_info info;
    oak_writes_told w;
    oak_memstats_read(&s);
    oak_zone_stats_read(NULL, &z);
    (void)oak_zones_read(&z, 1, NULL);
    oak_heap_info_read(&info);
    (void)oak_heap_tells_writes(&w);
    (void)oak_scavenge();
}

static void zones(void)
{
    oak_zone *z = oak_zone_new(NULL);
    (void)oak_zone_enter(z);
    churn(20000);
    oak_zone_leave(z);
    sink = NULL;
    (void)oak_zone_discard(z);
    z = oak_zone_new(NULL);
    sink = oak_zone_alloc(z, 100);
    sink = NULL;
    (void)oak_zone_destroy(z, NULL);
    oak_collect();
}

static void labels(void)
{
    int was = oak_label_push("key", "value");
    churn(1000);
    (void)oak_label_push_number("number", 7, "bytes");
    oak_labels_pop(was);
}

static void roots(void)
{
    static char word[64];
    (void)oak_root_add(word, sizeof word);
    oak_collect();
    (void)oak_root_remove(word, sizeof word);
}

static void detach(void)
{
    oak_thread_attach();
    churn(1000);
    oak_thread_detach();
}

static void forks(void)
{
    churn(1000);
    pid_t child = fork();
    if (child == 0) {
        oak_collect();
        _exit(0);
    }
    (void)waitpid(child, NULL, 0);
}

/* ---- stopped by others ---- */

static void *collect_beside(void *arg)
{
    while (!AO_load(&ready)) usleep(1000);
    for (int i = 0; i < 5; i++) oak_collect();
    AO_store(&quit, 1);
    return arg;
}

static void start_collector(void)
{
    pthread_t t;
    oak_thread_attach();
    pthread_create(&t, NULL, collect_beside, NULL);
    pthread_detach(t);
}

static void stopped(void)
{
    AO_store(&ready, 1);
    while (!AO_load(&quit)) continue;
}

static void stopped_in_runtime(void)
{
    AO_store(&ready, 1);
    while (!AO_load(&quit)) churn(1000);
}

static void cache(void)
{
    oak_cache_config c = {
        .keys = &oak_map_u64_ptr, .max_entries = 1000, .ttl = 1, .flags = OAK_CACHE_LOCKED
    };
    oak_cache *made = oak_cache_new(&c);
    for (uint64_t i = 0; i < 5000; i++) {
        (void)oak_cache_put_ex(made, &i, oak_alloc(16), 0, i % 2 ? OAK_CACHE_FOREVER : 0);
        sink = oak_cache_get(made, &i);
        if (i % 3 == 0) (void)oak_cache_delete(made, &i);
    }
    (void)oak_cache_set_limit(made, 10, 0);
    (void)oak_cache_purge_expired(made, 1000);
    oak_cache_clear(made);
}

#ifdef STACK_USE_LIBGC /* a build with libgc's functions */
#include "embed/libgc/abi.h"

static void start_libgc(void)
{
    GC_init();
    GC_allow_register_threads();
    some_live();
}

static void gc_finalize(void *obj, void *ctx)
{
    (void)obj, (void)ctx;
}

static NOINLINE void gc_refs(void)
{
    void *x = GC_malloc(40);
    void **link = GC_malloc_atomic(sizeof *link);
    *link = x;
    GC_register_finalizer(x, gc_finalize, NULL, NULL, NULL);
    (void)GC_general_register_disappearing_link(link, x);
}

static void libgc(void)
{
    for (int i = 0; i < 20000; i++) {
        sink = GC_malloc(48);
        sink = GC_realloc(GC_malloc_atomic(100), (size_t)i % 5000 + 1);
        GC_free(sink);
        GC_generic_malloc_many(32, 1, &sink);
        sink = GC_debug_malloc(24, "stack_use.c", 1);
        if (i % 100 == 0) gc_refs();
    }
    GC_gcollect();
    (void)GC_invoke_finalizers();
    GC_gcollect();
}
#endif

static const path paths[] = {
    { "fast", attach, alloc_fast, false, false },
    { "slow", attach, alloc_slow, false, false },
    { "attach", nothing, attach, true, false },
    { "detach", nothing, detach, true, false },
    { "first", nothing, alloc_collects, true, false },
    { "collects", some_live, alloc_collects, false, false },
    { "collect", some_live, collect, false, false },
    { "free", attach, free_some, false, false },
    { "realloc", attach, realloc_some, false, false },
    { "map", attach, maps, false, false },
    { "maps", attach, maps_other, false, false },
    { "cache", attach, cache, false, false },
    { "typed", attach, typed, false, false },
    { "refs", attach, refs, false, false },
    { "statistics", some_live, statistics, false, false },
    { "zones", attach, zones, false, false },
    { "labels", attach, labels, false, false },
    { "roots", attach, roots, false, false },
    { "fork", attach, forks, false, false },
    { "stopped", start_collector, stopped, false, true },
    { "runtime", start_collector, stopped_in_runtime, false, true },
#ifdef STACK_USE_LIBGC
    { "libgc", start_libgc, libgc, false, false },
#endif
};
#ifdef STACK_USE_LIBGC
enum { FIRST = COUNT(paths) - 1 }; /* the others are stack_use's */
#else
enum { FIRST = 0 };
#endif

/* ---- options ---- */

static const char *const modes[][2] = {
    { "OAKUM_CONCURRENT", "1" },
    { "OAKUM_CONCURRENT", "0" },
    { "OAKUM_TRACKING", "faults" },
    { "OAKUM_TRACKING", "none" },
    { "OAKUM_GENERATIONS", "0" },
    { "OAKUM_FINALIZER_THREAD", "0" },
    { "OAKUM_DEBUG", "beside=1" },
    { "OAKUM_DEBUG", "gctrace=1" },
    { "OAKUM_DEBUG", "verify=1" },
    { "OAKUM_DEBUG", "stress=997" },
    { "OAKUM_DEBUG", "stress=997,beside=1" },
    { "OAKUM_GC_LOG", "/dev/null" },
    { "OAKUM_DEBUG", "poison=1" },
    { "OAKUM_DEBUG", "guard" },
    { "OAKUM_PROFILE_RATE", "1" },
    { "OAKUM_DETECTOR", "1" },
};

/* ---- one path ---- */

static void *take_painted(void *arg)
{
    if (!path_taken->attaches) oak_thread_attach();
    paint();
    path_taken->take();
    return arg;
}

static void *take(void *arg)
{
    path_taken->take();
    return arg;
}

/* Memory below which there is none. */
static char *guarded(size_t size)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    char *p = mmap(NULL, page + size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED || mprotect(p + page, size, PROT_READ | PROT_WRITE) != 0) {
        perror("stack_use: mmap");
        exit(1);
    }
    return p + page;
}

static void run_thread(char *stack, size_t size, void *(*fn)(void *))
{
    pthread_t t;
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    int e = pthread_attr_setstack(&attr, stack, size);
    if (e == 0) e = pthread_create(&t, &attr, fn, NULL);
    if (e != 0) {
        fprintf(stderr, "stack_use: a thread with %zu bytes of stack: %s\n", size, strerror(e));
        exit(1);
    }
    pthread_join(t, NULL);
}

static void measure(void)
{
    stack_low = guarded(STACK);
    run_thread(stack_low, STACK, take_painted);
    printf("%zu\n", depth());
}

static ucontext_t first, fiber;

static void on_fiber(void)
{
    path_taken->take();
    oak_fiber_switch(NULL);
}

/* The end of the stack lies where the memory ends, so its top may be in the midst of a page. */
static void run_fiber(void)
{
    size_t size = oak_stack_min(), page = (size_t)sysconf(_SC_PAGESIZE);
    char *low = guarded((size + page - 1) / page * page);
    oak_fiber *f = oak_fiber_new(low, size, NULL);
    if (!f) {
        perror("stack_use: oak_fiber_new");
        exit(1);
    }
    getcontext(&fiber);
    fiber.uc_stack.ss_sp = low;
    fiber.uc_stack.ss_size = size;
    fiber.uc_link = &first;
    makecontext(&fiber, on_fiber, 0);
    oak_fiber_switch(f);
    swapcontext(&first, &fiber);
    oak_fiber_free(f);
}

static int one(const path *p, const char *how)
{
    path_taken = p;
    p->before();
    if (!how) measure();
    else if (strcmp(how, "fiber") == 0) run_fiber();
    else run_thread(guarded(PTHREAD_STACK_MIN), PTHREAD_STACK_MIN, take);
    return 0;
}

/* ---- all of them ---- */

/* What the program prints that is run with these words; -1: it fails. */
static long run(const char *self, const char *name, const char *how)
{
    char command[4096];
    long n = 0;
    snprintf(command, sizeof command, "exec '%s' %s %s 2>/dev/null", self, name, how);
    FILE *f = popen(command, "r");
    if (!f) return -1;
    if (fscanf(f, "%ld", &n) != 1) n = 0;
    return pclose(f) == 0 ? n : -1;
}

static int failed;

static void complain(const path *p, const char *const *mode, const char *how, long n)
{
    failed = 1;
    printf("%s, %s=%s, %s: ", p->name, mode[0], mode[1], how);
    if (n < 0) printf("dies\n");
    else printf("%ld bytes, more than is stated\n", n);
}

static void all_of(const char *self, const path *p)
{
    long most = (long)(p->signals ? oak_stack_min() : OAK_STACK_MIN), deepest = 0;
    const char *where = "";
    for (size_t i = 0; i < COUNT(modes); i++) {
        const char *const *mode = modes[i];
        setenv(mode[0], mode[1], 1);
        bool beside = strstr(mode[1], "beside") != NULL; /* the collector's thread stops this one */
        bool unwinds = strcmp(mode[0], "OAKUM_PROFILE_RATE") == 0;
        long n = run(self, p->name, ""), may = beside ? (long)oak_stack_min() : most;
        if (n < 0 || n > may + (unwinds ? UNWINDER : 0)) complain(p, mode, "painted", n);
        if (n > deepest && !beside && !unwinds) {
            deepest = n;
            where = mode[1];
        }
        if (run(self, p->name, "fiber") < 0) complain(p, mode, "fiber", -1);
        if (run(self, p->name, "thread") < 0) complain(p, mode, "thread", -1);
        unsetenv(mode[0]);
    }
    printf("%-12s %6ld of %ld bytes (%s)\n", p->name, deepest, most, where);
}

int main(int argc, char **argv)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || !defined(__OPTIMIZE__)
    puts("skipped: frames are others with a sanitizer, or without optimization");
    return 77;
#endif
    char self[4096];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    self[n > 0 ? n : 0] = '\0';
    for (size_t i = FIRST; i < COUNT(paths); i++) {
        if (argc > 1 && strcmp(argv[1], paths[i].name) == 0) return one(&paths[i], argv[2]);
        if (argc == 1) all_of(self, &paths[i]);
    }
    return failed;
}
