/* sigframe.h - see sigframe.c. */
#ifndef OAKI_SIGFRAME_H
#define OAKI_SIGFRAME_H

#include <stddef.h>

/* Bytes that the kernel takes of a stack for a signal at most, its red zone included. */
size_t oaki_sigframe_size(void);

/* Clear the bytes that the kernel left as they were in the frame of the signal whose handler has
 * been called with this context, which is to be scanned. The frame's top is that of the memory that
 * the kernel could use: below the red zone, or the alternate stack's end. In that handler alone. */
void oaki_sigframe_clear(void *context, const char *top);

#endif
