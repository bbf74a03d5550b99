/* meta_backend.h - what a back end of the metadata allocator provides; meta.c picks one. */
#ifndef OAKI_META_BACKEND_H
#define OAKI_META_BACKEND_H

#include "meta.h"

typedef struct oaki_meta_ops {
    bool (*fits)(void);       /* may it be used in this process? asked before init */
    int (*init)(void);        /* 0, or -1 with ENOMEM */
    void *(*alloc)(size_t n); /* n > 0; 16-aligned, not zeroed; NULL when out of memory */
    void *(*zalloc)(size_t n);
    void (*free)(void *p, size_t n);
    /* the same contents in n bytes, without a copy; NULL when it can't, or there is none such */
    void *(*resize)(void *p, size_t old, size_t n);
    size_t (*rounded)(size_t n); /* what an allocation of n takes; 0 when n is too large */
    size_t (*mapped)(void); /* takes no lock, and nor does resident */
    size_t (*resident)(void);
    const char *(*check)(void); /* the rule that is broken, or NULL; or there is no check */
    void (*fork)(int stage);
    const char *(*name)(void);
    const void *library; /* an address in the shared library that it is, or NULL */
} oaki_meta_ops;

extern const oaki_meta_ops oaki_meta_builtin;
#ifdef OAKI_META_JEMALLOC
extern const oaki_meta_ops oaki_meta_jemalloc;
#endif

#endif
