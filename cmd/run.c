/* run.c - `oakum run`: runs a program whose malloc is Oakum's.
 *
 * The library (embed/malloc/) is appended to LD_PRELOAD, and its options go into the environment.
 * Then exec replaces this process by the program, which keeps the process id and returns its own
 * status. The loader silently ignores a library that it can't preload. So programs that can't
 * preload it are rejected first.
 *
 * Exit status: 127: there is no such program. 126: the program can't be run with the library. */
#include "cmd.h"
#include "observe/suppress.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

enum { RUN_CANNOT = 126, RUN_NOT_FOUND = 127 };

enum {
    OPT_LEAKS,
    OPT_COLLECT,
    OPT_CHECK,
    OPT_PROFILE,
    OPT_GROWTH,
    OPT_SERVE,
    OPT_SIGNAL,
    OPT_LOG,
    OPT_CHILDREN,
    OPT_STATUS,
    OPT_FRAMES,
    OPT_POSSIBLE,
    OPT_ALL,
    OPT_QUIET,
    OPT_SUPPRESSIONS,
    OPT_GENERATE,
    OPT_JSON,
    OPT_JUNIT,
    OPT_VERBOSE,
    OPT_HELP
};

static const cmd_option options[] = {
    [OPT_LEAKS] = { "leaks", 'l', NULL, "report lost blocks at the end: those without references" },
    [OPT_COLLECT] = { "collect", 0, NULL, "free lost blocks" },
    [OPT_CHECK] = { "check", 0, "[HOW]", "end at a write outside of a block, or to a free one" },
    [OPT_PROFILE] = { "profile", 0, "[FILE]", "save a heap profile for pprof, on the signal too" },
    [OPT_GROWTH] = { "growth", 0, "SECONDS", "look for growing sites at this interval" },
    [OPT_SERVE] = { "serve", 0, "[ADDRESS]", "a debug server for 'oakum top', on TCP too" },
    [OPT_SIGNAL] = { "signal", 0, "SIGNAL", "report lost blocks at this signal, too" },
    [OPT_LOG] = { "log", 0, "FILE", "write reports to FILE; %p is the process id" },
    [OPT_CHILDREN] = { "children", 0, "WHICH", "follow: child processes report, too; or no" },
    [OPT_STATUS] = { "error-exitcode", 0, "N", "status of a program that leaks, or has errors" },
    [OPT_FRAMES] = { "frames", 0, "N", "frames of a stack to show and to compare (12)" },
    [OPT_POSSIBLE] = { "possible", 0, NULL, "list possibly lost blocks" },
    [OPT_ALL] = { "all", 0, NULL, "list reachable blocks, too" },
    [OPT_QUIET] = { "quiet", 'q', NULL, "print nothing if nothing is lost" },
    [OPT_SUPPRESSIONS] = { "suppressions", 0, "FILE", "don't report what memcheck's FILE names" },
    [OPT_GENERATE] = { "gen-suppressions", 0, "FILE", "write suppressions of what is reported" },
    [OPT_JSON] = { "json", 0, "FILE", "write the leaks as JSON, too; %p is the process id" },
    [OPT_JUNIT] = { "junit", 0, "FILE", "write the leaks as JUnit's XML, too" },
    [OPT_VERBOSE] = { "verbose", 'v', NULL, "name unused suppressions" },
    [OPT_HELP] = { "help", 'h', NULL, "print this" },
    { NULL, 0, NULL, NULL },
};

static const char command[] = "oakum run";

typedef struct request {
    bool help, follow, checks, status;
    unsigned nsuppressions;
} request;

static void help(void)
{
    fputs("usage: oakum run [OPTION...] PROGRAM [ARGUMENT...]\n"
          "Run a dynamically linked program on Oakum's malloc.\n\n",
          stdout);
    cmd_options_print(options);
    fputs("\ndocs/malloc.md explains leaks and reports.\n", stdout);
}

/* ---- options ---- */

