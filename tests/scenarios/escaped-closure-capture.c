/* escaped-closure-capture.c - a closure on another thread captures a map that grows.
 *
 * What leaks: nothing but the map itself, for as long as the closure refers to it.
 * Why:        it is said that a captured map keeps its old buckets after it has grown. It doesn't;
 *             what is held is the map alone, until the captured variable is cleared, or the thread
 *             that was given the map lets go of it, at its end at the latest.
 * Seen by:    the path to the map, from the thread's stack through the closure. */
#include "scenario.h"

#define KEYS ((int64_t)1000000)
#define LIVE_BY_GO 40149864.0

static const scn_map_policy *policy;

/* ---- by reference: the closure's variable is the program's ---- */

typedef struct closure {
    void *map;
} closure;

static closure *captured;
static scn_gate gate = SCN_GATE;

static void make_closure(void *arg)
{
    (void)arg;
    captured = scn_must(oak_alloc(sizeof(*captured)));
    captured->map = policy->new (SCN_INT_INT, 0);
}

static void *hold_closure(void *arg)
{
    closure *c = arg;

    scn_gate_wait(&gate);
    scn_keep(c);
    return NULL;
}

static __attribute__((noinline)) void grow(void *arg)
{
    void *map = *(void **)arg;

    for (int64_t k = 0; k < KEYS; k++) scn_put_int(policy, map, k, k);
}

static void expect_map(scn *s, const char *name, double live)
{
    if (policy->leaks_as_go)
        scn_expect_bytes(s, name, live, LIVE_BY_GO, 5);
    else
        scn_expect(s, name, live, 16.0 * KEYS, LIVE_BY_GO);
}

static void read_stats(void *st)
{
    policy->stats(captured->map, st);
}

SCN_FIND(find_captured, captured->map)

static void by_reference(scn *s)
{
    double start = scn_live(), live, cleared;
    scn_map_stats st;
    pthread_t thread;

    scn_row(s, "map captured by a closure, grown to 1,000,000");
    scn_on_thread(make_closure, NULL);
    thread = scn_thread_start(hold_closure, captured, 0);
    scn_gate_await(&gate, 1);
    scn_on_thread(grow, &captured->map);
    live = scn_live() - start;
    scn_on_thread(read_stats, &st);
    scn_retained(s, live, SCN_BYTES);
    scn_go(s, "40,149,864");
    scn_pointed(s, "not a leak: map: array %s B, old array %s B",
                scn_thousands((double)st.array_bytes), scn_thousands((double)st.old_array_bytes));
    expect_map(s, "retained, against Go's", live);
    scn_expect(s, "old array", (double)st.old_array_bytes, 0, 0);
    scn_expect_site(s, "grow");
    scn_expect_path(s, find_captured, OAK_ROOT_GLOBAL, "captured", NULL);

    scn_row(s, "the captured variable cleared, the thread still there");
    captured->map = NULL;
    cleared = scn_live() - start;
    scn_retained(s, cleared, SCN_BYTES);
    scn_go(s, "2,888");
    scn_pointed(s, "memstats: heap_alloc falls by %s B", scn_thousands(live - cleared));
    scn_expect_none(s, "retained", cleared);
    scn_gate_open(&gate);
    pthread_join(thread, NULL);
    scn_gate_close(&gate);
    captured = NULL;
}

/* ---- by value: the thread's own ---- */

static void *handed_over; /* from the maker to the thread */
static oak_weak *passed;

SCN_FIND(find_passed, oak_weak_get(passed))

static void make_map(void *arg)
{
    void *map = policy->new (SCN_INT_INT, 0);

    (void)arg;
    grow(&map);
    handed_over = map;
    passed = scn_must(oak_weak_new(map));
}

static __attribute__((noinline)) void take_over(void **map)
{
    *map = handed_over;
    handed_over = NULL;
}

static size_t length_later;

static void *use_later(void *arg)
{
    struct {
        void *map;
    } frame; /* in memory, so that the map is in this function's frame */

    (void)arg;
    take_over(&frame.map);
    scn_gate_wait(&gate);
    scn_keep(&frame);
    length_later = policy->len(frame.map);
    return NULL;
}

static void by_value(scn *s)
{
    double start = scn_live(), held, gone;
    pthread_t thread;

    scn_row(s, "passed by value to a blocked thread that uses it later");
    scn_on_thread(make_map, NULL);
    thread = scn_thread_start(use_later, NULL, 0);
    scn_gate_await(&gate, 1);
    held = scn_live() - start;
    scn_retained(s, held, SCN_BYTES);
    scn_go(s, "40,150,000");
    expect_map(s, "held, against Go's", held);
    scn_pointed(s, "memstats: a thread more; it alone holds %s B", scn_thousands(held));
    scn_expect_path(s, find_passed, OAK_ROOT_STACK, "use_later", NULL);

    scn_row(s, "the thread has used it, and ended");
    scn_gate_open(&gate);
    pthread_join(thread, NULL);
    scn_gate_close(&gate);
    gone = scn_live() - start;
    scn_retained(s, gone, SCN_BYTES);
    scn_go(s, "4,160");
    scn_pointed(s, "the thread found %s entries", scn_thousands((double)length_later));
    scn_expect_none(s, "retained", gone);
    scn_expect(s, "entries that it found", (double)length_later, KEYS, KEYS);
}

static void run(scn *s)
{
    scn_detector_begin(NULL);
    policy = scn_policy(s);
    by_reference(s);
    by_value(s);
    scn_expect_quiet(s);
}

const scn_scenario scn_escaped_closure_capture = {
    .id = "escaped-closure-capture",
    .class = 'N',
    .source = "A4 3.3",
    .leak = "a closure on another thread holds the map it captured, and no old array",
    .maps = true,
    .run = run,
};
