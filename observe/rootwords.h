/* rootwords.h - everything that a mark starts from, word by word, in an image.
 *
 * What is found is flat data, so that a child can hand it to its parent, which gives it names
 * (rootname.h): symbols are looked up with the loader's and malloc's locks. */
#ifndef OAKI_ROOTWORDS_H
#define OAKI_ROOTWORDS_H

#include "image.h"
#include <oakum/why.h>

/* Where code is: read before the image is taken, for telling return addresses from data. */
typedef struct oaki_code_map {
    size_t n;
    struct {
        uintptr_t lo, hi;
    } range[255];
} oaki_code_map;

void oaki_code_map_read(oaki_code_map *m); /* not in a stop */

/* A word that leads into the heap; or an object that is kept without a word. */
typedef struct oaki_root_word {
    oak_root_kind kind;
    bool caller;     /* of the calling thread's stacks or registers */
    bool ours;       /* in the frames of the call itself */
    bool past_end;   /* the object before counts too */
    const oaki_thread *thread; /* or NULL */
    const char *place;         /* where the word is now; NULL: in none */
    const char *address;       /* and where the program has it */
    uintptr_t value;
    const void *fn;            /* a finalizer's function */
    const char *object;        /* loaded object, or NULL */
} oaki_root_word;

/* Call fn for each, in an order that is the same each time: data, ranges, thread by thread,
 * pinned objects, finalizers, objects that only wait for a finalizer. */
void oaki_root_words(oaki_image *im, void (*fn)(void *ctx, const oaki_root_word *w), void *ctx);

/* The same, flat. */
typedef struct oaki_root_found {
    int32_t kind, thread;
    uint32_t caller;
    uint64_t address, value;
    uint64_t pc;     /* a stack's: in the function whose frame it is in, likely; 0: not known */
    uint64_t fn;
    uint64_t tp;     /* thread pointer, of a TLS word */
    char reg[24];
    char object[160];
} oaki_root_found;

void oaki_root_flatten(const oaki_root_word *w, const oaki_code_map *code, oaki_root_found *out);

#endif
