/* twins.c - leaks whose stacks differ in little: two lines of one function, and the same line with
 * another caller. */
#include <stdlib.h>

#ifdef __clang__ /* which makes no clones */
#define OWN __attribute__((noinline))
#else
#define OWN __attribute__((noinline, noclone))
#endif

void *at; /* not static: the stores stay */

static OWN void lose(size_t n)
{
    at = malloc(n); /* the first */
    if (n == 100) at = malloc(n * 2); /* the second */
    at = NULL;
}

static OWN void through(void)
{
    lose(400);
    at = NULL;
}

int main(void)
{
    lose(100);
    through();
    at = NULL;
    return 0;
}
