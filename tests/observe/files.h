/* files.h - a directory of a test's own, gone when the test's process ends, and what is in its
 * files. */
#ifndef TESTS_OBSERVE_FILES_H
#define TESTS_OBSERVE_FILES_H

#include <oakum/oakum.h>
#include <stddef.h>

const char *test_directory(void);
/* A name in it; lives as long as the process. */
const char *test_path(const char *name);
/* What the file holds, with a zero byte behind it. */
char *test_read_file(const char *path);
/* How many entries the directory has. */
size_t test_entries(const char *path);
/* Of the heap as it is, saved in it and opened. */
oak_snapshot *test_snapshot(void);

#endif
