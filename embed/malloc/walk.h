/* walk.h - finds the objects that roots reach, and the lost ones; in an image.
 *
 * The state of an object is in three bitmaps and a table of heads (walk.c). Roots are walked twice:
 * first only pointers to the start of an object count, then also pointers into objects. The other
 * objects are lost. A lost object that no other lost object reaches is a head; the objects that it
 * reaches are lost with it. In a cycle, one of its objects is the head.
 *
 * Who wants to know only what is lost has a walk that does with little memory: roots are walked
 * once, by pointers of both kinds, and of heads nothing is known.
 *
 * Owns: a walk, its caller's, in mapped memory. Bound: twice the words of what is kept, once those
 * of what is lost; memory: heap * 9 / 32, of which pages are touched where there are objects, and
 * 24 bytes an object. For what is lost only: once the words of what is kept, heap / 128, and 8
 * bytes an object, or 32 KiB and more time where those are not to be had. */
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
    bool overflowed;  /* what the stack had no room for is seen, and not followed */
    bool blind;
} oaki_walk;

/* false without memory. only_lost: of the functions below, oaki_walk_roots and _each_lost serve. */
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
