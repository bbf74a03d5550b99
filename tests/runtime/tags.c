/* tags.c - tests of runtime/tags.c and tagnames.c: which tags are refused, and with what line; what
 * a word decodes to; the names in the environment. */
#include "runtime/tags.h"
#include "runtime/options.h"
#include "tests/capture.h"
#include "tests/heap.h"

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

Suite *suite_runtime_tags(void);

#define HALVES (OAK_TAG_HALVES | OAK_TAG_FROM_HEAP)
#define TOP ((uint64_t)0xffff << 48)

/* ---- what is refused ---- */

static const struct bad {
    oak_pointer_tag tag[OAK_POINTER_TAGS];
    size_t which;
    const char *line;
} bad[] = {
    { { { TOP, TOP, 0, 0, 0, 4 } }, 0, "an unknown flag" },
    { { { TOP, TOP, 0, 0, 0, HALVES } }, 0, "mask and ignore are wider than a half" },
    { { { TOP, TOP | 1, 0, 0, 0, 0 } }, 0, "value has bits that are not in mask" },
    { { { TOP, TOP, TOP, 0, 0, 0 } }, 0, "mask and ignore have bits in common" },
    { { { TOP, TOP, 0, 0, 17, 0 } }, 0, "shift is not in -8 to 16" },
    { { { TOP, TOP, 0, 0, -9, 0 } }, 0, "shift is not in -8 to 16" },
    { { { TOP, TOP, 0, 0, 1 << 30, 0 } }, 0, "shift is not in -8 to 16" },
    { { { ~(uint64_t)0, 1, 0, 0, 0, 0 } }, 0, "the pointer's bits are not one run of bits" },
    { { { 0, 0, ~(uint64_t)0, 0, 0, 0 } }, 0, "the pointer's bits are not one run of bits" },
    { { { (uint64_t)1 << 30, 0, 0, 0, 0, 0 } }, 0, "the pointer's bits are not one run of bits" },
    { { { 0x1fff, 0, 0, 0, 0, 0 } }, 0, "the pointer's bits begin too high" },
    { { { 7, 5, 0, 4, 0, 0 } }, 0, "offset is no multiple of what a bit counts" },
    { { { 0, 0, (uint64_t)0xffffff << 40, 0, 0, OAK_TAG_HALVES } },
      0,
      "mask and ignore are wider than a half" },
    { { { 0, 0, 0x3, 0, 0, HALVES } }, 0, "heap_reserve is more than the bits can express" },
    { { { 0, 0, 0, 0, 0, OAK_TAG_FROM_HEAP } }, 0, "every word would be a reference" },
    { { { 0, 0, (uint64_t)0xff << 56, -16, 3, OAK_TAG_FROM_HEAP } },
      0,
      "every word would be a reference" },
    { { { (uint64_t)1 << 63, 0, 0, 0, 0, OAK_TAG_FROM_HEAP } },
      0,
      "every small number would be a reference" },
    { { { TOP, 0, 0, -16, 3, OAK_TAG_FROM_HEAP } }, 0, "every small number would be a reference" },
    { { { (uint64_t)1 << 33, 0, (uint64_t)0x3fffffff << 34, 0, 0, OAK_TAG_FROM_HEAP } },
      0,
      "every small number would be a reference" },
    { { { 1, 0, 0, 0, 0, OAK_TAG_FROM_HEAP }, { 1, 1, 0, 0, 0, OAK_TAG_FROM_HEAP } },
      1,
      "with earlier ones, every word would be a reference" },
    { { { 1, 0, 0, 0, 0, OAK_TAG_FROM_HEAP },
        { 3, 3, 0, 0, 0, OAK_TAG_FROM_HEAP },
        { 0, 0, 0, 0, 0, 0 },
        { 3, 1, (uint64_t)0xff << 56, 0, 2, OAK_TAG_FROM_HEAP } },
      3,
      "with earlier ones, every word would be a reference" },
    { { { 0, 0, 0, 16, -4, HALVES } }, 0, "offset leaves out a part of the heap" },
    { { { 0, 0, 0, -((int64_t)1 << 40), -4, HALVES } }, 0, "offset leaves out a part of the heap" },
    { { { (uint64_t)0xfffffff << 36, 0, 0, 0, 0, 0 } }, 0, "the bits can't express an address" },
    { { { 0, 0, 0, 0, -4, OAK_TAG_HALVES } }, 0, "the bits can't express an address" },
    { { { TOP, TOP, 0, (int64_t)1 << 47, 0, 0 } }, 0, "offset is no distance between addresses" },
    { { { TOP, TOP, 0, INT64_MIN, 0, 0 } }, 0, "offset is no distance between addresses" },
    { { { TOP, 0, 0, 0, 0, 0 } }, 0, "its words are plain pointers, which need no tag" },
    { { { 7, 0, 0, 0, 0, 0 } }, 0, "its words are plain pointers, which need no tag" },
    { { { TOP, TOP, 0, 0, 0, 0 }, { 0, 0, 0, 0, -4, HALVES } },
      1,
      "it overlaps with an earlier one" },
    { { { 0, 0, 0, 0, -4, HALVES }, { TOP, TOP, 0, 0, 0, 0 } },
      1,
      "it overlaps with an earlier one" },
    { { { TOP | 1, TOP, 0, 0, 0, 0 }, { 1, 1, 0, 0, -3, HALVES } }, /* in the upper half */
      1,
      "it overlaps with an earlier one" },
    { { { TOP, TOP, 0, 0, 0, 0 }, { (uint64_t)1 << 31, 0, 0, 0, -3, HALVES } }, /* in the lower */
      1,
      "it overlaps with an earlier one" },
    { { { TOP, TOP, 0, 0, 0, 0 }, { TOP, TOP, 0, 0, 0, 0 } },
      1,
      "it overlaps with an earlier one" },
    { { { TOP, TOP, 0, 0, 0, 0 }, { 0, 0, (uint64_t)0xff << 56, 0, 0, 0 } },
      1,
      "it overlaps with an earlier one" },
    { { { 0, 0, 0, 0, 3, 0 }, { 0, 0, 0, 0, 0, 0 }, { 0, 0, 0, 0, 16, 0 } },
      2,
      "it overlaps with an earlier one" },
    { { { 7, 0, 0, 0, -3, HALVES },
        { 7, 1, 0, 0, -3, HALVES },
        { 7, 2, 0, 0, -3, HALVES },
        { 7, 3, 0, 0, -3, HALVES },
        { 7, 4, 0, 0, -3, HALVES } },
      4,
      "there are too many (one of halves counts as two)" },
    { { { TOP, TOP, 0, 0, 0, 0 }, { 0, 0, 0, 0, 0, OAK_TAG_HALVES } },
      1,
      "the bits can't express an address" },
};

