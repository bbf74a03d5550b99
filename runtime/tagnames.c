/* tagnames.c - the names of common tags in OAKUM_POINTER_TAGS: nan-fffc, top-byte, shift-3,
 * compressed-4.
 *
 * Owns nothing. Bound: linear in the text. */
#include "tags.h"

#include "options.h"

#include <string.h>

/* The number after the prefix that the name begins with, if it is all that follows. */
static bool number_after(const char *name, const char *prefix, int min, int max, int *out)
{
    size_t n = strlen(prefix);
    return strncmp(name, prefix, n) == 0 && oaki_parse_int(name + n, min, max, out) == 0;
}

/* nan-XXXX: the upper 16 bits, four hexadecimal digits. */
static bool upper_bits(const char *name, uint64_t *out)
{
    static const char digits[] = "0123456789abcdef0123456789ABCDEF";
    uint64_t v = 0;
    if (strncmp(name, "nan-", 4) != 0 || strlen(name) != 8) return false;
    for (const char *p = name + 4; *p; p++) {
        const char *at = strchr(digits, *p);
        if (!at) return false;
        v = v << 4 | ((uint64_t)(at - digits) & 15);
    }
    *out = v;
    return true;
}

static bool parse_name(const char *name, oak_pointer_tag *out)
{
    uint64_t top;
    int n;
    if (strcmp(name, "top-byte") == 0)
        *out = OAK_TAG_TOP_BYTE;
    else if (upper_bits(name, &top))
        *out = OAK_TAG_UPPER_16(top);
    else if (number_after(name, "shift-", 1, 16, &n))
        *out = OAK_TAG_SHIFTED(n);
    else if (number_after(name, "compressed-", 0, 8, &n))
        *out = OAK_TAG_COMPRESSED(n);
    else
        return false;
    return true;
}

bool oaki_tags_parse(const char *text, oak_pointer_tag *out)
{
    char name[32];
    size_t n = 0;
    for (const char *s = text; *s;) {
        size_t len = strcspn(s, ",");
        if (len >= sizeof name || n == OAK_POINTER_TAGS) return false;
        memcpy(name, s, len);
        name[len] = '\0';
        if (!parse_name(name, &out[n++])) return false;
        s += len + (s[len] == ',');
    }
    return true;
}
