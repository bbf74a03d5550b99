/* utf8.c - tells UTF-8 from other bytes (utf8.h).
 *
 * Owns: nothing. Bound: O(bytes). */
#include "utf8.h"
#include <stdlib.h>
#include <string.h>

/* Table 3-7 of the Unicode Standard gives the range of the second byte after each first one. */
size_t oaki_utf8_length(const char *s, size_t n)
{
    const unsigned char *p = (const unsigned char *)s;
    unsigned char lo = 0x80, hi = 0xbf;
    if (n == 0) return 0;
    if (p[0] < 0x80) return 1;
    size_t len = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
    if (p[0] < 0xc2 || p[0] > 0xf4 || len > n) return 0;
    if (p[0] == 0xe0) lo = 0xa0;
    if (p[0] == 0xed) hi = 0x9f;
    if (p[0] == 0xf0) lo = 0x90;
    if (p[0] == 0xf4) hi = 0x8f;
    if (p[1] < lo || p[1] > hi) return 0;
    for (size_t i = 2; i < len; i++)
        if ((p[i] & 0xc0) != 0x80) return 0;
    return len;
}

static bool is_clean(const char *s, size_t n)
{
    for (size_t len; n > 0; s += len, n -= len)
        if (*s == '\0' || (len = oaki_utf8_length(s, n)) == 0) return false;
    return true;
}

static char *escape_byte(char *to, unsigned char c)
{
    to[0] = '\\';
    to[1] = 'x';
    to[2] = "0123456789abcdef"[c >> 4];
    to[3] = "0123456789abcdef"[c & 15];
    return to + 4;
}

char *oaki_utf8_escape(const char *s, size_t n, size_t *out_n)
{
    bool clean = is_clean(s, n);
    char *out = malloc(clean ? n + 1 : n * 4 + 1), *to = out;
    if (!out) return NULL;
    while (!clean && n > 0) {
        size_t len = *s == '\0' ? 0 : oaki_utf8_length(s, n);
        if (len == 0) {
            to = escape_byte(to, (unsigned char)*s);
            len = 1;
        } else {
            if (*s == '\\') *to++ = '\\';
            memcpy(to, s, len);
            to += len;
        }
        s += len;
        n -= len;
    }
    if (clean && n) memcpy(to, s, n);
    to += clean ? n : 0;
    *to = '\0';
    *out_n = (size_t)(to - out);
    return out;
}
