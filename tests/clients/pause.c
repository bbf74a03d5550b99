/* pause.c - preloaded into a client of libgc: the longest time for which it stood still.
 *
 * It knows nothing of the library but names, and so measures the same on any. Two things are
 * measured. `stop`: a thread of its own, registered with the collector, looks at the clock every
 * TICK_NS; the longest time between two looks is the longest stop of the world, and up to TICK_NS
 * more. What it waited for a processor is taken off (schedstat has it). `call`: the longest call of
 * a function that allocates, which is where a thread collects, or waits for the collector.
 *
 * The thread makes a program of one thread one of two; it starts at the first allocation by the
 * main thread, when the collector is there. So pauses are measured in runs that are not timed.
 * The figures go to a file that is mapped: they outlive any end that the client finds. */
#include <atomic_ops.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "clients.h"

enum { TICK_NS = 200 * 1000 };

static pauses *seen; /* NULL: not asked for */
static AO_t started; /* 1 once the thread was asked for */

static struct {
    int (*get_stack_base)(void *base);
    int (*register_my_thread)(const void *base);
    void (*allow_register_threads)(void);
    void (*malloc_many)(size_t n, int kind, void **list);
} real;

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void raise_to(AO_t *longest, uint64_t ns)
{
    for (;;) {
        AO_t was = AO_load(longest);
        if (was >= ns || AO_compare_and_swap_full(longest, was, (AO_t)ns)) return;
    }
}

/* The second figure of schedstat: for how long the thread was ready and had no processor. */
static uint64_t waited_ns(int fd)
{
    char text[96];
    ssize_t n = pread(fd, text, sizeof text - 1, 0);
    if (n <= 0) return 0;
    text[n] = '\0';
    char *second = strchr(text, ' ');
    return second ? strtoull(second, NULL, 10) : 0;
}

static void *look(void *unused)
{
    /* The signals that a client may expect to find on a thread of its own. */
    static const int not_ours[] = { SIGINT,  SIGTERM, SIGHUP,    SIGCHLD, SIGALRM, SIGUSR1,
                                    SIGUSR2, SIGPIPE, SIGVTALRM, SIGPROF, SIGWINCH };
    void *base[4]; /* more than a struct GC_stack_base */
    sigset_t set;
    sigemptyset(&set);
    for (size_t i = 0; i < sizeof not_ours / sizeof not_ours[0]; i++) sigaddset(&set, not_ours[i]);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    prctl(PR_SET_TIMERSLACK, 1L);
    int fd = open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC);
    if (fd < 0 || real.get_stack_base(base) || real.register_my_thread(base)) return unused;

    uint64_t last = now_ns(), waited = waited_ns(fd);
    for (;;) {
        struct timespec tick = { .tv_nsec = TICK_NS };
        nanosleep(&tick, NULL);
        uint64_t now = now_ns(), waited_now = waited_ns(fd);
        uint64_t gap = now - last, without = waited_now - waited;
        if (gap > without) raise_to(&seen->stop_ns, gap - without);
        last = now;
        waited = waited_now;
        seen->looks++;
    }
}

static void note(uint64_t start)
{
    pthread_t thread;
    if (!seen) return;
    raise_to(&seen->call_ns, now_ns() - start);
    if (AO_load(&started) || getpid() != gettid() || !AO_compare_and_swap_full(&started, 0, 1))
        return;
    real.allow_register_threads();
    if (pthread_create(&thread, NULL, look, NULL) == 0) pthread_detach(thread);
}

/* What a client calls in the library's stead. */
#define WRAPPED(X)                                                                        \
    X(void *, malloc, (size_t n), (n))                                                    \
    X(void *, malloc_atomic, (size_t n), (n))                                             \
    X(void *, malloc_uncollectable, (size_t n), (n))                                      \
    X(void *, malloc_ignore_off_page, (size_t n), (n))                                    \
    X(void *, malloc_atomic_ignore_off_page, (size_t n), (n))                             \
    X(void *, malloc_explicitly_typed, (size_t n, uintptr_t descriptor), (n, descriptor)) \
    X(void *, generic_malloc, (size_t n, int kind), (n, kind))                            \
    X(void *, realloc, (void *p, size_t n), (p, n))                                       \
    X(int, collect_a_little, (void), ())

#define WRAP(type, name, parameters, arguments) \
    static type(*real_##name) parameters;       \
    type GC_##name parameters;                  \
    type GC_##name parameters                   \
    {                                           \
        uint64_t start = now_ns();              \
        type result = real_##name arguments;    \
        note(start);                            \
        return result;                          \
    }
WRAPPED(WRAP)

void GC_generic_malloc_many(size_t n, int kind, void **list);
void GC_generic_malloc_many(size_t n, int kind, void **list)
{
    uint64_t start = now_ns();
    real.malloc_many(n, kind, list);
    note(start);
}

static void *find(const char *name)
{
    return dlsym(RTLD_NEXT, name);
}

/* Also in a shell that starts the client: it allocates nothing, and nothing happens. */
__attribute__((constructor)) static void begin(void)
{
    Dl_info info;
#define FIND(type, name, parameters, arguments) *(void **)&real_##name = find("GC_" #name);
    WRAPPED(FIND)
    *(void **)&real.get_stack_base = find("GC_get_stack_base");
    *(void **)&real.register_my_thread = find("GC_register_my_thread");
    *(void **)&real.allow_register_threads = find("GC_allow_register_threads");
    *(void **)&real.malloc_many = find("GC_generic_malloc_many");

    const char *path = getenv("OAKUM_PAUSE_FILE");
    int fd = path && real_malloc ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0) return;
    void *p = mmap(NULL, sizeof *seen, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (p == MAP_FAILED) return;
    seen = p;
    if (dladdr(*(void **)&real_malloc, &info) && info.dli_fname)
        strncpy(seen->library, info.dli_fname, sizeof seen->library - 1);
}
