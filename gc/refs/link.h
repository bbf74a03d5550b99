/* link.h - words of the program that are cleared when an object dies: Boehm's disappearing
 * links, in addition to the handles of weak.c.
 *
 * The word holds the object's address in any form. It lies in memory that isn't scanned (of a
 * noscan object, or outside the heap), or is disguised; the caller sees to that. Unless it lies
 * in a heap object, the caller also keeps its memory valid as long as the link is registered. A
 * link in a heap object is dropped when that object dies or is freed by oak_free.
 *
 * There are two sorts. Short links are cleared when the program can no longer reach the object,
 * before finalizers are decided. Long links are cleared once the object is really gone: not
 * while a finalizer keeps it. A word may be a link of each sort. oak_free of the object clears
 * both.
 *
 * Links are cleared in a pause. A thread that reads a link and computes an address from it does
 * so between oaki_gc_exclude and oaki_gc_release (host.h). The address is in a register or on its
 * stack before the release, as a compiler may delay the arithmetic.
 *
 * Lock: finalizer_lock, or the world is stopped. Any thread may call the functions that change
 * links, outside oaki_enter. Bounds: O(1); clearing, O(links); oak_free of an object in a span
 * that has had links, O(words of the object). */
#ifndef OAKI_LINK_H
#define OAKI_LINK_H

#include "gc/gc.h"

/* Registers *link to be cleared (set to NULL) when the object that obj points to or into dies.
 * An obj outside the heap (static data) never dies. 0; 1: it replaced an earlier registration of
 * this link; -1 with ENOMEM. Fatal when obj is in the heap and in no live object. */
int oaki_link_add(void **link, const void *obj, bool is_long);

/* Drops the registration. Was there one? */
bool oaki_link_remove(void **link, bool is_long);

/* Moves the registration of `from` to `to`; the words are unchanged. 0; 1: `to` is registered
 * already, and nothing is changed (0 when it is `from` itself); -1: `from` is not registered. */
int oaki_link_move(void **from, void **to, bool is_long);

size_t oaki_link_count(bool is_long); /* finalizer_lock held, or the world stopped */

/* ---- for the rest of gc/ ---- */

typedef void (*oaki_link_fn)(void *ctx, void **link, const void *obj, bool is_long);
void oaki_links_each(oaki_link_fn fn, void *ctx);

#endif
