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
#include <stdio.h>

#include "common/bench.h"

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

/* A part of the heap that goes at once, where there is such a thing; elsewhere its objects are
 * freed one by one before. mem_held: bytes of memory that is not yet back. */
#if defined(MEM_OAKUM)
#define MEM_ZONE oak_zone
#define MEM_ZONE_NEW() oak_zone_new(NULL)
#define MEM_ZONE_ALLOC(z, n) oak_zone_alloc(z, n)
#define MEM_ZONE_DISCARD(z) ((void)!oak_zone_discard(z))
static inline size_t mem_held(void)
{
    oak_memstats s;
    oak_memstats_read(&s);
    return s.heap_inuse;
}
#else
#define MEM_ZONE void
#define MEM_ZONE_NEW() NULL
#define MEM_ZONE_ALLOC(z, n) ((void)(z), MEM_ALLOC(n))
#define MEM_ZONE_DISCARD(z) ((void)(z))
static inline size_t mem_held(void)
{
    return 0;
}
#endif

#if MEM_COLLECTS
#define MEM_FREE(p) ((void)(p))
#else
#define MEM_FREE(p) free(p)
#endif

#include "common/counts.h"

static inline void mem_out(void)
{
    fputs("out of memory\n", stderr);
    exit(1);
}

#endif
