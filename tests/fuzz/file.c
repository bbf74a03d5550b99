/* file.c - files in memory for the fuzz targets. */
#include "fuzz.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

int fuzz_file(const uint8_t *data, size_t size, char path[64])
{
    int fd = memfd_create("fuzz", MFD_CLOEXEC);
    FUZZ_REQUIRE(fd >= 0);
    if (data) FUZZ_REQUIRE(pwrite(fd, data, size, 0) == (ssize_t)size);
    if (path) snprintf(path, 64, "/proc/self/fd/%d", fd);
    return fd;
}

char *fuzz_read(int fd, size_t *n)
{
    off_t size = lseek(fd, 0, SEEK_END);
    FUZZ_REQUIRE(size >= 0);
    char *text = malloc((size_t)size + 1);
    FUZZ_REQUIRE(text && pread(fd, text, (size_t)size, 0) == (ssize_t)size);
    text[size] = '\0';
    *n = (size_t)size;
    return text;
}
