/* snapshot.c - tests of the commands that read snapshots: oakum snapshot, why and diff. */
#include "run.h"

#include "runtime/xxh.h"
#include "tests/gc/away.h"
#include "tests/heap.h"
#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

Suite *suite_cmd_snapshot(void);

static test_run r;
static char file[64], address[32];

#define OAKUM(...) oakum((const char *[8]){ __VA_ARGS__ })

static void oakum(const char *const args[8])
{
    char *copy[9] = { NULL };

    for (int i = 0; i < 8; i++) copy[i] = (char *)(uintptr_t)args[i];
    test_run_oakum(&r, copy);
}

void *cmd_snapshot_global;

static void fill(void *arg)
{
    oak_map *m = oak_map_new(&oak_map_u64_ptr, 0);
    void *v;

    (void)arg;
    cmd_snapshot_global = m;
    for (uint64_t i = 0; i < 100; i++) {
        v = oak_alloc(64);
        *(void **)oak_map_put(m, &i) = v;
    }
    snprintf(address, sizeof(address), "%p", v);
}

/* By another thread: what a call has left on the stack of this one may lead into the map, which
 * then doesn't retain all of it. */
static void save(void)
{
    test_heap_start(test_config());
    test_away(fill, NULL);
    snprintf(file, sizeof(file), "/tmp/oakum-snap-XXXXXX");
    close(mkstemp(file));
    ck_assert_int_eq(oak_snapshot_save(file), 0);
}

static void forget(void)
{
    unlink(file);
}

START_TEST(a_snapshot_is_looked_into)
{
    save();
    OAKUM("snapshot", "info", file);
    ck_assert_int_eq(r.status, 0);
    ck_assert_ptr_nonnull(strstr(r.out, "map keys  100"));
    OAKUM("snapshot", "info", "--json", file);
    ck_assert_ptr_null(test_json_error(r.out));
    OAKUM("snapshot", "top", "--count=1", file);
    ck_assert_int_eq(r.status, 0);
    ck_assert_ptr_nonnull(strstr(r.out, " oak_map\n"));
    ck_assert_uint_eq(test_count(r.out, "\n"), 2);
    OAKUM("snapshot", "top", "--json", file);
    ck_assert_ptr_null(test_json_error(r.out));
    OAKUM("why", file, address);
    ck_assert_int_eq(r.status, 0);
    ck_assert_msg(strstr(r.out, "key 99") && strstr(r.out, "cmd_snapshot_global"), "%s", r.out);
    OAKUM("why", "--json", file, address);
    ck_assert_ptr_null(test_json_error(r.out));
    OAKUM("diff", file, file);
    ck_assert_int_eq(r.status, 0);
    ck_assert_ptr_nonnull(strstr(r.out, "oak_map\n"));
    OAKUM("diff", "--json", "--count=2", file, file);
    ck_assert_ptr_null(test_json_error(r.out));
    OAKUM("snapshot", "convert", file);
    ck_assert_int_eq(r.status, 0);
    ck_assert_ptr_null(test_json_error(r.out));
    forget();
}
END_TEST

static const struct {
    const char *args[4];
    int status;
    const char *err;
} refused[] = {
    { { "snapshot" }, 2, "wants an action and a file" },
    { { "snapshot", "inf" }, 2, "did you mean 'info'?" },
    { { "snapshot", "info" }, 2, "wants an action and a file" },
    { { "snapshot", "info", "a", "b" }, 2, "wants an action and a file" },
    { { "snapshot", "top", "--count=0", "a" }, 2, "--count takes a number" },
    { { "snapshot", "top", "--cuont=1", "a" }, 2, "did you mean '--count'?" },
    { { "snapshot", "info", "/nowhere" }, 1, "/nowhere: No such file" },
    { { "snapshot", "info", "/etc/passwd" }, 1, "it is no snapshot" },
    { { "why", "/etc/passwd" }, 2, "wants a snapshot or a program, and an address" },
    { { "why", "/etc/passwd", "xyz" }, 2, "'xyz' is no address" },
    { { "why", "/etc/passwd", "0x1000" }, 1, "it is no snapshot" },
    { { "diff", "/etc/passwd" }, 2, "wants two snapshots" },
    { { "diff", "/etc/passwd", "/etc/passwd" }, 1, "it is no snapshot" },
};

START_TEST(what_makes_no_sense_is_refused)
{
    OAKUM(refused[_i].args[0], refused[_i].args[1], refused[_i].args[2], refused[_i].args[3]);
    ck_assert_int_eq(r.status, refused[_i].status);
    ck_assert_str_eq(r.out, "");
    ck_assert_msg(strstr(r.err, refused[_i].err) != NULL, "%s", r.err);
    ck_assert_uint_eq(test_count(r.err, "\n"), 1);
}
END_TEST

