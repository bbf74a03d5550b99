/* mark.c - tests of gc/trace/trace.c and workers.c: what is reachable stays, what is not goes,
 * exactly; whatever the shape of the graph, the number of markers and the length of their stacks.
 * */
#include "gc/trace/trace.h"
#include "tests/heap.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

Suite *suite_gc_mark(void);

/* Markers and segments of mark stack (0: no limit): each graph is marked with each of these. */
static const struct {
    int threads, markstack;
} modes[] = { { 1, 0 }, { 2, 0 }, { 4, 0 }, { 1, 1 }, { 1, 2 }, { 2, 5 }, { 4, 1 } };
#define MODES ((int)OAKI_COUNT(modes))

typedef struct node {
    struct node *next, *other;
} node;

static void **root; /* the graph's only one: in .bss */
static oak_type *node_type;
static size_t made;

static void start(int mode)
{
    static const uint64_t bits[] = { 3 };
    oak_config c = test_config();
    c.gc_threads = modes[mode].threads;
    test_heap_start(c);
    oaki_debug_switches.markstack = modes[mode].markstack;
    node_type = oak_type_bitmap("node", sizeof(node), bits);
}

/* What the markers have counted is what lives. Two that race for an object both count it. */
static void assert_counted(void)
{
    size_t alive = test_stats().heap_alloc;
    if (oaki_workers_count() == 1) ck_assert_uint_eq(oaki_workers_bytes(), alive);
    ck_assert_uint_ge(oaki_workers_bytes(), alive);
    ck_assert_uint_le(oaki_workers_bytes(), alive + alive / 2);
}

/* make(n) builds a graph at root, on a thread that ends. It must survive as it is, and go. */
static void check_graph(void (*make)(void *n), size_t n)
{
    size_t before = test_objects();
    made = 0;
    test_away(make, &n);
    ck_assert_uint_eq(test_objects(), before + made);
    oak_memstats was = test_stats();
    for (int i = 0; i < 2; i++) {
        oak_collect();
        ck_assert_uint_eq(test_objects(), before + made);
        ck_assert_uint_eq(test_stats().heap_alloc, was.heap_alloc);
        assert_counted();
    }
    root = NULL;
    oak_collect();
    ck_assert_uint_eq(test_objects(), before);
}

static void *count(void *p)
{
    if (!p) ck_abort_msg("out of memory");
    made++;
    return p;
}

/* ---- shapes ---- */

static void make_list(void *n)
{
    for (size_t i = *(size_t *)n; i > 0; i--) {
        node *x = count(oak_alloc_typed(node_type, 1));
        x->next = (node *)root;
        root = (void **)x;
    }
}

START_TEST(a_list_of_millions)
{
    bool limited = modes[_i].markstack != 0;
    start(_i);
    check_graph(make_list, test_scale(_i == 0 ? 10000000 : limited ? 100000 : 500000));
}
END_TEST

/* An array of pointers to leaves and to arrays; it is scanned in pieces. */
static void make_wide(void *n)
{
    size_t width = *(size_t *)n;
    void **array = count(oak_alloc(width * sizeof(void *)));
    root = array;
    for (size_t i = 0; i < width; i++) {
        array[i] = count(i % 3 ? oak_alloc_noscan(16 + i % 500) : oak_alloc(64));
        if (i % 3 == 0) ((void **)array[i])[7] = count(oak_alloc_typed(node_type, 1));
    }
}

START_TEST(a_wide_array)
{
    start(_i);
    check_graph(make_wide, test_scale(300000));
}
END_TEST

static node *tree(size_t depth)
{
    node *x = count(oak_alloc_typed(node_type, 1));
    if (depth > 0) {
        x->next = tree(depth - 1);
        x->other = tree(depth - 1);
    }
    return x;
}

static void make_tree(void *depth)
{
    root = (void **)tree(*(size_t *)depth);
}

START_TEST(a_tree)
{
    start(_i);
    check_graph(make_tree, test_slow() ? 12 : 17);
}
END_TEST

/* A tree of conservative objects of one size, or of all small sizes, made in order as a program
 * makes one; now and then a child is shared, and pointers lead into objects as well as to them. */
static void **recent[64];

static void **ordered(size_t depth, size_t size)
{
    void **x, **left = NULL, **right = NULL;
    if (depth > 0) {
        left = ordered(depth - 1, size);
        right = test_below(8) ? ordered(depth - 1, size) : recent[test_below(64)];
    }
    size_t n = size ? size : 16 + 16 * test_below(8);
    x = count(oak_alloc(n));
    x[0] = left && test_below(2) ? (char *)left + test_below(16) : (void *)left;
    x[test_below(2) ? 1 : n / 8 - 1] = right;
    return recent[test_below(64)] = x;
}

