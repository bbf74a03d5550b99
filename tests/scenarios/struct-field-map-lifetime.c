/* struct-field-map-lifetime.c - a map in a field of a struct.
 *
 * What leaks: nothing. It is said that a map in a field prolongs the struct's life, or the struct
 *             the map's.
 * Why not:    each is an object of its own. The map goes when the field is cleared, though the
 *             struct lives; both go when the struct goes; a struct in a local variable is not in
 *             the heap at all.
 * Seen by:    the live heap after the field is cleared, and a weak reference to the struct. */
#include "scenario.h"

#include <stdlib.h>

#define KEYS ((size_t)100000)
#define CALLS 1000

typedef struct holder {
    void *map;
    int64_t more[4];
} holder;

static const scn_map_policy *policy;
static holder *global_holder;
static oak_weak *weak_holder;
static oak_type *holder_type;

/* ---- a local struct ---- */

static __attribute__((noinline)) holder local_holder(void)
{
    holder h = { policy->new (SCN_STRING_INT, 0), { 1, 2, 3, 4 } };

    scn_keep(&h);
    return h;
}

static void use_locals(void *arg)
{
    (void)arg;
    for (int i = 0; i < CALLS; i++) {
        holder h = local_holder();

        scn_keep(&h);
    }
}

/* The maps alone. */
static void use_maps(void *arg)
{
    (void)arg;
    for (int i = 0; i < CALLS; i++) scn_keep(policy->new (SCN_STRING_INT, 0));
}

static double objects_of(void (*use)(void *))
{
    static oak_memstats before, after;

    scn_live_stats(&before);
    scn_on_thread(use, NULL);
    scn_live_stats(&after);
    return (double)(after.mallocs - before.mallocs);
}

static void local_struct(scn *s)
{
    static oak_memstats before, after;
    double bare = objects_of(use_maps);

    scn_row(s, "1,000 local structs with a map, returned by value");
    scn_live_stats(&before);
    scn_on_thread(use_locals, NULL);
    scn_live_stats(&after);
    scn_retained(s, (double)after.heap_alloc - (double)before.heap_alloc, SCN_BYTES);
    scn_go(s, "0");
    scn_pointed(s, "not a leak: %.2f objects a call, the map's own",
                (double)(after.mallocs - before.mallocs) / CALLS);
    scn_expect_none(s, "retained", (double)after.heap_alloc - (double)before.heap_alloc);
    scn_expect(s, "objects that the structs add to their maps",
               (double)(after.mallocs - before.mallocs) - bare, -10, 10);
}

/* ---- a struct that lives, and its map ---- */

static void fill_global(void *arg)
{
    static const uint64_t first_word = 1;
    holder *h;

    (void)arg;
    if (holder_type == NULL)
        holder_type = scn_must(oak_type_bitmap("holder", sizeof(*h), &first_word));
    h = scn_must(oak_alloc_typed(holder_type, 1));
    h->map = policy->new (SCN_STRING_INT, 0);
    h->more[0] = 42;
    for (size_t i = 0; i < KEYS; i++) {
        scn_string key = scn_string_new("user:%08zu", i);

        *(int64_t *)policy->put(h->map, &key) = (int64_t)i;
    }
    global_holder = h;
    weak_holder = scn_must(oak_weak_new(h));
}

static void read_stats(void *arg)
{
    policy->stats(global_holder->map, arg);
}

static void clear_field(void *arg)
{
    (void)arg;
    global_holder->map = NULL;
}

static void drop_holder(void *arg)
{
    (void)arg;
    global_holder = NULL;
}

/* Whether the struct is there; read on a thread that ends, so that no pointer stays behind. */
static void look_for_holder(void *alive)
{
    holder *h = oak_weak_get(weak_holder);

    *(bool *)alive = h != NULL && h->more[0] == 42;
}

static bool holder_alive(void)
{
    bool alive = false;

    scn_on_thread(look_for_holder, &alive);
    return alive;
}

SCN_FIND(find_global_holder, global_holder->map)

static void global_struct(scn *s)
{
    double start = scn_live(), full, cleared, dropped;
    scn_map_stats st;
    bool alive;

    scn_row(s, "struct in a global, map of 100,000 strings in its field");
    scn_on_thread(fill_global, NULL);
    full = scn_live() - start;
    scn_on_thread(read_stats, &st);
    scn_retained(s, full, SCN_BYTES);
    scn_go(s, "5,560,944");
    scn_pointed(s, "map: count %s, array %s B", scn_thousands((double)st.count),
                scn_thousands((double)st.array_bytes));
    if (policy->leaks_as_go)
        scn_expect_bytes(s, "full, against Go's", full, 5560944, 5);
    else
        scn_expect(s, "full, from keys and entries to Go's", full, 40.0 * KEYS, 5560944);
    scn_expect_site(s, "fill_global");
    scn_expect_path(s, find_global_holder, OAK_ROOT_GLOBAL, "global_holder", "holder");
    scn_expect_path(s, find_global_holder, OAK_ROOT_GLOBAL, "global_holder",
                    policy->leaks_as_go ? "oak_classic_map" : "oak_map");

    scn_row(s, "field = nil, the struct lives");
    scn_on_thread(clear_field, NULL);
    cleared = scn_live() - start;
    scn_retained(s, cleared, SCN_BYTES);
    scn_go(s, "8");
    alive = holder_alive();
    scn_pointed(s, "the weak reference to the struct %s", alive ? "still finds it" : "is cleared");
    scn_expect(s, "kept in percent of full", cleared / full * 100, -5, 5);
    scn_expect_true(s, "the struct is alive", alive);

    scn_row(s, "struct dropped, with a full map");
    scn_on_thread(drop_holder, NULL);
    start = scn_live();
    scn_on_thread(fill_global, NULL);
    full = scn_live() - start;
    scn_on_thread(drop_holder, NULL);
    dropped = scn_live() - start;
    scn_retained(s, dropped, SCN_BYTES);
    scn_go(s, "0");
    alive = holder_alive();
    scn_pointed(s, "the weak reference to the struct %s", alive ? "still finds it" : "is cleared");
    scn_expect(s, "kept in percent of full", dropped / full * 100, -5, 5);
    scn_expect_true(s, "the struct has gone", !alive);
}

static void run(scn *s)
{
    scn_detector_begin(NULL);
    policy = scn_policy(s);
    local_struct(s);
    global_struct(s);
    scn_expect_quiet(s);
}

const scn_scenario scn_struct_field_map_lifetime = {
    .id = "struct-field-map-lifetime",
    .class = 'N',
    .source = "A0 4.3",
    .leak = "a map in a field of a struct: neither holds the other longer than it should",
    .maps = true,
    .run = run,
};
