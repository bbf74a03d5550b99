/* heap-profile-of-a-map.c - where in a heap profile a map's memory is.
 *
 * What leaks: nothing; it is said that a profile shows a map's arrays under names of the runtime:
 *             runtime.bmap, runtime.mapbucket, mapassign.
 * Why not:    a profile names what called into the runtime, as no program can change what is in it.
 *             The first of those names is a type, the second doesn't exist, and the third is in
 *             profiles of time. So it is here: the site is the function that inserts.
 * Seen by:    the profile itself. */
#include "scenario.h"

#include <string.h>

#define KEYS ((int64_t)1000000)

static const scn_map_policy *policy;
static void *map;

static __attribute__((noinline)) void insert_entries(void *m)
{
    for (int64_t k = 0; k < KEYS; k++) scn_put_int(policy, m, k, k);
}

static void fill(void *arg)
{
    (void)arg;
    map = policy->new (SCN_INT_INT, 0);
    insert_entries(map);
}

static struct found {
    int64_t total, ours; /* bytes, and those with insert_entries among the frames */
    size_t inside;       /* frames of the library */
    bool named;          /* frames have names */
} found;

/* The library's functions begin with "oak"; a program that is linked with it statically has them
 * too. */
static bool look_at_site(const oak_profile_site *site, void *ctx)
{
    struct found *f = ctx;
    bool ours = false;

    for (size_t i = 0; i < site->nframes; i++) {
        const char *name = site->frames[i].function;

        if (name == NULL) continue;
        f->named = true;
        f->inside += strncmp(name, "oak_classic_", 12) == 0 || strncmp(name, "oak_map_", 8) == 0;
        ours = ours || strncmp(name, "insert_entries", 14) == 0;
    }
    f->total += site->inuse_bytes;
    if (ours) f->ours += site->inuse_bytes;
    return true;
}

static void look_at_profile(void *arg)
{
    (void)arg;
    if (oak_profile_each(NULL, OAK_PROFILE_INUSE_BYTES, look_at_site, &found) != 0)
        scn_die("no memory for the profile");
}

SCN_FIND(find_map, map)

static void run(scn *s)
{
    double start = scn_live(), full, percent;

    scn_detector_begin(NULL);
    policy = scn_policy(s);
    scn_row(s, "map of 1,000,000: in use by the function that inserts");
    scn_on_thread(fill, NULL);
    full = scn_live() - start;
    scn_on_thread(look_at_profile, NULL);
    percent = (double)found.ours / (double)found.total * 100;
    scn_retained(s, percent, SCN_PERCENT);
    scn_go(s, "99.94 %");
    scn_figure(s, "live", full, SCN_BYTES);
    scn_figure(s, "in use by the profile", (double)found.total, SCN_BYTES);
    scn_expect_ratio(s, "in use by the profile, of what is live", (double)found.total / full, 1, 5);
    scn_expect(s, "frames of the map's own", (double)found.inside, 0, 0);
    if (found.named) scn_expect(s, "of the inserting function, percent", percent, 99, 100);
    scn_expect_site(s, "insert_entries");
    scn_expect_path(s, find_map, OAK_ROOT_GLOBAL, "map", NULL);
    map = NULL;
    scn_expect_none(s, "retained after the map is dropped", scn_live() - start);
    scn_expect_quiet(s);
}

const scn_scenario scn_heap_profile_of_a_map = {
    .id = "heap-profile-of-a-map",
    .class = 'N',
    .source = "A3 intro, 4.1; A4",
    .leak = "a profile shows a map's memory at the function that inserts",
    .maps = true,
    .run = run,
};
