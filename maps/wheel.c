/* wheel.c - timers in a hierarchical timing wheel. Owner, invariants and lock: wheel.h. */
#include "wheel.h"

#include <string.h>

#define LEVELS OAKI_WHEEL_LEVELS
#define BITS OAKI_WHEEL_BITS
#define SLOTS (1u << BITS)

/* The first tick that begins at or after the time. */
static uint64_t tick_of(uint64_t when)
{
    return (when >> OAKI_WHEEL_TICK) + ((when & ((UINT64_C(1) << OAKI_WHEEL_TICK) - 1)) != 0);
}

static unsigned digit(uint64_t tick, unsigned level)
{
    return (unsigned)(tick >> level * BITS) & (SLOTS - 1);
}

static unsigned level_of(uint64_t now, uint64_t tick)
{
    return now == tick ? 0 : oaki_log2(now ^ tick) / BITS;
}

void oaki_wheel_init(oaki_wheel *w, uint64_t now)
{
    memset(w, 0, sizeof *w);
    w->now = now >> OAKI_WHEEL_TICK;
}

void oaki_wheel_add(oaki_wheel *w, oaki_timer *t)
{
    uint64_t tick = OAKI_MAX(tick_of(t->when), w->now);
    unsigned level = level_of(w->now, tick), i = digit(tick, level);
    OAKI_ASSERT(!t->link);
    OAKI_ASSERT(level < LEVELS && (level == 0 || i > digit(w->now, level)));
    oaki_timer **slot = &w->slot[level][i];
    t->next = *slot;
    t->link = slot;
    if (t->next) t->next->link = &t->next;
    *slot = t;
    w->used[level] |= UINT64_C(1) << i;
}

void oaki_wheel_remove(oaki_timer *t)
{
    if (!t->link) return;
    OAKI_ASSERT(*t->link == t && (!t->next || t->next->link == &t->next));
    *t->link = t->next;
    if (t->next) t->next->link = t->link;
    t->next = NULL;
    t->link = NULL;
}

/* The first slot from `from` on that holds a timer, or SLOTS. */
static unsigned first_slot(oaki_wheel *w, unsigned level, unsigned from)
{
    for (;;) {
        uint64_t used = from < SLOTS ? w->used[level] >> from << from : 0;
        if (used == 0) return SLOTS;
        unsigned i = oaki_ctz(used);
        if (w->slot[level][i]) return i;
        w->used[level] &= ~(UINT64_C(1) << i);
    }
}

/* A timer in a slot that `now` has reached, at a level above 0: it belongs further down. Higher
 * levels come first, as their timers may be due before all those below. */
static oaki_timer *reached(oaki_wheel *w)
{
    for (unsigned level = LEVELS; --level > 0;) {
        oaki_timer *t = w->slot[level][digit(w->now, level)];
        if (t) return t;
    }
    return NULL;
}

/* Turns to the next slot that holds timers, but at most to `tick`. The slots that `now` has reached
 * are empty above level 0. Returns whether the new time's slots hold a timer. */
static bool turn(oaki_wheel *w, uint64_t tick)
{
    OAKI_ASSERT(tick >= w->now && !reached(w));
    for (unsigned level = 0; level < LEVELS; level++) {
        unsigned i = first_slot(w, level, digit(w->now, level) + (level > 0));
        if (i == SLOTS) continue;
        unsigned shift = level * BITS;
        uint64_t start = (w->now >> shift >> BITS << BITS | i) << shift;
        if (start > tick) break;
        OAKI_ASSERT(start >= w->now);
        w->now = start;
        return true;
    }
    w->now = OAKI_MAX(w->now, tick);
    return false;
}

oaki_timer *oaki_wheel_next(oaki_wheel *w, uint64_t now, size_t *budget)
{
    uint64_t tick = now >> OAKI_WHEEL_TICK;
    if (tick < w->now) return NULL;
    for (; *budget > 0; --*budget) {
        oaki_timer *t = reached(w);
        if (!t) {
            if (!turn(w, tick)) return NULL;
            t = reached(w);
        }
        if (!t) {
            t = w->slot[0][digit(w->now, 0)];
            OAKI_ASSERT(t && tick_of(t->when) <= tick);
            oaki_wheel_remove(t);
            --*budget;
            return t;
        }
        oaki_wheel_remove(t);
        oaki_wheel_add(w, t);
    }
    return NULL;
}

bool oaki_wheel_is_due(oaki_wheel *w, uint64_t now)
{
    uint64_t tick = now >> OAKI_WHEEL_TICK;
    return tick >= w->now && (reached(w) || turn(w, tick));
}

const char *oaki_wheel_check(const oaki_wheel *w)
{
    for (unsigned level = 0; level < LEVELS; level++)
        for (unsigned i = 0; i < SLOTS; i++) {
            if (w->slot[level][i] && !(w->used[level] >> i & 1)) return "wheel: used says so";
            if (w->slot[level][i] && i < digit(w->now, level)) return "wheel: no slot is past";
            for (const oaki_timer *t = w->slot[level][i]; t; t = t->next) {
                uint64_t tick = OAKI_MAX(tick_of(t->when), w->now);
                if (*t->link != t) return "wheel: a timer's link leads to it";
                if (level_of(w->now, tick) > level) return "wheel: a timer is not too far down";
                if (digit(tick, level) != i) return "wheel: a timer is in its slot";
            }
        }
    return NULL;
}
