/* interior-pointer-pins-array.c - a pointer to one key of a map that is gone.
 *
 * What leaks: the whole array in which the key is.
 * Why:        a pointer into an object keeps the object, and Go's array is one, of 40 MB for a
 *             million entries. The default map's entries lie in segments, each an object of its
 *             own.
 * Seen by:    the path to the array, which says that its last step points into the object, not to
 *             its start. */
#include "scenario.h"

#define KEYS ((int64_t)1000000)
#define SEGMENT ((double)(256 << 10)) /* the most that one may weigh */
#define ROUNDS 24
#define FEWER ((int64_t)100000) /* in each of the rounds */

static const scn_map_policy *policy;
static void *map;
static const void *one_key;

static void fill_and_point(void *arg)
{
    scn_iter it;

    (void)arg;
    map = policy->new (SCN_INT_INT, 0);
    for (int64_t k = 0; k < KEYS; k++) scn_put_int(policy, map, k, k);
    policy->iter_init(&it, map);
    policy->iter_next(&it);
    policy->iter_next(&it); /* so that it is not the first of the array, which few are */
    one_key = it.key;
}

SCN_FIND(find_one_key, one_key)

/* ---- again and again ---- */

static const void *of_round[ROUNDS];
static unsigned rounds;
static bool copies;

/* A map that is made, read, and gone again, but for one key. */
static __attribute__((noinline)) void one_round(void *arg)
{
    void *m = policy->new (SCN_INT_INT, 0);
    scn_iter it;

    (void)arg;
    for (int64_t k = 0; k < FEWER; k++) scn_put_int(policy, m, k, k);
    policy->iter_init(&it, m);
    policy->iter_next(&it);
    policy->iter_next(&it);
    if (copies) {
        int64_t *copy = scn_must(oak_alloc_noscan(sizeof(*copy)));

        *copy = *(const int64_t *)it.key;
        of_round[rounds++] = copy;
    } else
        of_round[rounds++] = it.key;
}

static void rounds_row(scn *s, bool repaired)
{
    double start = scn_live(), objects = 0;

    scn_row(s, repaired ? "repaired: the key is copied"
                        : "one key of each of 24 maps of 100,000, one after another");
    copies = repaired;
    scn_detector_begin(NULL);
    for (rounds = 0; rounds < ROUNDS; scn_live()) scn_on_thread(one_round, NULL);
    for (unsigned i = 0; i < ROUNDS; i++) objects += (double)oak_usable_size(of_round[i]);
    scn_retained(s, scn_live() - start, SCN_BYTES);
    scn_expect_bytes(s, "retained, of the objects pointed into", scn_live() - start, objects, 5);
    if (repaired) {
        scn_expect_none(s, "retained", scn_live() - start);
        scn_expect_quiet(s);
    } else {
        scn_expect_found(s, OAK_FINDING_SITE_GROWTH, "one_round");
        scn_expect_found(s, OAK_FINDING_HEAP_GROWTH, NULL);
    }
    for (unsigned i = 0; i < ROUNDS; i++) of_round[i] = NULL;
    scn_expect_none(s, "retained after the pointers are dropped", scn_live() - start);
}

static void run(scn *s)
{
    double start = scn_live(), full, held;

    scn_detector_begin(NULL);
    policy = scn_policy(s);
    scn_row(s, "a pointer to one key of 1,000,000, the map dropped");
    scn_on_thread(fill_and_point, NULL);
    full = scn_live() - start;
    map = NULL;
    held = scn_live() - start;
    scn_retained(s, held, SCN_BYTES);
    scn_go(s, "40,100,000");
    scn_figure(s, "with the map", full, SCN_BYTES);
    scn_pointed(s, "the pointer is %s B into an object of %s B",
                scn_thousands((double)((const char *)one_key - (const char *)oak_base(one_key))),
                scn_thousands((double)oak_usable_size(one_key)));
    if (policy->leaks_as_go)
        scn_expect_bytes(s, "held, against Go's", held, 40100000, 5);
    else
        scn_expect(s, "held, at most a segment", held, 0, SEGMENT);
    scn_expect_site(s, "fill_and_point");
    scn_expect(s, "the path says how far inside",
               (double)scn_expect_path(s, find_one_key, OAK_ROOT_GLOBAL, "one_key", NULL),
               (double)((const char *)one_key - (const char *)oak_base(one_key)),
               (double)((const char *)one_key - (const char *)oak_base(one_key)));
    one_key = NULL;
    scn_expect_none(s, "retained after the pointer is dropped", scn_live() - start);
    scn_expect_quiet(s);
    rounds_row(s, false);
    rounds_row(s, true);
}

const scn_scenario scn_interior_pointer_pins_array = {
    .id = "interior-pointer-pins-array",
    .class = 'G',
    .source = "no article",
    .leak = "a pointer to one key keeps all that is one object with it",
    .maps = true,
    .run = run,
};