static bool tell(const char *name, const char *value)
{
    if (setenv(name, value, 1) == 0) return true;
    fprintf(stderr, "%s: no memory for a variable of the program; 'ulimit -v' tells the limit\n",
            command);
    return false;
}

static bool tell_number(const char *name, const char *option, unsigned long most, const char *value,
                        unsigned times)
{
    char text[16];
    unsigned n;

    if (!cmd_parse_number(command, option, most, value, &n)) return false;
    snprintf(text, sizeof(text), "%u", n * times);
    return tell(name, text);
}

/* Whether a signal reports a fault: after its handler the same instruction would fault again. */
static bool is_fault(int sig)
{
    return sig == SIGSEGV || sig == SIGBUS || sig == SIGFPE || sig == SIGILL || sig == SIGTRAP;
}

/* Whether the C library reserves a realtime signal for itself. */
static bool is_libcs(int sig)
{
    return sig >= 32 && sig < SIGRTMIN;
}

/* Pass on a signal, given by its number, or by its name with or without SIG. */
static bool tell_signal(const char *value)
{
    const char *name = strncmp(value, "SIG", 3) == 0 ? value + 3 : value;
    char text[16];
    int found = 0;

    for (int s = 1; s < NSIG && found == 0; s++) {
        const char *known = sigabbrev_np(s);

        if (known != NULL && strcmp(known, name) == 0) found = s;
    }
    if (found == 0 && strlen(value) <= 2 && value[strspn(value, "0123456789")] == '\0')
        found = atoi(value);
    if (found < 1 || found >= NSIG || found == SIGKILL || found == SIGSTOP || is_fault(found) ||
        is_libcs(found)) {
        cmd_say(stderr, "%s: --signal takes a signal as USR2 or 12, not '%s'\n", command, value);
        return false;
    }
    snprintf(text, sizeof(text), "%d", found);
    return tell("OAKUM_MALLOC_SIGNAL", text);
}

/* Append text with each % twice, as it stands for itself. */
static char *put_plainly(char *at, const char *text)
{
    for (; *text != '\0'; text++) {
        *at++ = *text;
        if (*text == '%') *at++ = '%';
    }
    return at;
}

/* Pass on a file's name as an absolute path, as the program may change its folder. In a pattern %p
 * is the process id; only `value` may have it. */
static bool tell_path(const char *name, const char *value, bool pattern)
{
    char *here, *path, *end;
    bool told;

    if (value[0] == '/') return tell(name, value);
    here = getcwd(NULL, 0);
    path = here != NULL ? malloc(2 * strlen(here) + strlen(value) + 2) : NULL;
    if (path != NULL) {
        end = pattern ? put_plainly(path, here) : stpcpy(path, here);
        *end = '/';
        memcpy(end + 1, value, strlen(value) + 1);
    }
    told = tell(name, path != NULL ? path : value);
    free(path);
    free(here);
    return told;
}

/* Can the file be made, as far as can be told before the program runs? What is there already may be
 * a descriptor's name. A folder whose name has the process id is not there yet. */
static bool may_make(const char *pattern)
{
    const char *name = strrchr(pattern, '/'), *id = strchr(pattern, '%');
    char folder[PATH_MAX];
    struct stat s;

    if (id == NULL && stat(pattern, &s) == 0) {
        errno = EISDIR;
        return !S_ISDIR(s.st_mode);
    }
    if (id != NULL && name != NULL && id < name) return true;
    snprintf(folder, sizeof(folder), "%.*s", name > pattern ? (int)(name - pattern) : 1,
             name != NULL ? pattern : ".");
    return faccessat(AT_FDCWD, folder, W_OK | X_OK, AT_EACCESS) == 0;
}

