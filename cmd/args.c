/* args.c - reads a command line, and reports its errors.
 *
 * Bound: a suggestion takes time in proportion to the product of two words' lengths, for each
 * candidate. */
#include "cmd.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define WORD_MOST 64 /* longer words are not compared */

/* ---- suggestions ---- */

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* The number of edits from a to b: insertions, deletions, substitutions and swaps of neighbours
 * (Damerau's optimal string alignment). */
static size_t distance(const char *a, const char *b)
{
    size_t n = strlen(a), m = strlen(b);
    size_t rows[3][WORD_MOST + 1];

    if (n > WORD_MOST || m > WORD_MOST) return WORD_MOST;
    for (size_t j = 0; j <= m; j++) rows[0][j] = j;
    for (size_t i = 1; i <= n; i++) {
        size_t *row = rows[i % 3], *above = rows[(i + 2) % 3], *higher = rows[(i + 1) % 3];

        row[0] = i;
        for (size_t j = 1; j <= m; j++) {
            row[j] = least(least(above[j], row[j - 1]) + 1, above[j - 1] + (a[i - 1] != b[j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                row[j] = least(row[j], higher[j - 2] + 1);
        }
    }
    return rows[n % 3][m];
}

const char *cmd_closest(const char *word, const char *(*candidate)(size_t i, const void *ctx),
                        const void *ctx)
{
    const char *best = NULL, *c;
    size_t best_distance = strlen(word) < 4 ? 2 : strlen(word) / 3 + 2;

    for (size_t i = 0; (c = candidate(i, ctx)) != NULL; i++) {
        size_t d = strlen(word) >= 2 && strncmp(word, c, strlen(word)) == 0 ? 0 : distance(word, c);

        if (d < best_distance) {
            best = c;
            best_distance = d;
        }
    }
    return best;
}

void cmd_tell_unknown(const char *command, const char *what, const char *dashes, const char *word,
                      const char *list, const char *(*candidate)(size_t i, const void *ctx),
                      const void *ctx)
{
    const char *near = cmd_closest(word, candidate, ctx);

    cmd_say(stderr, "%s: unknown %s '%s%s'", command, what, dashes, word);
    if (near != NULL)
        fprintf(stderr, "; did you mean '%s%s'?\n", dashes, near);
    else
        fprintf(stderr, "; '%s %s' tells what there is\n", command, list);
}

/* ---- options ---- */

static const char *option_name(size_t i, const void *ctx)
{
    return ((const cmd_option *)ctx)[i].name;
}

static int complain(const cmd_args *args, const char *format, const char *name)
{
    fprintf(stderr, "%s: ", args->command);
    cmd_say(stderr, format, name);
    fprintf(stderr, "; '%s --help' tells what there is\n", args->command);
    return CMD_ARG_BAD;
}

/* Read --name, --name=value or --name value; the last form not for an optional value. */
static int long_option(cmd_args *args, const char *word, const char **text)
{
    size_t n = strcspn(word, "=");
    const char *value = word[n] == '=' ? word + n + 1 : NULL;
    const cmd_option *o = args->options;
    char name[WORD_MOST];

    snprintf(name, sizeof(name), "%.*s", (int)least(n, sizeof(name) - 1), word);
    while (o->name != NULL && strcmp(o->name, name) != 0) o++;
    if (o->name == NULL) {
        cmd_tell_unknown(args->command, "option", "--", name, "--help", option_name, args->options);
        return CMD_ARG_BAD;
    }
    if (o->value == NULL && value != NULL)
        return complain(args, "option '--%s' takes no value", name);
    if (o->value != NULL && o->value[0] != '[' && value == NULL) {
        if (args->at == args->argc) return complain(args, "option '--%s' needs a value", name);
        value = args->argv[args->at++];
    }
    *text = value;
    return (int)(o - args->options);
}

/* Read an option of one letter; its value is the next word. */
static int short_option(cmd_args *args, const char *word, const char **text)
{
    const cmd_option *o = args->options;

    while (o->name != NULL && (word[1] != '\0' || o->letter != word[0])) o++;
    if (o->name == NULL) return complain(args, "unknown option '-%s'", word);
    if (o->value != NULL && args->at == args->argc)
        return complain(args, "option '-%s' needs a value", word);
    if (o->value != NULL) *text = args->argv[args->at++];
    return (int)(o - args->options);
}

int cmd_args_next(cmd_args *args, const char **text)
{
    *text = NULL;
    while (args->at < args->argc) {
        const char *word = args->argv[args->at++];

        if (args->names_only || word[0] != '-' || word[1] == '\0') {
            *text = word;
            return CMD_ARG_NAME;
        }
        if (word[1] != '-') return short_option(args, word + 1, text);
        if (word[2] != '\0') return long_option(args, word + 2, text);
        args->names_only = true;
    }
    return CMD_ARG_END;
}

int cmd_args_read(cmd_args *args, bool (*take)(void *ctx, int option, const char *value), void *ctx,
                  const char **name, int most)
{
    const char *text;
    int which, names = 0;

    while ((which = cmd_args_next(args, &text)) != CMD_ARG_END) {
        if (which == CMD_ARG_BAD) return CMD_ARG_BAD;
        if (which == CMD_ARG_NAME && names++ < most) name[names - 1] = text;
        if (which >= 0 && !take(ctx, which, text)) return CMD_ARG_BAD;
    }
    return names;
}

bool cmd_parse_amount(const char *command, const char *option, const char *of_what,
                      unsigned long most, const char *text, unsigned *out)
{
    char *end;
    unsigned long n;

    errno = 0;
    n = strtoul(text, &end, 10);
    *out = (unsigned)n;
    if (text[0] >= '0' && text[0] <= '9' && *end == '\0' && errno == 0 && n >= 1 && n <= most)
        return true;
    cmd_say(stderr, "%s: --%s takes %s from 1 to %lu, not '%s'\n", command, option, of_what, most,
            text);
    return false;
}

bool cmd_parse_number(const char *command, const char *option, unsigned long most, const char *text,
                      unsigned *out)
{
    return cmd_parse_amount(command, option, "a number", most, text, out);
}

void cmd_options_print(const cmd_option *options)
{
    for (const cmd_option *o = options; o->name != NULL; o++) {
        char left[WORD_MOST];

        if (o->value != NULL && o->value[0] == '[')
            snprintf(left, sizeof(left), "--%s[=%s", o->name, o->value + 1);
        else
            snprintf(left, sizeof(left), "--%s%s%s", o->name, o->value != NULL ? "=" : "",
                     o->value != NULL ? o->value : "");
        if (o->letter != 0)
            printf("  -%c, %-18s", o->letter, left);
        else
            printf("      %-18s", left);
        printf(strlen(left) > 18 ? "\n%25s%s\n" : "%1s%s\n", "", o->help);
    }
}
