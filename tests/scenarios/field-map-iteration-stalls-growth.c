/* field-map-iteration-stalls-growth.c - does a range that is stuck hold up a map's growth?
 *
 * What leaks: nothing that stuck-iterator doesn't show: the array on which the range began.
 * Why not:    growth is done by writes, each of which moves old buckets, whoever iterates. It is
 *             said that iteration stops that; it neither helps nor hinders, and the range meets
 *             every key once, however far the growth has come.
 * Seen by:    the progress of the growth in the map's statistics: old buckets moved, of all. */
#include "scenario.h"

#define OLD_BUCKETS 4096
#define STEPS_WITHOUT_WRITE 100
#define STRIDE 16
#define MOMENTS 16 /* of a growth, at which it is looked at */

typedef struct holder {
    void *map; /* in a field, as the article has it */
    int64_t more;
} holder;

static const scn_map_policy *policy;
static holder *global;
static int64_t keys; /* at the limit; the growth begins with key number `keys` */
static scn_iter iterator;
static scn_gate gate = SCN_GATE;

static void fill(void *arg)
{
    (void)arg;
    global = scn_must(oak_alloc(sizeof(*global)));
    global->map = scn_new_limited(policy, SCN_INT_INT);
    keys = policy->limit(12);
    for (int64_t k = 0; k < keys; k++) scn_put_int(policy, global->map, k, k);
}

static void begin_growth(void)
{
    scn_map_stats st;

    scn_put_int(policy, global->map, keys, keys);
    policy->stats(global->map, &st);
    if (!st.growing) scn_die("%zu entries, and no growth", st.count);
}

/* A write that moves a growth on and leaves the keys as they are. */
static void write_once(int64_t i)
{
    int64_t key = i % 1000, extra = -1;

    if (policy->overwrites_move) {
        scn_put_int(policy, global->map, key, key);
        return;
    }
    if (i % 2 == 0)
        scn_put_int(policy, global->map, extra, 0);
    else
        policy->delete (global->map, &extra);
}

static bool growing(void)
{
    scn_map_stats st;

    policy->stats(global->map, &st);
    return st.growing;
}

/* ---- a range that is stuck ---- */

static __attribute__((noinline)) scn_iter *begin_range(void)
{
    scn_iter *it = scn_must(oak_alloc(sizeof(*it)));

    policy->iter_init(it, global->map);
    policy->iter_next(it);
    return it;
}

static void *stick_in_range(void *arg)
{
    scn_iter *it = begin_range();

    (void)arg;
    scn_gate_wait(&gate);
    scn_keep(it);
    return NULL;
}

static void grow_to_the_end(void *writes)
{
    int64_t n = 0;

    begin_growth();
    do {
        for (int i = 0; i < STRIDE; i++) write_once(n++);
    } while (n < 2 * OLD_BUCKETS && growing());
    *(int64_t *)writes = n;
}

SCN_FIND(find_global, global->map)

static void growth_row(scn *s, bool stuck)
{
    double start = scn_live();
    int64_t writes = 0;
    pthread_t thread = 0;
    scn_map_stats st;

    scn_row(s, stuck ? "growth beside a stuck range: writes until it is done"
                     : "growth without a range: writes until it is done");
    scn_on_thread(fill, NULL);
    if (stuck) {
        thread = scn_thread_start(stick_in_range, NULL, 0);
        scn_gate_await(&gate, 1);
    }
    scn_on_thread(grow_to_the_end, &writes);
    scn_stats(policy, &global->map, &st);
    scn_retained(s, (double)writes, SCN_COUNT);
    scn_go(s, stuck ? "3,305 to 3,333" : "3,328");
    scn_pointed(s, "not a leak: map: %s, old array %s B", st.growing ? "growing" : "not growing",
                scn_thousands((double)st.old_array_bytes));
    scn_expect_true(s, "the growth is done", !st.growing);
    scn_expect(s, "writes", (double)writes, 1, OLD_BUCKETS);
    scn_expect(s, "old array", (double)st.old_array_bytes, 0, 0);
    if (stuck) scn_expect_path(s, find_global, OAK_ROOT_GLOBAL, "global", NULL);
    if (stuck) {
        scn_gate_open(&gate);
        pthread_join(thread, NULL);
        scn_gate_close(&gate);
    }
    global = NULL;
    scn_expect_none(s, "retained after the map is dropped", scn_live() - start);
}

/* ---- a range in mid-growth ---- */

static struct steps {
    double moved_before, moved_after; /* by steps without a write */
    int64_t done_after;               /* writes until the growth was done */
    int64_t visited, twice;
    unsigned char *seen;
} steps;

static void visit(void)
{
    int64_t key = *(const int64_t *)iterator.key;

    if (key < 0) return;
    steps.visited++;
    steps.twice += steps.seen[key];
    steps.seen[key] = 1;
}

