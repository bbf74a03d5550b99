/* symbol.c - tests of observe/symbol.c, elfsym.c, object.c and stack.c: names of addresses. */
#include "observe/symbol.h"
#include "apart.h"
#include "files.h"
#include "observe/dwarf.h"
#include "observe/elfsym.h"
#include "observe/object.h"
#include "observe/stack.h"
#include "tests/heap.h"
#include "tests/threads.h"

#include <check.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

Suite *suite_observe_symbol(void);

static void start(void)
{
    test_seed("observe/symbol");
    test_heap_start(test_config());
    oaki_stack_init();
}

static int named_static = 1;
int named_global = 2;

/* ---- code ---- */

static OAKI_NOINLINE uintptr_t here(void)
{
    __asm__("" : : : "memory");
    return (uintptr_t)__builtin_return_address(0) - 1;
}

static inline __attribute__((always_inline)) uintptr_t inner(void)
{
    return here();
}

static inline __attribute__((always_inline)) uintptr_t middle(void)
{
    return inner() + 0;
}

static OAKI_NOINLINE uintptr_t outer(void)
{
    uintptr_t pc = middle();
    __asm__("" : : : "memory");
    return pc;
}

START_TEST(an_address_has_its_functions_and_lines)
{
    oak_frame f[OAKI_SYMBOL_INLINED];
    uintptr_t pc = outer();
    for (int again = 0; again < 2; again++) {
        size_t n = oaki_symbol_of_code(pc, f);
        ck_assert_ptr_nonnull(f[n - 1].function);
        ck_assert_str_eq(f[n - 1].function, "outer");
        ck_assert(!f[n - 1].inlined);
        if (test_skip(n == 1 && !f[0].file, "there is no libdw")) return;
        ck_assert_uint_eq(n, 3);
        ck_assert_str_eq(f[0].function, "inner");
        ck_assert_str_eq(f[1].function, "middle");
        ck_assert(f[0].inlined && f[1].inlined);
        for (size_t i = 0; i < n; i++) {
            ck_assert_msg(strstr(f[i].file, "tests/observe/symbol.c"), "%s", f[i].file);
            ck_assert_uint_eq(f[i].address, pc);
            ck_assert_ptr_nonnull(strstr(f[i].object, "check_oakum"));
        }
        ck_assert_int_lt(f[0].line, f[1].line);
        ck_assert_int_lt(f[1].line, f[2].line);
        oaki_symbols_release();
    }
}
END_TEST

static oak_frame few[OAKI_SYMBOL_INLINED];

static void *look_up_outer(void *pc)
{
    return (void *)oaki_symbol_of_code((uintptr_t)pc, few);
}

/* libdw needs more stack than some threads have: they get less, and no other gets less for it. */
static size_t look_up_on_a_small_stack(uintptr_t pc)
{
    pthread_attr_t attr;
    pthread_t id;
    void *n;
    pthread_attr_init(&attr);
    ck_assert_int_eq(pthread_attr_setstacksize(&attr, 128 << 10), 0);
    ck_assert_int_eq(pthread_create(&id, &attr, look_up_outer, (void *)pc), 0);
    ck_assert_int_eq(pthread_join(id, &n), 0);
    return (size_t)n;
}

static bool has_lines(void)
{
    oak_frame f[OAKI_SYMBOL_INLINED];
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) _exit(oaki_symbol_of_code(outer(), f) > 1 && f[0].file ? 0 : 1);
    return test_wait_child(pid) == 0;
}

START_TEST(a_small_stack_leaves_the_lines_to_others)
{
    oak_frame f[OAKI_SYMBOL_INLINED];
    uintptr_t pc = outer();
    if (test_skip(!has_lines(), "there is no libdw")) return;
    ck_assert_uint_eq(look_up_on_a_small_stack(pc), 1);
    ck_assert_str_eq(few[0].function, "outer");
    ck_assert_uint_eq(oaki_symbol_of_code(pc, f), 3);
    ck_assert_ptr_nonnull(f[0].file);
    pc = here(); /* libdw's data is open now */
    ck_assert_uint_eq(look_up_on_a_small_stack(pc), 1);
    ck_assert_ptr_null(few[0].file);
    ck_assert_uint_ge(oaki_symbol_of_code(pc, f), 1);
    ck_assert_ptr_nonnull(f[0].file);
}
END_TEST

