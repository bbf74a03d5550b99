/* syncmap-delayed-delete.c - a concurrent map keeps the keys that were deleted from it.
 *
 * What leaks: key and entry of everything that was deleted from a sync.Map of Go 1.19.
 * Why:        a delete can't write to the part of the map that others read without a lock, so it
 *             only clears the entry; the value goes at once, the rest stays until the parts are
 *             exchanged. That takes a new key (and at that moment a second array), and as many
 *             misses as there are new keys. A map to which no new key is stored keeps all of it,
 *             and one key holds an array for as many as there once were.
 *             oak_syncmap takes an entry out as it is deleted.
 * Seen by:    the map's statistics: live keys against entries held. */
#include "readdirty.h"

#define KEYS ((size_t)100000)
#define VALUE 1024
#define MISSES 1000

static const scn_map_policy *policy;
static scn_syncmap map;

static scn_string key_of(size_t i)
{
    return scn_string_new("key-%011zu", i);
}

static void fill(void *arg)
{
    (void)arg;
    scn_syncmap_init(&map, policy);
    for (size_t i = 0; i < KEYS; i++) {
        scn_string key = key_of(i);

        scn_syncmap_store(&map, &key, scn_must(oak_alloc_noscan(VALUE)));
    }
}

static void miss(size_t times)
{
    for (size_t i = 0; i < times; i++) {
        scn_string absent = scn_string_new("absent-%zu", i);

        if (scn_syncmap_load(&map, &absent) != NULL) scn_die("a key that was never stored");
    }
}

static void *some_value(void)
{
    scn_string key = key_of(77);

    return scn_syncmap_load(&map, &key);
}

/* As many misses as there are keys: Go's becomes the part that is read. */
static void promote(void *arg)
{
    (void)arg;
    miss(KEYS);
}

static void delete_all(void *arg)
{
    (void)arg;
    for (size_t i = 0; i < KEYS; i++) {
        scn_string key = key_of(i);

        scn_syncmap_delete(&map, &key);
    }
}

static void look_for_absent(void *arg)
{
    (void)arg;
    miss(MISSES);
}

static void store_one(void *arg)
{
    scn_string key = scn_string_new("a new key", 0);

    (void)arg;
    scn_syncmap_store(&map, &key, scn_must(oak_alloc_noscan(VALUE)));
}

static void miss_once(void *arg)
{
    (void)arg;
    miss(1);
}

typedef struct held {
    size_t live, held;
} held;

static void read_held(void *arg)
{
    held *h = arg;

    if (map.rd != NULL) {
        scn_rdmap_stats st;

        scn_rdmap_stats_read(map.rd, &st);
        *h = (held){ st.live, st.held };
    } else {
        oak_syncmap_stats st;

        oak_syncmap_stats_read(map.sync, &st);
        *h = (held){ st.len, st.entries };
    }
}

/* A step, what is live after it, and what the map says then. */
static held seen; /* after the last step */

static double after(scn *s, void (*step)(void *), double start)
{
    held h;
    double live;

    scn_on_thread(step, NULL);
    live = scn_live() - start;
    scn_on_thread(read_held, &h);
    seen = h;
    scn_retained(s, live, SCN_BYTES);
    scn_pointed(s, "map: %s live keys, %s entries held", scn_thousands((double)h.live),
                scn_thousands((double)h.held));
    return live;
}

static void run(scn *s)
{
    double start = scn_live(), full, deleted, missed, stored, promoted;

    scn_detector_begin(NULL);
    policy = scn_policy(s);
    scn_row(s, "100,000 keys with values of 1 KiB, promoted");
    scn_on_thread(fill, NULL);
    full = after(s, promote, start);
    scn_go(s, "111,961,384");
    if (policy->leaks_as_go)
        scn_expect_bytes(s, "full, against Go's", full, 111961384, 5);
    else
        scn_expect(s, "full, from the values to Go's", full, (double)KEYS * VALUE,
                   111961384 * 1.05);
    scn_expect(s, "live keys", (double)seen.live, KEYS, KEYS);
    scn_expect_site(s, "fill");
    scn_expect_path(s, some_value, OAK_ROOT_GLOBAL, "map", NULL);

    scn_row(s, "all deleted");
    deleted = after(s, delete_all, start);
    scn_go(s, "7,961,392");
    scn_figure(s, "kept for each deleted key", deleted / KEYS, SCN_BYTES);
    scn_expect(s, "live keys", (double)seen.live, 0, 0);
    scn_expect(s, "entries held", (double)seen.held, policy->leaks_as_go ? KEYS : 0,
               policy->leaks_as_go ? KEYS : 0);
    if (policy->leaks_as_go)
        scn_expect(s, "kept for each deleted key", deleted / KEYS, 60, 100);
    else
        scn_expect_none(s, "kept", deleted);

    scn_row(s, "1,000 lookups of absent keys later");
    missed = after(s, look_for_absent, start);
    scn_go(s, "7,961,392");
    if (policy->leaks_as_go)
        scn_expect_bytes(s, "kept, as before", missed, deleted, 5);
    else
        scn_expect_none(s, "kept", missed);

    scn_row(s, "one new key stored");
    stored = after(s, store_one, start);
    scn_go(s, "11,582,352");
    if (policy->leaks_as_go)
        scn_expect_ratio(s, "of what was kept before", stored / missed, 1.45, 10);
    else
        scn_expect_none(s, "kept", stored);

    scn_row(s, "one lookup more, which promotes");
    promoted = after(s, miss_once, start);
    scn_go(s, "3,621,128");
    if (policy->leaks_as_go)
        scn_expect(s, "kept for each former key", promoted / KEYS, 30, 45);
    else
        scn_expect_none(s, "kept", promoted);

    map = (scn_syncmap){ NULL, NULL };
    scn_expect_none(s, "retained after the map is dropped", scn_live() - start);
    scn_expect_quiet(s);
}

const scn_scenario scn_syncmap_delayed_delete = {
    .id = "syncmap-delayed-delete",
    .class = 'M',
    .source = "A1 4.2",
    .leak = "a concurrent map keeps keys and entries of what was deleted",
    .maps = true,
    .run = run,
};
