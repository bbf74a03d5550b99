/* print.c - formatting without stdio or malloc, for messages from a stopped world.
 *
 * Owns nothing: all state is in the caller's frame, so any thread and any signal handler may
 * format. Output past the end of the buffer is counted and dropped.
 * Bound: linear in the output; %f adds at most 1023 doublings of a 36-limb number. */
#include "print.h"
#include "os.h"

#include <errno.h>
#include <locale.h>
#include <string.h>
#include <unistd.h>

#define LOG_MAX 512     /* bytes of one line, which small stacks have room for */
#define FRACTION_MAX 20 /* digits after the point; put_double is inexact beyond */

typedef struct sink {
    char *buf;
    size_t size, len; /* len includes the bytes that did not fit */
} sink;

typedef struct spec {
    bool left, zero, plus;
    size_t width;
    int precision; /* -1: none given */
    enum { SIZE_INT, SIZE_LONG, SIZE_LONGLONG } size;
} spec;

static void put(sink *s, char c)
{
    if (s->len + 1 < s->size) s->buf[s->len] = c;
    s->len++;
}

static void put_run(sink *s, char c, size_t n)
{
    while (n-- > 0) put(s, c);
}

static void put_bytes(sink *s, const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++) put(s, p[i]);
}

/* Puts a sign or prefix, zeros up to `digits` digits, the digits, and padding to the width. */
static void put_number(sink *s, const spec *sp, const char *prefix, size_t digits, const char *p,
                       size_t n)
{
    size_t np = strlen(prefix), zeros = digits > n ? digits - n : 0;
    size_t total = np + zeros + n, pad = sp->width > total ? sp->width - total : 0;
    if (sp->zero && !sp->left) {
        zeros += pad;
        pad = 0;
    }
    if (!sp->left) put_run(s, ' ', pad);
    put_bytes(s, prefix, np);
    put_run(s, '0', zeros);
    put_bytes(s, p, n);
    if (sp->left) put_run(s, ' ', pad);
}

static void put_string(sink *s, const spec *sp, const char *p, size_t n)
{
    size_t pad = sp->width > n ? sp->width - n : 0;
    if (!sp->left) put_run(s, ' ', pad);
    put_bytes(s, p, n);
    if (sp->left) put_run(s, ' ', pad);
}

/* Writes the digits of v, ending at `end`; returns their start. */
static char *digits_of(char *end, unsigned long long v, unsigned base, bool upper)
{
    const char *set = upper ? "0123456789ABCDEF" : "0123456789abcdef";
    do {
        *--end = set[v % base];
        v /= base;
    } while (v != 0);
    return end;
}

static void put_integer(sink *s, spec *sp, unsigned long long v, unsigned base, bool upper,
                        const char *prefix)
{
    char buf[24], *end = buf + sizeof buf, *p = digits_of(end, v, base, upper);
    if (sp->precision >= 0) sp->zero = false; /* C's rule */
    if (sp->precision == 0 && v == 0) p = end;
    put_number(s, sp, prefix, sp->precision > 0 ? (size_t)sp->precision : 0, p, (size_t)(end - p));
}

/* Writes the decimal digits of m * 2^e, e >= 0, m < 2^53: exact, in limbs of nine digits. They end
 * at `end`; returns their start. */
static char *big_digits(char *end, uint64_t m, int e)
{
    uint32_t limb[36] = { 0 };
    size_t n = 0;
    for (; m != 0; m /= 1000000000) limb[n++] = (uint32_t)(m % 1000000000);
    for (; e > 0; e--) {
        uint32_t carry = 0;
        for (size_t i = 0; i < n; i++) {
            uint32_t v = limb[i] * 2 + carry;
            carry = v >= 1000000000;
            limb[i] = carry ? v - 1000000000 : v;
        }
        OAKI_ASSERT(!carry || n < OAKI_COUNT(limb));
        if (carry) limb[n++] = 1;
    }
    for (size_t i = 0; i < n; i++) {
        char *low = digits_of(end, limb[i], 10, false);
        for (end -= i + 1 < n ? 9 : end - low; low > end;) *--low = '0';
    }
    return end;
}

