/* finalrecord.h - records of finalizers and cleanups, shared by finalizer.c, which owns them,
 * and decide.c, which decides which are ready. */
#ifndef OAKI_FINALRECORD_H
#define OAKI_FINALRECORD_H

#include "finalizer.h"
#include "objtable.h"

enum { OAKI_FINAL_WAITING = 0, OAKI_FINAL_READY };

/* one more kind than gc.h has */
enum { OAKI_FINAL_CLEANUP = OAK_FINALIZER_UNREACHABLE + 1 };

#define OAKI_FINAL_KINDS (OAKI_FINAL_CLEANUP + 1)

typedef struct oaki_final_record {
    oaki_record link;
    oaki_finalizer_fn fn;
    void *ctx;
    uint32_t next, prev; /* in the queue; in a decision's list of candidates, next alone */
    uint8_t state, kind, age;
    uint32_t zone; /* of the object, which may be gone before its cleanup has run */
} oaki_final_record;

_Static_assert(sizeof(oaki_final_record) == 48, "docs/finalizers.md says so");

typedef struct oaki_final_state {
    oaki_objtable table;
    uint32_t head, tail; /* of the queue */
    AO_t waiting[OAKI_FINAL_KINDS], ready, stuck, stuck_bytes;
    AO_t fresh; /* queued by a collection since oaki_finalizers_fresh was last called */
} oaki_final_state;

extern OAKI_HIDDEN oaki_final_state oaki_final;

/* Append record i to the queue; remove it from there. */
void oaki_final_append(uint32_t i);
void oaki_final_remove(uint32_t i);

#endif
