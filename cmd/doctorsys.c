/* doctorsys.c - what the system allows a process, as far as files in /proc and /sys tell: huge
 * pages, limits, tracing, control groups, mappings, overcommitment.
 *
 * A file that is missing or can't be read gives no finding, except where that is one. */
#include "doctor.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define TEXT_MOST 65536
#define MAPS_USUAL 65530 /* the kernel's default of vm.max_map_count */
#define FILES_LEAST 256
#define MEMORY_LEAST ((double)(64 << 20))
#define NO_LIMIT 9e18 /* version 1 tells a limit near 2^63 where there is none */

typedef struct place {
    const char *root, *process;
    char text[TEXT_MOST];
} place;

void cmd_find(cmd_findings *to, cmd_level level, const char *name, const char *why,
              const char *fix, const char *what, ...)
{
    cmd_finding *f = &to->list[to->n];
    va_list ap;

    if (to->n == sizeof(to->list) / sizeof(to->list[0])) return;
    to->n++;
    *f = (cmd_finding){ .level = level, .name = name, .why = why, .fix = fix };
    va_start(ap, what);
    vsnprintf(f->what, sizeof(f->what), what, ap);
    va_end(ap);
    cmd_clean(f->what, strlen(f->what), "");
}

/* Read a file into p->text. */
static bool read_text(place *p, const char *path)
{
    char name[4096];
    FILE *f;
    size_t n;

    snprintf(name, sizeof(name), "%s%s", p->root, path);
    f = fopen(name, "re");
    if (f == NULL) return false;
    n = fread(p->text, 1, sizeof(p->text) - 1, f);
    p->text[n] = '\0';
    fclose(f);
    return n > 0;
}

static bool read_process(place *p, const char *file)
{
    char path[64];

    snprintf(path, sizeof(path), "/proc/%s/%s", p->process, file);
    return read_text(p, path);
}

static bool read_number(place *p, const char *path, double *out)
{
    char *end;

    if (!read_text(p, path)) return false;
    *out = strtod(p->text, &end);
    return end != p->text;
}

/* Without snapshot.c's cmd_bytes, which brings the reader of snapshots. */
static const char *size_text(char out[24], double bytes)
{
    if (bytes >= 1e9)
        snprintf(out, 24, "%.1f GB", bytes / 1e9);
    else
        snprintf(out, 24, "%.1f MB", bytes / 1e6);
    return out;
}

/* ---- memory ---- */

static void huge_pages(place *p, cmd_findings *to)
{
    static const char why[] = "A heap of huge pages has fewer TLB misses; marking is faster.";
    char chosen[32] = "?";
    const char *open;

    if (read_process(p, "status") && strstr(p->text, "\nTHP_enabled:\t0") != NULL) {
        cmd_find(to, CMD_WARN, "huge-pages", why,
                 "Remove prctl(PR_SET_THP_DISABLE) from the program, or what starts it.",
                 "The process has forbidden itself transparent huge pages.");
        return;
    }
    if (!read_text(p, "/sys/kernel/mm/transparent_hugepage/enabled")) {
        cmd_find(to, CMD_WARN, "huge-pages", why, "Use a kernel with CONFIG_TRANSPARENT_HUGEPAGE.",
                 "The kernel has no transparent huge pages.");
        return;
    }
    open = strchr(p->text, '[');
    if (open != NULL) sscanf(open, "[%31[a-z]", chosen);
    if (strcmp(chosen, "never") == 0)
        cmd_find(to, CMD_WARN, "huge-pages", why,
                 "echo madvise >/sys/kernel/mm/transparent_hugepage/enabled",
                 "Transparent huge pages are off.");
    else
        cmd_find(to, CMD_FINE, "huge-pages", why, NULL, "Transparent huge pages: %s.", chosen);
}

static void overcommit(place *p, cmd_findings *to)
{
    static const char why[] = "Forks of a large heap, for snapshots and leaks, need commitment.";
    double mode;

    if (!read_number(p, "/proc/sys/vm/overcommit_memory", &mode)) return;
    if (mode >= 2)
        cmd_find(to, CMD_WARN, "overcommit", why, "sysctl vm.overcommit_memory=0",
                 "vm.overcommit_memory is 2: the kernel commits no more than it has.");
    else
        cmd_find(to, CMD_FINE, "overcommit", why, NULL, "vm.overcommit_memory is %.0f.", mode);
}

