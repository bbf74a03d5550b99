/* tags.c - words with tags (oak_config.pointer_tags): each kind keeps its objects from each place
 * that is scanned, in each kind of mark, and no longer than it is there. */
#include "runtime/tags.h"
#include "gc/host.h"
#include "gc/trace/reading.h"
#include "gc/trace/trace.h"
#include "runtime/options.h"
#include "tests/heap.h"
#include "tests/threads.h"
#include "tests/tracked.h"

#include <check.h>
#include <string.h>

Suite *suite_gc_tags(void);

#define N 2000
/* So many may be kept by words that stacks happen to have. ASan's frames and globals have more. */
#define LUCK (N / (test_breaks_asan() ? 10 : 20))
#define SIZE 32

/* ---- kinds of words ---- */

static uintptr_t base;

#define UPPER_16(name, top)               \
    static uint64_t name(uintptr_t p)     \
    {                                     \
        return p | (uint64_t)(top) << 48; \
    }

UPPER_16(nan_fffc, 0xfffc)
UPPER_16(nan_fffa, 0xfffa)
UPPER_16(nan_7ffc, 0x7ffc)
UPPER_16(bit_48, 1)

static uint64_t top_byte(uintptr_t p)
{
    return p | (uint64_t)(0x80 + p / SIZE % 100) << 56;
}

static uint64_t shifted_1(uintptr_t p)
{
    return p << 1 | 1;
}

static uint64_t shifted_3(uintptr_t p)
{
    return p << 3 | 5;
}

static uint64_t shifted_16(uintptr_t p)
{
    return p << 16 | 5;
}

#define FLIP ((uint64_t)0xfffc << 48) /* makes a reference a plain pointer */
static uint64_t flipped(uintptr_t p)
{
    return nan_fffc(p) ^ FLIP;
}

static uint64_t with_low_bits(uintptr_t p)
{
    return nan_fffc(p) | 5;
}

static uint64_t before(uintptr_t p)
{
    return p - SIZE;
}

static uint64_t compressed(uintptr_t p)
{
    return (p - base) >> 4;
}

static uint64_t compressed_8(uintptr_t p)
{
    return (p - base) >> 3 | 1;
}

#define HALVES (OAK_TAG_HALVES | OAK_TAG_FROM_HEAP)

static const struct kind {
    const char *name;
    uint64_t (*word)(uintptr_t p);
    oak_pointer_tag tag[OAK_POINTER_TAGS];
    bool halves;
} kinds[] = {
    { "0xFFFC", nan_fffc, { { 0xffffull << 48, 0xfffcull << 48, 0, 0, 0, 0 } }, false },
    { "0xFFFA", nan_fffa, { { 0xffffull << 48, 0xfffaull << 48, 0, 0, 0, 0 } }, false },
    { "0x7FFC", nan_7ffc, { { 0xffffull << 48, 0x7ffcull << 48, 0, 0, 0, 0 } }, false },
    { "one of three",
      nan_fffa,
      { { 0xffffull << 48, 0xfffcull << 48, 0, 0, 0, 0 },
        { 0xffffull << 48, 0xfffaull << 48, 0, 0, 0, 0 },
        { 0xffffull << 48, 0x7ffcull << 48, 0, 0, 0, 0 } },
      false },
    { "top byte", top_byte, { { 0, 0, 0xffull << 56, 0, 0, 0 } }, false },
    { "bit 48", bit_48, { { 0xffffull << 48, 1ull << 48, 0, 0, 0, 0 } }, false },
    { "<< 1", shifted_1, { { 0, 0, 0, 0, 1, 0 } }, false },
    { "<< 3", shifted_3, { { 7, 5, 0, 0, 3, 0 } }, false },
    { "<< 16", shifted_16, { { 0, 0, 0, 0, 16, 0 } }, false },
    { "<< 16, tested", shifted_16, { { 0xffff, 5, 0, 0, 16, 0 } }, false },
    { "top and low bits",
      with_low_bits,
      { { 0xffffull << 48 | 7, 0xfffcull << 48 | 5, 0, 0, 0, 0 } },
      false },
    { "before", before, { { 0, 0, 0, SIZE, 0, 0 } }, false },
    { "compressed", compressed, { { 0, 0, 0, 0, -4, HALVES } }, true },
    { "compressed, tested", compressed_8, { { 1, 1, 0, 0, -3, HALVES } }, true },
};

