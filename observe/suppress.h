/* suppress.h - suppressions: stacks whose leaks are not reported, in memcheck's syntax.
 *
 *   {
 *     a name
 *     Memcheck:Leak                     or Oakum:Leak
 *     match-leak-kinds: definite        or indirect, possible, reachable, all, none; default all
 *     fun:push
 *     ...                               any number of frames
 *     obj:*libfoo.so*
 *     src:list.c:42
 *   }
 *
 * The frames have to match the innermost ones of a stack. In patterns * is any text and ? any
 * character. Blocks of other tools and of other errors are skipped.
 *
 * Oakum's stacks begin at the caller of malloc, memcheck's at malloc. So a first frame of
 * Memcheck:Leak that matches an allocation function may also match none.
 *
 * Oakum:Leak has three additions, so that a generated block matches one stack only. A backslash
 * takes the next character literally; \n is a newline. A frame may have two conditions, as in
 * "fun:push src:list.c:42". The line "end" means that no frame follows.
 *
 * Needs nothing else of Oakum, so that the command reads the same syntax. Owns: nothing; lists
 * belong to their callers. Lock: none. Bound: a match takes time in proportion to the product of
 * the lengths. */
#ifndef OAKI_SUPPRESS_H
#define OAKI_SUPPRESS_H

#include <oakum/profile.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A set of kinds of loss. */
enum {
    OAKI_SUPPRESS_REACHABLE = 1,
    OAKI_SUPPRESS_POSSIBLE = 2,
    OAKI_SUPPRESS_INDIRECT = 4,
    OAKI_SUPPRESS_DEFINITE = 8,
    OAKI_SUPPRESS_ALL = 15
};

typedef struct oaki_suppress_frame {
    enum { OAKI_FRAME_IS, OAKI_FRAMES_ANY, OAKI_FRAMES_END } what;
    const char *fun, *obj, *src; /* patterns; NULL: no condition */
} oaki_suppress_frame;

typedef struct oaki_suppression {
    const char *name, *file; /* file: as passed to oaki_suppress_read */
    unsigned line;           /* of its opening brace */
    unsigned kinds;
    bool oakums;             /* Oakum:Leak */
    oaki_suppress_frame *frame;
    size_t nframes;
    uint64_t used;           /* matches; counted by the caller */
} oaki_suppression;

typedef struct oaki_suppressions {
    oaki_suppression *list;
    size_t n;
} oaki_suppressions;

/* Append the suppressions of a text, which ends with a NUL and is changed. The text and the file's
 * name have to stay. Returns NULL; or what is wrong, with *line. Memory is of malloc. */
const char *oaki_suppress_read(oaki_suppressions *to, const char *file, char *text,
                               unsigned *line);

/* The first suppression of this kind of loss that matches the stack, or NULL. */
oaki_suppression *oaki_suppress_find(const oaki_suppressions *in, unsigned kind,
                                     const oak_frame *frame, size_t n);

/* Print a suppression that matches this stack only: to_end if the stack has no further frames. */
void oaki_suppress_print(void (*put)(void *ctx, const char *text), void *ctx, const char *kind,
                         const oak_frame *frame, size_t n, bool to_end);

#endif
