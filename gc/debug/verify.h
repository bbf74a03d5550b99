/* verify.h - OAKUM_DEBUG=verify=1. */
#ifndef OAKI_VERIFY_H
#define OAKI_VERIFY_H

#include <stdbool.h>
#include <stddef.h>

/* After the mark: look at it again in the plainest way. Fatal when an object that is
 * reachable is unmarked, or when a structure's checker finds a broken rule. whole: of a full mark
 * that was in this stop; then it is marked again, and compared. */
void oaki_verify(bool whole);

/* With verify=1: fatal when check says which rule is broken. */
void oaki_verify_rule(const char *(*check)(void));

/* Objects that the last one of a whole mark found marked though nothing led to them (precise.c): 0
 * but for what changed meanwhile; and where there was no memory, or objects that a host marked
 * unscanned. Of a mark that was not whole, what there was before. */
size_t oaki_verify_unreached(void);

/* ---- precise.c, for verify.c ---- */

void oaki_precise_begin(void);
/* The object at this offset of the range, any, is a root's, if there is one. Nothing when no mark
 * was begun. */
void oaki_precise_reach(size_t off);
void oaki_precise_end(void); /* follow, and count */

#endif
