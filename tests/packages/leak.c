/* leak.c - a program of malloc's that loses one block; check-deb looks for its name and line. */
#include <stdlib.h>
#include <string.h>

__attribute__((noinline)) static void lose(void)
{
    char *lost = malloc(1234);
    if (lost != NULL) memset(lost, 1, 1234);
}

int main(void)
{
    lose();
    return 0;
}
