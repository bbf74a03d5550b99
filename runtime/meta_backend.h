/* meta_backend.h - the interface of a back end of the metadata allocator; meta.c picks one. */
#ifndef OAKI_META_BACKEND_H
#define OAKI_META_BACKEND_H

#include "meta.h"

typedef struct oaki_meta_ops {
    bool (*fits)(void);       /* usable in this process? called before init */
    int (*init)(void);        /* 0, or -1 with ENOMEM */
    void *(*alloc)(size_t n); /* n > 0; 16-aligned, not zeroed; NULL when out of memory */
    void *(*zalloc)(size_t n);
    void (*free)(void *p, size_t n);
    /* the same contents in n bytes, without a copy; NULL when that is impossible. The pointer may
     * be NULL. */
    void *(*resize)(void *p, size_t old, size_t n);
    bool (*keep_room)(void); /* as oaki_meta_keep_room; the pointer may be NULL */
    size_t (*rounded)(size_t n); /* bytes taken by an allocation of n; 0 when n is too large */
    size_t (*mapped)(void); /* takes no lock; neither does resident */
    size_t (*resident)(void);
    const char *(*check)(void); /* the violated rule, or NULL; the pointer may be NULL */
    void (*fork)(int stage);
    const char *(*name)(void);
    const void *library; /* an address in the back end's shared library, or NULL */
} oaki_meta_ops;

extern const oaki_meta_ops oaki_meta_builtin;
#ifdef OAKI_META_JEMALLOC
extern const oaki_meta_ops oaki_meta_jemalloc;
#endif

#endif
