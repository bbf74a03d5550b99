/* os_random.c - random bytes: the kernel's, by one way or another, or a guess.
 *
 * Owns nothing but a counter. Lock: none. */
#include "os.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/auxv.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

/* SplitMix64 (Steele, Lea, Flood, "Fast Splittable Pseudorandom Number Generators", 2014), seeded
 * with values that differ from process to process. */
static void guess(char *p, size_t n)
{
    static AO_t calls;
    const char *start = (const char *)getauxval(AT_RANDOM); /* 16 bytes of the kernel's */
    uint64_t x[2] = { 0 };
    if (start) memcpy(x, start, sizeof x);
    x[0] ^= x[1] ^ oaki_os_wall_ns() ^ oaki_os_now_ns() << 20 ^ (uintptr_t)p;
    x[0] += (uint64_t)oaki_os_pid() << 32 ^ AO_fetch_and_add1(&calls) << 48;
    for (size_t i = 0; i < n; i++) {
        uint64_t z = x[0] += UINT64_C(0x9e3779b97f4a7c15);
        z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
        z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
        p[i] = (char)(z ^ z >> 31);
    }
}

/* The path may lead to any file. The kernel's is device 1:9. */
static bool is_urandom(int fd)
{
    struct stat s;
    return fstat(fd, &s) == 0 && S_ISCHR(s.st_mode) && s.st_rdev == makedev(1, 9);
}

/* Returns the number of bytes read. */
static size_t read_random(char *p, size_t n)
{
    size_t at = 0;
    int fd = (int)syscall(SYS_openat, AT_FDCWD, "/dev/urandom", O_RDONLY | O_CLOEXEC | O_NOCTTY);
    bool is = fd >= 0 && is_urandom(fd);
    while (is && at < n) {
        long got = syscall(SYS_read, fd, p + at, n - at);
        if (got == 0 || (got < 0 && errno != EINTR)) break;
        if (got > 0) at += (size_t)got;
    }
    if (fd >= 0) (void)syscall(SYS_close, fd);
    return at;
}

/* A filter may forbid getrandom, and Linux before 3.17 lacks it. */
static bool fill(void *out, size_t n, unsigned flags)
{
    int saved = errno;
    char *p = out;
    size_t at = 0;
    while (at < n) {
        long got = syscall(SYS_getrandom, p + at, n - at, flags);
        if (got < 0 && errno != EINTR) break;
        if (got > 0) at += (size_t)got;
    }
    if (at < n) at += read_random(p + at, n - at);
    if (at < n) guess(p + at, n - at);
    errno = saved;
    return at == n;
}

bool oaki_os_random(void *out, size_t n)
{
    return fill(out, n, 0);
}

void oaki_os_seed(void *out, size_t n)
{
    (void)fill(out, n, GRND_NONBLOCK);
}
