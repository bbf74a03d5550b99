/* sigframe.h - the frame of a signal: its size, and clearing its unwritten bytes (sigframe.c). */
#ifndef OAKI_SIGFRAME_H
#define OAKI_SIGFRAME_H

#include <stddef.h>

/* The most stack that the kernel takes for a signal, in bytes, the red zone included. */
size_t oaki_sigframe_size(void);

/* Clears the bytes that the kernel left unwritten in a signal's frame, before the frame is scanned.
 * `context` is the argument of the signal's handler. `top` is the end of the memory that the kernel
 * could use: below the red zone, or the alternate stack's end. Only called in that handler. */
void oaki_sigframe_clear(void *context, const char *top);

#endif