/* Count the lines of a file of any length. */
static double count_maps(const place *p)
{
    char name[4096], text[4096];
    double lines = 0;
    size_t n;
    FILE *f;

    snprintf(name, sizeof(name), "%s/proc/%s/maps", p->root, p->process);
    f = fopen(name, "re");
    if (f == NULL) return 0;
    while ((n = fread(text, 1, sizeof(text), f)) > 0)
        for (size_t i = 0; i < n; i++) lines += text[i] == '\n';
    fclose(f);
    return lines;
}

static void mappings(place *p, cmd_findings *to)
{
    static const char why[] = "Beyond it mmap and mprotect fail, and so do allocations.";
    double most, used = count_maps(p);

    if (!read_number(p, "/proc/sys/vm/max_map_count", &most)) return;
    if (used > most * 0.8)
        cmd_find(to, CMD_BAD, "mappings", why, "sysctl vm.max_map_count=262144",
                 "%.0f of at most %.0f mappings are in use (vm.max_map_count).", used, most);
    else
        cmd_find(to, most < MAPS_USUAL ? CMD_WARN : CMD_FINE, "mappings", why,
                 most < MAPS_USUAL ? "sysctl vm.max_map_count=65530" : NULL,
                 "%.0f of at most %.0f mappings are in use.", used, most);
}

/* ---- limits ---- */

/* The soft limit in a line of /proc/PID/limits. Returns false if there is none. */
static bool soft_limit(const place *p, const char *name, double *out)
{
    const char *line = strstr(p->text, name);
    char *end;

    if (line == NULL) return false;
    line += strlen(name);
    *out = strtod(line, &end);
    return end != line;
}

static void limits(place *p, cmd_findings *to)
{
    static const char why[] = "The heap reserves address space; each server request needs a file.";
    double bytes, files;
    char size[24];
    bool limited = false;

    if (!read_process(p, "limits")) {
        cmd_find(to, CMD_WARN, "limits", why, "Run oakum doctor as the process's user or as root.",
                 "The limits of the process can't be read.");
        return;
    }
    if (soft_limit(p, "Max address space", &bytes)) {
        limited = true;
        cmd_find(to, CMD_WARN, "address-space",
                 "Oakum reserves a smaller heap, and its metadata takes part of the limit.",
                 "ulimit -v unlimited; limit memory by a control group.",
                 "The address space is limited to %s.", size_text(size, bytes));
    }
    if (soft_limit(p, "Max open files", &files) && files < FILES_LEAST) {
        limited = true;
        cmd_find(to, CMD_WARN, "open-files", why, "ulimit -n 1024",
                 "At most %.0f files may be open.", files);
    }
    if (!limited)
        cmd_find(to, CMD_FINE, "limits", why, NULL, "Address space and files suffice (ulimit).");
}

static void tracing(place *p, cmd_findings *to)
{
    static const char why[] = "Oakum needs no ptrace; debuggers that attach to it do.";
    double scope = 0;

    (void)read_number(p, "/proc/sys/kernel/yama/ptrace_scope", &scope);
    if (scope >= 2)
        cmd_find(to, CMD_WARN, "ptrace", why, "sysctl kernel.yama.ptrace_scope=1",
                 "kernel.yama.ptrace_scope is %.0f: only root may attach, or none.", scope);
    else
        cmd_find(to, CMD_FINE, "ptrace", why, NULL, "kernel.yama.ptrace_scope is %.0f.", scope);
}

/* ---- control groups ---- */

typedef struct group_limits {
    double memory, cpus; /* 0: no limit */
} group_limits;

static void lower(double *to, double value)
{
    if (value > 0 && value < NO_LIMIT && (*to == 0 || value < *to)) *to = value;
}