/* A start that is refused, and then one that isn't. */
static void start_badly(void *arg)
{
    const struct bad *b = arg;
    oak_config c = test_config();
    c.heap_reserve = (size_t)8 << 30;
    memcpy(c.pointer_tags, b->tag, sizeof b->tag);
    errno = 0;
    if (oak_init(&c) != -1 || errno != EINVAL || oaki_tags.n != 0) _exit(3);
    memset(c.pointer_tags, 0, sizeof c.pointer_tags);
    if (oak_init(&c) != 0 || oaki_tags.n != 0 || !oak_alloc(16)) _exit(4);
}

START_TEST(bad_tags_are_refused_with_a_line)
{
    char err[512], line[256];
    ck_assert_int_eq(test_capture(start_badly, (void *)&bad[_i], err, sizeof err), 0);
    snprintf(line, sizeof line, "oakum: pointer_tags[%zu]: %s\n", bad[_i].which, bad[_i].line);
    ck_assert_str_eq(err, line);
}
END_TEST

START_TEST(tags_that_share_no_word_are_accepted)
{
    static const oak_pointer_tag list[][3] = {
        { { TOP, TOP, 0, 0, 0, 0 }, { TOP, TOP - ((uint64_t)1 << 48), 0, 0, 0, 0 } },
        { { 1, 0, 0, 0, 0, OAK_TAG_FROM_HEAP }, { 3, 3, 0, 0, 0, OAK_TAG_FROM_HEAP } },
        { { 1, 0, 0, 0, 1, 0 }, { 1, 1, 0, 0, 1, OAK_TAG_FROM_HEAP } },
        { { 1, 0, 0, 0, 1, 0 }, { 1, 1, 0, 0, 1, 0 } },
        { { 1, 0, 0, 0, 0, HALVES }, { 1, 1, 0, 0, 0, HALVES } },
        { { TOP | 1, TOP, 0, 0, 0, 0 }, { 0x80000001, 1, 0, 0, -3, HALVES } },
        { { 7, 5, 0, 0, 0, 0 } },
        { { TOP, 0, 0, -((int64_t)1 << 30), 0, OAK_TAG_FROM_HEAP } }, /* from 2^30 on */
    };
    size_t which;
    for (size_t i = 0; i < OAKI_COUNT(list); i++)
        ck_assert_ptr_null(oaki_tags_check(list[i], 3, (size_t)1 << 30, &which));
}
END_TEST

