/* files.c - a directory of a test's own (files.h). */
#include "files.h"

#include <check.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static char directory[64];
static pid_t owner;

static void remove_all(void)
{
    if (getpid() != owner) return;
    DIR *d = opendir(directory);
    for (struct dirent *e; d && (e = readdir(d)) != NULL;)
        if (e->d_name[0] != '.') unlinkat(dirfd(d), e->d_name, 0);
    if (d) closedir(d);
    rmdir(directory);
}

const char *test_directory(void)
{
    if (directory[0]) return directory;
    snprintf(directory, sizeof directory, "/tmp/oakum-test-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(directory));
    owner = getpid();
    atexit(remove_all);
    return directory;
}

const char *test_path(const char *name)
{
    char *path = malloc(300);
    snprintf(path, 300, "%s/%s", test_directory(), name);
    return path;
}

char *test_read_file(const char *path)
{
    struct stat st;
    int fd = open(path, O_RDONLY);
    ck_assert_msg(fd >= 0, "%s can't be read", path);
    ck_assert_int_eq(fstat(fd, &st), 0);
    char *text = malloc((size_t)st.st_size + 1);
    ck_assert_int_eq(read(fd, text, (size_t)st.st_size), st.st_size);
    text[st.st_size] = '\0';
    close(fd);
    return text;
}

size_t test_entries(const char *path)
{
    size_t n = 0;
    DIR *d = opendir(path);
    for (struct dirent *e; d && (e = readdir(d)) != NULL;) n += e->d_name[0] != '.';
    if (d) closedir(d);
    return n;
}

oak_snapshot *test_snapshot(void)
{
    char error[200];
    const char *path = test_path("snapshot");
    ck_assert_int_eq(oak_snapshot_save(path), 0);
    oak_snapshot *s = oak_snapshot_open(path, error, sizeof error);
    ck_assert_msg(s != NULL, "%s", error);
    return s;
}
