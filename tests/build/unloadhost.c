/* unloadhost.c - loads a plugin on Oakum, has it end the heap, and unloads it, again and again.
 * Nothing of it may be left: unloadhost PLUGIN ROUNDS MODE
 *
 * MODE `unload`; `pinned`: the plugin doesn't end the heap, and the library stays, as it must;
 * `late`: a thread that was attached ends after the unloading; `inside`: one is inside when the
 * plugin ends the heap, which is refused, and when it is unloaded, which leaves the library. */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WARM 3 /* rounds until the C library has mapped all that it keeps */

static size_t entries(const char *folder)
{
    size_t n = 0;
    DIR *d = opendir(folder);
    while (d && readdir(d)) n++;
    if (d) closedir(d);
    return n;
}

/* The number after `label` in a text of /proc; without a label, its lines. */
static long look(const char *path, const char *label)
{
    char line[1024];
    long lines = 0, n;
    FILE *f = fopen(path, "r");
    for (; f && fgets(line, sizeof line, f); lines++)
        if (label && strncmp(line, label, strlen(label)) == 0) {
            n = atol(line + strlen(label));
            fclose(f);
            return n;
        }
    if (f) fclose(f);
    return lines;
}

static int is_mapped(const char *name)
{
    char line[1024];
    int found = 0;
    FILE *f = fopen("/proc/self/maps", "r");
    while (f && fgets(line, sizeof line, f)) found |= strstr(line, name) != NULL;
    if (f) fclose(f);
    return found;
}

/* ---- a thread of the host's that calls the plugin, and outlives it ---- */

static pthread_barrier_t called, unloaded;
static int (*attach)(void);
static void (*detach)(void);

static void *visitor(void *arg)
{
    if (attach() != 0) exit(1);
    detach();
    pthread_barrier_wait(&called);
    pthread_barrier_wait(&unloaded);
    return arg;
}

static void *passer(void *arg)
{
    if (attach() != 0) exit(1);
    return arg; /* a key's destructor detaches it */
}

static void visit(void *plugin, pthread_t *thread)
{
    pthread_t other;
    *(void **)&attach = dlsym(plugin, "oak_thread_attach");
    *(void **)&detach = dlsym(plugin, "oak_thread_detach");
    if (!attach || !detach) exit(1);
    pthread_barrier_init(&called, NULL, 2);
    pthread_barrier_init(&unloaded, NULL, 2);
    if (pthread_create(thread, NULL, visitor, NULL) || pthread_create(&other, NULL, passer, NULL))
        exit(1);
    pthread_barrier_wait(&called);
    pthread_join(other, NULL);
}

/* ---- a thread that is inside all the while ---- */

static void *(*alloc)(size_t);
static atomic_long allocated, over;

static void *resident(void *arg)
{
    void **kept = NULL;
    long n = 0, found = 0;
    while (!over) {
        void **p = alloc(64);
        if (!p) exit(1);
        if (allocated++ % 100 != 0) continue;
        *p = kept;
        kept = p;
        n++;
    }
    for (; kept; kept = *kept) found++;
    if (found != n) exit(1);
    detach();
    return arg;
}

static void await(long more)
{
    for (long until = allocated + more; allocated < until;) usleep(100);
}

/* No function of the plugin's is left in the heap, as it goes first. It comes back to end the heap
 * once the thread has left. */
static int unload_around(const char *path, void *plugin, int (*end)(void))
{
    pthread_t thread;
    int (*finalize)(size_t *);
    over = 0;
    *(void **)&finalize = dlsym(plugin, "oak_finalize_all");
    *(void **)&alloc = dlsym(plugin, "oak_alloc");
    *(void **)&detach = dlsym(plugin, "oak_thread_detach");
    if (!finalize || !alloc || !detach || finalize(NULL) != 0) exit(1);
    if (pthread_create(&thread, NULL, resident, NULL)) exit(1);
    await(1000);
    int refused = end();
    await(200000);
    dlclose(plugin);
    if (refused != EBUSY || !is_mapped("liboakum.so")) return 1;
    await(200000);
    over = 1;
    pthread_join(thread, NULL);
    if (!(plugin = dlopen(path, RTLD_NOW))) return 1;
    *(void **)&end = dlsym(plugin, "plugin_end");
    int r = end();
    dlclose(plugin);
    return r;
}

/* ---- rounds ---- */

/* One that was joined may be in the list for a moment. */
static size_t threads(size_t expected)
{
    size_t n = entries("/proc/self/task");
    for (int i = 0; n != expected && i < 1000; i++, n = entries("/proc/self/task")) usleep(1000);
    return n;
}

static void *nothing(void *arg)
{
    return arg;
}

/* A detached thread leaves its stack to the C library, which unmaps it with the next one that is
 * joined (tests/build/shutdown sets that). */
static void drop_stacks(void)
{
    pthread_t t;
    if (pthread_create(&t, NULL, nothing, NULL) == 0) pthread_join(t, NULL);
}

static int show_mappings(void)
{
    char line[1024];
    FILE *f = fopen("/proc/self/maps", "r");
    while (f && fgets(line, sizeof line, f)) fputs(line, stderr);
    if (f) fclose(f);
    return 1;
}

static int fail(const char *what, int round, long is, long was)
{
    fprintf(stderr, "unloadhost: round %d: %s: %ld, were %ld\n", round, what, is, was);
    return 1;
}

static int run(const char *path, const char *mode)
{
    int (*fn)(void);
    int late = strcmp(mode, "late") == 0, r;
    pthread_t thread;
    void *plugin = dlopen(path, RTLD_NOW);
    if (!plugin) fprintf(stderr, "unloadhost: %s\n", dlerror());
    if (!plugin || !(*(void **)&fn = dlsym(plugin, "plugin_run"))) return 1;
    if ((r = fn()) != 0) return fail("plugin_run", 0, r, 0);
    if (late) visit(plugin, &thread);
    *(void **)&fn = dlsym(plugin, "plugin_end");
    if (strcmp(mode, "inside") == 0) return unload_around(path, plugin, fn);
    if (strcmp(mode, "pinned") != 0 && (r = fn()) != 0) return fail("oak_shutdown", 0, r, 0);
    dlclose(plugin);
    if (!late) return 0;
    pthread_barrier_wait(&unloaded);
    return pthread_join(thread, NULL);
}

int main(int argc, char **argv)
{
    size_t alone = entries("/proc/self/task"), files = 0;
    long maps = 0, rss = 0;
    if (argc != 4) return 2;
    int rounds = atoi(argv[2]), pinned = strcmp(argv[3], "pinned") == 0;
    for (int i = 0; i < rounds; i++) {
        if (run(argv[1], argv[3]) != 0) return 1;
        if (is_mapped("liboakum.so") != pinned) return fail("the library is mapped", i, !pinned, 0);
        if (pinned) continue;
        drop_stacks();
        size_t tasks_now = threads(alone), files_now = entries("/proc/self/fd");
        long maps_now = look("/proc/self/maps", NULL);
        long rss_now = look("/proc/self/smaps_rollup", "Rss:");
        if (tasks_now != alone) return fail("threads", i, (long)tasks_now, (long)alone);
        if (i >= WARM && files_now != files) return fail("files", i, (long)files_now, (long)files);
        if (i >= WARM && maps_now > maps)
            return fail("mappings", i, maps_now, maps) && show_mappings();
        if (i >= WARM && rss_now > rss + 64) return fail("resident KiB", i, rss_now, rss);
        if (i < WARM) {
            files = files_now;
            maps = maps_now;
            rss = rss_now;
        }
    }
    return 0;
}
