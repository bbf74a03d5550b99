/* frames.c - tests of observe/frames.c: an interpreter's frames stand in front of those of C. */
#include "observe/frames.h"
#include "find.h"
#include "observe/stack.h"
#include "tests/heap.h"

#include <check.h>
#include <string.h>

Suite *suite_observe_frames(void);

static void start(void)
{
    test_heap_start(test_config());
    ck_assert_int_eq(oak_profile_set_rate(1), 0);
}

START_TEST(the_same_names_have_one_number)
{
    uintptr_t a = oak_frame_number("fill", "a.script", 12);
    ck_assert_uint_ne(a, 0);
    ck_assert(oaki_frames_is(a) && oaki_frames_is(a - 1));
    ck_assert_uint_eq(oak_frame_number("fill", "a.script", 12), a);
    ck_assert_uint_ne(oak_frame_number("fill", "a.script", 13), a);
    ck_assert_uint_ne(oak_frame_number("fill", "b.script", 12), a);
    ck_assert_uint_ne(oak_frame_number("fill", NULL, 12), a);
    ck_assert_uint_ne(oak_frame_number("fill", "", 12), oak_frame_number("fill", NULL, 12));
    for (int i = 0; i < 5000; i++) (void)oak_frame_number("many", "a.script", i);
    oak_frame f = oaki_frames_name(a - 1);
    ck_assert_str_eq(f.function, "fill");
    ck_assert_str_eq(f.file, "a.script");
    ck_assert_int_eq(f.line, 12);
    ck_assert_ptr_null(oaki_frames_name(oak_frame_number("plain", NULL, 0)).file);
    ck_assert_ptr_null(oaki_frames_name(a + ((uintptr_t)OAKI_FRAMES << 4)).function);
}
END_TEST

/* ---- sources ---- */

static size_t told;

static size_t tell(uintptr_t *frame, size_t max, void *ctx)
{
    (void)ctx;
    for (size_t i = 0; i < told && i < max; i++)
        frame[i] = oak_frame_number(i ? "outer" : "inner", "a.script", (int)i);
    return told;
}

static OAKI_NOINLINE void *make(size_t n)
{
    void *p = oak_alloc(n);
    __asm__("" : : "r"(p) : "memory");
    return p;
}

static OAKI_NOINLINE void *interpret(size_t n)
{
    void *p = make(n);
    __asm__("" : : "r"(p) : "memory");
    return p;
}

typedef struct look {
    char stack[512];
} look;

static bool note_inner(const oak_profile_site *s, void *ctx)
{
    look *l = ctx;
    if (s->nframes == 0 || strcmp(s->frames[0].function ? s->frames[0].function : "", "inner") != 0)
        return true;
    l->stack[0] = '\0';
    for (size_t i = 0; i < s->nframes && i < 4; i++) {
        const char *name = s->frames[i].function ? s->frames[i].function : "?";
        strncat(l->stack, name, sizeof l->stack - strlen(l->stack) - 2);
        strncat(l->stack, " ", 2);
    }
    return false;
}

START_TEST(frames_of_a_source_come_first)
{
    oak_frame_source s = { .read = tell };
    look l = { "" };
    told = 2;
    ck_assert_ptr_null(oak_frame_source_set(&s));
    void *p = interpret(100);
    ck_assert_ptr_eq(oak_frame_source_set(NULL), &s);
    ck_assert_ptr_nonnull(p);
    ck_assert_ptr_nonnull(interpret(100));
    oak_profile *r = oak_profile_read(OAK_PROFILE_NOW);
    ck_assert_int_eq(oak_profile_each(r, OAK_PROFILE_INUSE_BYTES, note_inner, &l), 0);
    ck_assert_int_eq(strncmp(l.stack, "inner outer ", 12), 0);
    ck_assert_ptr_nonnull(strstr(l.stack, "make"));
    ck_assert_int_eq(test_sum_in(r, "inner").alloc_objects, 1);
    ck_assert_int_eq(test_sum_in(r, "make").alloc_objects, 2);
    oak_profile_free(r);
}
END_TEST

START_TEST(hidden_code_is_left_out)
{
    uintptr_t lo = (uintptr_t)make;
    oak_code_range hidden = { lo, lo + 16 };
    oak_frame_source s = { .read = tell, .hidden = &hidden, .nhidden = 1 };
    uintptr_t pc[OAKI_STACK_FRAMES] = { lo + 2, lo - 1, hidden.hi + 1 };
    told = 1;
    oak_frame_source_set(&s);
    size_t n = oaki_frames_merge(pc, 3, OAKI_STACK_FRAMES);
    oak_frame_source_set(NULL);
    ck_assert_uint_eq(n, 3);
    ck_assert_uint_eq(pc[1], lo - 1);
    ck_assert_uint_eq(pc[2], hidden.hi + 1);
}
END_TEST

START_TEST(a_stack_has_room_for_so_many)
{
    oak_frame_source s = { .read = tell };
    uintptr_t pc[OAKI_STACK_FRAMES] = { 1, 2, 3 };
    told = 1000;
    oak_frame_source_set(&s);
    ck_assert_uint_eq(oaki_frames_merge(pc, 3, OAKI_STACK_FRAMES), OAKI_STACK_FRAMES);
    ck_assert(oaki_frames_is(pc[OAKI_STACK_FRAMES - 1]));
    told = 0;
    pc[0] = 7;
    ck_assert_uint_eq(oaki_frames_merge(pc, 1, OAKI_STACK_FRAMES), 1);
    ck_assert_uint_eq(pc[0], 7);
    oak_frame_source_set(NULL);
}
END_TEST

Suite *suite_observe_frames(void)
{
    Suite *s = suite_create("observe/frames");
    TCase *tc = tcase_create("frames");
    tcase_add_checked_fixture(tc, start, NULL);
    tcase_add_test(tc, the_same_names_have_one_number);
    tcase_add_test(tc, frames_of_a_source_come_first);
    tcase_add_test(tc, hidden_code_is_left_out);
    tcase_add_test(tc, a_stack_has_room_for_so_many);
    suite_add_tcase(s, tc);
    return s;
}
