/* jsonread.c - a small JSON reader (RFC 8259), for a server's answers.
 *
 * An answer may be hostile. So nothing is read beyond the text's end, and the depth and the number
 * of values are bounded: a value takes many times the memory of its text. */
#include "live.h"

#include <stdlib.h>
#include <string.h>

#define DEPTH 32
#define VALUES_MOST ((size_t)1 << 20) /* the state of a server has some thousands */

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

/* Read the rest of an escape, after its backslash. Returns the character, or '?' if it isn't
 * visible ASCII: names are mostly plain. Returns '\0' for an invalid escape, which never consumes a
 * quote except in \". */
static char escaped(const char **p)
{
    char c = *(*p)++, hex[5] = { 0 };
    unsigned long code;

    if (c == '"' || c == '\\' || c == '/') return c;
    if (c != 'u') return c != '\0' && strchr("bfnrt", c) != NULL ? '?' : '\0';
    if (strspn(*p, "0123456789abcdefABCDEF") < 4) return '\0';
    memcpy(hex, *p, 4);
    *p += 4;
    code = strtoul(hex, NULL, 16);
    return code >= 0x20 && code < 0x7f ? (char)code : '?';
}

/* The closing quote of a string, or the end of the text. */
static const char *string_end(const char *p)
{
    while (*p != '\0' && *p != '"') p += 1 + (p[0] == '\\' && p[1] != '\0');
    return p;
}

/* Read the rest of a string, after its first quote. Returns NULL if it has no end or an invalid
 * escape, or memory is short. */
static char *string(const char **p)
{
    const char *end = string_end(*p);
    char *out = *end == '"' ? malloc((size_t)(end - *p) + 1) : NULL;
    size_t n = 0;

    if (out == NULL) return NULL;
    while (*p < end) {
        char c = *(*p)++;

        out[n++] = c == '\\' ? escaped(p) : c;
        if (out[n - 1] == '\0') {
            free(out);
            return NULL;
        }
    }
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
    if (end == *p || end > *p + strspn(*p, "+-.0123456789eE")) return false;
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

/* Each value but the first follows one of "[{,", so their number bounds the number of values. */
static bool has_too_many(const char *text)
{
    size_t n = 0;

    for (; (text = strpbrk(text, "[{,")) != NULL; text++)
        if (++n > VALUES_MOST) return true;
    return false;
}

cmd_json *cmd_json_read(const char *text)
{
    cmd_json *v = has_too_many(text) ? NULL : value(&text, 0);

    if (v == NULL) return NULL;
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

/* ---- look-up ---- */

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
