/* deepplug.c - a library that deepbind.c loads with RTLD_DEEPBIND: it allocates what its host
 * frees, and frees what its host or libc allocated. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* References in data, which the loader binds at once. */
static void *(*const kept_malloc)(size_t) = malloc;
void (*const plug_free)(void *) = free;

void *plug_make(size_t n)
{
    void *p = malloc(n);
    return p ? memset(p, 1, n) : NULL;
}

void *plug_make_kept(size_t n)
{
    return kept_malloc(n);
}

void plug_drop(void *p)
{
    free(p);
}

void *plug_grow(void *p, size_t n)
{
    return realloc(p, n);
}

/* strdup is libc's, and calls the malloc that all see. */
char *plug_copy(const char *text)
{
    char *copy = strdup(text), *again = strdup(copy);
    free(copy);
    return again;
}

static void *thread(void *p)
{
    free(p);
    return malloc(100);
}

void *plug_thread(void *p)
{
    pthread_t t;
    void *result = NULL;
    if (pthread_create(&t, NULL, thread, p) != 0 || pthread_join(t, &result) != 0) return NULL;
    return result;
}

/* The plugin's own function of a name that its host has too: RTLD_DEEPBIND is there for that. */
int same_name(void)
{
    return 2;
}

int plug_same_name(void)
{
    return same_name();
}
