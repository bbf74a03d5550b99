/* verify.h - the checks of OAKUM_DEBUG=verify=1. */
#ifndef OAKI_VERIFY_H
#define OAKI_VERIFY_H

#include <stdbool.h>
#include <stddef.h>

/* After the mark: checks it in the plainest way. Fatal when a reachable object is unmarked, or
 * when a structure's checker finds a broken rule. whole: after a full mark wholly in this pause,
 * which is then repeated and compared. */
void oaki_verify(bool whole);

/* With verify=1: fatal when check returns a broken rule. */
void oaki_verify_rule(const char *(*check)(void));

/* Objects that the last check of a whole mark found marked though unreachable (precise.c). 0
 * except for changes meanwhile. 0 also without memory for the check, or if a host has marked
 * objects unscanned. A check of another mark leaves the number unchanged. */
size_t oaki_verify_unreached(void);

/* ---- freed.c ---- */

/* May the program have freed memory by hand at this offset? Any thread. */
bool oaki_freed_has(size_t off);

/* ---- precise.c, for verify.c ---- */

void oaki_precise_begin(void);
/* Notes that a root leads to this offset of the range, and so to its object if there is one.
 * Does nothing when no such mark has begun. */
void oaki_precise_reach(size_t off);
void oaki_precise_end(void); /* traces, and counts */

#endif