/* Adds one to the decimal number in [p, end), which has a free byte before p. Skips the point. */
static char *round_up(char *p, char *end)
{
    for (char *d = end; d-- > p;) {
        if (*d == '.') continue;
        if (*d != '9') {
            (*d)++;
            return p;
        }
        *d = '0';
    }
    *--p = '1';
    return p;
}

/* Exact, rounded half to even, like glibc's. The fraction is an integer below 2^k. k > 124 means a
 * value below 1e-21, which is zero at every permitted precision. */
static void put_double(sink *s, const spec *sp, double v)
{
    uint64_t bits;
    memcpy(&bits, &v, sizeof bits);
    const char *prefix = bits >> 63 ? "-" : sp->plus ? "+" : "";
    int e = (int)(bits >> 52 & 0x7ff);
    uint64_t m = bits & (((uint64_t)1 << 52) - 1);
    if (e == 0x7ff) {
        spec plain = *sp;
        plain.zero = false;
        put_number(s, &plain, prefix, 0, m ? "nan" : "inf", 3);
        return;
    }
    if (e != 0)
        m |= (uint64_t)1 << 52;
    else
        e = 1;
    e -= 1075; /* value = m * 2^e */

    char buf[1 + 320 + 1 + FRACTION_MAX], *point = buf + 1 + 320, *end = point;
    int precision = OAKI_MIN(sp->precision < 0 ? 6 : sp->precision, FRACTION_MAX);
    unsigned k = e < 0 && e >= -124 ? (unsigned)-e : 0;
    unsigned __int128 fraction = k ? (unsigned __int128)m & (((unsigned __int128)1 << k) - 1) : 0;
    uint64_t whole = k > 0 && k < 64 ? m >> k : 0;
    char *p = e >= 0 ? big_digits(point, m, e) : digits_of(point, whole, 10, false);
    if (p == point) *--p = '0';
    if (precision > 0) *end++ = '.';
    for (int i = 0; i < precision; i++) {
        fraction *= 10;
        *end++ = (char)('0' + (int)(fraction >> k));
        fraction &= ((unsigned __int128)1 << k) - 1;
    }
    unsigned __int128 half = k ? (unsigned __int128)1 << (k - 1) : 1;
    bool odd = (end[-1] & 1) != 0;
    if (fraction > half || (fraction == half && odd)) p = round_up(p, end);
    put_number(s, sp, prefix, 0, p, (size_t)(end - p));
}

static const char *parse_count(const char *f, va_list *ap, int *out)
{
    if (*f == '*') {
        *out = va_arg(*ap, int);
        return f + 1;
    }
    for (*out = 0; *f >= '0' && *f <= '9'; f++)
        if (*out < 100000) *out = *out * 10 + (*f - '0');
    return f;
}

/* Parses flags, width, precision and length after a '%'. Returns the place of the conversion
 * letter. */
static const char *parse_spec(const char *f, va_list *ap, spec *sp)
{
    *sp = (spec){ .precision = -1 };
    for (;; f++) {
        if (*f == '-')
            sp->left = true;
        else if (*f == '0')
            sp->zero = true;
        else if (*f == '+')
            sp->plus = true;
        else
            break;
    }
    int width;
    f = parse_count(f, ap, &width);
    if (width < 0) sp->left = true;
    sp->width = width < 0 ? (size_t)0 - (size_t)width : (size_t)width;
    if (*f == '.') f = parse_count(f + 1, ap, &sp->precision);
    for (;; f++) {
        if (*f == 'l')
            sp->size = sp->size == SIZE_LONG ? SIZE_LONGLONG : SIZE_LONG;
        else if (*f == 'z' || *f == 't')
            sp->size = SIZE_LONG; /* both are as wide as long on every system Oakum runs on */
        else if (*f == 'j')
            sp->size = SIZE_LONGLONG;
        else
            return f;
    }
}