static bool tell_file(const char *name, const char *option, const char *pattern)
{
    if (*pattern == '\0') {
        cmd_say(stderr, "%s: --%s= is empty: give a file\n", command, option);
        return false;
    }
    if (may_make(pattern)) return tell_path(name, pattern, true);
    cmd_say(stderr, "%s: --%s: cannot write %s: %s; %s\n", command, option, pattern,
            strerror(errno), cmd_remedy(errno));
    return false;
}

static bool take_children(request *r, const char *value)
{
    r->follow = strcmp(value, "follow") == 0;
    if (r->follow) return tell("OAKUM_MALLOC_CHILDREN", "1");
    if (strcmp(value, "no") == 0) return true;
    cmd_say(stderr, "%s: --children takes follow or no, not '%s'\n", command, value);
    return false;
}

static bool take_check(request *r, const char *value)
{
    char words[64];
    char *next = words, *word;

    snprintf(words, sizeof(words), "%s", value);
    while ((word = strsep(&next, "+,")) != NULL) {
        if (strcmp(word, "abort") == 0 || strcmp(word, "page") == 0) continue;
        if (strcmp(word, "continue") == 0) continue;
        cmd_say(stderr, "%s: --check takes abort, continue, page or page+continue, not '%s'\n",
                command, value);
        return false;
    }
    r->checks = true;
    return tell("OAKUM_MALLOC_CHECK", value);
}

/* The library reads the file again: here its errors are reported before the program runs. */
static bool take_suppressions(request *r, const char *path)
{
    oaki_suppressions list = { NULL, 0 };
    size_t n;
    char name[40], *text = cmd_read_file(path, &n);
    const char *error;
    unsigned line = 0;

    if (text == NULL && errno == ESPIPE) {
        cmd_say(stderr, "%s: %s is a pipe or a device, and is read twice; give files\n",
                command, path);
        return false;
    }
    if (text == NULL) {
        cmd_say(stderr, "%s: cannot read %s: %s; %s\n", command, path, strerror(errno),
                cmd_remedy(errno));
        return false;
    }
    error = oaki_suppress_read(&list, path, text, &line);
    for (size_t i = 0; i < list.n; i++) free(list.list[i].frame);
    free(list.list);
    free(text);
    if (error != NULL) {
        cmd_say(stderr, "%s: %s:%u: %s; 'man oakum-run' has the format\n", command, path, line,
                error);
        return false;
    }
    snprintf(name, sizeof(name), "OAKUM_MALLOC_SUPPRESSIONS_%u", r->nsuppressions++);
    return tell_path(name, path, false);
}

/* Whether an option is about leaks, and so turns their report on. --error-exitcode does so only
 * without --check. */
static bool is_of_leaks(int option)
{
    return option == OPT_LEAKS || option == OPT_SIGNAL || option == OPT_POSSIBLE ||
           option == OPT_ALL || (option >= OPT_SUPPRESSIONS && option <= OPT_JUNIT);
}

static bool take_serve(const char *address)
{
    if (*address != '\0') return tell("OAKUM_MALLOC_SERVE", address);
    cmd_say(stderr, "%s: --serve= is empty: give an address, or --serve for the socket\n", command);
    return false;
}

