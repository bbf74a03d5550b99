/* json.c - the JSON writer (json.h).
 *
 * Owns: nothing. The output is collected in the writer's buffer, and goes to the sink when that is
 * full. After a failure nothing more is written, so callers need to check only at the end. */
#include "json.h"
#include "bidi.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- bytes ---- */

static void flush(oaki_json *j)
{
    if (j->n > 0 && !j->failed) j->failed = !j->sink(j->ctx, j->buf, j->n);
    j->n = 0;
}

static void put(oaki_json *j, const char *p, size_t n)
{
    while (n > 0) {
        size_t room = sizeof j->buf - j->n, k = n < room ? n : room;
        memcpy(j->buf + j->n, p, k);
        j->n += k;
        p += k;
        n -= k;
        if (j->n == sizeof j->buf) flush(j);
    }
}

static void put_char(oaki_json *j, char c)
{
    put(j, &c, 1);
}

static void put_text(oaki_json *j, const char *s)
{
    put(j, s, strlen(s));
}

/* Begin the line that oaki_json_line has requested. */
static void put_line(oaki_json *j)
{
    put_char(j, '\n');
    for (unsigned i = 0; i < j->margin; i++) put_char(j, ' ');
    j->line = false;
}

/* ---- structure ---- */

static uint64_t here(const oaki_json *j)
{
    return (uint64_t)1 << (j->depth - 1);
}

static bool in_object(const oaki_json *j)
{
    return j->depth > 0 && (j->objects & here(j));
}

/* Write the separator before a value or key. */
static void next_place(oaki_json *j)
{
    bool filled = (j->filled & here(j)) != 0;
    if (filled) put_char(j, ',');
    j->filled |= here(j);
    if (j->line)
        put_line(j);
    else if (filled && j->terminal)
        put_char(j, ' ');
}

static void begin_value(oaki_json *j)
{
    if (in_object(j)) {
        if (!j->keyed) j->failed = true;
        j->keyed = false;
    } else if (j->depth > 0) {
        next_place(j);
    }
}

static void end_value(oaki_json *j)
{
    if (j->depth == 0) put_char(j, '\n');
}

static void open(oaki_json *j, char c, bool object)
{
    begin_value(j);
    if (j->depth == OAKI_JSON_DEPTH) {
        j->failed = true;
        return;
    }
    j->depth++;
    j->objects = object ? j->objects | here(j) : j->objects & ~here(j);
    j->filled &= ~here(j);
    put_char(j, c);
}

static void close_with(oaki_json *j, char c, bool object)
{
    if (j->depth == 0 || in_object(j) != object || j->keyed) {
        j->failed = true;
        return;
    }
    j->depth--;
    if (j->line) put_line(j);
    put_char(j, c);
    end_value(j);
}

void oaki_json_object(oaki_json *j) { open(j, '{', true); }
void oaki_json_object_end(oaki_json *j) { close_with(j, '}', true); }
void oaki_json_array(oaki_json *j) { open(j, '[', false); }
void oaki_json_array_end(oaki_json *j) { close_with(j, ']', false); }

void oaki_json_line(oaki_json *j, unsigned margin)
{
    j->line = true;
    j->margin = margin;
}

void oaki_json_init(oaki_json *j, oaki_json_sink sink, void *ctx)
{
    memset(j, 0, offsetof(oaki_json, buf));
    j->sink = sink;
    j->ctx = ctx;
}

bool oaki_json_finish(oaki_json *j)
{
    if (j->depth > 0) j->failed = true;
    flush(j);
    return !j->failed;
}

/* ---- strings ---- */

/* The length of the UTF-8 sequence at p, of which n bytes are left; 0 if it is invalid. Overlong
 * forms, surrogates and characters beyond U+10FFFF are invalid (RFC 3629). */
static size_t sequence(const unsigned char *p, size_t n)
{
    static const struct {
        unsigned char first, last, low, high; /* lead byte, and the byte behind it */
        unsigned char bytes;
    } forms[] = {
        { 0xc2, 0xdf, 0x80, 0xbf, 2 }, { 0xe0, 0xe0, 0xa0, 0xbf, 3 }, { 0xe1, 0xec, 0x80, 0xbf, 3 },
        { 0xed, 0xed, 0x80, 0x9f, 3 }, { 0xee, 0xef, 0x80, 0xbf, 3 }, { 0xf0, 0xf0, 0x90, 0xbf, 4 },
        { 0xf1, 0xf3, 0x80, 0xbf, 4 }, { 0xf4, 0xf4, 0x80, 0x8f, 4 },
    };
    if (p[0] < 0x80) return 1;
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        if (p[0] < forms[i].first || p[0] > forms[i].last) continue;
        if (n < forms[i].bytes || p[1] < forms[i].low || p[1] > forms[i].high) return 0;
        for (size_t k = 2; k < forms[i].bytes; k++)
            if ((p[k] & 0xc0) != 0x80) return 0;
        return forms[i].bytes;
    }
    return 0;
}

