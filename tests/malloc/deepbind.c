/* deepbind.c - a host that loads a library with RTLD_DEEPBIND, and whose blocks go to and fro
 * between the two. usage: deepbind LIBRARY SAME: what the plugin's call of same_name is to give. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int same_name(void);
int same_name(void)
{
    return 1;
}

#define GET(name)                                                                                  \
    do {                                                                                           \
        *(void **)&name = dlsym(plugin, #name);                                                    \
        if (!name) return 3;                                                                       \
    } while (0)

static int use(void *plugin, int same)
{
    void *(*plug_make)(size_t), *(*plug_make_kept)(size_t), *(*plug_grow)(void *, size_t);
    void (*plug_drop)(void *), *(*plug_thread)(void *), (**plug_free)(void *);
    char *(*plug_copy)(const char *);
    int (*plug_same_name)(void);
    GET(plug_make);
    GET(plug_make_kept);
    GET(plug_grow);
    GET(plug_drop);
    GET(plug_thread);
    GET(plug_free);
    GET(plug_copy);
    GET(plug_same_name);
    for (size_t n = 1; n < 200000; n += n / 2 + 1) {
        free(plug_make(n));
        free(plug_make_kept(n));
        plug_drop(malloc(n));
        (*plug_free)(malloc(n));
        free(plug_grow(malloc(n), n * 2));
        plug_drop(realloc(plug_make(n), n * 3));
        free(plug_thread(malloc(n)));
    }
    char *text = plug_copy("text");
    int right = text && !strcmp(text, "text") && plug_same_name() == same;
    free(text);
    return right ? 0 : 4;
}

int main(int argc, char **argv)
{
    if (argc < 3) return 2;
    void *plugin = dlopen(argv[1], RTLD_LAZY | RTLD_DEEPBIND);
    if (!plugin) {
        printf("%s\n", dlerror());
        return 5;
    }
    int status = use(plugin, atoi(argv[2]));
    if (status != 0) return status;
    dlclose(plugin);
    if (dlopen("no-such-library.so", RTLD_NOW | RTLD_DEEPBIND) || !dlerror()) return 6;
    puts("fine");
    return 0;
}
