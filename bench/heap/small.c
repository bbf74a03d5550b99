/* small.c - what does a small program take at its peak?
 *
 * As a small interpreter: `live` bytes in a table of objects of 16 to 64 bytes; most of what it
 * makes is garbage at once, and a quarter replaces an object of the table. Each of `threads`
 * threads has such a table. Answer: the peak RSS, which the runner reads; and the threads of the
 * process, those of the memory manager included. */
#include "mem.h"

#include <stdlib.h>
#include <string.h>

enum { STEPS = 4000000, MEAN = 48, MOST_THREADS = 16 };

static size_t slots;

static void *run(void *arg)
{
    uint64_t x = (uint64_t)(uintptr_t)arg + 88172645463325252u;
    if (arg) (void)MEM_ATTACH();
    void ***table = MEM_ALLOC(slots * sizeof *table);
    if (!table) mem_out();
    memset(table, 0, slots * sizeof *table);
    for (uint64_t i = 0; i < STEPS; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        void **p = MEM_ALLOC(16 + (x >> 40) % 4 * 16);
        if (!p) mem_out();
        p[0] = p;
        if (i >= slots && (x >> 8) % 4) {
            MEM_FREE(p);
            continue;
        }
        size_t at = i < slots ? i : x % slots;
        MEM_FREE(table[at]);
        table[at] = p;
    }
    __asm__ __volatile__("" : : "r"(table) : "memory");
    if (arg) (void)MEM_DETACH();
    return NULL;
}

static long threads_of_process(void)
{
    char line[256];
    long n = 0;
    FILE *f = fopen("/proc/self/status", "r");
    while (f && fgets(line, sizeof line, f))
        if (strncmp(line, "Threads:", 8) == 0) n = strtol(line + 8, NULL, 10);
    if (f) fclose(f);
    return n;
}

int main(int argc, char **argv)
{
    pthread_t id[MOST_THREADS];
    slots = bench_arg(argc, argv, 1, 5000000) / MEAN;
    size_t threads = bench_arg(argc, argv, 2, 1);
    if (slots == 0 || threads == 0 || threads > MOST_THREADS) return 2;
    MEM_INIT();
    for (size_t i = 1; i < threads; i++)
        if (pthread_create(&id[i], NULL, run, (void *)i) != 0) return 1;
    (void)run(NULL);
    for (size_t i = 1; i < threads; i++) (void)pthread_join(id[i], NULL);
    printf("threads %ld\n", threads_of_process());
    counts_show();
    return 0;
}
