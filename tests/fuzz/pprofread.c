/* pprofread.c - a whole profile in pprof's format, looked at to its ends by what profile.proto says
 * of each field (https://github.com/google/pprof/blob/main/proto/profile.proto).
 *
 * Two passes: what is referred to may come behind what refers to it. */
#include "fuzz.h"

#include <stdbool.h>
#include <string.h>

#define IDS ((size_t)1 << 10) /* that a profile of these targets has at most, of a kind */

enum { PROFILE, VALUE_TYPE, SAMPLE, LABEL, MAPPING, LOCATION, LINE, FUNCTION, MESSAGES };

/* What a field is, by its letter; repeated numbers are packed.
 * n: a number; N: numbers; s: index of a string; t: a text; i: this message's own number; L M F:
 * number of a location, mapping or function; P: numbers of locations; a digit: a message. */
static const char *const fields[MESSAGES] = {
    [PROFILE] = "-12457tssnn1nNs", [VALUE_TYPE] = "-ss",  [SAMPLE] = "-PN3", [LABEL] = "-ssns",
    [MAPPING] = "-innnssnnnn",     [LOCATION] = "-iMn6n", [LINE] = "-Fnn",   [FUNCTION] = "-isssn",
};

typedef struct reading {
    bool check; /* the second pass */
    size_t strings, types, values, labels;
    bool has[MESSAGES][IDS];
} reading;

static uint64_t varint(const unsigned char **p, const unsigned char *end)
{
    uint64_t v = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        FUZZ_REQUIRE(*p < end);
        unsigned c = *(*p)++;
        v |= (uint64_t)(c & 0x7f) << shift;
        if (!(c & 0x80)) return v;
    }
    FUZZ_REQUIRE(!"a varint that is too long");
    return 0;
}

/* Length of the character at p, by Unicode's table of well-formed sequences (3-7); 0: none. */
static size_t character(const unsigned char *p, size_t n)
{
    unsigned c = p[0], low = 0x80, high = 0xbf;
    size_t more = c < 0x80 ? 0 : c < 0xe0 ? 1 : c < 0xf0 ? 2 : 3;
    if ((c >= 0x80 && c < 0xc2) || c > 0xf4 || more >= n) return 0;
    if (c == 0xe0) low = 0xa0;
    if (c == 0xed) high = 0x9f;
    if (c == 0xf0) low = 0x90;
    if (c == 0xf4) high = 0x8f;
    for (size_t i = 1; i <= more; i++, low = 0x80, high = 0xbf)
        if (p[i] < low || p[i] > high) return 0;
    return more + 1;
}

static void read_text(reading *r, const unsigned char *p, size_t n)
{
    FUZZ_REQUIRE(r->strings > 0 || n == 0); /* the first is empty */
    r->strings++;
    for (size_t at = 0, len; at < n; at += len) {
        len = character(p + at, n - at);
        FUZZ_REQUIRE(len > 0);
    }
}

static void define(reading *r, int kind, uint64_t id)
{
    FUZZ_REQUIRE(id > 0 && id < IDS && r->has[kind][id] == r->check);
    r->has[kind][id] = true;
}

static void refer(const reading *r, int kind, uint64_t id)
{
    FUZZ_REQUIRE(id < IDS && (!r->check || r->has[kind][id]));
}

static void read_number(reading *r, int message, char what, uint64_t value, size_t strings)
{
    if (what == 's') FUZZ_REQUIRE(!r->check || value < strings);
    if (what == 'i') define(r, message, value);
    if (what == 'M' && value != 0) refer(r, MAPPING, value); /* 0: none is known */
    if (what == 'F') refer(r, FUNCTION, value);
    FUZZ_REQUIRE(strchr("nsiMF", what));
}

static size_t read_numbers(reading *r, char what, const unsigned char *p, const unsigned char *end)
{
    size_t n = 0;
    for (; p < end; n++) {
        uint64_t value = varint(&p, end);
        if (what == 'P') refer(r, LOCATION, value);
    }
    return n;
}

static void read_message(reading *r, int message, const unsigned char *p, size_t n, size_t strings)
{
    const unsigned char *end = p + n;
    size_t values = 0;
    while (p < end) {
        uint64_t key = varint(&p, end), field = key >> 3, value = varint(&p, end);
        FUZZ_REQUIRE(field >= 1 && field < strlen(fields[message]));
        char what = fields[message][field];
        if ((key & 7) == 0) {
            read_number(r, message, what, value, strings);
            continue;
        }
        FUZZ_REQUIRE((key & 7) == 2 && value <= (uint64_t)(end - p));
        if (what == 't')
            read_text(r, p, value);
        else if (what == 'P')
            (void)read_numbers(r, what, p, p + value);
        else if (what == 'N')
            values = read_numbers(r, what, p, p + value);
        else {
            FUZZ_REQUIRE(what >= '0' && what < '0' + MESSAGES);
            r->types += message == PROFILE && field == 1;
            r->labels += message == SAMPLE;
            read_message(r, what - '0', p, value, strings);
        }
        p += value;
    }
    if (message == SAMPLE) FUZZ_REQUIRE(!r->check || values == r->values);
}

size_t fuzz_pprof_check(const void *p, size_t n)
{
    static reading r;
    memset(&r, 0, sizeof r);
    read_message(&r, PROFILE, p, n, 0);
    size_t strings = r.strings;
    r.values = r.types;
    r.strings = 0;
    r.check = true;
    FUZZ_REQUIRE(strings > 0 && r.values > 0);
    r.labels = 0;
    read_message(&r, PROFILE, p, n, strings);
    return r.labels;
}