/* Trees of 16, 32, 48 and 64 bytes, and of all sizes, all at a root that is scanned in pieces. */
static void make_ordered(void *depth)
{
    static const size_t sizes[] = { 16, 32, 48, 64, 0 };
    root = count(oak_alloc(20000 * sizeof *root));
    for (size_t i = 0; i < OAKI_COUNT(sizes); i++) {
        memset(recent, 0, sizeof recent);
        root[i * 4000] = ordered(*(size_t *)depth, sizes[i]);
    }
    memset(recent, 0, sizeof recent);
}

START_TEST(trees_in_the_order_in_which_they_were_made)
{
    test_seed("gc/mark");
    start(_i);
    for (int i = 0; i < 3; i++) check_graph(make_ordered, test_slow() ? 10 : 16);
}
END_TEST

/* So large that worker 0 wakes others, and that its stack fills. */
static node *plain_tree(size_t depth)
{
    node *x = count(oak_alloc(sizeof(node)));
    x->next = depth > 0 ? plain_tree(depth - 1) : NULL;
    x->other = depth > 0 ? plain_tree(depth - 1) : NULL;
    return x;
}

static void make_plain_tree(void *depth)
{
    root = (void **)plain_tree(*(size_t *)depth);
}

START_TEST(a_large_tree)
{
    start(_i);
    check_graph(make_plain_tree, modes[_i].markstack || test_slow() ? 12 : 19);
}
END_TEST

/* Many arrays that all point to all others: each word but a few leads to what is marked. */
static void make_dense(void *n)
{
    size_t width = *(size_t *)n;
    void **all = count(oak_alloc(width * sizeof(void *)));
    root = all;
    for (size_t i = 0; i < width; i++) all[i] = count(oak_alloc(width * sizeof(void *)));
    for (size_t i = 0; i < width; i++)
        for (size_t k = 0; k < width; k++) ((void **)all[i])[k] = (char *)all[k] + (i + k) % 100;
}

START_TEST(all_to_all)
{
    start(_i);
    check_graph(make_dense, 700);
}
END_TEST

/* Random edges, interior ones too, between objects of every size and kind; cycles in plenty. */
static void make_random(void *n)
{
    size_t total = *(size_t *)n;
    void **index = malloc(total * sizeof *index);
    for (size_t i = 0; i < total; i++) {
        size_t size = test_size(test_below(300) ? 3000 : 300000) | 16;
        index[i] =
            count(test_below(3) ? oak_alloc(size) : oak_alloc_typed(node_type, 1 + size / 64));
        if (i == 0) root = index[0];
        void **at = index[i];
        void **from = index[test_below(i + 1)];
        at[0] = from; /* every object keeps an older one, and a chain keeps them all */
        at[1] = i > 0 ? (char *)index[i - 1] + test_below(oak_usable_size(index[i - 1])) : NULL;
        root = index[i];
    }
    for (size_t i = 0; i < total; i++)
        memcpy(index[i], (void *[]){ root, ((void **)index[i])[1] }, 16);
    free(index);
}

START_TEST(a_random_graph_with_cycles)
{
    test_seed("gc/mark");
    start(_i);
    for (int i = 0; i < 3; i++) check_graph(make_random, test_scale(20000));
}
END_TEST

/* Small objects with as many references as fit, to any of them: each adds more words to a queue
 * than it takes. */
static void make_bushy(void *n)
{
    enum { WORDS = 8 };
    size_t total = *(size_t *)n;
    void ***all = malloc(total * sizeof *all);
    for (size_t i = 0; i < total; i++) all[i] = count(oak_alloc(WORDS * sizeof(void *)));
    for (size_t i = 0; i < total; i++) {
        all[i][0] = all[i > 0 ? i - 1 : 0];
        for (size_t k = 1; k < WORDS; k++) all[i][k] = all[test_below(total)];
    }
    root = all[total - 1];
    free(all);
}

START_TEST(small_objects_full_of_references)
{
    test_seed("gc/mark");
    start(_i);
    check_graph(make_bushy, test_scale(100000));
}
END_TEST

/* An array that is scanned at one go, and points to large objects only: all that has no room on a
 * short stack is marked and not scanned, which is made up for afterwards. Of each, the first word
 * and the last lead on. */
