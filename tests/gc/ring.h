/* ring.h - reads by io_uring, without its library. */
#ifndef TESTS_GC_RING_H
#define TESTS_GC_RING_H

#include <stdbool.h>
#include <stddef.h>

/* false where the system has none, or refuses. At most one in a process. */
bool test_ring_open(void);

/* n bytes from the start of a file, read by a thread of the kernel. One caller at a time. */
bool test_ring_read(int file, void *to, size_t n);

#endif
