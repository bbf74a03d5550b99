/* counts.h - what a benchmark program's memory manager has counted of its own work: figures that
 * don't depend on how fast the machine is.
 *
 * Include it after the manager's header. counts_show prints lines for the runner: pages of the
 * system that Oakum asked about, and found dirty; faults on protected pages, and those of them that
 * the kernel counts as minor ones, which the runner takes off the process's; MiB marked, and
 * rescanned; cycles by mode, the way of tracking that was used, and the longest stop in us. Of
 * other managers it prints nothing. */
#ifndef BENCH_COMMON_COUNTS_H
#define BENCH_COMMON_COUNTS_H

#include <stdio.h>
#include <string.h>

#ifdef OAKUM_HEAP_H

static inline void counts_show(void)
{
    oak_memstats s;
    oak_writes_told told;
    oak_memstats_read(&s);
    bool tracked = s.pages_asked > 0 && oak_heap_tells_writes(&told);
    bool by_kernel = tracked && strcmp(told.by, "userfaultfd") == 0;
    printf("asked %llu\ndirty %llu\ntracking %llu\nminor_tracking %llu\n",
           (unsigned long long)s.pages_asked, (unsigned long long)s.pages_dirty,
           (unsigned long long)s.tracking_faults,
           (unsigned long long)(by_kernel ? s.tracking_faults : 0));
    printf("marked %.3f\nrescanned %.3f\n", (double)s.marked_bytes / 1048576,
           (double)s.rescanned_bytes / 1048576);
    printf("gcs %u\nconcurrent %u\nminor %u\nby_kernel %d\nby_signal %d\nlongest_stop %.3f\n",
           s.num_gc, s.num_concurrent_gc, s.num_minor_gc, by_kernel, tracked && !by_kernel,
           (double)s.pause_max_ns / 1e3);
}

#else

static inline void counts_show(void) {}

#endif

#endif