/* A number, such as a counter of Oakum's own, may then be a reference, or a half of it. */
START_TEST(from_the_heap_those_of_low_values_are_loose)
{
    static const oak_pointer_tag list[] = {
        { 1, 0, 0, 0, 0, OAK_TAG_FROM_HEAP },
        { 1, 1, 0, 0, 0, OAK_TAG_FROM_HEAP },
        { 1, 1, 0, 0, -3, HALVES },
        OAK_TAG_COMPRESSED(4),
        { 1, 0, 0, 0, 1, 0 },
        { TOP, TOP, 0, 0, 0, OAK_TAG_FROM_HEAP },
    };
    oak_config c = test_config();
    c.heap_reserve = (size_t)8 << 30;
    test_heap_start(c);
    for (size_t i = 0; i < OAKI_COUNT(list); i++) {
        oaki_tag_set set;
        ck_assert_ptr_null(oaki_tags_prepare(&set, &list[i], 1));
        ck_assert_int_eq(set.loose, i < 4);
    }
}
END_TEST

/* With 4 GiB or more they are what compressed pointers are. */
START_TEST(halves_without_tested_bits_must_express_4_gib)
{
    size_t which;
    const oak_pointer_tag wide[] = { OAK_TAG_COMPRESSED(0) },
                          narrow[] = { { 0, 0, (uint32_t)1 << 31, 0, 0, HALVES } },
                          both[] = { { (uint32_t)1 << 31, 0, 0, 0, 0, HALVES },
                                     { (uint32_t)1 << 31, (uint32_t)1 << 31, 0, 0, 0, HALVES } };
    ck_assert_ptr_null(oaki_tags_check(wide, 1, (size_t)1 << 30, &which));
    ck_assert_str_eq(oaki_tags_check(narrow, 1, (size_t)1 << 30, &which),
                     "every word would be a reference");
    ck_assert_ptr_null(oaki_tags_check(both, 1, (size_t)1 << 30, &which));
    ck_assert_str_eq(oaki_tags_check(both, 2, (size_t)1 << 30, &which),
                     "with earlier ones, every word would be a reference");
    ck_assert_uint_eq(which, 1);
}
END_TEST

START_TEST(more_heap_than_halves_express_is_refused)
{
    size_t which;
    const oak_pointer_tag tag[] = { OAK_TAG_COMPRESSED(4) };
    ck_assert_ptr_null(oaki_tags_check(tag, 1, (size_t)64 << 30, &which));
    ck_assert_ptr_nonnull(oaki_tags_check(tag, 1, ((size_t)64 << 30) + 1, &which));
    ck_assert_ptr_nonnull(oaki_tags_check(tag, 1, 0, &which));
}
END_TEST

/* ---- what a word decodes to ---- */

/* As the header says it, with nothing prepared. false: the word, or half, is none. */
static bool decode(const oak_pointer_tag *t, uint64_t word, uint64_t *out)
{
    uint64_t bits = word & ~(t->mask | t->ignore);
    if ((word & t->mask) != t->value) return false;
    bits = t->shift < 0 ? bits << -t->shift : bits >> t->shift;
    *out = bits + (uint64_t)t->offset + (t->flags & OAK_TAG_FROM_HEAP ? oaki_the_heap.base : 0);
    return true;
}

static unsigned model(const oak_pointer_tag *t, uint64_t word, size_t used, size_t *out)
{
    unsigned n = 0;
    uint64_t p;
    if (t->flags & OAK_TAG_HALVES) {
        for (int i = 0; i < 2; i++, word >>= 32)
            if (decode(t, (uint32_t)word, &p) && p - oaki_the_heap.base < used)
                out[n++] = p - oaki_the_heap.base;
    } else if (decode(t, word, &p) && p - oaki_the_heap.base < used) {
        out[n++] = p - oaki_the_heap.base;
    }
    return n;
}

