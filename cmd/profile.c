/* profile.c - `oakum profile`: the heap profile of a running program; and the commands that ask a
 * running program what they else ask a snapshot. */
#include "live.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define WAIT_S 90 /* for an answer, beside what it is asked to wait */

enum { OPT_OUTPUT, OPT_ALLOCS, OPT_SECONDS, OPT_COUNT, OPT_HELP };

static const cmd_option options[] = {
    [OPT_OUTPUT] = { "output", 'o', "FILE", "save it in pprof's format; - is standard output" },
    [OPT_ALLOCS] = { "allocs", 0, NULL, "by what was allocated, not by what is in use" },
    [OPT_SECONDS] = { "seconds", 0, "N", "what changes in that time, 1 to 600" },
    [OPT_COUNT] = { "count", 0, "N", "so many sites, 20 unless said otherwise" },
    [OPT_HELP] = { "help", 'h', NULL, "print this" },
    { NULL, 0, NULL, NULL },
};

typedef struct request {
    const char *where, *output;
    bool allocs, help;
    unsigned seconds, count;
} request;

static bool parse_number(const char *command, const char *what, unsigned most, const char *text,
                         unsigned *out)
{
    char *end;
    unsigned long n = strtoul(text, &end, 10);

    if (text[0] >= '0' && text[0] <= '9' && *end == '\0' && n >= 1 && n <= most) {
        *out = (unsigned)n;
        return true;
    }
    fprintf(stderr, "%s: %s takes a number from 1 to %u, not '%s'\n", command, what, most, text);
    return false;
}

bool cmd_parse_seconds(const char *command, const char *text, unsigned *out)
{
    const char *what = strcmp(command, "oakum top") == 0 ? "--interval" : "--seconds";

    return parse_number(command, what, 600, text, out);
}

static bool take_option(request *r, int option, const char *value)
{
    if (option == OPT_OUTPUT) r->output = value;
    if (option == OPT_ALLOCS) r->allocs = true;
    if (option == OPT_HELP) r->help = true;
    if (option == OPT_SECONDS) return cmd_parse_seconds("oakum profile", value, &r->seconds);
    if (option != OPT_COUNT) return true;
    return parse_number("oakum profile", "--count", 4096, value, &r->count);
}

static bool parse(request *r, int argc, char **argv)
{
    cmd_args args = { "oakum profile", options, argc, 1, argv, false };
    const char *text;
    int which, names = 0;

    while ((which = cmd_args_next(&args, &text)) != CMD_ARG_END) {
        if (which == CMD_ARG_BAD) return false;
        if (which == CMD_ARG_NAME && names++ == 0) r->where = text;
        if (which >= 0 && !take_option(r, which, text)) return false;
    }
    if (names == 1 || r->help) return true;
    fputs("oakum profile: wants a process id or the server's address\n", stderr);
    return false;
}

static void help(void)
{
    fputs("usage: oakum profile [OPTION...] PID|URL\n"
          "Print the heap profile of a running program, the largest sites first, or save it for "
          "'go tool pprof'.\n\n",
          stdout);
    cmd_options_print(options);
    fputs("\nThe program needs a debug server (OAKUM_DEBUG_SERVE=127.0.0.1:0) and a profile "
          "(OAKUM_PROFILE_RATE=512K).\n",
          stdout);
}

/* ---- saving ---- */

static bool write_all(int fd, const char *p, size_t n)
{
    while (n > 0) {
        ssize_t put = write(fd, p, n);

        if (put < 0 && errno == EINTR) continue;
        if (put <= 0) return false;
        p += put;
        n -= (size_t)put;
    }
    return true;
}

/* Whole, or not at all: by another name first. What is no regular file is written to. */
static bool save(const char *path, const cmd_reply *reply)
{
    struct stat s;
    bool direct = stat(path, &s) == 0 && !S_ISREG(s.st_mode), saved;
    size_t room = strlen(path) + 32;
    char *name = malloc(room);
    int fd;

    if (name == NULL) return false;
    snprintf(name, room, direct ? "%s" : "%s.%d.new", path, (int)getpid());
    fd = open(name, direct ? O_WRONLY | O_CLOEXEC : O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    saved = fd >= 0 && write_all(fd, reply->body, reply->n);
    if (fd >= 0 && close(fd) != 0) saved = false;
    if (saved && !direct) saved = rename(name, path) == 0;
    if (!saved && !direct && fd >= 0) {
        int error = errno;

        unlink(name);
        errno = error;
    }
    free(name);
    return saved;
}

static int put_out(const request *r, const cmd_reply *reply)
{
    if (r->output == NULL || strcmp(r->output, "-") == 0) {
        fwrite(reply->body, 1, reply->n, stdout);
        return CMD_OK;
    }
    if (save(r->output, reply)) return CMD_OK;
    fprintf(stderr, "oakum profile: %s: %s\n", r->output, strerror(errno));
    return CMD_FAILED;
}

int cmd_profile(int argc, char **argv)
{
    request r = { .count = 20 };
    cmd_server s;
    cmd_reply reply;
    char path[128], seconds[32] = "", text[32] = "";
    int status;

    if (!parse(&r, argc, argv)) return CMD_USAGE;
    if (r.help) {
        help();
        return CMD_OK;
    }
    if (r.seconds != 0) snprintf(seconds, sizeof(seconds), "seconds=%u&", r.seconds);
    if (r.output == NULL) snprintf(text, sizeof(text), "debug=1&n=%u", r.count);
    snprintf(path, sizeof(path), "/debug/pprof/%s?%s%s", r.allocs ? "allocs" : "heap", seconds,
             text);
    if (!cmd_server_find("oakum profile", r.where, &s)) return CMD_FAILED;
    if (!cmd_server_get("oakum profile", &s, path, WAIT_S + r.seconds, &reply)) return CMD_FAILED;
    status = put_out(&r, &reply);
    free(reply.body);
    return status;
}

/* ---- why and diff ---- */

/* The address is of hexadecimal digits; or it is "site=" and a number. */
int cmd_why_live(const char *where, const char *address, bool json)
{
    char path[128];
    bool site = strncmp(address, "site=", 5) == 0;
    const char *digits = site ? address + 5 : address;
    bool prefixed = !site && digits[0] == '0' && (digits[1] == 'x' || digits[1] == 'X');

    digits += prefixed ? 2 : 0;
    if (digits[0] == '\0' || strlen(digits) > 16 ||
        digits[strspn(digits, site ? "0123456789" : "0123456789abcdefABCDEF")] != '\0') {
        fprintf(stderr, "oakum why: '%s' is no address, nor as site=4\n", address);
        return CMD_USAGE;
    }
    snprintf(path, sizeof(path), "/debug/why?%s%s%s", site ? "site=" : "addr=0x", digits,
             json ? "&text=0" : "&text=1");
    return cmd_server_print("oakum why", where, path, WAIT_S);
}

int cmd_diff_live(const char *where, unsigned seconds)
{
    char path[128];

    snprintf(path, sizeof(path), "/debug/pprof/profile-diff?debug=1&n=20&seconds=%u", seconds);
    return cmd_server_print("oakum diff", where, path, WAIT_S + seconds);
}
