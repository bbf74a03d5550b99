/* work.h - what the malloc benchmarks share.
 *
 * A program does a fixed amount of work, which follows from its arguments alone. It prints `check`,
 * a sum of what it read back from its blocks, and `ns` for each operation. What it is linked with
 * decides the allocator. */
#ifndef BENCH_MALLOC_WORK_H
#define BENCH_MALLOC_WORK_H

#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "common/bench.h"

static inline void work_end(const char *why)
{
    fprintf(stderr, "%s\n", why);
    exit(1);
}

static inline void *work_alloc(size_t size)
{
    void *p = malloc(size);
    if (!p) work_end("out of memory");
    return p;
}

static inline pthread_t work_thread(void *(*fn)(void *), void *arg)
{
    pthread_t id;
    if (pthread_create(&id, NULL, fn, arg) != 0) work_end("no thread");
    return id;
}

/* What the thread returned, as a number. */
static inline uint64_t work_join(pthread_t id)
{
    void *sum;
    pthread_join(id, &sum);
    return (uintptr_t)sum;
}

static inline int work_print(uint64_t check, uint64_t start_ns, uint64_t operations)
{
    uint64_t ns = bench_now_ns() - start_ns;
    printf("check %llu\nns %.3f\n", (unsigned long long)check, (double)ns / (double)operations);
    return 0;
}

/* 16 to `most` bytes, where a size is as likely as all of twice its length. */
static inline size_t work_size(uint64_t *random, size_t most)
{
    uint64_t r = bench_random(random);
    size_t size = (size_t)16 << __builtin_ctzll(r | UINT64_C(1) << 40);
    size += (size_t)(r >> 41) % size;
    return size < most ? size : most;
}

#endif
