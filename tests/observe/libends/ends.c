/* ends.c - a library that ends the process, in each way that a library of foreign.c might. */
#undef NDEBUG
#include <assert.h>
#include <stdlib.h>
#include <unistd.h>

void ends_by_abort(void);
void ends_by_assertion(int holds);
void ends_by_exit(void);
void ends_at_once(void);

void ends_by_abort(void)
{
    abort();
}

void ends_by_assertion(int holds)
{
    assert(holds == 1);
}

void ends_by_exit(void)
{
    exit(4);
}

void ends_at_once(void)
{
    _exit(5);
}
