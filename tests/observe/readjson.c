/* readjson.c - a reader of JSON for tests: RFC 8259 to the letter, recursive. */
#include "readjson.h"

#include <check.h>
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

typedef struct reader {
    const char *p, *end;
} reader;

static bool value(reader *r, json *out);

static void spaces(reader *r)
{
    while (r->p < r->end && strchr(" \t\r\n", *r->p) && *r->p) r->p++;
}

static bool take(reader *r, char c)
{
    spaces(r);
    if (r->p == r->end || *r->p != c) return false;
    r->p++;
    return true;
}

static bool word(reader *r, const char *w)
{
    size_t n = strlen(w);
    if ((size_t)(r->end - r->p) < n || memcmp(r->p, w, n) != 0) return false;
    r->p += n;
    return true;
}

static bool digits(reader *r)
{
    const char *from = r->p;
    while (r->p < r->end && isdigit((unsigned char)*r->p)) r->p++;
    return r->p > from;
}

static bool number(reader *r, json *out)
{
    const char *from = r->p;
    bool whole = true;
    out->kind = JSON_NUMBER;
    if (r->p < r->end && *r->p == '-') r->p++, whole = false;
    if (r->p < r->end && *r->p == '0') r->p++;
    else if (!digits(r)) return false;
    if (r->p < r->end && *r->p == '.') {
        whole = false;
        r->p++;
        if (!digits(r)) return false;
    }
    if (r->p < r->end && (*r->p == 'e' || *r->p == 'E')) {
        whole = false;
        r->p++;
        if (r->p < r->end && (*r->p == '+' || *r->p == '-')) r->p++;
        if (!digits(r)) return false;
    }
    out->number = strtod(from, NULL);
    if (whole) out->whole = strtoull(from, NULL, 10);
    return true;
}

static size_t utf8(unsigned v, char *out)
{
    if (v < 0x80) {
        out[0] = (char)v;
        return 1;
    }
    if (v < 0x800) {
        out[0] = (char)(0xc0 | v >> 6);
        out[1] = (char)(0x80 | (v & 63));
        return 2;
    }
    out[0] = (char)(0xe0 | v >> 12);
    out[1] = (char)(0x80 | (v >> 6 & 63));
    out[2] = (char)(0x80 | (v & 63));
    return 3;
}

static bool string(reader *r, char **out, size_t *length)
{
    static const char plain[] = "\"\\/bfnrt", meant[] = "\"\\/\b\f\n\r\t";
    if (!take(r, '"')) return false;
    const char *close = r->p; /* escapes only make it shorter */
    while (close < r->end && *close != '"') close += *close == '\\' ? 2 : 1;
    char *s = malloc((size_t)(close - r->p) + 4);
    size_t n = 0;
    for (;;) {
        if (r->p == r->end || (unsigned char)*r->p < 0x20) return false;
        char c = *r->p++;
        if (c == '"') break;
        if (c != '\\') {
            s[n++] = c;
            continue;
        }
        if (r->p == r->end) return false;
        c = *r->p++;
        const char *at = c ? strchr(plain, c) : NULL;
        if (at) {
            s[n++] = meant[at - plain];
        } else if (c == 'u' && r->end - r->p >= 4) {
            char hex[5] = { r->p[0], r->p[1], r->p[2], r->p[3], 0 }, *stop;
            n += utf8((unsigned)strtoul(hex, &stop, 16), s + n);
            if (*stop) return false;
            r->p += 4;
        } else {
            return false;
        }
    }
    s[n] = '\0';
    *out = s;
    *length = n;
    return true;
}

static bool members(reader *r, json *out, char close, bool keys)
{
    size_t cap = 0;
    if (take(r, close)) return true;
    do {
        if (out->length == cap) {
            cap = cap ? 2 * cap : 8;
            out->item = realloc(out->item, cap * sizeof *out->item);
            out->key = realloc(out->key, cap * sizeof *out->key);
        }
        size_t n;
        spaces(r);
        if (keys && (!string(r, &out->key[out->length], &n) || !take(r, ':'))) return false;
        if (!value(r, &out->item[out->length])) return false;
        out->length++;
    } while (take(r, ','));
    return take(r, close);
}

static bool value(reader *r, json *out)
{
    memset(out, 0, sizeof *out);
    spaces(r);
    if (r->p == r->end) return false;
    switch (*r->p) {
    case '{':
        r->p++;
        out->kind = JSON_OBJECT;
        return members(r, out, '}', true);
    case '[':
        r->p++;
        out->kind = JSON_ARRAY;
        return members(r, out, ']', false);
    case '"':
        out->kind = JSON_STRING;
        return string(r, &out->string, &out->length);
    case 't':
        out->kind = JSON_BOOL;
        out->boolean = true;
        return word(r, "true");
    case 'f':
        out->kind = JSON_BOOL;
        return word(r, "false");
    case 'n':
        return word(r, "null");
    default:
        return number(r, out);
    }
}

const json *json_read_next(const char *text, const char **rest)
{
    reader r = { text, text + strlen(text) };
    json *out = malloc(sizeof *out);
    bool good = value(&r, out);
    ck_assert_msg(good, "no JSON from here on: %.80s", r.p);
    spaces(&r);
    *rest = r.p;
    return out;
}

const json *json_read(const char *text)
{
    const char *rest;
    const json *out = json_read_next(text, &rest);
    ck_assert_msg(*rest == '\0', "behind the value: %.80s", rest);
    return out;
}

bool json_valid(const char *text, size_t n)
{
    reader r = { text, text + n };
    json out;
    bool good = value(&r, &out);
    spaces(&r);
    return good && r.p == r.end;
}

const json *json_find(const json *object, const char *key)
{
    if (!object || object->kind != JSON_OBJECT) return NULL;
    for (size_t i = 0; i < object->length; i++)
        if (strcmp(object->key[i], key) == 0) return &object->item[i];
    return NULL;
}

const json *json_get(const json *object, const char *key)
{
    const json *v = json_find(object, key);
    ck_assert_msg(v != NULL, "no %s", key);
    return v;
}

double json_number(const json *object, const char *key)
{
    const json *v = json_get(object, key);
    ck_assert_msg(v->kind == JSON_NUMBER, "%s is no number", key);
    return v->number;
}

uint64_t json_u64(const json *object, const char *key)
{
    const json *v = json_get(object, key);
    ck_assert_msg(v->kind == JSON_NUMBER, "%s is no number", key);
    return v->whole;
}

const char *json_string(const json *object, const char *key)
{
    const json *v = json_get(object, key);
    ck_assert_msg(v->kind == JSON_STRING, "%s is no string", key);
    return v->string;
}
