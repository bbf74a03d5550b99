/* startup.c - what does a program pay for a collector before it has done anything?
 *
 * Initialises, makes one object, ends; with EMPTY defined not even that, as the floor that the
 * system sets. The runner times many runs, from fork to the end of waiting. Its Go twin is
 * startup.go. With an argument it prints its peak of resident memory: what wait4 says of that is
 * the parent's where that had more before the exec. */
#include "mem.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#ifdef EMPTY

int main(void)
{
    return 0;
}

#else

uint64_t *kept;

static void print_peak(void)
{
    char text[4096];
    int fd = open("/proc/self/status", O_RDONLY);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    text[n < 0 ? 0 : n] = '\0';
    const char *line = strstr(text, "VmHWM:");
    if (line) printf("peak_mib %.3f\n", strtod(line + 6, NULL) / 1024);
}

int main(int argc, char **argv)
{
    (void)argv;
    MEM_INIT();
    if (!(kept = MEM_ALLOC(64))) mem_out();
    *kept = 1;
    if (argc > 1) {
        print_peak();
        counts_show();
    }
    return 0;
}

#endif
