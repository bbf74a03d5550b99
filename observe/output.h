/* output.h - output files that are written whole, or not at all.
 *
 * Outside of oaki_enter. No function raises SIGPIPE or SIGXFSZ. A pipe without a reader is EPIPE; a
 * file that would exceed RLIMIT_FSIZE is EFBIG. */
#ifndef OAKI_OUTPUT_H
#define OAKI_OUTPUT_H

#include "runtime/base.h"

/* Writes all n bytes, in as many calls as that takes. 0, or -1 with errno. */
int oaki_write_all(int fd, const void *p, size_t n);
/* As oaki_write_all. On failure *done is the number of bytes that were written. */
int oaki_write_counted(int fd, const void *p, size_t n, size_t *done);

/* A file that takes its name when it is complete. */
typedef struct oaki_output {
    int fd;
    char *path; /* the file to replace; NULL: fd is the target itself */
    char *temporary;
    bool lent; /* fd is the program's, and stays open */
} oaki_output;

/* Opens a temporary file in the folder of `path`. If path names something other than a regular file
 * (a device, a pipe), or one that the process already writes to (target.h), writes to that instead.
 * Symbolic links are followed. 0, or -1 with errno. */
int oaki_output_open(oaki_output *o, const char *path);

/* Ends the output. If `result` is 0 the file takes its name; if it is -1 the file is removed. 0, or
 * -1 with errno, and then nothing is left behind. With `result` -1, errno is that of the earlier
 * failure. */
int oaki_output_close(oaki_output *o, int result);

#endif
