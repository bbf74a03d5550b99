/* contract.h - requirements of a function of the maps on its caller, in executable form.
 *
 * As runtime/contract.h: the first statements of a function, in debug builds only. A map is guarded
 * by its callers, so a requirement here is a state of the map, and not a lock.
 *
 * The oaki_..._check functions of the maps walk a whole structure and return the rule that it
 * breaks. With OAKUM_DEBUG=verify=1 debug builds call them by OAKI_REQUIRES_SOUND, where a resize,
 * an evacuation or a copy has just ended, and where most clears have. A pause may come in the
 * middle of a write, so no pause can check a map. Its first write after each mark does, unless that
 * is an inline one (OAKI_REQUIRES_SOUND_ONCE). A syncmap is checked by tests alone, as writes go on
 * at any time. */
#ifndef OAKI_MAPS_CONTRACT_H
#define OAKI_MAPS_CONTRACT_H

#include "runtime/base.h"
#include "runtime/options.h"

/* ---- the default map ---- */

/* A write is under way: `busy` keeps all other calls out until it ends. */
#define OAKI_REQUIRES_WRITE(m) OAKI_ASSERT((m)->busy)
/* array[1] is being left, from the frontier on. */
#define OAKI_REQUIRES_RESIZE(m) OAKI_ASSERT((m)->resizing && (m)->more && (m)->array[1].dir)
/* All entries are in array[0]. */
#define OAKI_REQUIRES_AT_REST(m) \
    OAKI_ASSERT(!(m)->resizing && !(m)->array[1].dir && (m)->last == UINT64_MAX)

/* ---- the classic map ---- */

#define OAKI_REQUIRES_CLASSIC_WRITE(m) OAKI_ASSERT(oaki_classic_flags(m) & OAKI_WRITING)

/* ---- structures on a map (inner.h) ---- */

/* The calling thread is between oaki_inner_enter and oaki_inner_leave. */
#define OAKI_REQUIRES_ENTERED(in) OAKI_ASSERT(oaki_inner_is_mine(in))

/* ---- whole structures ---- */

/* `check` is a call of an oaki_..._check; it is made with verify=1 only. */
#define OAKI_REQUIRES_SOUND(check) \
    OAKI_CHECK_SLOW(!oaki_debug_switches.verify || oaki_rules_hold(check))

/* The same, unless `map` was checked so since the last mark ended. */
#define OAKI_REQUIRES_SOUND_ONCE(map, check) \
    OAKI_CHECK_SLOW(!oaki_debug_switches.verify || !oaki_is_to_check(map) || oaki_rules_hold(check))

/* Debug builds only: true for NULL; fatal with the rule that is broken. */
bool oaki_rules_hold(const char *broken);
/* Debug builds only: is it the first call for the map since the last mark ended? True again at
 * times, for one map in some hundred. */
bool oaki_is_to_check(const void *map);

#endif
