/* contract.c - the owners of the workers, for contracts (contract.h).
 *
 * Owns: a word of each thread. Lock: none. */
#include "contract.h"
#include "gc/trace/trace.h"

#ifdef OAKI_DEBUG

static __thread const oak_marker *own __attribute__((tls_model("initial-exec")));

void oaki_worker_own(const oak_marker *m)
{
    own = m;
}

bool oaki_worker_is_mine(const oak_marker *m)
{
    return m->record || m == own || (m == oaki_worker(0) && oaki_worker_zero_is_mine());
}

#else

void oaki_worker_own(const oak_marker *m)
{
    (void)m;
}

#endif