static const struct kind *kind, by_xor = { "xor", flipped, { { 0, 0, 0, 0, 0, 0 } }, false };

static oak_config with_tags(oak_config c)
{
    memcpy(c.pointer_tags, kind->tag, sizeof c.pointer_tags);
    c.heap_reserve = (size_t)8 << 30;
    return c;
}

/* ---- objects ---- */

/* Hidden, and their weak references, in pinned objects. */
static oak_weak **weak;
static char *beneath; /* them: small numbers would be compressed references to what lies there */

static void make(uint64_t *words)
{
    for (size_t i = 0; i < N; i++) {
        char *p = oak_alloc(SIZE);
        memset(p, 0x5a, SIZE);
        weak[i] = oak_weak_new(p);
        uint64_t word = kind->word((uintptr_t)p);
        if (kind->halves)
            ((uint32_t *)words)[i] = (uint32_t)word;
        else
            words[i] = word;
    }
}

static size_t alive(void)
{
    size_t n = 0;
    for (size_t i = 0; i < N; i++) n += oak_weak_get(weak[i]) != NULL;
    return n;
}

/* ---- places ---- */

static void no_words(void *arg)
{
    (void)arg;
}

static uint64_t in_data[N];
static uint64_t *outside;
static uint64_t **holders;
static void *key;

static void fill_data(void *arg)
{
    (void)arg;
    uint64_t *words = in_data;
    make(words);
    OAKI_HOLD(words); /* a compiler may drop what is only written */
}

static void empty_data(void *arg)
{
    (void)arg;
    memset(in_data, 0, sizeof in_data);
}

static void fill_range(void *arg)
{
    (void)arg;
    outside = oaki_os_map(sizeof in_data);
    ck_assert_int_eq(oak_root_add(outside, sizeof in_data), 0);
    make(outside);
}

static void empty_range(void *arg)
{
    (void)arg;
    memset(outside, 0, sizeof in_data);
}

static void fill_large(void *arg)
{
    (void)arg;
    holders[0] = oak_alloc(sizeof in_data + (100 << 10));
    make(holders[0] + 4000);
}

/* Its words, as a number may happen to refer to an object that is so large. */
static void empty_large(void *arg)
{
    (void)arg;
    memset(holders[0], 0, sizeof in_data + (100 << 10));
}

static void empty_holders(void *arg)
{
    (void)arg;
    memset(holders, 0, N * sizeof *holders);
}

/* Words that are on their way to their place: a cycle may be under way. */
static uint64_t *make_all(void)
{
    uint64_t *all = oaki_os_map(sizeof in_data);
    ck_assert_int_eq(oak_root_add(all, sizeof in_data), 0);
    make(all);
    return all;
}

static void drop_all(uint64_t *all)
{
    (void)oak_root_remove(all, sizeof in_data);
    oaki_os_release(all, sizeof in_data);
}

/* In so many words of small objects, from one on. type: of these two in turn, or NULL. */
static void fill_objects(const oak_type *const *type, size_t from, size_t words)
{
    uint64_t *all = make_all();
    size_t per = kind->halves ? 2 * words : words;
    for (size_t i = 0; i * per < N; i++) {
        holders[i] = type ? oak_alloc_typed(type[i % 2], 1) : oak_alloc(64);
        memcpy(holders[i] + from, all + i * words, words * sizeof *all);
    }
    drop_all(all);
}

static void fill_small(void *arg)
{
    (void)arg;
    fill_objects(NULL, 0, 8);
}

static void fill_pairs_of_words(void *arg)
{
    (void)arg;
    fill_objects(NULL, 6, 2);
}

static void mark_three(oak_marker *m, void *object, size_t bytes)
{
    oak_mark_range(m, (char *)object + bytes / 6, bytes / 2);
}

/* Words 1, 2 and 3 of 6: by a bitmap and by a function in turn. */
static void fill_typed(void *arg)
{
    static const uint64_t bits = 0x0e;
    (void)arg;
    const oak_type *type[] = { oak_type_bitmap("three", 48, &bits),
                               oak_type_function("three by a function", 48, mark_three) };
    fill_objects(type, 1, 3);
}

