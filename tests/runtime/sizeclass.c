/* sizeclass.c - tests of runtime/sizeclass.c: the table itself, its waste, and its divisions. */
#include "runtime/sizeclass.h"

#include "runtime/span.h"

#include <check.h>

Suite *suite_runtime_sizeclass(void);

/* A change of the table changes every heap's shape: it shall be noticed. */
static const unsigned golden[][2] = { /* slot, pages of a span */
    { 16, 1 },     { 32, 1 },     { 48, 1 },     { 64, 1 },     { 80, 1 },     { 96, 1 },
    { 112, 1 },    { 128, 1 },    { 144, 1 },    { 160, 1 },    { 176, 1 },    { 192, 1 },
    { 208, 1 },    { 224, 1 },    { 240, 1 },    { 256, 1 },    { 288, 2 },    { 320, 2 },
    { 352, 2 },    { 384, 2 },    { 416, 2 },    { 448, 2 },    { 480, 2 },    { 512, 2 },
    { 576, 3 },    { 640, 3 },    { 704, 3 },    { 768, 3 },    { 832, 4 },    { 896, 4 },
    { 960, 4 },    { 1024, 4 },   { 1152, 1 },   { 1296, 1 },   { 1456, 1 },   { 1632, 1 },
    { 1824, 1 },   { 2048, 1 },   { 2304, 2 },   { 2592, 2 },   { 2896, 2 },   { 3264, 2 },
    { 3664, 2 },   { 4096, 2 },   { 4608, 3 },   { 5168, 4 },   { 5792, 3 },   { 6512, 4 },
    { 7312, 4 },   { 8192, 4 },   { 9200, 5 },   { 10336, 4 },  { 11600, 3 },  { 13008, 5 },
    { 14608, 4 },  { 16384, 4 },  { 18400, 5 },  { 20656, 8 },  { 23184, 6 },  { 26016, 7 },
    { 29200, 8 },  { 32768, 8 },
};

START_TEST(the_table_is_as_recorded)
{
    ck_assert_uint_eq(oaki_nclasses, OAKI_COUNT(golden) + 1);
    ck_assert_uint_le(oaki_nclasses, OAKI_CLASS_LARGE);
    for (unsigned i = 0; i < OAKI_COUNT(golden); i++) {
        ck_assert_uint_eq(oaki_classes[i + 1].size, golden[i][0]);
        ck_assert_uint_eq(oaki_classes[i + 1].npages, golden[i][1]);
    }
    ck_assert_uint_eq(oaki_classes[0].size, 0);
    ck_assert_uint_eq(oaki_classes[OAKI_CLASS_LARGE].size, 0);
    ck_assert_uint_eq(oaki_classes[OAKI_CLASS_LARGE].nslots, 0); /* the marker tells it by that */
}
END_TEST

START_TEST(slots_are_multiples_of_16_and_rise)
{
    for (unsigned cls = 1; cls < oaki_nclasses; cls++) {
        ck_assert_uint_eq(oaki_classes[cls].size % OAKI_GRANULE, 0);
        ck_assert_uint_gt(oaki_classes[cls].size, oaki_classes[cls - 1].size);
    }
    ck_assert_uint_eq(oaki_classes[oaki_nclasses - 1].size, OAKI_SMALL_MAX);
}
END_TEST

START_TEST(a_span_holds_its_slots_and_little_else)
{
    for (unsigned cls = 1; cls < oaki_nclasses; cls++) {
        const oaki_class *c = &oaki_classes[cls];
        size_t bytes = (size_t)c->npages * OAKI_PAGE, tail = bytes - (size_t)c->nslots * c->size;
        ck_assert_uint_ge(bytes, (size_t)c->nslots * c->size);
        ck_assert_uint_lt(tail, c->size);
        ck_assert_msg(tail * 8 <= bytes, "class of %u: %zu of %zu are wasted", c->size, tail,
                      bytes);
        ck_assert_uint_le(bytes, (size_t)64 << 10);
    }
}
END_TEST

START_TEST(every_size_gets_the_smallest_class_that_fits)
{
    unsigned want = 1;
    for (size_t n = 0; n <= OAKI_SMALL_MAX; n++) {
        if (n > oaki_classes[want].size) want++;
        ck_assert_msg(oaki_class_of(n) == want, "%zu bytes: a slot of %u instead of %u", n,
                      oaki_classes[oaki_class_of(n)].size, oaki_classes[want].size);
        size_t waste = oaki_classes[want].size - n;
        if (n > 128) ck_assert_uint_le(waste * 8, oaki_classes[want].size);
    }
}
END_TEST

START_TEST(the_multiplication_divides_every_offset)
{
    for (unsigned cls = 1; cls < oaki_nclasses; cls++) {
        const oaki_class *c = &oaki_classes[cls];
        for (size_t off = 0; off < (size_t)c->npages * OAKI_PAGE; off++)
            if ((off * c->magic) >> 32 != off / c->size)
                ck_abort_msg("%zu / %u", off, c->size);
    }
}
END_TEST

/* With a span of each class the offsets behind its last slot, too. */
START_TEST(the_remainder_tells_where_slots_begin)
{
    for (unsigned cls = 1; cls < oaki_nclasses; cls++) {
        const oaki_class *c = &oaki_classes[cls];
        for (size_t off = 0; off < (size_t)c->npages * OAKI_PAGE; off++)
            if (oaki_class_divides(cls, off) != (off % c->size == 0))
                ck_abort_msg("%zu %% %u", off, c->size);
    }
    for (size_t off = 0; off < OAKI_PAGE; off++) {
        ck_assert(!oaki_class_divides(0, off)); /* a free page */
        ck_assert(!oaki_class_divides(OAKI_CLASS_LARGE, off));
    }
}
END_TEST

Suite *suite_runtime_sizeclass(void)
{
    Suite *s = suite_create("runtime/sizeclass");
    TCase *c = tcase_create("table");
    tcase_add_checked_fixture(c, oaki_sizeclass_init, NULL);
    tcase_add_test(c, the_table_is_as_recorded);
    tcase_add_test(c, slots_are_multiples_of_16_and_rise);
    tcase_add_test(c, a_span_holds_its_slots_and_little_else);
    tcase_add_test(c, every_size_gets_the_smallest_class_that_fits);
    tcase_add_test(c, the_multiplication_divides_every_offset);
    tcase_add_test(c, the_remainder_tells_where_slots_begin);
    suite_add_tcase(s, c);
    return s;
}
