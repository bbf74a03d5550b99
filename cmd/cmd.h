/* cmd.h - what the files of the oakum command share.
 *
 * The command uses Oakum's public interface only, and observe's JSON writer, of which it has a copy
 * of its own. Exit status: 0; 1 when a scenario is not as
 * expected, or output could not be written; 2 for a command line that makes no sense. */
#ifndef CMD_CMD_H
#define CMD_CMD_H

#include "observe/json.h"
#include <oakum/oakum.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

enum { CMD_OK = 0, CMD_FAILED = 1, CMD_USAGE = 2 };

/* ---- subcommands: argv[0] is the subcommand's name ---- */

int cmd_leaks(int argc, char **argv);
int cmd_info(int argc, char **argv);
int cmd_snapshot(int argc, char **argv);
int cmd_why(int argc, char **argv);
int cmd_diff(int argc, char **argv);
int cmd_top(int argc, char **argv);
int cmd_profile(int argc, char **argv);
int cmd_trace(int argc, char **argv);
int cmd_run(int argc, char **argv);

/* ---- arguments (args.c) ---- */

typedef struct cmd_option {
    const char *name;  /* without the dashes */
    char letter;       /* 0: none */
    const char *value; /* what its value is called; NULL: it takes none. In brackets: it may be left
                        * out, and what follows = is one */
    const char *help;
} cmd_option;

typedef struct cmd_args {
    const char *command;       /* "oakum leaks", for messages */
    const cmd_option *options; /* an option without a name ends them */
    int argc, at;
    char **argv;
    bool names_only; /* "--" was met */
} cmd_args;

enum { CMD_ARG_END = -1, CMD_ARG_NAME = -2, CMD_ARG_BAD = -3 };

/* The next argument: an option's index, with its value in *text; CMD_ARG_NAME, with the name in
 * *text; CMD_ARG_END; or CMD_ARG_BAD when it has been told on stderr what is wrong. */
int cmd_args_next(cmd_args *args, const char **text);

/* All of them: take() gets each option, and returns false when it has told what is wrong; the first
 * `most` names go to name[]. Returns how many names there are, or CMD_ARG_BAD. */
int cmd_args_read(cmd_args *args, bool (*take)(void *ctx, int option, const char *value), void *ctx,
                  const char **name, int most);

/* A whole number from 1 to `most`; false when it has been told that the option takes one. */
bool cmd_parse_number(const char *command, const char *option, unsigned long most, const char *text,
                      unsigned *out);

/* The same where it takes so many of something: "seconds". */
bool cmd_parse_amount(const char *command, const char *option, const char *of_what,
                      unsigned long most, const char *text, unsigned *out);

/* Lines that describe the options. */
void cmd_options_print(const cmd_option *options);

/* "what: 'word'" and, when one of the candidates is close to it, a suggestion, on stderr.
 * candidate(i) is NULL at the end. */
void cmd_tell_unknown(const char *command, const char *what, const char *word,
                      const char *(*candidate)(size_t i, const void *ctx), const void *ctx);

/* ---- shared by commands that read snapshots (snapshot.c) ---- */

/* Read a snapshot; NULL when it has been told on stderr what is wrong with it. */
oak_snapshot *cmd_snapshot_open(const char *command, const char *path);

/* Bytes as a person reads them: "1.5 MB"; decimal units. */
const char *cmd_bytes(char out[24], double bytes);

/* ---- files (output.c) ---- */

/* A file that takes its name when it is whole; what is there and no regular file (a device, a pipe)
 * is written to as it is. */
typedef struct cmd_output {
    FILE *stream;
    const char *path;
    char *name; /* until it is whole; NULL: its own */
} cmd_output;

/* 0, or -1 with errno. */
int cmd_output_open(cmd_output *o, const char *path);

/* The end; `result` is 0 unless what was to be written could not be. 0, or -1 with the first error,
 * that of the earlier failure if there was one, and nothing new under the name. */
int cmd_output_close(cmd_output *o, int result);

/* These bytes to a file, or where path is NULL or "-" to standard output. A command's status, told
 * on stderr. */
int cmd_output_put(const char *command, const char *path, const char *p, size_t n);

/* ---- text of others (text.c) ---- */

/* Bytes of the character that the n > 0 bytes of text begin with; 0 for a control character and for
 * what is no UTF-8. */
size_t cmd_character(const char *text, size_t n);

/* Bytes that a terminal may not have become '?'; the control characters of `kept` stay. */
void cmd_clean(char *text, size_t n, const char *kept);

/* One line: what is in it is cleaned, whoever wrote it; a newline stays where the format ends. */
void cmd_say(FILE *out, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* ---- JSON (json.c) ---- */

/* A writer to this stream, for a terminal too (observe/json.h). Its failure is the stream's. */
void cmd_json_init(oaki_json *j, FILE *out);

/* ---- terminal (term.c) ---- */

typedef enum cmd_color { CMD_COLOR_AUTO, CMD_COLOR_ALWAYS, CMD_COLOR_NEVER } cmd_color;

bool cmd_color_parse(const char *when, cmd_color *out);

/* Whether to colour what goes to stdout: auto heeds NO_COLOR and TERM=dumb. */
bool cmd_color_wanted(cmd_color when);

/* Columns of the table: the terminal's or COLUMNS, 100 to 160; 132 when neither is known. */
unsigned cmd_columns(void);

#endif
