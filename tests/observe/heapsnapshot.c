/* heapsnapshot.c - tests of the conversion to Chrome's format: valid JSON whose arrays agree with
 * its counts, fields and references. What reads it in earnest is in check-memlab. */
#include "readjson.h"
#include "tests/heap.h"
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

Suite *suite_observe_heapsnapshot(void);

static char path[64];

void *heapsnapshot_global;

static void fill(void *arg)
{
    oak_map *m = oak_map_new(&oak_map_cstring_ptr, 0);
    for (int i = 0; i < 100; i++) {
        char *key = oak_alloc_noscan(16);
        snprintf(key, 16, "\"%d\\\n\xff", i);
        *(void **)oak_map_put(m, &key) = oak_alloc(48);
    }
    void **top = oak_alloc(64), *key = oak_alloc(32);
    top[0] = m;
    top[1] = key;
    top[2] = oak_ephemeron_new(key, oak_alloc(80));
    *(void **)arg = top;
}

/* Save, read, convert; the text. */
static const json *convert(void)
{
    char error[200];
    snprintf(path, sizeof path, "/tmp/oakum-snap-XXXXXX");
    int fd = mkstemp(path);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(oak_snapshot_save(path), 0);
    oak_snapshot *s = oak_snapshot_open(path, error, sizeof error);
    ck_assert_msg(s != NULL, "%s", error);
    close(fd);
    fd = open(path, O_RDWR | O_TRUNC);
    ck_assert_int_eq(oak_snapshot_convert(s, fd), 0);
    oak_snapshot_close(s);
    off_t n = lseek(fd, 0, SEEK_END);
    char *text = calloc(1, (size_t)n + 1);
    ck_assert_int_eq(pread(fd, text, (size_t)n, 0), n);
    close(fd);
    unlink(path);
    return json_read(text);
}

static uint64_t at(const json *array, size_t i)
{
    ck_assert_uint_lt(i, array->length);
    ck_assert_int_eq(array->item[i].kind, JSON_NUMBER);
    return array->item[i].whole;
}

START_TEST(arrays_agree_with_counts_and_fields)
{
    test_heap_start(test_config());
    test_away(fill, &heapsnapshot_global);
    const json *all = convert(), *snapshot = json_get(all, "snapshot");
    const json *meta = json_get(snapshot, "meta"), *nodes = json_get(all, "nodes"),
               *edges = json_get(all, "edges"), *strings = json_get(all, "strings");
    size_t nf = json_get(meta, "node_fields")->length, ef = json_get(meta, "edge_fields")->length;
    ck_assert_uint_eq(nf, json_get(meta, "node_types")->length);
    ck_assert_uint_eq(ef, json_get(meta, "edge_types")->length);
    size_t nnodes = json_u64(snapshot, "node_count"), nedges = json_u64(snapshot, "edge_count");
    ck_assert_uint_eq(nodes->length, nnodes * nf);
    ck_assert_uint_eq(edges->length, nedges * ef);
    size_t node_types = json_get(meta, "node_types")->item[0].length,
           edge_types = json_get(meta, "edge_types")->item[0].length, sum = 0;
    uint64_t last_id = 0;
    for (size_t i = 0; i < nnodes; i++) {
        ck_assert_uint_lt(at(nodes, i * nf), node_types);
        ck_assert_uint_lt(at(nodes, i * nf + 1), strings->length);
        ck_assert_uint_eq(at(nodes, i * nf + 2) % 2, 1);
        ck_assert_uint_gt(at(nodes, i * nf + 2), last_id);
        last_id = at(nodes, i * nf + 2);
        sum += at(nodes, i * nf + 4);
    }
    ck_assert_uint_eq(sum, nedges);
    for (size_t i = 0; i < nedges; i++) {
        uint64_t type = at(edges, i * ef), to = at(edges, i * ef + 2);
        ck_assert_uint_lt(type, edge_types);
        if (type == 2 || type == 3) ck_assert_uint_lt(at(edges, i * ef + 1), strings->length);
        ck_assert_uint_eq(to % nf, 0);
        ck_assert_uint_lt(to, nodes->length);
    }
    bool key = false, global = false;
    for (size_t i = 0; i < strings->length; i++) {
        key |= strcmp(strings->item[i].string, "\"\\\"42\\\\\\x0a\\xff\"") == 0;
        global |= strcmp(strings->item[i].string, "heapsnapshot_global") == 0;
    }
    ck_assert(key && global);
}
END_TEST

/* DevTools and memlab show this name. */
START_TEST(an_ephemeron_is_an_edge_from_key_to_value)
{
    test_heap_start(test_config());
    test_away(fill, &heapsnapshot_global);
    const json *all = convert(), *nodes = json_get(all, "nodes"), *edges = json_get(all, "edges"),
               *strings = json_get(all, "strings");
    const json *meta = json_get(json_get(all, "snapshot"), "meta");
    const json *types = &json_get(meta, "edge_types")->item[0];
    size_t found = 0, nf = json_get(meta, "node_fields")->length, edge = 0;
    for (size_t node = 0; node < nodes->length; node += nf)
        for (size_t left = at(nodes, node + 4); left > 0; left--, edge += 3) {
            if (strcmp(types->item[at(edges, edge)].string, "internal") != 0) continue;
            found++;
            ck_assert_str_eq(strings->item[at(edges, edge + 1)].string, "ephemeron");
            ck_assert_uint_eq(at(nodes, node + 3), 32);
            ck_assert_uint_eq(at(nodes, at(edges, edge + 2) + 3), 80);
        }
    ck_assert_uint_eq(edge, edges->length);
    ck_assert_uint_eq(found, 1);
}
END_TEST

START_TEST(a_full_disk_is_an_error)
{
    char error[200];
    test_heap_start(test_config());
    snprintf(path, sizeof path, "/tmp/oakum-snap-XXXXXX");
    int fd = mkstemp(path), full = open("/dev/full", O_WRONLY), ends[2];
    ck_assert_int_eq(oak_snapshot_save(path), 0);
    oak_snapshot *s = oak_snapshot_open(path, error, sizeof error);
    ck_assert_int_eq(oak_snapshot_convert(s, full), -1);
    ck_assert_int_eq(errno, ENOSPC);
    ck_assert_int_eq(pipe(ends), 0);
    close(ends[0]);
    ck_assert_int_eq(oak_snapshot_convert(s, ends[1]), -1);
    ck_assert_int_eq(errno, EPIPE);
    oak_snapshot_close(s);
    close(fd);
    close(full);
    unlink(path);
}
END_TEST

Suite *suite_observe_heapsnapshot(void)
{
    Suite *s = suite_create("observe_heapsnapshot");
    TCase *t = tcase_create("heapsnapshot");
    tcase_add_test(t, arrays_agree_with_counts_and_fields);
    tcase_add_test(t, an_ephemeron_is_an_edge_from_key_to_value);
    tcase_add_test(t, a_full_disk_is_an_error);
    suite_add_tcase(s, t);
    return s;
}
