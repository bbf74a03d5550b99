/* xxh.h - xxHash, a copy of Oakum's own under names of its own (runtime/xxh.c).
 *
 * So the host needs no library for it, and a copy that the host has is not used. */
#ifndef OAKI_XXH_H
#define OAKI_XXH_H

#define XXH_NAMESPACE oaki_
#define XXH_STATIC_LINKING_ONLY /* so that the state of XXH64 can be a member */
#include <xxhash.h>

#endif
