/* walk.h - finds the objects that roots reach, and the lost ones; in an image.
 *
 * The state of an object is in three bitmaps and a table of heads (walk.c). Roots are walked twice:
 * first only pointers to the start of an object count, then also pointers into objects. The other
 * objects are lost. A lost object that no other lost object reaches is a head; the objects that it
 * reaches are lost with it. In a cycle, one of its objects is the head.
 *
 * A walk for the lost objects alone needs little memory: it visits the roots once, by pointers of
 * both kinds, and finds no heads.
 *
 * Owns: a walk, which belongs to its caller, in mapped memory. Bound: O(words of objects): kept
 * ones are read twice, lost ones once. Memory: heap * 9 / 32, of which only pages with objects are
 * touched, and 24 bytes an object. A walk for the lost alone reads kept objects once. It takes
 * 1/128 of the heap, and 8 bytes an object; with less memory, a stack of 32 KiB and more time. */
#ifndef OAKI_WALK_H
#define OAKI_WALK_H

#include "observe/image.h"
#include "preload.h"

typedef struct oaki_head {
    size_t slot;
    uint32_t into; /* number + 1 of another head that reaches this one; or 0 */
} oaki_head;

typedef struct oaki_walk {
    oaki_image *im;
    uint64_t *seen, *kept, *inner; /* bitmaps */
    uint32_t *head_of;             /* by granule: number + 1 of a lost object's head */
    size_t *stack;
    oaki_head *head;
    size_t bytes, depth, cap, nheads;
    uint32_t current; /* number + 1 of the head that is traced; 0: roots are traced */
    bool interior;    /* pointers into objects count */
    bool overflowed;  /* some seen objects had no room in the stack, and are not traced */
    bool blind;
} oaki_walk;

/* Begins a walk. Returns false without memory. only_lost: only oaki_walk_roots and _each_lost may
 * follow. */
bool oaki_walk_begin(oaki_walk *w, oaki_image *im, bool only_lost);
void oaki_walk_end(oaki_walk *w);

/* Trace all roots. Returns false if time runs out. */
bool oaki_walk_roots(oaki_walk *w);

/* Find the heads of the lost objects. Returns false if time runs out. */
bool oaki_walk_lost(oaki_walk *w);

/* The state of a program's object at slot. After both rounds. */
oaki_loss oaki_walk_loss(const oaki_walk *w, size_t slot);

/* The index of a lost object's head, which may be the object itself. */
uint32_t oaki_walk_head(const oaki_walk *w, size_t slot);

/* Call fn for each lost object of the program, heads included. */
void oaki_walk_each_lost(const oaki_walk *w, void (*fn)(void *ctx, size_t slot), void *ctx);

#endif
