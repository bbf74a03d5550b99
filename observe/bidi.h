/* bidi.h - characters that change the direction of text. Depends on libc alone: the command uses
 * it, too. */
#ifndef OAKI_BIDI_H
#define OAKI_BIDI_H

#include <stdbool.h>
#include <stddef.h>

/* Whether the UTF-8 character of n bytes at s has the property Bidi_Control: U+061C, U+200E,
 * U+200F, U+202A to U+202E, U+2066 to U+2069. With these, a name could look like another
 * (CVE-2021-42574). */
static inline bool oaki_bidi_control(const char *s, size_t n)
{
    const unsigned char *p = (const unsigned char *)s;
    if (n == 2) return p[0] == 0xd8 && p[1] == 0x9c;
    if (n != 3 || p[0] != 0xe2) return false;
    if (p[1] == 0x80) return p[2] == 0x8e || p[2] == 0x8f || (p[2] >= 0xaa && p[2] <= 0xae);
    return p[1] == 0x81 && p[2] >= 0xa6 && p[2] <= 0xa9;
}

#endif
