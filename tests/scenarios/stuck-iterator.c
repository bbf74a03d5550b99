/* stuck-iterator.c - an iterator that is not finished holds the array on which it began.
 *
 * What leaks: the bucket array, with its overflow buckets, that was current when an iterator
 *             began, though the map has grown since.
 * Why:        Go's iterator walks that array by pointers of its own; the map itself has let go of
 *             it (its old array is nil in every row). With values that are pointers, what was
 *             deleted from the map lives on in the array as well. The default map's iterator is
 *             a position in hash order: it holds no array, whatever the map does meanwhile.
 * Seen by:    the iterator stands in an array of another size than the map's.
 *
 * Figures are the live heap with the iterators minus that after they were dropped. */
#include "scenario.h"

#include <pthread.h>
#include <string.h>

#define ARRAY_16 10027008.0 /* A(16) */
#define SAME_SIZE_ITERATORS 14
#define WINDOW ((int64_t)23961) /* live keys of the sliding window: 90 % of the limit at B = 12 */
#define SLIDES ((int64_t)50000) /* of the window, an iterator, where there is no such growth */
#define VALUES ((int64_t)1665)  /* one more than Go's limit at B = 8 */
#define VALUE_BYTES 4096

static const scn_map_policy *policy;
static scn_kind kind;
static void *map;
static void *shared_value; /* what all pointers in an int->pointer map point to */
static scn_iter iterators[16];
static unsigned iterator_count;
static double live_map; /* int->int after the growth, without an iterator */

/* ---- steps, each run on a thread of its own ---- */

static void put(int64_t key)
{
    if (kind == SCN_INT_PTR)
        *(void **)policy->put(map, &key) = shared_value;
    else
        scn_put_int(policy, map, key, key);
}

static void fill_to(int64_t limit)
{
    if (map == NULL) map = scn_new_limited(policy, kind);
    if (shared_value == NULL) shared_value = scn_must(oak_alloc_noscan(16));
    for (int64_t k = (int64_t)policy->len(map); k < limit; k++) put(k);
}

static void fill_16(void *arg)
{
    (void)arg;
    fill_to(policy->limit(16));
}

/* Overwrite keys until the growth is done, or `part` of it. */
static void grow(double part)
{
    int64_t count = (int64_t)policy->len(map), limit = 8 * count;
    scn_map_stats st;

    for (int64_t k = 0; k < limit; k++) {
        scn_before_overwrite(policy, map, k % count);
        put(k % count);
        if (k % 512 != 0) continue;
        policy->stats(map, &st);
        if (!st.growing || (double)st.evacuated >= part * (double)st.old_buckets) return;
    }
    scn_die("the map is still growing after %lld writes", (long long)limit);
}

static void begin_growth(void *arg)
{
    scn_map_stats st;

    (void)arg;
    put((int64_t)policy->len(map));
    policy->stats(map, &st);
    if (!st.growing) scn_die("%zu entries, and no growth", st.count);
}

static void grow_half(void *arg)
{
    (void)arg;
    grow(0.5);
}

static void grow_all(void *arg)
{
    (void)arg;
    grow(2); /* more than there is: until it doesn't grow */
}

/* A new iterator that stands on its first entry; in the array asked for, if the policy has two. */
static void begin_iterator(void *arg)
{
    const scn_place *place = arg;
    scn_iter *it = &iterators[iterator_count++];

    for (int i = 0; i < 1000; i++) {
        policy->iter_init(it, map);
        if (!policy->iter_next(it)) scn_die("the iterator is at its end at once");
        if (place == NULL || policy->iter_place(it) == *place) return;
    }
}

static void drop_iterators(void)
{
    memset(iterators, 0, sizeof(iterators));
    iterator_count = 0;
}

/* ---- a row with iterators that began at some moment ---- */

typedef struct moment {
    const char *what, *go;
    scn_kind kind;
    bool mid_growth; /* begin after the growth has, else before it */
    double part;     /* of the growth done when the iterator begins */
    scn_place place;
    double want; /* pinned, by Go's figure */
} moment;

static const moment moments[] = {
    { "int->int, begun before growth", "11,522,088", SCN_INT_INT, false, 0, SCN_PLACE_NEW,
      ARRAY_16 * 1.15 },
    { "int->int, begun mid-growth, in an old bucket", "11,559,816", SCN_INT_INT, true, 0,
      SCN_PLACE_OLD, 11559816 },
    { "int->int, begun half-way, in a new bucket", "11,540,232", SCN_INT_INT, true, 0.5,
      SCN_PLACE_NEW, 11540232 },
    { "int->pointer, begun before growth", "11,401,632", SCN_INT_PTR, false, 0, SCN_PLACE_NEW,
      11401632 },
    { "int->pointer, begun mid-growth, in an old bucket", "11,401,632", SCN_INT_PTR, true, 0,
      SCN_PLACE_OLD, 11401632 },
    { "int->pointer, begun half-way, in a new bucket", "0", SCN_INT_PTR, true, 0.5, SCN_PLACE_NEW,
      0 },
};

