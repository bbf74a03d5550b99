/* pages.c - tests of runtime/pages.c: runs against a model of who owns which page. */
#include "runtime/collector.h"
#include "runtime/os.h"
#include "tests/heap.h"

#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

Suite *suite_runtime_pages(void);

#define MODEL_MAX 400
#define OWN_PAGES ((size_t)1 << 19)

typedef struct piece {
    oaki_span *span;
    size_t page, n, head;
    unsigned char stamp;
} piece;

static piece pieces[MODEL_MAX];
static size_t npieces, nheld; /* pages that the model holds, heads not counted */
static unsigned char *owner;
static oaki_thread *self;
static bool spare_heads; /* what is given back is not read, as that may touch it */

static void start(void)
{
    test_heap_start(test_config());
    oak_free(oak_alloc(1)); /* attached */
    self = oaki_enter();
}

static void finish(void)
{
    oaki_leave(self);
}

static void assert_sound(size_t before)
{
    const char *broken = oaki_pages_check();
    ck_assert_msg(!broken, "%s", broken);
    ck_assert_uint_eq(AO_load(&oaki_the_heap.pages_inuse), before + nheld);
}

static char *bytes_of(const piece *p)
{
    return oaki_page_address(p->page);
}

/* Every page of its own has its stamp at both ends; what is given back reads as zero. */
static void check_stamps(const piece *p)
{
    for (size_t i = 0; i < p->n; i++) {
        const unsigned char *page = (unsigned char *)bytes_of(p) + i * OAKI_PAGE;
        unsigned char want = i < p->head ? 0 : p->stamp;
        bool spared = spare_heads && i < p->head;
        if ((!spared && (page[0] != want || page[OAKI_PAGE - 1] != want)) ||
            owner[p->page + i] != p->stamp || oaki_page_first(p->page + i) != p->page)
            ck_abort_msg("page %zu of %zu, head %zu", i, p->n, p->head);
    }
}

static void own(const piece *p, size_t from, size_t n, unsigned char was, unsigned char is)
{
    if (!owner) owner = calloc(OWN_PAGES, 1); /* not static: that would be a root */
    for (size_t i = from; i < from + n; i++) {
        if (p->page + i >= OWN_PAGES || owner[p->page + i] != was)
            ck_abort_msg("page %zu has another owner", p->page + i);
        owner[p->page + i] = is;
    }
}

static void take(void)
{
    size_t n = test_size(600), align = (size_t)1 << (test_below(4) ? 0 : test_below(8));
    bool large = test_below(2);
    oaki_span *s = oaki_pages_alloc(
        n, align, large ? OAKI_CLASS_LARGE : 1 + (unsigned)test_below(60), OAKI_NOSCAN);
    ck_assert_ptr_nonnull(s);
    piece *p = &pieces[npieces++];
    *p = (piece){ s, oaki_span_page(s), n, 0, (unsigned char)(1 + test_below(255)) };
    ck_assert_uint_eq((uintptr_t)bytes_of(p) % (align * OAKI_PAGE), 0);
    ck_assert_uint_eq(s->npages, n);
    own(p, 0, n, 0, p->stamp);
    s->size = n * OAKI_PAGE;
    for (size_t i = 0; i < n; i++) {
        char *page = bytes_of(p) + i * OAKI_PAGE;
        if (!s->needzero && (page[0] || page[100] || page[OAKI_PAGE - 1]))
            ck_abort_msg("page %zu is not zero", i);
        page[0] = page[100] = page[OAKI_PAGE - 1] = (char)p->stamp;
    }
    nheld += n;
}

static void give(size_t i)
{
    piece *p = &pieces[i];
    check_stamps(p);
    own(p, 0, p->n, p->stamp, 0);
    nheld -= p->n - p->head;
    oaki_pages_free(p->span);
    *p = pieces[--npieces];
}

static void give_part(piece *p)
{
    if (p->span->cls != OAKI_CLASS_LARGE || p->n < 3) return;
    if (test_below(2)) {
        size_t keep = p->head + 1 + test_below(p->n - p->head);
        if (keep >= p->n) return;
        own(p, keep, p->n - keep, p->stamp, 0);
        nheld -= p->n - keep;
        p->n = keep;
        oaki_pages_free_tail(p->span, keep);
    } else {
        size_t head = p->head + test_below(p->n - p->head);
        nheld -= head - p->head;
        p->head = head;
        oaki_pages_release_head(p->span, head);
    }
    check_stamps(p);
}

static void step(void)
{
    size_t what = test_below(100);
    if (npieces == 0 || (what < 45 && npieces < MODEL_MAX)) take();
    else if (what < 80 || npieces == MODEL_MAX) give(test_below(npieces));
    else if (what < 95) give_part(&pieces[test_below(npieces)]);
    else oaki_pages_scavenge(test_size((size_t)16 << 20), test_size(64));
}

/* ---- the model ---- */

