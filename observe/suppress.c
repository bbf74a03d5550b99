/* suppress.c - reads, matches and prints suppressions (suppress.h). */
#include "suppress.h"

#include <stdlib.h>
#include <string.h>

static const char unknown[] = "???"; /* memcheck's text for a missing name */

/* ---- reading ---- */

static const char unended[] = "the suppression has no closing brace";

typedef struct reader {
    char *next;    /* the rest of the text */
    unsigned line; /* of the last line read */
} reader;

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

/* The next line that is neither empty nor a comment, without blanks around it; NULL at the end. */
static char *read_line(reader *r)
{
    while (r->next) {
        char *s = r->next, *end = strchr(s, '\n');
        r->next = end ? end + 1 : NULL;
        r->line++;
        if (!end) end = s + strlen(s);
        while (is_blank(*s)) s++;
        while (end > s && is_blank(end[-1])) end--;
        *end = '\0';
        if (*s && *s != '#') return s;
    }
    return NULL;
}

static const char *after(const char *s, const char *prefix)
{
    size_t n = strlen(prefix);
    return strncmp(s, prefix, n) == 0 ? s + n : NULL;
}

/* Read the names of kinds, separated by commas. */
static bool read_kinds(const char *s, unsigned *out)
{
    static const struct {
        const char *name;
        unsigned kinds;
    } known[] = {
        { "definite", OAKI_SUPPRESS_DEFINITE },   { "indirect", OAKI_SUPPRESS_INDIRECT },
        { "possible", OAKI_SUPPRESS_POSSIBLE },   { "reachable", OAKI_SUPPRESS_REACHABLE },
        { "all", OAKI_SUPPRESS_ALL },             { "none", 0 },
    };
    enum { KNOWN = sizeof known / sizeof known[0] };
    *out = 0;
    for (;;) {
        s += strspn(s, " \t");
        size_t n = strcspn(s, " \t,"), i = 0;
        while (i < KNOWN && (strlen(known[i].name) != n || strncmp(known[i].name, s, n) != 0)) i++;
        if (i == KNOWN) return false;
        *out |= known[i].kinds;
        s += n;
        s += strspn(s, " \t");
        if (!*s) return true;
        if (*s++ != ',') return false;
    }
}

/* One condition of a frame. */
static bool read_condition(const char *s, oaki_suppress_frame *f)
{
    const char *fun = after(s, "fun:"), *obj = after(s, "obj:"), *src = after(s, "src:");
    const char *text = fun ? fun : obj ? obj : src;
    if (!text || !*text) return false;
    if (fun) f->fun = fun;
    else if (obj) f->obj = obj;
    else f->src = src;
    return true;
}

/* The second condition of a line: behind a blank that no backslash precedes. */
static char *second_condition(char *s)
{
    for (; *s; s++) {
        if (*s == '\\' && s[1]) s++;
        else if (*s == ' ' && (after(s + 1, "src:") || after(s + 1, "obj:"))) return s;
    }
    return NULL;
}

static bool read_frame(char *s, bool oakums, oaki_suppress_frame *f)
{
    memset(f, 0, sizeof *f);
    if (strcmp(s, "...") == 0) f->what = OAKI_FRAMES_ANY;
    else if (oakums && strcmp(s, "end") == 0) f->what = OAKI_FRAMES_END;
    if (f->what != OAKI_FRAME_IS) return true;
    char *second = oakums ? second_condition(s) : NULL;
    if (second) *second = '\0';
    return read_condition(s, f) && (!second || read_condition(second + 1, f));
}

static bool add_frame(oaki_suppression *s, const oaki_suppress_frame *f)
{
    oaki_suppress_frame *more = realloc(s->frame, (s->nframes + 1) * sizeof *more);
    if (!more) return false;
    s->frame = more;
    more[s->nframes++] = *f;
    return true;
}

