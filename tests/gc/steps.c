/* steps.c - what the heap gives out and takes back, with a collection at each instruction of user
 * code: from the first that has an object in hand to the last. */
#include "tests/heap.h"
#include "tests/step.h"

#include <check.h>
#include <oakum/oakum.h>
#include <stdio.h>
#include <string.h>

Suite *suite_gc_steps(void);

enum { ROUNDS = 40, EACH = 2 };

typedef struct node {
    struct node *next;
    uint64_t n;
} node;

static struct {
    node *list;
    char *text;
    oak_weak *weak;
    oak_ephemeron *ephemeron;
    void *key;
    size_t wrong, finalized;
} w; /* the only root */

static void start(void)
{
    test_heap_start(test_config());
    test_only_root(&w, sizeof w);
    test_steps_begin(EACH);
}

static void end(size_t least)
{
    size_t n = test_steps_end();
    if (test_skip(!test_can_step(), "no single steps here")) return;
    printf("%zu collections\n", n);
    ck_assert_uint_ge(n, least);
    ck_assert_uint_eq(w.wrong, 0);
    test_assert_sound();
}

START_TEST(objects_of_every_size)
{
    start();
    size_t size = sizeof(node);
    for (uint64_t i = 0; i < ROUNDS; i++, size = size * 3 / 2 % 100000 + sizeof(node)) {
        test_steps_on(size > 32768);
        node *n = oak_alloc(size);
        n->n = i;
        n->next = w.list;
        w.list = n;
        test_steps_off();
    }
    uint64_t i = ROUNDS;
    for (node *n = w.list; n; n = n->next) w.wrong += n->n != --i;
    w.wrong += i;
    test_steps_on(true);
    while (w.list) {
        node *n = w.list;
        w.list = n->next;
        oak_free(n);
    }
    test_steps_off();
    end(50);
}
END_TEST

START_TEST(what_is_resized)
{
    start();
    size_t len = 0;
    for (size_t size = 1; size < 200000; size += size / 2 + 1) {
        test_steps_on(size > 32768);
        w.text = oak_realloc(w.text, size);
        test_steps_off();
        for (size_t i = 0; i < len; i++) w.wrong += w.text[i] != (char)(i % 127);
        for (; len < size; len++) w.text[len] = (char)(len % 127);
    }
    for (; len > 16; len /= 3) {
        test_steps_on(true);
        w.text = oak_realloc(w.text, len / 3);
        test_steps_off();
        for (size_t i = 0; i < len / 3; i++) w.wrong += w.text[i] != (char)(i % 127);
    }
    end(50);
}
END_TEST

static node *new_node(uint64_t n)
{
    node *p = oak_alloc(sizeof *p);
    p->n = n;
    return p;
}

START_TEST(weak_references_and_ephemerons)
{
    start();
    for (uint64_t i = 0; i < ROUNDS; i++) {
        test_steps_on(false);
        node *held = new_node(i);
        w.weak = oak_weak_new(held);
        const node *got = oak_weak_get(w.weak);
        w.wrong += got != held || held->n != i;
        w.key = held;
        w.ephemeron = oak_ephemeron_new(w.key, new_node(~i));
        held = NULL;
        node *value;
        w.wrong += oak_ephemeron_get(w.ephemeron, (void **)&value) != w.key || value->n != ~i;
        oak_ephemeron_set(w.ephemeron, new_node(i + 1));
        value = NULL;
        oak_ephemeron_get(w.ephemeron, (void **)&value);
        w.wrong += value->n != i + 1;
        test_steps_off();
    }
    end(50);
}
END_TEST

static void finalized(void *object, void *data)
{
    w.wrong += ((node *)object)->n != ((node *)data)->n;
    w.finalized++;
}

START_TEST(finalizers)
{
    start();
    for (uint64_t i = 0; i < ROUNDS; i++) {
        test_steps_on(false);
        node *data = new_node(i);
        w.wrong += oak_finalizer_set(new_node(i), finalized, data) != 0;
        data = NULL;
        oak_finalizers_run();
        test_steps_off();
    }
    end(50);
    oak_collect();
    oak_finalizers_run();
    ck_assert_uint_ge(w.finalized, ROUNDS - 2); /* the last may be on the stack */
    ck_assert_uint_eq(w.wrong, 0);
}
END_TEST

Suite *suite_gc_steps(void)
{
    Suite *s = suite_create("gc_steps");
    TCase *tc = tcase_create("any instruction");
    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, objects_of_every_size);
    tcase_add_test(tc, what_is_resized);
    tcase_add_test(tc, weak_references_and_ephemerons);
    tcase_add_test(tc, finalizers);
    suite_add_tcase(s, tc);
    return s;
}
