/* doctor.c - tests of `oakum doctor`: findings of made-up systems, and of this one. */
#include "run.h"

#include "cmd/doctor.h"
#include "runtime/pagemap.h"
#include "tests/refuse.h"
#include "tests/skip.h"
#include <check.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

Suite *suite_cmd_doctor(void);

static char root[64];
static cmd_findings found;

/* Write a file of the system, with its folders. */
static void put(const char *name, const char *text)
{
    char path[256];
    FILE *f;

    snprintf(path, sizeof(path), "%s%s", root, name);
    for (char *at = path + strlen(root) + 1; (at = strchr(at, '/')) != NULL; *at++ = '/') {
        *at = '\0';
        (void)mkdir(path, 0700);
    }
    f = fopen(path, "w");
    ck_assert_ptr_nonnull(f);
    ck_assert_int_ge(fputs(text, f), 0);
    ck_assert_int_eq(fclose(f), 0);
}

#define LIMITS(space, files) \
    "Limit   Soft Limit   Hard Limit   Units\n" \
    "Max open files  " files "  4096  files\nMax address space  " space "  unlimited  bytes\n"

/* A system on which all is well. */
static void setup(void)
{
    snprintf(root, sizeof(root), "/tmp/oakum-doctor.XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(root));
    put("/proc/7/status", "Name:\tprogram\nTHP_enabled:\t1\n");
    put("/proc/7/limits", LIMITS("unlimited", "1024"));
    put("/proc/7/maps", "1\n2\n3\n");
    put("/proc/7/cgroup", "0::/a/b\n");
    put("/proc/7/environ", "OAKUM_DECAY=0");
    put("/proc/sys/vm/overcommit_memory", "0\n");
    put("/proc/sys/vm/max_map_count", "65530\n");
    put("/proc/sys/kernel/yama/ptrace_scope", "1\n");
    put("/sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never\n");
}

static void teardown(void)
{
    char line[128];

    snprintf(line, sizeof(line), "rm -rf %s", root);
    ck_assert_int_eq(system(line), 0);
}

static void look(void)
{
    found.n = 0;
    cmd_doctor_system(&found, root, "7");
    cmd_doctor_environment(&found, root, "7");
}

/* Each line of the table changes one file; one finding is then of that level. */
static const struct {
    const char *file, *text, *name;
    cmd_level level;
    const char *what;
} changes[] = {
    { "/proc/7/status", "Name:\tx\nTHP_enabled:\t0\n", "huge-pages", CMD_WARN, "forbidden" },
    { "/sys/kernel/mm/transparent_hugepage/enabled", "always madvise [never]\n", "huge-pages",
      CMD_WARN, "off" },
    { "/proc/7/limits", LIMITS("1000000000", "1024"), "address-space", CMD_WARN, "1.0 GB" },
    { "/proc/7/limits", LIMITS("unlimited", "64"), "open-files", CMD_WARN, "64" },
    { "/proc/sys/vm/max_map_count", "1000\n", "mappings", CMD_WARN, "3 of at most 1000" },
    { "/proc/sys/vm/max_map_count", "3\n", "mappings", CMD_BAD, "3 of at most 3" },
    { "/proc/sys/vm/overcommit_memory", "2\n", "overcommit", CMD_WARN, "is 2" },
    { "/proc/7/environ", "OAKUM_HEAPMAX=1G", "environment", CMD_WARN, "mean OAKUM_HEAP_MAX?" },
    { "/proc/7/environ", "OAKUM_DECAY_MS=0", "environment", CMD_WARN, "mean OAKUM_DECAY?" },
    { "/proc/7/environ", "OAKUM_FLAVOUR=1", "environment", CMD_WARN, "OAKUM_FLAVOUR is set." },
    { "/proc/7/environ", "XOAKUM_FLAVOUR=1", "environment", CMD_FINE, "0 variables" },
    { "/proc/7/environ", "OAKUM_MALLOC_LEAKS=1", "environment", CMD_FINE, "1 variable of" },
    { "/proc/sys/kernel/yama/ptrace_scope", "3\n", "ptrace", CMD_WARN, "is 3" },
    { "/sys/fs/cgroup/a/b/memory.max", "1000000000\n", "cgroup-memory", CMD_FINE, "1.0 GB" },
    { "/sys/fs/cgroup/a/memory.max", "1000000\n", "cgroup-memory", CMD_WARN, "1.0 MB" },
    { "/sys/fs/cgroup/a/memory.high", "2000000\n", "cgroup-memory", CMD_WARN, "2.0 MB" },
    { "/sys/fs/cgroup/a/b/memory.max", "max\n", "cgroup-memory", CMD_FINE, "No control group" },
    { "/sys/fs/cgroup/a/b/cpu.max", "150000 100000\n", "cgroup-cpu", CMD_FINE, "1.5 proc" },
    { "/sys/fs/cgroup/cpu.max", "50000 100000\n", "cgroup-cpu", CMD_WARN, "0.5 proc" },
    { "/sys/fs/cgroup/a/b/cpu.max", "max 100000\n", "cgroup-cpu", CMD_FINE, "No control group" },
};

START_TEST(each_change_is_found)
{
    size_t hits = 0;

    look();
    for (size_t i = 0; i < found.n; i++) ck_assert_int_eq(found.list[i].level, CMD_FINE);
    ck_assert_uint_eq(found.n, 8);
    put(changes[_i].file, changes[_i].text);
    look();
    for (size_t i = 0; i < found.n; i++) {
        const cmd_finding *f = &found.list[i];

        if (strcmp(f->name, changes[_i].name) != 0) continue;
        ck_assert_int_eq(f->level, changes[_i].level);
        ck_assert_msg(strstr(f->what, changes[_i].what) != NULL, "%s", f->what);
        ck_assert(f->why != NULL && (f->level == CMD_FINE || f->fix != NULL));
        hits++;
    }
    ck_assert_uint_eq(hits, 1);
}
END_TEST

/* The name that the user has mistaken is behind 100,000 bytes of others. */
START_TEST(a_long_environment_is_read_to_its_end)
{
    static char text[100000];
    char path[256];
    FILE *f;

    memset(text, 'x', sizeof(text) - 1);
    snprintf(path, sizeof(path), "%s/proc/7/environ", root);
    f = fopen(path, "w");
    ck_assert_ptr_nonnull(f);
    ck_assert_uint_eq(fwrite(text, sizeof(text), 1, f), 1);
    for (int i = 0; i < 100; i++) ck_assert_int_gt(fprintf(f, "OAKUM_PROFIL%d=1%c", i, '\0'), 0);
    ck_assert_int_eq(fclose(f), 0);
    look();
    ck_assert_uint_eq(found.n, 11);
    ck_assert_str_eq(found.list[10].what, "OAKUM_PROFIL3 is set; did you mean OAKUM_PROFILE?");
}
END_TEST

static const char *const lists[] = {
    "4:memory:/a\n3:cpu,cpuacct:/b\n2:cpuset:/c\n",
    "4:hugetlb,memory:/a\n3:cpuacct,cpu:/b\n2:cpuset:/c\n",
    "4:memory:/a\n3:cpuset,cpu:/b\n2:cpuacct:/c\n",
};

START_TEST(groups_of_version_1_are_read)
{
    put("/proc/7/cgroup", lists[_i]);
    put("/sys/fs/cgroup/memory/a/memory.limit_in_bytes", "2000000000\n");
    put("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
    put("/sys/fs/cgroup/cpu/b/cpu.cfs_quota_us", "300000\n");
    put("/sys/fs/cgroup/cpu/b/cpu.cfs_period_us", "100000\n");
    look();
    ck_assert_ptr_nonnull(strstr(found.list[4].what, "2.0 GB"));
    ck_assert_ptr_nonnull(strstr(found.list[5].what, "3 processors"));
}
END_TEST

static test_run r;

/* Looks at this machine, whatever way of tracking the tests are run by. */
static void doctor(const char *a, const char *b)
{
    ck_assert_int_eq(unsetenv("OAKUM_TRACKING"), 0);
    test_run_oakum(&r, (char *[]){ (char *)"doctor", (char *)(uintptr_t)a, (char *)(uintptr_t)b,
                                   NULL });
    for (const char *line = r.out; a == NULL && *line != '\0'; line += strcspn(line, "\n") + 1)
        ck_assert_uint_le(strcspn(line, "\n"), 80);
}

START_TEST(this_machine_is_looked_at)
{
    doctor(NULL, NULL);
    ck_assert_ptr_nonnull(strstr(r.out, "Dirty pages"));
    ck_assert_ptr_nonnull(strstr(r.out, "Marking: "));
    doctor("--json", NULL);
    ck_assert_ptr_null(test_json_error(r.out));
    ck_assert_ptr_nonnull(strstr(r.out, "\"name\": \"tracking\""));
}
END_TEST

/* Filters and old kernels: what is refused, by which error, and the advice. */
static const struct {
    int call; /* this, or a request of ioctl */
    unsigned long request;
    int error;
    const char *what, *fix;
} refusals[] = {
    { SYS_userfaultfd, 0, EPERM, "userfaultfd", "  ->  Allow userfaultfd in the seccomp filter" },
    { SYS_userfaultfd, 0, ENOSYS, "userfaultfd", "  ->  Use Linux 6.7 or later" },
    { SYS_userfaultfd, 0, EINVAL, "userfaultfd", "  ->  Use Linux 6.7 or later" },
    { SYS_userfaultfd, 0, EMFILE, "userfaultfd", "  ->  Raise ulimit -n" },
    { 0, UFFDIO_API, EINVAL, "userfaultfd's asynchronous", "  ->  Use Linux 6.7 or later" },
    { 0, UFFDIO_REGISTER, EBUSY, "userfaultfd's asynchronous", "  ->  Map nothing shared" },
    { 0, OAKI_PAGEMAP_SCAN, ENOTTY, "PAGEMAP_SCAN", "  ->  Use Linux 6.7 or later" },
};

static bool has_userfaultfd(void)
{
    int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);

    if (fd >= 0) close(fd);
    return fd >= 0;
}

START_TEST(each_refusal_has_its_advice)
{
    char line[128];

    if (refusals[_i].call != 0)
        test_refuse_with(refusals[_i].call, refusals[_i].error, SECCOMP_FILTER_FLAG_TSYNC);
    else if (test_skip(!has_userfaultfd(), "there is no userfaultfd"))
        return;
    else
        test_refuse_ioctl(refusals[_i].request, refusals[_i].error);
    doctor(NULL, NULL);
    ck_assert_int_eq(r.status, 1);
    snprintf(line, sizeof(line), "bad   Dirty pages are not tracked: %s", refusals[_i].what);
    ck_assert_msg(strstr(r.out, line) != NULL, "%s", r.out);
    ck_assert_msg(strstr(r.out, refusals[_i].fix) != NULL, "%s", r.out);
    ck_assert_ptr_null(strstr(r.out, "sysctl vm.unprivileged_userfaultfd"));
    if (refusals[_i].request == OAKI_PAGEMAP_SCAN)
        ck_assert_ptr_nonnull(strstr(r.out, "The kernel has no PAGEMAP_SCAN"));
}
END_TEST

/* With page faults it is only a warning, which does not advise what is done already. */
START_TEST(a_refusal_beside_page_faults_is_a_warning)
{
    test_refuse(SYS_userfaultfd);
    ck_assert_int_eq(setenv("OAKUM_TRACKING", "any", 1), 0);
    test_run_oakum(&r, (char *[]){ (char *)"doctor", NULL });
    ck_assert_msg(strstr(r.out, "warn  Dirty pages: by page faults") != NULL, "%s", r.out);
    ck_assert_ptr_nonnull(strstr(r.out, "  ->  Allow userfaultfd in the seccomp filter"));
    ck_assert_ptr_null(strstr(r.out, "OAKUM_TRACKING"));
}
END_TEST

START_TEST(a_process_without_a_server_is_told_of)
{
    char pid[16];

    snprintf(pid, sizeof(pid), "%d", (int)getpid());
    doctor(pid, NULL);
    ck_assert_ptr_nonnull(strstr(r.out, "no debug server"));
    ck_assert_ptr_nonnull(strstr(r.out, "OAKUM_DEBUG_SERVE=1"));
    ck_assert_str_eq(r.err, "");
    doctor("999999999", NULL);
    ck_assert_int_eq(r.status, 1);
    ck_assert_ptr_nonnull(strstr(r.err, "there is no process 999999999"));
    doctor("name", NULL);
    ck_assert_ptr_nonnull(strstr(r.err, "is no process id"));
}
END_TEST

Suite *suite_cmd_doctor(void)
{
    Suite *s = suite_create("cmd_doctor");
    TCase *tc = tcase_create("doctor");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_loop_test(tc, each_change_is_found, 0, sizeof(changes) / sizeof(changes[0]));
    tcase_add_test(tc, a_long_environment_is_read_to_its_end);
    tcase_add_loop_test(tc, groups_of_version_1_are_read, 0, 3);
    tcase_add_test(tc, this_machine_is_looked_at);
    tcase_add_loop_test(tc, each_refusal_has_its_advice, 0, sizeof(refusals) / sizeof(refusals[0]));
    tcase_add_test(tc, a_refusal_beside_page_faults_is_a_warning);
    tcase_add_test(tc, a_process_without_a_server_is_told_of);
    suite_add_tcase(s, tc);
    return s;
}
