/* term.c - the abilities of the terminal: colour and width. */
#include "cmd.h"

#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define COLUMNS_LEAST 80
#define COLUMNS_MOST 160
#define COLUMNS_UNKNOWN 132

bool cmd_color_parse(const char *when, cmd_color *out)
{
    static const char *const names[] = { "auto", "always", "never" };

    for (int i = 0; i < 3; i++) {
        if (strcmp(when, names[i]) == 0) {
            *out = (cmd_color)i;
            return true;
        }
    }
    return false;
}

bool cmd_color_wanted(cmd_color when)
{
    const char *no_color = getenv("NO_COLOR"), *term = getenv("TERM");

    if (when != CMD_COLOR_AUTO) return when == CMD_COLOR_ALWAYS;
    if (no_color != NULL && no_color[0] != '\0') return false;
    return term != NULL && strcmp(term, "dumb") != 0 && isatty(STDOUT_FILENO);
}

unsigned cmd_columns(void)
{
    const char *columns = getenv("COLUMNS");
    struct winsize size;
    long n = 0;

    if (isatty(STDOUT_FILENO) && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0) n = size.ws_col;
    if (n <= 0 && columns != NULL) n = strtol(columns, NULL, 10);
    if (n <= 0) n = COLUMNS_UNKNOWN;
    return (unsigned)(n < COLUMNS_LEAST ? COLUMNS_LEAST : n > COLUMNS_MOST ? COLUMNS_MOST : n);
}
