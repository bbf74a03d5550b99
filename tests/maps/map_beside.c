/* map_beside.c - maps beside a collector that marks while they are written: what is told to one
 * that has looked at a segment between the store of an entry and the store of its tag; what is
 * marked of a classic map while the program runs, which grows meanwhile. */
#include "gc/debug/edges.h"
#include "maps/map.h"
#include "runtime/collector.h"
#include "runtime/dirty.h"
#include "runtime/thread.h"
#include "runtime/type.h"
#include "tests/heap.h"
#include "tests/step.h"
#include "tests/tracked.h"
#include "tests/witness.h"

#include <check.h>
#include <signal.h>
#include <string.h>

Suite *suite_maps_map_beside(void);

#if defined(__x86_64__)
enum { SEGMENTS = 32, GROUPS = 64, PAGES = 1 << 16, SYSTEM_PAGE = 4096 };

/* What a collector has seen of a segment. */
typedef struct seen {
    const char *segment;
    uint16_t used[GROUPS];
    uint64_t untold; /* groups: a tag stored since, and no page of the entries written after it */
    bool there;
} seen;

static struct {
    oak_map *m;
    seen seen[SEGMENTS];
    bool written[PAGES]; /* since the last look */
    size_t traps, stored;
} w;

static void note(size_t from, size_t to, void *ctx)
{
    (void)ctx;
    for (; from < to; from += SYSTEM_PAGE)
        if (from / SYSTEM_PAGE < PAGES) w.written[from / SYSTEM_PAGE] = true;
}

static bool is_written(const char *entries, size_t bytes)
{
    size_t at = oaki_heap_offset(entries) / SYSTEM_PAGE;
    size_t end = oaki_heap_offset(entries + bytes - 1) / SYSTEM_PAGE;
    for (; at <= end; at++)
        if (w.written[at]) return true;
    return false;
}

static seen *seen_of(const char *segment)
{
    size_t i = 0;
    while (i < SEGMENTS && w.seen[i].segment && w.seen[i].segment != segment) i++;
    return i < SEGMENTS ? &w.seen[i] : NULL;
}

/* One that is new is looked at when the directory is, which was written. */
static void look_at(unsigned i, size_t s)
{
    const struct oak_map_array_ *a = &w.m->array[i];
    char *segment = oaki_map_segment(w.m, a, s);
    seen *o = seen_of(segment);
    size_t first = s << a->gbits, end = oaki_map_array_groups(w.m, i);
    size_t each = OAK_MAP_SLOTS_ * w.m->entry_size;
    if (!o) return;
    bool is_new = !o->segment;
    for (size_t g = 0; first + g < end && g <= a->gmask; g++) {
        uint16_t used = (uint16_t)oaki_map_used(oaki_map_tags(a, first + g));
        uint64_t bit = UINT64_C(1) << g;
        if (is_written(segment + g * each, each)) o->untold &= ~bit;
        if (!is_new && (used & ~o->used[g])) {
            o->untold |= bit;
            w.stored++;
        }
        o->used[g] = used;
    }
    o->segment = segment;
    o->there = true;
}

static void look(void)
{
    memset(w.written, 0, sizeof w.written);
    (void)oaki_dirty_take(0, AO_load(&oaki_the_heap.used), true, note, NULL);
    for (size_t i = 0; i < SEGMENTS; i++) w.seen[i].there = false;
    for (unsigned i = 0; i < 2; i++) {
        const struct oak_map_array_ *a = &w.m->array[i];
        for (size_t s = 0; a->dir && s < w.m->more->segments[i]; s++)
            if (a->dir[s]) look_at(i, s);
    }
    for (size_t i = 0; i < SEGMENTS; i++) /* the memory may be another's soon */
        if (w.seen[i].segment && !w.seen[i].there) w.seen[i] = (seen){ .segment = "" };
}

static void on_trap(int sig)
{
    (void)sig;
    w.traps++;
    look();
}

static void write_map(uint64_t k, bool deletes)
{
    void *v = NULL;
    memset(w.seen, 0, sizeof w.seen);
    look();
    test_single_step(true);
    if (deletes) oak_map_delete(w.m, &k);
    else v = oak_map_put(w.m, &k);
    test_single_step(false);
    look();
    for (size_t i = 0; i < SEGMENTS; i++)
        if (w.seen[i].untold) ck_abort_msg("key %lu: a group isn't told", (unsigned long)k);
    if (v) *(void **)v = w.m;
}

static const oak_map_type large_values = { .key = OAK_KEY_U64, .flags = OAK_MAP_SCAN_VALUE,
                                           .value_size = 200 };

static bool start(const oak_map_type *t)
{
    struct sigaction act = { .sa_handler = on_trap };
    oak_config c = test_config();
    c.tracking = OAK_TRACKING_USERFAULTFD; /* a fault of its own would be traced, too */
    if (test_skip(!test_can_step(), "no single steps here")) return false;
    if (!test_heap_tracked(c, 0)) return false;
    ck_assert_int_eq(sigaction(SIGTRAP, &act, NULL), 0);
    w.m = oak_map_new(t, 0);
    oak_map_set_seed(w.m, 7);
    return true;
}

