/* mapped.c - tests of observe/mapped.c: which files are mapped, and how often. */
#include "observe/mapped.h"
#include "tests/heap.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

Suite *suite_observe_mapped(void);

#define PAGE ((size_t)4096)

static char path[] = "/tmp/oakum-test-XXXXXX";

/* `pages` of the file from that page on, at that address. */
static void map_file(int fd, char *at, size_t page, size_t pages)
{
    ck_assert_ptr_eq(mmap(at, pages * PAGE, PROT_READ, MAP_PRIVATE | MAP_FIXED, fd,
                          (off_t)(page * PAGE)), at);
}

/* Two copies with nothing but anonymous memory between them are two; a copy whose pieces have
 * different rights, and memory of its own behind, is one. */
START_TEST(copies_of_a_file_are_told_apart)
{
    int fd = mkstemp(path);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(ftruncate(fd, 8 * (off_t)PAGE), 0);
    char *room = mmap(NULL, 32 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(room, MAP_FAILED);
    map_file(fd, room + 2 * PAGE, 0, 2);
    map_file(fd, room + 5 * PAGE, 3, 2);
    ck_assert_int_eq(mprotect(room + 5 * PAGE, PAGE, PROT_READ | PROT_EXEC), 0);
    map_file(fd, room + 10 * PAGE, 0, 4);
    map_file(fd, room + 14 * PAGE, 0, 1);
    oaki_mappings m;
    ck_assert_int_eq(oaki_mappings_read(&m), 0);
    static const size_t want[][2] = { { 2, 7 }, { 10, 14 }, { 14, 15 } };
    size_t found = 0;
    for (size_t i = 0; i < m.n; i++) {
        if (i > 0) ck_assert_uint_ge(m.item[i].lo, m.item[i - 1].hi);
        if (strcmp(m.item[i].name, path) != 0) continue;
        ck_assert_uint_lt(found, 3);
        ck_assert_uint_eq(m.item[i].lo, (uintptr_t)room + want[found][0] * PAGE);
        ck_assert_uint_eq(m.item[i].hi, (uintptr_t)room + want[found][1] * PAGE);
        found++;
    }
    ck_assert_uint_eq(found, 3);
    oaki_mappings_free(&m);
    munmap(room, 32 * PAGE);
    close(fd);
    unlink(path);
}
END_TEST

Suite *suite_observe_mapped(void)
{
    Suite *s = suite_create("observe/mapped");
    TCase *tc = tcase_create("mapped");
    tcase_add_test(tc, copies_of_a_file_are_told_apart);
    suite_add_tcase(s, tc);
    return s;
}