START_TEST(what_has_no_name_is_an_address)
{
    oak_frame f[OAKI_SYMBOL_INLINED];
    const uintptr_t nowhere[] = { 0, 16, (uintptr_t)oaki_the_heap.base, UINTPTR_MAX };
    for (size_t i = 0; i < OAKI_COUNT(nowhere); i++) {
        ck_assert_uint_eq(oaki_symbol_of_code(nowhere[i], f), 1);
        ck_assert_ptr_null(f[0].function);
        ck_assert_uint_eq(f[0].address, nowhere[i]);
    }
}
END_TEST

START_TEST(what_has_no_name_is_told_by_its_place)
{
    oak_frame f[OAKI_SYMBOL_INLINED];
    Dl_info info;
    char told[80], wanted[80];
    ck_assert_int_ne(dladdr((void *)(uintptr_t)strtoul, &info), 0);
    snprintf(wanted, sizeof wanted, "%s+0x10", strrchr(info.dli_fname, '/') + 1);
    ck_assert_uint_eq(oaki_symbol_of_code((uintptr_t)info.dli_fbase + 16, f), 1);
    ck_assert_ptr_null(f[0].function);
    ck_assert_str_eq(oaki_symbol_of_frame(f, told, sizeof told), wanted);
    ck_assert_uint_eq(oaki_symbol_of_code(16, f), 1);
    ck_assert_str_eq(oaki_symbol_of_frame(f, told, sizeof told), "0x10");
    size_t n = oaki_symbol_of_code((uintptr_t)outer, f);
    ck_assert_str_eq(oaki_symbol_of_frame(&f[n - 1], told, sizeof told), "outer");
}
END_TEST

static void *look_up_many(void *arg)
{
    oak_frame f[OAKI_SYMBOL_INLINED];
    uint64_t seed = (uint64_t)(uintptr_t)arg;
    for (size_t i = 0; i < test_scale(300); i++) {
        uintptr_t pc = (uintptr_t)here + test_draw(&seed) % 4096;
        size_t n = oaki_symbol_of_code(pc, f);
        test_expect(n >= 1 && n <= OAKI_SYMBOL_INLINED && f[0].address == pc, __LINE__);
        if (i % 100 == 0) oaki_symbols_release();
    }
    return NULL;
}

static void look_up_in_child(void *arg)
{
    (void)arg;
    (void)look_up_many((void *)9);
}

START_TEST(threads_may_look_up_at_once)
{
    pthread_t id[3];
    for (size_t i = 0; i < 3; i++) id[i] = test_start(look_up_many, (void *)(i + 1));
    for (int i = 0; i < 5 && !test_breaks_asan(); i++) test_child(look_up_in_child, NULL);
    for (size_t i = 0; i < 3; i++) test_join(id[i]);
    ck_assert_uint_eq(AO_load(&test_wrong), 0);
}
END_TEST

/* ---- code that goes ---- */

/* The function, which must be at this address unless that is 0. A library that lands elsewhere
 * stays where it is, so that a copy of it may find the place. */
static uintptr_t load_plugin(const char *file, const char *function, uintptr_t wanted, void **lib)
{
    for (int i = 0; i < 16; i++) {
        char copy[128], command[512];
        snprintf(copy, sizeof copy, "%s.%d", test_path(strrchr(file, '/') + 1), i);
        snprintf(command, sizeof command, "cp '%s' '%s'", file, copy);
        ck_assert_int_eq(system(command), 0);
        *lib = dlopen(copy, RTLD_NOW | RTLD_LOCAL);
        ck_assert_msg(*lib != NULL, "%s", dlerror());
        uintptr_t at = (uintptr_t)dlsym(*lib, function);
        if (!wanted || at == wanted) return at;
    }
    ck_abort_msg("no library was loaded at the place of another");
}

static const char *function_at(uintptr_t pc)
{
    oak_frame f[OAKI_SYMBOL_INLINED];
    return f[oaki_symbol_of_code(pc, f) - 1].function;
}

