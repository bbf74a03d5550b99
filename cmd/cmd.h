/* cmd.h - what the files of the oakum command share.
 *
 * The command uses Oakum's public interface only. Exit status: 0; 1 when a scenario is not as
 * expected, or output could not be written; 2 for a command line that makes no sense. */
#ifndef CMD_CMD_H
#define CMD_CMD_H

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

/* ---- arguments (args.c) ---- */

typedef struct cmd_option {
    const char *name;  /* without the dashes */
    char letter;       /* 0: none */
    const char *value; /* what its value is called; NULL: it takes none */
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

/* ---- JSON (json.c) ---- */

/* Text in quotes, escaped. */
void cmd_json_string(FILE *out, const char *text);

/* ---- terminal (term.c) ---- */

typedef enum cmd_color { CMD_COLOR_AUTO, CMD_COLOR_ALWAYS, CMD_COLOR_NEVER } cmd_color;

bool cmd_color_parse(const char *when, cmd_color *out);

/* Whether to colour what goes to stdout: auto heeds NO_COLOR and TERM=dumb. */
bool cmd_color_wanted(cmd_color when);

/* Columns of the table: the terminal's or COLUMNS, 100 to 160; 132 when neither is known. */
unsigned cmd_columns(void);

#endif
