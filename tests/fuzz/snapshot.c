/* snapshot.c - fuzz target: a file that is taken for a snapshot. Its checksum is made right, so
 * that what lies behind it is reached; what is accepted is followed to its ends. */
#include "fuzz.h"

#include <fcntl.h>
#include <oakum/snapshot.h>
#include <oakum/why.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#define SUM 8
#define LOOKS 200 /* objects that are looked at one by one */

static void look_at_object(const oak_snapshot *s, uint64_t number, uint64_t objects)
{
    oak_snapshot_object o;
    uint64_t found;
    if (oak_snapshot_object_read(s, number, &o) != 0) return;
    FUZZ_REQUIRE(oak_snapshot_find(s, o.address, &found) == 0 && found == number);
    for (uint64_t i = 0; i < LOOKS; i++) {
        oak_snapshot_edge e;
        if (oak_snapshot_edge_read(s, number, i, &e) != 0) break;
        FUZZ_REQUIRE(e.target < objects);
    }
    if (number < 4) oak_path_free(oak_snapshot_why(s, o.address));
}

static void follow(oak_snapshot *s)
{
    oak_snapshot_info info;
    oak_snapshot_change changes[16];
    uint64_t top[16], target;
    oak_root_info root;
    size_t total;
    oak_snapshot_info_read(s, &info);
    FUZZ_REQUIRE(strlen(info.program) + strlen(info.oakum) < 100000);
    for (uint64_t i = 0; i < info.objects && i < LOOKS; i++) look_at_object(s, i, info.objects);
    for (uint64_t i = 0; i < info.roots && i < LOOKS; i++)
        if (oak_snapshot_root_read(s, i, &root, &target) == 0) FUZZ_REQUIRE(target < info.objects);
    FUZZ_REQUIRE(oak_snapshot_analyse(s) == 0);
    size_t n = oak_snapshot_top(s, top, 16);
    FUZZ_REQUIRE(n <= 16);
    for (size_t i = 0; i < n; i++) FUZZ_REQUIRE(top[i] < info.objects);
    FUZZ_REQUIRE(oak_snapshot_diff(s, s, changes, 16, &total) >= 0);
    int out = open("/dev/null", O_WRONLY | O_CLOEXEC);
    FUZZ_REQUIRE(oak_snapshot_convert(s, out) == 0);
    close(out);
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
