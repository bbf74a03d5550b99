/* limit_system.h - limits of the system's, set so that this process can have about so many bytes
 * more, or hardly any mapping. */
#ifndef TESTS_GC_LIMIT_SYSTEM_H
#define TESTS_GC_LIMIT_SYSTEM_H

#include "runtime/os.h"

#include <check.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

#define TEST_STACK ((size_t)256 << 10) /* of threads from now on: a limit counts theirs */

/* What the kernel counts, from /proc: "VmSize:" or "VmData:". Bytes. */
static inline size_t test_in_use(const char *label)
{
    char line[256];
    size_t kib = 0;
    FILE *f = fopen("/proc/self/status", "r");
    ck_assert_ptr_nonnull(f);
    while (fgets(line, sizeof line, f))
        if (strncmp(line, label, strlen(label)) == 0)
            (void)sscanf(line + strlen(label), "%zu", &kib);
    fclose(f);
    ck_assert_uint_gt(kib, 0);
    return kib << 10;
}

/* RLIMIT_AS or RLIMIT_DATA. */
static inline void test_limit(int what, size_t more)
{
    pthread_attr_t attr;
    size_t bytes = test_in_use(what == RLIMIT_AS ? "VmSize:" : "VmData:") + more;
    ck_assert_int_eq(pthread_attr_init(&attr), 0);
    ck_assert_int_eq(pthread_attr_setstacksize(&attr, TEST_STACK), 0);
    ck_assert_int_eq(pthread_setattr_default_np(&attr), 0);
    ck_assert_int_eq(setrlimit(what, &(struct rlimit){ bytes, bytes }), 0);
}

#define TEST_MAPPINGS ((size_t)200000)

/* All mappings but a few. false: there may be more than these. */
static inline bool test_use_up_mappings(size_t but)
{
    size_t page = oaki_os_page_size(), at = 0;
    char *all = mmap(NULL, TEST_MAPPINGS * page, PROT_NONE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    ck_assert_ptr_ne(all, MAP_FAILED);
    while (at < TEST_MAPPINGS && mprotect(all + at * page, page, PROT_READ) == 0) at += 2;
    if (at >= TEST_MAPPINGS) return munmap(all, TEST_MAPPINGS * page), false;
    for (; but > 0 && at >= 4; but--, at -= 2)
        (void)mprotect(all + (at - 2) * page, page, PROT_NONE);
    return true;
}

#endif
