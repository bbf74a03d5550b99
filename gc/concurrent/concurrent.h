/* concurrent.h - marking beside the program: what cycle.c, which owns the cycle, and concurrent.c,
 * which does the part of it that needs no stop, ask of each other. */
#ifndef OAKI_CONCURRENT_H
#define OAKI_CONCURRENT_H

#include "gc/event.h"
#include "gc/gc.h"
#include "runtime/collector.h"
#include "runtime/thread.h"

/* How far the mark has come that is under way beside the program. */
typedef enum oaki_concurrent {
    OAKI_CONCURRENT_NONE,
    OAKI_CONCURRENT_BEGUN,  /* roots are queued; bits and write tracking are being prepared */
    OAKI_CONCURRENT_MARKING /* writes are noted, and what is queued is being marked */
} oaki_concurrent;

/* It doesn't change while the world is stopped. */
oaki_concurrent oaki_concurrent_state(void);

/* A collection is due: can it be done beside the program? Then it is under way when this returns,
 * or will be soon, and the caller, which is about to allocate so many bytes, has helped or waited
 * if the program outran it. false: collect now. */
bool oaki_concurrent_request(oaki_thread *t, size_t bytes);

/* With OAKUM_DEBUG=beside: begin one, whatever the pacing says. false: not beside. */
bool oaki_concurrent_force(oaki_thread *t);

/* One was asked for, and isn't over with all that comes after it. Any thread. */
bool oaki_concurrent_requested(void);

/* With OAKUM_DEBUG=twice: return when one is over that began after this was called, or a second
 * later. */
void oaki_concurrent_before(oaki_thread *t);

/* ---- for cycle.c ---- */

/* The stop that ends a mark: look at what was written since, and drop what was freed by hand. */
void oaki_concurrent_final_pause(void);
/* The first stop: is it to be a minor one? From then on it is under way. */
bool oaki_concurrent_begins_minor(void);
void oaki_concurrent_begin(void);
/* It is over. */
void oaki_concurrent_end(void);
/* One is about to begin, and forgets what is written meanwhile. */
bool oaki_concurrent_protecting(void);
/* A minor one is under way: what is marked at its beginning is what the last one marked. */
bool oaki_concurrent_is_minor(void);
/* What it has cost, in words looked at. */
size_t oaki_concurrent_work(void);
/* Once it is over, before the next one: bytes that count as live, of which it isn't known how long
 * they will. Large objects that have come since it began, or what its rounds have found late. */
size_t oaki_concurrent_floating(void);
/* What it has cost: stops between the first and the last, processor time, rounds. */
void oaki_concurrent_record(oaki_cycle *c);
/* M is about to be used for something else: a mark that is under way has not happened, and the next
 * one begins with nothing. */
void oaki_concurrent_give_up(void);
int oaki_concurrent_init(void);

/* ---- deferred_free.c ---- */

/* Bytes that are marked of what was freed by hand. */
size_t oaki_deferred_marked(void);
/* They lose their marks, and are forgotten. */
void oaki_deferred_wipe(void);
/* They are freed. */
void oaki_deferred_release(void);
/* Those of a zone that is about to go are. */
void oaki_deferred_forget_zone(uint32_t zone);
void oaki_deferred_trim(void);
const char *oaki_deferred_check(void); /* the rule that is broken, or NULL */
void oaki_deferred_init(void);

/* ---- of cycle.c, for concurrent.c ---- */

/* The first stop: caches flushed, hooks called, roots queued, `marking` set. The caller's context
 * is saved. false when the world could not be stopped yet. */
bool oaki_cycle_init_pause(oaki_thread *t);
/* It is given up: the next one is told as begun. */
void oaki_cycle_aborted(void);
/* The last: as oaki_gc_collect, unless cycle `number` is over already. */
bool oaki_cycle_final_pause(oaki_thread *t, size_t number);

#endif
