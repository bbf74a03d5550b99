/* snapshot.c - fuzz target: a file that is taken for a snapshot. Its checksum is made right, so
 * that what lies behind it is reached; what is accepted is followed to its ends, told in words, and
 * converted, which gives JSON. */
#include "cmd/live.h"
#include "fuzz.h"

#include <oakum/snapshot.h>
#include <oakum/why.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#define SUM 8
#define LOOKS 200 /* objects that are looked at one by one */

/* Cut where the room ends, it is the beginning of the whole. */
static void tell(oak_path *path)
{
    char whole[8192], part[40];
    if (!path) return;
    size_t n = oak_path_format(path, whole, sizeof whole);
    FUZZ_REQUIRE(strlen(whole) == (n < sizeof whole ? n : sizeof whole - 1));
    FUZZ_REQUIRE(oak_path_format(path, part, sizeof part) == n);
    FUZZ_REQUIRE(strncmp(whole, part, strlen(part)) == 0);
    oak_path_free(path);
}

static void look_at_object(const oak_snapshot *s, uint64_t number, uint64_t objects)
{
    oak_snapshot_object o;
    uint64_t found;
    FUZZ_REQUIRE(oak_snapshot_object_read(s, number, &o) == 0);
    FUZZ_REQUIRE(oak_snapshot_find(s, o.address, &found) == 0 && found == number);
    FUZZ_REQUIRE(strlen(o.type) < 100000);
    for (uint64_t i = 0; i < LOOKS; i++) {
        oak_snapshot_edge e;
        if (oak_snapshot_edge_read(s, number, i, &e) != 0) break;
        FUZZ_REQUIRE(e.target < objects);
    }
    if (number < 4) tell(oak_snapshot_why(s, o.address));
}

static void look_at_root(const oak_snapshot *s, uint64_t i, uint64_t objects)
{
    char line[600];
    oak_root_info root;
    uint64_t target;
    FUZZ_REQUIRE(oak_snapshot_root_read(s, i, &root, &target) == 0 && target < objects);
    FUZZ_REQUIRE(oak_root_format(&root, line, sizeof line) < 100000);
}

/* An object retains itself, and no more than there is. */
static void analyse(oak_snapshot *s, const oak_snapshot_info *info)
{
    uint64_t top[16];
    oak_snapshot_object o;
    FUZZ_REQUIRE(oak_snapshot_analyse(s) == 0);
    size_t n = oak_snapshot_top(s, top, 16);
    FUZZ_REQUIRE(n <= 16);
    for (size_t i = 0; i < n; i++) {
        FUZZ_REQUIRE(top[i] < info->objects && oak_snapshot_object_read(s, top[i], &o) == 0);
        FUZZ_REQUIRE(o.retained >= o.size && o.retained <= info->object_bytes);
        FUZZ_REQUIRE(o.dominator == UINT64_MAX || o.dominator < info->objects);
    }
}

static void convert(const oak_snapshot *s)
{
    size_t n;
    int fd = fuzz_file(NULL, 0, NULL);
    FUZZ_REQUIRE(oak_snapshot_convert(s, fd) == 0);
    char *text = fuzz_read(fd, &n);
    cmd_json *v = cmd_json_read(text);
    FUZZ_REQUIRE(v && strlen(text) == n && cmd_json_count(v, "nodes") > 0);
    cmd_json_free(v);
    free(text);
    close(fd);
}

static void follow(oak_snapshot *s)
{
    oak_snapshot_info info;
    oak_snapshot_change changes[16];
    size_t total;
    oak_snapshot_info_read(s, &info);
    FUZZ_REQUIRE(strlen(info.program) + strlen(info.oakum) < 100000);
    for (uint64_t i = 0; i < info.objects && i < LOOKS; i++) look_at_object(s, i, info.objects);
    for (uint64_t i = 0; i < info.roots && i < LOOKS; i++) look_at_root(s, i, info.objects);
    analyse(s, &info);
    FUZZ_REQUIRE(oak_snapshot_diff(s, s, changes, 16, &total) >= 0);
    convert(s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[64], error[256] = "";
    if (size < SUM || size > 1 << 20) return -1;
    uint8_t *copy = malloc(size);
    FUZZ_REQUIRE(copy);
    memcpy(copy, data, size);
    uint64_t sum = XXH64(copy, size - SUM, 0);
    for (unsigned i = 0; i < SUM; i++) copy[size - SUM + i] = (uint8_t)(sum >> 8 * i);
    int fd = fuzz_file(copy, size, path);
    oak_snapshot *s = oak_snapshot_open(path, error, sizeof error);
    FUZZ_REQUIRE(s || (*error && strlen(error) < sizeof error));
    if (s) follow(s);
    oak_snapshot_close(s);
    close(fd);
    free(copy);
    return 0;
}
