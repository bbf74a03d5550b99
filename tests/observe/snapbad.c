/* snapbad.c - tests of what snapread.c looks at behind the checksum: files that are wrong though
 * their checksum is right.
 *
 * Each number of a small snapshot that is made here is given a value that is just out of range, and
 * what is said must be about that number. Then numbers and bytes are changed at random, the
 * checksum is repaired, and whatever is accepted is followed to its ends. */
#include "observe/snapformat.h"
#include "runtime/xxh.h"
#include "tests/heap.h"
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <oakum/snapshot.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

Suite *suite_observe_snapbad(void);

static char error[256];

/* ---- a file that is made by hand ---- */

#define ROOM ((size_t)1 << 20)

static unsigned char *file; /* ROOM bytes */
static size_t length;

/* Which number is another one than it should be: the one with this name, or the one of this index,
 * counted from 0; `tokens` counts them. */
static struct {
    const char *name;
    size_t index[3];
    uint64_t value[3];
    size_t tokens;
} wrong;

static void put_byte(unsigned c)
{
    ck_assert_uint_lt(length, ROOM);
    if (!file) file = malloc(ROOM);
    file[length++] = (unsigned char)c;
}

static void put_varint(uint64_t v)
{
    for (; v >= 0x80; v >>= 7) put_byte((unsigned)(v & 0x7f) | 0x80);
    put_byte((unsigned)v);
}

static uint64_t token(const char *name, uint64_t v)
{
    if (wrong.name && strcmp(wrong.name, name) == 0) v = wrong.value[0];
    for (size_t i = 0; !wrong.name && i < OAKI_COUNT(wrong.index); i++)
        if (wrong.index[i] == wrong.tokens) v = wrong.value[i];
    wrong.tokens++;
    return v;
}

static void number(const char *name, uint64_t v) { put_varint(token(name, v)); }

static void byte(const char *name, unsigned c) { put_byte((unsigned)token(name, c) & 0xff); }

static void text(const char *name, const char *s)
{
    size_t n = strlen(s);
    number(name, n);
    for (size_t i = 0; i < n; i++) put_byte((unsigned char)s[i]);
}

static void seal(void)
{
    uint64_t sum = XXH64(file, length, 0);
    for (unsigned i = 0; i < 8; i++) put_byte((unsigned)(sum >> 8 * i) & 0xff);
}

enum { OBJECTS = 5, GRANULES = 4, HEAP = 1 << 20 };

static uint64_t edge(int64_t delta, unsigned flags)
{
    return 1 + (oaki_snap_fold(delta) << 2 | flags);
}

/* 0 has a list of edges, 1 two counted ones, 2 one that is nowhere, 3 one that points inside, and
 * 4, behind a gap, none. Each has four granules, eight words. */
static void put_objects(void)
{
    byte("section O", OAKI_SNAP_OBJECTS);
    number("objects", OBJECTS);
    byte("head 0", OAKI_SNAP_GAP | OAKI_SNAP_SIZE | OAKI_SNAP_TYPE | OAKI_SNAP_LIST << 4);
    number("gap 0", 8);
    number("size 0", GRANULES);
    number("type 0", 2 << 2 | 2);
    number("edge 0.0", edge(1, 0));
    number("edge 0.1", edge(2, OAKI_SNAP_WORD));
    number("word 0.1", 7);
    number("edge 0.end", 0);
    byte("head 1", 2 << 4);
    number("edge 1.0", edge(-1, 0));
    number("edge 1.1", edge(3, 0));
    byte("head 2", OAKI_SNAP_TYPE | 1 << 4);
    number("type 2", 0);
    number("edge 2.0", edge(1, OAKI_SNAP_WORD));
    number("word 2.0", 0);
    byte("head 3", 1 << 4);
    number("edge 3.0", edge(0, OAKI_SNAP_INTERIOR));
    number("interior 3.0", 24);
    byte("head 4", OAKI_SNAP_GAP);
    number("gap 4", 100);
}

static void put_tables(void)
{
    byte("section K", OAKI_SNAP_KEYS);
    number("keys", 2 << 1);
    number("key object", 1);
    number("key word", 1);
    text("key text", "one");
    number("key 2 object", 0);
    number("key 2 word", 7);
    text("key 2 text", "two");
    byte("section E", OAKI_SNAP_PAIRS);
    number("pairs", 1);
    number("pair handle", 0);
    number("pair key", 3);
    number("pair value", 4);
    byte("section S", OAKI_SNAP_SAMPLES);
    number("samples", 1);
    number("sample object", 2);
    number("sample site", 7);
}

