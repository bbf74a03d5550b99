/* names.c - fuzz target: names that the program gives (labels, types, spans, maps) in everything
 * that is written with them: a profile, a trace, a snapshot. What is JSON must be JSON, and a
 * profile must be what profile.proto says. */
#include "cmd/live.h"
#include "fuzz.h"

#include <fcntl.h>
#include <oakum/oakum.h>
#include <string.h>
#include <unistd.h>

#define NAMES 8
#define PROFILE_MOST ((size_t)16 << 20)

static char *names[NAMES];

static void split(const uint8_t *data, size_t size)
{
    for (size_t i = 0; i < NAMES; i++) {
        size_t n = strnlen((const char *)data, size);
        names[i] = strndup((const char *)data, n);
        FUZZ_REQUIRE(names[i]);
        n = n < size ? n + 1 : size;
        data += n;
        size -= n;
    }
}

static void use_names(void)
{
    int popped = oak_label_push(names[0], names[1]);
    int other = oak_label_push_number(names[2], (int64_t)strlen(names[3]) - 3, names[4]);
    oak_span_begin_arg(names[5], names[6], names[7]);
    const uint64_t bitmap = 1;
    const oak_type *type = oak_type_bitmap(names[3], 32, &bitmap);
    for (int i = 0; i < 4; i++) {
        FUZZ_REQUIRE(oak_alloc(100));
        if (type) FUZZ_REQUIRE(oak_alloc_typed(type, 2));
    }
    oak_trace_instant(names[1]);
    oak_trace_counter(names[0], 1.5);
    oak_span_end();
    if (other >= 0) oak_labels_pop(other);
    if (popped >= 0) oak_labels_pop(popped);
}

static void check_profile(void)
{
    size_t n, whole;
    int fd = fuzz_file(NULL, 0, NULL);
    oak_profile *profile = oak_profile_read(OAK_PROFILE_NOW);
    FUZZ_REQUIRE(profile && oak_profile_write(profile, fd) == 0);
    oak_profile_free(profile);
    char *packed = fuzz_read(fd, &n), *text = fuzz_inflate(packed, n, PROFILE_MOST, &whole);
    fuzz_pprof_check(text, whole);
    free(text);
    free(packed);
    close(fd);
}

static void check_trace(void)
{
    static char path[] = "/tmp/oakum-fuzz-XXXXXX";
    static int file = -1;
    size_t n;
    if (file < 0) file = mkstemp(path);
    FUZZ_REQUIRE(file >= 0 && oak_trace_write(path) == 0);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    char *text = fuzz_read(fd, &n);
    cmd_json *v = cmd_json_read(text);
    FUZZ_REQUIRE(v && strlen(text) == n);
    cmd_json_free(v);
    free(text);
    close(fd);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    FUZZ_REQUIRE(oak_profile_set_rate(1) == 0);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > 4096) return -1;
    split(data, size);
    FUZZ_REQUIRE(oak_trace_start(256) == 0);
    use_names();
    check_trace();
    (void)oak_trace_stop(NULL);
    check_profile();
    for (size_t i = 0; i < NAMES; i++) free(names[i]);
    return 0;
}