/* Whether a block is of leaks. If not, *error is set, or the block is another tool's. */
static bool read_type(const char *s, bool *oakums, const char **error)
{
    const char *colon = strchr(s, ':'), *names = s;
    *oakums = after(s, "Oakum:");
    if (!colon) *error = "the second line of a suppression is TOOL:KIND, as Memcheck:Leak";
    else if (*oakums && strcmp(s, "Oakum:Leak") != 0) *error = "Oakum knows only Oakum:Leak";
    if (*error || strcmp(colon, ":Leak") != 0) return false;
    for (; names < colon; names += strcspn(names, ",:") + 1) { /* several tools: "A,B:Leak" */
        size_t n = strcspn(names, ",:");
        if (n == 8 && strncmp(names, "Memcheck", n) == 0) return true;
        if (n == 5 && strncmp(names, "Oakum", n) == 0) return true;
    }
    return false;
}

static const char *read_block(reader *r, oaki_suppression *s, bool *wanted)
{
    const char *error = NULL;
    char *line = read_line(r);
    if (strcmp(s->name = line ? line : "}", "}") == 0) return "a suppression begins with a name";
    if (!(line = read_line(r))) return unended;
    *wanted = read_type(line, &s->oakums, &error);
    while (!error && (line = read_line(r)) && strcmp(line, "}") != 0) {
        oaki_suppress_frame f;
        const char *kinds = after(line, "match-leak-kinds:");
        if (!*wanted) continue;
        if (kinds && s->nframes == 0) {
            if (!read_kinds(kinds, &s->kinds))
                error = "kinds are definite, indirect, possible, reachable, all or none";
        } else if (!read_frame(line, s->oakums, &f)) {
            error = "a frame is fun:NAME, obj:FILE, src:FILE[:LINE] or ...";
        } else if (!add_frame(s, &f)) {
            error = "no memory";
        }
    }
    if (error) return error;
    if (!line) return unended;
    return *wanted && s->nframes == 0 ? "the suppression has no frames" : NULL;
}

const char *oaki_suppress_read(oaki_suppressions *to, const char *file, char *text,
                               unsigned *line)
{
    reader r = { text, 0 };
    const char *error = NULL;
    for (char *s; !error && (s = read_line(&r));) {
        oaki_suppression one = { .file = file, .kinds = OAKI_SUPPRESS_ALL };
        oaki_suppression *more;
        bool wanted = false;
        unsigned begun = r.line;
        if (strcmp(s, "{") != 0) error = "a suppression begins with {";
        else error = read_block(&r, &one, &wanted);
        one.line = *line = begun;
        if (!error && wanted) {
            more = realloc(to->list, (to->n + 1) * sizeof *more);
            if (more) (to->list = more)[to->n++] = one;
            else error = "no memory";
        }
        if (error || !wanted) free(one.frame);
    }
    if (error != unended) *line = r.line;
    return error;
}

/* ---- matching ---- */

/* Match without recursion: after a mismatch the last * takes one character more. */
static bool matches(const char *p, const char *text, bool escapes)
{
    const char *star = NULL, *again = text;
    while (*text) {
        bool escaped = escapes && *p == '\\' && p[1];
        char c = !escaped ? *p : p[1] == 'n' ? '\n' : p[1];
        if (!escaped && c == '*') {
            star = ++p;
            again = text;
        } else if (*p && (c == *text || (!escaped && c == '?'))) {
            p += escaped ? 2 : 1;
            text++;
        } else if (star) {
            p = star;
            text = ++again;
        } else {
            return false;
        }
    }
    while (*p == '*') p++;
    return !*p;
}

/* src:FILE or src:FILE:LINE; the file with or without its folder. */
static bool matches_source(const char *pattern, const oak_frame *f, bool escapes)
{
    char copy[4096];
    const char *slash = f->file ? strrchr(f->file, '/') : NULL;
    size_t n = strlen(pattern);
    char *colon;
    if (!f->file || n >= sizeof copy) return false;
    memcpy(copy, pattern, n + 1);
    colon = strrchr(copy, ':');
    if (colon && colon[1] && !colon[1 + strspn(colon + 1, "0123456789")]) {
        if (strtol(colon + 1, NULL, 10) != f->line) return false;
        *colon = '\0';
    }
    return matches(copy, f->file, escapes) || (slash && matches(copy, slash + 1, escapes));
}

static bool matches_frame(const oaki_suppress_frame *p, const oak_frame *f, bool escapes)
{
    if (p->fun && !matches(p->fun, f->function ? f->function : unknown, escapes)) return false;
    if (p->obj && !matches(p->obj, f->object ? f->object : unknown, escapes)) return false;
    return !p->src || matches_source(p->src, f, escapes);
}