static void put_roots(void)
{
    byte("section R", OAKI_SNAP_ROOTS);
    number("roots", 3);
    for (unsigned i = 0; i < 3; i++) {
        static const unsigned kind[] = { OAK_ROOT_GLOBAL, OAK_ROOT_STACK | 0x80, OAK_ROOT_WAITING };
        byte(i == 0 ? "root kind" : "other kind", kind[i]);
        number(i == 0 ? "root thread" : "other thread", i == 1 ? 77 : 0);
        number("root address", oaki_snap_fold(64));
        number(i == 0 ? "root target" : "other target", i);
        number("root interior", i * 8);
    }
    byte("section N", OAKI_SNAP_NAMES);
    number("names", 2);
    number("name step", 0);
    number("name offset", 1);
    number("name where", 0);
    text("name where text", "global");
    number("name file", 0);
    text("name file text", "program");
    number("name 2 step", 2);
    number("name 2 offset", 0);
    number("name 2 where", 1);
    number("name 2 file", 2);
}

static void make(void)
{
    wrong.tokens = length = 0;
    for (const char *m = OAKI_SNAP_MAGIC; *m; m++) put_byte((unsigned char)*m);
    number("version", OAKI_SNAP_VERSION);
    byte("section I", OAKI_SNAP_INFO);
    text("oakum", "0");
    text("program", "p");
    number("pid", 1);
    number("time", 2);
    number("heap base", UINT64_C(1) << 40);
    number("heap used", HEAP);
    byte("section T", OAKI_SNAP_TYPES);
    number("types", 2);
    text("type 1 name", "first");
    text("type 2 name", "second");
    put_objects();
    put_tables();
    put_roots();
    byte("section H", OAKI_SNAP_THREADS);
    number("threads", 1);
    number("thread id", 77);
    text("thread name", "worker");
    byte("section P", OAKI_SNAP_SITES);
    number("sites", 1);
    number("site id", 7);
    text("site name", "main");
    byte("section Z", OAKI_SNAP_END);
    number("end objects", OBJECTS);
    number("end edges", 6);
    number("end roots", 3);
    seal();
}

/* A file in memory, as a disk would take its time. */
static int memory = -1;

static void make_memory(void)
{
    memory = memfd_create("snapshot", MFD_CLOEXEC);
    ck_assert_int_ge(memory, 0);
}

static oak_snapshot *open_file(void)
{
    char path[64];
    ck_assert_int_eq(ftruncate(memory, (off_t)length), 0);
    ck_assert_int_eq(pwrite(memory, file, length, 0), (ssize_t)length);
    snprintf(path, sizeof path, "/proc/self/fd/%d", memory);
    errno = 0;
    return oak_snapshot_open(path, error, sizeof error);
}

/* ---- each check ---- */

