/* writer.h - what dirty.c asks of each way to learn of writes (dirty.h). */
#ifndef OAKI_WRITER_H
#define OAKI_WRITER_H

#include "dirty.h"

typedef struct oaki_taking {
    size_t from, to; /* from is moved on */
    size_t most;     /* pages */
    bool again;
    oaki_dirty_fn *fn;
    void *ctx;
} oaki_taking;

typedef struct oaki_writer {
    const char *name;
    /* 0, or errno, and in *what the call or file that failed. Inside oaki_enter. */
    int (*open)(const char **what);
    /* As oaki_dirty_begin: NULL, or why not. *gone: never again. */
    const char *(*begin)(bool *gone);
    /* As oaki_dirty_take and oaki_dirty_take_some, fn may be NULL. SIZE_MAX with errno: never
     * again, unless mend, if there is one, says that it may be asked the next time. */
    size_t (*take)(oaki_taking *x);
    /* Can the calling thread ask? NULL: any can. */
    bool (*has)(void);
    /* Under dirty.c's lock. true: it can by now, or perhaps others can. If it counts, what others
     * may have that it can't open is nothing to go on with. false with errno: nobody can. */
    bool (*mend)(bool counts);
    void (*release)(size_t from, size_t to);
    void (*child)(void); /* after a fork: the range is as if nothing had been opened */
} oaki_writer;

extern OAKI_HIDDEN const oaki_writer oaki_writer_uffd, oaki_writer_fault;

/* What a list of pages refers to keeps nothing alive. 0, or -1 with errno. */
int oaki_uffd_init(void);

/* ---- dirty_fault.c, for the rest of it ---- */

/* A thread has written, or read, where it may not: true when that was a page of ours that it may
 * write now. In the handler, all signals blocked. */
bool oaki_fault_resolve(uintptr_t at);
/* Of [from, to) nothing is protected any more. */
void oaki_fault_release(size_t from, size_t to);

/* ---- faultsignal.c ---- */

int oaki_faultsignal_install(void); /* 0, or errno; once */
bool oaki_faultsignal_is_ours(void);
/* A thread of the process that blocks SIGSEGV, 0: none, -1: that can't be found out. Reads
 * /proc. */
int oaki_faultsignal_blocked(void);

#endif