static void put_escaped(oaki_json *j, unsigned char c)
{
    static const char hex[] = "0123456789abcdef";
    char text[] = { '\\', 'u', '0', '0', hex[c >> 4], hex[c & 15] };
    if (c == '"' || c == '\\') {
        char pair[] = { '\\', (char)c };
        put(j, pair, sizeof pair);
    } else if (c == '\n' && !j->terminal) {
        put(j, "\\n", 2);
    } else if (c == '\t' && !j->terminal) {
        put(j, "\\t", 2);
    } else {
        put(j, text, sizeof text);
    }
}

static bool is_plain(unsigned char c)
{
    return c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
}

/* Write \uXXXX for a character of 2 or 3 bytes. */
static void put_unit(oaki_json *j, const unsigned char *p, size_t k)
{
    static const char hex[] = "0123456789abcdef";
    unsigned v = k == 2 ? (p[0] & 0x1fu) << 6 | (p[1] & 0x3f)
                        : (p[0] & 0xfu) << 12 | (p[1] & 0x3fu) << 6 | (p[2] & 0x3f);
    char text[] = { '\\', 'u', hex[v >> 12], hex[v >> 8 & 15], hex[v >> 4 & 15], hex[v & 15] };
    put(j, text, sizeof text);
}

/* Write a character of k bytes that isn't plain; k = 0: a byte that is no UTF-8. Returns the number
 * of bytes that were read. */
static size_t put_character(oaki_json *j, const unsigned char *p, size_t k)
{
    if (oaki_bidi_control((const char *)p, k) ||
        (k == 2 && j->terminal && p[0] == 0xc2 && p[1] < 0xa0))
        put_unit(j, p, k);
    else if (k > 1)
        put(j, (const char *)p, k);
    else if (k == 1)
        put_escaped(j, p[0]);
    else
        put_text(j, j->terminal ? "\\ufffd" : "\xef\xbf\xbd");
    return k > 0 ? k : 1;
}

static void put_string(oaki_json *j, const unsigned char *p, size_t n)
{
    put_char(j, '"');
    for (size_t i = 0, k; i < n; i += k) {
        for (k = 0; i + k < n && is_plain(p[i + k]); k++) {
        }
        if (k > 0)
            put(j, (const char *)p + i, k);
        else
            k = put_character(j, p + i, sequence(p + i, n - i));
    }
    put_char(j, '"');
}

void oaki_json_bytes(oaki_json *j, const void *p, size_t n)
{
    begin_value(j);
    put_string(j, p, n);
    end_value(j);
}

void oaki_json_string(oaki_json *j, const char *s)
{
    if (s)
        oaki_json_bytes(j, s, strlen(s));
    else
        oaki_json_null(j);
}

void oaki_json_key(oaki_json *j, const char *key)
{
    if (!in_object(j) || j->keyed) {
        j->failed = true;
        return;
    }
    next_place(j);
    put_string(j, (const unsigned char *)key, strlen(key));
    put(j, ": ", j->terminal ? 2 : 1);
    j->keyed = true;
}

/* ---- numbers ---- */

static size_t digits_of(char *end, uint64_t v, unsigned base)
{
    char *p = end;
    do {
        *--p = "0123456789abcdef"[v % base];
        v /= base;
    } while (v != 0);
    return (size_t)(end - p);
}

static void put_number(oaki_json *j, uint64_t v, bool minus)
{
    char buf[24], *end = buf + sizeof buf;
    size_t n = digits_of(end, v, 10);
    if (minus) end[-(ptrdiff_t)++n] = '-';
    begin_value(j);
    put(j, end - n, n);
    end_value(j);
}

void oaki_json_u64(oaki_json *j, uint64_t v)
{
    put_number(j, v, false);
}