static const struct {
    const char *name;
    uint64_t value;
    const char *said;
} out_of_range[] = {
    { "version", 2, "format version 2" },
    { "section I", 'T', "section 'I' is missing" },
    { "oakum", OAKI_SNAP_STRING + 1, "a string's length 4097 is out of range" },
    { "heap used", (UINT64_C(1) << 48) + 1, "the heap is out of range" },
    { "heap base", UINT64_MAX - HEAP + 1, "the heap is out of range" },
    { "section T", 'O', "section 'T' is missing" },
    { "section O", 'T', "section 'O' is missing" },
    { "objects", UINT32_MAX, "the number of objects 4294967295 is out of range" },
    { "gap 0", HEAP / 16 - GRANULES + 1, "object 0 is outside of the heap" },
    { "gap 0", UINT64_MAX - 1, "object 0 is outside of the heap" },
    { "size 0", 0, "object 0 is outside of the heap" },
    { "size 0", HEAP / 16 - 8 + 1, "object 0 is outside of the heap" },
    { "size 0", UINT32_MAX, "a size 4294967295 is out of range" },
    { "size 0", 3, "a word behind its object" },
    { "gap 4", HEAP / 16, "object 4 is outside of the heap" },
    { "type 0", 3 << 2, "a type 12 is out of range" },
    { "type 2", 3 << 2 | 2, "a type 14 is out of range" },
    { "edge 0.0", 1 + (UINT64_C(10) << 2), "an edge of object 0 leads nowhere" }, /* to 5 */
    { "edge 0.0", 1 + (UINT64_C(1) << 2), "an edge of object 0 leads nowhere" },  /* to -1 */
    { "edge 1.1", 1 + (UINT64_C(3) << 2), "an edge of object 1 leads nowhere" },  /* to -1 */
    { "edge 3.0", 1 + (UINT64_C(4) << 2 | 2), "an edge of object 3 leads nowhere" },
    { "edge 1.1", 0, "an edge is missing" },
    { "word 0.1", 8, "a word behind its object" },
    { "word 0.1", UINT32_MAX - 1, "a word behind its object" },
    { "word 0.1", UINT32_MAX, "a word 4294967295 is out of range" },
    { "word 2.0", 9, "a word behind its object" },
    { "section K", 'E', "section 'K' is missing" },
    { "key object", OBJECTS, "object 5 is out of range" },
    { "key 2 object", UINT32_MAX, "object 4294967295 is out of range" },
    { "key word", UINT32_MAX, "a word 4294967295 is out of range" },
    { "key text", OAKI_SNAP_STRING + 1, "a string's length 4097 is out of range" },
    { "section E", 'S', "section 'E' is missing" },
    { "pair handle", OBJECTS, "object 5 is out of range" },
    { "pair key", OBJECTS, "object 5 is out of range" },
    { "pair value", OBJECTS, "object 5 is out of range" },
    { "section S", 'R', "section 'S' is missing" },
    { "sample object", OBJECTS, "object 5 is out of range" },
    { "sample site", UINT32_MAX, "a site 4294967295 is out of range" },
    { "section R", 'N', "section 'R' is missing" },
    { "root kind", OAK_ROOT_NONE, "a root of kind 0" },
    { "root kind", OAK_ROOT_NONE | 0x80, "a root of kind 128" },
    { "root kind", OAK_ROOT_RUNTIME + 1, "a root of kind 12" },
    { "root thread", INT32_MAX, "a thread 2147483647 is out of range" },
    { "root target", OBJECTS, "object 5 is out of range" },
    { "root target", UINT64_C(1) << 32, "object 4294967296 is out of range" },
    { "section N", 'H', "section 'N' is missing" },
    { "name step", 3, "the name of a root that is not there" },
    { "name 2 step", 3, "the name of a root that is not there" },
    { "name 2 step", 0, "the name of a root that is not there" },
    { "name 2 step", UINT64_MAX, "the name of a root that is not there" },
    { "name where", 1, "a string 1 is out of range" },
    { "name 2 file", 3, "a string 3 is out of range" },
    { "section H", 'P', "section 'H' is missing" },
    { "thread id", INT32_MAX, "a thread 2147483647 is out of range" },
    { "section P", 'Z', "section 'P' is missing" },
    { "site id", INT32_MAX, "a site 2147483647 is out of range" },
    { "section Z", 'P', "section 'Z' is missing" },
    { "end objects", OBJECTS + 1, "other numbers of things" },
    { "end edges", 5, "other numbers of things" },
    { "end roots", 2, "other numbers of things" }
};

START_TEST(each_number_is_held_to_its_range)
{
    make_memory();
    wrong.name = out_of_range[_i].name;
    wrong.value[0] = out_of_range[_i].value;
    make();
    oak_snapshot *s = open_file();
    ck_assert_msg(s == NULL, "%s %llu is accepted", wrong.name,
                  (unsigned long long)wrong.value[0]);
    ck_assert_int_eq(errno, EBADMSG);
    ck_assert_msg(strstr(error, out_of_range[_i].said) && strstr(error, " at byte "), "%s: %s",
                  wrong.name, error);
}
END_TEST

/* The largest that each may be. */
static const struct {
    const char *name;
    uint64_t value;
} in_range[] = {
    { "none", 0 },
    { "oakum", 1 },
    { "heap base", UINT64_MAX - HEAP },
    { "type 0", (2 << 2) + 3 },
    { "gap 4", HEAP / 16 - 8 - OBJECTS * GRANULES },
    { "edge 0.0", 1 + (UINT64_C(8) << 2) },
    { "word 0.1", 7 },
    { "key object", OBJECTS - 1 },
    { "key word", UINT32_MAX - 1 },
    { "pair value", OBJECTS - 1 },
    { "sample site", UINT32_MAX - 1 },
    { "root kind", OAK_ROOT_RUNTIME },
    { "root thread", INT32_MAX - 1 },
    { "root target", OBJECTS - 1 },
    { "name 2 step", 2 },
    { "name 2 file", 2 },
    { "thread id", INT32_MAX - 1 }
};