static void make_large(void *n)
{
    static const size_t sizes[] = { 40000, 65536, 65552, 200000 };
    void **array = count(oak_alloc(8000 * sizeof *array)), **large[40];
    root = array;
    for (size_t i = 0; i < OAKI_COUNT(large); i++) {
        size_t size = sizes[i / 2 % OAKI_COUNT(sizes)], last = size / sizeof(void *) - 1;
        large[i] = count(i % 2 ? oak_alloc(size) : oak_alloc_typed(node_type, size / sizeof(node)));
        array[i] = large[i];
        large[i][0] = count(oak_alloc_noscan(16));
        large[i][last] = count(oak_alloc_noscan(16));
    }
    for (size_t i = 0; i < *(size_t *)n; i++) array[i] = large[i % OAKI_COUNT(large)];
}

START_TEST(large_objects_for_which_there_is_no_room)
{
    start(_i);
    check_graph(make_large, 8000);
}
END_TEST

#define LARGES 12

/* Tables of several sizes, whose words lead in runs to anywhere in large objects that lie side by
 * side, and now and then to a small one. Of two large ones of three the last word counts. */
static void make_tables(void *n)
{
    static const size_t sizes[] = { 1024, 4096, 48 << 10, 200 << 10 };
    char *large[LARGES];
    size_t bytes[LARGES], runs = 0;
    root = count(oak_alloc(OAKI_COUNT(sizes) * sizeof *root));
    for (size_t i = 0; i < LARGES; i++) {
        bytes[i] = OAKI_PAGE * (5 + test_random() % 20);
        large[i] = count(i % 3 ? oak_alloc(bytes[i]) : oak_alloc_noscan(bytes[i]));
        if (i % 3) *(void **)(large[i] + bytes[i] - sizeof(void *)) = count(oak_alloc(24));
    }
    for (size_t t = 0; t < OAKI_COUNT(sizes); t++) {
        void **table = root[t] = count(oak_alloc(sizes[t]));
        size_t to = 0, left = 0;
        for (size_t i = 0; i < sizes[t] / sizeof *table; i++, left--) {
            if (left == 0) {
                left = 1 + test_random() % *(size_t *)n;
                to = runs++ * 5 % LARGES;
            }
            table[i] =
                test_random() % 50 ? large[to] + test_random() % bytes[to] : count(oak_alloc(32));
        }
    }
}

START_TEST(tables_that_lead_into_large_objects)
{
    test_seed("gc/mark");
    start(_i % MODES);
    check_graph(make_tables, _i < MODES ? 4 : 200);
}
END_TEST

/* ---- what is not a reference ---- */

static void make_unreferenced(void *n)
{
    node **holder = count(oak_alloc_typed(node_type, 2));
    root = (void **)holder;
    for (size_t i = 0; i < *(size_t *)n; i++) {
        uintptr_t *leaf = oak_alloc_noscan(4096);
        leaf[0] = (uintptr_t)oak_alloc(32); /* in what is never scanned */
        char *p = oak_alloc_noscan(64);
        ((uintptr_t *)holder)[1] = ~(uintptr_t)p; /* disguised */
        ((char **)holder)[2] = (char *)oaki_the_heap.base - 1;
        ((char **)holder)[3] = (char *)oaki_the_heap.base + oaki_the_heap.reserved;
    }
}

START_TEST(what_holds_no_reference_keeps_nothing)
{
    size_t n = 5000;
    start(_i);
    size_t before = test_objects();
    made = 0;
    test_away(make_unreferenced, &n);
    oak_collect();
    ck_assert_uint_eq(test_objects(), before + 1);
}
END_TEST

static void make_skipped(void *arg)
{
    static const uint64_t bits[] = { 2 };
    const oak_type *second = oak_type_bitmap("second", 24, bits);
    void **p = oak_alloc_typed(second, 10000);
    (void)arg;
    for (size_t i = 0; i < 30000; i++) p[i] = oak_alloc_noscan(16);
    root = p;
}

START_TEST(of_a_typed_object_only_its_pointers_count)
{
    start(_i);
    size_t before = test_objects();
    test_away(make_skipped, NULL);
    ck_assert_uint_eq(test_objects(), before + 30001);
    oak_collect();
    ck_assert_uint_eq(test_objects(), before + 10001);
    for (size_t i = 1; i < 30000; i += 3) ck_assert_ptr_eq(oak_base(root[i]), root[i]);
}
END_TEST

/* An element is larger than the pieces that a large object is marked in; every 7th word counts. */
enum { WORDS = 5001, ELEMENTS = 9 };

static void make_elements(void *arg)
{
    static uint64_t bits[(WORDS + 63) / 64];
    (void)arg;
    for (size_t i = 0; i < WORDS; i += 7) bits[i / 64] |= (uint64_t)1 << i % 64;
    const oak_type *wide = oak_type_bitmap("wide", WORDS * sizeof(void *), bits);
    void **p = oak_alloc_typed(wide, ELEMENTS);
    for (size_t i = 0; i < WORDS * ELEMENTS; i++) p[i] = oak_alloc_noscan(16);
    root = p;
}