START_TEST(code_that_went_keeps_its_name_until_other_code_comes)
{
    void *lib;
    uintptr_t pc = load_plugin(TEST_MODULES "/libplugin1.so", "plugin_before", 0, &lib), other;
    ck_assert_str_eq(function_at(pc + 1), "plugin_before");
    ck_assert_str_eq(function_at((uintptr_t)outer), "outer");
    ck_assert_int_eq(dlclose(lib), 0);
    for (int i = 0; i < 2; i++) ck_assert_str_eq(function_at(pc + 1), "plugin_before");
    ck_assert_ptr_null(function_at(pc + 2)); /* nobody asked in time */
    ck_assert_str_eq(function_at((uintptr_t)outer), "outer");
    other = load_plugin(TEST_MODULES "/libplugin2.so", "plugin_behind", pc, &lib);
    ck_assert_uint_eq(other, pc);
    for (int i = 0; i < 3; i++) ck_assert_str_eq(function_at(pc + i), "plugin_behind");
    ck_assert_int_eq(dlclose(lib), 0);
    ck_assert_str_eq(function_at(pc + 1), "plugin_behind");
}
END_TEST

/* Without a look in between. */
START_TEST(code_that_came_in_the_place_of_other_code_has_its_own_name)
{
    void *lib;
    uintptr_t pc = load_plugin(TEST_MODULES "/libplugin2.so", "plugin_behind", 0, &lib);
    ck_assert_str_eq(function_at(pc + 1), "plugin_behind");
    ck_assert_int_eq(dlclose(lib), 0);
    load_plugin(TEST_MODULES "/libplugin1.so", "plugin_before", pc, &lib);
    for (int i = 0; i < 3; i++) ck_assert_str_eq(function_at(pc + i), "plugin_before");
}
END_TEST

/* libdw has the file mapped: it faults, and the program goes on. */
START_TEST(a_debugging_file_that_is_cut_short_costs_the_lines)
{
    oak_frame f[OAKI_SYMBOL_INLINED];
    char so[128], apart[160], command[1024];
    snprintf(so, sizeof so, "%s", test_path("apart.so"));
    snprintf(apart, sizeof apart, "%s.debug", so);
    snprintf(command, sizeof command,
             "cp '%s' '%s' && objcopy --only-keep-debug '%s' '%s' && strip -g '%s' && "
             "objcopy --add-gnu-debuglink='%s' '%s'",
             TEST_MODULES "/libplugin1.so", so, so, apart, so, apart, so);
    ck_assert_int_eq(system(command), 0);
    void *lib = dlopen(so, RTLD_NOW | RTLD_LOCAL);
    ck_assert_msg(lib != NULL, "%s", dlerror());
    uintptr_t pc = (uintptr_t)dlsym(lib, "plugin_before");
    size_t n = oaki_symbol_of_code(pc + 1, f);
    ck_assert_str_eq(f[n - 1].function, "plugin_before");
    if (test_skip(f[n - 1].file == NULL, "no lines here")) return;
    if (test_skip_in_place()) return; /* there a fault ends the program */
    ck_assert_int_eq(truncate(apart, 0), 0);
    for (int i = 0; i < 2; i++) {
        n = oaki_symbol_of_code(pc + 2 + (uintptr_t)i, f);
        ck_assert_str_eq(f[n - 1].function, "plugin_before");
        ck_assert_ptr_null(f[n - 1].file);
    }
    ck_assert_str_eq(function_at(outer()), "outer");
}
END_TEST

static void look_without_memory(void *pc)
{
    oak_frame f[OAKI_SYMBOL_INLINED];
    struct rlimit was, none;
    test_expect(getrlimit(RLIMIT_AS, &was) == 0, __LINE__);
    none = (struct rlimit){ 1 << 20, was.rlim_max };
    test_expect(setrlimit(RLIMIT_AS, &none) == 0, __LINE__);
    size_t n = oaki_symbol_of_code(*(uintptr_t *)pc, f);
    test_expect(n > 0 && !f[n - 1].file, __LINE__);
    test_expect(setrlimit(RLIMIT_AS, &was) == 0, __LINE__);
    for (uintptr_t i = 0; i < 2; i++) { /* of another address, and of the same */
        n = oaki_symbol_of_code(*(uintptr_t *)pc + 1 - i, f);
        test_expect(n > 0 && f[n - 1].file, __LINE__);
    }
    if (AO_load(&test_wrong)) _exit(1);
}

