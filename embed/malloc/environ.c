/* environ.c - what `oakum run` has put into the environment is taken out again, so that programs
 * which this one executes don't know.
 *
 * The kernel's auxiliary vector begins behind the NULL at the environment's end, and programs that
 * don't ask libc for it look there: Go's runtime does. The list of variables gets shorter, so a
 * copy of the vector goes behind its new end. The room for that is what was taken out: `oakum run`
 * sees to it that this is enough (cmd/run.c). The vector itself stays where it was, as libc and the
 * loader have its address.
 *
 * Owns nothing. Lock: none: before main, by the thread that starts the program. */
#include "preload.h"
#include <link.h>
#include <string.h>
#include <unistd.h>

#define PREFIX "OAKUM_MALLOC_"
#define PRELOAD "LD_PRELOAD"

/* Take one name out of a list with colons or blanks. */
static void take_out(char *list, const char *name)
{
    size_t n = strlen(name);
    for (char *at = list; (at = strstr(at, name)) != NULL; at += n) {
        bool begins = at == list || at[-1] == ':' || at[-1] == ' ';
        if (!begins || (at[n] && at[n] != ':' && at[n] != ' ')) continue;
        char *from = at[n] ? at + n + 1 : at + n;
        memmove(at, from, strlen(from) + 1);
        size_t left = strlen(list);
        if (!*at && left > 0) list[left - 1] = '\0';
        return;
    }
}

static bool begins(const char *s, const char *with)
{
    return strncmp(s, with, strlen(with)) == 0;
}

/* Returns where the list ends then. */
static char **shorten(char **list)
{
    char **to = list;
    for (char **e = list; *e; e++)
        if (!begins(*e, PREFIX) && strcmp(*e, PRELOAD "=") != 0) *to++ = *e;
    *to = NULL;
    return to;
}

static void copy_vector(char **to, char **to_end, const ElfW(auxv_t) * vector)
{
    size_t n = 1;
    while (vector[n - 1].a_type != AT_NULL) n++;
    size_t room = (size_t)((char *)to_end - (char *)to);
    if (n * sizeof *vector <= room) memcpy(to, vector, n * sizeof *vector);
}

/* A library's constructor may have made another list of the same strings. */
void oaki_environ_forget(char **first)
{
    char *preload = getenv(PRELOAD);
    const char *library = getenv(PREFIX "LIBRARY");
    char **end = first;
    while (*end) end++;
    const ElfW(auxv_t) *vector = (const ElfW(auxv_t) *)(end + 1);
    if (preload && library) take_out(preload, library);
    if (environ != first) (void)shorten(environ);
    copy_vector(shorten(first) + 1, end + 1, vector);
}
