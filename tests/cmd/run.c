/* run.c - children whose output goes to files, which are read back when they have ended. */
#include "run.h"

#include "cmd/cmd.h"
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static char *read_back(FILE *f, char *old)
{
    long n;
    char *text;

    free(old);
    ck_assert_int_eq(fseek(f, 0, SEEK_END), 0);
    n = ftell(f);
    rewind(f);
    text = calloc(1, (size_t)n + 1);
    ck_assert_ptr_nonnull(text);
    ck_assert_uint_eq(fread(text, 1, (size_t)n, f), (size_t)n);
    fclose(f);
    return text;
}

typedef struct call {
    int (*main_fn)(int argc, char **argv);
    char *const *argv;
} call;

/* In the child. */
static void enter(const call *c)
{
    int argc = 0;

    setrlimit(RLIMIT_CORE, &(struct rlimit){ 0, 0 });
    while (c->argv[argc] != NULL) argc++;
    if (c->main_fn != NULL) {
        int status = c->main_fn(argc, (char **)c->argv);

        fflush(NULL);
        _exit(status);
    }
    unsetenv("OAKUM_DEBUG"); /* whole scenarios would take hours under stress */
    execv(c->argv[0], c->argv);
    _exit(127);
}

static void run(test_run *r, const call *c)
{
    static char *out_text, *err_text;
    FILE *out = tmpfile(), *err = tmpfile();
    pid_t child;
    int status;

    ck_assert(out != NULL && err != NULL);
    fflush(NULL);
    child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        dup2(fileno(out), STDOUT_FILENO);
        dup2(fileno(err), STDERR_FILENO);
        enter(c);
    }
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    r->out = out_text = read_back(out, out_text);
    r->err = err_text = read_back(err, err_text);
    r->status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

void test_run_function(test_run *r, int (*main_fn)(int argc, char **argv), char *const *argv)
{
    run(r, &(call){ main_fn, argv });
}

void test_run_leaks(test_run *r, const char *const args[3])
{
    static char name[] = "leaks";
    char *argv[5] = { name };

    for (int i = 0; i < 3; i++) argv[i + 1] = (char *)(uintptr_t)args[i];
    test_run_function(r, cmd_leaks, argv);
}

void test_run_oakum(test_run *r, char *const *args)
{
    static char built[] = TEST_OAKUM;
    char *argv[16] = { getenv("OAKUM_BIN") != NULL ? getenv("OAKUM_BIN") : built };
    size_t n = 0;

    for (; args[n] != NULL; n++) {
        ck_assert_uint_lt(n + 2, 16);
        argv[n + 1] = args[n];
    }
    run(r, &(call){ NULL, argv });
    ck_assert_msg(r->status != 127, "%s cannot be run", argv[0]);
}

size_t test_count(const char *text, const char *part)
{
    size_t n = 0;

    while ((text = strstr(text, part)) != NULL) {
        text += strlen(part);
        n++;
    }
    return n;
}

/* ---- JSON ---- */

static const char *skip_blank(const char *p)
{
    return p + strspn(p, " \t\r\n");
}

/* Each returns what follows the value, and sets *ok to false where it is none. */
static const char *value(const char *p, bool *ok);

static const char *expect(const char *p, char c, bool *ok)
{
    p = skip_blank(p);
    if (*p == c) return p + 1;
    *ok = false;
    return p;
}

static const char *string(const char *p, bool *ok)
{
    p = expect(p, '"', ok);
    while (*ok && *p != '"') {
        if ((unsigned char)*p < 0x20) {
            *ok = false;
        } else if (*p != '\\') {
            p++;
        } else if (p[1] == 'u') {
            *ok = strspn(p + 2, "0123456789abcdefABCDEF") >= 4;
            p += *ok ? 6 : 0;
        } else {
            *ok = p[1] != '\0' && strchr("\"\\/bfnrt", p[1]) != NULL;
            p += *ok ? 2 : 0;
        }
    }
    return *ok ? p + 1 : p;
}

static const char *digits(const char *p, bool *ok)
{
    size_t n = strspn(p, "0123456789");

    *ok = *ok && n != 0;
    return p + n;
}

static const char *number(const char *p, bool *ok)
{
    const char *start;

    p += *p == '-';
    start = p;
    p = digits(p, ok);
    if (*start == '0' && p > start + 1) *ok = false;
    if (*ok && *p == '.') p = digits(p + 1, ok);
    if (*ok && (*p == 'e' || *p == 'E')) {
        p++;
        p = digits(p + (*p == '+' || *p == '-'), ok);
    }
    return p;
}

/* Items between the brackets, each read by item, parted by commas. */
static const char *list(const char *p, char close, const char *(*item)(const char *p, bool *ok),
                        bool *ok)
{
    p = skip_blank(p + 1);
    if (*p == close) return p + 1;
    while (*ok) {
        p = item(p, ok);
        if (!*ok) return p;
        p = skip_blank(p);
        if (*p == close) return p + 1;
        p = expect(p, ',', ok);
    }
    return p;
}

static const char *member(const char *p, bool *ok)
{
    p = string(p, ok);
    if (*ok) p = expect(p, ':', ok);
    return *ok ? value(p, ok) : p;
}

static const char *value(const char *p, bool *ok)
{
    static const char *const words[] = { "true", "false", "null" };

    p = skip_blank(p);
    for (size_t i = 0; i < 3; i++)
        if (strncmp(p, words[i], strlen(words[i])) == 0) return p + strlen(words[i]);
    switch (*p) {
    case '{':
        return list(p, '}', member, ok);
    case '[':
        return list(p, ']', value, ok);
    case '"':
        return string(p, ok);
    default:
        return number(p, ok);
    }
}

const char *test_json_error(const char *text)
{
    bool ok = true;
    const char *end = value(text, &ok);

    end = ok ? skip_blank(end) : end;
    return ok && *end == '\0' ? NULL : end;
}
