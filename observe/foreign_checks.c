/* foreign_checks.c - the checked forms of the C library's functions (foreign_checks.h).
 *
 * Arguments and results are glibc's. What is formatted is formatted by the namespace's C library,
 * in the locale and with the malloc of the library that calls.
 *
 * Owns: print, written before any library but the C library is loaded. */
#include "foreign_checks.h"
#include "foreign_exits.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdarg.h>
#include <string.h>
#include <sys/select.h>

static int (*print)(char *to, size_t n, const char *format, va_list ap);

bool oaki_foreign_checks_init(void *c)
{
    *(void **)&print = dlsym(c, "vsnprintf");
    return print != NULL;
}

static void check(bool fits)
{
    if (!fits) oaki_foreign_end("buffer overflow");
}

/* ---- bytes ---- */

static void *move(void *to, const void *from, size_t n, size_t room)
{
    check(n <= room);
    return memmove(to, from, n);
}

static void *move_to_end(void *to, const void *from, size_t n, size_t room)
{
    return (char *)move(to, from, n, room) + n;
}

static void *set(void *to, int c, size_t n, size_t room)
{
    check(n <= room);
    return memset(to, c, n);
}

static void clear(void *to, size_t n, size_t room)
{
    set(to, 0, n, room);
    __asm__("" : : "r"(to) : "memory"); /* or the compiler drops it as a dead store */
}

/* ---- strings ---- */

static char *copy_to_end(char *to, const char *from, size_t room)
{
    size_t n = strlen(from);
    return (char *)move(to, from, n + 1, room) + n;
}

static char *copy(char *to, const char *from, size_t room)
{
    (void)copy_to_end(to, from, room);
    return to;
}

static char *append(char *to, const char *from, size_t room)
{
    size_t n = strnlen(to, room);
    (void)copy_to_end(to + n, from, room - n);
    return to;
}

static char *append_most(char *to, const char *from, size_t most, size_t room)
{
    size_t at = strnlen(to, room), n = strnlen(from, most);
    check(n < room - at);
    memcpy(to + at, from, n);
    to[at + n] = '\0';
    return to;
}

static char *copy_padded_to_end(char *to, const char *from, size_t n, size_t room)
{
    size_t len = strnlen(from, n);
    check(n <= room);
    memcpy(to, from, len);
    memset(to + len, 0, n - len);
    return to + len;
}

static char *copy_padded(char *to, const char *from, size_t n, size_t room)
{
    (void)copy_padded_to_end(to, from, n, room);
    return to;
}

/* ---- formats ---- */

static int print_most_list(char *to, size_t most, int flag, size_t room, const char *format,
                           va_list ap)
{
    (void)flag;
    check(most <= room);
    return print(to, most, format, ap);
}

static int print_most(char *to, size_t most, int flag, size_t room, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    int n = print_most_list(to, most, flag, room, format, ap);
    va_end(ap);
    return n;
}

static int print_list(char *to, int flag, size_t room, const char *format, va_list ap)
{
    int n = print_most_list(to, OAKI_MIN(room, INT_MAX), flag, room, format, ap);
    check(n < 0 || (size_t)n < room);
    return n;
}

static int print_all(char *to, int flag, size_t room, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    int n = print_list(to, flag, room, format, ap);
    va_end(ap);
    return n;
}

/* ---- sets of files ---- */

static long word_of_file(long fd)
{
    check(fd >= 0 && fd < FD_SETSIZE);
    return fd / NFDBITS;
}

#define FORM(name, fn)                          \
    {                                           \
        "__" #name "_chk", (void (*)(void))(fn) \
    }
const oaki_foreign_form oaki_foreign_checks[] = {
    FORM(memcpy, move),
    FORM(memmove, move),
    FORM(mempcpy, move_to_end),
    FORM(memset, set),
    FORM(explicit_bzero, clear),
    FORM(strcpy, copy),
    FORM(stpcpy, copy_to_end),
    FORM(strcat, append),
    FORM(strncat, append_most),
    FORM(strncpy, copy_padded),
    FORM(stpncpy, copy_padded_to_end),
    FORM(sprintf, print_all),
    FORM(vsprintf, print_list),
    FORM(snprintf, print_most),
    FORM(vsnprintf, print_most_list),
    FORM(fdelt, word_of_file),
    { NULL, NULL },
};
