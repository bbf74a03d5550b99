/* target.h - where the output to a path goes. Depends on libc alone: the command has a copy. */
#ifndef OAKI_TARGET_H
#define OAKI_TARGET_H

/* The descriptor that a path such as /dev/stdout or /dev/fd/N names. -1: it names none. */
int oaki_target_named(const char *path);

/* A descriptor by which this process already writes to the regular file of `path`: the one that the
 * path names, standard output or standard error. To replace that file would lose its text. -1:
 * there is none. */
int oaki_target_descriptor(const char *path);

/* Opens a file to write to it. With O_CREAT in `flags`, makes it with mode 0666. -1 with errno;
 * ENXIO: a FIFO that nobody reads, which isn't waited for. */
int oaki_target_open(const char *path, int flags);

/* The path behind all symbolic links, even if there is no file yet. The caller frees it. NULL with
 * errno. */
char *oaki_target_path(const char *path);

#endif
