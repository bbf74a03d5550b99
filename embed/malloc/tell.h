/* tell.h - where reports go: see tell.c. What is written is in preload.h. */
#ifndef OAKI_TELL_H
#define OAKI_TELL_H

#include <stddef.h>

/* Before the program can close anything. */
void oaki_tell_start(void);

/* The strict mode is about to begin, in which nothing can be asked. */
void oaki_tell_seal(void);
/* By one write, to standard error if it is what it was, where the program has forbidden itself
 * system calls. */
void oaki_tell_plainly(const char *text);

/* The pattern with the process's number for %p. */
void oaki_tell_name(const char *pattern, char *out, size_t n);

#endif
