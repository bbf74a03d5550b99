/* cgroup.c - reads the limits of control groups (cgroup.h).
 *
 * /proc/self/cgroup has a line for each hierarchy: number, controllers, path of the process's
 * group, with colons between. Version 2 has number 0 and no controllers (Linux,
 * Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/cgroups.rst). In a container the path may
 * belong to another view than the mounted folders. A group that isn't found there is left out; the
 * groups above it are read.
 * A file that is not there sets no limit. One that can't be opened may set one, as in a process
 * without free descriptors. Nor is anything known where there is no list, or no folder `mount`: the
 * process may have moved its root. Such a reading ends with false.
 * Bound: 4 KiB of the list; groups nested as deep as a path of PATH_MOST bytes has room for.
 * Owns: `forced`; and `self`, as its texts are too long for the stack of a mutator. One thread at a
 * time has that: self.busy is no oaki_lock, as a stop may find a reader here. */
#include "cgroup.h"

#include "contract.h"
#include "os.h"
#include "print.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define LIST_MOST 4096
#define PATH_MOST 400
#define NO_LIMIT_V1 (SIZE_MAX / 4) /* version 1 rounds the largest number down to pages */

#define BUSY_NS UINT64_C(1000000)

const char *oaki_cgroup_list = "/proc/self/cgroup", *oaki_cgroup_mount = "/sys/fs/cgroup";

static struct {
    unsigned int busy; /* AO_int, futex */
    bool failed;       /* something could not be read */
    char list[LIST_MOST];
    char group[PATH_MOST]; /* a group's folder */
    size_t root;           /* length in `group` of the hierarchy's own folder */
    char file[PATH_MOST + 32];
} self;

static struct {
    AO_t memory, cpus; /* + 1; 0: not forced */
} forced;

static void take(void)
{
    while (!AO_int_compare_and_swap_full(&self.busy, 0, 1)) oaki_futex_wait(&self.busy, 1, BUSY_NS);
}

static void give(void)
{
    AO_int_store_release(&self.busy, 0);
    oaki_futex_wake(&self.busy, 1);
}

static int open_path(const char *path, int flags)
{
    return (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC | flags);
}

/* The file's first bytes as a string; false when it isn't there, or can't be read. */
static bool read_file(const char *path, char *out, size_t n)
{
    int fd = open_path(path, 0);
    if (fd < 0) {
        self.failed |= errno != ENOENT && errno != ENOTDIR;
        return false;
    }
    size_t have = 0;
    long got = 1;
    for (; got > 0 && have < n - 1; have += got > 0 ? (size_t)got : 0)
        got = syscall(SYS_read, fd, out + have, n - 1 - have);
    syscall(SYS_close, fd);
    out[have] = '\0';
    self.failed |= got < 0;
    return got >= 0;
}

static bool is_mounted(const char *mount)
{
    int fd = open_path(mount, O_DIRECTORY);
    if (fd >= 0) syscall(SYS_close, fd);
    return fd >= 0;
}

/* Digits at *s, which moves on to the next word; SIZE_MAX for "max" and the like. */
static size_t number(const char **s)
{
    size_t v = 0;
    const char *p = *s;
    bool digits = *p >= '0' && *p <= '9';
    for (; *p >= '0' && *p <= '9'; p++)
        v = v < SIZE_MAX / 20 ? v * 10 + (size_t)(*p - '0') : SIZE_MAX / 2;
    while (*p && *p != ' ' && *p != '\n') p++;
    while (*p == ' ') p++;
    *s = p;
    return digits ? v : SIZE_MAX;
}

static bool read_numbers(const char *name, size_t *v, size_t n)
{
    char text[64];
    oaki_format(self.file, sizeof self.file, "%s/%s", self.group, name);
    if (!read_file(self.file, text, sizeof text)) return false;
    const char *s = text;
    for (size_t i = 0; i < n; i++) v[i] = number(&s);
    return true;
}

static void limit_memory(oaki_cgroup *out, size_t bytes)
{
    if (bytes < NO_LIMIT_V1) out->memory = OAKI_MIN(out->memory, bytes);
}

static void limit_time(oaki_cgroup *out, size_t quota, size_t period)
{
    if (quota >= SIZE_MAX / 2 || period == 0 || period >= SIZE_MAX / 2) return;
    size_t cpus = OAKI_MAX((quota + period - 1) / period, (size_t)1);
    if (cpus < 4096 && (out->cpus == 0 || cpus < out->cpus)) out->cpus = (unsigned)cpus;
}

