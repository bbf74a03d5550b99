/* loop.c - blocks of one size, one at a time: loop SIZE N. */
#include "work.h"

int main(int argc, char **argv)
{
    size_t size = (size_t)bench_arg(argc, argv, 1, 64);
    uint64_t n = bench_arg(argc, argv, 2, 1000000), check = 0, start = bench_now_ns();
    for (uint64_t i = 0; i < n; i++) {
        uint64_t *p = work_alloc(size);
        *p = i;
        check += *p;
        free(p);
    }
    return work_print(check, start, n);
}
