/* room.h - allocations that find no room below a limit, and wait for a collection to make some.
 *
 * Owns: struct oaki_want, which lies in a frame of the allocating thread, and the list of them.
 * Lock: OAKI_RANK_ROOM for the list. None in a stop, as every thread is outside of the runtime. */
#ifndef OAKI_ROOM_H
#define OAKI_ROOM_H

#include "thread.h"

typedef enum oaki_answer {
    OAKI_WANT_WAITS,
    OAKI_WANT_GOT,    /* take returned true */
    OAKI_WANT_REFUSED /* a full collection that began after the request has made no room */
} oaki_answer;

typedef struct oaki_want {
    struct oaki_want *next;
    /* Takes the memory if there is room, and keeps it in the structure around the want. Called by
     * the thread itself, inside the runtime, or in a stop by the collecting thread. May not
     * collect. */
    bool (*take)(struct oaki_want *w);
    oaki_thread *thread;
    size_t pages;    /* the least that it takes, however much is free */
    unsigned doubts; /* vain collections that may have missed garbage */
    bool seen;       /* a host's search for garbage began after the request */
    oaki_answer answer;
} oaki_want;

/* The thread has found no room. Sweeps, and collects until w->take succeeds or no collection can
 * help. false: the allocation fails. Inside oaki_enter; may leave it meanwhile, and run the host's
 * callbacks for the end of a collection. The caller sets errno. */
bool oaki_room_make(oaki_thread *t, oaki_want *w);

/* The thread has collected: its next refusals come after a collection each, as the first ones. */
void oaki_room_forget(oaki_thread *t);

/* The garbage that a mark has found, of all that existed when its last stop began. */
typedef enum oaki_found {
    OAKI_FOUND_SOME, /* some: it was a minor collection, or had begun before */
    OAKI_FOUND_MOST, /* all but objects that a fast path may have held (mcache.h) */
    OAKI_FOUND_SEEN, /* all that existed at oaki_room_see, if the process has one thread */
    OAKI_FOUND_ALL   /* all: a want that finds no room now is refused */
} oaki_found;

/* After the end of a mark, in its stop. ns: the length of the pause. */
void oaki_room_serve(oaki_found found, uint64_t ns);

/* A collection's pause took so long, and is over; gc_lock. */
void oaki_room_paused(uint64_t ns);

/* In a stop: do any wants wait? */
bool oaki_room_is_wanted(void);

/* Takes the want off the list, if it is there: it will not be answered. */
void oaki_room_withdraw(oaki_want *w);

/* ---- where no collection runs ---- */

/* A host that frees by hand: the malloc library. */
typedef struct oaki_room_host {
    /* May the calling thread's request wait? If not, it is refused at once. */
    bool (*waits)(void);
    /* World stopped, caches flushed: frees the memory that the host keeps for its later use. */
    void (*give_up)(void);
    /* Or NULL. Searches for garbage until the want, which is on the list, is answered:
     * oaki_room_see, the search, then oaki_room_stop. Inside oaki_enter; leaves it meanwhile.
     * false: it can't search. */
    bool (*collect)(oaki_thread *t, oaki_want *w);
} oaki_room_host;

/* Constant once more than one thread allocates. */
void oaki_room_set_host(const oaki_room_host *host);

/* A search for garbage begins: its result decides the requests that are on the list now. */
void oaki_room_see(void);

typedef struct oaki_room_finding {
    oaki_found found;
    uint64_t ns;             /* the search's length */
    void (*free)(void *ctx); /* world stopped: frees the garbage found; or NULL */
    void *ctx;
    const oaki_want *want;   /* once it is answered, no stop is needed; or NULL */
} oaki_room_finding;

/* Stops the world, flushes all caches, frees the garbage found and the empty spans, and serves the
 * wants. false: a thread does not stop. Inside oaki_enter. */
bool oaki_room_stop(oaki_thread *t, const oaki_room_finding *l);

int oaki_room_init(void);

#endif
