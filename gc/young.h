/* young.h - minor collections: whether the next collection is one (docs/concurrent.md). */
#ifndef OAKI_YOUNG_H
#define OAKI_YOUNG_H

#include "runtime/base.h"

/* World stopped, after a cycle beside the program that has looked at so many words and found so
 * many bytes dead; live and goal are known. Is the next one to be a minor one? */
bool oaki_young_pays(bool minor, size_t words, size_t freed);

#endif
