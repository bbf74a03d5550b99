/* foreign_exits.h - the calls by which the libraries of foreign.h would end the process. */
#ifndef OAKI_FOREIGN_EXITS_H
#define OAKI_FOREIGN_EXITS_H

#include "runtime/base.h"

#include <link.h>

/* From now on, what the object calls to end the process ends the calling thread's oaki_foreign_try:
 * abort, exit, a failed assertion, a damaged stack, a noticed overrun, a signal to itself. Outside
 * of a try they still end the process. Idempotent. The loader has bound the object's functions
 * (RTLD_NOW), and no other thread closes the object. oaki_foreign_checks_init was called. */
void oaki_foreign_exits_redirect(const struct link_map *object);

/* A line: a library was lost by a fault (oaki_shield_loss). */
void oaki_foreign_exits_tell(int sig);

/* A line with the reason, then as an abort of a library. */
_Noreturn void oaki_foreign_end(const char *why);

#endif
