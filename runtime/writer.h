/* writer.h - the interface of each way to find dirty pages, as dirty.c uses it (dirty.h). */
#ifndef OAKI_WRITER_H
#define OAKI_WRITER_H

#include "dirty.h"

typedef struct oaki_taking {
    size_t from, to; /* from advances */
    size_t most;     /* pages */
    bool again;
    oaki_dirty_fn *fn;
    void *ctx;
} oaki_taking;

typedef struct oaki_writer {
    const char *name;
    /* Returns 0, or errno with the failed call or file in *what. Inside oaki_enter. */
    int (*open)(const char **what);
    /* As oaki_dirty_begin: NULL, or the reason for the failure. *gone: it fails for good. */
    const char *(*begin)(bool *gone);
    /* As oaki_dirty_take and oaki_dirty_take_some; fn may be NULL. SIZE_MAX with errno: it fails
     * for good, unless mend exists and allows another try. */
    size_t (*take)(oaki_taking *x);
    /* Can the calling thread use it? NULL: any thread can. */
    bool (*has)(void);
    /* Under dirty.c's lock: reopens what the calling thread lacks. true: it works by now, or
     * perhaps works for other threads. With `counts`, success for other threads alone is not
     * enough. false with errno: it works for no thread. */
    bool (*mend)(bool counts);
    void (*release)(size_t from, size_t to);
    void (*child)(void); /* after a fork: the range is as if never opened */
    /* As oaki_dirty_enroll and oaki_dirty_try. NULL: not outside of the heap. */
    bool (*enroll)(void *p, size_t size);
    bool (*try)(void *p, size_t size, bool protect);
} oaki_writer;

extern OAKI_HIDDEN const oaki_writer oaki_writer_uffd, oaki_writer_fault;

/* Excludes the lists of runs (rooms) from the roots: their words keep nothing alive. 0, or -1 with
 * errno. */
int oaki_uffd_init(void);
void oaki_uffd_end(void); /* closes its descriptors */

/* ---- dirty_fault.c ---- */

/* A thread has written or read where it may not. true: the page is Oakum's, and the thread may
 * write to it now. Called in the handler, with all signals blocked. */
bool oaki_fault_resolve(uintptr_t at);
/* Ends the protection of all of [from, to). */
void oaki_fault_release(size_t from, size_t to);

/* ---- dirty_count.c ---- */

/* `asked` pages of the system were examined, and `found` of them were dirty. */
void oaki_dirty_count_take(size_t asked, size_t found);
/* [from, to) was dirty, or never protected; again: it is protected now. Where `again` is true, one
 * call at a time. */
void oaki_dirty_count_run(size_t from, size_t to, bool again);
void oaki_dirty_count_released(size_t from, size_t to);
void oaki_dirty_count_fault(void);

/* ---- faultsignal.c ---- */

int oaki_faultsignal_install(void); /* 0, or errno; once */
bool oaki_faultsignal_is_ours(void);
/* Gives SIGSEGV back. false: the program has installed a handler on top. */
bool oaki_faultsignal_end(void);
void oaki_faultsignal_stays(void); /* what the handler needs outlives the heap */
/* The id of a thread of the process that blocks SIGSEGV; 0: none; -1: unknown. Reads /proc. */
int oaki_faultsignal_blocked(void);

#endif
