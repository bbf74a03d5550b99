/* top.c - `oakum top`: shows the state of a running program's heap at regular intervals. */
#include "live.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define WAIT_S 15 /* the longest time for an answer */
#define COUNT_MOST 1000000000ul

enum { OPT_ONCE, OPT_COUNT, OPT_INTERVAL, OPT_JSON, OPT_COLOR, OPT_HELP };

static const cmd_option options[] = {
    [OPT_ONCE] = { "once", 0, NULL, "print one page and end" },
    [OPT_COUNT] = { "count", 0, "N", "end after N pages or lines" },
    [OPT_INTERVAL] = { "interval", 0, "SECONDS", "time between two readings, 1 to 600 (2)" },
    [OPT_JSON] = { "json", 0, NULL, "print JSON, a line for each reading" },
    [OPT_COLOR] = { "color", 0, "WHEN", "auto (the default), always or never" },
    [OPT_HELP] = { "help", 'h', NULL, "print this" },
    { NULL, 0, NULL, NULL },
};

typedef struct request {
    const char *where;
    bool once, json, help;
    unsigned count, interval; /* count 0: for ever */
    cmd_color color;
} request;

static bool take(void *ctx, int option, const char *value)
{
    request *r = ctx;

    if (option == OPT_ONCE) r->once = true;
    if (option == OPT_JSON) r->json = true;
    if (option == OPT_HELP) r->help = true;
    if (option == OPT_COUNT)
        return cmd_parse_number("oakum top", "count", COUNT_MOST, value, &r->count);
    if (option == OPT_INTERVAL)
        return cmd_parse_number("oakum top", "interval", CMD_SECONDS_MOST, value, &r->interval);
    if (option != OPT_COLOR || cmd_color_parse(value, &r->color)) return true;
    cmd_say(stderr, "oakum top: --color takes auto, always or never, not '%s'\n", value);
    return false;
}

static void help(void)
{
    fputs("usage: oakum top [OPTION...] PID|URL\n"
          "Show what the heap of a running program does: a page that is drawn anew on a\n"
          "terminal, a line each time elsewhere.\n\n",
          stdout);
    cmd_options_print(options);
    fputs("\nThe program needs a debug server: OAKUM_DEBUG_SERVE=1 in its environment.\n",
          stdout);
}

/* ---- output ---- */

typedef struct screen {
    const request *r;
    cmd_server server;
    cmd_view view;
    bool lines;
    unsigned shown;
} screen;

static void set_up(screen *s)
{
    struct winsize size = { 0 };
    const char *term = getenv("TERM");
    bool terminal = isatty(STDOUT_FILENO) && term != NULL && strcmp(term, "dumb") != 0;

    s->lines = !s->r->once && !terminal;
    s->view = (cmd_view){ .out = stdout, .columns = 1000, .color = cmd_color_wanted(s->r->color) };
    if (!terminal || s->r->once) return;
    s->view.erase = true;
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) {
        s->view.columns = size.ws_col;
        s->view.rows = size.ws_row;
    }
}

static void show(screen *s, const char *text, const cmd_json *now, const cmd_json *before)
{
    set_up(s);
    if (s->r->json) {
        printf("%s\n", text);
        fflush(stdout);
    } else if (s->lines) {
        if (s->shown % 20 == 0) cmd_view_heading(stdout);
        cmd_view_line(stdout, now, before);
    } else {
        if (s->view.erase && s->shown == 0) fputs("\033[2J", stdout);
        cmd_view_page(&s->view, &s->server, now, before);
    }
    s->shown++;
}

/* Get the server's state; *text gets its JSON, cleaned, which the caller frees. Returns NULL, after
 * a message, if there is no valid answer. */
static cmd_json *ask(const screen *s, char **text)
{
    cmd_reply reply;
    cmd_json *v;

    if (!cmd_server_get("oakum top", &s->server, "/debug/state", WAIT_S, &reply)) return NULL;
    reply.body[strcspn(reply.body, "\n")] = '\0';
    v = cmd_json_read(reply.body);
    if (v == NULL || cmd_json_at(v, "memory.heap_alloc") == NULL) {
        fputs("oakum top: what answers there is no debug server of Oakum's; a program that is "
              "started with OAKUM_DEBUG_SERVE=1 has one\n",
              stderr);
    } else {
        cmd_clean(reply.body, strlen(reply.body), "\t");
        *text = reply.body;
        return v;
    }
    cmd_json_free(v);
    free(reply.body);
    return NULL;
}

/* A program whose page was shown may end at any time. */
static bool has_ended(const screen *s)
{
    if (s->server.pid == 0 || kill(s->server.pid, 0) == 0 || errno != ESRCH) return false;
    fprintf(stderr, "oakum top: process %d has ended; 'ps -e' lists those that run\n",
            (int)s->server.pid);
    return true;
}

static int top(const request *r)
{
    screen s = { .r = r };
    cmd_json *before = NULL, *now;
    char *text;

    if (!cmd_server_find("oakum top", r->where, &s.server)) return CMD_FAILED;
    for (;;) {
        now = before != NULL && has_ended(&s) ? NULL : ask(&s, &text);
        if (now == NULL) break;
        show(&s, text, now, before);
        free(text);
        cmd_json_free(before);
        before = now;
        if (r->once || s.shown == r->count || ferror(stdout)) break;
        nanosleep(&(struct timespec){ (time_t)r->interval, 0 }, NULL);
    }
    cmd_json_free(before);
    return now != NULL ? CMD_OK : CMD_FAILED;
}

int cmd_top(int argc, char **argv)
{
    request r = { .interval = 2, .color = CMD_COLOR_AUTO };
    cmd_args args = { "oakum top", options, argc, 1, argv, false };

    if (!cmd_live_args(&args, take, &r, &r.help, &r.where)) return CMD_USAGE;
    if (r.help) {
        help();
        return CMD_OK;
    }
    return top(&r);
}
