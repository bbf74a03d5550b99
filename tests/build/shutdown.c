/* shutdown.c - oak_shutdown: how often, beside which threads, and what refuses it. */
#include "shutdown.h"

#include <fcntl.h>
#include <oakum/gclog.h>
#include <sys/mman.h>
#include <ucontext.h>

/* ---- once, twice, often ---- */

static void without_heap(void)
{
    CHECK(ended() == 0);
    CHECK(ended() == 0);
    use();
}

static void twice(void)
{
    use();
    CHECK(ended() == 0);
    CHECK(ended() == 0);
    use();
    renew();
}

static void with_config(void)
{
    oak_config c, now;
    use();
    CHECK(ended() == 0);
    oak_config_default(&c);
    c.gc_percent = 77;
    CHECK(oak_init(&c) == 0);
    CHECK(oak_config_read(&now, NULL) && now.gc_percent == 77);
    use();
}

/* ---- settings from before the start ---- */

static void note(void)
{
}

static void told(const char *message)
{
    (void)message;
}

static bool collects(void)
{
    oak_memstats before, after;
    use();
    oak_memstats_read(&before);
    oak_collect();
    oak_memstats_read(&after);
    return after.num_gc > before.num_gc;
}

static void undone_settings_stay_undone(void)
{
    oak_gc_disable();
    (void)oak_finalizer_notify(note);
    (void)oak_set_fatal_handler(told);
    use();
    oak_gc_enable();
    CHECK(oak_finalizer_notify(NULL) == note);
    CHECK(oak_set_fatal_handler(NULL) == told);
    CHECK(ended() == 0);
    CHECK(collects());
    CHECK(oak_finalizer_notify(NULL) == NULL);
    CHECK(oak_set_fatal_handler(NULL) == NULL);
}

static void settings_from_before_stay(void)
{
    oak_gc_disable();
    (void)oak_finalizer_notify(note);
    (void)oak_set_fatal_handler(told);
    use();
    oak_gc_disable();
    CHECK(ended() == 0);
    CHECK(!collects());
    oak_gc_enable();
    CHECK(collects());
    CHECK(oak_finalizer_notify(NULL) == note);
    CHECK(oak_set_fatal_handler(NULL) == told);
}

static void later_settings_go(void)
{
    use();
    oak_gc_disable();
    (void)oak_finalizer_notify(note);
    (void)oak_set_fatal_handler(told);
    CHECK(ended() == 0);
    CHECK(collects());
    CHECK(oak_finalizer_notify(NULL) == NULL);
    CHECK(oak_set_fatal_handler(NULL) == NULL);
}

/* ---- what is left ---- */

static size_t keys_left(void)
{
    pthread_key_t key[2048];
    size_t n = 0;
    while (n < 2048 && pthread_key_create(&key[n], NULL) == 0) n++;
    for (size_t i = 0; i < n; i++) pthread_key_delete(key[i]);
    return n;
}

static void keys(void)
{
    use();
    CHECK(oak_trace_start(0) == 0);
    use();
    CHECK(ended() == 0);
    size_t n = keys_left();
    for (int i = 0; i < 5; i++) {
        use();
        CHECK(oak_trace_start(0) == 0);
        use();
        CHECK(ended() == 0);
        CHECK(keys_left() == n);
    }
}

/* ---- threads ---- */

static pthread_barrier_t there, over;

static void *attached(void *arg)
{
    CHECK(oak_thread_attach() == 0);
    pthread_barrier_wait(&there);
    pthread_barrier_wait(&over);
    return arg;
}

static void beside_thread(void)
{
    pthread_t t;
    int log_pipe[2];
    char line;
    use();
    pthread_barrier_init(&there, NULL, 2);
    pthread_barrier_init(&over, NULL, 2);
    CHECK(pthread_create(&t, NULL, attached, NULL) == 0);
    pthread_barrier_wait(&there);
    CHECK(pipe2(log_pipe, O_NONBLOCK) == 0 && oak_gclog_start_fd(log_pipe[1]) == 0);
    CHECK(ended() == EBUSY);
    use();
    CHECK(oak_gclog_stop() == 0);
    CHECK(read(log_pipe[0], &line, 1) == 1); /* the log has gone on */
    pthread_barrier_wait(&over);
    pthread_join(t, NULL);
    renew();
}

