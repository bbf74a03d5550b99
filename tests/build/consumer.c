/* consumer.c - a host's program: allocates, collects, and tells whose malloc it has.
 *
 * usage: consumer LIBRARY [MODULE]: fails unless malloc comes from a file named LIBRARY*. Calls
 * module_run of the module, which it dlopens. With -DMODULE it links nothing of Oakum's. */
#include <dlfcn.h>
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
#else
static int use(void)
{
    return 0;
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
