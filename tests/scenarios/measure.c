/* measure.c - what is live, measured so that no dead word of this program's own holds anything.
 *
 * Bound: scn_live is two full collections and one stop. */
#include "scenario.h"

#include <atomic_ops.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define DEAD_STACK ((size_t)128 << 10)

/* A later, deeper frame may cover it without writing it. */
__attribute__((noinline)) void scn_clear_stack(void)
{
    char dead[DEAD_STACK];

    memset(dead, 0, sizeof(dead));
    __asm__ __volatile__("" : : "r"(dead) : "memory");
}

static __attribute__((noinline)) void collect_twice(void)
{
    oak_collect();
    oak_collect();
}

void scn_live_stats(oak_memstats *out)
{
    scn_clear_stack();
    collect_twice();
    oak_memstats_read(out);
    scn_sample_live((double)out->heap_alloc);
    scn_detector_look();
}

double scn_live(void)
{
    static oak_memstats st;

    scn_live_stats(&st);
    return (double)st.heap_alloc;
}

typedef struct thread_call {
    void (*fn)(void *arg);
    void *arg;
} thread_call;

static void *call(void *arg)
{
    thread_call *c = arg;

    c->fn(c->arg);
    scn_clear_stack(); /* the next thread may get this stack, and leave holes in its frames */
    return NULL;
}

void scn_on_thread(void (*fn)(void *arg), void *arg)
{
    thread_call c = { fn, arg };
    pthread_t thread;
    int error = oak_thread_create(&thread, NULL, call, &c);

    if (error != 0) scn_die("thread: %s", strerror(error));
    pthread_join(thread, NULL);
}

typedef struct stats_call {
    const scn_map_policy *policy;
    void *const *map;
    scn_map_stats *out;
} stats_call;

static void read_stats(void *arg)
{
    const stats_call *c = arg;

    c->policy->stats(*c->map, c->out);
}

void scn_stats(const scn_map_policy *p, void *const *map, scn_map_stats *out)
{
    stats_call c = { p, map, out };

    scn_on_thread(read_stats, &c);
}

static void pause_ms(long ms)
{
    struct timespec t = { ms / 1000, ms % 1000 * 1000000 };

    nanosleep(&t, NULL);
}

void scn_settle(const size_t *count, size_t want)
{
    static oak_memstats st;

    for (int i = 0; i < 2000 && scn_count(count) < want; i++) pause_ms(1);
    for (int i = 0; i < 2000; i++) {
        oak_memstats_read(&st);
        if (st.finalizers_ready == 0 && oak_finalizer_running_ns() == 0) return;
        pause_ms(1);
    }
}

void *scn_must(void *p)
{
    if (p == NULL) scn_die("out of memory");
    return p;
}

bool scn_memory_for(uint64_t bytes)
{
    char line[128];
    unsigned long long kib = 0;
    bool known = false;
    FILE *f = fopen("/proc/meminfo", "r");

    if (f == NULL) return true;
    while (!known && fgets(line, sizeof(line), f) != NULL)
        known = sscanf(line, "MemAvailable: %llu", &kib) == 1;
    fclose(f);
    return !known || kib * 1024 >= bytes;
}

void scn_count_up(size_t *count)
{
    AO_fetch_and_add_full((AO_t *)count, 1);
}

size_t scn_count(const size_t *count)
{
    return AO_load_acquire((const AO_t *)count);
}

scn_string scn_string_new(const char *format, size_t i)
{
    char text[64];
    int n = snprintf(text, sizeof(text), format, i);
    char *data = scn_must(oak_alloc_noscan((size_t)n));

    memcpy(data, text, (size_t)n);
    return (scn_string){ data, (size_t)n };
}

const char *scn_thousands(double value)
{
    static char buffers[8][40];
    static unsigned next;
    char digits[32], *out = buffers[next++ % 8];
    int n = snprintf(digits, sizeof(digits), "%.0f", value), at = 0;

    for (int i = 0; i < n; i++) {
        out[at++] = digits[i];
        if (digits[i] != '-' && i + 1 < n && (n - 1 - i) % 3 == 0) out[at++] = ',';
    }
    out[at] = '\0';
    return out;
}