START_TEST(of_large_elements_only_the_pointers_count)
{
    start(_i);
    size_t before = test_objects(), kept = ELEMENTS * ((WORDS + 6) / 7);
    test_away(make_elements, NULL);
    oak_collect();
    ck_assert_uint_eq(test_objects(), before + kept + 1);
    for (size_t i = 0; i < WORDS * ELEMENTS; i++)
        if (i % WORDS % 7 == 0) ck_assert_ptr_eq(oak_base(root[i]), root[i]);
}
END_TEST

/* A mark beside the program looks at a few words at a time, of which it is said that they are few
 * even where none of them leads to anything: a stop may wait for no more. */
START_TEST(a_piece_ends_among_words_that_lead_nowhere)
{
    enum { ZEROS = 16 << 20 };
    oaki_range rest = { 0 };
    start(0);
    char *zeros = oak_alloc_typed(node_type, ZEROS / sizeof(node));
    oaki_thread *t = oaki_gc_stop_begin();
    oaki_workers_begin();
    ck_assert(oaki_ranges_add(zeros, zeros + ZEROS, _i));
    bool more = oaki_trace_some(oaki_worker(0), 8192);
    bool any = oaki_ranges_take(&rest);
    oaki_workers_discard();
    oaki_gc_stop_end(t);
    ck_assert(more && any);
    ck_assert_uint_lt((size_t)(rest.lo - zeros), ZEROS / 8);
}
END_TEST

/* World stopped: nothing is marked, and nothing queued. */
static oak_marker *begin_marking(void)
{
    oaki_mark_prepare_all(false);
    oaki_workers_begin();
    return oaki_worker(0);
}

/* Where each word takes long, as on machines that look a page up anew, a piece is over by the
 * clock, which is asked after few words, depth first or not. */
START_TEST(a_piece_is_over_when_its_time_is)
{
    start(0);
    size_t depth = 14;
    test_away(make_tree, &depth);
    oaki_thread *t = oaki_gc_stop_begin();
    oak_marker *m = begin_marking();
    m->in_order = false;
    oaki_mark_push(m, (uintptr_t)root);
    ck_assert(oaki_trace_some(m, 4096)); /* the queue is full then */
    m->in_order = _i;
    size_t before = m->scanned;
    m->end_ns = 1; /* long ago */
    m->soon = true;
    (void)oaki_trace_some(m, SIZE_MAX / 2);
    m->soon = false;
    m->end_ns = 0;
    size_t scanned = m->scanned - before;
    oaki_workers_discard();
    oaki_gc_stop_end(t);
    ck_assert_uint_gt(scanned, 0);
    ck_assert_uint_le(scanned, 512);
    root = NULL;
    oak_collect();
    check_graph(make_tree, 10);
}
END_TEST

/* Nor waits a stop for more than two objects that take long by themselves, or than parts of one. */
enum { LONG = 500, LONG_BYTES = 8 << 10, PARTED = 20, PARTED_BYTES = 256 << 10 };

static size_t covered;

static void cover(oak_marker *m, void *object, size_t bytes)
{
    (void)m;
    (void)object;
    covered += bytes;
}

static void cover_part(oak_marker *m, void *object, size_t bytes, size_t from, size_t to)
{
    (void)m;
    (void)object;
    ck_assert_uint_lt(from, to);
    ck_assert_uint_le(to, bytes);
    covered += to - from;
}

static void make_long(void *parts)
{
    const oak_type *t = oak_type_function(parts ? "parted" : "long", 8, cover);
    size_t n = parts ? PARTED : LONG, bytes = parts ? PARTED_BYTES : LONG_BYTES;
    if (parts) oaki_type_in_parts(t, cover_part);
    root = oak_alloc(n * sizeof *root);
    for (size_t i = 0; i < n; i++) root[i] = oak_alloc_typed(t, bytes / 8);
}

START_TEST(a_piece_is_over_among_long_objects)
{
    bool parts = _i & 1;
    size_t most = 0, before = 0, all = parts ? PARTED * PARTED_BYTES : LONG * LONG_BYTES;
    start(0);
    test_away(make_long, parts ? &parts : NULL);
    oaki_thread *t = oaki_gc_stop_begin();
    oak_marker *m = begin_marking();
    m->in_order = _i & 2;
    oaki_mark_push(m, (uintptr_t)root);
    covered = 0;
    for (size_t n = 0; covered < all && n < 100000; before = covered, n++) {
        (void)oaki_trace_some(m, 1);
        most = OAKI_MAX(most, covered - before);
    }
    oaki_workers_discard();
    oaki_gc_stop_end(t);
    ck_assert_uint_eq(covered, all);
    ck_assert_uint_le(most, 2 * LONG_BYTES);
    root = NULL;
}
END_TEST

