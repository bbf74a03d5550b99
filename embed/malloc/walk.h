/* walk.h - what is reached from roots, and from where nothing is; in an image.
 *
 * Each object of the program's is in one of five states, a letter that one bit in each of three
 * bitmaps over granules spells (walk.c). Roots are walked twice: by pointers to the beginnings of
 * objects alone, then by those into them. What is left is lost: the first object of each part of
 * it that nothing in the rest reaches is its head, what heads reach is lost with them.
 *
 * Owns: a walk, its caller's, in mapped memory. Bound: twice the words of what is kept, once those
 * of what is lost; memory: heap / 32, of which pages are touched where there are objects, and 8
 * bytes an object of the longest branch. */
#ifndef OAKI_WALK_H
#define OAKI_WALK_H

#include "observe/image.h"
#include "preload.h"

typedef struct oaki_head {
    size_t slot;
    uint32_t into; /* of another head, by which it is reached after all: its number + 1; or 0 */
} oaki_head;

typedef struct oaki_walk {
    oaki_image *im;
    uint64_t *seen, *kept, *inner; /* bitmaps */
    uint32_t *head_of;             /* by granule: of what is lost, its head's number + 1 */
    size_t *stack;
    oaki_head *head;
    size_t bytes, depth, cap, nheads;
    uint32_t current; /* head that is being followed, number + 1; 0: roots are */
    bool interior;    /* pointers into objects count */
    bool blind;
} oaki_walk;

/* false without memory. */
bool oaki_walk_begin(oaki_walk *w, oaki_image *im);
void oaki_walk_end(oaki_walk *w);

/* Follow all roots. false when time is up. */
bool oaki_walk_roots(oaki_walk *w);

/* Tell heads from what they lead to. false when time is up. */
bool oaki_walk_lost(oaki_walk *w);

/* After both. The object is the program's, and begins at slot. */
oaki_loss oaki_walk_loss(const oaki_walk *w, size_t slot);

/* The head that it is, or is lost with: an index. */
uint32_t oaki_walk_head(const oaki_walk *w, size_t slot);

/* Call fn for each object of the program's that is lost, head or not. */
void oaki_walk_each_lost(const oaki_walk *w, void (*fn)(void *ctx, size_t slot), void *ctx);

#endif
