/* rootwords.h - all roots of a mark, word by word, in an image.
 *
 * The result is flat data, so a child can pass it to its parent. The parent adds the names
 * (rootname.h), as a symbol look-up takes the locks of the loader and of malloc. */
#ifndef OAKI_ROOTWORDS_H
#define OAKI_ROOTWORDS_H

#include "image.h"
#include <oakum/why.h>

/* Where code is: tells return addresses from data. Read before the image is taken. */
typedef struct oaki_code_map {
    size_t n;
    struct {
        uintptr_t lo, hi;
    } range[255];
} oaki_code_map;

void oaki_code_map_read(oaki_code_map *m); /* not in a pause */

/* A word that points into the heap; or an object that is kept alive without a word. */
typedef struct oaki_root_word {
    oak_root_kind kind;
    bool caller;     /* in the calling thread's stacks or registers */
    bool ours;       /* in the frames of the call itself */
    bool past_end;   /* the object before counts too */
    const oaki_thread *thread; /* or NULL */
    const char *place;         /* where the word is in this process; NULL: nowhere */
    const char *address;       /* its address in the program */
    uintptr_t value;
    const void *fn;            /* a finalizer's function */
    const char *object;        /* loaded object, or NULL */
} oaki_root_word;

/* Calls fn for each root. The order is fixed: data, ranges, thread by thread, pinned objects,
 * finalizers, objects that are alive only for a finalizer that is due. */
void oaki_root_words(oaki_image *im, void (*fn)(void *ctx, const oaki_root_word *w), void *ctx);

/* A root word as flat data. */
typedef struct oaki_root_found {
    int32_t kind, thread;
    uint32_t caller;
    uint64_t address, value;
    uint64_t pc;     /* of a stack word: likely in the function that owns its frame; 0: unknown */
    uint64_t fn;
    uint64_t tp;     /* thread pointer, for a word of thread-local storage */
    char reg[24];
    char object[160];
} oaki_root_found;

void oaki_root_flatten(const oaki_root_word *w, const oaki_code_map *code, oaki_root_found *out);

#endif