/* ---- a pointer may be anywhere in an object, and to any byte of one ---- */

static uintptr_t hidden[OAKI_CLASSES];

static void make_each_class(void *arg)
{
    (void)arg;
    root = oak_alloc(OAKI_CLASSES * 2 * sizeof *root);
    for (unsigned cls = 1; cls < oaki_nclasses; cls++) {
        size_t size = oaki_classes[cls].size;
        char *p = oak_alloc(size);
        root[cls] = p + test_below(size);
        hidden[cls] = ~(uintptr_t)p;
        *(void **)(p + size - 8) = root[OAKI_CLASSES + cls] = oak_alloc_noscan(size);
        root[OAKI_CLASSES + cls] = NULL; /* the last word of p alone keeps it */
    }
}

START_TEST(interior_pointers_keep_objects_of_every_class)
{
    test_seed("gc/mark");
    start(_i);
    size_t before = test_objects();
    test_away(make_each_class, NULL);
    for (int i = 0; i < 3; i++) {
        oak_collect();
        for (unsigned cls = 1; cls < oaki_nclasses; cls++)
            ck_assert_uint_eq(~(uintptr_t)oak_base((void *)~hidden[cls]), hidden[cls]);
        ck_assert_uint_eq(test_objects(), before + 1 + 2 * (oaki_nclasses - 1));
    }
    root = NULL;
    oak_collect();
    ck_assert_uint_eq(test_objects(), before);
}
END_TEST

static void take_nothing(void *ctx, oak_marker *m)
{
    (void)ctx;
    (void)m;
}

/* Any number of words, the last one of which leads to an object. */
START_TEST(no_word_of_a_part_is_left_out)
{
    static uintptr_t words[140];
    static oak_marker m;
    test_heap_start(test_config());
    uintptr_t p = (uintptr_t)oak_alloc(64);
    for (size_t n = 0; n <= 140; n++) {
        for (size_t i = 0; i < 140; i++) words[i] = _i ? 1234 : 0;
        if (n > 0) words[n - 1] = p;
        m = (oak_marker){ .base = oaki_the_heap.base, .used = AO_load(&oaki_the_heap.used) };
        m.record = take_nothing;
        oaki_trace_sift(&m, words, words + n);
        ck_assert_uint_eq(m.scanned, n > 0);
        ck_assert_uint_eq(m.tail - m.head, n > 0);
    }
}
END_TEST

Suite *suite_gc_mark(void)
{
    Suite *s = suite_create("gc/mark");
    TCase *c = tcase_create("mark");
    tcase_add_loop_test(c, a_list_of_millions, 0, MODES);
    tcase_add_loop_test(c, a_wide_array, 0, MODES);
    tcase_add_loop_test(c, a_tree, 0, MODES);
    tcase_add_loop_test(c, trees_in_the_order_in_which_they_were_made, 0, MODES);
    tcase_add_loop_test(c, a_large_tree, 0, MODES);
    tcase_add_loop_test(c, all_to_all, 0, MODES);
    tcase_add_loop_test(c, a_random_graph_with_cycles, 0, MODES);
    tcase_add_loop_test(c, small_objects_full_of_references, 0, MODES);
    tcase_add_loop_test(c, large_objects_for_which_there_is_no_room, 0, MODES);
    tcase_add_loop_test(c, tables_that_lead_into_large_objects, 0, 2 * MODES);
    tcase_add_loop_test(c, what_holds_no_reference_keeps_nothing, 0, MODES);
    tcase_add_loop_test(c, of_a_typed_object_only_its_pointers_count, 0, MODES);
    tcase_add_loop_test(c, of_large_elements_only_the_pointers_count, 0, MODES);
    tcase_add_loop_test(c, a_piece_ends_among_words_that_lead_nowhere, 0, 2);
    tcase_add_loop_test(c, a_piece_is_over_when_its_time_is, 0, 2);
    tcase_add_loop_test(c, a_piece_is_over_among_long_objects, 0, 4);
    tcase_add_loop_test(c, interior_pointers_keep_objects_of_every_class, 0, MODES);
    tcase_add_loop_test(c, no_word_of_a_part_is_left_out, 0, 2);
    suite_add_tcase(s, c);
    return s;
}
