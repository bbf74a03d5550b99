/* slow.c - a library whose constructor waits: it tells by a byte that it is there, and goes on when
 * it gets one. The descriptors are named in the environment, as "OAKUM_TEST_SLOW=out in". */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static __attribute__((constructor)) void begin(void)
{
    int out, in;
    char c = 0;
    const char *fds = getenv("OAKUM_TEST_SLOW");
    if (!fds || sscanf(fds, "%d %d", &out, &in) != 2) return;
    if (write(out, &c, 1) == 1) (void)!read(in, &c, 1);
}