START_TEST(the_ends_of_each_range_are_accepted)
{
    make_memory();
    wrong.name = in_range[_i].name;
    wrong.value[0] = in_range[_i].value;
    make();
    oak_snapshot *s = open_file();
    ck_assert_msg(s != NULL, "%s %llu: %s", wrong.name, (unsigned long long)wrong.value[0], error);
    oak_snapshot_close(s);
}
END_TEST

/* 2^64 - 1 takes ten bytes, the last of them a 1. */
START_TEST(a_number_of_more_than_64_bits_is_refused)
{
    make_memory();
    for (unsigned last = 1; last < 3; last++) {
        length = 0;
        for (const char *m = OAKI_SNAP_MAGIC "\x01I"; *m; m++) put_byte((unsigned char)*m);
        for (int i = 0; i < 2; i++) put_varint(0);
        for (int i = 0; i < 9; i++) put_byte(0xff);
        put_byte(last);
        ck_assert_ptr_null(open_file());
        ck_assert_ptr_nonnull(strstr(error, last == 1 ? "it ends" : "a number that is too long"));
    }
}
END_TEST

/* ---- what is accepted is sound ---- */

static size_t accepted, refused;
static int broken; /* the line of a rule that does not hold: asserts are slow */

#define HOLDS(rule)                                     \
    do {                                                \
        if (!(rule)) broken = broken ? broken : __LINE__; \
    } while (0)

static void follow_object(oak_snapshot *s, const oak_snapshot_info *info, uint64_t n, uint64_t *end)
{
    oak_snapshot_object o;
    oak_snapshot_edge e;
    uint64_t k, found = 0;
    HOLDS(oak_snapshot_object_read(s, n, &o) == 0);
    HOLDS(o.address >= *end);
    HOLDS(o.size > 0);
    *end = o.address + o.size;
    HOLDS(*end <= info->heap_base + info->heap_used);
    HOLDS(strlen(o.type) <= OAKI_SNAP_STRING);
    HOLDS(oak_snapshot_find(s, o.address + o.size - 1, &found) == 0);
    HOLDS(found == n);
    if (o.dominator != UINT64_MAX) HOLDS(o.dominator < info->objects);
    for (k = 0; oak_snapshot_edge_read(s, n, k, &e) == 0; k++) {
        HOLDS(e.target < info->objects);
        HOLDS(e.ephemeron || e.offset == UINT64_MAX || e.offset < o.size);
        if (e.label) HOLDS(strlen(e.label) <= OAKI_SNAP_STRING);
    }
    HOLDS(k >= o.edges);
}

static void follow_roots(const oak_snapshot *s, const oak_snapshot_info *info)
{
    char line[512];
    oak_root_info root;
    uint64_t target;
    for (uint64_t i = 0; i < info->roots; i++) {
        HOLDS(oak_snapshot_root_read(s, i, &root, &target) == 0);
        HOLDS(target < info->objects);
        HOLDS(oak_root_format(&root, line, sizeof line) > 0);
    }
    HOLDS(oak_snapshot_root_read(s, info->roots, &root, &target) == -1);
}

static void ask_why(const oak_snapshot *s, uint64_t n)
{
    static char said[1 << 16];
    oak_snapshot_object o;
    HOLDS(oak_snapshot_object_read(s, n, &o) == 0);
    oak_path *p = oak_snapshot_why(s, o.address);
    ck_assert_ptr_nonnull(p);
    oak_path_format(p, said, sizeof said);
    oak_path_free(p);
}

static void follow(oak_snapshot *s)
{
    uint64_t end = 0, top[10];
    oak_snapshot_info info;
    oak_snapshot_change change[10];
    oak_snapshot_info_read(s, &info);
    HOLDS(info.bytes == length);
    for (int analysed = 0; analysed < 2; analysed++, end = 0) {
        for (uint64_t n = 0; n < info.objects; n++) follow_object(s, &info, n, &end);
        HOLDS(oak_snapshot_analyse(s) == 0);
    }
    follow_roots(s, &info);
    size_t n = oak_snapshot_top(s, top, OAKI_COUNT(top));
    for (size_t i = 0; i < n; i++) ask_why(s, top[i]);
    for (int i = 0; i < 3 && info.objects > 0; i++) ask_why(s, test_below(info.objects));
    HOLDS(oak_snapshot_diff(s, s, change, OAKI_COUNT(change), NULL) >= 0);
    int null = open("/dev/null", O_WRONLY);
    HOLDS(oak_snapshot_convert(s, null) == 0);
    close(null);
}

