/* unwind_cache.h - unwind rules that fit in a word, and their cache.
 *
 * Owns: the cache: pairs of entries, read and written without a lock. The first word of an entry is
 * its key mixed with its rule. So halves of two entries don't match: a reader between two writes,
 * or in a handler that interrupted one, finds nothing.
 * The key is the code's address combined with the identity of its object. So no look-up finds a
 * rule of an object that was unloaded. */
#ifndef OAKI_UNWIND_CACHE_H
#define OAKI_UNWIND_CACHE_H

#include "runtime/base.h"

/* Fields from the lowest bit: kind 8, the return address's place 16, the caller's frame pointer's
 * place 16, the CFA's distance 24. Places are signed, in words; the distance is in bytes. 0 is no
 * rule. */
typedef uint64_t oaki_rule;

enum {
    OAKI_BY_SP = 1,     /* CFA = sp + distance; places are relative to the CFA */
    OAKI_BY_FP = 2,     /* CFA = fp + distance */
    OAKI_BY_STORED = 3, /* the CFA is stored at fp + distance; fp's place is relative to fp */
    OAKI_BY_ROW = 4,    /* the rule doesn't fit in a word */
    OAKI_BY_CHAIN = 5,  /* there is no unwind table */
    OAKI_AT_END = 6     /* the outermost frame */
};

#define OAKI_FP_KEPT INT16_MIN /* the frame pointer's place: the callee doesn't change it */

OAKI_INLINE unsigned oaki_rule_kind(oaki_rule r)
{
    return r & 0xff;
}
OAKI_INLINE int oaki_rule_ra(oaki_rule r)
{
    return (int16_t)(r >> 8);
}
OAKI_INLINE int oaki_rule_fp(oaki_rule r)
{
    return (int16_t)(r >> 24);
}
OAKI_INLINE int64_t oaki_rule_cfa(oaki_rule r)
{
    return (int64_t)r >> 40;
}

OAKI_INLINE oaki_rule oaki_rule_of(unsigned kind, int ra, int fp, int64_t cfa)
{
    return (uint64_t)kind | (uint64_t)(uint16_t)ra << 8 | (uint64_t)(uint16_t)fp << 24 |
           (uint64_t)cfa << 40;
}

typedef struct oaki_cached {
    AO_t check; /* key ^ mixed rule */
    AO_t rule;
} oaki_cached;

#define OAKI_CACHE_BITS 14

extern OAKI_HIDDEN oaki_cached *oaki_unwind_cached; /* 2^OAKI_CACHE_BITS, in pairs */

/* 0 or -1 with ENOMEM. Outside of oaki_enter. */
int oaki_cache_init(void);
void oaki_cache_clear(void);

OAKI_INLINE uint64_t oaki_cache_mix(oaki_rule r)
{
    return r * 0xbf58476d1ce4e5b9u;
}

OAKI_INLINE oaki_cached *oaki_cache_at(uint64_t key)
{
    return oaki_unwind_cached +
           ((key * 0x9e3779b97f4a7c15u) >> (64 - OAKI_CACHE_BITS) & ~(uint64_t)1);
}

/* 0: not in the cache. */
OAKI_INLINE oaki_rule oaki_cache_find(uintptr_t at, uint64_t identity)
{
    uint64_t key = at ^ identity;
    const oaki_cached *c = oaki_cache_at(key);
    oaki_rule rule = AO_load(&c->rule);
    if (OAKI_LIKELY((AO_load(&c->check) ^ oaki_cache_mix(rule)) == key)) return rule;
    rule = AO_load(&c[1].rule);
    return (AO_load(&c[1].check) ^ oaki_cache_mix(rule)) == key ? rule : 0;
}

void oaki_cache_add(uintptr_t at, uint64_t identity, oaki_rule rule);

#endif