/* Read the limits of one folder, of either version. */
static void read_group(place *p, const char *folder, group_limits *out)
{
    char path[4096];
    double quota, period = 0;

    snprintf(path, sizeof(path), "%s/memory.max", folder);
    if (read_number(p, path, &quota)) lower(&out->memory, quota);
    snprintf(path, sizeof(path), "%s/memory.high", folder);
    if (read_number(p, path, &quota)) lower(&out->memory, quota);
    snprintf(path, sizeof(path), "%s/memory.limit_in_bytes", folder);
    if (read_number(p, path, &quota)) lower(&out->memory, quota);
    snprintf(path, sizeof(path), "%s/cpu.max", folder);
    if (read_text(p, path) && sscanf(p->text, "%lf %lf", &quota, &period) == 2 && period > 0)
        lower(&out->cpus, quota / period);
    snprintf(path, sizeof(path), "%s/cpu.cfs_period_us", folder);
    if (!read_number(p, path, &period) || period <= 0) return;
    snprintf(path, sizeof(path), "%s/cpu.cfs_quota_us", folder);
    if (read_number(p, path, &quota)) lower(&out->cpus, quota / period);
}

/* A group, and those above it. */
static void read_groups(place *p, const char *mount, const char *group, group_limits *out)
{
    char folder[2048];
    size_t root = strlen(mount);
    int n = snprintf(folder, sizeof(folder), "%s%s", mount, group);

    if (n >= (int)sizeof(folder) || strstr(group, "/..") != NULL) folder[root] = '\0';
    for (char *last = folder + root; last != NULL; *last = '\0') {
        read_group(p, folder, out);
        last = strrchr(folder + root, '/');
        if (last == NULL) return;
    }
}

/* Version 1 lists controllers in any order: "cpu,cpuacct", "cpuacct,cpu". */
static bool has_word(const char *list, const char *word)
{
    size_t n = strlen(word);

    for (const char *at = list; (at = strstr(at, word)) != NULL; at += n)
        if ((at == list || at[-1] == ',') && (at[n] == '\0' || at[n] == ',')) return true;
    return false;
}

static void read_all_groups(place *p, group_limits *out)
{
    char *list, *next, *line;

    if (!read_process(p, "cgroup") || (list = next = strdup(p->text)) == NULL) return;
    while ((line = strsep(&next, "\n")) != NULL) {
        char *names = strchr(line, ':'), *group = names != NULL ? strchr(names + 1, ':') : NULL;

        if (group == NULL) continue;
        *group++ = '\0';
        names++;
        if (*names == '\0') read_groups(p, "/sys/fs/cgroup", group, out);
        if (has_word(names, "memory"))
            read_groups(p, "/sys/fs/cgroup/memory", group, out);
        if (has_word(names, "cpu"))
            read_groups(p, "/sys/fs/cgroup/cpu", group, out);
    }
    free(list);
}

static void groups(place *p, cmd_findings *to)
{
    static const char why_memory[] = "Oakum collects earlier near it; beyond it the kernel kills.";
    static const char why_cpu[] = "Oakum marks with as many threads as the group has processors.";
    group_limits l = { 0, 0 };
    char size[24];

    read_all_groups(p, &l);
    if (l.memory == 0)
        cmd_find(to, CMD_FINE, "cgroup-memory", why_memory, NULL,
                 "No control group limits the memory.");
    else
        cmd_find(to, l.memory < MEMORY_LEAST ? CMD_WARN : CMD_FINE, "cgroup-memory", why_memory,
                 l.memory < MEMORY_LEAST ? "Raise memory.max and memory.high to 64 MiB." : NULL,
                 "The control group has %s of memory.", size_text(size, l.memory));
    if (l.cpus == 0)
        cmd_find(to, CMD_FINE, "cgroup-cpu", why_cpu, NULL,
                 "No control group limits the processors.");
    else
        cmd_find(to, l.cpus < 1 ? CMD_WARN : CMD_FINE, "cgroup-cpu", why_cpu,
                 l.cpus < 1 ? "Raise cpu.max: marking then takes turns with the program." : NULL,
                 "The control group has %.2g processors.", l.cpus);
}

void cmd_doctor_system(cmd_findings *to, const char *root, const char *process)
{
    place *p = malloc(sizeof(*p));

    if (p == NULL) return;
    p->root = root;
    p->process = process;
    huge_pages(p, to);
    limits(p, to);
    mappings(p, to);
    overcommit(p, to);
    groups(p, to);
    tracing(p, to);
    free(p);
}
