/* roots_support.h - objects of which a test knows the death, without knowing their addresses.
 *
 * An address that must not be seen is hidden: xored with ROOTS_MASK. A group is made with nothing
 * referring to its objects; the test then reveals addresses in the one place that it is about,
 * collects, and counts. A cleanup on each object counts the dead. */
#ifndef TESTS_GC_ROOTS_SUPPORT_H
#define TESTS_GC_ROOTS_SUPPORT_H

#include "tests/skip.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ROOTS_MASK 0x5a5a5a5a5a5a5a5a
#define ROOTS_N 64 /* objects in a group */

/* Of an unreachable group so many may stay, because a stale word looks like a reference. */
#define ROOTS_LUCK 4

typedef struct roots_group {
    uintptr_t hidden[ROOTS_N];
    size_t size;
    bool dead[ROOTS_N];
} roots_group;

/* Start Oakum so that it collects in roots_collect alone, even where a collection at every Nth
 * allocation is asked for, and runs cleanups only in roots_alive. */
void roots_start(void);

/* A collection, after roots_clean. */
void roots_collect(void);

/* Objects of exactly this size in bytes. */
void roots_make(roots_group *g, size_t size);

/* slots[i] = address of object i + add */
void roots_reveal(const roots_group *g, void **slots, size_t add);
void roots_forget(void **slots);

/* Collect twice; how many of the group live. The second form does it in a new thread. */
size_t roots_alive(const roots_group *g);
size_t roots_alive_elsewhere(const roots_group *g);

/* All of the group live, or as many as may by luck do. */
#define roots_assert_kept(alive) ck_assert_uint_eq((alive), ROOTS_N)
#define roots_assert_gone(alive) ck_assert_uint_le((alive), ROOTS_LUCK)

/* Overwrite what calls have left below this frame, and in vector registers. */
void roots_clean(void);

/* Memory for a stack of up to 128 KiB, far from any other: Valgrind takes a short way from stack to
 * stack for a frame. */
void *roots_map_stack(void);

/* Two threads in step: one says that it got there and waits, the other waits for that, and later
 * lets it go on. */
typedef struct roots_step {
    unsigned there, go;
} roots_step;

void roots_arrive(roots_step *s); /* and wait; spins in user code */
void roots_await(const roots_step *s);
void roots_let_go(roots_step *s);

#endif
