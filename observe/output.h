/* output.h - writing what is made for others to read: whole, or not at all.
 *
 * Outside of oaki_enter. No function raises SIGPIPE or SIGXFSZ: a pipe that nobody reads is EPIPE,
 * a file that would be longer than RLIMIT_FSIZE is EFBIG. */
#ifndef OAKI_OUTPUT_H
#define OAKI_OUTPUT_H

#include "runtime/base.h"

/* All n bytes, whatever the pieces. 0, or -1 with errno. */
int oaki_write_all(int fd, const void *p, size_t n);
/* The same, with how many of them were written when it fails. */
int oaki_write_counted(int fd, const void *p, size_t n, size_t *done);

/* A file that takes its name when it is whole. */
typedef struct oaki_output {
    int fd;
    char *path; /* to be replaced; NULL: what is written to is the thing itself */
    char *temporary;
} oaki_output;

/* Begin: a file beside `path` under a name of its own; where path names something that is there
 * and no regular file (a device, a pipe), that. Symbolic links are followed. 0, or -1 with
 * errno. */
int oaki_output_open(oaki_output *o, const char *path);

/* The end. With 0 the file takes its name; with -1 it is removed. 0, or -1 with errno, and nothing
 * is left behind: that of the earlier failure when `result` is -1. */
int oaki_output_close(oaki_output *o, int result);

#endif
