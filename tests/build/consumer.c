/* consumer.c - a host's program: allocates, collects, and tells whose malloc it has.
 *
 * usage: consumer LIBRARY [MODULE]: fails unless malloc comes from a file named LIBRARY*. Calls
 * module_run of the module, which it dlopens. With -DMODULE it links nothing of Oakum's.
 * consumer fill: uses all memory that a limit allows, in one thread and then in two. */
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#ifndef MODULE
#include <oakum/oakum.h>

static int use(void)
{
    for (int i = 0; i < 100000; i++)
        if (!oak_alloc(64)) return -1;
    oak_collect();
    oak_memstats stats;
    oak_memstats_read(&stats);
    return stats.num_gc > 0 ? 0 : -1;
}

static void *fill(void *arg)
{
    void **list = NULL, **object;
    for (int n = 0; (object = oak_alloc(4096)) != NULL; n++) {
        if (n == 100000) return NULL; /* nobody set a limit */
        *object = list;
        list = object;
    }
    return errno == ENOMEM ? arg : NULL;
}

/* In threads, whose stacks hold nothing of it any more when they have ended. */
static int fill_by(int n)
{
    static char yes;
    pthread_t t[2];
    pthread_attr_t attr;
    void *filled;
    int r = pthread_attr_init(&attr) || pthread_attr_setstacksize(&attr, 256 << 10);
    for (int i = 0; i < n; i++) r |= pthread_create(&t[i], &attr, fill, &yes);
    for (int i = 0; i < n && r == 0; i++)
        if (pthread_join(t[i], &filled) != 0 || !filled) r = -1;
    return r == 0 && use() == 0 ? 0 : -1;
}
#else
static int use(void)
{
    return 0;
}

static int fill_by(int n)
{
    return -n;
}
#endif

static int run_module(const char *module)
{
    void *handle = dlopen(module, RTLD_NOW);
    if (!handle) {
        fprintf(stderr, "%s\n", dlerror());
        return -1;
    }
    int (*run)(void);
    *(void **)&run = dlsym(handle, "module_run");
    if (!run || run() != 0 || dlclose(handle) != 0) return -1;
    handle = dlopen(module, RTLD_NOW); /* as a script does that loads it again */
    *(void **)&run = handle ? dlsym(handle, "module_run") : NULL;
    return run ? run() : -1;
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "fill") == 0) return fill_by(1) || fill_by(2) ? 4 : 0;
    if (argc < 2 || use() != 0 || (argc > 2 && run_module(argv[2]) != 0)) return 1;
    Dl_info info;
    void *address = dlsym(RTLD_DEFAULT, "malloc");
    if (!address || !dladdr(address, &info)) return 2;
    const char *file = strrchr(info.dli_fname, '/');
    file = file ? file + 1 : info.dli_fname;
    if (strncmp(file, argv[1], strlen(argv[1])) == 0) return 0;
    fprintf(stderr, "malloc comes from %s\n", info.dli_fname);
    return 3;
}
