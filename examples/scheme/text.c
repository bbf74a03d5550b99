/* text.c - reading and printing.
 *
 * The reader works on text in memory and ends, whatever that holds, in a value or in an error that
 * names the line. The printer ends on circular structures too. Both go down with what they read or
 * print, so both have a limit on how deep that may be. */
#include "scheme.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { DEEPEST = 10000, PRINTED = 2000 };

/* ---- reading ---- */

static _Noreturn void bad_text(struct scheme *s, struct source *in, const char *what)
{
    fail(s, UNASSIGNED, "%s:%u: %s", in->name, in->line, what);
}

static _Noreturn void unfinished(struct scheme *s, struct source *in, const char *what)
{
    in->unfinished = true;
    bad_text(s, in, what);
}

static int peek(struct source *in)
{
    return in->at < in->end ? (unsigned char)*in->at : EOF;
}

static int next(struct source *in)
{
    int c = peek(in);
    if (c != EOF) in->at++;
    if (c == '\n') in->line++;
    return c;
}

static bool is_space(int c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool is_delimiter(int c)
{
    return c == EOF || is_space(c) || (c != 0 && strchr("()[]\"';`,", c));
}

static void skip_block_comment(struct scheme *s, struct source *in)
{
    for (unsigned depth = 1; depth > 0;) {
        int c = next(in);
        if (c == EOF) unfinished(s, in, "the text ends in a comment");
        if (c == '|' && peek(in) == '#') depth--, next(in);
        else if (c == '#' && peek(in) == '|') depth++, next(in);
    }
}

static void skip_blanks(struct scheme *s, struct source *in)
{
    for (;;) {
        int c = peek(in);
        if (c == ';') {
            while (peek(in) != EOF && peek(in) != '\n') next(in);
        } else if (c == '#' && in->at + 1 < in->end && in->at[1] == '|') {
            next(in);
            next(in);
            skip_block_comment(s, in);
        } else if (is_space(c)) {
            next(in);
        } else {
            return;
        }
    }
}

/* A string grows in a buffer of the heap, which nobody has to give back when an error ends it. */
static value read_string(struct scheme *s, struct source *in)
{
    size_t n = 0, room = 64;
    char *text = checked(s, oak_alloc_noscan(room));
    for (;;) {
        int c = next(in);
        if (c == EOF) unfinished(s, in, "the text ends in a string");
        if (c == '"') return VALUE(new_string(s, text, n));
        if (c == '\\') {
            c = next(in);
            if (c == EOF) unfinished(s, in, "the text ends in a string");
            if (c == 'n') c = '\n';
            else if (c == 't') c = '\t';
            else if (c != '"' && c != '\\') bad_text(s, in, "a string has an unknown escape");
        }
        if (n == room) text = checked(s, oak_realloc(text, room *= 2));
        text[n++] = (char)c;
    }
}

static const struct {
    const char *name;
    unsigned char c;
} char_names[] = { { "space", ' ' }, { "newline", '\n' }, { "tab", '\t' }, { "nul", 0 } };

static value read_char(struct scheme *s, struct source *in)
{
    const char *start = in->at;
    if (next(in) == EOF) unfinished(s, in, "the text ends in a character");
    while (!is_delimiter(peek(in))) next(in);
    size_t n = (size_t)(in->at - start);
    if (n == 1) return character((unsigned char)*start);
    for (size_t i = 0; i < sizeof char_names / sizeof *char_names; i++)
        if (strlen(char_names[i].name) == n && memcmp(char_names[i].name, start, n) == 0)
            return character(char_names[i].c);
    bad_text(s, in, "there is no character of that name");
}

bool parse_number(struct scheme *s, const char *text, size_t n, value *out)
{
    char copy[64], *end;
    if (n == 0 || n >= sizeof copy || memchr(text, 0, n)) return false;
    memcpy(copy, text, n);
    copy[n] = 0;
    if (strspn(copy, "+-.0123456789eE") != n) return false;
    errno = 0;
    long whole = strtol(copy, &end, 10);
    if (!*end && !errno && fixnum_of(fixnum(whole)) == whole) {
        *out = fixnum(whole);
        return true;
    }
    double d = strtod(copy, &end);
    if (*end || end == copy) return false;
    *out = flonum(s, d);
    return true;
}

static value read_atom(struct scheme *s, struct source *in)
{
    static const struct {
        const char *text;
        double number;
    } special[] = { { "+inf.0", INFINITY }, { "-inf.0", -INFINITY }, { "+nan.0", NAN } };
    const char *start = in->at;
    value v;
    while (!is_delimiter(peek(in))) {
        int c = next(in);
        if (c < ' ' || c == 127) bad_text(s, in, "a control character; is this text?");
    }
    size_t n = (size_t)(in->at - start);
    for (size_t i = 0; i < 3; i++)
        if (n == 6 && memcmp(start, special[i].text, n) == 0) return flonum(s, special[i].number);
    if (parse_number(s, start, n, &v)) return v;
    return VALUE(intern(s, start, n));
}

static value read_nested(struct scheme *s, struct source *in, unsigned depth);

/* `last` is where the list goes on; each pair is reached from the first, and that from here. */
static value read_list(struct scheme *s, struct source *in, int close, unsigned depth)
{
    value list = NIL, *last = &list;
    unsigned line = in->line;
    for (;;) {
        skip_blanks(s, in);
        int c = peek(in);
        if (c == EOF) {
            in->line = line;
            unfinished(s, in, "a list that begins here is not closed");
        }
        if (c == ')' || c == ']') {
            if (next(in) != close) bad_text(s, in, "a list is closed by the wrong bracket");
            return list;
        }
        if (c == '.' && in->at + 1 < in->end && is_delimiter((unsigned char)in->at[1])) {
            next(in);
            if (last == &list) bad_text(s, in, "a list begins with a dot");
            *last = read_nested(s, in, depth);
            skip_blanks(s, in);
            if (peek(in) == EOF) continue;
            if (next(in) != close) bad_text(s, in, "one value follows a dot");
            return list;
        }
        last = add_last(s, last, read_nested(s, in, depth));
    }
}

static value read_hash(struct scheme *s, struct source *in, unsigned depth)
{
    int c = next(in);
    if (c == EOF) unfinished(s, in, "the text ends after #");
    if (c == '\\') return read_char(s, in);
    if (c == '(') {
        value list = read_list(s, in, ')', depth);
        struct vector *v = new_vector(s, list_length(s, "vector", list));
        for (size_t i = 0; is_pair(list); list = cdr(list)) v->item[i++] = car(list);
        return VALUE(v);
    }
    const char *start = in->at - 1;
    while (!is_delimiter(peek(in))) next(in);
    size_t n = (size_t)(in->at - start);
    if ((n == 1 && c == 't') || (n == 4 && memcmp(start, "true", 4) == 0)) return TRUE;
    if ((n == 1 && c == 'f') || (n == 5 && memcmp(start, "false", 5) == 0)) return FALSE;
    bad_text(s, in, "what follows # is unknown");
}

static value read_nested(struct scheme *s, struct source *in, unsigned depth)
{
    enum well_known quote;
    if (depth++ == DEEPEST) bad_text(s, in, "nested too deeply");
    check_stack(s);
    skip_blanks(s, in);
    switch (peek(in)) {
    case EOF: unfinished(s, in, "the text ends where a value should be");
    case '(': next(in); return read_list(s, in, ')', depth);
    case '[': next(in); return read_list(s, in, ']', depth);
    case ')':
    case ']': next(in); bad_text(s, in, "a bracket closes nothing");
    case '"': next(in); return read_string(s, in);
    case '#': next(in); return read_hash(s, in, depth);
    case '\'': quote = QUOTE; break;
    case '`': quote = QUASIQUOTE; break;
    case ',': quote = UNQUOTE; break;
    default: return read_atom(s, in);
    }
    next(in);
    if (quote == UNQUOTE && peek(in) == '@') {
        next(in);
        quote = UNQUOTE_SPLICING;
    }
    value quoted = read_nested(s, in, depth);
    return cons(s, VALUE(s->known[quote]), cons(s, quoted, NIL));
}

value read_value(struct scheme *s, struct source *in)
{
    in->reading = true;
    in->unfinished = false;
    in->form = in->at;
    in->form_line = in->line;
    skip_blanks(s, in);
    in->form_line = in->line;
    value v = peek(in) == EOF ? END : read_nested(s, in, 0);
    in->reading = false;
    return v;
}

/* ---- printing ---- */

/* The shortest text that reads as the same number. */
size_t number_text(value v, char *out, size_t size)
{
    if (is_fixnum(v)) return (size_t)snprintf(out, size, "%ld", (long)fixnum_of(v));
    double d = AS(flonum, v)->number;
    if (isnan(d)) return (size_t)snprintf(out, size, "+nan.0");
    if (isinf(d)) return (size_t)snprintf(out, size, d < 0 ? "-inf.0" : "+inf.0");
    int n = 0;
    for (int digits = 15; digits <= 17; digits++) {
        n = snprintf(out, size, "%.*g", digits, d);
        if (strtod(out, NULL) == d) break;
    }
    if (!strpbrk(out, ".e")) n += snprintf(out + n, size - (size_t)n, ".0");
    return (size_t)n;
}

static void print_string(FILE *out, const struct string *t)
{
    putc('"', out);
    for (size_t i = 0; i < t->length; i++) {
        char c = t->bytes[i];
        if (c == '"' || c == '\\') putc('\\', out);
        if (c == '\n') fputs("\\n", out);
        else if (c == '\t') fputs("\\t", out);
        else putc(c, out);
    }
    putc('"', out);
}

static void print_char(FILE *out, unsigned char c)
{
    fputs("#\\", out);
    for (size_t i = 0; i < sizeof char_names / sizeof *char_names; i++)
        if (char_names[i].c == c) {
            fputs(char_names[i].name, out);
            return;
        }
    putc(c, out);
}

/* What is being printed, from the outermost to here: what is among it again is a circle. */
struct outer {
    const struct outer *up;
    value v;
    unsigned depth;
};

static void print_nested(FILE *out, value v, bool quoted, const struct outer *up);

/* A list whose cdrs form a circle: `slow` goes at half the speed, and so is met. */
static void print_list(FILE *out, value list, bool quoted, const struct outer *up)
{
    value slow = list;
    putc('(', out);
    for (size_t i = 1;; i++) {
        print_nested(out, car(list), quoted, up);
        list = cdr(list);
        if (i % 2 == 0) slow = cdr(slow);
        if (!is_pair(list) || list == slow) break;
        putc(' ', out);
    }
    if (list != NIL) {
        fputs(" . ", out);
        if (is_pair(list)) fputs("...", out);
        else print_nested(out, list, quoted, up);
    }
    putc(')', out);
}

static void print_vector(FILE *out, const struct vector *v, bool quoted, const struct outer *up)
{
    fputs("#(", out);
    for (size_t i = 0; i < v->length; i++) {
        if (i > 0) putc(' ', out);
        print_nested(out, v->item[i], quoted, up);
    }
    putc(')', out);
}

static void print_object(FILE *out, value v, bool quoted, const struct outer *up)
{
    char text[64];
    switch (object_of(v)->kind) {
    case FLONUM:
        number_text(v, text, sizeof text);
        fputs(text, out);
        return;
    case STRING:
        if (quoted) print_string(out, AS(string, v));
        else fwrite(AS(string, v)->bytes, 1, AS(string, v)->length, out);
        return;
    case SYMBOL:
        fwrite(AS(symbol, v)->name->bytes, 1, AS(symbol, v)->name->length, out);
        return;
    case VECTOR: print_vector(out, AS(vector, v), quoted, up); return;
    case PRIMITIVE: fprintf(out, "#<procedure %s>", AS(primitive, v)->name); return;
    case SYNTAX: fprintf(out, "#<syntax %s>", AS(syntax, v)->name); return;
    case CLOSURE:
        fputs("#<procedure", out);
        if (is(lambda_name(v), SYMBOL)) {
            putc(' ', out);
            print_nested(out, lambda_name(v), false, up);
        }
        putc('>', out);
        return;
    case CONTINUATION: fputs("#<continuation>", out); return;
    case CONDITION:
        fputs("#<error ", out);
        print_nested(out, AS(condition, v)->message, true, up);
        putc('>', out);
        return;
    case TABLE: fputs("#<hash-table>", out); return;
    case WEAK: fputs("#<weak>", out); return;
    case PORT: fputs("#<port>", out); return;
    default: fputs("#<?>", out); return;
    }
}

static void print_nested(FILE *out, value v, bool quoted, const struct outer *up)
{
    struct outer here = { up, v, up ? up->depth + 1 : 0 };
    if (is_fixnum(v)) {
        fprintf(out, "%ld", (long)fixnum_of(v));
    } else if (is_char(v)) {
        if (quoted) print_char(out, char_of(v));
        else putc(char_of(v), out);
    } else if (is_pair(v) || is(v, VECTOR) || is(v, CONDITION)) {
        for (const struct outer *o = up; o && here.depth; o = o->up)
            if (o->v == v) here.depth = PRINTED;
        if (here.depth >= PRINTED) fputs("...", out);
        else if (is_pair(v)) print_list(out, v, quoted, &here);
        else print_object(out, v, quoted, &here);
    } else if (is_object(v)) {
        print_object(out, v, quoted, &here);
    } else {
        static const char *const names[] = { "()", "#f", "#t", "#<nothing>", "#<end of file>" };
        fputs(names[bits_of(v) >> 4], out);
    }
}

void print(FILE *out, value v, bool quoted)
{
    print_nested(out, v, quoted, NULL);
}
