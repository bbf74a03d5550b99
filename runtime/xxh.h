/* xxh.h - xxHash, a copy of our own under names of our own (runtime/xxh.c).
 *
 * So no library comes into the program for it, and a program that has its own is not asked. */
#ifndef OAKI_XXH_H
#define OAKI_XXH_H

#define XXH_NAMESPACE oaki_
#define XXH_STATIC_LINKING_ONLY /* the state of XXH64 is a member of ours */
#include <xxhash.h>

#endif
