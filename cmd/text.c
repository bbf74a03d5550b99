/* text.c - cleans foreign text for a terminal: of a server, a snapshot, a command line, a scenario.
 *
 * And says what to do about an error number.
 *
 * All foreign text that the command prints is cleaned here, except JSON, whose writer escapes it
 * (observe/json.c). Cleaning turns bytes into '?': those that are no UTF-8, and those that a
 * terminal obeys. A terminal obeys the control characters of C0, DEL and C1; C1 also as UTF-8.
 * Characters that change the direction of text are cleaned, too. The caller may keep some of C0. */
#include "cmd.h"
#include "observe/bidi.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

size_t cmd_character(const char *text, size_t n)
{
    static const unsigned least[] = { 0, 0, 0xa0, 0x800, 0x10000 };
    const unsigned char *p = (const unsigned char *)text;
    size_t len = p[0] < 0x80 ? 1 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
    unsigned c = p[0] & (0x7fu >> len);

    if (len == 1) return p[0] >= 0x20 && p[0] < 0x7f;
    if (p[0] < 0xc0 || p[0] >= 0xf8 || len > n) return 0;
    for (size_t i = 1; i < len; i++) {
        if ((p[i] & 0xc0) != 0x80) return 0;
        c = c << 6 | (p[i] & 0x3f);
    }
    return c < least[len] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000) ? 0 : len;
}

void cmd_clean(char *text, size_t n, const char *kept)
{
    for (size_t i = 0, len; i < n; i += len) {
        len = cmd_character(text + i, n - i);
        if (len != 0 && !oaki_bidi_control(text + i, len)) continue;
        if (text[i] == '\0' || strchr(kept, text[i]) == NULL) text[i] = '?';
        len = 1;
    }
}

void cmd_say(FILE *out, const char *format, ...)
{
    size_t ends = strlen(format), n;
    char *text;
    va_list ap;
    int got;

    va_start(ap, format);
    got = vasprintf(&text, format, ap);
    va_end(ap);
    if (got < 0) return;
    n = (size_t)got;
    if (n > 0 && ends > 0 && format[ends - 1] == '\n') n--;
    cmd_clean(text, n, "\t");
    fwrite(text, 1, (size_t)got, out);
    free(text);
}

const char *cmd_remedy(int error)
{
    switch (error) {
    case ENOENT:
    case ENOTDIR: return "check the path";
    case EISDIR: return "name a file, not a folder";
    case EACCES:
    case EPERM: return "check its mode, or be its owner or root";
    case EROFS:
    case ENOSPC:
    case EDQUOT: return "free space there, or name another place";
    case ENOMEM: return "'ulimit -v' and 'free' tell what there is";
    case ENOEXEC: return "'file' tells which machine it is for";
    case ECONNREFUSED:
    case ECONNRESET:
    case EPIPE: return "check that the program still runs";
    case ETIMEDOUT: return "if it is stopped or busy, try again";
    case EBADF: return "it is closed: redirect it to a file or to /dev/null";
    case ENXIO: return "start the pipe's reader first";
    case EADDRNOTAVAIL:
    case EHOSTUNREACH:
    case ENETUNREACH: return "check the address";
    default: return "'man oakum' tells more";
    }
}
