/* rounds.c - free memory and the system: `rounds` fills and clears the same amount again and again,
 * and prints how many pages it got in doing so; `peak` frees a large amount once, and fails if most
 * of it stays; `late` does so after it has freed a little. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define BLOCKS 20000
#define ROUNDS 30
#define FIRST 5 /* rounds that teach what comes back */
#define PEAK ((size_t)300 << 20)
#define LEFT ((size_t)120 << 20)
#define LITTLE ((size_t)60 << 20)

static void *block[PEAK / 4000];

static void fill(size_t n)
{
    for (size_t i = 0; i < n; i++) {
        block[i] = malloc(4000);
        if (!block[i]) exit(2);
        memset(block[i], 1, 4000);
    }
}

static void clear(size_t n)
{
    for (size_t i = 0; i < n; i++) free(block[i]);
}

static long faults(void)
{
    struct rusage used;
    if (getrusage(RUSAGE_SELF, &used) != 0) exit(2);
    return used.ru_minflt;
}

static int rounds(void)
{
    long had = 0;
    for (int i = 0; i < ROUNDS; i++) {
        if (i == FIRST) had = faults();
        fill(BLOCKS);
        clear(BLOCKS);
    }
    printf("%ld\n", faults() - had);
    return 0;
}

static size_t resident(void)
{
    unsigned long all, pages;
    FILE *f = fopen("/proc/self/statm", "r");
    if (!f || fscanf(f, "%lu %lu", &all, &pages) != 2) exit(2);
    fclose(f);
    return pages * (size_t)sysconf(_SC_PAGESIZE);
}

int main(int argc, char **argv)
{
    bool late = argc == 2 && strcmp(argv[1], "late") == 0;
    if (argc == 2 && strcmp(argv[1], "rounds") == 0) return rounds();
    for (int i = 0; late && i < 2; i++) {
        fill(LITTLE / 4000);
        clear(LITTLE / 4000);
    }
    fill(PEAK / 4000);
    if (resident() < PEAK) return 2;
    clear(PEAK / 4000);
    return resident() > LEFT + (late ? LITTLE * 3 / 2 : 0);
}