static void fill_values(void *arg)
{
    (void)arg;
    key = oak_alloc_pinned(16);
    uint64_t *all = make_all();
    for (size_t i = 0; i < N; i++) {
        uint64_t word = kind->halves ? ((uint32_t *)all)[i] : all[i];
        holders[i] = (uint64_t *)oak_ephemeron_new(key, (void *)(uintptr_t)word);
    }
    drop_all(all);
}

/* In turn in a key and in a value of small maps. The other word is no reference by any tag. */
static void fill_map(void *arg)
{
    static oak_map_type type;
    (void)arg;
    type = oak_map_u64_u64;
    type.flags = OAK_MAP_SCAN_KEY | OAK_MAP_SCAN_VALUE;
    uint64_t *all = make_all();
    for (uint64_t i = 0; i < (kind->halves ? N / 2 : N); i++) {
        if (i % 8 == 0) holders[i / 8] = (uint64_t *)oak_map_new(&type, 0);
        uint64_t pair[2] = { i % 2 ? all[i] : ~i, i % 2 ? ~i : all[i] };
        *(uint64_t *)oak_map_put((oak_map *)holders[i / 8], &pair[0]) = pair[1];
    }
    drop_all(all);
}

static const struct place {
    const char *name;
    void (*fill)(void *arg), (*empty)(void *arg);
} places[] = {
    { "data", fill_data, empty_data },
    { "registered range", fill_range, empty_range },
    { "large object", fill_large, empty_large },
    { "small objects", fill_small, empty_holders },
    { "a few words", fill_pairs_of_words, empty_holders },
    { "typed objects", fill_typed, empty_holders },
    { "values of ephemerons", fill_values, empty_holders },
    { "keys and values of a map", fill_map, empty_holders },
};

/* ---- marks ---- */

/* Two whole cycles: one may have been under way. */
static void collect(bool beside)
{
    for (int i = 0; i < 2; i++)
        if (beside) (void)test_cycle_beside();
        else oak_collect();
}

static void check_place(const struct place *p, bool beside)
{
    test_away(p->fill, NULL);
    test_away(no_words, NULL);
    collect(beside);
    ck_assert_msg(alive() == N, "%s in %s: %zu of %d live", kind->name, p->name, alive(), N);
    test_away(p->empty, NULL);
    collect(beside);
    if (beside) oak_collect(); /* what a minor one keeps */
    ck_assert_msg(alive() <= LUCK, "%s gone from %s: %zu live", kind->name, p->name, alive());
}

static void begin(oak_config c)
{
    oak_heap_info info;
    test_heap_start(with_tags(c));
    oaki_debug_switches.verify = 1;
    oak_heap_info_read(&info);
    base = (uintptr_t)info.base;
    weak = oak_alloc_pinned(N * sizeof *weak);
    holders = oak_alloc_pinned(N * sizeof *holders);
    beneath = oak_alloc_noscan((size_t)64 << 20);
}

/* After it all: the other searches see what the marker sees. */
START_TEST(a_tagged_word_keeps_its_object)
{
    kind = &kinds[(size_t)_i % OAKI_COUNT(kinds)];
    begin(test_config());
    ck_assert_uint_ge(oaki_tags.n, 1);
    ck_assert_int_ge(oaki_gc.host.words_read, OAKI_READ_ADDED);
    for (size_t i = 0; i < OAKI_COUNT(places); i++) check_place(&places[i], false);
    test_assert_sound();
}
END_TEST

START_TEST(marks_beside_the_program_see_tags)
{
    kind = &kinds[(size_t)_i % OAKI_COUNT(kinds)];
    size_t minors = (size_t)_i / OAKI_COUNT(kinds) * 4;
    oak_config c = test_config_beside(test_tracking);
    begin(c);
    oaki_debug_switches.poison = oaki_debug_switches.verify = oaki_debug_switches.beside = 1;
    oaki_debug_switches.minor = (int)minors;
    if (test_skip_untracked()) return;
    for (size_t i = 0; i < OAKI_COUNT(places); i++) check_place(&places[i], true);
}
END_TEST

/* The same list of objects, again and again made anew in its middle while marks go on: only a
 * tagged word leads to the rest of it. */
#define LENGTH 20000

typedef struct node {
    uint64_t next, id;
} node;

static node *node_of(uint64_t word)
{
    return (node *)(uintptr_t)(word << 16 >> 16);
}

