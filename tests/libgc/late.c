/* late.c - a program that loads libgc by dlopen, as an extension's host does: what the library has
 * of static thread-local storage must fit into what is left then. Prints "works".
 *
 * usage: late LIBRARY */
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

int main(int argc, char **argv)
{
    void *lib = argc > 1 ? dlopen(argv[1], RTLD_NOW) : NULL;
    void (*init)(void), *(*take)(size_t), (*give)(void *);
    if (!lib) {
        fprintf(stderr, "%s\n", dlerror());
        return 1;
    }
    *(void **)&init = dlsym(lib, "GC_init");
    *(void **)&take = dlsym(lib, "GC_malloc");
    *(void **)&give = dlsym(lib, "GC_free");
    init();
    for (int i = 0; i < 10000; i++) {
        char *p = take(100);
        if (!p || p[50]) return 2;
        give(memset(p, 1, 100));
    }
    puts("works");
    return 0;
}
