/* leak.c - a program of malloc's that loses one block; check-deb looks for its name and line. */
#include <stdio.h>
#include <stdlib.h>

__attribute__((noinline)) static void lose(void)
{
    char *lost = malloc(1234);
    printf("a block %s\n", lost != NULL ? "is lost" : "is not to be had");
    if (lost != NULL) printf("its first byte is at %p\n", (void *)lost);
}

int main(void)
{
    lose();
    return 0;
}
