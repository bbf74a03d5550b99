/* retention.c - tests of false retention: what a word alone keeps, and that a masked word lets go,
 * for as long as it stays the same. */
#include "tests/heap.h"
#include "tests/threads.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

Suite *suite_observe_retention(void);

#define HIDE(p) (~(uintptr_t)(p))
#define LIST 100
#define MOST 32

static oak_suspect *suspects; /* not scanned, as what is in them refers to objects */
static int nsuspects;
static void **range; /* registered */

static void start(void)
{
    test_heap_start(test_config());
    range = calloc(16, sizeof *range);
    suspects = calloc(MOST, sizeof *suspects);
    ck_assert_int_eq(oak_root_add(range, 16 * sizeof *range), 0);
}

/* A thread's stack may be one that another thread left full of addresses. */
static __attribute__((noinline)) void scrub(void)
{
    char dead[64 << 10];
    memset(dead, 0, sizeof dead);
    __asm__ __volatile__("" : : "r"(dead) : "memory");
}

static void ask(void *arg)
{
    (void)arg;
    scrub();
    nsuspects = oak_false_retention(suspects, MOST);
}

static const oak_suspect *suspect_of(const void *address)
{
    test_away(ask, NULL);
    ck_assert_int_ge(nsuspects, 0);
    for (int i = 0; i < nsuspects; i++)
        for (unsigned k = 0; k < OAKI_MIN(suspects[i].words, (unsigned)OAK_SUSPECT_WORDS); k++)
            if (suspects[i].address[k] == address) return &suspects[i];
    return NULL;
}

/* n objects of 64 bytes; what they weigh. */
static void make_list(void *arg)
{
    void **head = NULL;
    for (int i = 0; i < LIST; i++) {
        void **p = oak_alloc(64);
        p[0] = head;
        head = p;
    }
    *(void **)arg = head;
}

static void link_lists(void *arg)
{
    (void)arg;
    ((void **)range[7])[1] = range[3];
}

/* On a thread of its own, as a comparison leaves what it compares on the stack. */
static void compare_object(void *arg)
{
    ck_assert_ptr_eq(((const oak_suspect *)arg)->object, range[7]);
}

START_TEST(what_a_word_alone_keeps_is_counted)
{
    start();
    test_away(make_list, &range[3]);
    test_away(make_list, &range[7]);
    test_away(link_lists, NULL); /* the first list is kept by both */
    const oak_suspect *s = suspect_of(&range[7]);
    ck_assert_ptr_nonnull(s);
    ck_assert_uint_eq(s->objects, LIST);
    ck_assert_uint_eq(s->bytes, LIST * 64);
    ck_assert_int_eq(s->root.kind, OAK_ROOT_RANGE);
    test_away(compare_object, (void *)(uintptr_t)s);
    ck_assert_ptr_null(suspect_of(&range[3]));
    range[3] = NULL;
    s = suspect_of(&range[7]);
    ck_assert_ptr_nonnull(s);
    ck_assert_uint_eq(s->objects, 2 * LIST);
    ck_assert_ptr_eq(s, &suspects[0]);
}
END_TEST

static void link_to_the_middle(void *arg)
{
    void **at = range[3];
    for (int i = 0; i < LIST / 2; i++) at = at[0];
    ((void **)range[7])[1] = at;
    (void)arg;
}

START_TEST(what_shared_objects_reach_is_shared)
{
    start();
    test_away(make_list, &range[3]);
    test_away(make_list, &range[7]);
    test_away(link_to_the_middle, NULL);
    const oak_suspect *s = suspect_of(&range[3]);
    ck_assert_ptr_nonnull(s);
    ck_assert_uint_eq(s->objects, LIST / 2);
    s = suspect_of(&range[7]);
    ck_assert_ptr_nonnull(s);
    ck_assert_uint_eq(s->objects, LIST);
}
END_TEST

static void make_pair(void *arg)
{
    void **out = arg, *key = oak_alloc(32), *value = oak_alloc(400);
    out[0] = key;
    out[1] = oak_ephemeron_new(key, value);
}

START_TEST(an_ephemerons_value_belongs_to_the_keys_word)
{
    start();
    test_away(make_pair, range);
    const oak_suspect *s = suspect_of(&range[0]);
    ck_assert_ptr_nonnull(s);
    ck_assert_uint_eq(s->objects, 2);
    ck_assert_uint_ge(s->bytes, 432);
}
END_TEST

/* ---- masks ---- */

static AO_t phase;
static void **frame; /* of the thread that holds on its stack */
static oak_weak *weak;

static void make_weak(void *arg)
{
    void *p = oak_alloc(3000);
    *(void **)arg = p;
    weak = oak_weak_new(p);
}

