/* count.h - counts of a program's run, by an extra run that isn't timed (count.c). */
#ifndef BENCH_COMMON_COUNT_H
#define BENCH_COMMON_COUNT_H

#include <stdbool.h>
#include <stdint.h>

typedef struct counted {
    double calls;        /* of the system */
    double instructions; /* in user mode; negative: the machine, or the system, has no counter */
} counted;

/* Run the program to its end, without its output. false: it can't be traced here, it failed, or it
 * took longer than limit_s. The caller has no other children. */
bool count_run(char *const *argv, unsigned limit_s, counted *out);

/* Its instructions, by callgrind: a hundred times slower. Negative: there is no Valgrind, or the
 * program fails under it. */
double count_by_valgrind(char *const *argv, unsigned limit_s);

#endif