/* One thread goes from heap to heap, with a trace that it writes to. */
static void *wanders(void *arg)
{
    for (int i = 0; i < 5; i++) {
        pthread_barrier_wait(&there);
        for (int k = 0; k < 20000; k++) CHECK(oak_alloc(200));
        oak_collect();
        oak_thread_detach();
        pthread_barrier_wait(&over);
    }
    return arg;
}

static void wandering_thread(void)
{
    pthread_t t;
    pthread_barrier_init(&there, NULL, 2);
    pthread_barrier_init(&over, NULL, 2);
    CHECK(pthread_create(&t, NULL, wanders, NULL) == 0);
    for (int i = 0; i < 5; i++) {
        use();
        CHECK(oak_trace_start(0) == 0);
        pthread_barrier_wait(&there);
        pthread_barrier_wait(&over);
        CHECK(ended() == 0);
    }
    pthread_join(t, NULL);
}

static void *own_thread(void *arg)
{
    *(int *)arg = ended();
    return NULL;
}

static void below_thread_create(void)
{
    pthread_t t;
    int e = 0;
    CHECK(oak_thread_create(&t, NULL, own_thread, &e) == 0);
    pthread_join(t, NULL);
    CHECK(e == EDEADLK || e == EBUSY);
    use();
}

/* ---- inside of Oakum ---- */

static int inside;
static bool elsewhere; /* on a stack where no frame of Oakum's is found below */

static void end_here(void)
{
    inside = ended();
}

static void end_elsewhere(void)
{
    enum { SIZE = 1 << 18 };
    static ucontext_t back, there_and_back;
    getcontext(&there_and_back);
    there_and_back.uc_stack.ss_sp = malloc(SIZE);
    there_and_back.uc_stack.ss_size = SIZE;
    there_and_back.uc_link = &back;
    CHECK(there_and_back.uc_stack.ss_sp);
    makecontext(&there_and_back, end_here, 0);
    swapcontext(&back, &there_and_back);
    free(there_and_back.uc_stack.ss_sp);
}

static void end_inside(void)
{
    if (elsewhere) end_elsewhere();
    else end_here();
}

static void finalizer(void *obj, void *ctx)
{
    (void)obj, (void)ctx;
    end_inside();
}

static __attribute__((noinline)) void garbage_with_finalizer(oak_finalizer fn)
{
    for (int i = 0; i < 100; i++) {
        void *p = oak_alloc(32);
        CHECK(p && oak_finalizer_set(p, fn, NULL) == 0);
    }
}

static void from_finalizer(void)
{
    oak_set_finalizer_thread(false);
    garbage_with_finalizer(finalizer);
    oak_collect();
    CHECK(oak_finalizers_run() > 0);
    CHECK(inside == EDEADLK);
    renew();
}

static pthread_barrier_t ran;

static void told_finalizer(void *obj, void *ctx)
{
    static int once;
    (void)obj, (void)ctx;
    if (once++ > 0) return;
    end_inside();
    pthread_barrier_wait(&ran);
}

static void from_finalizer_thread(void)
{
    pthread_barrier_init(&ran, NULL, 2);
    garbage_with_finalizer(told_finalizer);
    oak_collect();
    pthread_barrier_wait(&ran);
    CHECK(inside == EDEADLK);
    renew();
}

/* The heap goes on, and ends once the finalizer has. */
static void slow_finalizer(void *obj, void *ctx)
{
    (void)obj, (void)ctx;
    static int once;
    if (once++ > 0) return;
    pthread_barrier_wait(&there);
    oak_blocking_enter();
    pthread_barrier_wait(&over);
    oak_blocking_leave();
}

