/* zone.h - zones: parts of the heap with spans, accounts and a limit of their own (docs/zones.md).
 *
 * Owns: struct oak_zone, and struct oaki_zones, the table of them in oaki_heap. A zone's record is
 * never freed, but reused. So a span's zone number always leads to a record.
 * Lock: oaki_zones.lock for states, entries and lists; counters are changed without it. */
#ifndef OAKI_ZONE_H
#define OAKI_ZONE_H

#include "lock.h"
#include "span.h"
#include <oakum/zone.h>

struct oaki_mcache;
struct oaki_thread;
struct oak_fiber;

/* One mcentral: the spans of one span class in one zone that no thread has cached. It has two sets
 * of lists, by parity: the spans swept in this cycle, and those that still wait for their sweep.
 * The end of a mark swaps the sets by incrementing the cycle. */
typedef struct oaki_central {
    oaki_lock lock;
    uint32_t head[2][3]; /* [parity][oaki_span_list]: page number + 1 */
} oaki_central;

typedef enum oaki_zone_state {
    OAKI_ZONE_FREE,    /* the record waits for a new zone */
    OAKI_ZONE_OPEN,
    /* the collector checks for live objects; only a thread that has one of its objects enters */
    OAKI_ZONE_CLOSING,
    OAKI_ZONE_DEAD     /* its memory is being given back */
} oaki_zone_state;

struct oak_zone {
    uint32_t id;            /* oaki_span.zone; 0: the default zone */
    unsigned int state;     /* oaki_zone_state; lock */
    uint32_t entries;       /* entries of threads and fibers in it; lock */
    uint32_t making;        /* of entries, those whose cache is being made; lock */
    uint32_t next;          /* id of the next free or dead zone, or 0; lock */
    bool called;            /* a thread with an object of it entered while it was closing; lock */
    const struct oaki_thread *closer; /* the thread whose call closes it; lock */
    AO_t central[OAKI_KINDS]; /* oaki_central[OAKI_CLASSES], made with the first span; or NULL */
    struct oaki_mcache *parked; /* its caches that no thread is in; lock */
    /* The counters of the default zone are the heap's less those of all others: its own are not
     * kept. */
    AO_t pages;             /* in spans, and of external bytes */
    AO_t external;          /* bytes (gc/refs/external.c) */
    AO_t limit;             /* pages; SIZE_MAX: none */
    AO_t frees, free_bytes; /* by sweep and by hand */
    AO_t past_mallocs, past_bytes; /* by caches that are gone, or that serve other zones by now */
    AO_t collections, failures;
    AO_t special;           /* 1: an object in it had a finalizer, a weak reference, ... (span.h) */
    size_t limit_bytes;     /* the limit as the caller gave it */
    size_t dropped;         /* bytes given back that the last mark has counted */
    uint64_t mallocs, bytes; /* by all caches; valid while a reader has stopped the world */
    size_t seen;            /* pages counted by the checker; likewise */
    size_t survivor;        /* offset of an object that the mark found while closing; or 0 */
    oak_zone_full on_full;
    void *ctx;
    char name[32];
};

#define OAKI_ZONE_CHUNK 64 /* records made at a time */
#define OAKI_ZONES_MAX 65536
#define OAKI_ZONES_PARKED 64 /* the most caches that wait for the next entry into their zone */

typedef struct oaki_zones {
    oaki_lock lock;
    oak_zone *chunk[OAKI_ZONES_MAX / OAKI_ZONE_CHUNK];
    AO_t used;          /* ids below it have a record; counts the default zone */
    AO_t count;         /* zones that are open or closing */
    AO_t ndead;
    uint32_t free, dead; /* ids of the first, or 0; dead: the oldest first */
    uint32_t last_dead;
    size_t serial;      /* number of zones made */
    struct oaki_mcache *newest, *oldest; /* parked caches of all zones, by the time of parking */
    size_t nparked;
    struct oaki_mcache *spare; /* empty caches of no zone */
    /* allocated, and so freed, by zones that are gone */
    uint64_t past_mallocs, past_bytes;
} oaki_zones;

/* ---- zone.c ---- */

void oaki_zones_init(void);

