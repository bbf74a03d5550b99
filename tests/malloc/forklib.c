/* forklib - a library that takes a lock before a fork, and calls malloc under it.
 *
 * Its handlers of pthread_atfork are there before the program's. A malloc that stops others before
 * they have been called, and not after, waits for a thread that waits for it. */
#include <pthread.h>
#include <stdlib.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

void forklib_use(void);

void forklib_use(void)
{
    pthread_mutex_lock(&lock);
    for (int i = 0; i < 20; i++) free(malloc(100 + (size_t)i * 1000));
    pthread_mutex_unlock(&lock);
}

static void take(void) { pthread_mutex_lock(&lock); }
static void give(void) { pthread_mutex_unlock(&lock); }

static __attribute__((constructor)) void begin(void)
{
    free(malloc(10));
    (void)pthread_atfork(take, give, give);
}
