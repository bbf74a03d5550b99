/* live.h - declarations for the commands that ask a running program's debug server. */
#ifndef CMD_LIVE_H
#define CMD_LIVE_H

#include "cmd.h"
#include <stdint.h>
#include <sys/types.h>

/* ---- find.c ---- */

#define CMD_PATH 640

typedef struct cmd_server {
    char host[256], port[8], token[256];
    char path[CMD_PATH]; /* of a Unix socket; empty: the server is on TCP */
    pid_t pid;           /* of the process that must listen at the path; 0: any */
} cmd_server;

/* Whether the word is a process id or a server's address, not a file's name. */
bool cmd_is_server(const char *word);

/* Find a server by PID, URL or unix:PATH. The token for a URL comes from OAKUM_DEBUG_TOKEN. Returns
 * false after a message on stderr. If command is NULL, a process id fails without one. */
bool cmd_server_find(const char *command, const char *where, cmd_server *out);

/* Connect to a Unix socket at which the process pid listens; 0: any process. Returns a descriptor,
 * or -1 with errno. */
int cmd_socket_connect(const char *path, pid_t pid, int64_t deadline);

/* ---- server.c ---- */

/* The monotonic clock, in milliseconds: for deadlines. */
int64_t cmd_now_ms(void);

typedef struct cmd_reply {
    int status;
    char *body; /* with a NUL; the caller frees it */
    size_t n;
} cmd_reply;

/* Send one GET request. timeout_s bounds the whole exchange. Returns false, after a message on
 * stderr, if there is no answer with status 200. */
bool cmd_server_get(const char *command, const cmd_server *s, const char *path, unsigned timeout_s,
                    cmd_reply *out);

/* Send one GET request, and print the answer's body, cleaned, to stdout. Returns an exit status. */
int cmd_server_print(const char *command, const char *where, const char *path, unsigned timeout_s);

/* `oakum why` and `oakum diff` for a running program. */
int cmd_why_live(const char *where, const char *address, bool json);
int cmd_diff_live(const char *where, unsigned count, unsigned seconds);

/* Read the arguments of a command for one program, given by PID or URL. If *help is set, the
 * program may be missing. Returns false after a message on stderr. */
bool cmd_live_args(cmd_args *args, bool (*take)(void *ctx, int option, const char *value),
                   void *ctx, const bool *help, const char **where);

#define CMD_SECONDS_MOST 600 /* the longest time that a request can make a server wait */

/* ---- jsonread.c ---- */

typedef enum cmd_json_kind {
    CMD_JSON_NULL,
    CMD_JSON_BOOL,
    CMD_JSON_NUMBER,
    CMD_JSON_STRING,
    CMD_JSON_ARRAY,
    CMD_JSON_OBJECT
} cmd_json_kind;

typedef struct cmd_json {
    cmd_json_kind kind;
    double number;       /* of a number; 1 for true */
    char *string;        /* of a string; '?' for escapes of invisible or non-ASCII characters */
    char *key;           /* of a member of an object */
    struct cmd_json *first, *next; /* first element or member of this; next sibling */
} cmd_json;

/* Read a text that is one value. Returns NULL if it is not, or memory is short. */
cmd_json *cmd_json_read(const char *text);
void cmd_json_free(cmd_json *v);

/* The member at a path of keys, such as "memory.heap_alloc"; NULL if there is none. */
const cmd_json *cmd_json_at(const cmd_json *v, const char *path);
/* The number of this member, or 0; its string, or ""; the number of its elements, or 0. */
double cmd_json_number(const cmd_json *v, const char *path);
const char *cmd_json_text(const cmd_json *v, const char *path);
size_t cmd_json_count(const cmd_json *v, const char *path);

/* ---- topview.c ---- */

typedef struct cmd_view {
    FILE *out;
    unsigned columns, rows; /* rows 0: no limit */
    bool color, erase;      /* erase: draw over the previous page */
} cmd_view;

/* Print the server's state, as a page or as a line below a heading. `before` is the previous state,
 * for rates; or NULL. */
void cmd_view_page(const cmd_view *v, const cmd_server *s, const cmd_json *now,
                   const cmd_json *before);
void cmd_view_heading(FILE *out);
void cmd_view_line(FILE *out, const cmd_json *now, const cmd_json *before);

#endif
