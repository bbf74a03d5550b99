/* unwind.c - tests of the unwinder: each kind of frame, against the C library's own; stacks and
 * tables that are broken. */
#include "observe/unwind.h"
#include "observe/unwind_walk.h"
#include "runtime/probe.h"
#include "tests/backtrace.h"
#include "tests/heap.h"
#include "tests/threads.h"

#include <check.h>
#include <dlfcn.h>
#include <linux/seccomp.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

Suite *suite_observe_unwind(void);

#define FRAMES 128

static uintptr_t seen[FRAMES];
static size_t nseen;

static OAKI_NOINLINE void look(void)
{
    nseen = oaki_unwind(seen, FRAMES, NULL);
    __asm__ __volatile__("" : : : "memory");
}

/* Is there a frame of the function that begins at `fn`? Its code isn't longer than `size`. */
static bool has(const void *fn, size_t size)
{
    for (size_t i = 0; i < nseen; i++)
        if (seen[i] - 1 - (uintptr_t)fn < size) return true;
    return false;
}

static void start(void)
{
    test_heap_start(test_config());
    ck_assert_int_eq(oak_thread_attach(), 0);
    ck_assert_int_eq(oaki_unwind_init(), 0);
}

/* ---- what compilers make ---- */

static void *theirs[FRAMES];
static size_t ntheirs;

static OAKI_NOINLINE void look_twice(void)
{
    look();
    ntheirs = test_backtrace(theirs, FRAMES);
    __asm__ __volatile__("" : : : "memory");
}

/* All but what differs: look_twice's own call. */
static void assert_same(void)
{
    size_t n = OAKI_MIN(nseen, ntheirs);
    ck_assert_uint_gt(n, 4);
    for (size_t i = 1; i + 2 < n; i++)
        ck_assert_uint_eq(seen[nseen - i], (uintptr_t)theirs[ntheirs - i]);
}

static OAKI_NOINLINE void recurse(int n, void (*fn)(void))
{
    char space[40];
    __asm__ __volatile__("" : : "r"(space) : "memory");
    if (n > 0)
        recurse(n - 1, fn);
    else
        fn();
    __asm__ __volatile__("" : : "r"(space) : "memory");
}

/* The stack pointer is aligned, and moved by an unknown distance. */
static OAKI_NOINLINE void realign(size_t n, void (*fn)(void))
{
    char aligned[64] __attribute__((aligned(64)));
    char *moved = __builtin_alloca(n);
    __asm__ __volatile__("" : : "r"(aligned), "r"(moved) : "memory");
    fn();
    __asm__ __volatile__("" : : "r"(aligned), "r"(moved) : "memory");
}

static OAKI_NOINLINE void through_both(void)
{
    realign(100, look_twice);
    __asm__ __volatile__("" : : : "memory");
}

static int compare(const void *a, const void *b)
{
    (void)b;
    if (a) recurse(2, through_both);
    return 0;
}

/* Through the C library, too. */
static void look_from_everywhere(void)
{
    int items[2] = { 1, 2 };
    recurse(30, look_twice);
    assert_same();
    recurse(3, through_both);
    assert_same();
    qsort(items, 2, sizeof *items, compare);
    assert_same();
}

START_TEST(what_compilers_make_is_seen_as_the_c_library_sees_it)
{
    for (int i = 0; i < 3; i++) look_from_everywhere(); /* by tables, then by the cache */
    oaki_unwind_forget();
    look_from_everywhere();
}
END_TEST

START_TEST(without_the_loaders_look_up_a_table_does)
{
    ck_assert_int_eq(oaki_unwind_by_loader(false), 0);
    oaki_unwind_forget();
    for (int i = 0; i < 2; i++) look_from_everywhere();
    void *lib = dlopen(TEST_MODULES "/libframe1.so", RTLD_NOW);
    ck_assert_ptr_nonnull(lib);
    void (*call)(void (*)(void)) = (void (*)(void (*)(void)))dlsym(lib, "frame_call");
    oak_collect(); /* what was loaded is known */
    call(look_twice);
    assert_same();
    ck_assert(has((void *)call, 64));
}
END_TEST

