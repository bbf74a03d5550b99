/* foreign.h - the libraries that Oakum loads for itself, in a link namespace of their own
 * (docs/libraries.md).
 *
 * There they bind only to each other and to a C library of their own. They never bind to symbols
 * that the host exports under the same names, nor to its libraries; and the host can't bind to
 * them. So each thread has two errnos, and there are two mallocs. Memory of one malloc must not be
 * freed by the other. The host's collector, leak check and malloc don't see the memory of the
 * second.
 *
 * Calls are made between oaki_foreign_enter and oaki_foreign_leave, which hold off a fork. The
 * second C library's fork handlers would not run, so its malloc could stay locked in the child. */
#ifndef OAKI_FOREIGN_H
#define OAKI_FOREIGN_H

#include "runtime/base.h"

#define OAKI_FOREIGN_WHY 200

/* Loads a library into the namespace, for good. NULL: that is impossible, and `why` has the reason
 * in one line. Any thread. Outside of oaki_enter, and while no fork is held off: it waits for the
 * loader's lock and runs constructors. */
void *oaki_foreign_load(const char *library, char why[OAKI_FOREIGN_WHY]);

/* A function of a loaded library, or NULL. Callable where oaki_foreign_load is. */
void *oaki_foreign_find(void *library, const char *function);

/* Libraries that were loaded stay loaded, with what is known of them, beyond the heap's end. false:
 * there is none. */
bool oaki_foreign_stays(void);

/* Pairs nest. After a library has been loaded. */
void oaki_foreign_enter(void);
void oaki_foreign_leave(void);

/* Calls fn between enter and leave. false: a library was about to end the process, by abort, exit,
 * a failed assertion, or libdw's error() without memory. Then fn was left in the middle, and the
 * library's objects that it worked on must not be used any more. Or it was not called, as a fault
 * has left the namespace's malloc unusable. Waits for another thread's. Does not nest. */
bool oaki_foreign_try(void (*fn)(void *ctx), void *ctx);

typedef enum oaki_foreign_result {
    OAKI_FOREIGN_OVER,
    OAKI_FOREIGN_LEFT,   /* as where oaki_foreign_try returns false; or by a fault */
    OAKI_FOREIGN_REFUSED /* fn was not called: the system gives no process for it now */
} oaki_foreign_result;

/* The same where a fault of fn ends fn alone, too (shield.h). What fn writes to is not in memory
 * whose first writes are handled by the program. */
oaki_foreign_result oaki_foreign_try_shielded(void (*fn)(void *ctx), void *ctx);

/* Ends the calling thread's oaki_foreign_try. For a function that a library calls before it ends
 * the process. Returns if the thread is in no try. */
void oaki_foreign_give_up(void);

/* Between enter and leave. */
char *oaki_foreign_copy(const char *s); /* by the libraries' malloc, for them to free; or NULL */
void oaki_foreign_free(void *p);        /* frees memory of the libraries' malloc */
int oaki_foreign_errno(void);           /* the libraries' errno, after a failed call */

#endif
