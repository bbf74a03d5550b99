/* api - malloc and its kin do what the C library's manual says. Runs on any malloc. */
#include <errno.h>
#include <malloc.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int failed;

#define CHECK(x) \
    do { \
        if (!(x)) { \
            fprintf(stderr, "api.c:%d: %s\n", __LINE__, #x); \
            failed = 1; \
        } \
    } while (0)

static int is_aligned(const void *p, size_t align)
{
    return p && (uintptr_t)p % align == 0;
}

/* Sizes and pointers that the compiler can't see through. */
static size_t some(size_t n)
{
    __asm__("" : "+r"(n));
    return n;
}

static size_t huge(size_t less)
{
    return some(SIZE_MAX) - less;
}

static char *same(char *p)
{
    __asm__("" : "+r"(p));
    return p;
}

static void sizes(void)
{
    for (size_t n = 0; n < 200000; n = n * 5 / 4 + 1) {
        char *p = malloc(n);
        CHECK(is_aligned(p, 16));
        CHECK(malloc_usable_size(p) >= n);
        memset(p, 0xa5, malloc_usable_size(p));
        char *z = calloc(1, n);
        CHECK(is_aligned(z, 16));
        for (size_t i = 0; i < n; i++)
            if (z[i] != 0) {
                CHECK(!"calloc gives zeroes");
                break;
            }
        free(p);
        free(z);
    }
    char *again = malloc(100);
    memset(again, 0xff, 100);
    free(again);
    again = calloc(10, 10);
    for (int i = 0; i < 100; i++) CHECK(again[i] == 0);
    free(again);
    CHECK(malloc_usable_size(NULL) == 0);
}

static void nothing(void)
{
    void *a = malloc(0), *b = malloc(0), *c = calloc(0, 8), *d = calloc(8, 0);
    CHECK(a && b && c && d && a != b && c != d);
    free(a);
    free(b);
    free(c);
    free(d);
    free(NULL);
    void *p = realloc(NULL, 0);
    CHECK(p);
    CHECK(realloc(p, 0) == NULL);
}

static void too_much(void)
{
    errno = 0;
    CHECK(!malloc(huge(0)) && errno == ENOMEM);
    errno = 0;
    CHECK(!malloc(huge(0) / 2 + 1) && errno == ENOMEM);
    errno = 0;
    CHECK(!calloc(huge(0) / 2, 3) && errno == ENOMEM);
    char *p = malloc(10);
    memcpy(p, "unchanged", 10);
    errno = 0;
    CHECK(!realloc(same(p), huge(100)) && errno == ENOMEM);
    errno = 0;
    CHECK(!reallocarray(same(p), huge(0) / 2, 3) && errno == ENOMEM);
    CHECK(strcmp(p, "unchanged") == 0);
    p = reallocarray(p, 100, 10);
    CHECK(p && strcmp(p, "unchanged") == 0);
    free(p);
    errno = 0;
    CHECK(!pvalloc(huge(1)) && errno == ENOMEM);
}

static void resizing(void)
{
    unsigned char *p = NULL;
    for (size_t n = 1; n < 3000000; n = n * 7 / 5 + 3) {
        p = realloc(p, n);
        CHECK(is_aligned(p, 16));
        p[n - 1] = (unsigned char)n;
        p[0] = 1;
    }
    for (size_t n = 2000000; n > 0; n = n * 3 / 5) {
        p = realloc(p, n);
        CHECK(p && p[0] == 1 && malloc_usable_size(p) >= n);
    }
    free(p);
    char *text = strdup("kept across sizes");
    for (size_t n = 18; n < 100000; n *= 2) text = realloc(text, n);
    CHECK(strcmp(text, "kept across sizes") == 0);
    text = realloc(text, 18);
    CHECK(strcmp(text, "kept across sizes") == 0);
    free(text);
}

static void aligned(void)
{
    void *p = (void *)1;
    CHECK(posix_memalign(&p, 3, 10) == EINVAL);
    CHECK(posix_memalign(&p, 4, 10) == EINVAL);
    CHECK(posix_memalign(&p, 0, 10) == EINVAL);
    CHECK(p == (void *)1);
    CHECK(posix_memalign(&p, 64, huge(100)) == ENOMEM);
    for (size_t align = 8; align <= (size_t)4 << 20; align *= 2)
        for (size_t n = 0; n < 100000; n = n * 9 + 1) {
            CHECK(posix_memalign(&p, align, n) == 0 && is_aligned(p, align));
            memset(p, 0x5a, n);
            free(p);
            p = aligned_alloc(align, n);
            CHECK(is_aligned(p, align));
            p = realloc(p, n + 100);
            CHECK(p);
            free(p);
            p = memalign(align, n);
            CHECK(is_aligned(p, align));
            free(p);
        }
    p = memalign(some(48), 100);
    CHECK(is_aligned(p, 64));
    free(p);
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    p = valloc(10);
    CHECK(is_aligned(p, page));
    free(p);
    p = pvalloc(10);
    CHECK(is_aligned(p, page) && malloc_usable_size(p) >= page);
    free(p);
}

/* Of these little is there at a time: the addresses are. */
static void aligned_much(void)
{
    void *p = memalign(some((size_t)2 << 30), 100), *q = memalign(some((size_t)3 << 30), 100);
    CHECK(is_aligned(p, (size_t)2 << 30) && is_aligned(q, (size_t)4 << 30));
    free(p);
    free(q);
    errno = 0;
    CHECK(!memalign(some((size_t)1 << 62), 100) && errno == ENOMEM);
    errno = 0;
    CHECK(!memalign(huge(100), 100) && errno == EINVAL);
}

/* glibc's other names are of the same malloc. */
void *__libc_malloc(size_t n);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *p, size_t n);
void *__libc_memalign(size_t align, size_t n);
void __libc_free(void *p);

