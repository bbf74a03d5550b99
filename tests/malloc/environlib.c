/* environlib.c - a library that sets a variable as it is initialised, so that libc has another list
 * than the kernel's by the time that main runs. */
#include <stdlib.h>

static __attribute__((constructor)) void set(void)
{
    setenv("OAKUM_SET_EARLY", "1", 1);
}