static void beside_finalizer(void)
{
    pthread_barrier_init(&there, NULL, 2);
    pthread_barrier_init(&over, NULL, 2);
    garbage_with_finalizer(slow_finalizer);
    oak_collect();
    pthread_barrier_wait(&there);
    CHECK(ended() == EBUSY);
    use();
    pthread_barrier_wait(&over);
    renew();
}

static int finalized;

static void count(void *obj, void *ctx)
{
    (void)obj, (void)ctx;
    finalized++;
}

static void finalizers_dont_run(void)
{
    static void *object;
    object = oak_alloc(32);
    CHECK(object && oak_finalizer_set(object, count, NULL) == 0);
    object = NULL;
    renew();
    CHECK(finalized == 0);
    object = oak_alloc(32);
    CHECK(object && oak_finalizer_set(object, count, NULL) == 0);
    CHECK(oak_finalize_all(NULL) == 0);
    object = NULL;
    renew();
    CHECK(finalized == 1);
}

static int exit_pipe[2];

static void tell(void *obj, void *ctx)
{
    (void)obj, (void)ctx;
    CHECK(write(exit_pipe[1], "x", 1) == 1);
}

/* Neither of what lives nor of what a collection has found. */
static void at_exit_nothing_runs(void)
{
    static void *object;
    char c;
    int status;
    CHECK(pipe(exit_pipe) == 0);
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        oak_set_finalizer_thread(false);
        object = oak_alloc(32);
        CHECK(object && oak_finalizer_set(object, tell, NULL) == 0);
        garbage_with_finalizer(tell);
        oak_collect();
        exit(0);
    }
    close(exit_pipe[1]);
    CHECK(read(exit_pipe[0], &c, 1) == 0);
    CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void on_start(void *ctx)
{
    (void)ctx;
    end_inside();
}

static void from_start_hook(void)
{
    use();
    CHECK(oak_gc_at_start(on_start, NULL) == 0);
    oak_collect();
    CHECK(inside == EDEADLK);
    CHECK(oak_gc_at_start_remove(on_start, NULL) == 0);
    renew();
}

static void from_notifier(void)
{
    oak_set_finalizer_thread(false);
    (void)oak_finalizer_notify(end_inside);
    garbage_with_finalizer(count);
    oak_collect();
    CHECK(inside == EDEADLK);
    renew();
}

static void evicted(oak_cache *c, const void *key, void *value, oak_cache_reason why, void *ctx)
{
    (void)c, (void)key, (void)value, (void)why, (void)ctx;
    end_inside();
}

static void from_callback(void)
{
    oak_cache_config cfg = { .keys = &oak_map_cstring_ptr, .max_entries = 1, .evicted = evicted };
    oak_cache *c = oak_cache_new(&cfg);
    CHECK(c && oak_cache_put(c, &(const char *){ "a" }, oak_alloc(8)) == 0);
    CHECK(oak_cache_put(c, &(const char *){ "b" }, oak_alloc(8)) == 0);
    CHECK(inside == EDEADLK);
    CHECK(oak_cache_get(c, &(const char *){ "b" }));
    renew();
}

static uint64_t hash(const void *key, uint64_t seed, size_t size)
{
    (void)size;
    if (!inside) end_inside();
    return *(const uint64_t *)key * 0x9e3779b97f4a7c15u + seed;
}

static bool equal(const void *a, const void *b, size_t size)
{
    return memcmp(a, b, size) == 0;
}

static void from_hash(void)
{
    oak_map_type t = {
        .key = OAK_KEY_CUSTOM, .key_size = 8, .value_size = 8, .hash = hash, .equal = equal
    };
    oak_map *m = oak_map_new(&t, 0);
    uint64_t key = 1;
    CHECK(m && oak_map_put(m, &key));
    CHECK(inside == EDEADLK);
    CHECK(oak_map_get(m, &key));
    renew();
}

