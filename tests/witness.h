/* witness.h - objects that tell when they are marked: while the program runs, or in a stop. */
#ifndef TESTS_WITNESS_H
#define TESTS_WITNESS_H

#include "runtime/thread.h"
#include "runtime/type.h"
#include "heap.h"

typedef struct test_witness {
    struct test_witness *next;
    uintptr_t number;
} test_witness;

static AO_t test_witness_running, test_witness_stopped; /* calls of the mark function */
static const oak_type *test_witness_type;

static void test_witness_mark(oak_marker *m, void *obj, size_t size)
{
    (void)size;
    (void)AO_fetch_and_add1(oaki_world_stopped() ? &test_witness_stopped : &test_witness_running);
    oak_mark_ptr(m, ((test_witness *)obj)->next);
}

/* Before the first one. The verifier would call the function, too, and is off from here on. */
static void test_witness_start(void)
{
    oaki_debug_switches.verify = 0;
    test_witness_type = oak_type_function("witness", sizeof(test_witness), test_witness_mark);
    oaki_type_anytime(test_witness_type);
}

static test_witness *test_witness_new(test_witness *next, size_t number)
{
    test_witness *x = oak_alloc_typed(test_witness_type, 1);
    x->next = next;
    x->number = number;
    return x;
}

#endif