static void begin_and_step(void *arg)
{
    scn_map_stats st;

    (void)arg;
    begin_growth();
    policy->stats(global->map, &st);
    steps.moved_before = (double)st.evacuated;
    steps.seen = scn_must(oak_alloc_noscan((size_t)keys + 1));
    policy->iter_init(&iterator, global->map);
    for (int i = 0; i < STEPS_WITHOUT_WRITE && policy->iter_next(&iterator); i++) visit();
    policy->stats(global->map, &st);
    steps.moved_after = (double)st.evacuated;
}

static void step_and_write(void *arg)
{
    int64_t n = 0;

    (void)arg;
    while (policy->iter_next(&iterator)) {
        visit();
        write_once(n++);
        if (n % STRIDE == 0 && steps.done_after == 0 && !growing()) steps.done_after = n;
    }
    iterator = (scn_iter){ 0 };
}

/* What is live at any moment of a growth, of what is when it is done: the default map's promise. */
static void write_part(void *part)
{
    scn_map_stats st;
    static int64_t n;

    do {
        for (int i = 0; i < STRIDE; i++) write_once(n++);
        policy->stats(global->map, &st);
    } while (st.growing && (double)st.evacuated < *(double *)part * (double)st.old_buckets);
}

static void begin(void *arg)
{
    (void)arg;
    begin_growth();
}

/* Without a look of the detector: moments follow each other too fast to be a leak. */
static double live_unseen(void)
{
    static oak_memstats st;

    scn_clear_stack();
    oak_collect();
    oak_collect();
    oak_memstats_read(&st);
    return (double)st.heap_alloc;
}

static void write_rest(void *arg)
{
    (void)arg;
    for (int64_t n = 0; growing(); n++) write_once(n);
}

static void held_row(scn *s)
{
    double start = scn_live(), half = 0, done, most = 0;

    scn_row(s, "half-way through the growth: live, of that at its end");
    scn_on_thread(fill, NULL);
    scn_on_thread(begin, NULL);
    for (int i = 0; i < MOMENTS; i++) {
        double part = (double)i / MOMENTS, live;

        if (i > 0) scn_on_thread(write_part, &part);
        live = live_unseen() - start;
        if (live > most) most = live;
        if (i == MOMENTS / 2) half = live;
    }
    scn_on_thread(write_rest, NULL);
    done = scn_live() - start;
    scn_figure(s, "the most at 16 moments, of the end", most / done, SCN_RATIO);
    scn_retained(s, half / done, SCN_RATIO);
    scn_go(s, "1.58 x");
    scn_pointed(s, "live %s B half-way, %s B at the end", scn_thousands(half), scn_thousands(done));
    if (policy->leaks_as_go)
        scn_expect(s, "half-way, of the end", half / done, 1.1, 1.7);
    else
        scn_expect(s, "at any of 16 moments, of the end", most / done, 0, 1.1);
    global = NULL;
}

static void range_row(scn *s)
{
    double start = scn_live();

    scn_row(s, "100 range steps in mid-growth: old buckets moved by them");
    steps = (struct steps){ 0 };
    scn_on_thread(fill, NULL);
    scn_on_thread(begin_and_step, NULL);
    scn_retained(s, steps.moved_after - steps.moved_before, SCN_COUNT);
    scn_go(s, "0");
    scn_pointed(s, "not a leak: moved %.0f before the steps, %.0f after", steps.moved_before,
                steps.moved_after);
    scn_expect(s, "moved by the steps", steps.moved_after - steps.moved_before, 0, 0);

    scn_row(s, "then a write a step: steps until the growth is done");
    scn_on_thread(step_and_write, NULL);
    scn_retained(s, (double)steps.done_after, SCN_COUNT);
    scn_go(s, "3,178 to 4,000");
    scn_pointed(s, "not a leak: the range met %s of %s keys, %lld twice",
                scn_thousands((double)steps.visited), scn_thousands((double)keys + 1),
                (long long)steps.twice);
    scn_expect(s, "steps", (double)steps.done_after, 1, OLD_BUCKETS);
    scn_expect(s, "keys met", (double)steps.visited, (double)keys + 1, (double)keys + 1);
    scn_expect(s, "keys met twice", (double)steps.twice, 0, 0);
    global = NULL;
    steps.seen = NULL;
    scn_expect_none(s, "retained after the map is dropped", scn_live() - start);
}

static void run(scn *s)
{
    scn_detector_begin(NULL);
    policy = scn_policy(s);
    growth_row(s, false);
    growth_row(s, true);
    range_row(s);
    held_row(s);
    scn_expect_quiet(s);
}

const scn_scenario scn_field_map_iteration_stalls_growth = {
    .id = "field-map-iteration-stalls-growth",
    .class = 'N',
    .source = "A4 4.2",
    .leak = "a range that is stuck doesn't hold up a growth",
    .maps = true,
    .run = run,
};
