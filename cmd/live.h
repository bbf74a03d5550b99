/* live.h - what the commands share that speak to a running program's debug server. */
#ifndef CMD_LIVE_H
#define CMD_LIVE_H

#include "cmd.h"
#include <stdint.h>
#include <sys/types.h>

/* ---- find.c ---- */

#define CMD_PATH 640

typedef struct cmd_server {
    char host[256], port[8], token[256];
    char path[CMD_PATH]; /* of a Unix socket; empty: it is on TCP */
    pid_t pid;           /* which must listen there, or 0: any */
} cmd_server;

/* A process id or the beginning of an address, and not a file's name? */
bool cmd_is_server(const char *word);

/* PID, URL or unix:PATH. The token of a URL is OAKUM_DEBUG_TOKEN's. false when it has been told on
 * stderr what is wrong. */
bool cmd_server_find(const char *command, const char *where, cmd_server *out);

/* A connection to the process's socket, or -1 with errno. pid 0: whoever listens. */
int cmd_socket_connect(const char *path, pid_t pid, int64_t deadline);

/* ---- server.c ---- */

int64_t cmd_now_ms(void);

typedef struct cmd_reply {
    int status;
    char *body; /* with a NUL; to be freed */
    size_t n;
} cmd_reply;

/* One GET, within this time, however slowly the answer comes. false when there is no answer of 200,
 * and that has been told on stderr. */
bool cmd_server_get(const char *command, const cmd_server *s, const char *path, unsigned timeout_s,
                    cmd_reply *out);

/* The same, and the body goes to stdout. A command's status. */
int cmd_server_print(const char *command, const char *where, const char *path, unsigned timeout_s);

/* `oakum why` and `oakum diff` of a running program. */
int cmd_why_live(const char *where, const char *address, bool json);
int cmd_diff_live(const char *where, unsigned seconds);

/* The arguments of a command that wants one program, PID or URL; false when it has been told on
 * stderr what is wrong. With *help there need not be one. */
bool cmd_live_args(cmd_args *args, bool (*take)(void *ctx, int option, const char *value),
                   void *ctx, const bool *help, const char **where);

#define CMD_SECONDS_MOST 600 /* that a server can be asked to wait */

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
    char *string;        /* escapes that are no visible character of ASCII are '?' */
    char *key;           /* in an object */
    struct cmd_json *first, *next; /* elements, members; and the next one */
} cmd_json;

/* A value and nothing else; NULL when it is none, or memory is short. */
cmd_json *cmd_json_read(const char *text);
void cmd_json_free(cmd_json *v);

/* A member, through several objects: "memory.heap_alloc". NULL when there is none. */
const cmd_json *cmd_json_at(const cmd_json *v, const char *path);
/* Its number, or 0; its string, or "". */
double cmd_json_number(const cmd_json *v, const char *path);
const char *cmd_json_text(const cmd_json *v, const char *path);
size_t cmd_json_count(const cmd_json *v, const char *path);

/* ---- topview.c ---- */

typedef struct cmd_view {
    FILE *out;
    unsigned columns, rows; /* rows 0: as many as it takes */
    bool color, erase;      /* erase: it is drawn over the one before */
} cmd_view;

/* The state of the server, and the one before it or NULL, as a page; and as a line, below a
 * heading. */
void cmd_view_page(const cmd_view *v, const cmd_server *s, const cmd_json *now,
                   const cmd_json *before);
void cmd_view_heading(FILE *out);
void cmd_view_line(FILE *out, const cmd_json *now, const cmd_json *before);

#endif
