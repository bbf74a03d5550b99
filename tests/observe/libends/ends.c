/* ends.c - a library that ends the process, in each way that a library of foreign.c might. It is
 * compiled with _FORTIFY_SOURCE. */
#undef NDEBUG
#include <assert.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/select.h>
#include <unistd.h>

void ends_by_abort(void);
void ends_by_assertion(int holds);
void ends_by_exit(void);
void ends_at_once(void);
void ends_by_kill(void);
void ends_by_raise(void);
void ends_by_stack(void);
void overruns_by_memcpy(void);
void overruns_by_strcpy(void);
void overruns_by_strcat(void);
void overruns_by_sprintf(void);
void overruns_by_vsnprintf(void);
void overruns_by_fd_set(void);
const char *what_fits(void);

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

void ends_by_kill(void)
{
    kill(getpid(), SIGUSR1);
}

void ends_by_raise(void)
{
    raise(SIGFPE);
}

/* What a function calls whose stack is damaged. */
void ends_by_stack(void)
{
    extern void failed(void) __asm__("__stack_chk_fail");
    failed();
}

/* ---- overruns; the compiler knows the room, but not what is written ---- */

#define ROOM 8
#define HIDE(x) __asm__("" : "+r"(x) : : "memory")
static char room[ROOM];
#define COPY(from) __builtin___strcpy_chk(room, from, ROOM)
#define APPEND(from) __builtin___strcat_chk(room, from, ROOM)
#define PRINT(...) __builtin___sprintf_chk(room, 1, ROOM, __VA_ARGS__)

static const char *text(const char *s)
{
    HIDE(s);
    return s;
}

static size_t size(size_t n)
{
    HIDE(n);
    return n;
}

static int print(size_t most, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    int n = vsnprintf(room, most, format, ap);
    va_end(ap);
    return n;
}

void overruns_by_memcpy(void)
{
    memcpy(room, text("0123456789"), size(9));
}

void overruns_by_strcpy(void)
{
    COPY(text("01234567"));
}

void overruns_by_strcat(void)
{
    COPY("0123");
    APPEND(text("4567"));
}

void overruns_by_sprintf(void)
{
    PRINT("%d", (int)size(12345678));
}

void overruns_by_vsnprintf(void)
{
    print(size(9), "%d", 1);
}

void overruns_by_fd_set(void)
{
    fd_set set;
    FD_ZERO(&set);
    FD_SET((int)size(FD_SETSIZE), &set);
}

/* ---- what fits; the result names what is wrong ---- */

#define EXPECT(call, left) \
    if (!(call) || memcmp(room, left, sizeof left) != 0) return #call

const char *what_fits(void)
{
    fd_set set;
    EXPECT(memcpy(room, text("abcdefg"), size(8)) == room, "abcdefg");
    EXPECT(memmove(room, room + 1, size(7)) == room, "bcdefg");
    EXPECT(mempcpy(room, text("xyz"), size(3)) == room + 3, "xyzefg");
    EXPECT(memset(room, 'o', size(7)) == room, "ooooooo");
    EXPECT(COPY(text("0123456")) == room, "0123456");
    EXPECT(__builtin___stpcpy_chk(room, text("012"), ROOM) == room + 3, "012\000456");
    EXPECT(APPEND(text("3456")) == room, "0123456");
    EXPECT(strncpy(room, text("abc"), size(8)) == room, "abc\0\0\0\0");
    EXPECT(stpncpy(room, text("abcdefg"), size(8)) == room + 7, "abcdefg");
    EXPECT(stpncpy(room, text("xy"), size(4)) == room + 2, "xy\0\0efg");
    EXPECT(strncat(room, text("1234567"), size(5)) == room, "xy12345");
    EXPECT(PRINT("%s %d", text("a"), (int)size(42)) == 4, "a 42");
    EXPECT(snprintf(room, size(8), "%s", text("0123456789")) == 10, "0123456");
    EXPECT(print(size(8), "%c%c%.1f", 'a', 'b', 2.5) == 5, "ab2.5");
    explicit_bzero(room, size(8));
    EXPECT(room[0] == 0, "\0\0\0\0\0\0\0");
    FD_ZERO(&set);
    FD_SET((int)size(70), &set);
    return FD_ISSET(70, &set) && !FD_ISSET(71, &set) ? NULL : "FD_SET";
}
