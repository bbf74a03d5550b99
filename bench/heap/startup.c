/* startup.c - what does a program pay for a collector before it has done anything?
 *
 * Initialises, makes one object, ends; with EMPTY defined not even that, as the floor that the
 * system sets. The runner times many runs, from fork to the end of waiting. Its Go twin is
 * startup.go. */
#include "mem.h"

#ifdef EMPTY

int main(void)
{
    return 0;
}

#else

uint64_t *kept;

int main(void)
{
    MEM_INIT();
    if (!(kept = MEM_ALLOC(64))) mem_out();
    *kept = 1;
    return 0;
}

#endif