static void expect_pinned(scn *s, double pinned, double want)
{
    scn_retained(s, pinned, SCN_BYTES);
    if (!policy->leaks_as_go)
        scn_expect(s, "pinned", pinned, -SCN_NOISE, ARRAY_16 * 0.05);
    else if (want == 0)
        scn_expect_none(s, "pinned", pinned);
    else
        scn_expect_bytes(s, "pinned, against Go's", pinned, want, 5);
}

static void read_iterator_array(void *bytes)
{
    *(size_t *)bytes = policy->iter_array(&iterators[0]);
}

static void point_at_iterator(scn *s)
{
    size_t bytes = 0;
    scn_map_stats st;

    scn_on_thread(read_iterator_array, &bytes);
    scn_stats(policy, &map, &st);
    if (bytes != 0)
        scn_pointed(s, "iterator: stands in an array of %s B; map: %s B, old array %s B",
                    scn_thousands((double)bytes), scn_thousands((double)st.array_bytes),
                    scn_thousands((double)st.old_array_bytes));
    else
        scn_pointed(s, "iterator: a position, in no array; map: %s B, old array %s B",
                    scn_thousands((double)st.array_bytes),
                    scn_thousands((double)st.old_array_bytes));
}

/* Live bytes now, and after the iterators have gone: what they pin. Then the map goes too. */
static double pinned_and_drop(scn *s, double start)
{
    double with = scn_live(), without;

    drop_iterators();
    without = scn_live();
    scn_figure(s, "the map alone", without - start, SCN_BYTES);
    map = NULL;
    shared_value = NULL;
    scn_expect_none(s, "retained after iterator and map are dropped", scn_live() - start);
    return with - without;
}

SCN_FIND(find_pinned_array, iterators[0].u.classic.buckets)

static void moment_row(scn *s, const moment *m)
{
    scn_place place = m->place;
    double start = scn_live();

    scn_row(s, "%s", m->what);
    scn_go(s, m->go);
    kind = m->kind;
    scn_on_thread(fill_16, NULL);
    if (m->mid_growth) {
        scn_on_thread(begin_growth, NULL);
        if (m->part != 0) scn_on_thread(grow_half, NULL);
        scn_on_thread(begin_iterator, &place);
    } else {
        scn_on_thread(begin_iterator, NULL);
        scn_on_thread(begin_growth, NULL);
    }
    scn_on_thread(grow_all, NULL);
    point_at_iterator(s);
    if (policy->leaks_as_go && m->place == SCN_PLACE_NEW && !m->mid_growth)
        scn_expect_path(s, find_pinned_array, OAK_ROOT_GLOBAL, "iterators", NULL);
    if (policy->leaks_as_go) scn_expect_site(s, "put");
    expect_pinned(s, pinned_and_drop(s, start), m->want);
}

/* ---- iterators that are gone before the growth ---- */

static void finish_range(void *arg)
{
    scn_iter it;

    (void)arg;
    policy->iter_init(&it, map);
    while (policy->iter_next(&it)) continue;
}

static void break_out_of_range(void *arg)
{
    scn_iter it;

    (void)arg;
    policy->iter_init(&it, map);
    for (int i = 0; i < 1000 && policy->iter_next(&it); i++) continue;
}

/* The live heap after a growth, with `range` run before it. */
static double live_after_growth(void (*range)(void *), double start)
{
    kind = SCN_INT_INT;
    scn_on_thread(fill_16, NULL);
    if (range != NULL) scn_on_thread(range, NULL);
    scn_on_thread(begin_growth, NULL);
    scn_on_thread(grow_all, NULL);
    return scn_live() - start;
}