static bool take(request *r, int option, const char *value)
{
    if (is_of_leaks(option) && !tell("OAKUM_MALLOC_LEAKS", "1")) return false;
    switch (option) {
    case OPT_LEAKS: return true;
    case OPT_COLLECT: return tell("OAKUM_MALLOC_COLLECT", "1");
    case OPT_CHECK: return take_check(r, value ? value : "abort");
    case OPT_PROFILE:
        return tell_file("OAKUM_MALLOC_PROFILE", "profile", value ? value : "oakum.%p.pb.gz");
    case OPT_GROWTH: return tell_number("OAKUM_MALLOC_GROWTH", "growth", 86400, value, 1000);
    case OPT_SERVE: return take_serve(value ? value : "1");
    case OPT_SIGNAL: return tell_signal(value);
    case OPT_LOG: return tell_file("OAKUM_MALLOC_LOG", "log", value);
    case OPT_CHILDREN: return take_children(r, value);
    case OPT_STATUS:
        r->status = true;
        return tell_number("OAKUM_MALLOC_ERROR_EXITCODE", "error-exitcode", 255, value, 1);
    case OPT_FRAMES: return tell_number("OAKUM_MALLOC_FRAMES", "frames", 64, value, 1);
    case OPT_POSSIBLE: return tell("OAKUM_MALLOC_POSSIBLE", "1");
    case OPT_ALL: return tell("OAKUM_MALLOC_ALL", "1");
    case OPT_QUIET: return tell("OAKUM_MALLOC_QUIET", "1");
    case OPT_SUPPRESSIONS: return take_suppressions(r, value);
    case OPT_GENERATE: return tell_file("OAKUM_MALLOC_GEN_SUPPRESSIONS", "gen-suppressions", value);
    case OPT_JSON: return tell_file("OAKUM_MALLOC_JSON", "json", value);
    case OPT_JUNIT: return tell_file("OAKUM_MALLOC_JUNIT", "junit", value);
    case OPT_VERBOSE: return tell("OAKUM_MALLOC_VERBOSE", "1");
    default: r->help = true; return true;
    }
}

/* ---- the library ---- */

static bool is_library(char *path, size_t n, const char *folder, size_t length, const char *rest)
{
    int got = snprintf(path, n, "%.*s%s/liboakum-malloc.so", (int)length, folder, rest);

    return got > 0 && (size_t)got < n && access(path, R_OK) == 0;
}

/* Find the library in the build tree of this program, or where it is installed. */
static bool find_library(char *path, size_t n)
{
    const char *asked = getenv("OAKUM_MALLOC_LIBRARY");
    char self[4096];
    ssize_t length = readlink("/proc/self/exe", self, sizeof(self) - 1);
    char *slash;

    self[length > 0 ? length : 0] = '\0';
    slash = strrchr(self, '/');
    length = slash != NULL ? slash - self : 0;
    if (asked != NULL && snprintf(path, n, "%s", asked) < (int)n) return access(path, R_OK) == 0;
    return is_library(path, n, self, (size_t)length, "/embed/malloc") ||
           is_library(path, n, self, (size_t)length, "/../embed/malloc") ||
           is_library(path, n, CMD_PKGLIBDIR, strlen(CMD_PKGLIBDIR), "") ||
           is_library(path, n, self, (size_t)length, "/../lib/oakum");
}

static bool preload(void)
{
    const char *others = getenv("LD_PRELOAD");
    char library[4096], list[8192];

    if (!find_library(library, sizeof(library))) {
        fprintf(stderr, "%s: liboakum-malloc.so is not in %s; 'make install' puts it there\n",
                command, CMD_PKGLIBDIR);
        return false;
    }
    if (strpbrk(library, ": ") != NULL) {
        cmd_say(stderr,
                "%s: %s: a path with blanks or colons can't be preloaded; install it elsewhere\n",
                command, library);
        return false;
    }
    if (snprintf(list, sizeof(list), "%s%s%s", others ? others : "", others && *others ? ":" : "",
                 library) >= (int)sizeof(list)) {
        fprintf(stderr, "%s: LD_PRELOAD is too long; make it shorter\n", command);
        return false;
    }
    return tell("LD_PRELOAD", list) && tell("OAKUM_MALLOC_LIBRARY", library);
}

/* Make room for the auxiliary vector. The library removes its variables from the environment, and
 * then moves the vector to the new end (embed/malloc/environ.c). Each removed variable gives room
 * for one word. The kernel's own copy of the vector has at most VECTOR_WORDS words
 * (AT_VECTOR_SIZE). */
static bool make_room(const request *r)
{
    enum { VECTOR_WORDS = 64 };
    char name[32];

    for (int i = 0; i < VECTOR_WORDS && !r->follow; i++) {
        snprintf(name, sizeof(name), "OAKUM_MALLOC_ROOM_%d", i);
        if (!tell(name, "")) return false;
    }
    return true;
}

