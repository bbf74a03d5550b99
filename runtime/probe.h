/* probe.h - may this address be read? For the few places where the collector follows an uncertain
 * address: a fiber's stack, another thread's TLS vector, or an undescribed stack.
 *
 * No lock, no malloc, errno kept; callable from any thread, with the world stopped too. A probe
 * costs a system call (some 0.2 us). The answer holds until the page is unmapped. */
#ifndef OAKI_PROBE_H
#define OAKI_PROBE_H

#include "base.h"

/* Can the 8 bytes at p, rounded down to a multiple of 8, be read? */
bool oaki_probe(const void *p);

/* The end of the readable bytes from lo on without a gap, at most hi; lo when there are none. One
 * probe per page. */
const char *oaki_probe_end(const char *lo, const char *hi);

/* The start of the readable bytes up to hi, at least lo. hi - 1 must be readable. For a mapping
 * that grows down. Logarithmic in the pages. */
const char *oaki_probe_start(const char *lo, const char *hi);

/* The same for a range that may be several mappings: the start of the readable bytes up to hi
 * without a gap. One probe per page. */
const char *oaki_probe_down(const char *lo, const char *hi);

/* Is every page of [lo, hi) mapped, and are the first and the last readable? At most three system
 * calls. */
bool oaki_probe_range(const char *lo, const char *hi);

/* Is the byte at each of these readable? One system call per OAKI_PROBES of them, where the system
 * permits it. */
#define OAKI_PROBES ((size_t)32)
bool oaki_probe_all(const void *const *p, size_t n);

/* Is every page of [lo, hi) mapped? One system call for any length. */
bool oaki_probe_mapped(const char *lo, const char *hi);

/* Copies the readable bytes of [p, p + n) to out, up to the first gap. Returns the bytes copied;
 * SIZE_MAX when the system refuses such copies. */
size_t oaki_probe_copy(void *out, const void *p, size_t n);

#endif
