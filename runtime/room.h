/* room.h - allocations that found no room below a limit, and wait for a collection to make some.
 *
 * Owns: struct oaki_want, which lies in a frame of the thread that allocates, and the list of them.
 * Lock: OAKI_RANK_ROOM for the list; in a stop none, as every thread is outside of the runtime. */
#ifndef OAKI_ROOM_H
#define OAKI_ROOM_H

#include "thread.h"

typedef enum oaki_answer {
    OAKI_WANT_WAITS,
    OAKI_WANT_GOT,    /* take said yes */
    OAKI_WANT_REFUSED /* a full collection that began after the request has not made the room */
} oaki_answer;

typedef struct oaki_want {
    struct oaki_want *next;
    /* Takes what is wanted if there is room, and keeps it in the structure around the want. By the
     * thread itself, inside the runtime, or in a stop by the one that collects. May not collect. */
    bool (*take)(struct oaki_want *w);
    oaki_thread *thread;
    size_t pages;    /* that it takes at least, whatever is free */
    unsigned doubts; /* collections in vain that may not have found all of the garbage */
    bool seen;       /* a host's look for garbage began after the request */
    oaki_answer answer;
} oaki_want;

/* The thread has found no room. Sweeps, and collects until w->take says yes or no collection can
 * help. false: the allocation fails. Inside oaki_enter; may leave meanwhile, and run what the
 * program has for the end of a collection. errno is the caller's to set. */
bool oaki_room_make(oaki_thread *t, oaki_want *w);

/* What a mark has found of the garbage that there was when its last stop began. */
typedef enum oaki_found {
    OAKI_FOUND_SOME, /* it was a minor one, or had begun before */
    OAKI_FOUND_MOST, /* all but what a fast path may have had in its hands (mcache.h) */
    OAKI_FOUND_SEEN, /* all, as far as requests are concerned that were seen */
    OAKI_FOUND_ALL   /* a want that finds no room now is refused */
} oaki_found;

/* After the end of a mark, in its stop. ns: how long the world has stood for it. */
void oaki_room_serve(oaki_found found, uint64_t ns);

/* Off the list, if it is there: nobody will answer. */
void oaki_room_withdraw(oaki_want *w);

/* ---- where no collection runs ---- */

/* A host that frees by hand: the malloc library. */
typedef struct oaki_room_host {
    /* May the calling thread's request wait? Else it is refused at once. */
    bool (*waits)(void);
    /* World stopped, caches flushed: frees what the host has allocated for its later use. */
    void (*give_up)(void);
    /* Or NULL. Looks for garbage until the want, which is on the list, is answered:
     * oaki_room_see, the look, and oaki_room_stop. Inside oaki_enter; leaves meanwhile. false: it
     * can't look. */
    bool (*collect)(oaki_thread *t, oaki_want *w);
} oaki_room_host;

/* Constant once more than one thread allocates. */
void oaki_room_set_host(const oaki_room_host *host);

/* A look for garbage begins: what it finds decides on the requests that are there now. */
void oaki_room_see(void);

typedef struct oaki_room_look {
    oaki_found found;
    uint64_t ns;             /* that it took */
    void (*free)(void *ctx); /* world stopped: frees what was found; or NULL */
    void *ctx;
    const oaki_want *want;   /* once it is answered no stop is needed; or NULL */
} oaki_room_look;

/* Stops the world, flushes all caches, frees what was found and spans that are empty, and serves.
 * false: a thread does not stop. Inside oaki_enter. */
bool oaki_room_stop(oaki_thread *t, const oaki_room_look *l);

int oaki_room_init(void);

#endif