/* ---- the program ---- */

/* Whether a file can be run. A folder can't: execvp skips folders in PATH. */
static bool may_be_run(const char *path)
{
    struct stat s;

    return access(path, X_OK) == 0 && stat(path, &s) == 0 && !S_ISDIR(s.st_mode);
}

/* Find the file that execvp will run. Returns false with errno, if the name has a slash. */
static bool find_program(const char *name, char *path, size_t n)
{
    const char *folder = getenv("PATH"), *end;

    if (strchr(name, '/') != NULL) {
        errno = ENAMETOOLONG;
        return snprintf(path, n, "%s", name) < (int)n && access(path, F_OK) == 0;
    }
    for (folder = folder ? folder : "/usr/bin:/bin"; ; folder = end + 1) {
        int length;

        end = folder + strcspn(folder, ":");
        length = (int)(end - folder);
        if (snprintf(path, n, "%.*s%s%s", length, folder, length ? "/" : "", name) < (int)n &&
            may_be_run(path))
            return true;
        if (*end == '\0') return false;
    }
}

/* Read the path of the program's dynamic loader. Returns 0 if the program has none, and -1 if that
 * can't be found out. */
static int read_interpreter(int fd, const Elf64_Ehdr *e, char *out, size_t n)
{
    for (int i = 0; i < e->e_phnum; i++) {
        Elf64_Phdr p;
        ssize_t got;

        if (pread(fd, &p, sizeof(p), (off_t)(e->e_phoff + (size_t)i * sizeof(p))) != sizeof(p))
            return -1;
        if (p.p_type != PT_INTERP) continue;
        got = pread(fd, out, n - 1, (off_t)p.p_offset);
        out[got > 0 ? got : 0] = '\0';
        return got > 0 ? 1 : -1;
    }
    return 0;
}

/* Is the file the dynamic loader, run as a command? It loads what LD_PRELOAD names, too. */
static bool is_loader(const struct stat *s)
{
    char loader[256];
    struct stat own;
    Elf64_Ehdr e;
    int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    bool is = fd >= 0 && pread(fd, &e, sizeof(e), 0) == sizeof(e) &&
              read_interpreter(fd, &e, loader, sizeof(loader)) > 0 && stat(loader, &own) == 0 &&
              own.st_dev == s->st_dev && own.st_ino == s->st_ino;

    if (fd >= 0) close(fd);
    return is;
}

/* The reason why the library can't be loaded into a file; NULL if it can, or this is no ELF file.
 */
static const char *obstacle(int fd, const struct stat *s)
{
    Elf64_Ehdr e;
    char interpreter[256];
    int found;

    if ((s->st_mode & S_ISUID) != 0 && s->st_uid != geteuid())
        return "is set-user-ID: nothing can be loaded into it, unless its owner runs it";
    if ((s->st_mode & S_ISGID) != 0 && (s->st_mode & S_IXGRP) != 0 && s->st_gid != getegid())
        return "is set-group-ID: nothing can be loaded into it, unless its group runs it";
    if (getuid() != 0 && fgetxattr(fd, "security.capability", NULL, 0) > 0)
        return "has file capabilities: nothing can be loaded into it, unless root runs it";
    if (pread(fd, &e, sizeof(e), 0) != sizeof(e) || memcmp(e.e_ident, ELFMAG, SELFMAG) != 0)
        return NULL;
    if (e.e_ident[EI_CLASS] != ELFCLASS64) return "is no 64-bit program: build it for 64 bits";
    found = read_interpreter(fd, &e, interpreter, sizeof(interpreter));
    if (found == 0 && !is_loader(s))
        return "is statically linked: its malloc can't be replaced; link it without -static";
    if (found > 0 && strstr(interpreter, "musl") != NULL)
        return "is not linked with the GNU C library: build it with that";
    return NULL;
}

