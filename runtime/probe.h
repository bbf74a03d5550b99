/* probe.h - may this address be read? For the few places where the collector follows an address
 * that it can't be sure of: a fiber's stack, another thread's TLS vector, a stack that nobody
 * described.
 *
 * No lock, no malloc, errno kept; callable with the world stopped, from any thread. A probe costs
 * a system call (some 0.2 us). The answer holds for as long as nobody unmaps the page. */
#ifndef OAKI_PROBE_H
#define OAKI_PROBE_H

#include "base.h"

/* Can the 8 bytes at p be read, p rounded down to a multiple of 8? */
bool oaki_probe(const void *p);

/* End of what can be read from lo on without a gap, at most hi; lo when nothing can. One probe a
 * page. */
const char *oaki_probe_end(const char *lo, const char *hi);

/* Start of what can be read up to hi, at least lo, where hi - 1 can be: for a mapping that grows
 * down. Logarithmic in the pages. */
const char *oaki_probe_start(const char *lo, const char *hi);

/* The same for what need not be one mapping: start of what can be read up to hi without a gap. One
 * probe a page. */
const char *oaki_probe_down(const char *lo, const char *hi);

/* Is every page of [lo, hi) mapped, and can the first and the last be read? Three system calls at
 * most. */
bool oaki_probe_range(const char *lo, const char *hi);

/* Can the byte at each of these be read? One system call for OAKI_PROBES of them, where the system
 * grants it. */
#define OAKI_PROBES ((size_t)32)
bool oaki_probe_all(const void *const *p, size_t n);

/* Is every page of [lo, hi) mapped? One system call however long it is. */
bool oaki_probe_mapped(const char *lo, const char *hi);

/* Copy what can be read of [p, p + n) to out, up to the first gap. Returns the bytes copied;
 * SIZE_MAX when the system refuses such copies. */
size_t oaki_probe_copy(void *out, const void *p, size_t n);

#endif
