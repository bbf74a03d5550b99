/* mem.h - one vocabulary for the memory managers that the heap benchmarks compare.
 *
 * The command line says which one: -DMEM_OAKUM, -DMEM_BOEHM, or neither for malloc and free,
 * where what is linked decides between glibc and jemalloc. The benchmark sources name no manager.
 * Invariant: what a program does with its memory is the same for all of them; only MEM_FREE
 * differs, which is empty for collectors, as a program written for one has no such call.
 * MEM_ALLOC gives memory that a collector scans, MEM_ALLOC_NOSCAN memory that it doesn't. Zeroing
 * is left as each manager has it: Oakum always, Boehm when scanned, malloc never; every program
 * writes what it reads. */
#ifndef BENCH_HEAP_MEM_H
#define BENCH_HEAP_MEM_H

#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#if defined(MEM_OAKUM)

#include <oakum/oakum.h>
#define MEM_INIT() (oak_init(NULL) == 0 ? (void)0 : mem_out())
#define MEM_ALLOC(n) oak_alloc(n)
#define MEM_ALLOC_NOSCAN(n) oak_alloc_noscan(n)
#define MEM_ATTACH() oak_thread_attach()
#define MEM_DETACH() oak_thread_detach()
#define MEM_COLLECT() oak_collect()
#define MEM_COLLECTS 1

#elif defined(MEM_BOEHM)

/* GC_THREADS turns pthread_create into Boehm's own, which registers the thread. */
#define GC_THREADS
#include <gc/gc.h>
#define MEM_INIT() GC_INIT()
#define MEM_ALLOC(n) GC_MALLOC(n)
#define MEM_ALLOC_NOSCAN(n) GC_MALLOC_ATOMIC(n)
#define MEM_ATTACH() ((void)0)
#define MEM_DETACH() ((void)0)
#define MEM_COLLECT() GC_gcollect()
#define MEM_COLLECTS 1

#else

#define MEM_INIT() ((void)0)
#define MEM_ALLOC(n) malloc(n)
#define MEM_ALLOC_NOSCAN(n) malloc(n)
#define MEM_ATTACH() ((void)0)
#define MEM_DETACH() ((void)0)
#define MEM_COLLECT() ((void)0)
#define MEM_COLLECTS 0

#endif

#if MEM_COLLECTS
#define MEM_FREE(p) ((void)(p))
#else
#define MEM_FREE(p) free(p)
#endif

static inline void mem_out(void)
{
    fputs("out of memory\n", stderr);
    exit(1);
}

static inline uint64_t mem_now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* SplitMix64 (Steele, Lea, Flood 2014); its Go twin is in common.go. */
static inline uint64_t mem_random(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

/* Argument i as a number, or what `otherwise` says. */
static inline uint64_t mem_arg(int argc, char **argv, int i, uint64_t otherwise)
{
    return i < argc ? strtoull(argv[i], NULL, 10) : otherwise;
}

#endif