/* Without a process for libdw there are no lines; but there are as soon as there is one. */
START_TEST(a_question_that_was_refused_is_asked_again)
{
    oak_frame f[OAKI_SYMBOL_INLINED];
    uintptr_t pc = outer();
    (void)oaki_symbol_of_code(1, f); /* loads libdw, and asks it nothing */
    if (test_skip(oaki_dwarf_here() != OAKI_DWARF_READY, "no lines here")) return;
    if (test_skip_in_place()) return;
    test_child(look_without_memory, &pc);
    size_t n = oaki_symbol_of_code(pc, f);
    ck_assert_ptr_nonnull(f[n - 1].file);
}
END_TEST

/* ---- data ---- */

START_TEST(static_data_has_names)
{
    oaki_symbol s;
    ck_assert(oaki_symbol_of_data((uintptr_t)&named_static + 1, &s));
    ck_assert_str_eq(s.name, "named_static");
    ck_assert_uint_eq(s.offset, 1);
    ck_assert_uint_eq(s.size, sizeof named_static);
    ck_assert_ptr_nonnull(strstr(s.object, "check_oakum"));
    ck_assert(oaki_symbol_of_data((uintptr_t)&named_global, &s));
    ck_assert_str_eq(s.name, "named_global");
    ck_assert_uint_eq(s.offset, 0);
    ck_assert(!oaki_symbol_of_data((uintptr_t)&s, &s));
    ck_assert_ptr_null(s.object);
    oaki_symbols_release();
}
END_TEST

/* ---- symbol tables ---- */

START_TEST(symbol_tables_tell_without_libdw)
{
    oaki_objects o;
    oaki_elf e;
    uintptr_t at = 0;
    size_t size = 0;
    oaki_fork_hold();
    ck_assert_int_eq(oaki_objects_read(&o), 0);
    oaki_fork_release();
    const oaki_object *self = oaki_objects_find(&o, (uintptr_t)here, NULL);
    ck_assert_ptr_eq(self, &o.item[0]);
    ck_assert_int_eq(oaki_elf_open(&e, self->path), 0);
    const char *name = oaki_elf_symbol(&e, (uintptr_t)here - self->base, OAKI_ELF_FUNCTION, &at,
                                       &size);
    ck_assert_ptr_nonnull(name);
    ck_assert_str_eq(name, "here");
    ck_assert_uint_eq(at + self->base, (uintptr_t)here);
    name = oaki_elf_symbol(&e, (uintptr_t)&named_static - self->base, OAKI_ELF_DATA, &at, &size);
    ck_assert_ptr_nonnull(name);
    ck_assert_str_eq(name, "named_static");
    ck_assert_uint_eq(size, sizeof named_static);
    oaki_elf_close(&e);
    oaki_objects_free(&o);
}
END_TEST

/* A function, with a label that has no size, and behind it such a label alone. */
__asm__(".text\n"
        ".type sized_function, %function\n"
        "sized_function: nop\n"
        ".type label_inside, %function\n"
        "label_inside: nop\n nop\n"
        ".size sized_function, . - sized_function\n"
        ".type label_behind, %function\n"
        "label_behind: nop\n nop\n"
        ".globl sized_function, label_behind\n");
void sized_function(void);
void label_behind(void);

static const char *own_symbol(uintptr_t addr, char *out, size_t n)
{
    oaki_objects o;
    oaki_elf e;
    uintptr_t at;
    size_t size;
    oaki_fork_hold();
    ck_assert_int_eq(oaki_objects_read(&o), 0);
    oaki_fork_release();
    ck_assert_int_eq(oaki_elf_open(&e, o.item[0].path), 0);
    const char *name = oaki_elf_symbol(&e, addr - o.item[0].base, OAKI_ELF_FUNCTION, &at, &size);
    snprintf(out, n, "%s", name ? name : "");
    oaki_elf_close(&e);
    oaki_objects_free(&o);
    return out;
}

START_TEST(a_symbol_without_a_size_hides_none_with_one)
{
    char name[64];
    uintptr_t function = (uintptr_t)sized_function, label = (uintptr_t)label_behind;
    for (uintptr_t at = function; at < label; at++)
        ck_assert_str_eq(own_symbol(at, name, sizeof name), "sized_function");
    ck_assert_str_eq(own_symbol(label, name, sizeof name), "label_behind");
    ck_assert_str_eq(own_symbol(label + 1, name, sizeof name), "label_behind");
}
END_TEST