static void gone_row(scn *s, const char *what, void (*range)(void *))
{
    double start = scn_live(), live;
    scn_map_stats st;

    scn_row(s, "%s", what);
    scn_go(s, "0");
    live = live_after_growth(range, start);
    if (range == NULL) live_map = live;
    scn_stats(policy, &map, &st);
    scn_retained(s, live - live_map, SCN_BYTES);
    scn_figure(s, "the map alone", live, SCN_BYTES);
    scn_pointed(s, "not a leak: map: array %s B, old array %s B",
                scn_thousands((double)st.array_bytes), scn_thousands((double)st.old_array_bytes));
    if (policy->leaks_as_go) scn_expect_bytes(s, "the map, against Go's", live, 20061000, 5);
    scn_expect_none(s, "more than without an iterator", live - live_map);
    map = NULL;
    shared_value = NULL;
    scn_expect_none(s, "retained after the map is dropped", scn_live() - start);
}

/* ---- a thread that is blocked inside a range ---- */

static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
static size_t inside;
static oak_weak *blocked_array;

SCN_FIND(find_blocked_array, oak_weak_get(blocked_array))

static void *pass_gate(void *arg)
{
    (void)arg;
    pthread_mutex_lock(&gate);
    pthread_mutex_unlock(&gate);
    return NULL;
}

static __attribute__((noinline)) void begin_blocked(scn_iter **place)
{
    scn_iter *it = scn_must(oak_alloc(sizeof(*it)));

    policy->iter_init(it, map);
    policy->iter_next(it);
    if (policy->leaks_as_go) blocked_array = scn_must(oak_weak_new(it->u.classic.buckets));
    *place = it;
}

/* The iterator is in the heap, held by this frame: on a stack, its word for the array's start would
 * also hold what lies before the array, as that word may point one past the end of it. */
static void *block_in_range(void *arg)
{
    struct {
        scn_iter *iterator;
    } frame;

    (void)arg;
    begin_blocked(&frame.iterator);
    scn_count_up(&inside);
    oak_blocking_call(pass_gate, NULL);
    scn_keep(&frame);
    return NULL;
}

static void blocked_row(scn *s)
{
    double start = scn_live(), with, without;
    pthread_t thread;
    static oak_memstats st;

    scn_row(s, "int->int, thread blocked inside a range");
    scn_go(s, "11,544,792");
    kind = SCN_INT_INT;
    scn_on_thread(fill_16, NULL);
    pthread_mutex_lock(&gate);
    if (oak_thread_create(&thread, NULL, block_in_range, NULL) != 0) scn_die("no thread");
    while (scn_count(&inside) == 0) sched_yield();
    scn_on_thread(begin_growth, NULL);
    scn_on_thread(grow_all, NULL);
    scn_live_stats(&st);
    with = (double)st.heap_alloc;
    scn_pointed(s, "memstats: %s threads, one of them in the range",
                scn_thousands((double)st.threads));
    if (policy->leaks_as_go)
        scn_expect_path(s, find_blocked_array, OAK_ROOT_STACK, "block_in_range", NULL);
    pthread_mutex_unlock(&gate);
    pthread_join(thread, NULL);
    without = scn_live();
    expect_pinned(s, with - without, 11544792);
    map = NULL;
    shared_value = NULL;
    scn_expect_none(s, "retained after iterator and map are dropped", scn_live() - start);
}

/* ---- many iterators ---- */

static void iterator_per_doubling(void *arg)
{
    (void)arg;
    for (int B = 8; B <= 16; B++) {
        fill_to(policy->limit((unsigned)B));
        begin_iterator(NULL);
    }
    begin_growth(NULL);
    grow(2);
}

static void doublings_row(scn *s)
{
    double start = scn_live();

    scn_row(s, "int->int, 9 iterators, one per doubling B = 8 to 16");
    scn_go(s, "23,017,224");
    kind = SCN_INT_INT;
    scn_on_thread(iterator_per_doubling, NULL);
    point_at_iterator(s);
    expect_pinned(s, pinned_and_drop(s, start), 23017224);
}

static int64_t slide(int64_t next, int64_t by)
{
    for (int64_t end = next + by; next < end; next++) {
        int64_t oldest = next - WINDOW;

        put(next);
        policy->delete (map, &oldest);
    }
    return next;
}

static int64_t next_key;

static void fill_window(void *arg)
{
    (void)arg;
    fill_to(WINDOW);
    next_key = WINDOW;
}

/* A map that has no same-size growths slides on as far as Go's does between two of them. */
static void iterator_and_slide(void *arg)
{
    begin_iterator(arg);
    next_key = slide(next_key, SLIDES);
}

/* Insert one, delete the oldest, until a growth begun after the iterator is done. */
static void iterator_and_same_size_growth(void *arg)
{
    scn_map_stats st;
    uint64_t before;

    policy->stats(map, &st);
    before = st.same_size_growths;
    begin_iterator(arg);
    do {
        next_key = slide(next_key, 256);
        policy->stats(map, &st);
        if (next_key > (int64_t)40000000)
            scn_die("only %u same-size growths in 40 million rounds", iterator_count);
    } while (st.growing || st.same_size_growths == before);
}

