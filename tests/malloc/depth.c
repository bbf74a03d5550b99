/* depth.c - how much of a thread's stack malloc takes at its deepest, in the mode that it runs in.
 * Exit status 1: more than docs/oakum-run.1 says. */
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define SIZE ((size_t)512 << 10)
#define MOST ((size_t)8 << 10)
#define BLOCKS 500

static unsigned char *stack;
static const unsigned char *here;

static void work_once(void)
{
    static void *p[BLOCKS];
    for (size_t i = 0; i < BLOCKS; i++) p[i] = malloc(16 + i * 37 % 3000);
    for (size_t i = 0; i < BLOCKS; i += 3) p[i] = realloc(p[i], 5000);
    for (size_t i = 0; i < BLOCKS; i++) free(p[i]);
    free(calloc(100, 1000));
    free(memalign(4096, 100000));
    p[0] = malloc(10);
    if (malloc_usable_size(p[0]) < 10) abort();
    memset(malloc((size_t)20 << 20), 1, (size_t)20 << 20); /* lost: --collect frees it */
    free(p[0]);
}

static void *work(void *unused)
{
    here = __builtin_frame_address(0);
    for (int i = 0; i < 40; i++) work_once();
    return unused;
}

int main(void)
{
    pthread_attr_t a;
    pthread_t t;
    size_t i = 0;
    stack = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (stack == MAP_FAILED) return 2;
    memset(stack, 0x5a, SIZE);
    if (pthread_attr_init(&a) != 0 || pthread_attr_setstack(&a, stack, SIZE) != 0) return 2;
    if (pthread_create(&t, &a, work, NULL) != 0 || pthread_join(t, NULL) != 0) return 2;
    while (stack[i] == 0x5a) i++;
    size_t taken = (size_t)(here - (stack + i));
    printf("%zu bytes of stack\n", taken);
    return taken > MOST;
}
