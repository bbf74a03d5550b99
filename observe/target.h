/* target.h - where the output to a path goes. Depends on libc alone: the command has a copy. */
#ifndef OAKI_TARGET_H
#define OAKI_TARGET_H

/* A descriptor by which this process already writes to the regular file of `path`: one that the
 * path names as /dev/fd/N does, standard output or standard error. To replace that file would lose
 * its text. -1: there is none. */
int oaki_target_descriptor(const char *path);

/* The path behind all symbolic links, even if there is no file yet. The caller frees it. NULL with
 * errno. */
char *oaki_target_path(const char *path);

#endif