static void open_and_follow(void)
{
    oak_snapshot *s = open_file();
    if (s) {
        accepted++;
        follow(s);
        ck_assert_msg(broken == 0, "line %d", broken);
    } else {
        refused++;
        ck_assert_int_eq(errno, EBADMSG);
    }
    oak_snapshot_close(s);
}

static void assert_both_were_seen(void)
{
    printf("%zu accepted, %zu refused\n", accepted, refused);
    ck_assert_uint_gt(accepted, (accepted + refused) / 50);
    ck_assert_uint_gt(refused, (accepted + refused) / 50);
}

/* Numbers near 0, near a power of two, or any. */
static uint64_t any_number(void)
{
    switch (test_below(4)) {
    case 0: return test_below(12);
    case 1: return (UINT64_C(1) << test_below(64)) + test_below(3) - 1;
    case 2: return UINT64_MAX - test_below(3);
    default: return test_below(400);
    }
}

START_TEST(other_numbers_are_refused_or_sound)
{
    make_memory();
    test_seed("observe_snapbad");
    test_heap_start(test_config());
    make();
    size_t tokens = wrong.tokens;
    for (size_t i = 0; i < test_scale(20000); i++) {
        for (size_t k = 0; k < OAKI_COUNT(wrong.index); k++) {
            wrong.index[k] = k > test_below(3) ? SIZE_MAX : test_below(tokens);
            wrong.value[k] = any_number();
        }
        make();
        open_and_follow();
    }
    assert_both_were_seen();
}
END_TEST

/* ---- a true one ---- */

static void *kept;

static void fill(void *arg)
{
    static const uint64_t bits[] = { 3 };
    const oak_type *t = oak_type_bitmap("pair of words", 16, bits);
    oak_map *m = oak_map_new(&oak_map_u64_ptr, 0);
    void **top = oak_alloc(64), *key = oak_alloc(32);
    for (uint64_t i = 0; i < 40; i++) {
        void **p = *(void **)oak_map_put(m, &i) = oak_alloc_typed(t, 1 + test_below(4));
        p[0] = test_below(2) ? (char *)p + 8 : (char *)m;
    }
    top[0] = m;
    top[1] = key;
    top[2] = oak_ephemeron_new(key, oak_alloc(80));
    *(void **)arg = top;
}

static void damage(size_t n)
{
    size_t at = 10 + test_below(n - 10);
    switch (test_below(4)) {
    case 0: file[at] = (unsigned char)test_random(); break;
    case 1: file[at] = (unsigned char)(file[at] + (test_below(2) ? 1 : -1)); break;
    case 2: memset(file + at, 0xff, OAKI_MIN(n - at, 1 + test_below(9))); break;
    default: file[at] ^= (unsigned char)(1 << test_below(8)); break;
    }
}

START_TEST(damage_with_a_right_checksum_is_refused_or_sound)
{
    const size_t half = ROOM / 2;
    unsigned char *whole = malloc(half);
    file = malloc(ROOM);
    make_memory();
    test_seed("observe_snapbad");
    test_heap_start(test_config());
    test_away(fill, &kept);
    ck_assert_int_eq(oak_profile_set_rate(1), 0);
    ck_assert_int_eq(oak_snapshot_write(memory, NULL, NULL), 0);
    ssize_t size = pread(memory, whole, half, 0);
    ck_assert(size > 100 && size < (ssize_t)half);
    size_t n = (size_t)size - 8;
    for (size_t i = 0; i < test_scale(3000); i++) {
        memcpy(file, whole, n);
        length = n;
        for (size_t k = i == 0 ? 0 : 1 + test_below(3); k > 0; k--) damage(n);
        seal();
        open_and_follow();
        ck_assert(i > 0 || (accepted == 1 && memcmp(file, whole, n + 8) == 0));
    }
    assert_both_were_seen();
    free(whole);
}
END_TEST

Suite *suite_observe_snapbad(void)
{
    Suite *s = suite_create("observe_snapbad");
    TCase *t = tcase_create("directed");
    tcase_add_loop_test(t, each_number_is_held_to_its_range, 0, (int)OAKI_COUNT(out_of_range));
    tcase_add_loop_test(t, the_ends_of_each_range_are_accepted, 0, (int)OAKI_COUNT(in_range));
    tcase_add_test(t, a_number_of_more_than_64_bits_is_refused);
    suite_add_tcase(s, t);
    t = tcase_create("random");
    tcase_add_test(t, other_numbers_are_refused_or_sound);
    tcase_add_test(t, damage_with_a_right_checksum_is_refused_or_sound);
    suite_add_tcase(s, t);
    return s;
}
