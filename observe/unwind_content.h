/* unwind_content.h - tells a loaded object from an earlier one at the same addresses.
 *
 * The loader may give a new object the addresses and even the record of an unloaded one. Their
 * build IDs differ; without build IDs, usually the sizes of their files do.
 * Any thread, in any state: no lock, no malloc, no cancellation point. */
#ifndef OAKI_UNWIND_CONTENT_H
#define OAKI_UNWIND_CONTENT_H

#include "unwind_find.h"

/* A hash of the object's content; o->identity is that of its addresses. `sure`: the calling thread
 * is in a function of the object, so it can't be unloaded. Otherwise the kernel is asked whether
 * the object's first page is still mapped. */
uint64_t oaki_unwind_content(const oaki_unwind_object *o, bool sure);

#endif