static const oak_pointer_tag good[] = {
    { TOP, (uint64_t)0xfffc << 48, 0, 0, 0, 0 },
    { (uint64_t)0x1fff << 51, (uint64_t)0x1fff << 51, (uint64_t)15 << 47, 0, 0, 0 }, /* LuaJIT's */
    { TOP, (uint64_t)0x7ffc << 48, 0, 64, 0, 0 },
    { TOP, (uint64_t)0x7ffc << 48, 0, -64, 0, 0 },
    { 0, 0, (uint64_t)0xff << 56, 0, 0, 0 },
    { 0, 0, 0, 0, 3, 0 },
    { 7, 5, 0, 0, 3, 0 },
    { 0xffff, 0x1234, 0, 0, 16, 0 },
    { TOP | 7, (uint64_t)0xfff8 << 48 | 1, 0, 0, 0, 0 },
    { 0xf, 3, 0, 0, 2, 0 },
    { 0, 0, 0, 8, 0, 0 },
    { 0, 0, 0, 0, -8, 0 },
    { (uint64_t)0xf << 60, (uint64_t)5 << 60, 0, 0, -4, 0 },
    { 0, 0, 0, 0, -4, HALVES },
    { 0, 0, 0, -16, -4, HALVES },
    { 3, 1, 0, 0, -3, HALVES },
    { (uint64_t)1 << 63, (uint64_t)1 << 63, (uint64_t)0x7fffff << 40, 0, 0, OAK_TAG_FROM_HEAP },
};

/* A word near one that refers into the heap: encoded, with a few bits changed. */
static uint64_t some_word(const oak_pointer_tag *t, size_t used)
{
    uint64_t p = test_below(used + 4096) - 2048 - (uint64_t)t->offset;
    if (!(t->flags & OAK_TAG_FROM_HEAP)) p += oaki_the_heap.base;
    p = t->shift < 0 ? p >> -t->shift : p << t->shift;
    p = (p & ~(t->mask | t->ignore)) | t->value | (test_random() & t->ignore);
    if (t->flags & OAK_TAG_HALVES) p = (uint32_t)p | test_random() << 32;
    for (size_t n = test_below(3); n > 0; n--) p ^= (uint64_t)1 << test_below(64);
    if (t->flags & OAK_TAG_HALVES && test_random() % 2) p = p << 32 | p >> 32;
    return p;
}

START_TEST(a_prepared_tag_decodes_as_the_header_says)
{
    const oak_pointer_tag *t = &good[_i];
    size_t which, expected[2], got[OAKI_WORD_REFS], hits = 0;
    oak_config c = test_config();
    test_seed("runtime/tags");
    c.heap_reserve = (size_t)8 << 30;
    c.pointer_tags[0] = *t;
    ck_assert_ptr_null(oaki_tags_check(t, 1, c.heap_reserve, &which));
    test_heap_start(c);
    size_t used = (size_t)64 << 20;
    for (size_t i = 0; i < 200000; i++) {
        uint64_t word = some_word(t, used);
        unsigned n = model(t, word, used, expected);
        ck_assert_uint_eq(oaki_word_tagged(word, used, got), n);
        for (unsigned k = 0; k < n; k++) {
            uint64_t low = (uint64_t)1 << oaki_tags.tag[0].left;
            ck_assert_uint_eq(got[k], expected[k] & ~(low - 1));
        }
        hits += n;
    }
    ck_assert_uint_gt(hits, 10000);
}
END_TEST

/* What the marker does for a simple tag: one reference, by the tag if that leads into the heap. */
START_TEST(a_simple_tag_never_hides_a_pointer)
{
    const oak_pointer_tag *t = &good[_i];
    oak_config c = test_config();
    test_seed("runtime/tags");
    c.heap_reserve = (size_t)8 << 30;
    c.pointer_tags[0] = *t;
    test_heap_start(c);
    ck_assert_int_eq(oaki_tags.form != OAKI_TAG_GENERAL, _i <= 7);
    if (oaki_tags.form == OAKI_TAG_GENERAL) return;
    size_t used = oaki_the_heap.reserved, got[OAKI_WORD_REFS];
    for (size_t i = 0; i < 200000; i++) {
        uint64_t word = i % 2 ? oaki_the_heap.base + test_below(used) : some_word(t, used);
        size_t plain = word - oaki_the_heap.base, tagged = oaki_tag_index(&oaki_tags.tag[0], word);
        size_t off = tagged < used ? tagged : plain;
        unsigned n = oaki_word_refs(word, used, got);
        ck_assert(off < used ? n > 0 : n == 0);
        for (unsigned k = 0; k < n; k++) ck_assert_uint_eq(got[k], off);
    }
}
END_TEST

/* ---- names ---- */

