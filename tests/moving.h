/* moving.h - a table of things that know whose they are, which come, and move: one that only a word
 * written late refers to is lost by a mark that is not told of the word.
 *
 * Who includes it says how many SLOTS the table has, and makes it. */
#ifndef TESTS_MOVING_H
#define TESTS_MOVING_H

#include "threads.h"
#include <check.h>
#include <oakum/oakum.h>

typedef struct thing {
    uint64_t id, seal;
    struct thing *next;
} thing;

static thing **table;
static uint64_t draw = 88172645463325252u;

/* NULL when out of memory. */
static thing *new_thing(uint64_t id)
{
    thing *t = oak_alloc(sizeof *t);
    if (t) *t = (thing){ .id = id, .seal = ~id };
    return t;
}

static void check_table(void)
{
    for (size_t i = 0; i < SLOTS; i++)
        if (table[i]) ck_assert_uint_eq(table[i]->id, ~table[i]->seal);
}

/* New ones come, and move, so that the only reference to one is a word that was written late. */
static void move_some(void)
{
    for (int i = 0; i < 2000; i++) {
        size_t from = test_draw(&draw) % SLOTS, to = test_draw(&draw) % SLOTS;
        if (i % 2) table[from] = new_thing(draw);
        table[to] = table[from];
        table[from] = NULL;
    }
}

#endif
