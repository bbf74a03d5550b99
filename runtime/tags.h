/* tags.h - tagged words: references that are not plain pointers.
 *
 * A word that lies in the heap's range is a reference. With oak_config.pointer_tags, a word that
 * such a tag decodes to an address of the range is one, too. oaki_word_refs decodes a word for all
 * code outside of the marker's loops. Those have the same rule in line (gc/trace/hot.h).
 *
 * A tag is prepared for the heap's place as four numbers:
 *     x = rotate_right((word & keep) - sub, rot);  the offset is x << left, if x < used >> left
 * keep leaves the pointer's bits and the tested ones. sub takes the tag's value and the heap's
 * beginning away. rot puts the pointer's bits lowest, with the tested bits above them, all zero
 * now if they were right. So one comparison tests tag and range.
 *
 * Owns: oaki_tags. Written before the heap is started, or by a host in a stop (gc/host.h); read
 * without a lock. */
#ifndef OAKI_TAGS_H
#define OAKI_TAGS_H

#include "base.h"
#include "heap.h"

/* Decoders: one for each tag, two for one of halves. */
#define OAKI_TAGS OAK_POINTER_TAGS
#define OAKI_WORD_REFS (1 + OAKI_TAGS) /* most references in a word */

typedef struct oaki_tag {
    uint64_t keep, sub;
    unsigned rot, left;
} oaki_tag;

/* The steps that a single tag needs. All forms but the first require that nothing is shifted left.
 * Nor may a word be a plain pointer and, by the tag, one to another place. The marker has a loop
 * for each form. */
typedef enum oaki_tag_form {
    OAKI_TAG_GENERAL, /* none of those below */
    OAKI_TAG_ADDED,   /* every bit is kept, nothing is rotated */
    OAKI_TAG_MASKED,  /* nothing is rotated */
    OAKI_TAG_ROTATED, /* every bit is kept */
    OAKI_TAG_SHIFTED  /* every bit is kept but those that are shifted out */
} oaki_tag_form;

typedef struct oaki_tag_set {
    unsigned n;
    oaki_tag_form form;
    bool loose; /* numbers may be references: a tag counts from the heap, and its value is low */
    oaki_tag tag[OAKI_TAGS];
} oaki_tag_set;

extern OAKI_HIDDEN oaki_tag_set oaki_tags;

/* Returns the reason why these tags are unsound for a heap of `reserve` bytes (0: the default), or
 * NULL. *which is the index of the tag in question. All-zero entries are no tags. */
const char *oaki_tags_check(const oak_pointer_tag *tag, size_t n, size_t reserve, size_t *which);

/* Reads a list of names, as "nan-fffc,shift-3" (tagnames.c), into OAK_POINTER_TAGS entries that are
 * all zero. false: a name is unknown, or there are too many. */
bool oaki_tags_parse(const char *text, oak_pointer_tag *out);

/* Prepares the tags, which were checked, for the heap at its place. Returns the reason why a tag
 * can't reach all of it, or NULL. */
const char *oaki_tags_prepare(oaki_tag_set *set, const oak_pointer_tag *tag, size_t n);

OAKI_INLINE uint64_t oaki_rotate_right(uint64_t x, unsigned n)
{
    return x >> n | x << (-n % 64);
}

OAKI_INLINE uint64_t oaki_tag_index(const oaki_tag *t, uintptr_t word)
{
    return oaki_rotate_right((word & t->keep) - t->sub, t->rot);
}

unsigned oaki_word_tagged(uintptr_t word, size_t used, size_t *out);

/* Stores the offsets, below used, that a word refers to: as a pointer first, then by its tags.
 * Returns their number. `out` has room for OAKI_WORD_REFS. */
OAKI_INLINE unsigned oaki_word_refs(uintptr_t word, size_t used, size_t *out)
{
    size_t off = word - oaki_the_heap.base;
    unsigned n = off < used;
    if (n) out[0] = off;
    if (OAKI_UNLIKELY(oaki_tags.n > 0)) n += oaki_word_tagged(word, used, out + n);
    return n;
}

#endif
