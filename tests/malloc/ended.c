/* ended - threads that end where they can't enter the heap any more leave nothing behind: their
 * caches of freed blocks are ended by others. Linked with what is otherwise preloaded, as only
 * there a thread can detach itself. */
#include "embed/malloc/preload.h"
#include <oakum/oakum.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#define BLOCKS 100
#define SIZE 600

static oak_memstats stats(void)
{
    oak_memstats m;
    oak_memstats_read(&m);
    return m;
}

static size_t with_cache; /* bytes of all caches, seen by the last thread */

static void *works(void *detaches)
{
    void *block[BLOCKS];
    for (int i = 0; i < BLOCKS; i++) block[i] = malloc(SIZE);
    for (int i = 0; i < BLOCKS; i++) free(block[i]);
    with_cache = stats().mcache_sys;
    if (detaches) oak_thread_detach();
    return NULL;
}

static void run(int n, void *detaches)
{
    for (int i = 0; i < n; i++) {
        pthread_t t;
        if (pthread_create(&t, NULL, works, detaches) != 0 || pthread_join(t, NULL) != 0) abort();
    }
}

int main(void)
{
    run(10, NULL);
    oak_memstats before = stats();
    run(200, &before);
    run(1, NULL); /* ends the last one's */
    oak_memstats after = stats();
    size_t cache = with_cache - before.mcache_sys, left = after.mcache_sys - before.mcache_sys;
    if (with_cache <= before.mcache_sys || left > cache) {
        fprintf(stderr, "ended: a cache has %zu bytes, and %zu are left of 200\n", cache, left);
        return 1;
    }
    size_t blocks = after.heap_objects - OAKI_MIN(before.heap_objects, after.heap_objects);
    if (blocks > 2 * BLOCKS) {
        fprintf(stderr, "ended: %zu blocks are still in caches\n", blocks);
        return 1;
    }
    return 0;
}
