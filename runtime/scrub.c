/* scrub.c - see scrub.h.
 *
 * Owns nothing; no lock. Bound: BYTES and the frames of as many calls, which is less than the
 * least stack that a thread has (OAK_STACK_MIN). */
#include "scrub.h"

#include "base.h"

#include <string.h>

#define BYTES 4096 /* as deep as simple finalizers get */
#define PIECE 512

static OAKI_NOINLINE void scrub(size_t bytes)
{
    char dead[PIECE];
    memset(dead, 0, sizeof dead);
    __asm__ __volatile__("" : : "r"(dead) : "memory");
    if (bytes > PIECE) scrub(bytes - PIECE);
    __asm__ __volatile__("" : : "r"(dead) : "memory"); /* not a tail call, which has no frame */
}

void oaki_scrub(void)
{
    scrub(BYTES);
}