static void in_blocking_region(void)
{
    use();
    oak_blocking_enter();
    int e = ended();
    oak_blocking_leave();
    CHECK(e == EDEADLK);
    renew();
}

static void from_finalizer_elsewhere(void)
{
    elsewhere = true;
    from_finalizer();
}

static void from_notifier_elsewhere(void)
{
    elsewhere = true;
    from_notifier();
}

static void from_start_hook_elsewhere(void)
{
    elsewhere = true;
    from_start_hook();
}

static bool full(oak_zone *z, size_t bytes, void *ctx)
{
    (void)z, (void)bytes, (void)ctx;
    end_inside();
    return false;
}

static void from_full_zone(void)
{
    oak_zone_options o = { .limit = 1 << 20, .on_full = full };
    oak_zone *z = oak_zone_new(&o);
    CHECK(z && !oak_zone_alloc(z, 2 << 20));
    CHECK(inside == EDEADLK);
    renew();
}

static void from_full_zone_elsewhere(void)
{
    elsewhere = true;
    from_full_zone();
}

static bool ends_in_fork;

static void prepare(void)
{
    if (ends_in_fork) end_inside();
}

static void register_handler(void)
{
    (void)pthread_atfork(prepare, NULL, NULL);
}

/* Registered before Oakum's, and so called after it: the fork has begun for the heap. */
__attribute__((section(".preinit_array"), used)) static void (*early)(void) = register_handler;

static void *fork_once(void *arg)
{
    ends_in_fork = true;
    pid_t pid = fork();
    if (pid == 0) _exit(0);
    CHECK(pid > 0 && waitpid(pid, NULL, 0) == pid);
    CHECK(inside == EDEADLK);
    ends_in_fork = false;
    return arg;
}

static void from_fork_handler(void)
{
    use();
    (void)fork_once(NULL);
    renew();
}

/* The heap knows nothing of the thread. */
static void from_fork_handler_unattached(void)
{
    pthread_t t;
    use();
    CHECK(pthread_create(&t, NULL, fork_once, NULL) == 0 && pthread_join(t, NULL) == 0);
    renew();
}

static ucontext_t home, away;
static oak_fiber *home_fiber;

static void on_fiber(void)
{
    end_inside();
    oak_fiber_switch(home_fiber);
    swapcontext(&away, &home);
}

static void from_fiber(void)
{
    size_t size = 1 << 18;
    void *stack = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    oak_fiber *f = oak_fiber_new(stack, size, NULL);
    CHECK(stack != MAP_FAILED && f);
    home_fiber = oak_fiber_current();
    getcontext(&away);
    away.uc_stack.ss_sp = stack;
    away.uc_stack.ss_size = size;
    makecontext(&away, on_fiber, 0);
    oak_fiber_switch(f);
    swapcontext(&home, &away);
    CHECK(inside == EDEADLK);
    renew();
}

/* ---- all ---- */

int main(int argc, char **argv)
{
    static const test_case cases[] = {
        CASE(without_heap),
        CASE(twice),
        CASE(with_config),
        CASE(undone_settings_stay_undone),
        CASE(settings_from_before_stay),
        CASE(later_settings_go),
        CASE(keys),
        CASE(beside_thread),
        CASE(wandering_thread),
        CASE(below_thread_create),
        CASE(from_finalizer),
        CASE(from_finalizer_thread),
        CASE(beside_finalizer),
        CASE(finalizers_dont_run),
        CASE(at_exit_nothing_runs),
        CASE(from_start_hook),
        CASE(from_notifier),
        CASE(from_finalizer_elsewhere),
        CASE(from_notifier_elsewhere),
        CASE(from_start_hook_elsewhere),
        CASE(from_full_zone),
        CASE(from_full_zone_elsewhere),
        CASE(from_fork_handler),
        CASE(from_fork_handler_unattached),
        CASE(from_callback),
        CASE(from_hash),
        CASE(in_blocking_region),
        CASE(from_fiber),
    };
    return run_cases(cases, sizeof cases / sizeof cases[0], argc, argv);
}
