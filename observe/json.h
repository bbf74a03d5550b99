/* json.h - the JSON writer (RFC 8259): all JSON of Oakum and of its command is written by it.
 *
 * The caller gives the values in order; the writer adds commas and colons. Strings may have any
 * bytes: a byte that is no UTF-8 becomes U+FFFD. Control characters are escaped, and so are those
 * that change the direction of text. So the output is always valid, and shows what it says. Doubles
 * have the fewest digits that read back as the same value, in any locale. Infinities and
 * not-a-number become null, as JSON lacks them.
 *
 * The writer needs nothing else of Oakum, and allocates nothing. Except for doubles, it calls
 * nothing of the host.
 *
 * Owns: nothing; a writer belongs to its caller. Lock: none. Bound: O(output); at most
 * OAKI_JSON_DEPTH open objects and arrays, beyond which the writer fails. */
#ifndef OAKI_JSON_H
#define OAKI_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define OAKI_JSON_DEPTH 64
#define OAKI_JSON_BUFFER 512

/* A function that takes the next n bytes. After it has returned false, it is not called again. */
typedef bool (*oaki_json_sink)(void *ctx, const char *p, size_t n);

typedef struct oaki_json {
    oaki_json_sink sink;
    void *ctx;
    bool failed;       /* the sink has failed, or a call was out of place */
    bool keyed;        /* the last call was a key, without its value */
    unsigned depth;    /* number of open objects and arrays */
    uint64_t objects;  /* a bit for each depth: an object, not an array */
    uint64_t filled;   /* a bit for each depth: it is not empty */
    bool terminal;     /* output for terminals: see oaki_json_init */
    bool line;         /* a new line is due, with `margin` blanks */
    unsigned margin;
    size_t n;
    char buf[OAKI_JSON_BUFFER];
} oaki_json;

/* Start a writer of one or several values; each outermost value ends with a newline. The caller may
 * set j->terminal afterwards. Then a blank follows each comma and colon, and strings contain no
 * byte that a terminal obeys: all control characters, also those of C1, and U+FFFD are \uXXXX. */
void oaki_json_init(oaki_json *j, oaki_json_sink sink, void *ctx);

/* Pass the rest to the sink. Returns whether all was written, and nothing is left open. */
bool oaki_json_finish(oaki_json *j);

void oaki_json_object(oaki_json *j);
void oaki_json_object_end(oaki_json *j);
void oaki_json_array(oaki_json *j);
void oaki_json_array_end(oaki_json *j);

/* Begin a new line with so many blanks before the next value, key or closing bracket. */
void oaki_json_line(oaki_json *j, unsigned margin);

/* Write the key of the next value of an object. */
void oaki_json_key(oaki_json *j, const char *key);

void oaki_json_string(oaki_json *j, const char *s); /* NULL: null */
void oaki_json_bytes(oaki_json *j, const void *p, size_t n); /* a string of n bytes */
void oaki_json_u64(oaki_json *j, uint64_t v);
void oaki_json_i64(oaki_json *j, int64_t v);
void oaki_json_double(oaki_json *j, double v);
/* Write units / 10^decimals exactly, for times and the like, without trailing zeros. */
void oaki_json_decimal(oaki_json *j, uint64_t units, unsigned decimals);
void oaki_json_bool(oaki_json *j, bool v);
void oaki_json_null(oaki_json *j);
void oaki_json_address(oaki_json *j, const void *p); /* "0x7f..." */

/* Write a key and its value. */
void oaki_json_put_string(oaki_json *j, const char *key, const char *s);
void oaki_json_put_u64(oaki_json *j, const char *key, uint64_t v);
void oaki_json_put_i64(oaki_json *j, const char *key, int64_t v);
void oaki_json_put_double(oaki_json *j, const char *key, double v);
void oaki_json_put_bool(oaki_json *j, const char *key, bool v);
void oaki_json_put_address(oaki_json *j, const char *key, const void *p);

/* ---- a sink: text in memory ---- */

/* A text in a buffer of `size` bytes. Pieces that fit as a whole are appended, followed by a NUL.
 */
typedef struct oaki_json_text {
    char *p;
    size_t size, len;
} oaki_json_text;

/* A sink whose ctx is an oaki_json_text. Fails when the text is full. */
bool oaki_json_to_text(void *text, const char *p, size_t n);

#endif