static void other_names(void)
{
    free(__libc_malloc(100));
    free(__libc_calloc(10, 10));
    void *p = __libc_realloc(malloc(100), 10000);
    CHECK(malloc_usable_size(p) >= 10000);
    __libc_free(p);
    p = __libc_memalign(256, 100);
    CHECK(is_aligned(p, 256));
    free(p);
}

static void errno_stays(void)
{
    errno = E2BIG;
    void *p = malloc(1000000);
    CHECK(errno == E2BIG);
    free(p);
    CHECK(errno == E2BIG);
    p = strndup("hello", 3);
    CHECK(strcmp(p, "hel") == 0);
    free(p);
    CHECK(errno == E2BIG);
    CHECK((unsigned)malloc_trim(0) <= 1);
    CHECK(mallinfo2().uordblks > 0);
}

/* The number behind `name`, at least 1 MB of which are in use. */
static void has_figure(const char *text, const char *name)
{
    const char *at = strstr(text, name);
    CHECK(at && strtoul(at + strlen(name), NULL, 10) >= 1000000);
}

static void figures(void)
{
    char text[4096] = "", *info = NULL;
    size_t n;
    int ends[2], before = dup(2);
    void *p[100];
    for (int i = 0; i < 100; i++) CHECK((p[i] = malloc(some(10000))));
    FILE *f = open_memstream(&info, &n);
    CHECK(malloc_info(0, f) == 0 && malloc_info(1, f) != 0);
    fclose(f);
    has_figure(info, "<system type=\"current\" size=\"");
    CHECK(strncmp(info, "<malloc version=\"1\">\n", 21) == 0 && strstr(info, "</malloc>\n"));
    free(info);
    CHECK(pipe(ends) == 0 && before >= 0 && dup2(ends[1], 2) == 2);
    malloc_stats();
    CHECK(dup2(before, 2) == 2 && close(ends[1]) == 0 && close(before) == 0);
    for (size_t got = 0; got < sizeof text - 1;) {
        ssize_t r = read(ends[0], text + got, sizeof text - 1 - got);
        if (r <= 0) break;
        got += (size_t)r;
    }
    close(ends[0]);
    has_figure(text, "in use bytes     =");
    for (int i = 0; i < 100; i++) free(p[i]);
}

/* Blocks don't overlap, whatever is freed in between: each is full of its own number. */
static void model(void)
{
    enum { N = 3000 };
    static unsigned char *block[N];
    static size_t size[N];
    unsigned x = 12345;
    for (int i = 0; i < 200000; i++) {
        x = x * 1103515245 + 12345;
        unsigned k = (x >> 8) % N;
        for (size_t j = 0; j < size[k]; j += 61) CHECK(block[k][j] == (unsigned char)k);
        if (x >> 30 && block[k]) {
            free(block[k]);
            block[k] = NULL;
            size[k] = 0;
        } else {
            size_t n = (x >> 4) % ((x >> 28) ? 300 : 60000) + 1;
            block[k] = realloc(block[k], n);
            size[k] = n;
            memset(block[k], (int)(unsigned char)k, n);
        }
        if (failed) return;
    }
    for (int k = 0; k < N; k++) free(block[k]);
}

int main(void)
{
    sizes();
    nothing();
    too_much();
    resizing();
    aligned();
    aligned_much();
    other_names();
    errno_stays();
    figures();
    model();
    return failed;
}
