/* label.h - labels of threads: sets of keys and values that allocations carry into the profile.
 *
 * A thread has a chain of sets, the innermost first. Each set is the union of its own labels and
 * those of all outer sets, so only the head is in effect. A set is one block of metadata that ends
 * in a *body* without addresses, sorted by key. Two sets are equal when their bodies are equal byte
 * by byte.
 *
 * Owns: oaki_thread.labels. Accessed by the thread alone, inside oaki_enter; by other threads once
 * the thread is gone. */
#ifndef OAKI_LABEL_H
#define OAKI_LABEL_H

#include "thread.h"
#include <oakum/profile.h>

#define OAKI_LABELS_MAX 64
#define OAKI_LABELS_BYTES ((size_t)64 << 10)

/* Offsets are from the body's start; a zero byte follows each string. */
typedef struct oaki_label {
    uint32_t key, key_len;
    uint32_t text, text_len; /* the value, or the number's unit */
    int64_t number;
    uint64_t is_number;
} oaki_label;

typedef struct oaki_labels {
    struct oaki_labels *outer;
    uint32_t depth; /* number of sets outside it */
    uint32_t n;
    size_t bytes;   /* of the body */
    uint64_t hash;  /* of the body */
    oaki_label label[]; /* the body: n of them, then the strings */
} oaki_labels;

/* A label of a body, in the public form. */
oak_label oaki_label_public(const void *body, size_t i);

/* The calling thread's set as a set of its own, without outer ones. NULL when it has none, or
 * memory is out. */
oaki_labels *oaki_labels_copy(const oaki_labels *l);

/* Frees a whole chain. */
void oaki_labels_free(oaki_labels *l);

#endif