/* The array of centrals of a kind, made if needed. NULL when out of memory. */
oaki_central *oaki_zone_make_centrals(oak_zone *z, oaki_kind kind);

/* charge: the zone takes so many more pages, unless its limit forbids: then false with ENOMEM.
 * uncharge: gives them back. */
bool oaki_zone_charge(oak_zone *z, size_t pages);
void oaki_zone_uncharge(uint32_t id, size_t pages);

/* Counts freed objects of the zone. */
void oaki_zone_count_frees(uint32_t id, size_t objects, size_t bytes);

/* An allocation of n bytes failed on this thread: calls the handler of its zone, unless it is held
 * back. Returns whether to try again. Sets errno. */
bool oaki_zone_full(size_t n);

/* ---- zonecache.c: which threads are in which zone ---- */

/* Enters the zone of owner, an object, for an operation on owner. 1: entered; the caller owes an
 * oaki_zone_back. 0: it is in that zone already. -1: ENOMEM. A zone that is being destroyed lets
 * the thread in, and then stays: the thread can reach an object of it. */
int oaki_zone_go(const void *owner);
void oaki_zone_back(void);

/* The broken rule, or NULL. O(pages of the heap). */
const char *oaki_zones_check(void);

/* Was p, a slot of a cached span s, taken for a run but not handed out? Searches the caches of the
 * calling thread, and the parked ones of the span's zone. Slots that other threads have taken
 * are not known here. O(entries + parked caches of the zone). */
bool oaki_zones_hold_back(const oaki_span *s, const void *p);

/* The result of a call that makes a part of owner, run in the zone of owner. NULL without
 * memory. */
#define OAKI_IN_ZONE_OF(owner, call) __extension__({                \
        int oaki_away = oaki_zone_go(owner);                    \
        void *oaki_made = oaki_away < 0 ? NULL : (call);        \
        if (oaki_away > 0) oaki_zone_back();                    \
        oaki_made;                                              \
    })

/* The thread won't come back: takes it out of all zones. threads_lock held. */
void oaki_zones_leave_all(struct oaki_thread *t);
/* Flushes the caches of all zones that it is in. By the thread itself, inside oaki_enter; or the
 * world is stopped, or the thread gone. */
void oaki_zones_flush(struct oaki_thread *t);

/* For oak_fiber_switch: the thread leaves a fiber, or its own stack (NULL), for another. */
void oaki_zones_switch(struct oaki_thread *t, struct oak_fiber *from, struct oak_fiber *to);
/* The fiber is suspended and won't continue. */
void oaki_zones_drop_fiber(struct oak_fiber *f);
/* The same for each fiber that is not marked. M is final. */
void oaki_zones_drop_fibers(bool (*marked)(const void *obj));

/* shut: takes a zone that no thread is in from open to closing or dead, and empties its caches. 0,
 * EBUSY, or EINVAL when it is gone already.
 * check_begin: the check for live objects begins.
 * decide: the closing thread takes the zone from closing to open or dead. false when it is open
 * after all: a thread was in it at oaki_zone_check_begin, or has entered since. */
int oaki_zone_shut(oak_zone *z, oaki_zone_state to);
void oaki_zone_check_begin(oak_zone *z);
/* Fatal if z is NULL, or was discarded and its record is in no other zone's use yet. */
void oaki_zone_check_use(const oak_zone *z, const char *caller);
bool oaki_zone_decide(oak_zone *z, oaki_zone_state to);

/* In the child of a fork: reopens the zones that other threads were closing. Returns the number of
 * zones that are still closing. */
size_t oaki_zones_reopen(void);

/* ---- zonedrop.c: giving back ---- */

int oaki_zones_reaper_init(void);
/* drop queues a dead zone to be given back. wake, called outside of oaki_enter, makes sure that it
 * is. */
void oaki_zone_drop(oak_zone *z);
void oaki_zones_reaper_wake(void);

/* Gives back at most so many spans of dead zones, while no mark is under way. false when there are
 * none to take. */
bool oaki_zones_reap(size_t spans);
/* Gives back some spans of dead zones, unless a mark is under way. Are there more? Outside of
 * oaki_enter. */
bool oaki_zones_reap_some(void);

#endif