/* The same for frames, of which ... takes any number. The stack may go on after the pattern. */
static bool matches_stack(const oaki_suppress_frame *p, size_t np, const oak_frame *frame,
                          size_t n, bool escapes)
{
    size_t i = 0, at = 0, star = SIZE_MAX, again = 0;
    for (;;) {
        if (i == np) return true;
        if (p[i].what == OAKI_FRAMES_ANY) {
            star = ++i;
            again = at;
        } else if (p[i].what == OAKI_FRAMES_END && at == n) {
            i++;
        } else if (p[i].what == OAKI_FRAME_IS && at < n &&
                   matches_frame(&p[i], &frame[at], escapes)) {
            i++;
            at++;
        } else if (star != SIZE_MAX && again < n) {
            i = star;
            at = ++again;
        } else {
            return false;
        }
    }
}

/* Whether a pattern is of an allocation function, which Oakum's stacks lack. */
static bool is_allocator(const oaki_suppress_frame *p)
{
    static const char *const names[] = { "malloc", "calloc", "realloc", "reallocarray", "memalign",
                                         "aligned_alloc", "posix_memalign", "valloc", "pvalloc",
                                         "_Znwm", "_Znam", "_ZnwmRKSt9nothrow_t",
                                         "_ZnamRKSt9nothrow_t", "_ZnwmSt11align_val_t",
                                         "_ZnamSt11align_val_t" };
    if (p->what != OAKI_FRAME_IS || !p->fun) return false;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (matches(p->fun, names[i], false)) return true;
    return false;
}

oaki_suppression *oaki_suppress_find(const oaki_suppressions *in, unsigned kind,
                                     const oak_frame *frame, size_t n)
{
    for (size_t i = 0; i < in->n; i++) {
        oaki_suppression *s = &in->list[i];
        if (!(s->kinds & kind)) continue;
        if (matches_stack(s->frame, s->nframes, frame, n, s->oakums)) return s;
        if (!s->oakums && s->nframes > 1 && is_allocator(&s->frame[0]) &&
            matches_stack(s->frame + 1, s->nframes - 1, frame, n, false))
            return s;
    }
    return NULL;
}

/* ---- printing ---- */

static void put_escaped(void (*put)(void *ctx, const char *text), void *ctx, const char *text)
{
    for (; *text; text++) {
        char c[3] = { *text };
        if (strchr("*?\\ \t\r\n", *text)) {
            c[0] = '\\';
            c[1] = *text == '\n' ? 'n' : *text;
        }
        put(ctx, c);
    }
}

static void put_line_number(void (*put)(void *ctx, const char *text), void *ctx, int line)
{
    char text[16], *p = text + sizeof text;
    *--p = '\0';
    for (unsigned n = (unsigned)line; p == text + sizeof text - 1 || n > 0; n /= 10)
        *--p = (char)('0' + n % 10);
    put(ctx, ":");
    put(ctx, p);
}

static void print_frame(void (*put)(void *ctx, const char *text), void *ctx, const oak_frame *f)
{
    const char *slash = f->file ? strrchr(f->file, '/') : NULL;
    put(ctx, f->function || !f->object ? "   fun:" : "   obj:");
    put_escaped(put, ctx, f->function ? f->function : f->object ? f->object : unknown);
    if (f->file && f->line > 0) {
        put(ctx, " src:");
        put_escaped(put, ctx, slash ? slash + 1 : f->file);
        put_line_number(put, ctx, f->line);
    } else if (f->function && f->object) {
        put(ctx, " obj:");
        put_escaped(put, ctx, f->object);
    }
    put(ctx, "\n");
}

void oaki_suppress_print(void (*put)(void *ctx, const char *text), void *ctx, const char *kind,
                         const oak_frame *frame, size_t n, bool to_end)
{
    put(ctx, "{\n   <insert_a_suppression_name_here>\n   Oakum:Leak\n   match-leak-kinds: ");
    put(ctx, kind);
    put(ctx, "\n");
    for (size_t i = 0; i < n; i++) print_frame(put, ctx, &frame[i]);
    put(ctx, to_end ? "   end\n}\n" : "}\n");
}
