/* wheel.h - timers in a hierarchical timing wheel (Varghese and Lauck, "Hashed and hierarchical
 * timing wheels", 1987). Intrusive: a timer is embedded in the timed object; nothing is allocated.
 *
 * Time is a 64-bit count of nanoseconds, cut to ticks of 2^20 of them (1.05 ms). Level 0 has a slot
 * for each tick of the current 64, level 1 for each 64 ticks of the current 4,096, and so on. Eight
 * levels hold all 64-bit times. A timer waits in the slot of the highest level at which its tick
 * differs from `now`. It moves down a level whenever `now` reaches its slot: at most seven times.
 *
 * Owns:       struct oaki_wheel. It holds no timer alive: its memory need not be scanned.
 * Invariants: a timer's tick is not before `now`; at each level, slots before that of `now` are
 *             empty.
 * Lock:       the owner's.
 * Bound:      add and remove O(1), next O(budget). */
#ifndef OAKI_WHEEL_H
#define OAKI_WHEEL_H

#include "runtime/base.h"

enum { OAKI_WHEEL_LEVELS = 8, OAKI_WHEEL_BITS = 6, OAKI_WHEEL_TICK = 20 };

typedef struct oaki_timer {
    struct oaki_timer *next, **link; /* in its slot; link is NULL when the timer is in none */
    uint64_t when;                   /* the time at which it is due */
} oaki_timer;

typedef struct oaki_wheel {
    uint64_t now;                     /* the tick up to which the wheel has turned */
    uint64_t used[OAKI_WHEEL_LEVELS]; /* slots that may hold a timer */
    oaki_timer *slot[OAKI_WHEEL_LEVELS][1 << OAKI_WHEEL_BITS];
} oaki_wheel;

/* An empty wheel at this time. */
void oaki_wheel_init(oaki_wheel *w, uint64_t now);

/* Adds t, which is in no wheel, with `when` set. A timer in the past is due at once. */
void oaki_wheel_add(oaki_wheel *w, oaki_timer *t);

/* Removes t. Harmless when it is in no wheel. */
void oaki_wheel_remove(oaki_timer *t);

/* Removes and returns a timer that is due, perhaps a tick late, never early. NULL when there is
 * none, or when *budget is used up: each timer that is moved or removed costs one. A time before
 * the last one counts as the last one. */
oaki_timer *oaki_wheel_next(oaki_wheel *w, uint64_t now, size_t *budget);

/* Would oaki_wheel_next do a step with a budget? */
bool oaki_wheel_is_due(oaki_wheel *w, uint64_t now);

/* The rule that is broken, or NULL. O(timers). */
const char *oaki_wheel_check(const oaki_wheel *w);

#endif
