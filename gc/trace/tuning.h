/* tuning.h - the constants of the marker's loops.
 *
 * Each has its unit and its trade, as in gc/tuning.h. None was measured alone: bench-heap's graphs
 * show what they achieve together. */
#ifndef OAKI_TRACE_TUNING_H
#define OAKI_TRACE_TUNING_H

#include <stddef.h>
#include <stdint.h>

/* Words of the largest object that the loop scans itself: larger ones are ranges. */
#define OAKI_TUNE_INLINE_WORDS 64

/* Words filtered at once, and words left in the queue while other work remains. The mark bits of
 * the latter are being prefetched. Latency of memory against a queue in the first cache. */
#define OAKI_TUNE_BATCH 64
#define OAKI_TUNE_AHEAD 64

/* Words in a marker's queue, above which they spill to the stack. */
#define OAKI_TUNE_QUEUE_HIGH 256

/* Objects marked between marking an object and scanning it: it is being prefetched meanwhile. */
#define OAKI_TUNE_DELAY 16

/* Batches before depth first is tried again: at first, and at most, as each try that fails doubles
 * it. */
#define OAKI_TUNE_PATIENCE 16
#define OAKI_TUNE_PATIENCE_MOST 1024

/* Depth first (depth.c). Words taken at a time, also where a word may have several references; and
 * words of the largest object that it scans itself. More hide the latency of memory, and make the
 * check for room in the queue dearer. */
#define OAKI_TUNE_DEPTH_FEW 16
#define OAKI_TUNE_DEPTH_FEW_ANY 8
#define OAKI_TUNE_DEPTH_WORDS 8

/* Batches in a row of less than DEPTH_FEW words, after which depth first is tried. */
#define OAKI_TUNE_THIN 64

/* Words between two decisions whether to go on depth first; and between two checks of the time
 * while another thread waits for the quantum's end. */
#define OAKI_TUNE_DEPTH_WINDOW 1024
#define OAKI_TUNE_DEPTH_SOON 256

/* Batches between two checks for idle workers; and while another thread waits for the quantum's
 * end, as a word may take microseconds. */
#define OAKI_TUNE_LOOK_EVERY 16
#define OAKI_TUNE_LOOK_SOON 2

/* Words that are sifted or spilled at a time; such blocks of a range between two checks whether the
 * quantum is over; and blocks at a time for a type, whose words are not interrupted. */
#define OAKI_TUNE_MOVED 64
#define OAKI_TUNE_RANGE_BLOCKS 16
#define OAKI_TUNE_TYPED_BLOCKS 8

/* Words that lead nowhere, which cost as much as one that is traced. */
#define OAKI_TUNE_SPARSE 16

/* Bytes: a larger object becomes its marker's range, if that has none. It is scanned as the queue
 * has room, so no words spill, and words that lead to marked objects skip the queue. */
#define OAKI_TUNE_LAZY (OAKI_TUNE_QUEUE_HIGH * sizeof(uintptr_t))

/* Bytes: a larger object is a range for all workers; and bytes of a range that one takes at a time.
 * Balance against the lock of the ranges. */
#define OAKI_TUNE_SPLIT ((size_t)64 << 10)
#define OAKI_TUNE_RANGE_STEP ((size_t)32 << 10)

/* Spins for a lock between markers before the thread yields; and spins of an idle worker whose
 * processor time is not measured, some us. */
#define OAKI_TUNE_SPINS 2000
#define OAKI_TUNE_SPINS_UNCOUNTED 64

#endif
