/* tell.h - the destination of reports (tell.c). The functions that write to it are in preload.h. */
#ifndef OAKI_TELL_H
#define OAKI_TELL_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/resource.h>

/* Copy standard error, before the program can close it. */
void oaki_tell_start(void);
/* In a child that reports nothing: closes the copy, which would keep a pipe open. */
void oaki_tell_release(void);

/* Check standard error before a filter is set, or seccomp's strict mode, in which it can't be
 * checked. */
void oaki_tell_seal(void);
/* Write a text for a program that has forbidden itself system calls: by one write to standard
 * error, if that is still the same file. */
void oaki_tell_plainly(const char *text);

/* The program has set its RLIMIT_FSIZE. */
void oaki_tell_limit(rlim_t most);
/* Is the destination no file of the log that others can read? */
bool oaki_tell_is_private(void);

/* Copy a file name, with the process id in place of %p, and % in place of %%. */
void oaki_tell_name(const char *pattern, char *out, size_t n);

#endif
