/* text.c - reading and printing. The reader ends, whatever the text is, in a value or an error.
 * Both go down with what they read or print, so both have a limit on how deep that may be. */
#include "scheme.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { DEEPEST = 10000, PRINTED = 100 };
static const char blanks[] = " \t\r\n", delimiters[] = " \t\r\n()\"';`,";

/* Places are asked for in the order of the text, mostly. */
void place(struct source *in, const char *at, char *out, size_t size)
{
    if (!in->counted || at < in->counted) {
        in->counted = in->text;
        in->line = 0;
    }
    for (; in->counted < at; in->counted++) in->line += *in->counted == '\n';
    snprintf(out, size, "%s:%u", in->name, in->line + 1);
}

static _Noreturn void bad(struct scheme *s, struct source *in, const char *at, const char *what)
{
    char where[256];
    in->unfinished = !*in->at;
    in->at += strlen(in->at); /* what follows means nothing */
    place(in, at, where, sizeof where);
    fail(s, UNASSIGNED, "%s: %s", where, what);
}

/* What comes after blanks and comments. */
static char skip(struct source *in)
{
    while (in->at += strspn(in->at, blanks), *in->at == ';') in->at += strcspn(in->at, "\n");
    return *in->at;
}

static value read_string(struct scheme *s, struct source *in)
{
    const char *end = ++in->at;
    while (*end && *end != '"') end += *end == '\\' && end[1] ? 2 : 1;
    if (!*end) {
        in->at = end;
        bad(s, in, end, "the text ends in a string");
    }
    struct string *t = AS(string, new_string(s, NULL, (size_t)(end - in->at)));
    for (t->length = 0; in->at < end; in->at++) {
        char c = *in->at;
        if (c == '\\') c = *++in->at == 'n' ? '\n' : *in->at;
        t->bytes[t->length++] = c;
    }
    in->at++;
    return VALUE(t);
}

/* A number of n bytes; what is behind them can't be part of one. */
value parse_number(struct scheme *s, const char *text, size_t n)
{
    char *end;
    errno = 0;
    long whole = strtol(text, &end, 10);
    if (n > 0 && end == text + n && !errno && fixnum_of(fixnum(whole)) == whole)
        return fixnum(whole);
    double d = strtod(text, &end);
    if (n == 0 || end != text + n || strspn(text, "+-.0123456789eE") < n) return FALSE;
    return new_object(s, &(struct flonum){ FLONUM, d });
}

static value read_atom(struct scheme *s, struct source *in)
{
    const char *start = in->at;
    size_t n = strcspn(start, delimiters);
    in->at += n;
    if (n == 2 && strncmp(start, "#t", 2) == 0) return TRUE;
    if (n == 2 && strncmp(start, "#f", 2) == 0) return FALSE;
    if (*start == '#') bad(s, in, start, "what follows # is unknown");
    value number = parse_number(s, start, n);
    return number != FALSE ? number : intern(s, new_string(s, start, n));
}

static value read_nested(struct scheme *s, struct source *in, unsigned depth);

/* Each pair is reached from the first, and that from here. */
static value read_list(struct scheme *s, struct source *in, unsigned depth)
{
    value list = NIL, *last = &list;
    const char *start = in->at++;
    for (; skip(in) != ')'; last = &pair_of(*last)->cdr) {
        if (!*in->at) bad(s, in, start, "a list that begins here is not closed");
        if (*in->at == '.' && strchr(delimiters, in->at[1])) {
            if (last == &list) bad(s, in, in->at, "a list begins with a dot");
            in->at++;
            *last = read_nested(s, in, depth);
            if (skip(in) != ')') bad(s, in, in->at, "one value follows a dot");
            break;
        }
        *last = cons(s, read_nested(s, in, depth), NIL);
    }
    in->at++;
    return list;
}

