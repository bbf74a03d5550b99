/* unwind_cfi.c - reads entries of .eh_frame (unwind_cfi.h), as in the Linux Standard Base and in
 * DWARF 5, section 6.4.
 *
 * Owns nothing; no lock. All reads are checked, as the file may be corrupt. Bound: O(1), apart from
 * the length of the augmentation string, which is limited. */
#include "unwind_cfi.h"

#define EXTRAS 8 /* most letters of an augmentation string */

/* Restricts c to one entry, after its length field. False at the end of the table. */
static bool enter(oaki_cursor *c)
{
    uint64_t length = oaki_cursor_bytes(c, 4);
    if (length == UINT32_MAX) length = oaki_cursor_bytes(c, 8);
    if (c->bad || length == 0 || length > c->end - c->at) return false;
    c->end = c->at + length;
    return true;
}

uintptr_t oaki_cfi_next(uintptr_t at, uintptr_t end, oaki_window *w)
{
    oaki_cursor c = { w, at, end, false };
    return enter(&c) ? c.end : 0;
}

static bool read_letter(oaki_cursor *c, char letter, oaki_cfi *out)
{
    switch (letter) {
    case 'R':
        out->encoding = (unsigned)oaki_cursor_bytes(c, 1);
        break;
    case 'L':
        oaki_cursor_skip(c, 1);
        break;
    case 'P': {
        unsigned encoding = (unsigned)oaki_cursor_bytes(c, 1);
        (void)oaki_cursor_pointer(c, encoding & ~(unsigned)OAKI_PE_INDIRECT, 0);
        break;
    }
    case 'S':
        out->signal = true;
        break;
    case 'B': /* the key that signs return addresses on aarch64 */
    case 'G':
        break;
    default:
        return false;
    }
    return true;
}

/* Unknown data is skipped by its length, which comes first. */
static void read_extras(oaki_cursor *c, const char *letters, oaki_cfi *out)
{
    if (letters[0] != 'z') return;
    out->sized = true;
    uint64_t length = oaki_cursor_uleb(c);
    uintptr_t begin = c->at;
    for (const char *l = letters + 1; *l && read_letter(c, *l, out); l++) continue;
    c->at = begin;
    oaki_cursor_skip(c, length);
}

static bool read_common(oaki_cursor c, oaki_cfi *out)
{
    char letters[EXTRAS + 1] = "";
    if (!enter(&c) || oaki_cursor_bytes(&c, 4) != 0) return false;
    unsigned version = (unsigned)oaki_cursor_bytes(&c, 1);
    if (version != 1 && version != 3 && version != 4) return false;
    for (int i = 0; (letters[i] = (char)oaki_cursor_bytes(&c, 1)) != '\0'; i++)
        if (i == EXTRAS - 1) return false;
    if (version == 4) oaki_cursor_skip(&c, 2);
    out->code_unit = oaki_cursor_uleb(&c);
    out->data_unit = oaki_cursor_sleb(&c);
    out->return_column = (unsigned)(version == 1 ? oaki_cursor_bytes(&c, 1) : oaki_cursor_uleb(&c));
    read_extras(&c, letters, out);
    out->common = c;
    return !c.bad && (letters[0] == '\0' || letters[0] == 'z');
}

bool oaki_cfi_read(uintptr_t at, uintptr_t end, oaki_window *w, oaki_cfi *out)
{
    oaki_cursor c = { w, at, end, false };
    *out = (oaki_cfi){ .entry = at };
    if (!enter(&c)) return false;
    uintptr_t here = c.at;
    uint64_t back = oaki_cursor_bytes(&c, 4);
    if (c.bad || back == 0 || back > here) return false; /* 0: a CIE */
    if (!read_common((oaki_cursor){ w, here - back, end, false }, out)) return false;
    out->start = oaki_cursor_pointer(&c, out->encoding, 0);
    out->size = oaki_cursor_pointer(&c, out->encoding & 15, 0);
    if (out->sized) oaki_cursor_skip(&c, oaki_cursor_uleb(&c));
    out->own = c;
    return !c.bad;
}
