/* foreign.h - the libraries that Oakum loads for itself, in a link namespace of their own
 * (docs/libraries.md).
 *
 * There they bind to each other and to a C library of their own only: never to what the host
 * exports under their names, nor to the libraries that it has loaded. The host can't bind to them.
 * So each thread has two errnos, and there are two mallocs: what one has allocated the other must
 * not free, and the host's collector, leak check or malloc knows nothing of theirs.
 *
 * Calls are made between oaki_foreign_enter and oaki_foreign_leave. They hold a fork off, as the
 * second C library's fork handlers would not run: its malloc could stay locked in the child. */
#ifndef OAKI_FOREIGN_H
#define OAKI_FOREIGN_H

#include "runtime/base.h"

#define OAKI_FOREIGN_WHY 200

/* A library of the namespace, loaded for good. NULL where that can't be, with the reason in one
 * line. Any thread; outside of oaki_enter, and while no fork is held off, as it waits for the
 * loader's lock, and runs constructors. */
void *oaki_foreign_load(const char *library, char why[OAKI_FOREIGN_WHY]);

/* A function of a library that was loaded, or NULL. As oaki_foreign_load. */
void *oaki_foreign_find(void *library, const char *function);

/* They nest. Once a library has been loaded. */
void oaki_foreign_enter(void);
void oaki_foreign_leave(void);

/* Calls fn inside. false: a library wanted to end the process, as libdw does when there is no
 * memory. Then fn was left in the middle, and what it was at must not be used any more. Not
 * nested. */
bool oaki_foreign_try(void (*fn)(void *ctx), void *ctx);
/* The end of the calling thread's try, from a function that a library calls before it ends the
 * process. Returns where nothing is tried. */
void oaki_foreign_give_up(void);

/* Inside. */
char *oaki_foreign_copy(const char *s); /* by their malloc, for them to free; or NULL */
void oaki_foreign_free(void *p);        /* what the libraries' malloc has allocated */
int oaki_foreign_errno(void);    /* after a call that has failed */

#endif
