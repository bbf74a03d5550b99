/* others.h - blocks of other allocators in the process (others.c).
 *
 * For pointers that are neither in the heap nor in the side range. The functions return false if no
 * allocator of the process can have returned the pointer. To be called outside of oaki_enter; they
 * may wait for the loader's lock. */
#ifndef OAKI_PRELOAD_FOREIGN_H
#define OAKI_PRELOAD_FOREIGN_H

#include "runtime/base.h"

bool oaki_others_free(void *p);
bool oaki_others_realloc(void *p, size_t n, void **out);
bool oaki_others_size(void *p, size_t *out);

#endif