/* Read a script's interpreter from its first line: the library is loaded into that program. */
static bool read_shebang(int fd, char *out, size_t n)
{
    char line[256], *end;
    ssize_t got = pread(fd, line, sizeof(line) - 1, 0);

    if (got < 3 || line[0] != '#' || line[1] != '!') return false;
    line[got] = '\0';
    end = line + 2 + strspn(line + 2, " \t");
    got = (ssize_t)strcspn(end, " \t\n");
    if (got == 0 || (size_t)got >= n) return false;
    memcpy(out, end, (size_t)got);
    out[got] = '\0';
    return true;
}

static int check_file(const char *path, bool may_be_script)
{
    char interpreter[256];
    const char *why;
    struct stat s;
    bool script;
    int fd;

    fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* don't wait at a named pipe */
    if (fd < 0) return CMD_OK; /* an unreadable program may still be run */
    why = fstat(fd, &s) == 0 ? obstacle(fd, &s) : NULL;
    script = why == NULL && may_be_script && read_shebang(fd, interpreter, sizeof(interpreter));
    close(fd);
    if (script && access(interpreter, F_OK) != 0 && errno == ENOENT) {
        cmd_say(stderr, "%s: %s: its interpreter is not there: %s\n", command, path, interpreter);
        return RUN_CANNOT;
    }
    if (script) return check_file(interpreter, false);
    if (why == NULL) return CMD_OK;
    cmd_say(stderr, "%s: %s %s\n", command, path, why);
    return RUN_CANNOT;
}

static int check_program(const char *name, char *path, size_t n)
{
    struct stat s;
    bool none;

    if (find_program(name, path, n)) return check_file(path, true);
    if (stat(name, &s) == 0 && S_ISDIR(s.st_mode)) errno = EISDIR;
    none = strchr(name, '/') == NULL || errno == ENOENT || errno == ENOTDIR;
    if (none)
        cmd_say(stderr, "%s: %s: there is no such program; check its path, or PATH\n", command,
                name);
    else
        cmd_say(stderr, "%s: %s: %s; %s\n", command, name, strerror(errno), cmd_remedy(errno));
    return none ? RUN_NOT_FOUND : RUN_CANNOT;
}

static bool is_elf(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    char start[SELFMAG];
    bool elf = fd >= 0 && pread(fd, start, SELFMAG, 0) == SELFMAG;

    if (fd >= 0) close(fd);
    return elf && memcmp(start, ELFMAG, SELFMAG) == 0;
}

/* Returns with errno. execvp has the shell run a file of unknown format, which for an ELF file of
 * another machine gives an error of syntax. */
static void execute(const char *name, const char *path, char **argv)
{
    if (is_elf(path)) execv(path, argv);
    else execvp(name, argv);
}

int cmd_run(int argc, char **argv)
{
    request r = { 0 };
    cmd_args args = { command, options, argc, 1, argv, false };
    char path[4096];
    const char *text;
    int which, status;

    while ((which = cmd_args_next(&args, &text)) >= 0)
        if (!take(&r, which, text)) return CMD_USAGE;
    if (which == CMD_ARG_BAD) return CMD_USAGE;
    if (r.help) {
        help();
        return CMD_OK;
    }
    if (which == CMD_ARG_END) {
        fprintf(stderr, "%s: wants a program to run; '%s --help' tells more\n", command, command);
        return CMD_USAGE;
    }
    if (r.status && !r.checks && !tell("OAKUM_MALLOC_LEAKS", "1")) return CMD_USAGE;
    status = check_program(text, path, sizeof(path));
    if (status != CMD_OK) return status;
    if (!preload() || !make_room(&r)) return RUN_CANNOT;
    execute(text, path, argv + args.at - 1);
    status = errno == ENOENT ? RUN_NOT_FOUND : RUN_CANNOT;
    cmd_say(stderr, "%s: %s: %s; %s\n", command, text, strerror(errno), cmd_remedy(errno));
    return status;
}