static void read_group(oaki_cgroup *out)
{
    size_t v[2], period;
    if (read_numbers("memory.max", v, 1)) limit_memory(out, v[0]);
    /* Beyond it the kernel slows the group down. 0 asks the kernel to reclaim what it can now. */
    if (read_numbers("memory.high", v, 1) && v[0] > 0) limit_memory(out, v[0]);
    if (read_numbers("memory.limit_in_bytes", v, 1)) limit_memory(out, v[0]);
    if (read_numbers("cpu.max", v, 2)) limit_time(out, v[0], v[1]);
    if (read_numbers("cpu.cfs_quota_us", v, 1) &&
        read_numbers("cpu.cfs_period_us", &period, 1))
        limit_time(out, v[0], period);
}

/* Reads the group and those above it. If the process was moved out of its namespace, the path leads
 * out of the hierarchy. Then only the root is read. */
static void read_groups(const char *group, size_t length, oaki_cgroup *out)
{
    bool inside = length > 0 && group[0] == '/' && !memmem(group, length, "/..", 3);
    if (inside && self.root + length < sizeof self.group) {
        memcpy(self.group + self.root, group, length);
        self.group[self.root + length] = '\0';
    }
    for (;;) {
        read_group(out);
        char *last = strrchr(self.group + self.root, '/');
        if (!last) return;
        *last = '\0';
    }
}

static bool names(const char *list, size_t length, const char *controller)
{
    size_t n = strlen(controller);
    for (const char *at = list, *end = list + length; at < end;) {
        const char *comma = memchr(at, ',', (size_t)(end - at));
        size_t word = (size_t)((comma ? comma : end) - at);
        if (word == n && memcmp(at, controller, n) == 0) return true;
        at += word + 1;
    }
    return false;
}

/* Version 1 mounts a hierarchy under the names of its controllers. Each single name is a link to
 * it. */
static void read_line(const char *line, size_t length, const char *mount, oaki_cgroup *out)
{
    const char *end = line + length, *list = memchr(line, ':', length);
    const char *group = list ? memchr(list + 1, ':', (size_t)(end - list - 1)) : NULL;
    if (!group) return;
    size_t controllers = (size_t)(group - list - 1);
    static const char *const wanted[] = { "memory", "cpu" };
    for (size_t i = 0; i < OAKI_COUNT(wanted); i++) {
        bool second = controllers == 0;
        if (!second && !names(list + 1, controllers, wanted[i])) continue;
        if (second) self.root = oaki_format(self.group, sizeof self.group, "%s", mount);
        else self.root = oaki_format(self.group, sizeof self.group, "%s/%s", mount, wanted[i]);
        read_groups(group + 1, (size_t)(end - group - 1), out);
        if (second) return;
    }
}

void oaki_cgroup_force_memory(size_t bytes)
{
    AO_store(&forced.memory, OAKI_MIN(bytes, SIZE_MAX / 4) + 1);
}

void oaki_cgroup_force_cpus(unsigned n)
{
    AO_store(&forced.cpus, (AO_t)n + 1);
}

/* Are both forced? */
static bool use_forced(oaki_cgroup *out)
{
    size_t memory = AO_load(&forced.memory), cpus = AO_load(&forced.cpus);
    if (memory) out->memory = memory > 1 ? memory - 1 : SIZE_MAX;
    if (cpus) out->cpus = (unsigned)(cpus - 1);
    return memory && cpus;
}

bool oaki_cgroup_read(const char *proc, const char *mount, oaki_cgroup *out)
{
    int saved = errno;
    OAKI_ASSERT(strlen(mount) <= OAKI_CGROUP_PATH);
    *out = (oaki_cgroup){ .memory = SIZE_MAX };
    if (use_forced(out)) return true;
    take();
    self.failed = !is_mounted(mount);
    bool listed = read_file(proc, self.list, sizeof self.list);
    for (const char *at = listed ? self.list : ""; *at;) {
        size_t length = strcspn(at, "\n");
        read_line(at, length, mount, out);
        at += length + (at[length] == '\n');
    }
    bool all = listed && !self.failed;
    give();
    (void)use_forced(out);
    errno = saved;
    return all;
}

void oaki_cgroup_reset(void)
{
    OAKI_REQUIRES_FORKED();
    AO_int_store(&self.busy, 0);
}
