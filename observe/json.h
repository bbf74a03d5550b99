/* json.h - a small JSON writer (RFC 8259), used by all that prints JSON.
 *
 * Values are given in the order in which they stand; commas and colons come by themselves. Strings
 * may be any bytes: what is not UTF-8 becomes U+FFFD, byte by byte, and control characters are
 * escaped, so that what comes out is always valid. Doubles are written with as few digits as read
 * back as the same value, whatever the locale; infinities and not-a-number, which JSON lacks, are
 * null. Needs nothing of Oakum, allocates nothing, and, doubles apart, calls nothing of the host.
 *
 * Owns: nothing; a writer is its caller's. Lock: none. Bound: linear in the output; OAKI_JSON_DEPTH
 *   open objects and arrays, beyond which it fails. */
#ifndef OAKI_JSON_H
#define OAKI_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define OAKI_JSON_DEPTH 64
#define OAKI_JSON_BUFFER 512

/* Takes the next n bytes; false when that failed, and it is not called again. */
typedef bool (*oaki_json_sink)(void *ctx, const char *p, size_t n);

typedef struct oaki_json {
    oaki_json_sink sink;
    void *ctx;
    bool failed;       /* the sink has failed, or values were given where there is no place */
    bool keyed;        /* a key waits for its value */
    unsigned depth;    /* of open objects and arrays */
    uint64_t objects;  /* bit by depth: an object, not an array */
    uint64_t filled;   /* bit by depth: something is in it */
    bool terminal;     /* as a terminal may have it, set after oaki_json_init: see below */
    bool line;         /* the next thing begins a line, behind `margin` blanks */
    unsigned margin;
    size_t n;
    char buf[OAKI_JSON_BUFFER];
} oaki_json;

/* The writer of one or several values, one after the other, a newline behind each outermost one.
 * Where j->terminal is set, a blank follows each comma and colon, and strings hold nothing that a
 * terminal obeys: all control characters, those of C1 too, and U+FFFD are written as \uXXXX. */
void oaki_json_init(oaki_json *j, oaki_json_sink sink, void *ctx);

/* Hand the rest to the sink. true when all was written and everything opened is closed. */
bool oaki_json_finish(oaki_json *j);

void oaki_json_object(oaki_json *j);
void oaki_json_object_end(oaki_json *j);
void oaki_json_array(oaki_json *j);
void oaki_json_array_end(oaki_json *j);

/* Begin a line with so many blanks, before the next value or key or the closing bracket. */
void oaki_json_line(oaki_json *j, unsigned margin);

/* The key of the next value, in an object. */
void oaki_json_key(oaki_json *j, const char *key);

void oaki_json_string(oaki_json *j, const char *s); /* NULL: null */
void oaki_json_bytes(oaki_json *j, const void *p, size_t n); /* a string of these bytes */
void oaki_json_u64(oaki_json *j, uint64_t v);
void oaki_json_i64(oaki_json *j, int64_t v);
void oaki_json_double(oaki_json *j, double v);
/* units / 10^decimals, for times and the like: exact, and no trailing zeros. */
void oaki_json_decimal(oaki_json *j, uint64_t units, unsigned decimals);
void oaki_json_bool(oaki_json *j, bool v);
void oaki_json_null(oaki_json *j);
void oaki_json_address(oaki_json *j, const void *p); /* "0x7f..." */

/* Key and value in one. */
void oaki_json_put_string(oaki_json *j, const char *key, const char *s);
void oaki_json_put_u64(oaki_json *j, const char *key, uint64_t v);
void oaki_json_put_i64(oaki_json *j, const char *key, int64_t v);
void oaki_json_put_double(oaki_json *j, const char *key, double v);
void oaki_json_put_bool(oaki_json *j, const char *key, bool v);
void oaki_json_put_address(oaki_json *j, const char *key, const void *p);

/* ---- a sink: text in memory ---- */

/* Whole pieces that fit are kept, with a NUL behind them. */
typedef struct oaki_json_text {
    char *p;
    size_t size, len;
} oaki_json_text;

/* A sink whose ctx is an oaki_json_text; fails when the text is full. */
bool oaki_json_to_text(void *text, const char *p, size_t n);

#endif
