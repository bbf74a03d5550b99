/* link.h - words of the program's own that are cleared when an object goes: Boehm's disappearing
 * links, beside the handles of weak.c.
 *
 * The word holds whatever the program makes of the object's address, in memory that isn't scanned
 * (of a noscan object, or outside the heap), or disguised; that is the caller's affair, and so is
 * that the memory is there as long as the link is registered, unless it is in a heap object. A
 * link that lies in a heap object which dies, or is given back by oak_free, is dropped.
 *
 * There are two sorts. Short ones are cleared when the program can no longer reach the object,
 * before finalizers are decided; long ones once it is really gone: not while a finalizer keeps it.
 * A word may be a link of each sort. oak_free of the object clears both.
 *
 * Links are cleared in a stop; a thread that reads one and makes an address of what it reads does
 * so between oaki_gc_hold and oaki_gc_release (host.h), the address in a register or on its stack
 * before the latter: a compiler may put the arithmetic off.
 *
 * Lock: finalizer_lock, or the world is stopped. The functions that change links may be called by
 * any thread, outside oaki_enter. Bounds: O(1); clearing, O(links); oak_free of an object in a
 * span that has had links, O(words of the object). */
#ifndef OAKI_LINK_H
#define OAKI_LINK_H

#include "gc/gc.h"

/* Clear *link (NULL) when the object that obj points to or into goes. obj outside the heap (static
 * data) never goes. 0; 1: it replaced an earlier registration of this link; -1 with ENOMEM. Fatal
 * when obj is in the heap and in no live object. */
int oaki_link_add(void **link, const void *obj, bool is_long);

/* Forget it. Was it registered? */
bool oaki_link_remove(void **link, bool is_long);

/* The registration of `from` becomes that of `to`; the words are left as they are. 0; 1: `to` is
 * registered already, and nothing was changed (0 when it is `from` itself); -1: `from` is not
 * registered. */
int oaki_link_move(void **from, void **to, bool is_long);

size_t oaki_link_count(bool is_long);

/* ---- for cycle.c ---- */

int oaki_links_init(void);
/* As oaki_weak_clear, with decided false: short ones; with true, after finalizers are decided, long
 * ones, and those whose holder has gone are dropped. */
void oaki_links_clear(bool decided);
/* As the tables of gc.h. */
uint32_t oaki_short_links_note_certain(uint32_t from, unsigned most);
uint32_t oaki_long_links_note_certain(uint32_t from, unsigned most);
bool oaki_links_reclaim(uint32_t *from);
void oaki_links_forget(void *obj); /* freed by hand: as object and as holder */
void oaki_links_forget_zone(uint32_t zone); /* the same for a zone */
void oaki_links_trim(void);
typedef void (*oaki_link_fn)(void *ctx, void **link, const void *obj, bool is_long);
void oaki_links_each(oaki_link_fn fn, void *ctx);
const char *oaki_links_check(void); /* between two cycles: the rule that is broken, or NULL */

#endif