START_TEST(what_moves_during_a_mark_is_kept)
{
    uint64_t first = 0;
    kind = &kinds[0];
    begin(test_config_beside(test_tracking));
    oaki_debug_switches.poison = oaki_debug_switches.verify = oaki_debug_switches.beside = 1;
    oaki_debug_switches.minor = _i * 4;
    if (test_skip_untracked()) return;
    for (uint64_t i = 0; i < LENGTH; i++) {
        node *l = oak_alloc(sizeof *l);
        *l = (node){ first, i };
        first = nan_fffc((uintptr_t)l);
    }
    for (int round = 0; round < 20; round++) {
        test_ask_or_collect();
        for (node *l = node_of(first); l && l->next; l = node_of(l->next)) {
            if (l->id % 64 != (uint64_t)round % 64) continue;
            node *fresh = oak_alloc(sizeof *fresh);
            *fresh = *node_of(l->next);
            l->next = nan_fffc((uintptr_t)fresh);
        }
    }
    size_t n = LENGTH;
    for (node *l = node_of(first); l; l = node_of(l->next)) ck_assert_uint_eq(l->id, --n);
    ck_assert_uint_eq(n, 0);
}
END_TEST

/* ---- stacks and registers ---- */

static void stack_and_collect(void *arg)
{
    uint64_t words[N];
    memset(words, 0, sizeof words);
    make(words);
    __asm__ volatile("" : : "r"(words) : "memory");
    oak_collect();
    *(size_t *)arg = alive();
    __asm__ volatile("" : : "r"(words) : "memory");
    memset(words, 0, sizeof words);
}

START_TEST(a_tagged_word_on_a_stack_keeps_its_object)
{
    size_t kept = 0;
    kind = &kinds[_i];
    begin(test_config());
    test_away(stack_and_collect, &kept);
    ck_assert_uint_eq(kept, N);
    test_away(no_words, NULL);
    collect(false);
    ck_assert_uint_le(alive(), LUCK);
}
END_TEST

#if defined(__x86_64__)
static AO_t holding, release_it;

