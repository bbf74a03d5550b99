/* readjson.h - a reader of JSON for tests: strict, and fails the test where the text is not valid.
 *
 * A value lives as long as the process. */
#ifndef TESTS_OBSERVE_READJSON_H
#define TESTS_OBSERVE_READJSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum json_kind { JSON_NULL, JSON_BOOL, JSON_NUMBER, JSON_STRING, JSON_ARRAY,
                         JSON_OBJECT } json_kind;

typedef struct json {
    json_kind kind;
    bool boolean;
    double number;
    uint64_t whole;    /* of a number without sign, point and exponent */
    char *string;      /* escapes replaced, a zero byte at the end */
    size_t length;     /* of the string; elements, members */
    struct json *item; /* elements, values of members */
    char **key;        /* of members */
} json;

/* One value, and nothing behind it but white space. */
const json *json_read(const char *text);
/* The first value of text; *rest is behind it. */
const json *json_read_next(const char *text, const char **rest);
bool json_valid(const char *text, size_t n); /* the same, without failing */

/* The member, which must be there; or NULL when there is none. */
const json *json_get(const json *object, const char *key);
const json *json_find(const json *object, const char *key);
double json_number(const json *object, const char *key);
uint64_t json_u64(const json *object, const char *key);
const char *json_string(const json *object, const char *key);

#endif