static void *in_a_thread(void *arg)
{
    look_from_everywhere();
    return arg;
}

/* One that isn't attached has a stack of which nothing is known. */
START_TEST(the_stacks_of_threads_are_walked)
{
    test_join(test_start(in_a_thread, NULL));
}
END_TEST

START_TEST(there_are_at_most_as_many_as_asked_for)
{
    uintptr_t pc[3] = { 0, 0, 1 };
    recurse(10, look);
    size_t all = nseen;
    ck_assert_uint_gt(all, 10);
    ck_assert_uint_eq(oaki_unwind(pc, 0, NULL), 0);
    ck_assert_uint_eq(oaki_unwind(pc, 2, NULL), 2);
    ck_assert_uint_eq(pc[2], 1);
}
END_TEST

/* ---- signals ---- */

static AO_t handled;

static void handle(int sig)
{
    (void)sig;
    AO_store(&handled, AO_load(&handled) + 1);
    look();
    __asm__ __volatile__("" : : : "memory");
}

static void take_signal(int flags)
{
    struct sigaction action = { .sa_handler = handle, .sa_flags = flags };
    ck_assert_int_eq(sigaction(SIGTRAP, &action, NULL), 0);
}

static OAKI_NOINLINE void interrupt_here(void)
{
    raise(SIGTRAP);
    __asm__ __volatile__("" : : : "memory");
}

START_TEST(a_signals_frame_leads_to_what_it_interrupted)
{
    stack_t stack = { .ss_sp = malloc(64 << 10), .ss_size = 64 << 10 };
    if (_i == 1) ck_assert_int_eq(sigaltstack(&stack, NULL), 0);
    take_signal(_i == 1 ? SA_ONSTACK : 0);
    for (int i = 0; i < 2; i++) {
        recurse(5, interrupt_here);
        ck_assert(has((void *)handle, 64));
        ck_assert(has((void *)interrupt_here, 64));
        ck_assert(has((void *)recurse, 256));
    }
    ck_assert_uint_eq(AO_load(&handled), 2);
}
END_TEST

/* ---- no system call ---- */

START_TEST(what_was_met_before_needs_no_system_call)
{
    pid_t pid = fork();
    if (pid == 0) {
        for (int i = 0; i < 100; i++) {
            __asm__ __volatile__("" : "+r"(i)); /* one call for the first time and the others */
            recurse(20, look);
            if (i == 0 && prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT) != 0) break;
        }
        syscall(SYS_exit, nseen > 20 ? 0 : 1);
    }
    ck_assert_int_eq(test_wait_child(pid), 0);
}
END_TEST

/* ---- libraries that come and go ---- */

static OAKI_NOINLINE void call_in(const char *path, uintptr_t *where)
{
    void *lib = dlopen(path, RTLD_NOW);
    ck_assert_ptr_nonnull(lib);
    *where = (uintptr_t)dlsym(lib, "frame_call");
    ((void (*)(void (*)(void))) * where)(look);
    ck_assert(has((void *)*where, 64));
    ck_assert(has((void *)call_in, 512));
    ck_assert_int_eq(dlclose(lib), 0);
}

/* The loader puts the second one there unless a mapping was made meanwhile. */
START_TEST(what_came_in_the_place_of_another_has_its_own_rules)
{
    uintptr_t first, second;
    int met = 0;
    for (int i = 0; i < 100 && met < 4; i++) {
        call_in(TEST_MODULES "/libframe1.so", &first);
        oak_collect();
        call_in(TEST_MODULES "/libframe2.so", &second);
        oak_collect();
        met += first == second;
    }
    ck_assert_int_eq(met, 4);
}
END_TEST

/* ---- broken tables ---- */

typedef struct copy {
    oaki_unwind_object o;
    unsigned char *tables;
    size_t size;
    uintptr_t by; /* its addresses are so much higher */
} copy;

