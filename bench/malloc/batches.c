/* batches.c - blocks freed in another order than they were made in, after the idea of MicroQuill's
 * sh6bench: batches N.
 *
 * Of each batch the later half is freed at once, the last one first. The others live for eight
 * rounds, and are freed in the order of their making. */
#include "work.h"

enum { KEPT = 8, LARGEST = 1024, BATCH = 512 };

static unsigned char *kept[KEPT][BATCH];
static unsigned char *fresh[BATCH];

int main(int argc, char **argv)
{
    uint64_t n = bench_arg(argc, argv, 1, 1000), check = 0, start = bench_now_ns();
    for (uint64_t k = 0; k < n; k++) {
        unsigned char **old = kept[k % KEPT];
        for (unsigned i = 0; i < BATCH; i++) {
            size_t size = 8 + (LARGEST >> (i + k) % 7) + i % 8;
            fresh[i] = work_alloc(size);
            fresh[i][size - 1] = fresh[i][0] = (unsigned char)(i + k);
        }
        for (unsigned i = BATCH; i-- > BATCH / 2;) {
            check += fresh[i][0];
            free(fresh[i]);
        }
        for (unsigned i = 0; i < BATCH / 2; i++) {
            if (old[i]) check += old[i][0];
            free(old[i]);
            old[i] = fresh[i];
        }
    }
    return work_print(check, start, n * BATCH);
}
