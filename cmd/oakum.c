/* oakum.c - the main function of the oakum command: runs the subcommand, and checks that all output
 * is written. */
#include "cmd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int cmd_help(int argc, char **argv);
static int cmd_version(int argc, char **argv);

typedef struct command {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *help;
} command;

static const command commands[] = {
    { "leaks", cmd_leaks, "run the leak scenarios and show what each retains" },
    { "run", cmd_run, "run a program on Oakum's malloc: leaks, profiles, growth" },
    { "snapshot", cmd_snapshot, "show what is in a snapshot, what retains most, or convert it" },
    { "top", cmd_top, "show what the heap of a running program does" },
    { "profile", cmd_profile, "print or save the heap profile of a running program" },
    { "trace", cmd_trace, "record what a running program does for some seconds, for Perfetto" },
    { "why", cmd_why, "show what keeps an object of a program or of a snapshot alive" },
    { "diff", cmd_diff, "show what changes in a program, or from one snapshot to another" },
    { "doctor", cmd_doctor, "show what this machine or a process allows, and what to change" },
    { "info", cmd_info, "show the version, the heap's place and every option" },
    { "version", cmd_version, "print the version" },
    { "help", cmd_help, "print this, or a command's own help" },
};

#define COMMANDS (sizeof(commands) / sizeof(commands[0]))

static const char *command_name(size_t i, const void *ctx)
{
    (void)ctx;
    return i < COMMANDS ? commands[i].name : NULL;
}

static const command *find(const char *name)
{
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0)
        name = "help";
    else if (strcmp(name, "--version") == 0 || strcmp(name, "-V") == 0)
        name = "version";
    for (size_t i = 0; i < COMMANDS; i++)
        if (strcmp(commands[i].name, name) == 0) return &commands[i];
    return NULL;
}

static void usage(FILE *out)
{
    fputs("usage: oakum COMMAND [OPTION...] [ARGUMENT...]\n\n", out);
    for (size_t i = 0; i < COMMANDS; i++)
        fprintf(out, "  %-9s %s\n", commands[i].name, commands[i].help);
    fputs("\n'oakum COMMAND --help' tells more.\n", out);
}

static const char *option_name(size_t i, const void *ctx)
{
    static const char *const names[] = { "help", "version", NULL };

    (void)ctx;
    return names[i];
}

static int unknown(const char *name)
{
    bool option = strncmp(name, "--", 2) == 0;

    if (option)
        cmd_tell_unknown("oakum", "option", "--", name + 2, "--help", option_name, NULL);
    else
        cmd_tell_unknown("oakum", name[0] == '-' ? "option" : "command", "", name, "--help",
                         command_name, NULL);
    return CMD_USAGE;
}

static int cmd_help(int argc, char **argv)
{
    static char help_option[] = "--help";
    const command *c = argc > 1 && argv[1][0] != '-' ? find(argv[1]) : NULL;

    if (argc > 1 && argv[1][0] != '-' && c == NULL) return unknown(argv[1]);
    if (c == NULL || c->run == cmd_help) {
        usage(stdout);
        return CMD_OK;
    }
    return c->run(2, (char *[]){ argv[1], help_option, NULL });
}

static int cmd_version(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "--help") != 0 && strcmp(argv[1], "-h") != 0) {
        cmd_say(stderr, "oakum version: takes no arguments, got '%s'; leave it out\n", argv[1]);
        return CMD_USAGE;
    }
    printf(argc > 1 ? "usage: oakum version\nPrint the version, %s.\n" : "oakum %s\n",
           oak_version());
    return CMD_OK;
}

/* A full disk is reported. A closed pipe is not, as its reader wanted no more. */
static int close_output(int status)
{
    if (fflush(stdout) == 0 && !ferror(stdout)) return status;
    if (errno != EPIPE)
        fprintf(stderr, "oakum: cannot write the output: %s; %s\n", strerror(errno),
                cmd_remedy(errno));
    return CMD_FAILED;
}

/* What the user has exported for programs is not for the command, which would write over a
 * program's profile, or start a server. `oakum run` passes it on; `oakum leaks` runs scenarios. */
static void forget_variables(const command *c)
{
    static const char *const names[] = { "OAKUM_PROFILE", "OAKUM_DEBUG_SERVE", "OAKUM_DETECTOR",
                                         "OAKUM_GC_LOG" };

    if (c->run == cmd_run || c->run == cmd_leaks) return;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) unsetenv(names[i]);
}

/* A file that is opened must not become standard output because that is closed. What holds the
 * place is opened the wrong way round, so that its use is still an error. A program that is run
 * does not get it. */
static void hold_closed(void)
{
    static const int modes[] = { O_WRONLY, O_RDONLY, O_RDONLY };

    for (int fd = 0; fd < 3; fd++) {
        if (fcntl(fd, F_GETFD) >= 0 || errno != EBADF) continue;
        if (open("/dev/null", modes[fd] | O_CLOEXEC) == fd) continue;
        fprintf(stderr, "oakum: /dev/null: %s\n", strerror(errno));
        _exit(CMD_FAILED);
    }
}

int main(int argc, char **argv)
{
    const command *c;

    hold_closed();
    if (argc < 2) {
        usage(stderr);
        return CMD_USAGE;
    }
    c = find(argv[1]);
    if (c == NULL) return unknown(argv[1]);
    forget_variables(c);
    return close_output(c->run(argc - 1, argv + 1));
}
