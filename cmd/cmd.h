/* cmd.h - declarations that the files of the oakum command share.
 *
 * The command uses only Oakum's public interface, and a copy of observe's JSON writer.
 *
 * Exit status: 0: success. 1: a scenario is not as expected, or the command could not read or write
 * something. 2: the command line is invalid. */
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
int cmd_doctor(int argc, char **argv);
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
    const char *value; /* name of its value in help; NULL: it takes none. A name in brackets: the
                        * value is optional, and only --name=value gives it */
    const char *help;
} cmd_option;

typedef struct cmd_args {
    const char *command;       /* "oakum leaks", for messages */
    const cmd_option *options; /* an option without a name ends the array */
    int argc, at;
    char **argv;
    bool names_only; /* "--" has been read: no further options */
} cmd_args;

enum { CMD_ARG_END = -1, CMD_ARG_NAME = -2, CMD_ARG_BAD = -3 };

/* Read the next argument. Returns an option's index, with the option's value in *text;
 * CMD_ARG_NAME, with the name in *text; CMD_ARG_END at the end; or CMD_ARG_BAD after a message on
 * stderr. */
int cmd_args_next(cmd_args *args, const char **text);

/* Read all arguments. take() gets each option; it returns false after a message on stderr. The
 * first `most` names are stored in name[]. Returns the number of all names, or CMD_ARG_BAD. */
int cmd_args_read(cmd_args *args, bool (*take)(void *ctx, int option, const char *value), void *ctx,
                  const char **name, int most);

/* Read a whole number from 1 to `most`. Returns false after a message on stderr. */
bool cmd_parse_number(const char *command, const char *option, unsigned long most, const char *text,
                      unsigned *out);

/* As cmd_parse_number; the message says of_what instead of "a number": "seconds". */
bool cmd_parse_amount(const char *command, const char *option, const char *of_what,
                      unsigned long most, const char *text, unsigned *out);

/* Print the help of all options, a line each. */
void cmd_options_print(const cmd_option *options);

/* A candidate that begins with the word; otherwise the one with the fewest edits, if these are few.
 * candidate(i) returns NULL at the end of the list. Returns NULL if none is close. */
const char *cmd_closest(const char *word, const char *(*candidate)(size_t i, const void *ctx),
                        const void *ctx);

/* Report an unknown word on stderr: "unknown WHAT 'WORD'". If a candidate is close to the word, it
 * is suggested, else the command's option `list`. Word and candidate are shown behind `dashes`,
 * "--" or "". */
void cmd_tell_unknown(const char *command, const char *what, const char *dashes, const char *word,
                      const char *list, const char *(*candidate)(size_t i, const void *ctx),
                      const void *ctx);

/* ---- the environment (variables.c) ---- */

/* Write the variable of an option: OAKUM_ and the field's name in capitals, without its unit. */
void cmd_variable_name(char *out, size_t n, const char *field);

/* ---- shared by commands that read snapshots (snapshot.c) ---- */

/* Read a snapshot. Returns NULL after a message on stderr. */
oak_snapshot *cmd_snapshot_open(const char *command, const char *path);

/* Format bytes in decimal units: "1.5 MB". */
const char *cmd_bytes(char out[24], double bytes);

/* ---- files (input.c, output.c) ---- */

/* Read all of a file; *n is its size. Returns the text, with a NUL behind it, which the caller
 * frees; or NULL with errno, which is ESPIPE for a pipe or a device. */
char *cmd_read_file(const char *path, size_t *n);

/* A file that is written under a temporary name, and renamed to its path once it is complete. If
 * the path is a device, a pipe, or the file of standard output, it is written to directly. */
typedef struct cmd_output {
    FILE *stream;
    char *path; /* behind symbolic links */
    char *name; /* the temporary name; NULL: the path is written to directly */
} cmd_output;

/* Open a file for writing. Returns 0, or -1 with errno. */
int cmd_output_open(cmd_output *o, const char *path);

/* Complete the file, or remove it if `result` is not 0, that is, if writing has failed already with
 * errno. Returns 0; or -1 with the errno of the first failure, and the path is unchanged. */
int cmd_output_close(cmd_output *o, int result);

/* Write n bytes to a file, or to standard output if path is NULL or "-". Returns an exit status; a
 * failure is reported on stderr. */
int cmd_output_put(const char *command, const char *path, const char *p, size_t n);

/* ---- foreign text (text.c) ---- */

/* The length in bytes of the first character of text, which has n > 0 bytes. 0 for a control
 * character, and for bytes that are no UTF-8. */
size_t cmd_character(const char *text, size_t n);

/* Replace bytes that are unsafe on a terminal by '?'. The control characters in `kept` stay. */
void cmd_clean(char *text, size_t n, const char *kept);

/* Print a line, cleaned as by cmd_clean. Only a newline at the end of the format stays, and tabs.
 */
void cmd_say(FILE *out, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* What to do about an error number of a file, a program or a server: "check the path". */
const char *cmd_remedy(int error);

/* ---- JSON (json.c) ---- */

/* Start a writer to a stream, with j->terminal set (observe/json.h). If writing fails, ferror(out)
 * is set, so callers need not check the writer. */
void cmd_json_init(oaki_json *j, FILE *out);

/* ---- terminal (term.c) ---- */

typedef enum cmd_color { CMD_COLOR_AUTO, CMD_COLOR_ALWAYS, CMD_COLOR_NEVER } cmd_color;

bool cmd_color_parse(const char *when, cmd_color *out);

/* Whether to print colours to stdout. With auto, only on a terminal, without NO_COLOR and
 * TERM=dumb. */
bool cmd_color_wanted(cmd_color when);

/* The width of stdout in columns, 80 to 160: the terminal's, or COLUMNS, or else 132. */
unsigned cmd_columns(void);

#endif
