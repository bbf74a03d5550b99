/* environ.c - removes the variables of `oakum run` from the environment, so that programs which
 * this one executes don't get them.
 *
 * The kernel's auxiliary vector begins after the NULL at the environment's end. Some programs read
 * it there instead of asking libc, as Go's runtime does. As the list of variables gets shorter, a
 * copy of the vector is written after its new end. The removed entries make room for the copy;
 * `oakum run` adds enough of them (cmd/run.c). The vector itself stays, as libc and the loader have
 * its address.
 *
 * Owns nothing. Lock: none: runs before main, on the thread that starts the program. */
#include "preload.h"
#include <link.h>
#include <string.h>
#include <unistd.h>

#define PREFIX "OAKUM_MALLOC_"
#define PRELOAD "LD_PRELOAD"

/* Remove one name from a list that is separated by colons or blanks. */
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

/* Remove the variables from a list. Returns the list's new end. */
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

/* `environ` may be another list of the same strings, made by a library's constructor. */
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
