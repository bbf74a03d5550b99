/* foreign_exits.h - the calls by which the libraries of foreign.h would end the process. */
#ifndef OAKI_FOREIGN_EXITS_H
#define OAKI_FOREIGN_EXITS_H

#include "runtime/base.h"

#include <link.h>

/* From now on, calls of abort, exit and failed assertions by the object end the calling thread's
 * oaki_foreign_try. Outside of a try they still end the process. Idempotent. The loader has bound
 * the object's functions (RTLD_NOW), and no other thread closes the object. */
void oaki_foreign_exits_redirect(const struct link_map *object);

#endif
