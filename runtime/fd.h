/* fd.h - descriptors of Oakum's, of which the program knows nothing: to know one again, and to keep
 * out of the program's way. Only calls of the system: any thread, a stopped world, too.
 * errno is the failed call's. */
#ifndef OAKI_FD_H
#define OAKI_FD_H

#include <stdbool.h>
#include <sys/types.h>

/* What a descriptor stands for. */
typedef struct oaki_fd_file {
    dev_t dev;
    ino_t ino;
} oaki_fd_file;

/* false: it stands for nothing. */
bool oaki_fd_note(int fd, oaki_fd_file *file);
/* Programs close what they don't know, and open something else, which has the number then. */
bool oaki_fd_is(int fd, const oaki_fd_file *file);

/* A copy, closed on exec, at a number that programs don't get to, as each new descriptor is the
 * lowest that is free: 1,000, or near the limit where that is lower. -1: there is none. */
int oaki_fd_copy_high(int fd);
/* That copy in place of fd, or fd as it is. */
int oaki_fd_move_high(int fd);

/* As long as there is one thread: have room for such a copy, which otherwise takes some 10 ms. */
void oaki_fd_make_room(void);

#endif
