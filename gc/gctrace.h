/* gctrace.h - the line that OAKUM_DEBUG=gctrace=1 prints for a collection: Go 1.19's, field for
 * field. */
#ifndef OAKI_GCTRACE_H
#define OAKI_GCTRACE_H

#include "runtime/base.h"

/* The figures of a cycle that is over. Times in nanoseconds, sizes in bytes. */
typedef struct oaki_gctrace {
    uint64_t cycle;       /* 1 for the first */
    uint64_t since_start; /* from Oakum's start to the cycle's */
    double cpu_fraction;  /* of the CPU time available since the start, spent collecting */
    /* wall clock: stopping the world and finishing the sweep; marking; ending the mark */
    uint64_t stop, mark, mark_end;
    /* CPU: the same. Go splits marking into assists, markers and idle time: here all is markers' */
    uint64_t stop_cpu, mark_cpu, mark_end_cpu;
    size_t heap_start, heap_end, heap_live; /* at the start, at the end of the mark, marked */
    size_t goal;                            /* heap size that the cycle was paced for */
    size_t stacks, globals;                 /* scanned */
    unsigned processors;
    bool forced; /* asked for by the program */
} oaki_gctrace;

/* Formats the line with its newline; 400 bytes are enough for any values. Returns its length, as
 * snprintf does. */
size_t oaki_gctrace_format(char *buf, size_t n, const oaki_gctrace *t);

/* Prints it. The world runs. */
void oaki_gctrace_cycle(const oaki_gctrace *t);

/* From now on each cycle prints its line, as the switch asks for. As oaki_gc_on_cycle. */
int oaki_gctrace_start(void);

#endif
