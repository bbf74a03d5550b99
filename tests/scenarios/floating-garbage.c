/* floating-garbage.c - objects that die while a collection is under way.
 *
 * What leaks: nothing. What is born or dropped during a mark may survive that collection, and goes
 *             with the next at the latest. It is said that remembered sets hold such objects back;
 *             there are none, here or in Go.
 * Why not:    a collection frees what can't be reached when it marks. Oakum's world stands for the
 *             mark, so that nothing dies during it: what is dropped is gone with the next.
 * Seen by:    live bytes after one collection against those after two: who judges must wait for
 *             the second. */
#include "scenario.h"

#include <atomic_ops.h>

#define NODES ((size_t)2000000)
#define OBJECTS 2000
#define OBJECT_BYTES 4096
#define BYTES ((double)OBJECTS * OBJECT_BYTES)

typedef struct node {
    struct node *next;
    size_t number;
} node;

static node *list; /* makes the mark long */
static void *held[OBJECTS];
static AO_t started;

static void fill_list(void *arg)
{
    (void)arg;
    for (size_t i = 0; i < NODES; i++) {
        node *n = scn_must(oak_alloc(sizeof(*n)));

        n->next = list;
        n->number = i;
        list = n;
    }
}

static void fill_held(void *arg)
{
    (void)arg;
    for (int i = 0; i < OBJECTS; i++) held[i] = scn_must(oak_alloc_noscan(OBJECT_BYTES));
}

static void *bear_and_drop(void *arg)
{
    (void)arg;
    AO_store_release(&started, 1);
    for (int i = 0; i < OBJECTS; i++) scn_keep(scn_must(oak_alloc_noscan(OBJECT_BYTES)));
    return NULL;
}

static void *drop_held(void *arg)
{
    (void)arg;
    AO_store_release(&started, 1);
    for (int i = 0; i < OBJECTS; i++) {
        held[i] = NULL;
        scn_keep(held);
    }
    return NULL;
}

static double live_after_collection(void)
{
    static oak_memstats st;

    oak_collect();
    oak_memstats_read(&st);
    return (double)st.heap_alloc;
}

/* Collect while a thread bears or drops; what was live after that collection, after the next, and
 * after one more. */
static void beside(scn *s, void *(*mutate)(void *), bool born, double start)
{
    static oak_memstats before, after;
    double during, first, second;
    pthread_t thread;

    scn_log_begin();
    oak_memstats_read(&before);
    AO_store_release(&started, 0);
    thread = scn_thread_start(mutate, NULL, 0);
    while (!AO_load_acquire(&started)) sched_yield();
    during = live_after_collection() - start;
    pthread_join(thread, NULL);
    first = live_after_collection() - start;
    second = live_after_collection() - start;
    oak_memstats_read(&after);
    scn_log_end();
    if (born)
        scn_expect(s, "allocated, by the log of collections, of all",
                   scn_log_sum("allocated") / BYTES, 0.99, 1.05);
    scn_retained(s, first, SCN_BYTES);
    scn_figure(s, "live after the collection beside it", during, SCN_BYTES);
    scn_figure(s, "live after collection 2 (Go: 568 to 1,184)", second, SCN_BYTES);
    scn_pointed(s,
                "not a leak: %s B allocated meanwhile; live after the collection beside it %s, "
                "after the next %s, after one more %s B",
                scn_thousands((double)(after.total_alloc - before.total_alloc)),
                scn_thousands(during), scn_thousands(first), scn_thousands(second));
    scn_expect(s, "live after the collection beside it, of all", during / BYTES, -0.01, 1.01);
    scn_expect_none(s, "live after collection 1, as the world stands for the mark", first);
    scn_expect_none(s, "live after collection 2", second);
}

SCN_FIND(find_list, list->next)

static void run(scn *s)
{
    double start;

    scn_detector_begin(NULL);
    scn_row(s, "2,000 objects of 4 KiB born and dropped beside a mark");
    scn_on_thread(fill_list, NULL);
    start = scn_live();
    scn_go(s, "8,190,000");
    beside(s, bear_and_drop, true, start);

    scn_row(s, "2,000 objects of 4 KiB that lived, dropped beside a mark");
    start = scn_live();
    scn_on_thread(fill_held, NULL);
    scn_go(s, "8,190,000");
    beside(s, drop_held, false, start);
    scn_expect_site(s, "fill_list");
    scn_expect_path(s, find_list, OAK_ROOT_GLOBAL, "list", NULL);
    scn_expect(s, "nodes of the list that live", (double)list->number + 1, (double)NODES,
               (double)NODES);
    list = NULL;
    scn_expect_quiet(s);
}

const scn_scenario scn_floating_garbage = {
    .id = "floating-garbage",
    .class = 'G',
    .source = "A2 2.2",
    .leak = "what dies beside a mark is gone with the next collection",
    .maps = false,
    .run = run,
};
