/* unload.c - a plugin that uses Oakum, ends it, and is unloaded (unloadhost.c). */
#include <dlfcn.h>
#include <errno.h>
#include <oakum/oakum.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))

EXPORT int plugin_run(void);
EXPORT int plugin_end(void);

typedef struct node {
    struct node *next, *other;
    char rest[240];
} node;

static node *kept; /* a root: the plugin's data */

static bool build(void)
{
    for (size_t i = 0; i < 50000; i++) {
        node *p = oak_alloc(sizeof *p);
        if (!p) return false;
        p->next = kept;
        kept = p;
    }
    return true;
}

static void finalize(void *obj, void *ctx)
{
    (void)obj, (void)ctx;
}

/* Unless a thread of the host's was first, the heap is the plugin's. */
static bool is_told_who(void)
{
    oak_started by;
    Dl_info me;
    if (oak_config_read(NULL, &by)) return true;
    return oak_init(NULL) == 0 && oak_config_read(NULL, &by) && by.how == OAK_START_INIT &&
           dladdr((void *)&kept, &me) && strcmp(by.by, me.dli_fname) == 0;
}

/* Everything that has a thread, a mapping, a key or a descriptor of its own. */
int plugin_run(void)
{
    kept = NULL;
    if (!is_told_who()) return 6;
    oak_map *m =
        oak_map_new(&(oak_map_type){ .key = OAK_KEY_U64, .key_size = 8, .value_size = 8 }, 100000);
    oak_zone *z = oak_zone_new(NULL);
    if (!m || !z || oak_profile_set_rate(4096) != 0 || oak_trace_start(0) != 0) return 1;
    for (uint64_t i = 0; i < 1000; i++)
        if (!oak_map_put(m, &i)) return 2;
    if (!build() || oak_finalizer_set(kept, finalize, NULL) != 0) return 3;
    oak_collect();
    oak_memstats s;
    oak_memstats_read(&s);
    for (uint32_t before = s.num_concurrent_gc; s.num_concurrent_gc == before;) {
        for (size_t i = 0; i < 1000; i++) {
            node *p = oak_alloc(sizeof *p);
            if (!p) return 4;
            p->next = kept;
            if (i % 4 == 0) kept = p;
        }
        if (!oak_heap_tells_writes(NULL)) break;
        oak_memstats_read(&s);
    }
    if (oak_zone_discard(z) != 0) return 5;
    while (oak_collect_step(200) && s.num_gc % 2 == 0) continue;
    (void)oak_collect_step(20); /* perhaps in the middle of a mark */
    return 0;
}

int plugin_end(void)
{
    kept = NULL;
    return oak_shutdown() == 0 ? 0 : errno;
}