static void *hold(void *arg)
{
    void *mine[8] = { NULL };
    oak_thread_attach();
    test_away(make_weak, &mine[5]);
    frame = mine;
    AO_store_release(&phase, 1);
    oak_blocking_enter();
    test_wait(&phase, 2);
    oak_blocking_leave();
    frame = NULL;
    __asm__ __volatile__("" : : "r"(mine) : "memory");
    return arg;
}

static void collect_and_look(void *arg)
{
    scrub();
    oak_collect();
    oak_collect();
    *(bool *)arg = oak_weak_get(weak) != NULL;
}

static bool lives(void)
{
    bool alive;
    test_away(collect_and_look, &alive);
    return alive;
}

START_TEST(a_masked_stack_word_lets_go)
{
    start();
    pthread_t t = test_start(hold, NULL);
    test_wait(&phase, 1);
    ck_assert(lives());
    const oak_suspect *s = suspect_of(&frame[5]);
    ck_assert_ptr_nonnull(s);
    ck_assert_int_eq(s->root.kind, OAK_ROOT_STACK);
    if (!test_slow()) ck_assert_str_eq(s->root.where, "hold");
    ck_assert_uint_ge(s->bytes, 3000);
    ck_assert_int_eq(oak_suspect_mask(s), 0);
    ck_assert(!lives());
    ck_assert_uint_eq(oak_root_unmask(), 1);
    AO_store_release(&phase, 2);
    test_join(t);
}
END_TEST

/* These leave addresses in registers and on the stack, so a thread of their own does them. */
static oak_root_info *root; /* not scanned */

static void mask(void *arg)
{
    root->kind = OAK_ROOT_RANGE;
    root->address = arg;
    root->value = *(void **)arg;
    ck_assert_int_eq(oak_root_mask(root), 0);
}

static void move(void *arg)
{
    *(char **)arg += 8;
}

static void move_back(void *arg)
{
    *(char **)arg -= 8;
}

START_TEST(a_word_that_changed_counts_again)
{
    start();
    root = calloc(1, sizeof *root);
    test_away(make_weak, &range[2]);
    test_away(mask, &range[2]);
    test_away(move, &range[2]); /* another value, the same object */
    ck_assert(lives());
    test_away(move_back, &range[2]); /* void is void: the word counts */
    ck_assert(lives());
    test_away(mask, &range[2]);
    ck_assert(!lives());
    ck_assert_uint_eq(oak_root_unmask(), 1);
}
END_TEST

START_TEST(a_mask_ends_with_its_thread)
{
    start();
    pthread_t t = test_start(hold, NULL);
    test_wait(&phase, 1);
    const oak_suspect *s = suspect_of(&frame[5]);
    ck_assert_ptr_nonnull(s);
    ck_assert_int_eq(oak_root_mask(&s->root), 0);
    AO_store_release(&phase, 2);
    test_join(t);
    oak_collect();
    ck_assert_uint_eq(oak_root_unmask(), 0);
}
END_TEST

START_TEST(masks_cut_ranges_anywhere)
{
    start();
    root = calloc(1, sizeof *root);
    oak_weak *w[16];
    for (int i = 0; i < 16; i++) {
        test_away(make_weak, &range[i]);
        w[i] = weak;
    }
    oak_collect();
    for (int i = 0; i < 16; i++) {
        if (i % 3 == 1) continue;
        test_away(mask, &range[i]);
        test_away(mask, &range[i]); /* twice is once */
    }
    for (int i = 0; i < 16; i++) {
        weak = w[i];
        ck_assert_int_eq(lives(), i % 3 == 1);
    }
    ck_assert_uint_eq(oak_root_unmask(), 11);
    test_assert_sound();
}
END_TEST

START_TEST(what_is_no_word_can_not_be_masked)
{
    start();
    oak_root_info none = { .kind = OAK_ROOT_PINNED };
    ck_assert_int_eq(oak_root_mask(&none), -1);
    ck_assert_int_eq(errno, EINVAL);
    none.address = (char *)range + 1;
    ck_assert_int_eq(oak_root_mask(&none), -1);
    ck_assert_int_eq(errno, EINVAL);
    ck_assert_uint_eq(oak_root_unmask(), 0);
}
END_TEST

Suite *suite_observe_retention(void)
{
    Suite *s = suite_create("observe_retention");
    TCase *t = tcase_create("suspects");
    tcase_add_test(t, what_a_word_alone_keeps_is_counted);
    tcase_add_test(t, what_shared_objects_reach_is_shared);
    tcase_add_test(t, an_ephemerons_value_belongs_to_the_keys_word);
    suite_add_tcase(s, t);
    t = tcase_create("masks");
    tcase_add_test(t, a_masked_stack_word_lets_go);
    tcase_add_test(t, a_word_that_changed_counts_again);
    tcase_add_test(t, a_mask_ends_with_its_thread);
    tcase_add_test(t, masks_cut_ranges_anywhere);
    tcase_add_test(t, what_is_no_word_can_not_be_masked);
    suite_add_tcase(s, t);
    return s;
}
