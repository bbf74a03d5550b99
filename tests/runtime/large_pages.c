/* large_pages.c - a heap on a system with pages of 16 and of 64 KiB, such as some of aarch64.
 *
 * The kernel's part is played by functions in front of those of libc: an address that is not a
 * page's is refused, a length is rounded up to whole pages, as the kernel rounds it. So a call that
 * takes pages to be small zeroes or protects what lies next to what it means. Each object is filled
 * with a pattern of its own; new ones must be zero. */
#include <errno.h>
#include <oakum/oakum.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define SLOTS 400
#define ROUNDS 12
#define THREADS 2
#define BIG ((size_t)4 << 20)
#define BIGS 100 /* past a step of the heap's tables, which is 256 MiB with pages of 64 KiB */

/* ---- the system ---- */

long __real_sysconf(int name);
void *__real_mmap(void *p, size_t n, int prot, int flags, int fd, off_t off);
int __real_munmap(void *p, size_t n);
int __real_mprotect(void *p, size_t n, int prot);
int __real_madvise(void *p, size_t n, int advice);

long __wrap_sysconf(int name);
void *__wrap_mmap(void *p, size_t n, int prot, int flags, int fd, off_t off);
int __wrap_munmap(void *p, size_t n);
int __wrap_mprotect(void *p, size_t n, int prot);
int __wrap_madvise(void *p, size_t n, int advice);
void *__wrap_mremap(void *p, size_t n, size_t to, int flags, ...);

static size_t page_size(void)
{
    const char *given = getenv("LARGE_PAGE");
    return given ? (size_t)atol(given) : (size_t)__real_sysconf(_SC_PAGESIZE);
}

static size_t whole(size_t n)
{
    size_t page = page_size();
    return (n + page - 1) / page * page;
}

static bool is_page(const void *p)
{
    if ((uintptr_t)p % page_size() == 0) return true;
    errno = EINVAL;
    return false;
}

long __wrap_sysconf(int name)
{
    return name == _SC_PAGESIZE ? (long)page_size() : __real_sysconf(name);
}

void *__wrap_mmap(void *p, size_t n, int prot, int flags, int fd, off_t off)
{
    size_t page = page_size();
    if (fd >= 0) return __real_mmap(p, n, prot, flags, fd, off);
    n = whole(n);
    if (flags & MAP_FIXED) return is_page(p) ? __real_mmap(p, n, prot, flags, fd, off) : MAP_FAILED;
    char *all = __real_mmap(p, n + page, prot, flags, fd, off);
    if (all == MAP_FAILED) return all;
    char *start = (char *)whole((size_t)(uintptr_t)all);
    if (start > all) __real_munmap(all, (size_t)(start - all));
    __real_munmap(start + n, page - (size_t)(start - all));
    return start;
}

int __wrap_munmap(void *p, size_t n)
{
    return is_page(p) ? __real_munmap(p, whole(n)) : -1;
}

int __wrap_mprotect(void *p, size_t n, int prot)
{
    return is_page(p) ? __real_mprotect(p, whole(n), prot) : -1;
}

int __wrap_madvise(void *p, size_t n, int advice)
{
    return is_page(p) ? __real_madvise(p, whole(n), advice) : -1;
}

void *__wrap_mremap(void *p, size_t n, size_t to, int flags, ...)
{
    void *q = __wrap_mmap(NULL, to, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    (void)flags;
    if (q == MAP_FAILED) return q;
    memcpy(q, p, n < to ? n : to);
    __wrap_munmap(p, n);
    return q;
}

/* ---- the program ---- */

typedef struct object {
    size_t size;
    unsigned char seed, rest[];
} object;

static void fail(const char *what)
{
    fprintf(stderr, "large_pages: %zu: %s (errno %d)\n", page_size(), what, errno);
    _exit(1);
}

static uint64_t draw(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    return *state ^= *state << 17;
}

static object *make(uint64_t *random)
{
    size_t most = (size_t)1 << (5 + draw(random) % 14), size = sizeof(object) + draw(random) % most;
    object *o = draw(random) % 2 ? oak_alloc(size) : oak_alloc_noscan(size);
    if (!o) fail("no memory");
    for (size_t i = 0; i < size; i++)
        if (((unsigned char *)o)[i]) fail("a new object is not zero");
    o->size = size;
    o->seed = (unsigned char)(draw(random) % 255 + 1);
    memset(o->rest, o->seed, size - sizeof *o);
    return o;
}

static void check(const object *o)
{
    for (size_t i = 0; i < o->size - sizeof *o; i++)
        if (o->rest[i] != o->seed) fail("an object has lost what it had");
}

static void *work(void *arg)
{
    uint64_t random = 88172645463325252u + (uintptr_t)arg;
    object **slot = oak_alloc(SLOTS * sizeof *slot);
    for (int round = 0; round < ROUNDS; round++) {
        for (size_t i = 0; i < SLOTS; i++) {
            object **at = &slot[draw(&random) % SLOTS];
            if (*at && draw(&random) % 4 == 0) oak_free(*at);
            *at = draw(&random) % 3 ? make(&random) : NULL;
        }
        if (round % 3 == 0) oak_collect();
        (void)oak_scavenge();
        for (size_t i = 0; i < SLOTS; i++)
            if (slot[i]) check(slot[i]);
    }
    return arg;
}

static void grow(void)
{
    char **big = oak_alloc(BIGS * sizeof *big);
    for (size_t i = 0; i < BIGS; i++) {
        big[i] = oak_alloc_noscan(BIG);
        if (!big[i]) fail("the heap does not grow");
        big[i][0] = big[i][BIG - 1] = 1;
    }
}

static void finalize(void *obj, void *ctx)
{
    (void)obj, (void)ctx;
}

/* Tables of metadata double, through all sizes below a large page. */
static void note_many(void)
{
    static void *noted[8000];
    for (size_t i = 0; i < sizeof noted / sizeof noted[0]; i++) {
        noted[i] = oak_alloc(16);
        if (!noted[i] || oak_finalizer_set(noted[i], finalize, NULL) != 0) fail("no finalizer");
        if (!oak_weak_new(noted[i])) fail("no weak reference");
    }
    oak_collect();
    for (size_t i = 0; i < sizeof noted / sizeof noted[0]; i++)
        if (oak_finalizer_set(noted[i], NULL, NULL) != 0) fail("a finalizer is gone");
    oak_collect();
}

static int run(void)
{
    pthread_t id[THREADS];
    for (size_t i = 0; i < THREADS; i++)
        if (pthread_create(&id[i], NULL, work, (void *)(i + 1)) != 0) fail("no thread");
    for (size_t i = 0; i < THREADS; i++) pthread_join(id[i], NULL);
    grow();
    note_many();
    work((void *)9);
    printf("large_pages: %zu: fine\n", page_size());
    return 0;
}

int main(void)
{
    static const char *const sizes[] = { "4096", "16384", "65536" };
    int failed = 0, status;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    puts("skipped: a sanitizer stands in front of libc, too");
    return 77;
#endif
    if (getenv("LARGE_PAGE")) return run();
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        if (atol(sizes[i]) < __real_sysconf(_SC_PAGESIZE)) continue;
        setenv("LARGE_PAGE", sizes[i], 1);
        pid_t pid = fork();
        if (pid == 0) execl("/proc/self/exe", "large_pages", (char *)NULL);
        if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0) failed = 1;
    }
    return failed;
}
