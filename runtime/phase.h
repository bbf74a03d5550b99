/* phase.h - the phase that the collector is in, as mutators see it.
 *
 * The word is oaki_heap.phase. gc/cycle.c alone writes it, in one function, and says which phase
 * may follow which. A mutator reads it inside oaki_enter: no pause comes until the mutator leaves.
 * So the pauses at both ends of a mark are seen whole or not at all. */
#ifndef OAKI_PHASE_H
#define OAKI_PHASE_H

#include "heap.h"

/* In the order of a cycle. tests/model has the same names; docs/architecture.md has the table. */
typedef enum oaki_phase {
    OAKI_PHASE_IDLE,        /* no cycle is under way, and no span is unswept */
    OAKI_PHASE_PROTECT,     /* pages of scanned objects are write-protected */
    OAKI_PHASE_INIT_PAUSE,  /* stopped: the cycle begins; a concurrent one queues roots */
    OAKI_PHASE_PREPARE,     /* M = ~A; in a minor cycle M = M | ~A */
    OAKI_PHASE_MARK,        /* queued objects are traced */
    OAKI_PHASE_PRECLEAN,    /* dirty pages are rescanned, in rounds */
    OAKI_PHASE_FINAL_PAUSE, /* stopped: M becomes final */
    OAKI_PHASE_RECLAIM,     /* disclaim functions run; flagged records leave */
    OAKI_PHASE_SWEEP,       /* A = A & M, until no span is unswept */
    OAKI_PHASES
} oaki_phase;

OAKI_INLINE oaki_phase oaki_phase_now(void)
{
    return (oaki_phase)AO_load_acquire(&oaki_the_heap.phase);
}

/* From the roots' queueing until M is final: a new slot changes A and M (span.c). */
OAKI_INLINE bool oaki_is_marking(void)
{
    return AO_load(&oaki_the_heap.phase) - OAKI_PHASE_INIT_PAUSE <=
           OAKI_PHASE_FINAL_PAUSE - OAKI_PHASE_INIT_PAUSE;
}

/* M is being made of A: an allocation changes A, and then M, under bits_lock. */
OAKI_INLINE bool oaki_is_preparing(void)
{
    return oaki_phase_now() == OAKI_PHASE_PREPARE;
}

/* Objects are marked in this phase while mutators run. */
OAKI_INLINE bool oaki_phase_is_concurrent_mark(oaki_phase phase)
{
    return phase == OAKI_PHASE_MARK || phase == OAKI_PHASE_PRECLEAN;
}

OAKI_INLINE bool oaki_is_marking_concurrently(void)
{
    return oaki_phase_is_concurrent_mark(oaki_phase_now());
}

#endif
