/* scrub.c - clearing of a stack's dead frames (scrub.h).
 *
 * Owns nothing; no lock. Bound: BYTES and the frames of the calls for them. That is less than the
 * smallest stack of a thread (OAK_STACK_MIN). */
#include "scrub.h"

#include "base.h"

#include <string.h>

#define BYTES 4096 /* as deep as simple finalizers get */
#define FRAME 512

static OAKI_NOINLINE void scrub(size_t bytes)
{
    char dead[FRAME];
    memset(dead, 0, sizeof dead);
    __asm__ __volatile__("" : : "r"(dead) : "memory");
    if (bytes > FRAME) scrub(bytes - FRAME);
    /* prevents a tail call, which has no frame */
    __asm__ __volatile__("" : : "r"(dead) : "memory");
}

void oaki_scrub(void)
{
    scrub(BYTES);
}