START_TEST(random_operations_keep_to_the_model)
{
    test_seed("runtime/pages");
    size_t before = AO_load(&oaki_the_heap.pages_inuse);
    for (size_t i = 0, n = test_scale(4000); i < n; i++) {
        step();
        assert_sound(before);
    }
    while (npieces) give(npieces - 1);
    assert_sound(before);
    /* All but the few spans of the start is free, and joined: one run is as long as they leave. */
    size_t end = AO_load(&oaki_the_heap.used) >> OAKI_PAGE_SHIFT, runs = 0;
    for (size_t page = 0; page < end; page += oaki_the_heap.spans[page].npages)
        runs += (oaki_the_heap.pte[page] & OAKI_PTE_CLASS) == 0;
    ck_assert_uint_le(runs, before + 1);
}
END_TEST

START_TEST(neighbours_join_in_every_order)
{
    static const int orders[][3] = { { 0, 1, 2 }, { 0, 2, 1 }, { 1, 0, 2 },
                                     { 1, 2, 0 }, { 2, 0, 1 }, { 2, 1, 0 } };
    for (size_t o = 0; o < OAKI_COUNT(orders); o++) {
        oaki_span *s[3], *all = oaki_pages_alloc(3000, 1, OAKI_CLASS_LARGE, OAKI_NOSCAN);
        size_t first = oaki_span_page(all);
        oaki_pages_free(all);
        for (int i = 0; i < 3; i++)
            ck_assert_ptr_nonnull(s[i] = oaki_pages_alloc(1000, 1, OAKI_CLASS_LARGE, OAKI_NOSCAN));
        for (int i = 0; i < 3; i++) oaki_pages_free(s[orders[o][i]]);
        ck_assert_ptr_null(oaki_pages_check()); /* one of its rules is that free runs are joined */
        all = oaki_pages_alloc(3000, 1, OAKI_CLASS_LARGE, OAKI_NOSCAN);
        ck_assert_uint_eq(oaki_span_page(all), first);
        oaki_pages_free(all);
    }
}
END_TEST

START_TEST(a_run_that_fits_exactly_is_found_again)
{
    for (size_t n = 1; n < 3000; n += 1 + n / 7) {
        oaki_span *wall, *s = oaki_pages_alloc(n, 1, OAKI_CLASS_LARGE, OAKI_NOSCAN);
        wall = oaki_pages_alloc(1, 1, OAKI_CLASS_LARGE, OAKI_NOSCAN);
        size_t used = AO_load(&oaki_the_heap.used);
        oaki_pages_free(s);
        s = oaki_pages_alloc(n, 1, OAKI_CLASS_LARGE, OAKI_NOSCAN);
        ck_assert_uint_eq(AO_load(&oaki_the_heap.used), used);
        oaki_pages_free(s);
        oaki_pages_free(wall);
        ck_assert_ptr_null(oaki_pages_check());
    }
}
END_TEST

/* ---- limits ---- */

START_TEST(heap_max_is_kept_to_the_page)
{
    size_t before = AO_load(&oaki_the_heap.pages_inuse);
    oaki_leave(self);
    oak_set_heap_max((before + 100) * OAKI_PAGE);
    self = oaki_enter();
    oaki_span *s = oaki_pages_alloc(60, 1, OAKI_CLASS_LARGE, OAKI_NOSCAN);
    ck_assert_ptr_nonnull(s);
    errno = 0;
    ck_assert_ptr_null(oaki_pages_alloc(41, 1, OAKI_CLASS_LARGE, OAKI_NOSCAN));
    ck_assert_int_eq(errno, ENOMEM);
    oaki_span *last = oaki_pages_alloc(40, 1, OAKI_CLASS_LARGE, OAKI_NOSCAN);
    ck_assert_ptr_nonnull(last);
    ck_assert_ptr_null(oaki_pages_alloc(1, 1, 1, OAKI_SCAN));
    oaki_pages_release_head(last, 10); /* a head that was given back doesn't count */
    ck_assert_ptr_nonnull(oaki_pages_alloc(10, 1, OAKI_CLASS_LARGE, OAKI_NOSCAN));
    oaki_pages_free(s);
    ck_assert_ptr_nonnull(oaki_pages_alloc(60, 1, OAKI_CLASS_LARGE, OAKI_NOSCAN));
    ck_assert_ptr_null(oaki_pages_check());
}
END_TEST

START_TEST(failalloc_fails_every_nth_request)
{
    oaki_debug_switches.failalloc = 7;
    oaki_the_heap.page_allocs = 0;
    for (unsigned i = 1; i <= 70; i++) {
        oaki_span *s = oaki_pages_alloc(3, 1, OAKI_CLASS_LARGE, OAKI_NOSCAN);
        ck_assert_int_eq(s == NULL, i % 7 == 0);
        if (s) oaki_pages_free(s);
    }
    ck_assert_ptr_null(oaki_pages_check());
}
END_TEST