/* Whatever is broken, nothing outside of the file is read. */
START_TEST(damaged_files_are_harmless)
{
    char path[] = "/tmp/oakum-test-XXXXXX";
    int fd = mkstemp(path);
    ck_assert_int_ge(fd, 0);
    FILE *in = fopen("/lib64/ld-linux-x86-64.so.2", "r");
    if (!in) in = fopen("/proc/self/exe", "r");
    ck_assert_ptr_nonnull(in);
    size_t room = 300000;
    unsigned char *whole = malloc(room), *bad = malloc(room);
    size_t n = fread(whole, 1, room, in);
    fclose(in);
    oaki_elf e;
    uintptr_t at;
    size_t size, opened = 0;
    for (size_t i = 0; i < test_scale(300); i++) {
        size_t len = i % 3 ? n : test_below(n);
        memcpy(bad, whole, n);
        for (size_t k = test_below(30); k > 0; k--)
            bad[test_below(k % 2 ? 64 : n)] = (unsigned char)test_random();
        if (i % 2) memcpy(bad, whole, 16);
        ck_assert_int_eq(ftruncate(fd, 0), 0);
        ck_assert_int_eq(pwrite(fd, bad, len, 0), (ssize_t)len);
        if (oaki_elf_open(&e, path) != 0) continue;
        opened++;
        for (oaki_elf_kind k = OAKI_ELF_FUNCTION; k <= OAKI_ELF_THREAD_LOCAL; k++)
            (void)oaki_elf_symbol(&e, test_random() >> test_below(64), k, &at, &size);
        oaki_elf_close(&e);
    }
    ck_assert_uint_gt(opened, 0);
    ck_assert_int_eq(oaki_elf_open(&e, "/dev/null"), -1);
    ck_assert_int_eq(errno, ENOEXEC);
    ck_assert_int_eq(oaki_elf_open(&e, "/no/such/file"), -1);
    close(fd);
    unlink(path);
    free(whole);
    free(bad);
}
END_TEST

/* Nor what was there when it was opened. A mapping would be a SIGBUS. */
START_TEST(a_file_that_is_cut_short_while_it_is_read_is_harmless)
{
    static const off_t lengths[] = { 4096, 100, 0 };
    char path[64];
    oaki_elf e;
    uintptr_t at = (uintptr_t)here, base;
    size_t size;
    int fd = memfd_create("oakum test", MFD_CLOEXEC), from = open("/proc/self/exe", O_RDONLY);
    struct stat st;
    ck_assert(fd >= 0 && from >= 0 && fstat(from, &st) == 0);
    for (off_t done = 0; done < st.st_size;)
        ck_assert_int_gt(sendfile(fd, from, &done, (size_t)(st.st_size - done)), 0);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    ck_assert_int_eq(oaki_elf_open(&e, path), 0);
    oaki_objects o;
    oaki_fork_hold();
    ck_assert_int_eq(oaki_objects_read(&o), 0);
    oaki_fork_release();
    base = oaki_objects_find(&o, at, NULL)->base;
    oaki_objects_free(&o);
    const char *name = oaki_elf_symbol(&e, at - base, OAKI_ELF_FUNCTION, &at, &size);
    ck_assert_ptr_nonnull(name);
    ck_assert_str_eq(name, "here");
    for (size_t i = 0; i < OAKI_COUNT(lengths); i++) {
        ck_assert_int_eq(ftruncate(fd, lengths[i]), 0);
        ck_assert_ptr_null(oaki_elf_symbol(&e, at, OAKI_ELF_FUNCTION, &at, &size));
        ck_assert(!oaki_elf_section(&e, ".text", &at, &size));
        ck_assert(!oaki_elf_has_checksum(&e, 0));
    }
    oaki_elf_close(&e);
    close(from);
    close(fd);
}
END_TEST

/* ---- without files ---- */

