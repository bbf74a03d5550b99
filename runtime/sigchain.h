/* sigchain.h - a signal that one of Oakum's handlers has no use for goes on to the handler that was
 * there before it, as the system would have called that one. */
#ifndef OAKI_SIGCHAIN_H
#define OAKI_SIGCHAIN_H

#include "base.h"

#include <signal.h>

/* By a handler with SA_SIGINFO, as its last act. `before` is what sigaction gave when the handler
 * was installed; one with SA_RESETHAND is reset in it. */
void oaki_sigchain(struct sigaction *before, int sig, siginfo_t *info, void *context);

/* Is a handler in front of it to run on the alternate stack? It must, if the one before does. */
bool oaki_sigchain_on_alternate(const struct sigaction *before);

#endif
