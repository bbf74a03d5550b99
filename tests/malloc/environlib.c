/* environlib.c - a library that sets a variable as it is initialised, so that libc has another list
 * than the kernel's by the time that main runs; or, with CLEARS, none. */
#include <stdlib.h>

static __attribute__((constructor)) void set(void)
{
#ifdef CLEARS
    clearenv();
#else
    setenv("OAKUM_SET_EARLY", "1", 1);
#endif
}
