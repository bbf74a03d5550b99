/* unwind_content.h - tells a loaded object from another that was loaded in its place before.
 *
 * The loader may give a new object the addresses and even the record of one that is gone. Their
 * build IDs differ (or, without one, the sizes of their files, as a rule).
 * Any thread, in any state: no lock, no malloc, no cancellation point. */
#ifndef OAKI_UNWIND_CONTENT_H
#define OAKI_UNWIND_CONTENT_H

#include "unwind_find.h"

/* A hash of what tells it; o->identity is that of its addresses. `sure`: the calling thread is in a
 * function of the object, so that nobody unloads it. Otherwise the kernel is asked whether its
 * first page is still there. */
uint64_t oaki_unwind_content(const oaki_unwind_object *o, bool sure);

#endif