START_TEST(names_are_the_ready_ones)
{
    oak_pointer_tag tag[OAK_POINTER_TAGS] = { { .mask = 0 } };
    const oak_pointer_tag expected[] = { OAK_TAG_NAN_FFFC,     OAK_TAG_NAN_FFFA,
                                         OAK_TAG_NAN_7FFC,     OAK_TAG_TOP_BYTE,
                                         OAK_TAG_SHIFTED(1),   OAK_TAG_SHIFTED(16),
                                         OAK_TAG_COMPRESSED(4) };
    ck_assert(
        oaki_tags_parse("nan-fffc,nan-FFFA,nan-7ffc,top-byte,shift-1,shift-16,compressed-4", tag));
    ck_assert_mem_eq(tag, expected, sizeof expected);
}
END_TEST

START_TEST(unknown_names_are_refused)
{
    static const char *const names[] = { "nan",
                                         "nan-",
                                         "nan-fff",
                                         "nan-fffff",
                                         "nan-ffgc",
                                         "shift",
                                         "shift-",
                                         "shift-0",
                                         "shift-17",
                                         "shift--1",
                                         "shift-1x",
                                         "compressed-9",
                                         "compressed",
                                         "top",
                                         "top-byte ",
                                         " ",
                                         "nan-fffc;nan-fffa",
                                         ",",
                                         "nan-fffc,,shift-1",
                                         "a-name-that-is-longer-than-any-other-of-them",
                                         ("shift-1,shift-1,shift-1,shift-1,shift-1,shift-1,"
                                          "shift-1,shift-1,shift-1") };
    for (size_t i = 0; i < OAKI_COUNT(names); i++) {
        oak_pointer_tag tag[OAK_POINTER_TAGS] = { { .mask = 0 } };
        ck_assert_msg(!oaki_tags_parse(names[i], tag), "%s", names[i]);
    }
}
END_TEST

static void read_environment(void *arg)
{
    oak_config c;
    (void)arg;
    oak_config_default(&c);
    for (size_t i = 0; i < OAK_POINTER_TAGS; i++)
        if (c.pointer_tags[i].mask || c.pointer_tags[i].shift)
            fprintf(stderr, "%zu: %lx %d\n", i, c.pointer_tags[i].value, c.pointer_tags[i].shift);
}

START_TEST(the_environment_names_tags)
{
    static const struct {
        const char *value, *said;
    } is[] = {
        { "nan-fffc", "0: fffc000000000000 0\n" },
        { "nan-fffc,nan-fffa", "0: fffc000000000000 0\n1: fffa000000000000 0\n" },
        { "", "" },
        { "nan-fffc,top-byte", "oakum: OAKUM_POINTER_TAGS=nan-fffc,top-byte is ignored: it "
                               "overlaps with an earlier one\n" },
        { "nan-0000", "oakum: OAKUM_POINTER_TAGS=nan-0000 is ignored: its words are plain "
                      "pointers, which need no tag\n" },
        { "compressed-4", "oakum: OAKUM_POINTER_TAGS=compressed-4 is ignored: heap_reserve is more "
                          "than the bits can express\n" },
        { "x", "oakum: OAKUM_POINTER_TAGS=x is ignored: it must be a list of nan-XXXX (four "
               "hexadecimal digits), top-byte, shift-N and compressed-N\n" },
    };
    char err[512];
    unsetenv("OAKUM_DEBUG");
    unsetenv("OAKUM_TRACKING");
    setenv("OAKUM_POINTER_TAGS", is[_i].value, 1);
    ck_assert_int_eq(test_capture(read_environment, NULL, err, sizeof err), 0);
    ck_assert_str_eq(err, is[_i].said);
}
END_TEST

Suite *suite_runtime_tags(void)
{
    Suite *s = suite_create("runtime_tags");
    TCase *t = tcase_create("tags");
    tcase_set_timeout(t, 120);
    tcase_add_loop_test(t, bad_tags_are_refused_with_a_line, 0, (int)OAKI_COUNT(bad));
    tcase_add_test(t, tags_that_share_no_word_are_accepted);
    tcase_add_test(t, from_the_heap_those_of_low_values_are_loose);
    tcase_add_test(t, halves_without_tested_bits_must_express_4_gib);
    tcase_add_test(t, more_heap_than_halves_express_is_refused);
    tcase_add_loop_test(t, a_prepared_tag_decodes_as_the_header_says, 0, (int)OAKI_COUNT(good));
    tcase_add_loop_test(t, a_simple_tag_never_hides_a_pointer, 0, (int)OAKI_COUNT(good));
    tcase_add_test(t, names_are_the_ready_ones);
    tcase_add_test(t, unknown_names_are_refused);
    tcase_add_loop_test(t, the_environment_names_tags, 0, 7);
    suite_add_tcase(s, t);
    return s;
}