START_TEST(senseless_sizes_are_refused)
{
    size_t all = oaki_the_heap.reserved >> OAKI_PAGE_SHIFT, used = AO_load(&oaki_the_heap.used);
    const size_t sizes[] = { 0, all + 1, all, SIZE_MAX, SIZE_MAX - 1, SIZE_MAX / OAKI_PAGE };
    for (size_t i = 0; i < OAKI_COUNT(sizes); i++) {
        errno = 0;
        ck_assert_ptr_null(oaki_pages_alloc(sizes[i], 16, OAKI_CLASS_LARGE, OAKI_SCAN));
        ck_assert_int_eq(errno, ENOMEM);
    }
    ck_assert_uint_eq(AO_load(&oaki_the_heap.used), used);
    ck_assert_ptr_null(oaki_pages_check());
}
END_TEST

/* ---- memory ---- */

static void assert_resident(size_t slack)
{
    oaki_heap *h = &oaki_the_heap;
    size_t used = AO_load(&h->used);
    size_t released = AO_load(&h->pages_released) << OAKI_PAGE_SHIFT;
    size_t resident = oaki_os_resident((void *)h->base, used);
    ck_assert_uint_le(resident, used - released);
    ck_assert_uint_ge(resident + slack, used - released);
}

START_TEST(released_pages_are_what_the_kernel_says)
{
    if (test_skip(oaki_os_resident(self, 4096) == SIZE_MAX, "it says nothing of residence")) return;
    test_seed("runtime/pages");
    spare_heads = !test_reads_are_free();
    size_t slack = 64 << 10; /* the start's spans, not all touched */
    for (size_t i = 0, n = test_scale(300); i < n; i++) {
        if (npieces < 60) {
            take();
            piece *p = &pieces[npieces - 1];
            memset(bytes_of(p), p->stamp, p->n * OAKI_PAGE); /* every page of the kernel's */
        } else give(test_below(npieces));
        if (i % 3 == 0) oaki_pages_scavenge(test_size((size_t)8 << 20), test_size(32));
        if (npieces > 10) give_part(&pieces[test_below(npieces)]);
        assert_resident(slack);
    }
    give(test_below(npieces));
    ck_assert_uint_gt(oaki_pages_scavenge(SIZE_MAX, 1), 0);
    ck_assert_uint_eq(AO_load(&oaki_the_heap.pages_released), AO_load(&oaki_the_heap.pages_free));
    ck_assert_uint_eq(oaki_pages_scavenge(SIZE_MAX, 1), 0);
    assert_resident(slack);
    for (size_t i = 0; i < npieces; i++) check_stamps(&pieces[i]);
    ck_assert_ptr_null(oaki_pages_check());
}
END_TEST

START_TEST(scavenging_is_bounded_and_leaves_short_runs)
{
    oaki_span *walls[40], *runs[40];
    for (size_t i = 0; i < 40; i++) {
        runs[i] = oaki_pages_alloc(i + 1, 1, OAKI_CLASS_LARGE, OAKI_NOSCAN);
        memset(oaki_span_start(runs[i]), 1, (i + 1) * OAKI_PAGE);
        walls[i] = oaki_pages_alloc(1, 1, OAKI_CLASS_LARGE, OAKI_NOSCAN);
        ck_assert_ptr_nonnull(walls[i]);
    }
    oaki_pages_scavenge(SIZE_MAX, 1);
    for (size_t i = 0; i < 40; i++) oaki_pages_free(runs[i]);
    ck_assert_uint_eq(oaki_pages_scavenge(SIZE_MAX, 41), 0);
    size_t got = oaki_pages_scavenge(30 * OAKI_PAGE, 21); /* the longest go first */
    ck_assert_uint_eq(got, 40 * OAKI_PAGE);
    ck_assert_uint_eq(oaki_pages_scavenge(SIZE_MAX, 21), (21 + 39) * 19 / 2 * OAKI_PAGE);
    ck_assert_uint_eq(oaki_pages_scavenge(SIZE_MAX, 1), 20 * 21 / 2 * OAKI_PAGE);
    ck_assert_ptr_null(oaki_pages_check());
}
END_TEST

Suite *suite_runtime_pages(void)
{
    Suite *s = suite_create("runtime/pages");
    TCase *c = tcase_create("runs");
    tcase_add_checked_fixture(c, start, finish);
    tcase_add_test(c, random_operations_keep_to_the_model);
    tcase_add_test(c, neighbours_join_in_every_order);
    tcase_add_test(c, a_run_that_fits_exactly_is_found_again);
    tcase_add_test(c, heap_max_is_kept_to_the_page);
    tcase_add_test(c, failalloc_fails_every_nth_request);
    tcase_add_test(c, senseless_sizes_are_refused);
    tcase_add_test(c, released_pages_are_what_the_kernel_says);
    tcase_add_test(c, scavenging_is_bounded_and_leaves_short_runs);
    suite_add_tcase(s, c);
    return s;
}
