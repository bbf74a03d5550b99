/* sigchain.h - passes an unused signal from one of Oakum's handlers on to the handler before it.
 * That handler is called as the system would have called it. */
#ifndef OAKI_SIGCHAIN_H
#define OAKI_SIGCHAIN_H

#include "base.h"

#include <signal.h>

/* Called by a handler with SA_SIGINFO, as its last act. `before` is the result of sigaction when
 * the handler was installed. If it has SA_RESETHAND, it is reset there. */
void oaki_sigchain(struct sigaction *before, int sig, siginfo_t *info, void *context);

/* Must a handler in front of `before` run on the alternate stack? It must if `before` does. */
bool oaki_sigchain_on_alternate(const struct sigaction *before);

#endif
