/* judge.c - see judge.h.
 *
 * Each line on standard error must have an author: Oakum, the program, which names the call and its
 * error, or the loader. Where something else comes out than without a failure, one of them must say
 * why; a report does so by what it says of its own gaps. */
#include "judge.h"
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

bool judge_is_fault(outcome o)
{
    return o != RIGHT && o != TOLD && o != UNMET;
}

const char *judge_name(outcome o)
{
    static const char *const names[] = { "right", "told",   "SIGNAL",  "HANG",
                                         "WRONG", "SILENT", "UNCLEAR", "not met" };
    return names[o];
}

/* ---- lines ---- */

static bool has(const char *line, size_t n, const char *text)
{
    return memmem(line, n, text, strlen(text)) != NULL;
}

static bool begins(const char *line, size_t n, const char *text)
{
    return n >= strlen(text) && !memcmp(line, text, strlen(text));
}

static bool ends(const char *line, size_t n, const char *text)
{
    size_t length = strlen(text);
    return n >= length && !memcmp(line + n - length, text, length);
}

/* "==PID== " in front, as the lines of a report have. */
static bool is_reports(const char **line, size_t *n)
{
    const char *at = *line, *end = at + *n;
    if (!begins(at, *n, "==")) return false;
    for (at += 2; at < end && isdigit((unsigned char)*at);) at++;
    if (at == *line + 2 || !begins(at, (size_t)(end - at), "==")) return false;
    *line = at + 2;
    *n = (size_t)(end - *line);
    return true;
}

/* The program's own line, which ends with the text of an error. tests/malloc/shapes has one. */
static bool is_guests(const char *line, size_t n)
{
    if (begins(line, n, "shapes: ") && ends(line, n, ": out of memory")) return true;
    return begins(line, n, "guest: ") && !ends(line, n, ": Success") && !ends(line, n, ": ");
}

/* The loader has found no library, couldn't preload it, or has no memory for its own tables. */
static bool is_loaders(const char *line, size_t n)
{
    return begins(line, n, "cannot allocate TLS data structures for initial thread") ||
           begins(line, n, "Fatal glibc error: cannot allocate memory ") ||
           has(line, n, ": error while loading shared libraries: ") ||
           (begins(line, n, "ERROR: ld.so: object '") && ends(line, n, "): ignored."));
}

/* The drop-in's, in libgc's own words (tests/libgc/compare). */
static bool is_libgcs(const char *line, size_t n)
{
    return begins(line, n, "Can't start up: ") || begins(line, n, "GC Warning: ");
}

static bool is_reason(const char *line, size_t n)
{
    if (is_reports(&line, &n)) {
        while (n > 0 && *line == ' ') line++, n--;
        if (has(line, n, "was not looked at") || has(line, n, "told as lost")) return true;
    }
    return begins(line, n, "oakum: ") || begins(line, n, "oakum run: ") || is_guests(line, n) ||
           is_libgcs(line, n) || is_loaders(line, n);
}

static const char *find_line(const char *err, bool (*is)(const char *, size_t), int *length)
{
    while (*err) {
        size_t n = strcspn(err, "\n");
        if (n > 0 && is(err, n)) {
            *length = (int)n;
            return err;
        }
        err += n + (err[n] == '\n');
    }
    return NULL;
}

static bool is_nobodys(const char *line, size_t n)
{
    return !is_reason(line, n) && !is_reports(&line, &n);
}

const char *judge_reason(const char *err, int *length)
{
    return find_line(err, is_reason, length);
}

/* ---- outcomes ---- */

/* What can't be said on standard error is told by the status alone. */
static outcome told(const said *s)
{
    int n;
    bool by_status = s->muted && WEXITSTATUS(s->status) != 0;
    return by_status || judge_reason(s->err, &n) ? TOLD : SILENT;
}

/* The figures of a report, in the order that it has them. */
static void figures(const char *text, char *out)
{
    size_t n = 0;
    for (const char *line = text; *line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : "") {
        const char *at = strstr(line, "lost: "), *end = strchr(line, '\n');
        if (!end) break;
        if (!at || at > end) continue;
        n += (size_t)snprintf(out + n, JUDGE_TEXT - n, "%.*s;", (int)(end - at), at);
    }
    out[n] = '\0';
}

/* Other figures are wrong, unless the report says what it has not looked at. */
static outcome judge_report(const said *usual, const said *s)
{
    char was[JUDGE_TEXT], is[JUDGE_TEXT];
    figures(usual->err, was);
    figures(s->err, is);
    if (!strcmp(was, is)) return s->status == usual->status ? RIGHT : told(s);
    bool excused = strstr(s->err, "was not looked at") || strstr(s->err, "told as lost");
    return *is && !excused ? WRONG : told(s);
}

static outcome judge_program(const said *usual, const said *s)
{
    if (s->status == usual->status) return strcmp(s->out, usual->out) ? WRONG : RIGHT;
    return told(s);
}

static unsigned answers_of(const said *s, asker_answer answer)
{
    unsigned n = 0;
    for (int i = 0; i < ASKER_QUESTIONS; i++) n += s->answers[i] == answer;
    return n;
}

/* After one failed call the server goes on: a question after the first refused one gets its
 * answer. */
static bool goes_on(const said *s)
{
    int i = 0;
    while (s->answers[i] != ASKER_REFUSED) i++;
    if (s->onwards || i == ASKER_QUESTIONS - 1) return true;
    while (i < ASKER_QUESTIONS && s->answers[i] != ASKER_RIGHT) i++;
    return i < ASKER_QUESTIONS;
}

/* A client that gets no answer is told by the end of its connection; one that gets neither hangs,
 * unless each call fails, and the server has said on standard error why clients wait.
 * Where the program itself is right and the server isn't, that is told, too. */
static outcome judge_server(const said *s, outcome program)
{
    if (answers_of(s, ASKER_WRONG)) return WRONG;
    if (answers_of(s, ASKER_LATE))
        return s->onwards && strstr(s->err, "clients wait") ? TOLD : HANGS;
    if (program != RIGHT || answers_of(s, ASKER_RIGHT) == ASKER_QUESTIONS) return program;
    return answers_of(s, ASKER_REFUSED) && goes_on(s) ? TOLD : told(s);
}

outcome judge(judge_kind kind, const said *usual, const said *s)
{
    int n;
    if (s->hangs) return HANGS;
    if (strstr(s->err, "WRONG")) return WRONG;
    if (WIFSIGNALED(s->status)) return SIGNALLED;
    outcome o = kind == JUDGE_REPORT ? judge_report(usual, s) : judge_program(usual, s);
    if (kind == JUDGE_SERVER) o = judge_server(s, o);
    return judge_is_fault(o) || !find_line(s->err, is_nobodys, &n) ? o : UNCLEAR;
}
