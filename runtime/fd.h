/* fd.h - descriptors of Oakum that the program does not know of: recognise them, and keep them out
 * of the program's way. Only system calls are made: usable on any thread, and in a stopped world.
 * errno is that of the failed call. */
#ifndef OAKI_FD_H
#define OAKI_FD_H

#include <stdbool.h>
#include <sys/types.h>

/* The file behind a descriptor. */
typedef struct oaki_fd_file {
    dev_t dev;
    ino_t ino;
} oaki_fd_file;

/* Returns false when the descriptor is not open. */
bool oaki_fd_note(int fd, oaki_fd_file *file);
/* Does fd still refer to that file? Programs close descriptors that they don't know, and the number
 * is then reused. */
bool oaki_fd_is(int fd, const oaki_fd_file *file);

/* Closes fd, if it still does. */
void oaki_fd_close(int fd, const oaki_fd_file *file);

/* A copy, closed on exec, at a number that programs don't reach, as each new descriptor gets the
 * lowest free one. The number is 1,000, or near the limit where that is lower. -1: no such copy. */
int oaki_fd_copy_high(int fd);
/* Such a copy in place of fd, or fd itself when there is none. */
int oaki_fd_move_high(int fd);

/* Call while there is one thread: makes room for such a copy, which otherwise takes about 10 ms. */
void oaki_fd_make_room(void);

#endif