/* A put of either kind, and the moves of a resize. */
START_TEST(entries_are_written_after_each_tag)
{
    enum { FULL = 400, MORE = 40 }; /* in 32 groups */
    uint64_t k = 0;
    if (_i < 2) oaki_map_whole_bits = 0;
    if (!start(_i % 2 ? &large_values : &oak_map_u64_ptr)) return;
    while (k < FULL) oak_map_put(w.m, &(uint64_t){ k++ });
    ck_assert(!w.m->resizing);
    for (size_t n = 0; n < MORE; n++) write_map(k++, false);
    ck_assert_uint_eq(w.m->bits, 6);
    ck_assert_int_eq(oak_map_settle(w.m), 0);
    while (_i < 2 ? !w.m->resizing : w.m->len > w.m->shrink_at + MORE / 4)
        oak_map_delete(w.m, &(uint64_t){ --k });
    for (size_t n = 0; n < MORE / 2; n++) write_map(--k, true);
    ck_assert_uint_lt(w.m->bits, 6);
    ck_assert_uint_gt(w.stored, 2 * MORE);
    ck_assert_uint_gt(w.traps, 1000);
}
END_TEST
#endif

static size_t told;

static void count(void *ctx, const oaki_edge *edge, size_t n)
{
    (void)ctx, (void)edge;
    told += n;
}

/* A cleared map's segment may be looked at with the tags of what came after it: they may say more
 * than it has room for, and what is behind it may not be readable. */
START_TEST(a_small_segment_is_read_to_its_end_only)
{
    enum { MAPS = 64, MORE = 12 };
    static oak_map *small[MAPS], *full;
    test_heap_start(test_config());
    for (size_t i = 0; i < MAPS; i++) { /* side by side, so that one's words would show */
        small[i] = oak_map_new(&oak_map_u64_ptr, 3);
        for (uint64_t k = 0; k < 3; k++) *(void **)oak_map_put(small[i], &k) = small[0];
    }
    full = oak_map_new(&oak_map_u64_ptr, MORE);
    for (uint64_t k = 0; k < MORE; k++) *(void **)oak_map_put(full, &k) = full;
    char *segment = oaki_map_segment(small[0], &small[0]->array[0], 0);
    oaki_map_head *head = (oaki_map_head *)(segment - sizeof(oaki_map_head));
    size_t slot = oaki_heap_offset(head), room = oaki_object_size(slot) - sizeof *head;
    oaki_thread *t = oaki_gc_stop_begin();
    const void *own = head->tags;
    head->tags = (void *)full->few_tags[0];
    oaki_edges_of(slot, false, count, NULL);
    memcpy(&head->tags, &own, sizeof own);
    oaki_gc_stop_end(t);
    ck_assert_uint_gt(told, 3);
    ck_assert_uint_le(told, 1 + room / 16);
}
END_TEST

/* Nothing but the map leads to them, so they are marked when it is. */
START_TEST(a_classic_map_is_marked_while_the_program_runs)
{
    oak_config c = test_config_beside(test_tracking);
    c.gc_threads = 1;
    if (!test_heap_tracked(c, 0)) return;
    oaki_debug_switches.beside = 1;
    test_witness_start();
    oak_classic_map *m = oak_classic_new(&oak_classic_int_ptr, 0);
    for (uint64_t k = 0; k < 20000; k++) {
        void *x = test_witness_new(NULL, k);
        *(void **)oak_classic_put(m, &k) = x;
        if (k % 1000 == 999) test_ask_or_collect();
    }
    uint32_t before = test_stats().num_gc;
    while (test_stats().num_gc < before + 2) test_ask_or_collect();
    for (uint64_t k = 0; k < 20000; k++)
        ck_assert_uint_eq((*(test_witness **)oak_classic_get(m, &k))->number, k);
    size_t running = AO_load(&test_witness_running), stopped = AO_load(&test_witness_stopped);
    if (test_tracking == OAK_TRACKING_USERFAULTFD) ck_assert_uint_gt(running, stopped);
    ck_assert_uint_ge(running + stopped, 20000);
}
END_TEST

static void add_beside(Suite *s, const char *name, void (*setup)(void))
{
    TCase *tc = tcase_create(name);
    tcase_add_checked_fixture(tc, setup, NULL);
    tcase_add_test(tc, a_classic_map_is_marked_while_the_program_runs);
    suite_add_tcase(s, tc);
}

Suite *suite_maps_map_beside(void)
{
    Suite *s = suite_create("maps_map_beside");
    TCase *tc = tcase_create("beside");
#if defined(__x86_64__)
    tcase_add_loop_test(tc, entries_are_written_after_each_tag, 0, 4);
#endif
    tcase_add_test(tc, a_small_segment_is_read_to_its_end_only);
    suite_add_tcase(s, tc);
    add_beside(s, "userfaultfd", test_by_userfaultfd);
    add_beside(s, "faults", test_by_faults);
    return s;
}