static void name_without_files(void *profile)
{
    oak_frame f[OAKI_SYMBOL_INLINED];
    char folder[] = "/tmp/oakum-test-XXXXXX";
    ck_assert_ptr_nonnull(mkdtemp(folder));
    ck_assert(chdir(folder) == 0 && rmdir(folder) == 0 && chroot(".") == 0);
    size_t n = oaki_symbol_of_code(outer(), f);
    ck_assert_ptr_nonnull(f[n - 1].object);
    ck_assert_msg(strstr(f[n - 1].object, "check_oakum"), "%s", f[n - 1].object);
    n = oaki_symbol_of_code((uintptr_t)strtoul, f); /* the loader has it in memory */
    ck_assert_ptr_nonnull(f[n - 1].function);
    ck_assert_msg(strstr(f[n - 1].object, "libc.so"), "%s", f[n - 1].object);
    ck_assert_int_eq(oak_profile_write(NULL, *(int *)profile), 0);
}

/* Neither /proc nor libraries nor the program's own file. */
START_TEST(after_chroot_what_is_known_is_told)
{
    char path[] = "/tmp/oakum-test-XXXXXX", command[64];
    if (geteuid() != 0) {
        printf("observe/symbol: skipped: only root can chroot\n");
        return;
    }
    int fd = mkstemp(path);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(oak_profile_set_rate(1), 0);
    void *held = oak_alloc(100);
    test_child(name_without_files, &fd);
    snprintf(command, sizeof command, "gzip -dc <%s | grep -q check_oakum", path);
    ck_assert_int_eq(system(command), 0);
    ck_assert_ptr_nonnull(held);
    close(fd);
    unlink(path);
}
END_TEST

/* ---- stacks ---- */

static OAKI_NOINLINE size_t capture_here(uintptr_t *pc)
{
    size_t n = oaki_stack_capture(pc, OAKI_STACK_FRAMES);
    __asm__("" : : : "memory");
    return n;
}

START_TEST(a_stack_begins_outside_of_oakum)
{
    uintptr_t pc[OAKI_STACK_FRAMES];
    oak_frame f[OAKI_SYMBOL_INLINED];
    size_t n = capture_here(pc), k = oaki_symbol_of_code(pc[0] - 1, f);
    ck_assert_uint_gt(n, 1);
    ck_assert_str_eq(f[k - 1].function, "capture_here");
    ck_assert(oaki_stack_is_own((uintptr_t)oaki_stack_capture));
    ck_assert(oaki_stack_is_own((uintptr_t)oaki_heap_start));
    ck_assert(oaki_stack_is_own((uintptr_t)oak_free));
    ck_assert(!oaki_stack_is_own((uintptr_t)capture_here));
    ck_assert(!oaki_stack_is_own((uintptr_t)free));
    ck_assert(!oaki_stack_is_own(0));
    ck_assert(!oaki_stack_is_own(UINTPTR_MAX));
}
END_TEST

Suite *suite_observe_symbol(void)
{
    Suite *s = suite_create("observe/symbol");
    TCase *c = tcase_create("symbol");
    tcase_add_checked_fixture(c, start, NULL);
    tcase_add_test(c, an_address_has_its_functions_and_lines);
    tcase_add_test(c, a_small_stack_leaves_the_lines_to_others);
    tcase_add_test(c, what_has_no_name_is_an_address);
    tcase_add_test(c, what_has_no_name_is_told_by_its_place);
    tcase_add_test(c, threads_may_look_up_at_once);
    tcase_add_test(c, code_that_went_keeps_its_name_until_other_code_comes);
    tcase_add_test(c, code_that_came_in_the_place_of_other_code_has_its_own_name);
    tcase_add_test(c, a_debugging_file_that_is_cut_short_costs_the_lines);
    tcase_add_test(c, a_question_that_was_refused_is_asked_again);
    tcase_add_test(c, static_data_has_names);
    tcase_add_test(c, symbol_tables_tell_without_libdw);
    tcase_add_test(c, a_symbol_without_a_size_hides_none_with_one);
    tcase_add_test(c, damaged_files_are_harmless);
    tcase_add_test(c, a_file_that_is_cut_short_while_it_is_read_is_harmless);
    tcase_add_test(c, after_chroot_what_is_known_is_told);
    tcase_add_test(c, a_stack_begins_outside_of_oakum);
    suite_add_tcase(s, c);
    return s;
}
