/* unwind_read.h - checked reads of memory that may be anything: a stack, or a table of a file.
 *
 * A window is a range that is known to be readable. A read outside of it asks the kernel for the
 * page (runtime/probe.h), and moves or extends the window. So most reads need no system call. The
 * answer holds until the page is unmapped.
 * Owns nothing; no lock. Bound: O(1), and one system call for each new page. */
#ifndef OAKI_UNWIND_READ_H
#define OAKI_UNWIND_READ_H

#include "runtime/base.h"
#include "runtime/track.h"

typedef struct oaki_window {
    uintptr_t lo, hi; /* both 0: an empty window */
} oaki_window;

/* Makes [at, at + n) a part of the window; n is at most 8. False: that range can't be read. */
bool oaki_window_extend(oaki_window *w, uintptr_t at, size_t n);

OAKI_INLINE bool oaki_window_has(oaki_window *w, uintptr_t at, size_t n)
{
    if (OAKI_LIKELY(at >= w->lo && at < w->hi && w->hi - at >= n)) return true;
    return oaki_window_extend(w, at, n);
}

/* Loads a word of memory that was checked. */
OAKI_NO_ASAN OAKI_INLINE uintptr_t oaki_word_at(uintptr_t at)
{
    uintptr_t word;
    __builtin_memcpy(&word, (const void *)at, sizeof word);
    return word;
}

/* Reads n little-endian bytes at `at`; n is 1, 2, 4 or 8. False if they can't be read. */
bool oaki_window_read(oaki_window *w, uintptr_t at, void *out, size_t n);

/* Reads one value after the other, from `at` to `end`. A failed read sets `bad`; from then on every
 * read returns 0. */
typedef struct oaki_cursor {
    oaki_window *window;
    uintptr_t at, end;
    bool bad;
} oaki_cursor;

uint64_t oaki_cursor_bytes(oaki_cursor *c, size_t n); /* unsigned, of 1, 2, 4 or 8 bytes */
int64_t oaki_cursor_signed(oaki_cursor *c, size_t n);
uint64_t oaki_cursor_uleb(oaki_cursor *c);
int64_t oaki_cursor_sleb(oaki_cursor *c);
void oaki_cursor_skip(oaki_cursor *c, uint64_t n);

#define OAKI_PE_OMIT 0xff     /* DW_EH_PE_omit: there is no value */
#define OAKI_PE_INDIRECT 0x80 /* the value is the address of the value */
#define OAKI_PE_DATA 0x30     /* relative to `data` */

/* Reads a pointer in one of the encodings of DWARF exception headers (the Linux Standard Base's
 * DW_EH_PE values). `data` is the base for encodings that are relative to it. */
uintptr_t oaki_cursor_pointer(oaki_cursor *c, unsigned encoding, uintptr_t data);

#endif
