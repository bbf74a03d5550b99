/* cgroup.c - tests of runtime/cgroup.c on folders made for them: both versions, nested groups, and
 * files that say nothing or can't be read. */
#include "runtime/cgroup.h"

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

Suite *suite_runtime_cgroup(void);

#define MB ((size_t)1 << 20)

static char folder[64];

static void teardown(void)
{
    char command[96];
    snprintf(command, sizeof command, "rm -rf %s", folder);
    ck_assert_int_eq(system(command), 0);
}

/* A file below the folder, with the folders that it needs. */
static void put(const char *name, const char *text)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    for (char *p = path + strlen(folder) + 1; (p = strchr(p, '/')) != NULL; p++) {
        *p = '\0';
        (void)mkdir(path, 0700);
        *p = '/';
    }
    FILE *f = fopen(path, "w");
    ck_assert_ptr_nonnull(f);
    fputs(text, f);
    fclose(f);
}

static void setup(void)
{
    snprintf(folder, sizeof folder, "/tmp/oakum-cgroup.XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    put("fs/x/nothing", "");
}

static bool read_limits(oaki_cgroup *g)
{
    char proc[128], mount[128];
    snprintf(proc, sizeof proc, "%s/cgroup", folder);
    snprintf(mount, sizeof mount, "%s/fs", folder);
    return oaki_cgroup_read(proc, mount, g);
}

static void assert_limits(size_t memory, unsigned cpus)
{
    oaki_cgroup g;
    ck_assert(read_limits(&g));
    ck_assert_uint_eq(g.memory, memory);
    ck_assert_uint_eq(g.cpus, cpus);
}

/* The least of the group and of those above it. */
START_TEST(version_2)
{
    put("cgroup", "0::/a/b\n");
    assert_limits(SIZE_MAX, 0);
    put("fs/a/b/memory.max", "max\n");
    put("fs/a/b/cpu.max", "max 100000\n");
    assert_limits(SIZE_MAX, 0);
    put("fs/a/b/memory.max", "536870912\n");
    put("fs/a/b/cpu.max", "150000 100000\n"); /* one and a half */
    assert_limits(512 * MB, 2);
    put("fs/a/memory.max", "104857600\n");
    put("fs/a/cpu.max", "400000 100000\n");
    assert_limits(100 * MB, 2);
    put("fs/a/cpu.max", "10000 100000\n");
    assert_limits(100 * MB, 1);
    put("fs/a/b/memory.high", "max\n");
    assert_limits(100 * MB, 1);
    put("fs/a/b/memory.high", "83886080\n");
    assert_limits(80 * MB, 1);
    put("fs/a/b/memory.high", "0\n");
    assert_limits(100 * MB, 1);
    put("fs/memory.max", "1048576\n"); /* a container's own root */
    assert_limits(MB, 1);
}
END_TEST

START_TEST(version_1)
{
    put("cgroup", "12:memory:/x\n4:cpu,cpuacct:/x/y\n1:name=systemd:/z\n");
    put("fs/memory/x/memory.limit_in_bytes", "9223372036854771712\n");
    put("fs/cpu/x/y/cpu.cfs_quota_us", "-1\n");
    put("fs/cpu/x/y/cpu.cfs_period_us", "100000\n");
    assert_limits(SIZE_MAX, 0);
    put("fs/memory/x/memory.limit_in_bytes", "67108864\n");
    put("fs/cpu/x/y/cpu.cfs_quota_us", "300000\n");
    assert_limits(64 * MB, 3);
    put("fs/cpu/x/cpu.cfs_quota_us", "50000\n");
    put("fs/cpu/x/cpu.cfs_period_us", "50000\n");
    assert_limits(64 * MB, 1);
}
END_TEST

/* Version 1's controllers beside an empty hierarchy of version 2, as some systems have it. */
START_TEST(both_versions)
{
    put("cgroup", "3:cpuset,memory:/m\n0::/user\n");
    put("fs/memory/m/memory.limit_in_bytes", "2097152\n");
    put("fs/user/cpu.max", "200000 100000\n");
    assert_limits(2 * MB, 2);
}
END_TEST

START_TEST(what_cannot_be_read_is_no_limit)
{
    static const char *const lists[] = { "", "\n\n", "0::", "0::\n", "nonsense\n", "0:memory\n",
                                         "::::\n", "0::/../../etc\n", "5:memory:relative\n",
                                         "0::/a" };
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        put("cgroup", lists[i]);
        assert_limits(SIZE_MAX, 0);
    }
    static const char *const numbers[] = { "", "\n", "x", "-5\n", "99999999999999999999999999\n" };
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        put("fs/a/memory.max", numbers[i]);
        put("fs/a/cpu.max", numbers[i]);
        assert_limits(SIZE_MAX, 0);
    }
    put("fs/a/cpu.max", "100000 0\n"); /* no period */
    assert_limits(SIZE_MAX, 0);
}
END_TEST

/* The root's limits are obeyed where the group's name is too long, or that of another view. */
START_TEST(a_group_that_is_not_here_leaves_those_above)
{
    char list[3000];
    memset(list, 'n', sizeof list);
    memcpy(list, "0::/", 4);
    list[sizeof list - 1] = '\0';
    put("cgroup", list);
    put("fs/memory.max", "3145728\n");
    assert_limits(3 * MB, 0);
    put("cgroup", "0::/../elsewhere\n");
    assert_limits(3 * MB, 0);
    put("cgroup", "0::/not/there\n");
    assert_limits(3 * MB, 0);
}
END_TEST

/* Lists without a file, a folder or a descriptor are no news; those of a process that has moved its
 * root are such. */
START_TEST(what_could_not_be_read_is_told)
{
    oaki_cgroup g;
    struct rlimit few, usual;
    ck_assert(!read_limits(&g)); /* no list */
    put("cgroup", "0::/x\n");
    put("fs/x/memory.max", "4194304\n");
    assert_limits(4 * MB, 0);
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &usual), 0);
    few = (struct rlimit){ 0, usual.rlim_max };
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
    errno = 7;
    bool all = read_limits(&g);
    ck_assert_int_eq(errno, 7);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &usual), 0);
    ck_assert(!all);
    put("fs/x/cpu.max/folder", ""); /* what opens and can't be read */
    ck_assert(!read_limits(&g));
    ck_assert_uint_eq(g.memory, 4 * MB);
    snprintf(folder + strlen(folder), 4, "/fs"); /* where "fs" isn't mounted */
    put("cgroup", "0::/x\n");
    ck_assert(!read_limits(&g));
    folder[strlen(folder) - 3] = '\0';
}
END_TEST

Suite *suite_runtime_cgroup(void)
{
    Suite *s = suite_create("runtime/cgroup");
    TCase *c = tcase_create("cgroup");
    tcase_add_checked_fixture(c, setup, teardown);
    tcase_add_test(c, version_2);
    tcase_add_test(c, version_1);
    tcase_add_test(c, both_versions);
    tcase_add_test(c, what_cannot_be_read_is_no_limit);
    tcase_add_test(c, what_could_not_be_read_is_told);
    tcase_add_test(c, a_group_that_is_not_here_leaves_those_above);
    suite_add_tcase(s, c);
    return s;
}