/* All of them: ASan has gaps between what is there. */
OAKI_NO_ASAN static void copy_bytes(unsigned char *to, const unsigned char *from, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        to[i] = from[i];
        __asm__("" ::: "memory"); /* no memcpy */
    }
}

/* The tables of this program at another place, with nothing behind them. */
static copy copy_tables(void)
{
    copy c;
    ck_assert(oaki_unwind_find_object((uintptr_t)copy_tables, &c.o));
    size_t page = oaki_os_page_size();
    uintptr_t from = OAKI_ALIGN_DOWN(c.o.header, page), to = from;
    while (oaki_probe((const void *)to) && to < c.o.hi) to += page;
    c.size = to - from;
    c.tables =
        mmap(NULL, c.size + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(c.tables, MAP_FAILED);
    ck_assert_int_eq(mprotect(c.tables + c.size, page, PROT_NONE), 0);
    copy_bytes(c.tables, (const void *)from, c.size);
    c.by = (uintptr_t)c.tables - from;
    c.o.lo += c.by;
    c.o.hi += c.by;
    c.o.header += c.by;
    return c;
}

static const void *const some[] = { oak_alloc,   oak_collect,   look,        recurse,
                                    oaki_unwind, oaki_row_read, oak_map_put, take_signal };

START_TEST(without_a_search_table_all_entries_are_looked_at)
{
    copy c = copy_tables();
    unsigned char *table = (unsigned char *)c.o.header + 3;
    for (int i = 0; i < 100; i++) {
        uintptr_t at = (uintptr_t)some[i % OAKI_COUNT(some)] + (unsigned)i + c.by;
        *table = 0x3b;
        oaki_rule searched = oaki_walk_read_rule(&c.o, at);
        *table = 0xff;
        oaki_rule looked_at = oaki_walk_read_rule(&c.o, at);
        ck_assert(looked_at == searched);
        ck_assert_uint_ne(looked_at, 0);
    }
    ck_assert_uint_eq(oaki_rule_kind(oaki_walk_read_rule(&c.o, (uintptr_t)look + c.by)),
                      OAKI_BY_SP);
}
END_TEST

static void damage(copy *c, uintptr_t entry, uint64_t *seed)
{
    unsigned char *where[] = { (unsigned char *)c->o.header, (unsigned char *)entry, c->tables };
    size_t room[] = { 64, 64, c->size };
    for (uint64_t n = 1 + test_draw(seed) % 8; n > 0; n--) {
        size_t k = test_draw(seed) % 8 == 0 ? test_draw(seed) % 3 : 1;
        where[k][test_draw(seed) % room[k]] = (unsigned char)test_draw(seed);
    }
}

START_TEST(damaged_tables_do_no_harm)
{
    copy c = copy_tables();
    uint64_t seed = 4711;
    unsigned char *whole = malloc(c.size);
    memcpy(whole, c.tables, c.size);
    for (int i = 0; i < 20000; i++) {
        oaki_window tables = { 0, 0 };
        uintptr_t at = (uintptr_t)some[i % (int)OAKI_COUNT(some)] + test_draw(&seed) % 64 + c.by;
        uintptr_t entry = oaki_unwind_find_entry(&c.o, at, &tables);
        uintptr_t common = entry - *(uint32_t *)(entry + 4) + 4;
        damage(&c, i % 4 == 0 ? common : entry, &seed);
        (void)oaki_walk_read_rule(&c.o, at);
        oaki_walk w = { .pc = at, .exact = true };
        for (int k = 0; k < OAKI_COLUMNS; k++) w.registers.r[k] = (uintptr_t)&w + 8u * (unsigned)k;
        w.registers.known = ~(uint32_t)0 >> (32 - OAKI_COLUMNS);
        (void)oaki_walk_row(&w, &c.o, at);
        if (i % 64 == 0) memcpy(c.tables, whole, c.size);
        memcpy((void *)OAKI_ALIGN_DOWN(entry, 64),
               whole + (OAKI_ALIGN_DOWN(entry, 64) - (uintptr_t)c.tables), 128);
        memcpy((void *)OAKI_ALIGN_DOWN(common, 64),
               whole + (OAKI_ALIGN_DOWN(common, 64) - (uintptr_t)c.tables), 128);
        memcpy((void *)c.o.header, whole + (c.o.header - (uintptr_t)c.tables), 64);
    }
    free(whole);
}
END_TEST

/* ---- what assemblers and JITs make ---- */

#ifdef __x86_64__

#define FUNCTION(name, body)                                                       \
    void name(void (*fn)(void));                                                   \
    __asm__(".text\n.type " #name ", @function\n" #name ":\n.cfi_startproc\n" body \
            ".cfi_endproc\n.size " #name ", . - " #name "\n")

/* A register that only a callee's callee saves is what the CFA goes by. */
FUNCTION(by_rbx, "pushq %rbx\n.cfi_adjust_cfa_offset 8\n.cfi_rel_offset rbx, 0\n"
                 "leaq 16(%rsp), %rbx\n.cfi_def_cfa rbx, 0\n"
                 "subq $32, %rsp\n"
                 "call *%rdi\n"
                 "leaq -16(%rbx), %rsp\n.cfi_def_cfa rsp, 16\n"
                 "popq %rbx\n.cfi_adjust_cfa_offset -8\n"
                 "ret\n");

/* As in the prologue of a function that aligns its stack. */
FUNCTION(by_r10, "leaq 8(%rsp), %r10\n.cfi_def_cfa r10, 0\n"
                 "andq $-64, %rsp\n"
                 "int3\n"
                 "leaq -8(%r10), %rsp\n.cfi_def_cfa rsp, 8\n"
                 "ret\n");

FUNCTION(leaf, "int3\nret\n");

/* As of an entry of the table of procedures: what was pushed depends on the address. */
FUNCTION(by_address,
         ".cfi_escape 0x0f, 0x0b, 0x77, 0x08, 0x80, 0x00, 0x3f, 0x1a, 0x3b, 0x2a, 0x33, "
         "0x24, 0x22\n"
         ".balign 16\nint3\nnop\nnop\nnop\nnop\nnop\nnop\nnop\nnop\nnop\n"
         "pushq $0\n"
         "int3\naddq $8, %rsp\n.cfi_def_cfa rsp, 8\nret\n");

/* What it remembers is never asked for. */
FUNCTION(remembers, "subq $8, %rsp\n.cfi_def_cfa_offset 16\n.cfi_remember_state\n"
                    "subq $16, %rsp\n.cfi_def_cfa_offset 32\n"
                    "call *%rdi\naddq $24, %rsp\nret\n");

/* A CFA far beyond the end of the stack; and one that nothing called. */
FUNCTION(beyond, "subq $8, %rsp\n.cfi_def_cfa rsp, 0x40000000\ncall *%rdi\naddq $8, %rsp\nret\n");
FUNCTION(outermost, "subq $8, %rsp\n.cfi_def_cfa rsp, 16\n.cfi_undefined rip\ncall *%rdi\n"
                    "addq $8, %rsp\nret\n");

static OAKI_NOINLINE void through(void (*fn)(void (*)(void)))
{
    fn(look);
    __asm__ __volatile__("" : : : "memory");
}

static OAKI_NOINLINE bool seen_through(void (*fn)(void (*)(void)))
{
    nseen = 0;
    through(fn);
    return has((void *)fn, 64) && has((void *)through, 64) && has((void *)seen_through, 256);
}

START_TEST(a_frame_by_any_register_is_followed)
{
    take_signal(0);
    for (int i = 0; i < 2; i++) {
        ck_assert(seen_through(by_rbx));
        ck_assert(seen_through(by_r10));
        ck_assert(seen_through(leaf));
        ck_assert(seen_through(by_address));
        ck_assert(seen_through(remembers));
    }
    ck_assert_uint_eq(AO_load(&handled), 8);
}
END_TEST

START_TEST(a_stack_that_ends_oddly_ends_the_walk)
{
    through(beyond);
    ck_assert(has((void *)beyond, 64) && !has((void *)through, 64));
    through(outermost);
    ck_assert(has((void *)outermost, 64) && !has((void *)through, 64));
}
END_TEST

/* Code that no table tells of: fn(arg) with this frame pointer, or its own if NULL. */
typedef void compiled(void (*fn)(void), const void *fp);

static compiled *compile(bool with_frame)
{
    static const unsigned char framed[] = { 0x55, 0x48, 0x89, 0xe5, 0xff, 0xd7, 0x5d, 0xc3 };
    static const unsigned char bare[] = { 0x55, 0x48, 0x89, 0xf5, 0xff, 0xd7, 0x5d, 0xc3 };
    char *code = mmap(NULL, oaki_os_page_size(), PROT_READ | PROT_WRITE | PROT_EXEC,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(code, MAP_FAILED);
    memcpy(code, with_frame ? framed : bare, sizeof framed);
    return (compiled *)code;
}

static compiled *jit;

static OAKI_NOINLINE void call_jit(void)
{
    jit(look, NULL);
    __asm__ __volatile__("" : : : "memory");
}

START_TEST(code_without_tables_is_followed_by_its_frame_pointers)
{
    jit = compile(true);
    for (int i = 0; i < 2; i++) {
        nseen = 0;
        recurse(3, call_jit);
        ck_assert(has((void *)jit, 16));
        ck_assert(has((void *)call_jit, 64) && has((void *)recurse, 256));
    }
}
END_TEST

static uintptr_t some_word(uint64_t *seed, uintptr_t lo, size_t words)
{
    uint64_t x = test_draw(seed);
    switch (test_draw(seed) % 6) {
    case 0:
        return x;
    case 1:
        return x % 4096;
    case 2:
        return (uintptr_t)some[x % OAKI_COUNT(some)] + x % 97;
    case 3:
        return lo + x % (8 * words);
    case 4:
        return (uintptr_t)jit + 6;
    default:
        return lo + x % words * 8;
    }
}

START_TEST(frame_pointers_that_are_none_do_no_harm)
{
    enum { WORDS = 64 };
    uintptr_t stack[WORDS];
    uint64_t seed = 42;
    jit = compile(false);
    size_t longest = 0;
    for (int i = 0; i < 20000; i++) {
        for (size_t k = 0; k < WORDS; k++) stack[k] = some_word(&seed, (uintptr_t)stack, WORDS);
        jit(look, (const void *)some_word(&seed, (uintptr_t)stack, WORDS));
        ck_assert(has((void *)jit, 16));
        longest = OAKI_MAX(longest, nseen);
    }
    ck_assert_uint_gt(longest, 3);
}
END_TEST

#endif

Suite *suite_observe_unwind(void)
{
    Suite *s = suite_create("observe/unwind");
    TCase *c = tcase_create("unwind");
    tcase_add_checked_fixture(c, start, NULL);
    tcase_add_test(c, what_compilers_make_is_seen_as_the_c_library_sees_it);
    tcase_add_test(c, without_the_loaders_look_up_a_table_does);
    tcase_add_test(c, the_stacks_of_threads_are_walked);
    tcase_add_test(c, there_are_at_most_as_many_as_asked_for);
    tcase_add_loop_test(c, a_signals_frame_leads_to_what_it_interrupted, 0, 2);
    tcase_add_test(c, what_was_met_before_needs_no_system_call);
    tcase_add_test(c, what_came_in_the_place_of_another_has_its_own_rules);
    tcase_add_test(c, without_a_search_table_all_entries_are_looked_at);
    tcase_add_test(c, damaged_tables_do_no_harm);
#ifdef __x86_64__
    tcase_add_test(c, a_frame_by_any_register_is_followed);
    tcase_add_test(c, a_stack_that_ends_oddly_ends_the_walk);
    tcase_add_test(c, code_without_tables_is_followed_by_its_frame_pointers);
    tcase_add_test(c, frame_pointers_that_are_none_do_no_harm);
#else
    test_skip(true, "stacks are made by hand for x86-64 alone");
#endif
    suite_add_tcase(s, c);
    return s;
}