START_TEST(damaged_files_and_strange_addresses_are_told)
{
    save();
    OAKUM("why", file, "0x10");
    ck_assert_int_eq(r.status, 1);
    ck_assert_ptr_nonnull(strstr(r.err, "0x10 is in no object"));
    ck_assert_int_eq(truncate(file, 200), 0);
    OAKUM("snapshot", "info", file);
    ck_assert_int_eq(r.status, 1);
    ck_assert_ptr_nonnull(strstr(r.err, "it is not whole: it ends at byte 200"));
    forget();
}
END_TEST

/* ---- names that somebody else has chosen ---- */

#define EVIL "\x1b\x07\n\x7f\xc2\x9b\xff"
#define SHOWN "?" "?" "?" "?" "?" "?" "?"

/* Each `name`, which is as long as EVIL, is EVIL in the file, and the checksum is right. */
static void corrupt(const char *name)
{
    const size_t room = (size_t)1 << 22;
    unsigned char *data = malloc(room);
    size_t n, at, found = 0;
    uint64_t sum;
    FILE *f = fopen(file, "r+");

    n = fread(data, 1, room, f);
    ck_assert_uint_lt(n, room);
    for (at = 0; at + strlen(name) <= n; at++) {
        if (memcmp(data + at, name, strlen(name)) != 0) continue;
        memcpy(data + at, EVIL, strlen(name));
        found++;
    }
    ck_assert_uint_gt(found, 0);
    sum = XXH64(data, n - 8, 0);
    for (size_t i = 0; i < 8; i++) data[n - 8 + i] = (unsigned char)(sum >> 8 * i);
    rewind(f);
    ck_assert_uint_eq(fwrite(data, 1, n, f), n);
    fclose(f);
    free(data);
}

static oak_map *named;

/* A program, a type, a file and a key with EVIL in their names. */
static void save_evil(void)
{
    static const uint64_t bitmap = 0;
    static const char key[] = "HOSTILE";
    const char *k = key;
    void *v;

    test_heap_start(test_config());
    named = oak_map_new(&oak_map_cstring_ptr, 0);
    v = oak_alloc_typed(oak_type_bitmap("type-HOSTILE", 64, &bitmap), 1);
    ck_assert_ptr_nonnull(v);
    *(void **)oak_map_put(named, &k) = v;
    snprintf(address, sizeof(address), "%p", v);
    snprintf(file, sizeof(file), "/tmp/oakum-snap-XXXXXX");
    close(mkstemp(file));
    ck_assert_int_eq(oak_snapshot_save(file), 0);
    corrupt("HOSTILE");
    corrupt("check_o"); /* the program, whose file the variable is in */
}

static void is_printable(size_t names)
{
    ck_assert_msg(r.status == 0, "%s", r.err);
    ck_assert_msg(test_count(r.out, SHOWN) >= names, "%s", r.out);
    for (const char *p = r.out; *p != '\0'; p++)
        ck_assert_msg(*p == '\n' || (*p >= 0x20 && *p < 0x7f), "%s", r.out);
}

START_TEST(names_in_a_snapshot_are_shown_without_what_a_terminal_obeys)
{
    save_evil();
    OAKUM("snapshot", "info", file);
    is_printable(1);
    ck_assert_ptr_nonnull(strstr(r.out, "/" SHOWN "akum, process "));
    OAKUM("snapshot", "top", file);
    is_printable(1);
    OAKUM("diff", file, file);
    is_printable(1);
    ck_assert_ptr_nonnull(strstr(r.out, "  type-" SHOWN "\n"));
    OAKUM("why", file, address);
    is_printable(3); /* the file, the key and the type */
    forget();
}
END_TEST

START_TEST(names_in_a_snapshot_are_escaped_in_json)
{
    save_evil();
    switch (_i) {
    case 0:
        OAKUM("snapshot", "info", "--json", file);
        break;
    case 1:
        OAKUM("snapshot", "top", "--json", file);
        break;
    case 2:
        OAKUM("diff", "--json", file, file);
        break;
    default:
        OAKUM("why", "--json", file, address);
    }
    ck_assert_int_eq(r.status, 0);
    ck_assert_ptr_null(test_json_error(r.out));
    ck_assert_msg(strstr(r.out, "\\u001b\\u0007\\u000a\\u007f\\u009b\\ufffd") != NULL, "%s", r.out);
    forget();
}
END_TEST

