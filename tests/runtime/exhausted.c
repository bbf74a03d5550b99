/* exhausted.c - tests of a system that gives no more memory to a heap that has started: a limit on
 * address space that comes late, mappings that are used up, an mmap that fails. What is asked for
 * is there, or NULL with ENOMEM. Nothing ends in a signal, and all works again when there is room.
 */
#include "runtime/meta.h"
#include "runtime/os.h"
#include "tests/gc/away.h"
#include "tests/heap.h"
#include "tests/refuse.h"

#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>

Suite *suite_runtime_exhausted(void);

#define KB ((size_t)1 << 10)
#define NOTED 50000
#define ENOUGH 10 /* failures of one kind of work, each of which may have been a collection */

typedef struct noted {
    struct noted *next;
    oak_weak *weak;
} noted;

static noted *list; /* a root */

/* ---- work that needs metadata, and memory of the heap ---- */

static size_t failures;
static const char *wrong; /* Check's assertions need memory, so they wait until there is some */

static bool got(const void *p)
{
    if (p) return true;
    if (errno != ENOMEM) wrong = "an allocation failed without ENOMEM";
    failures++;
    return false;
}

static void *work_in_thread(void *arg)
{
    if (oak_thread_attach() != 0) return arg;
    bool failed = false;
    for (int i = 0; i < 200 && !failed; i++) failed = !oak_alloc(100);
    if (failed && errno != ENOMEM) wrong = "an allocation of a thread failed without ENOMEM";
    oak_thread_detach();
    return failed ? arg : NULL;
}

static void work_with_threads(void)
{
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, 256 * KB);
    for (int i = 0; i < 12; i++) {
        pthread_t t;
        void *refused;
        if (pthread_create(&t, &attr, work_in_thread, &list) != 0) continue;
        pthread_join(t, &refused);
        failures += refused != NULL;
    }
    pthread_attr_destroy(&attr);
}

static void work_with_weak_references(size_t n)
{
    for (size_t i = 0, most = failures + ENOUGH; i < n && failures < most; i++) {
        noted *p = oak_alloc(sizeof *p);
        if (!got(p)) continue;
        *p = (noted){ list, oak_weak_new(p) };
        if (got(p->weak)) list = p;
    }
}

static void work_with_a_map(void)
{
    oak_map *m = oak_map_new(&oak_map_u64_u64, 0);
    size_t most = failures + ENOUGH;
    for (uint64_t i = 0; got(m) && i < 50000 && failures < most; i++) {
        uint64_t *value = oak_map_put(m, &i);
        if (got(value)) *value = i;
    }
    for (uint64_t i = 0; m && i < 50000; i++) {
        const uint64_t *value = oak_map_get(m, &i);
        if (value && *value != i) wrong = "a map holds another value";
    }
}

static void work_with_a_profile(void)
{
    if (oak_profile_set_rate(1) == 0)
        for (size_t i = 0, most = failures + ENOUGH; i < 2000 && failures < most; i++) {
            char value[] = { (char)('a' + i % 26), '\0' };
            OAK_WITH_LABEL("letter", value)(void) got(oak_alloc(48));
        }
    oak_profile_set_rate(0);
    oak_profile_free(oak_profile_read(0));
}

static void work_with_zones(void)
{
    for (int k = 0; k < 20; k++) {
        oak_zone *z = oak_zone_new(NULL);
        for (int i = 0; z && i < 100 && got(oak_zone_alloc(z, 500)); i++) continue;
        if (z && oak_zone_discard(z) != 0) wrong = "a zone was not discarded";
    }
}

static void work(void *arg)
{
    (void)arg;
    work_with_threads();
    work_with_weak_references(NOTED);
    work_with_a_map();
    work_with_a_profile();
    work_with_zones();
    oak_collect();
}

/* Each weak reference still has its object; and in the heap there is room again. */
static void assert_all_is_well(void)
{
    ck_assert_msg(!wrong, "%s", wrong);
    for (const noted *p = list; p; p = p->next) ck_assert_ptr_eq(oak_weak_get(p->weak), p);
    for (int i = 0; i < 1000; i++) ck_assert_ptr_nonnull(oak_alloc(100));
    failures = 0;
    work_with_threads();
    work_with_weak_references(10);
    ck_assert_uint_eq(failures, 0);
    test_assert_sound();
}

static void start(void)
{
    test_heap_start(test_config());
    oak_collect();
}

/* ---- a limit that comes late ---- */

static size_t address_space(void)
{
    long pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    ck_assert(f && fscanf(f, "%ld", &pages) == 1);
    fclose(f);
    return (size_t)pages * oaki_os_page_size();
}

static void under_a_late_limit(void *arg)
{
    struct rlimit before, rl;
    start();
    ck_assert_int_eq(getrlimit(RLIMIT_AS, &before), 0);
    rl = before;
    rl.rlim_cur = address_space() + *(size_t *)arg;
    ck_assert_int_eq(setrlimit(RLIMIT_AS, &rl), 0);
    work(NULL);
    bool refused = failures > 0;
    ck_assert_int_eq(setrlimit(RLIMIT_AS, &before), 0);
    ck_assert(refused);
    assert_all_is_well();
}

START_TEST(a_late_limit_on_address_space_is_a_lack_of_memory)
{
    size_t more[] = { 0, 128 * KB, 512 * KB, 2048 * KB };
    if (test_skip_slow()) return; /* tools need address space themselves */
    test_child(under_a_late_limit, &more[_i]);
}
END_TEST

/* ---- mappings ---- */

static char *area;
static size_t area_pages, page, used;

/* Every second page gets another protection, until the system refuses; then all but `leave` of what
 * the limit allows is gone. */
