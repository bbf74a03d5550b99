/* full - programs that reach OAKUM_HEAP_MAX, or a limit of the system's: full WHAT [THREADS]. Each
 * says what went wrong and ends with 1, or with 0. */
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define MB ((size_t)1 << 20)
#define MOST 400000
#define LISTS 200
#define NODES 24

static void *block[MOST];

static int complain(const char *what, size_t n)
{
    fprintf(stderr, "full: %s: %zu\n", what, n);
    return 1;
}

static size_t fill(size_t bytes)
{
    size_t n = 0;
    while (n < MOST && (block[n] = malloc(bytes)) != NULL) n++;
    return n;
}

/* ---- freed by hand, and wanted in another size ---- */

static int by_hand(void)
{
    for (size_t bytes = 64; bytes <= 8192; bytes *= 4) {
        size_t n = fill(bytes);
        if (n == MOST) return complain("there is no limit", n);
        for (size_t i = 0; i < n; i++) free(block[i]);
        void *p = malloc(10 * MB);
        if (!p) return complain("no 10 MiB after blocks that were freed, of bytes", bytes);
        free(p);
    }
    return 0;
}

static pthread_barrier_t barrier;

/* Of each size so many that a thread keeps some in its cache, from all over what was full. */
static void *free_and_wait(void *arg)
{
    size_t first = (size_t)(uintptr_t)arg;
    for (size_t i = first; i < MOST && block[i]; i += 4) free(block[i]);
    pthread_barrier_wait(&barrier); /* they are freed */
    pthread_barrier_wait(&barrier); /* and this thread is done with */
    return NULL;
}

/* Threads that sleep have freed it all, and keep the last of it in their caches. */
static int by_sleepers(void)
{
    pthread_t id[4];
    size_t n = 0;
    pthread_barrier_init(&barrier, NULL, 5);
    for (size_t size = 16; n < MOST - 1; n++) {
        block[n] = malloc(size);
        if (!block[n]) break;
        if (n % 8 == 7) size = size * 9 / 8 < 2000 ? size * 9 / 8 + 1 : 16;
    }
    block[n] = NULL;
    for (uintptr_t i = 0; i < 4; i++) pthread_create(&id[i], NULL, free_and_wait, (void *)i);
    pthread_barrier_wait(&barrier);
    void *p = malloc(14 * MB);
    pthread_barrier_wait(&barrier);
    for (int i = 0; i < 4; i++) pthread_join(id[i], NULL);
    return p ? 0 : complain("no 14 MiB after blocks that others freed", n);
}

/* ---- lost, under --collect ---- */

typedef struct node {
    struct node *next;
    char rest[];
} node;

static size_t below(uint64_t *random, size_t n)
{
    *random = *random * 6364136223846793005u + 1442695040888963407u;
    return (size_t)(*random >> 33) % n;
}

static void *any_way(size_t n, size_t how)
{
    void *p = NULL;
    switch (how) {
    case 0: return malloc(n);
    case 1: return calloc(1, n);
    case 2: return aligned_alloc(64, n);
    case 3: return posix_memalign(&p, 256, n) == 0 ? p : NULL;
    case 4: return memalign(4096, n);
    case 5: return valloc(n);
    case 6: return reallocarray(NULL, 1, n);
    default: p = malloc(16); return p ? realloc(p, n) : NULL;
    }
}

/* Lists that keep few spans, each let go of when the next is begun; between them large blocks. */
static __attribute__((noinline)) size_t make_lists(uint64_t *random)
{
    size_t failed = 0;
    for (int i = 0; i < LISTS; i++) {
        node *first = NULL;
        for (int k = 0; k < NODES; k++) {
            node *x = any_way(16 + below(random, 2000), below(random, 8));
            failed += x == NULL;
            if (x) x->next = first;
            if (x) first = x;
        }
        first = NULL;
        __asm__ __volatile__("" : : "r"(&first) : "memory");
        failed += calloc(1, 16 + below(random, MB)) == NULL; /* of others old words keep lists */
    }
    return failed;
}

static void *lists(void *arg)
{
    uint64_t random = (uint64_t)(uintptr_t)arg;
    return (void *)(uintptr_t)make_lists(&random);
}

/* Stacks of the default size would take the half of a limit that the heap leaves. */
#define STACK MB

static int lost(int threads)
{
    pthread_t id[16];
    pthread_attr_t small;
    void *failed;
    size_t all = 0;
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, STACK);
    for (intptr_t i = 0; i < threads; i++)
        if (pthread_create(&id[i], &small, lists, (void *)(i + 1)) != 0)
            return complain("no thread", (size_t)i);
    for (int i = 0; i < threads; i++) {
        pthread_join(id[i], &failed);
        all += (size_t)(uintptr_t)failed;
    }
    return all ? complain("allocations failed", all) : 0;
}

/* ---- lost, with hardly any room for a walk ---- */

#define WIDE 100000
#define LEFT ((size_t)1536 << 10) /* more than the walk needs, less than it would like */
#define STEP ((size_t)64 << 10)

static void *map(size_t n)
{
    void *p = mmap(NULL, n, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

static void use_up_addresses(void)
{
    void *left = map(LEFT);
    for (size_t n = (size_t)256 << 20; n >= STEP; n /= 2)
        while (map(n)) {}
    if (left) munmap(left, LEFT);
}

/* One block refers to so many that they don't fit the walk's stack, and those refer to more. */
static int narrow(void)
{
    uint64_t random = 1;
    uint32_t ***wide = malloc(WIDE * sizeof *wide);
    if (!wide) return complain("no memory for pointers", WIDE);
    for (uint32_t i = 0; i < WIDE; i++) {
        wide[i] = malloc(40);
        if (!wide[i] || !(*wide[i] = malloc(40))) return complain("no memory for block", i);
        **wide[i] = i;
    }
    use_up_addresses();
    size_t failed = make_lists(&random);
    for (uint32_t i = 0; i < WIDE; i++)
        if (**wide[i] != i) return complain("a block was collected", i);
    return failed ? complain("allocations failed", failed) : 0;
}

/* ---- really full ---- */

/* 20,000 that fail, and then one thing is freed. */
static int row(void)
{
    void *big = malloc(MB);
    size_t n = fill(64), got = 0;
    if (n == MOST || !big) return complain("there is no limit", n);
    for (int i = 0; i < 20000; i++) got += malloc(64) != NULL;
    if (got > 0) return complain("there was room still", got);
    if (errno != ENOMEM) return complain("errno is", (size_t)errno);
    free(big);
    if (!malloc(64)) return complain("no block of 64 bytes after one that was freed, of", MB);
    for (size_t i = 0; i < n; i++) memset(block[i], 1, 64);
    return 0;
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";
    if (strcmp(what, "by-hand") == 0) return by_hand();
    if (strcmp(what, "by-sleepers") == 0) return by_sleepers();
    if (strcmp(what, "lost") == 0) return lost(argc > 2 ? atoi(argv[2]) : 1);
    if (strcmp(what, "narrow") == 0) return narrow();
    if (strcmp(what, "row") == 0) return row();
    return 2;
}
