/* environ - a program that finds the kernel's auxiliary vector by itself, behind its environment:
 * environ [NAME...]. It must be what libc and the kernel say, and none of these variables there.
 * environ --cleared: libc has no variables at all. */
#include <elf.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

static int wrong(const char *what)
{
    printf("%s\n", what);
    return 1;
}

static const ElfW(auxv_t) * behind(char **list)
{
    while (*list) list++;
    return (const ElfW(auxv_t) *)(list + 1);
}

/* To the kernel's own record of it. */
static int compare(const ElfW(auxv_t) * a)
{
    ElfW(auxv_t) kernels[64];
    FILE *f = fopen("/proc/self/auxv", "r");
    size_t n = f ? fread(kernels, sizeof *kernels, 64, f) : 0;
    if (f) fclose(f);
    if (n == 0) return wrong("the kernel does not tell");
    for (size_t i = 0; i < n; i++) {
        if (a[i].a_type != kernels[i].a_type || a[i].a_un.a_val != kernels[i].a_un.a_val)
            return wrong("a pair is another one");
        if (a[i].a_type == AT_RANDOM && getauxval(AT_RANDOM) != a[i].a_un.a_val)
            return wrong("libc's is another one");
    }
    return 0;
}

static int has(char **list, const char *name)
{
    size_t n = strlen(name);
    for (; *list; list++)
        if (strncmp(*list, name, n) == 0) return 1;
    return 0;
}

int main(int argc, char **argv, char **envp)
{
    char **kernels = argv + argc + 1;
    if (argc == 2 && strcmp(argv[1], "--cleared") == 0)
        return environ ? wrong("some came back") : 0;
    for (int i = 1; i < argc; i++)
        if (has(environ, argv[i]) || has(kernels, argv[i])) return wrong(argv[i]);
    if (!has(environ, "OAKUM_KEPT=1") || !getenv("OAKUM_KEPT")) return wrong("one has gone");
    if (envp == kernels && compare(behind(envp))) return 1;
    return compare(behind(kernels));
}
