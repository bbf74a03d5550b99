/* meta.h - off-heap metadata of variable size: thread records, root and finalizer tables, type ids,
 * profiles.
 *
 * There are two back ends behind one interface. The usual one works on mapped page runs
 * (meta_builtin.c). The other is an arena of jemalloc (meta_jemalloc.c), an option for the
 * configuration of a shared library.
 *
 * Call it inside oaki_enter/oaki_leave, or on a runtime thread that is never stopped. With the
 * world stopped it is called only for requests that are answered in the stop (room.c). A collection
 * takes the metadata it needs before. Memory is 16-aligned, and not zeroed unless said. */
#ifndef OAKI_META_H
#define OAKI_META_H

#include "base.h"

/* The purpose of the memory: each is a figure of MemStats. */
typedef enum oaki_meta_use {
    OAKI_META_OTHER,
    OAKI_META_MCACHE,
    OAKI_META_MSPAN, /* type ids of typed spans */
    OAKI_META_GC,
    OAKI_META_BUCKHASH,
    OAKI_META_USES
} oaki_meta_use;

int oaki_meta_init(void);
void *oaki_meta_alloc(size_t n, oaki_meta_use use);  /* NULL when out of memory */
void *oaki_meta_zalloc(size_t n, oaki_meta_use use); /* zeroed */
/* old: the size as given before. When it returns NULL, p is kept. */
void *oaki_meta_realloc(void *p, size_t old, size_t n, oaki_meta_use use);
void oaki_meta_free(void *p, size_t n, oaki_meta_use use); /* n as given before; NULL allowed */

/* Reserves room for the metadata that a step of the heap may need. Called before the heap takes the
 * rest of a system limit. false when there is none. Takes the back end's locks. */
bool oaki_meta_keep_room(void);

/* These may be called with the world stopped:
 *   - bytes handed out for a use, as rounded by the back end;
 *   - bytes that the back end holds from the system;
 *   - how many of those are backed by memory. */
size_t oaki_meta_in_use(oaki_meta_use use);
size_t oaki_meta_mapped(void);
size_t oaki_meta_resident(void);

const char *oaki_meta_backend(void); /* "jemalloc 5.3.0", "built-in" */
const void *oaki_meta_library(void); /* an address in the back end's shared library, or NULL */
const char *oaki_meta_check(void);   /* the violated rule, or NULL; takes the locks */
void oaki_meta_fork(int stage);      /* 0 before fork, 1 after it in the parent, 2 in the child */

/* A table that grows by doubling: items of one size in one block. Guarded by its owner's lock. */
typedef struct oaki_vec {
    void *items;
    size_t len, cap, item;
    oaki_meta_use use;
} oaki_vec;

void oaki_vec_init(oaki_vec *v, size_t item, oaki_meta_use use);
void *oaki_vec_push(oaki_vec *v); /* the new item, not zeroed; NULL when out of memory */
int oaki_vec_reserve(oaki_vec *v, size_t cap);
void oaki_vec_free(oaki_vec *v);

#endif