static void put_signed(sink *s, spec *sp, va_list *ap)
{
    long long v = sp->size == SIZE_INT    ? va_arg(*ap, int)
                  : sp->size == SIZE_LONG ? va_arg(*ap, long)
                                          : va_arg(*ap, long long);
    unsigned long long magnitude = v < 0 ? 0 - (unsigned long long)v : (unsigned long long)v;
    put_integer(s, sp, magnitude, 10, false, v < 0 ? "-" : sp->plus ? "+" : "");
}

static void put_unsigned(sink *s, spec *sp, va_list *ap, unsigned base, bool upper)
{
    unsigned long long v = sp->size == SIZE_INT    ? va_arg(*ap, unsigned)
                           : sp->size == SIZE_LONG ? va_arg(*ap, unsigned long)
                                                   : va_arg(*ap, unsigned long long);
    put_integer(s, sp, v, base, upper, "");
}

static void put_text(sink *s, const spec *sp, const char *p)
{
    if (!p) p = "(null)";
    put_string(s, sp, p, sp->precision >= 0 ? strnlen(p, (size_t)sp->precision) : strlen(p));
}

/* Puts one conversion; false when its letter is unknown. */
static bool put_conversion(sink *s, spec *sp, char letter, va_list *ap)
{
    char c;
    switch (letter) {
    case 'd':
    case 'i':
        put_signed(s, sp, ap);
        return true;
    case 'u':
        put_unsigned(s, sp, ap, 10, false);
        return true;
    case 'x':
        put_unsigned(s, sp, ap, 16, false);
        return true;
    case 'X':
        put_unsigned(s, sp, ap, 16, true);
        return true;
    case 'p':
        put_integer(s, sp, (uintptr_t)va_arg(*ap, void *), 16, false, "0x");
        return true;
    case 's':
        put_text(s, sp, va_arg(*ap, const char *));
        return true;
    case 'f':
        put_double(s, sp, va_arg(*ap, double));
        return true;
    case 'c':
        c = (char)va_arg(*ap, int);
        put_string(s, sp, &c, 1);
        return true;
    case '%':
        put(s, '%');
        return true;
    default:
        return false;
    }
}

size_t oaki_vformat(char *buf, size_t n, const char *format, va_list args)
{
    sink s = { buf, n, 0 };
    va_list ap; /* a copy, as a pointer to a parameter of array type is not a pointer to va_list */
    va_copy(ap, args);
    for (const char *f = format; *f; f++) {
        if (*f != '%') {
            put(&s, *f);
            continue;
        }
        spec sp;
        const char *letter = parse_spec(f + 1, &ap, &sp);
        if (!put_conversion(&s, &sp, *letter, &ap)) {
            /* The arguments that follow can't be found: put the rest of the format unchanged. */
            put_bytes(&s, f, strlen(f));
            break;
        }
        f = letter;
    }
    va_end(ap);
    if (n > 0) buf[OAKI_MIN(s.len, n - 1)] = '\0';
    return s.len;
}

size_t oaki_format(char *buf, size_t n, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    size_t len = oaki_vformat(buf, n, format, ap);
    va_end(ap);
    return len;
}

const char *oaki_error_text(int error)
{
#ifdef HAVE_STRERRORDESC_NP
    const char *text = strerrordesc_np(error);
#else
    /* musl's takes no lock, and returns a constant */
    const char *text = strerror_l(error, uselocale((locale_t)0));
#endif
    return text ? text : "unknown error";
}

void oaki_log(const char *format, ...)
{
    char line[LOG_MAX];
    int saved = errno;
    va_list ap;
    va_start(ap, format);
    size_t len = oaki_vformat(line, sizeof line, format, ap);
    va_end(ap);
    if (len > sizeof line - 1) {
        len = sizeof line - 1;
        line[len - 1] = '\n'; /* the truncated part had it */
    }
    while (oaki_os_write(STDERR_FILENO, line, len) < 0 && errno == EINTR) continue;
    errno = saved;
}