void oaki_json_i64(oaki_json *j, int64_t v)
{
    put_number(j, v < 0 ? 0 - (uint64_t)v : (uint64_t)v, v < 0);
}

void oaki_json_decimal(oaki_json *j, uint64_t units, unsigned decimals)
{
    char buf[48], *end = buf + sizeof buf;
    memset(buf, '0', sizeof buf);
    size_t n = digits_of(end, units, 10);
    if (decimals > 20) decimals = 20;
    if (n <= decimals) n = decimals + 1;
    size_t whole = n - decimals, part = decimals;
    while (part > 0 && end[-(ptrdiff_t)decimals + (ptrdiff_t)part - 1] == '0') part--;
    begin_value(j);
    put(j, end - n, whole);
    if (part > 0) {
        put_char(j, '.');
        put(j, end - decimals, part);
    }
    end_value(j);
}

/* The fewest digits, at most 17, that read back as a positive value, and its exponent. They come
 * from printf's %e: one digit, the locale's point, `precision` digits, and the exponent. Returns
 * the number of digits. */
static int shortest(double v, char digits[17], int *exponent)
{
    char text[64];
    for (int precision = 0;; precision++) {
        snprintf(text, sizeof text, "%.*e", precision, v);
        if (precision < 16 && strtod(text, NULL) != v) continue;
        const char *e = strchr(text, 'e');
        *exponent = (int)strtol(e + 1, NULL, 10);
        digits[0] = text[0];
        memcpy(digits + 1, e - precision, (size_t)precision);
        return precision + 1;
    }
}

static void put_zeros(oaki_json *j, int n)
{
    while (n-- > 0) put_char(j, '0');
}

static void put_double(oaki_json *j, double v)
{
    char digits[17], buf[8], *end = buf + sizeof buf;
    int exponent, n = shortest(v, digits, &exponent);
    if (exponent >= 0 && exponent < 17) {
        int whole = exponent + 1;
        put(j, digits, (size_t)(n < whole ? n : whole));
        put_zeros(j, whole - n);
        if (n <= whole) return;
        put_char(j, '.');
        put(j, digits + whole, (size_t)(n - whole));
    } else if (exponent < 0 && exponent >= -5) {
        put(j, "0.", 2);
        put_zeros(j, -exponent - 1);
        put(j, digits, (size_t)n);
    } else {
        put_char(j, digits[0]);
        if (n > 1) put_char(j, '.');
        put(j, digits + 1, (size_t)n - 1);
        put_char(j, 'e');
        if (exponent < 0) put_char(j, '-');
        size_t k = digits_of(end, (uint64_t)(exponent < 0 ? -exponent : exponent), 10);
        put(j, end - k, k);
    }
}

void oaki_json_double(oaki_json *j, double v)
{
    if (!isfinite(v)) {
        oaki_json_null(j);
        return;
    }
    begin_value(j);
    if (signbit(v)) put_char(j, '-');
    if (v == 0)
        put_char(j, '0');
    else
        put_double(j, fabs(v));
    end_value(j);
}

void oaki_json_bool(oaki_json *j, bool v)
{
    begin_value(j);
    put_text(j, v ? "true" : "false");
    end_value(j);
}

void oaki_json_null(oaki_json *j)
{
    begin_value(j);
    put_text(j, "null");
    end_value(j);
}

void oaki_json_address(oaki_json *j, const void *p)
{
    char buf[16], *end = buf + sizeof buf;
    size_t n = digits_of(end, (uintptr_t)p, 16);
    begin_value(j);
    put_text(j, "\"0x");
    put(j, end - n, n);
    put_char(j, '"');
    end_value(j);
}

/* ---- key and value ---- */

#define MEMBER(name, type)                                              \
    void oaki_json_put_##name(oaki_json *j, const char *key, type v)    \
    {                                                                   \
        oaki_json_key(j, key);                                          \
        oaki_json_##name(j, v);                                         \
    }
MEMBER(string, const char *)
MEMBER(u64, uint64_t)
MEMBER(i64, int64_t)
MEMBER(double, double)
MEMBER(bool, bool)
MEMBER(address, const void *)
#undef MEMBER

/* ---- text in memory ---- */

bool oaki_json_to_text(void *text, const char *p, size_t n)
{
    oaki_json_text *t = text;
    if (t->size == 0 || n > t->size - 1 - t->len) return false;
    memcpy(t->p + t->len, p, n);
    t->len += n;
    t->p[t->len] = '\0';
    return true;
}