/* Iterators that nobody finishes, one after another: that is a leak that grows. */
static void same_size_row(scn *s)
{
    double start = scn_live();
    scn_map_stats st;

    scn_row(s, "int->int, 14 iterators, one per same-size growth, B = 12");
    scn_go(s, "15.87 to 17.09 MB");
    kind = SCN_INT_INT;
    scn_on_thread(fill_window, NULL);
    scn_detector_begin(NULL);
    while (iterator_count < SAME_SIZE_ITERATORS) {
        scn_on_thread(policy->leaks_as_go ? iterator_and_same_size_growth : iterator_and_slide,
                      NULL);
        scn_live();
    }
    scn_stats(policy, &map, &st);
    scn_pointed(s, "map: %s same-size growths, array %s B; %u iterators in %s",
                scn_thousands((double)st.same_size_growths), scn_thousands((double)st.array_bytes),
                iterator_count, policy->leaks_as_go ? "others" : "none");
    if (policy->leaks_as_go) {
        scn_expect_found(s, OAK_FINDING_HEAP_GROWTH, NULL);
        scn_expect_found(s, OAK_FINDING_SITE_GROWTH, "put (stuck-iterator.c");
    } else {
        scn_expect_quiet(s);
    }
    expect_pinned(s, pinned_and_drop(s, start), 1220800.0 * SAME_SIZE_ITERATORS);
}

/* ---- values that were deleted ---- */

static void fill_with_values(void *arg)
{
    (void)arg;
    map = policy->new (SCN_INT_PTR, 0);
    for (int64_t k = 0; k < VALUES; k++) {
        if (k == policy->limit(8)) begin_iterator(NULL); /* the next insert doubles */
        *(void **)policy->put(map, &k) = scn_must(oak_alloc_noscan(VALUE_BYTES));
    }
}

/* Touch every key until the growth is done, then delete them. */
static void delete_values(void *arg)
{
    scn_map_stats st;

    (void)arg;
    do {
        for (int64_t k = 0; k < VALUES; k++) policy->put(map, &k);
        policy->stats(map, &st);
    } while (st.growing && policy->overwrites_move); /* otherwise the deletes move it */
    for (int64_t k = 0; k < VALUES; k++) policy->delete (map, &k);
}

static void values_row(scn *s)
{
    double start = scn_live(), with, without;

    scn_row(s, "1,665 values of 4 KiB, all deleted, one old iterator");
    scn_go(s, "6,942,296");
    scn_on_thread(fill_with_values, NULL);
    scn_on_thread(delete_values, NULL);
    with = scn_live() - start;
    point_at_iterator(s);
    drop_iterators();
    without = scn_live() - start;
    scn_retained(s, with, SCN_BYTES);
    scn_figure(s, "without the iterator (Go: 81,992)", without, SCN_BYTES);
    scn_figure(s, "values held by the iterator", (with - without) / VALUE_BYTES, SCN_COUNT);
    if (policy->leaks_as_go) {
        scn_expect_bytes(s, "held, against Go's", with, 6942296, 5);
        scn_expect_bytes(s, "held without the iterator, against Go's", without, 81992, 5);
        scn_expect(s, "values held by the iterator", (with - without) / VALUE_BYTES, VALUES - 1,
                   VALUES + 20);
    } else {
        scn_expect_none(s, "held by the iterator", with - without);
    }
    map = NULL;
    scn_expect_none(s, "retained after iterator and map are dropped", scn_live() - start);
}

static void run(scn *s)
{
    scn_detector_begin(NULL);
    policy = scn_policy(s);
    gone_row(s, "int->int, no iterator", NULL);
    gone_row(s, "int->int, iterator finished before growth", finish_range);
    gone_row(s, "int->int, broken out of before growth", break_out_of_range);
    for (size_t i = 0; i < sizeof(moments) / sizeof(moments[0]); i++) moment_row(s, &moments[i]);
    blocked_row(s);
    doublings_row(s);
    scn_expect_quiet(s);
    same_size_row(s);
    scn_detector_begin(NULL);
    values_row(s);
    scn_expect_quiet(s);
}

const scn_scenario scn_stuck_iterator = {
    .id = "stuck-iterator",
    .class = 'M',
    .source = "A4 intro, 3.1",
    .leak = "an unfinished iterator holds the array on which it began",
    .maps = true,
    .run = run,
};