/* ---- output ---- */

START_TEST(what_can_not_be_written_is_told)
{
    save();
    OAKUM("snapshot", "convert", file, "/dev/full");
    ck_assert_int_eq(r.status, 1);
    ck_assert_ptr_nonnull(strstr(r.err, "No space left"));
    ck_assert_int_eq(access("/dev/full", F_OK), 0);
    OAKUM("snapshot", "convert", file, "/nowhere/x");
    ck_assert_int_eq(r.status, 1);
    OAKUM("snapshot", "convert", file, file);
    ck_assert_int_eq(r.status, 2);
    ck_assert_ptr_nonnull(strstr(r.err, "is the snapshot itself"));
    OAKUM("snapshot", "info", file);
    ck_assert_int_eq(r.status, 0);
    forget();
}
END_TEST

/* Links stay, and so does what standard output has: here by a name in whose folder there can be no
 * other file. */
START_TEST(an_output_is_what_a_link_leads_to)
{
    char folder[] = "/tmp/oakum-test-XXXXXX", link[64], target[64], to[64];

    save();
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(link, sizeof(link), "%s/link", folder);
    snprintf(target, sizeof(target), "%s/target", folder);
    ck_assert_int_eq(symlink("target", link), 0);
    for (int i = 0; i < 2; i++) { /* without the target, and with it */
        OAKUM("snapshot", "convert", file, link);
        ck_assert_msg(r.status == 0, "%s", r.err);
        ck_assert_int_eq(readlink(link, to, sizeof(to)), 6);
        ck_assert_int_eq(truncate(target, 100), 0);
    }
    ck_assert_int_eq(unlink(link), 0);
    ck_assert_int_eq(unlink(target), 0);
    ck_assert_msg(rmdir(folder) == 0, "something is left in %s", folder);
    OAKUM("snapshot", "convert", file, "/proc/self/fd/1");
    ck_assert_msg(r.status == 0, "%s", r.err);
    ck_assert_ptr_null(test_json_error(r.out));
    forget();
}
END_TEST

static bool deadly; /* the signal of such a limit has its default, which ends a process */

/* A file ends after the first bytes of it. No signal comes of what Oakum writes. */
static int with_little_room(int argc, char **argv)
{
    (void)argc;
    signal(SIGXFSZ, deadly ? SIG_DFL : SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &(struct rlimit){ 4096, 4096 });
    execv(argv[0], argv);
    return 127;
}

START_TEST(nothing_is_left_of_a_conversion_that_failed)
{
    static char built[] = TEST_OAKUM, snapshot[] = "snapshot", convert[] = "convert";
    char folder[] = "/tmp/oakum-test-XXXXXX", out[64], text[64] = "";
    char *argv[] = { getenv("OAKUM_BIN") != NULL ? getenv("OAKUM_BIN") : built, snapshot, convert,
                     file, out, NULL };
    FILE *f;

    save();
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(out, sizeof(out), "%s/out", folder);
    f = fopen(out, "w");
    fputs("an older file", f);
    fclose(f);
    deadly = _i == 1;
    test_run_function(&r, with_little_room, argv);
    ck_assert_int_eq(r.status, 1);
    ck_assert_msg(strstr(r.err, "File too large") != NULL, "%s", r.err);
    f = fopen(out, "r");
    ck_assert_ptr_nonnull(f);
    ck_assert_ptr_nonnull(fgets(text, sizeof(text), f));
    fclose(f);
    ck_assert_str_eq(text, "an older file");
    ck_assert_int_eq(unlink(out), 0);
    ck_assert_msg(rmdir(folder) == 0, "something is left in %s", folder);
    forget();
}
END_TEST

Suite *suite_cmd_snapshot(void)
{
    Suite *s = suite_create("cmd_snapshot");
    TCase *t = tcase_create("snapshot");
    tcase_add_test(t, a_snapshot_is_looked_into);
    tcase_add_loop_test(t, what_makes_no_sense_is_refused, 0, (int)OAKI_COUNT(refused));
    tcase_add_test(t, damaged_files_and_strange_addresses_are_told);
    tcase_add_test(t, names_in_a_snapshot_are_shown_without_what_a_terminal_obeys);
    tcase_add_loop_test(t, names_in_a_snapshot_are_escaped_in_json, 0, 4);
    tcase_add_test(t, what_can_not_be_written_is_told);
    tcase_add_test(t, an_output_is_what_a_link_leads_to);
    tcase_add_loop_test(t, nothing_is_left_of_a_conversion_that_failed, 0, 2);
    suite_add_tcase(s, t);
    return s;
}
