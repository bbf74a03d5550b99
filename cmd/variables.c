/* variables.c - the environment variables that Oakum reads, and what a process has of them.
 *
 * The names of options come from the table OAK_OPTIONS. `oakum run` sets OAKUM_MALLOC_*; any of
 * these is taken for known. */
#include "doctor.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define PREFIX "OAKUM_"
#define OF_RUN "MALLOC_"
#define UNKNOWN_MOST 4 /* findings */

static const char *const fields[] = {
#define FIELD(field, type, def, min, max, help) #field,
    OAK_OPTIONS(FIELD)
#undef FIELD
    "pointer_tags", "profile",     "gc_log", "detector",
    "debug_serve",  "debug_token", "host",   "debug",
};

void cmd_variable_name(char *out, size_t n, const char *field)
{
    size_t at = (size_t)snprintf(out, n, PREFIX);

    for (; *field != '\0' && at + 1 < n; field++) out[at++] = (char)toupper((unsigned char)*field);
    out[at] = '\0';
    if (at > 3 && (strcmp(out + at - 3, "_US") == 0 || strcmp(out + at - 3, "_MS") == 0))
        out[at - 3] = '\0'; /* the unit */
}

/* The i-th name behind the prefix; NULL at the end. */
static const char *candidate(size_t i, const void *ctx)
{
    static char names[sizeof(fields) / sizeof(fields[0])][64];

    (void)ctx;
    if (i == sizeof(fields) / sizeof(fields[0])) return NULL;
    cmd_variable_name(names[i], sizeof(names[i]), fields[i]);
    return names[i] + sizeof(PREFIX) - 1;
}

/* name: without the prefix */
static bool is_known(const char *name)
{
    const char *c;

    if (strncmp(name, OF_RUN, sizeof(OF_RUN) - 1) == 0) return true;
    for (size_t i = 0; (c = candidate(i, NULL)) != NULL; i++)
        if (strcmp(name, c) == 0) return true;
    return false;
}

static void find_unknown(cmd_findings *to, const char *name)
{
    static const char why[] = "It has no effect: Oakum reads no variable of this name.";
    const char *near = cmd_closest(name, candidate, NULL);

    if (near != NULL)
        cmd_find(to, CMD_WARN, "environment", why, "Correct the name.",
                 PREFIX "%.64s is set; did you mean " PREFIX "%s?", name, near);
    else
        cmd_find(to, CMD_WARN, "environment", why, "docs/options.md has all names.",
                 PREFIX "%.64s is set.", name);
}

void cmd_doctor_environment(cmd_findings *to, const char *root, const char *process)
{
    char path[4096];
    size_t n = 0, set = 0, unknown = 0;
    char *text;

    snprintf(path, sizeof(path), "%s/proc/%s/environ", root, process);
    text = cmd_read_file(path, &n);
    if (text == NULL) return;
    for (char *at = text; at < text + n; at += strlen(at) + 1) {
        char *end = strchr(at, '=');

        if (strncmp(at, PREFIX, sizeof(PREFIX) - 1) != 0 || end == NULL) continue;
        *end = '\0';
        if (is_known(at + sizeof(PREFIX) - 1))
            set++;
        else if (unknown++ < UNKNOWN_MOST)
            find_unknown(to, at + sizeof(PREFIX) - 1);
        *end = '=';
    }
    free(text);
    if (unknown == 0)
        cmd_find(to, CMD_FINE, "environment", "Each is read once, as the process starts.", NULL,
                 "%zu variable%s of Oakum's %s set.", set, set == 1 ? "" : "s",
                 set == 1 ? "is" : "are");
}