/* One object, whose word is in a register that nothing saves: the thread spins in the function. */
static void *hold_in_register(void *arg)
{
    (void)arg;
    oak_thread_attach();
    uint64_t word = kind->word((uintptr_t)oak_weak_get(weak[0]));
    __asm__ volatile("movq %0, %%r8\n\txorq %0, %0\n\txorl %%eax, %%eax\n\txorl %%ecx, %%ecx\n\t"
                     "xorl %%edx, %%edx\n\txorl %%esi, %%esi\n\txorl %%edi, %%edi\n\t"
                     "xorl %%r9d, %%r9d\n\txorl %%r10d, %%r10d\n\txorl %%r11d, %%r11d\n\t"
                     "movq $1, %1\n"
                     "1:\tpause\n\tcmpq $0, %2\n\tje 1b\n\txorl %%r8d, %%r8d"
                     : "+r"(word), "=m"(holding)
                     : "m"(release_it)
                     : "rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "memory", "cc");
    return NULL;
}

static void one_object(void *arg)
{
    (void)arg;
    char *p = oak_alloc(SIZE);
    weak[0] = oak_weak_new(p);
    outside = (uint64_t *)p;
}

START_TEST(a_tagged_word_in_a_register_keeps_its_object)
{
    kind = &kinds[_i];
    begin(test_config());
    test_away(one_object, NULL);
    pthread_t id = test_start(hold_in_register, NULL);
    test_wait(&holding, 1);
    outside = NULL;
    for (int i = 0; i < 3; i++) {
        oak_collect();
        ck_assert_ptr_nonnull(oak_weak_get(weak[0]));
    }
    AO_store(&release_it, 1);
    test_join(id);
}
END_TEST
#endif

static void *stack_of_fiber;

static void fiber_words(void *arg)
{
    (void)arg;
    make(stack_of_fiber);
}

/* A fiber that never ran is scanned in its top 4 KiB. */
START_TEST(a_tagged_word_on_a_fiber_keeps_its_object)
{
    const size_t size = (size_t)64 << 10, top = 4096;
    kind = &kinds[_i];
    begin(test_config());
    char *stack = oaki_os_map(size);
    size_t each = kind->halves ? sizeof(uint32_t) : sizeof(uint64_t), kept = 0;
    stack_of_fiber = stack + size - N * each;
    holders[0] = (uint64_t *)oak_fiber_new(stack, size, NULL);
    test_away(fiber_words, NULL);
    test_away(no_words, NULL);
    oak_collect();
    for (size_t i = N - top / each; i < N; i++) kept += oak_weak_get(weak[i]) != NULL;
    ck_assert_uint_eq(kept, top / each);
    ck_assert_uint_le(alive(), top / each + LUCK);
}
END_TEST

/* ---- what is no reference ---- */

static void fill_doubles(void *flip)
{
    uint64_t draw = test_random() | 1;
    double *d = oak_alloc(1000000 * sizeof *d);
    for (size_t i = 0; i < 1000000; i++) {
        uint64_t bits = test_draw(&draw) << 11 | (test_draw(&draw) & 0x7ff);
        if (bits >> 52 == 0xfff || bits >> 52 == 0x7ff) bits ^= (uint64_t)1 << 60;
        memcpy(&d[i], &(uint64_t){ bits ^ (uintptr_t)flip }, sizeof bits);
    }
    holders[0] = (uint64_t *)d;
    uint64_t *all = oaki_os_map(sizeof in_data);
    make(all);
    oaki_os_release(all, sizeof in_data);
}

/* At last those of boxes by xor, which need no tag. */
START_TEST(plain_doubles_keep_nothing)
{
    test_seed("gc/tags");
    kind = _i < 4 ? &kinds[_i] : &by_xor;
    begin(test_config());
    if (_i == 4) check_place(&places[0], false);
    test_away(fill_doubles, (void *)(uintptr_t)(_i < 4 ? 0 : FLIP));
    test_away(no_words, NULL);
    collect(false);
    ck_assert_uint_le(alive(), LUCK);
}
END_TEST

/* The words of objects, with another tag than the one that counts. */
static void fill_others(void *arg)
{
    const struct kind *right = kind;
    static struct kind other;
    other = *right;
    other.word = arg;
    kind = &other;
    holders[0] = oak_alloc(N * sizeof(uint64_t));
    make(holders[0]);
    kind = right;
}

START_TEST(another_tag_keeps_nothing)
{
    static const struct {
        size_t kind;
        uint64_t (*word)(uintptr_t p);
    } pair[] = { { 0, nan_fffa },  { 0, nan_7ffc },  { 0, top_byte },
                 { 1, nan_fffc },  { 5, nan_fffc },  { 7, shifted_1 },
                 { 9, shifted_3 }, { 10, nan_fffc }, { 3, bit_48 } };
    kind = &kinds[pair[_i].kind];
    begin(test_config());
    test_away(fill_others, (void *)pair[_i].word);
    test_away(no_words, NULL);
    collect(false);
    ck_assert_msg(alive() <= LUCK, "%s: %zu", kind->name, alive());
}
END_TEST

static TCase *beside(const char *name, void (*setup)(void))
{
    TCase *t = tcase_create(name);
    tcase_set_timeout(t, 120);
    tcase_add_checked_fixture(t, setup, NULL);
    tcase_add_loop_test(t, marks_beside_the_program_see_tags, 0, 2 * (int)OAKI_COUNT(kinds));
    tcase_add_loop_test(t, what_moves_during_a_mark_is_kept, 0, 2);
    return t;
}

Suite *suite_gc_tags(void)
{
    Suite *s = suite_create("gc_tags");
    TCase *t = tcase_create("stopped");
    int n = (int)OAKI_COUNT(kinds);
    tcase_set_timeout(t, 120);
    tcase_add_loop_test(t, a_tagged_word_keeps_its_object, 0, n);
    tcase_add_loop_test(t, a_tagged_word_on_a_stack_keeps_its_object, 0, n);
#if defined(__x86_64__)
    tcase_add_loop_test(t, a_tagged_word_in_a_register_keeps_its_object, 0, n);
#endif
    tcase_add_loop_test(t, a_tagged_word_on_a_fiber_keeps_its_object, 0, n);
    tcase_add_loop_test(t, plain_doubles_keep_nothing, 0, 5);
    tcase_add_loop_test(t, another_tag_keeps_nothing, 0, 9);
    suite_add_tcase(s, t);
    suite_add_tcase(s, beside("userfaultfd", test_by_userfaultfd));
    suite_add_tcase(s, beside("faults", test_by_faults));
    return s;
}
