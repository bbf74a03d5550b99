/* short-lived-churn-missed.c - objects that come and go leave no trace in what is in use.
 *
 * What leaks: nothing. It is said that a snapshot of what is in use misses a leak of short-lived
 *             objects.
 * Why not:    what is dropped is gone with the next collection; the snapshot is right. It is
 *             allocation pressure, which costs collections and is seen in what was allocated. Kept
 *             are the 2,000 objects of the last round that the program holds.
 * Seen by:    objects and bytes allocated against those in use, of the same site; total_alloc grows
 *             while heap_alloc stands still. */
#include "scenario.h"

#define ROUNDS 4
#define OBJECTS ((size_t)200000)
#define OBJECT_BYTES 64
#define KEEP_EVERY 100

static void **kept;

static __attribute__((noinline)) void *churn_object(void)
{
    return scn_must(oak_alloc_noscan(OBJECT_BYTES));
}

static void churn(void *arg)
{
    (void)arg;
    for (size_t i = 0; i < OBJECTS; i++) scn_keep(churn_object());
}

/* Not the same as the other, or the compiler makes one of both. */
static __attribute__((noinline)) void *kept_object(void)
{
    char *p = scn_must(oak_alloc_noscan(OBJECT_BYTES));

    *p = 1;
    return p;
}

static void churn_and_keep(void *arg)
{
    (void)arg;
    kept = scn_must(oak_alloc(OBJECTS / KEEP_EVERY * sizeof(*kept)));
    for (size_t i = 0; i < OBJECTS; i++) {
        void *p = kept_object();

        if (i % KEEP_EVERY == 0) kept[i / KEEP_EVERY] = p;
    }
}

/* What the profile at rate 1 has of a function that allocates so many objects. */
static void expect_site(scn *s, const char *function, double allocated, double in_use)
{
    scn_site at = scn_site_of(function);

    if (!at.named) return;
    scn_pointed_too(s, "profile: %s: alloc %s, %s B; inuse %s, %s B", function,
                    scn_thousands(at.alloc_objects), scn_thousands(at.alloc_bytes),
                    scn_thousands(at.inuse_objects), scn_thousands(at.inuse_bytes));
    scn_expect_ratio(s, "alloc_objects", at.alloc_objects, allocated, 0.1);
    scn_expect_ratio(s, "alloc_space", at.alloc_bytes, allocated * OBJECT_BYTES, 0.1);
    /* a stray word may keep a few */
    scn_expect(s, "inuse_objects", at.inuse_objects, in_use, in_use + 5);
    scn_expect(s, "inuse_space", at.inuse_bytes, in_use * OBJECT_BYTES,
               (in_use + 5) * OBJECT_BYTES);
}

static void dropped(scn *s)
{
    static oak_memstats before, after;
    double objects, bytes, in_use;
    double most = 0;

    scn_row(s, "4 rounds of 200,000 objects of 64 bytes, dropped");
    scn_live_stats(&before);
    for (int i = 0; i < ROUNDS; i++) {
        scn_on_thread(churn, NULL);
        scn_live_stats(&after);
        in_use = (double)after.heap_objects - (double)before.heap_objects;
        if (in_use > most) most = in_use;
    }
    objects = (double)(after.mallocs - before.mallocs);
    bytes = (double)(after.total_alloc - before.total_alloc);
    in_use = (double)after.heap_alloc - (double)before.heap_alloc;
    scn_retained(s, in_use, SCN_BYTES);
    scn_go(s, "0");
    scn_figure(s, "objects allocated (Go: 800,000)", objects, SCN_COUNT);
    scn_figure(s, "bytes allocated (Go: 51,200,000)", bytes, SCN_BYTES);
    scn_pointed(s, "not a leak: allocated %s objects, %s B; in use %s, %s B",
                scn_thousands(objects), scn_thousands(bytes), scn_thousands(most),
                scn_thousands(in_use));
    scn_expect_ratio(s, "objects allocated", objects, (double)ROUNDS * OBJECTS, 0.1);
    scn_expect_ratio(s, "bytes allocated", bytes, (double)ROUNDS * OBJECTS * OBJECT_BYTES, 0.1);
    scn_expect(s, "objects in use after any round", most, -64, 64);
    expect_site(s, "churn_object", (double)ROUNDS * OBJECTS, 0);
    scn_expect_none(s, "bytes in use", in_use);
}

SCN_FIND(find_kept, kept[77])

static void one_in_a_hundred(scn *s)
{
    static oak_memstats before, after;
    double objects, bytes;

    scn_row(s, "one round of which every 100th object is kept");
    scn_live_stats(&before);
    scn_on_thread(churn_and_keep, NULL);
    scn_live_stats(&after);
    objects = (double)after.heap_objects - (double)before.heap_objects;
    bytes = (double)after.heap_alloc - (double)before.heap_alloc - (double)oak_usable_size(kept);
    scn_retained(s, bytes, SCN_BYTES);
    scn_go(s, "128,000");
    scn_pointed(s, "memstats: %s objects in use, %s B", scn_thousands(objects),
                scn_thousands(bytes));
    scn_expect(s, "objects in use", objects - 1, 2000, 2000 + 5);
    scn_expect_ratio(s, "bytes in use", bytes, 128000, 1);
    expect_site(s, "kept_object", OBJECTS, (double)OBJECTS / KEEP_EVERY);
    scn_expect_site(s, "kept_object");
    scn_expect_path(s, find_kept, OAK_ROOT_GLOBAL, "kept", NULL);
    kept = NULL;
    scn_expect_none(s, "retained when dropped", scn_live() - (double)before.heap_alloc);
}

static void run(scn *s)
{
    scn_detector_begin(NULL);
    dropped(s);
    one_in_a_hundred(s);
    scn_expect_quiet(s);
}

const scn_scenario scn_short_lived_churn_missed = {
    .id = "short-lived-churn-missed",
    .class = 'N',
    .source = "A2 1",
    .leak = "what is allocated and dropped at once is pressure, not a leak",
    .maps = false,
    .profile_rate = 1,
    .run = run,
};
