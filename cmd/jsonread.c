/* jsonread.c - a small reader of JSON (RFC 8259), for what a server sends.
 *
 * What comes may be anything: depth is bounded, and characters that would move a terminal are
 * replaced. */
#include "live.h"

#include <stdlib.h>
#include <string.h>

#define DEPTH 32

static cmd_json *value(const char **p, unsigned depth);

static void skip(const char **p)
{
    *p += strspn(*p, " \t\r\n");
}

static bool take(const char **p, char c)
{
    skip(p);
    if (**p != c) return false;
    (*p)++;
    return true;
}

static bool word(const char **p, const char *w)
{
    size_t n = strlen(w);

    if (strncmp(*p, w, n) != 0) return false;
    *p += n;
    return true;
}

/* Escapes of ASCII are meant as they are, others are '?': names are mostly plain. */
static char escaped(const char **p)
{
    static const char plain[] = "\"\\/";
    char hex[5] = { 0 };
    unsigned long c;

    if (**p != 'u') {
        char e = *(*p)++;

        return strchr(plain, e) != NULL ? e : '?';
    }
    for (int i = 0; i < 4 && (*p)[1] != '\0'; i++) hex[i] = *++*p;
    (*p)++;
    c = strtoul(hex, NULL, 16);
    return c >= 0x20 && c < 0x7f ? (char)c : '?';
}

/* Bytes up to the closing quote: what is read has no more. */
static size_t string_length(const char *p)
{
    size_t n = 0;

    while (p[n] != '\0' && p[n] != '"') n += 1 + (p[n] == '\\' && p[n + 1] != '\0');
    return n;
}

/* Behind the first quote. UTF-8 stays, but for control characters: bytes below 0x20, 0x7f, and
 * U+0080 to U+009f, which are 0xc2 and a byte below 0xa0. */
static char *string(const char **p)
{
    char *out = malloc(string_length(*p) + 1);
    size_t n = 0;

    for (; out != NULL && **p != '"'; n++) {
        unsigned char c = (unsigned char)*(*p)++;

        if (c == '\0' || (c == '\\' && **p == '\0')) {
            free(out);
            return NULL;
        }
        if (c == '\\')
            out[n] = escaped(p);
        else
            out[n] = (char)(c < 0x20 || c == 0x7f ? '?' : c);
        if (n > 0 && (unsigned char)out[n - 1] == 0xc2 && (unsigned char)out[n] < 0xa0)
            out[n - 1] = out[n] = '?';
    }
    if (out == NULL) return NULL;
    (*p)++;
    out[n] = '\0';
    return out;
}

static bool members(const char **p, cmd_json *out, char close, unsigned depth)
{
    cmd_json **last = &out->first;

    if (take(p, close)) return true;
    do {
        char *key = NULL;
        cmd_json *v;

        skip(p);
        if (out->kind == CMD_JSON_OBJECT) {
            key = take(p, '"') ? string(p) : NULL;
            if (key == NULL || !take(p, ':')) {
                free(key);
                return false;
            }
        }
        v = value(p, depth + 1);
        if (v == NULL) {
            free(key);
            return false;
        }
        v->key = key;
        *last = v;
        last = &v->next;
    } while (take(p, ','));
    return take(p, close);
}

static bool read_into(cmd_json *v, const char **p, unsigned depth)
{
    char *end;

    if (depth > DEPTH) return false;
    if (take(p, '{')) {
        v->kind = CMD_JSON_OBJECT;
        return members(p, v, '}', depth);
    }
    if (take(p, '[')) {
        v->kind = CMD_JSON_ARRAY;
        return members(p, v, ']', depth);
    }
    if (take(p, '"')) {
        v->kind = CMD_JSON_STRING;
        v->string = string(p);
        return v->string != NULL;
    }
    if (word(p, "null")) return true;
    v->kind = CMD_JSON_BOOL;
    if (word(p, "false")) return true;
    v->number = 1;
    if (word(p, "true")) return true;
    v->kind = CMD_JSON_NUMBER;
    if (**p == '\0' || strchr("-0123456789", **p) == NULL) return false;
    v->number = strtod(*p, &end);
    if (end == *p) return false;
    *p = end;
    return true;
}

static cmd_json *value(const char **p, unsigned depth)
{
    cmd_json *v = calloc(1, sizeof(*v));

    skip(p);
    if (v != NULL && !read_into(v, p, depth)) {
        cmd_json_free(v);
        v = NULL;
    }
    return v;
}

cmd_json *cmd_json_read(const char *text)
{
    cmd_json *v = value(&text, 0);

    skip(&text);
    if (*text == '\0') return v;
    cmd_json_free(v);
    return NULL;
}

void cmd_json_free(cmd_json *v)
{
    while (v != NULL) {
        cmd_json *next = v->next;

        cmd_json_free(v->first);
        free(v->string);
        free(v->key);
        free(v);
        v = next;
    }
}

/* ---- looking ---- */

const cmd_json *cmd_json_at(const cmd_json *v, const char *path)
{
    while (v != NULL && path[0] != '\0') {
        size_t n = strcspn(path, ".");

        for (v = v->first; v != NULL; v = v->next)
            if (v->key != NULL && strlen(v->key) == n && memcmp(v->key, path, n) == 0) break;
        path += n + (path[n] == '.');
    }
    return v;
}

double cmd_json_number(const cmd_json *v, const char *path)
{
    v = cmd_json_at(v, path);
    return v != NULL ? v->number : 0;
}

const char *cmd_json_text(const cmd_json *v, const char *path)
{
    v = cmd_json_at(v, path);
    return v != NULL && v->string != NULL ? v->string : "";
}

size_t cmd_json_count(const cmd_json *v, const char *path)
{
    size_t n = 0;

    v = cmd_json_at(v, path);
    for (v = v != NULL ? v->first : NULL; v != NULL; v = v->next) n++;
    return n;
}