static void use_mappings(size_t leave)
{
    page = oaki_os_page_size();
    area_pages = 400000;
    area = mmap(NULL, area_pages * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
                0);
    ck_assert_ptr_ne(area, MAP_FAILED);
    while (used < area_pages && mprotect(area + used * page, page, PROT_READ) == 0) used += 2;
    for (; leave > 1; leave -= 2) mprotect(area + (used -= 2) * page, page, PROT_NONE);
}

static void without_mappings(void *arg)
{
    start();
    use_mappings(*(size_t *)arg);
    bool full = used < area_pages - 64; /* else the limit is above what is tried */
    work(NULL);
    bool refused = failures > 0;
    ck_assert_int_eq(munmap(area, area_pages * page), 0);
    if (full && *(size_t *)arg == 0) ck_assert(refused);
    assert_all_is_well();
}

START_TEST(mappings_that_are_used_up_are_a_lack_of_memory)
{
    size_t leave[] = { 0, 4 };
    if (test_skip_slow()) return;
    test_child(without_mappings, &leave[_i]);
}
END_TEST

/* ---- mmap ---- */

/* From here on the system has no memory for a mapping of up to so many bytes. */
static void refuse_mappings(uint32_t up_to)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_mmap, 0, 5),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (unsigned)offsetof(struct seccomp_data, args[1]) + 4),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (unsigned)offsetof(struct seccomp_data, args[1])),
        BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, up_to, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOMEM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    test_filter(code, OAKI_COUNT(code), SECCOMP_FILTER_FLAG_TSYNC);
}

/* The ranges of the heap are there, and the first that the metadata wants is not. */
static void never_started(void *arg)
{
    refuse_mappings(*(uint32_t *)arg);
    for (int i = 0; i < 3; i++) {
        errno = 0;
        ck_assert_int_eq(oak_init(NULL), -1);
        ck_assert_int_eq(errno, ENOMEM);
        errno = 0;
        ck_assert_ptr_null(oak_alloc(64));
        ck_assert_int_eq(errno, ENOMEM);
    }
}

START_TEST(without_a_first_mapping_there_is_no_heap)
{
    uint32_t up_to[] = { 2 << 20, UINT32_MAX };
    if (test_skip_slow()) return;
    test_child(never_started, &up_to[_i]);
}
END_TEST

static void without_mmap(void *arg)
{
    (void)arg;
    start();
    refuse_mappings(UINT32_MAX);
    failures = 0;
    work_with_weak_references(NOTED);
    ck_assert_uint_gt(failures, 0);
    work_with_a_profile();
    work_with_zones();
    oak_collect();
    ck_assert_msg(!wrong, "%s", wrong);
    for (const noted *p = list; p; p = p->next) ck_assert_ptr_eq(oak_weak_get(p->weak), p);
    for (int i = 0; i < 1000; i++) ck_assert_ptr_nonnull(oak_alloc(100));
    test_assert_sound();
}

START_TEST(a_failing_mmap_is_a_lack_of_memory)
{
    if (test_skip_slow()) return;
    test_child(without_mmap, NULL);
}
END_TEST

/* ---- a thread that can't be attached ---- */

static AO_t may_free;
static void *to_free;

static void *free_first(void *unused)
{
    while (!AO_load_acquire(&may_free)) oaki_os_sleep_ns(1000000);
    if (oak_thread_attach() == 0) wrong = "the thread could be attached";
    oak_free(to_free);
    errno = 0;
    if (oak_realloc(to_free, 300000) || errno != ENOMEM) wrong = "a resize that can't be";
    if (oak_try_resize(to_free, 10)) wrong = "a resize in place that can't be";
    return unused;
}

/* Of each size, as what is free of one serves no other. */
static void use_up_metadata(void)
{
    oaki_thread *t = oaki_enter();
    for (size_t n = 1 << 16; n >= 16; n -= n > 4096 ? n / 2 : 16)
        while (oaki_meta_alloc(n, OAKI_META_OTHER)) continue;
    oaki_leave(t);
}

/* Its first call of Oakum's frees: the object is left to the collector. */
static void free_unattached(void *unused)
{
    pthread_t t;
    (void)unused;
    start();
    to_free = oak_alloc(100);
    ck_assert_int_eq(pthread_create(&t, NULL, free_first, NULL), 0);
    refuse_mappings(UINT32_MAX);
    use_up_metadata();
    AO_store_release(&may_free, 1);
    ck_assert_int_eq(pthread_join(t, NULL), 0);
    ck_assert_msg(!wrong, "%s", wrong);
    ck_assert_uint_ge(oak_usable_size(to_free), 100);
    oak_free(to_free);
}

START_TEST(a_thread_that_cannot_be_attached_frees_nothing)
{
    if (test_skip_slow()) return;
    test_child(free_unattached, NULL);
}
END_TEST

Suite *suite_runtime_exhausted(void)
{
    Suite *s = suite_create("runtime_exhausted");
    TCase *tc = tcase_create("exhausted");
    tcase_set_timeout(tc, 120);
    tcase_add_loop_test(tc, a_late_limit_on_address_space_is_a_lack_of_memory, 0, 4);
    tcase_add_loop_test(tc, mappings_that_are_used_up_are_a_lack_of_memory, 0, 2);
    tcase_add_loop_test(tc, without_a_first_mapping_there_is_no_heap, 0, 2);
    tcase_add_test(tc, a_failing_mmap_is_a_lack_of_memory);
    tcase_add_test(tc, a_thread_that_cannot_be_attached_frees_nothing);
    suite_add_tcase(s, tc);
    return s;
}
