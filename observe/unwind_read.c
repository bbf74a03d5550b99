/* unwind_read.c - checked reads of memory that may be anything (unwind_read.h). */
#include "unwind_read.h"

#include "runtime/os.h"
#include "runtime/probe.h"

/* DW_EH_PE values: the format is in the low four bits, the base in the next three. */
enum {
    PE_ABSOLUTE = 0,
    PE_ULEB = 1,
    PE_U2 = 2,
    PE_U4 = 3,
    PE_U8 = 4,
    PE_SLEB = 9,
    PE_S2 = 10,
    PE_S4 = 11,
    PE_S8 = 12,
    PE_BASE = 0x70,
    PE_PC = 0x10,
};

#define LEB_BYTES 10 /* of 64 bits */

static bool add_page(oaki_window *w, uintptr_t page, size_t size)
{
    if (page >= w->lo && page < w->hi) return true;
    if (page + size < page || !oaki_probe((const void *)page)) return false;
    if (page == w->hi)
        w->hi += size;
    else if (page + size == w->lo)
        w->lo = page;
    else
        *w = (oaki_window){ page, page + size };
    return true;
}

bool oaki_window_extend(oaki_window *w, uintptr_t at, size_t n)
{
    size_t size = oaki_os_page_size();
    uintptr_t last = at + n - 1;
    if (last < at) return false;
    uintptr_t first_page = OAKI_ALIGN_DOWN(at, size), last_page = OAKI_ALIGN_DOWN(last, size);
    /* the window may begin in the middle of a page */
    if (w->lo > at && w->lo < first_page + size) w->lo = OAKI_ALIGN_UP(w->lo, size);
    if (w->hi <= last && w->hi > last_page) w->hi = OAKI_ALIGN_DOWN(w->hi, size);
    if (w->lo >= w->hi) *w = (oaki_window){ 0, 0 };
    if (!add_page(w, first_page, size)) return false;
    return last_page == first_page || add_page(w, last_page, size);
}

OAKI_NO_ASAN bool oaki_window_read(oaki_window *w, uintptr_t at, void *out, size_t n)
{
    if (!oaki_window_has(w, at, n)) return false;
    switch (n) { /* inline, as a sanitizer would check memcpy */
    case 1:
        __builtin_memcpy(out, (const void *)at, 1);
        return true;
    case 2:
        __builtin_memcpy(out, (const void *)at, 2);
        return true;
    case 4:
        __builtin_memcpy(out, (const void *)at, 4);
        return true;
    case 8:
        __builtin_memcpy(out, (const void *)at, 8);
        return true;
    default:
        return false;
    }
}

uint64_t oaki_cursor_bytes(oaki_cursor *c, size_t n)
{
    uint64_t value = 0;
    if (c->bad || c->at > c->end || c->end - c->at < n ||
        !oaki_window_read(c->window, c->at, &value, n)) {
        c->bad = true;
        return 0;
    }
    c->at += n;
    return value;
}

int64_t oaki_cursor_signed(oaki_cursor *c, size_t n)
{
    unsigned spare = 64 - 8 * (unsigned)n;
    return (int64_t)(oaki_cursor_bytes(c, n) << spare) >> spare;
}

/* Reads a LEB128 number. Bits beyond the 64th are dropped. */
static uint64_t leb(oaki_cursor *c, unsigned *bits, uint64_t *last)
{
    uint64_t value = 0, byte = 0x80;
    unsigned shift = 0;
    for (int i = 0; i < LEB_BYTES && (byte & 0x80); i++, shift += 7) {
        byte = oaki_cursor_bytes(c, 1);
        value |= (byte & 0x7f) << shift;
    }
    if (byte & 0x80) c->bad = true;
    *bits = shift;
    *last = byte;
    return value;
}

uint64_t oaki_cursor_uleb(oaki_cursor *c)
{
    unsigned bits;
    uint64_t last;
    return leb(c, &bits, &last);
}

int64_t oaki_cursor_sleb(oaki_cursor *c)
{
    unsigned bits;
    uint64_t last, value = leb(c, &bits, &last);
    if (bits < 64 && (last & 0x40)) value |= ~(uint64_t)0 << bits;
    return (int64_t)value;
}

void oaki_cursor_skip(oaki_cursor *c, uint64_t n)
{
    if (c->at > c->end || c->end - c->at < n) c->bad = true;
    if (!c->bad) c->at += n;
}

static uint64_t value_of(oaki_cursor *c, unsigned format)
{
    switch (format) {
    case PE_ABSOLUTE:
    case PE_U8:
    case PE_S8:
        return oaki_cursor_bytes(c, 8);
    case PE_ULEB:
        return oaki_cursor_uleb(c);
    case PE_U2:
        return oaki_cursor_bytes(c, 2);
    case PE_U4:
        return oaki_cursor_bytes(c, 4);
    case PE_SLEB:
        return (uint64_t)oaki_cursor_sleb(c);
    case PE_S2:
        return (uint64_t)oaki_cursor_signed(c, 2);
    case PE_S4:
        return (uint64_t)oaki_cursor_signed(c, 4);
    default:
        c->bad = true;
        return 0;
    }
}

uintptr_t oaki_cursor_pointer(oaki_cursor *c, unsigned encoding, uintptr_t data)
{
    uintptr_t base = 0, here = c->at, value;
    if (encoding == OAKI_PE_OMIT) return 0;
    switch (encoding & PE_BASE) {
    case 0:
        break;
    case PE_PC:
        base = here;
        break;
    case OAKI_PE_DATA:
        base = data;
        break;
    default:
        c->bad = true;
        return 0;
    }
    value = base + value_of(c, encoding & 15);
    if (c->bad) return 0;
    if ((encoding & OAKI_PE_INDIRECT) &&
        !oaki_window_read(c->window, value, &value, sizeof value)) {
        c->bad = true;
        return 0;
    }
    return value;
}
