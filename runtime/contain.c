/* contain.c - what happens when a function that has to return is left otherwise (contain.h). Owns
 * nothing. */
#include "contain.h"

OAKI_UNWIND_ACTION(oaki_left_inside)
{
    oak_fatal("oakum: a function that has to return, as a mark function, a hook of a collection or "
              "a source of frames, was left by an exception, pthread_exit or cancellation");
}
