/* witness.c - preloaded into each program of check-guests, to say which malloc it has: appends a
 * line with its process id, its name and the library of that malloc to the file that
 * CHECK_GUESTS_WITNESS names. It runs before main, once the loader has bound all names, and
 * allocates nothing. */
#include <dlfcn.h>
#include <fcntl.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LINE 1024

/* The malloc that the program calls. In a program that isn't position-independent and takes its
 * address, the symbol's value is an entry of the program's PLT, and its section undefined. */
static void *bound_malloc(void)
{
    const ElfW(Sym) *symbol = NULL;
    Dl_info info;
    void *found = dlsym(RTLD_DEFAULT, "malloc");
    if (!found || !dladdr1(found, &info, (void **)&symbol, RTLD_DL_SYMENT)) return found;
    return symbol && symbol->st_shndx == SHN_UNDEF ? dlsym(RTLD_NEXT, "malloc") : found;
}

/* A line is one write, so that those of several processes do not mix. */
__attribute__((constructor)) static void witness(void)
{
    char line[3 * LINE], exe[LINE];
    const char *file = getenv("CHECK_GUESTS_WITNESS");
    void *found = bound_malloc();
    Dl_info info = { .dli_fname = "none" };
    ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - 1);
    exe[n > 0 ? n : 0] = '\0';
    char *slash = strrchr(exe, '/');
    if (found) dladdr(found, &info);
    int fd = file ? open(file, O_WRONLY | O_APPEND | O_CLOEXEC) : -1;
    int length = snprintf(line, sizeof line, "%d %s %s\n", (int)getpid(), slash ? slash + 1 : exe,
                          info.dli_fname);
    if (fd < 0) return;
    if (length < 0 || write(fd, line, (size_t)length) != length) abort();
    close(fd);
}