static value read_nested(struct scheme *s, struct source *in, unsigned depth)
{
    const char *quote;
    if (depth++ == DEEPEST) bad(s, in, in->at, "nested too deeply");
    check_stack(s);
    switch (skip(in)) {
    case 0: bad(s, in, in->at, "the text ends where a value should be");
    case '(': return read_list(s, in, depth);
    case ')': bad(s, in, in->at, "a bracket closes nothing");
    case '"': return read_string(s, in);
    case '\'': quote = "quote"; break;
    case '`': quote = "quasiquote"; break;
    case ',': quote = in->at[1] == '@' ? "unquote-splicing" : "unquote"; break;
    default:
        if (in->at[0] != '#' || in->at[1] != '(') return read_atom(s, in);
        in->at++;
        return VALUE(vector_of(s, read_list(s, in, depth)));
    }
    in->at += in->at[0] == ',' && in->at[1] == '@' ? 2 : 1;
    value form = cons(s, read_nested(s, in, depth), NIL);
    return cons(s, named(s, quote), form);
}

value read_value(struct scheme *s, struct source *in)
{
    bool end = !skip(in);
    in->form = in->at;
    return end ? END : read_nested(s, in, 0);
}

/* ---- printing ---- */

/* The shortest text that reads as the same number. */
static void print_real(FILE *out, double d)
{
    char text[32];
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, d);
        if (strtod(text, NULL) == d) break;
    }
    fprintf(out, "%s%s", text, strpbrk(text, ".en") ? "" : ".0");
}

static void print_string(FILE *out, const struct string *t, bool quoted)
{
    if (quoted) putc('"', out);
    for (size_t i = 0; i < t->length; i++) {
        char c = t->bytes[i];
        if (quoted && (c == '"' || c == '\\' || c == '\n')) putc('\\', out);
        putc(quoted && c == '\n' ? 'n' : c, out);
    }
    if (quoted) putc('"', out);
}

/* ^C, or a place that takes no more. */
static bool is_over(FILE *out)
{
    return interrupted || ferror(out);
}

/* On a list that goes round, `slow` is met, at half the speed. */
static void print_list(FILE *out, value list, bool quoted, unsigned depth)
{
    value slow = list;
    for (size_t i = 1; is_pair(list) && (i == 1 || list != slow); i++, list = cdr(list)) {
        putc(i == 1 ? '(' : ' ', out);
        if (is_over(out)) break;
        print(out, car(list), quoted, depth);
        if (i % 2 == 0) slow = cdr(slow);
    }
    if (is_pair(list)) {
        fputs(is_over(out) ? "..." : " . ...", out);
    } else if (list != NIL) {
        fputs(" . ", out);
        print(out, list, quoted, depth);
    }
    putc(')', out);
}

void print(FILE *out, value v, bool quoted, unsigned depth)
{
    static const char *const constants[] = { "()", "#f", "#t", "#<nothing>", "#<end of file>" };
    if (is_fixnum(v)) fprintf(out, "%ld", (long)fixnum_of(v));
    else if (depth == PRINTED) fputs("...", out);
    else if (is_pair(v)) print_list(out, v, quoted, depth + 1);
    else if (!is_object(v)) fputs(constants[bits_of(v) >> 4], out);
    else if (is(v, FLONUM)) print_real(out, AS(flonum, v)->number);
    else if (is(v, SYMBOL)) print(out, AS(symbol, v)->name, false, depth);
    else if (is(v, STRING)) print_string(out, AS(string, v), quoted);
    else if (!is(v, VECTOR)) fprintf(out, "#<%s>", kind_name(object_of(v)->kind));
    else {
        for (size_t i = 0; i < AS(vector, v)->length && !is_over(out); i++) {
            fputs(i == 0 ? "#(" : " ", out);
            print(out, AS(vector, v)->item[i], quoted, depth + 1);
        }
        fputs(AS(vector, v)->length == 0 ? "#()" : ")", out);
    }
}
