/* zone.h - parts of the heap with spans, accounts and a limit of their own (docs/zones.md).
 *
 * Owns: struct oak_zone, and struct oaki_zones, the table of them in oaki_heap. A zone's record is
 *   never freed, but used again: so a span's number leads to a record whatever happens meanwhile.
 * Lock: oaki_zones.lock for states, entries and lists; counters are changed without it. */
#ifndef OAKI_ZONE_H
#define OAKI_ZONE_H

#include "lock.h"
#include "span.h"
#include <oakum/zone.h>

struct oaki_mcache;
struct oaki_thread;
struct oak_fiber;

/* One mcentral: the spans of one span class in one zone that no thread has cached. Two sets of
 * lists, by parity: those swept in this cycle, and those that still wait for their sweep; the
 * end of a mark swaps them by counting the cycle up. */
typedef struct oaki_central {
    oaki_lock lock;
    uint32_t head[2][3]; /* [parity][oaki_span_list]: page number + 1 */
} oaki_central;

typedef enum oaki_zone_state {
    OAKI_ZONE_FREE,    /* the record waits for a new zone */
    OAKI_ZONE_OPEN,
    OAKI_ZONE_CLOSING, /* it is looked at; only who has an object of it comes in */
    OAKI_ZONE_DEAD     /* its memory is being given back */
} oaki_zone_state;

struct oak_zone {
    uint32_t id;            /* oaki_span.zone; 0: the default zone */
    unsigned int state;     /* oaki_zone_state; lock */
    uint32_t entries;       /* in it: lock */
    uint32_t next;          /* id of the next free or dead one, or 0; lock */
    bool called;            /* somebody with an object of it came in while it was closing; lock */
    const struct oaki_thread *closer; /* whose call it is that closes it; lock */
    AO_t central[OAKI_KINDS]; /* oaki_central[OAKI_CLASSES], made with the first span; or NULL */
    struct oaki_mcache *parked; /* caches of it that no thread is in; lock */
    /* The default zone's are what is left of the heap's: its own are not counted. */
    AO_t pages;             /* in spans */
    AO_t limit;             /* pages; SIZE_MAX: none */
    AO_t frees, free_bytes; /* by sweep and by hand */
    AO_t past_mallocs, past_bytes; /* by caches that are gone, or others' by now */
    AO_t collections, failures;
    AO_t special;           /* 1: an object in it had a finalizer, a weak reference, ... (span.h) */
    size_t limit_bytes;     /* as it was given */
    size_t dropped;         /* bytes of what was given back that the last mark has counted */
    size_t had;             /* pages, when it was discarded */
    uint64_t mallocs, bytes; /* by all caches: while a reader has stopped the world */
    size_t seen;            /* pages, by the checker; likewise */
    size_t survivor;        /* offset of an object that the mark found, when closing; or 0 */
    oak_zone_full on_full;
    void *ctx;
    char name[32];
};

#define OAKI_ZONE_CHUNK 64 /* records made at a time */
#define OAKI_ZONES_MAX 65536
#define OAKI_ZONES_PARKED 64 /* caches that wait for the next entry in their zone, at most */

typedef struct oaki_zones {
    oaki_lock lock;
    oak_zone *chunk[OAKI_ZONES_MAX / OAKI_ZONE_CHUNK];
    AO_t used;          /* ids below it have a record; the default zone counts */
    AO_t count;         /* zones that are open */
    AO_t ndead;
    uint32_t free, dead; /* id of the first, or 0; dead: from the oldest on */
    uint32_t last_dead;
    size_t serial;      /* zones made */
    struct oaki_mcache *newest, *oldest; /* parked caches of all zones, by when they were left */
    size_t nparked;
    struct oaki_mcache *spare; /* caches of no zone, empty */
    /* what zones that are gone had allocated, and so freed */
    uint64_t past_mallocs, past_bytes;
} oaki_zones;

/* ---- zone.c ---- */

void oaki_zones_init(void);

/* The arrays of centrals of a kind, made if need be. NULL when out of memory. */
oaki_central *oaki_zone_make_centrals(oak_zone *z, oaki_kind kind);

/* The zone takes so many pages more, unless its limit says no: then ENOMEM. And gives them back. */
bool oaki_zone_charge(oak_zone *z, size_t pages);
void oaki_zone_uncharge(uint32_t id, size_t pages);

/* Objects of it were freed. */
void oaki_zone_count_frees(uint32_t id, size_t objects, size_t bytes);

/* An allocation of n bytes failed on this thread: ask the handler of its zone. Whether to try
 * again. Sets errno. */
bool oaki_zone_full(size_t n);

/* ---- zonecache.c: who is in which zone ---- */

/* While the calling thread does something for owner, an object, it is in the zone of owner. 1: it
 * has entered it, and owes an oaki_zone_back; 0: it is in it anyway; -1: ENOMEM. A zone that is
 * being destroyed lets it in, and stays: who has an object of it can reach it. */
int oaki_zone_go(const void *owner);
void oaki_zone_back(void);

/* The rule that is broken, or NULL. O(pages of the heap). */
const char *oaki_zones_check(void);

/* Was p, a slot of s, which a cache has, taken for a run and not handed out? Looks at the caches of
 * the calling thread, and at those of the span's zone that no thread is in; what other threads have
 * taken is not known here. O(entries + parked caches of the zone). */
bool oaki_zones_hold_back(const oaki_span *s, const void *p);

/* The pointer that a call gives, made in the zone of owner: a part of it. NULL without memory. */
#define OAKI_BESIDE(owner, call) __extension__({                \
        int oaki_away = oaki_zone_go(owner);                    \
        void *oaki_made = oaki_away < 0 ? NULL : (call);        \
        if (oaki_away > 0) oaki_zone_back();                    \
        oaki_made;                                              \
    })

/* The thread won't come back: it is in no zone. threads_lock held, or the thread itself. */
void oaki_zones_leave_all(struct oaki_thread *t);
/* World stopped, thread gone: flush the caches of all zones that it is in. */
void oaki_zones_flush(struct oaki_thread *t);

/* oak_fiber_switch: the thread leaves its own stack (from NULL) or fiber, for another. */
void oaki_zones_switch(struct oaki_thread *t, struct oak_fiber *from, struct oak_fiber *to);
/* The fiber waits and won't go on. */
void oaki_zones_drop_fiber(struct oak_fiber *f);
/* M is final: the same for each that is not marked. */
void oaki_zones_drop_fibers(bool (*marked)(const void *obj));

/* From open to closing or dead, if nobody is in it; its caches are empty then. 0, EBUSY, or EINVAL:
 * it is gone already. Then from closing, by who closed it, to open or dead: false when it is open
 * after all, as somebody came in since oaki_zone_look. */
int oaki_zone_shut(oak_zone *z, oaki_zone_state to);
void oaki_zone_look(oak_zone *z);
bool oaki_zone_decide(oak_zone *z, oaki_zone_state to);

/* In the child of a fork: those that other threads were closing are open. Returns how many are left
 * that close. */
size_t oaki_zones_reopen(void);

/* ---- zonedrop.c: giving back ---- */

int oaki_zones_reaper_init(void);
/* A dead zone is to be given back; and then, outside: see to it that it is. */
void oaki_zone_drop(oak_zone *z);
void oaki_zones_reaper_wake(void);

/* Give back at most so many spans of dead zones, while no mark is under way. false when
 * there is none to be had. */
bool oaki_zones_reap(size_t spans);

#endif
