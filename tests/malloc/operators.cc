/* operators.cc - new and delete in all their forms, in a program and across a library's boundary;
 * what another allocator of the process gave, freed by name. tests/malloc/operators compiles it
 * several times over: with -DLIBRARY the library; with -DPOOL a program whose plain forms are its
 * own, on a pool; with -DCOUNTED on malloc; with -DHEADER there with a header before each. */
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <malloc.h>
#include <new>
#include <string>
#include <sys/mman.h>
#include <ucontext.h>
#include <vector>

struct alignas(256) Wide {
    char c[512];
};

std::string *library_string(const char *text);
void library_give(std::vector<std::string> &v, int n);
void *library_plain(std::size_t n);
char *library_array(std::size_t n);
Wide *library_wide(int n);
void library_delete(void *p);

#ifdef LIBRARY

std::string *library_string(const char *text) { return new std::string(text); }
void library_give(std::vector<std::string> &v, int n)
{
    for (int i = 0; i < n; i++) v.push_back(std::string(40, 'a') + std::to_string(i));
}
void *library_plain(std::size_t n) { return ::operator new(n); }
char *library_array(std::size_t n) { return new char[n]; }
Wide *library_wide(int n) { return new Wide[n]; }
void library_delete(void *p) { ::operator delete(p); }

#else

#define CHECK(x) ((x) ? (void)0 : (std::fprintf(stderr, "operators: %s\n", #x), std::abort()))

/* So that a pair is not elided. */
static inline void *kept(void *p)
{
    __asm__ volatile("" : "+r"(p));
    return p;
}

#if defined POOL || defined COUNTED || defined HEADER
static unsigned long news, deletes;
#ifdef HEADER
static const std::size_t header = 16;
#elif defined COUNTED
static const std::size_t header = 0;
#endif
alignas(16) static char pool[1 << 23];
static std::size_t used;

void *operator new(std::size_t n)
{
    news++;
#ifdef POOL
    if (n > sizeof pool - used) throw std::bad_alloc();
    used += (n + 15) / 16 * 16;
    return pool + used - (n + 15) / 16 * 16;
#else
    char *p = (char *)std::malloc(n + header);
    if (!p) throw std::bad_alloc();
    return p + header;
#endif
}

void operator delete(void *p) noexcept
{
    deletes++;
#ifdef POOL
    CHECK(!p || ((char *)p >= pool && (char *)p < pool + sizeof pool));
#else
    if (p) std::free((char *)p - header);
#endif
}
#endif

static void forms()
{
    const std::align_val_t a{ 256 };
    const std::nothrow_t &no = std::nothrow;
    for (std::size_t n : { 1, 100, 5000, 100000 }) {
        void *p;
        ::operator delete(std::memset(kept(::operator new(n)), 1, n));
        ::operator delete(kept(::operator new(n)), n);
        ::operator delete(kept(::operator new(n, no)), no);
        ::operator delete[](kept(::operator new[](n)));
        ::operator delete[](kept(::operator new[](n)), n);
        ::operator delete[](kept(::operator new[](n, no)), no);
        p = kept(::operator new(n, a));
        CHECK((std::uintptr_t)p % 256 == 0);
        ::operator delete(p, a);
        p = kept(::operator new(n, a));
        ::operator delete(p, n, a);
        p = kept(::operator new(n, a, no));
        CHECK((std::uintptr_t)p % 256 == 0);
        ::operator delete(p, a, no);
        p = kept(::operator new[](n, a));
        ::operator delete[](p, a);
        p = kept(::operator new[](n, a));
        ::operator delete[](p, n, a);
        p = kept(::operator new[](n, a, no));
        ::operator delete[](p, a, no);
        ::operator delete(library_plain(n));
        library_delete(kept(::operator new(n)));
        delete[] library_array(n);
    }
    delete[] library_wide(3);
    alignas(16) char room[64];
    int *placed = new (room) int(7);
    CHECK((void *)placed == room && *placed == 7);
}

static void strings()
{
    std::vector<std::string> v;
    library_give(v, 1000);
    std::string *s = library_string("a text that is too long for the object itself");
    for (int i = 0; i < 1000; i++) v[(std::size_t)i] += *s, v.push_back(v[(std::size_t)i]);
    CHECK(v.size() == 2000 && v[1999] == v[999]);
    delete s;
    v.erase(v.begin(), v.begin() + 500);
    v.shrink_to_fit();
}

static int handled;

static void failures()
{
    std::size_t much = (std::size_t)1 << 60;
    __asm__ volatile("" : "+r"(much));
    bool thrown = false;
    CHECK(!::operator new(much, std::nothrow));
    CHECK(!::operator new[](much, std::align_val_t(64), std::nothrow));
    try {
        library_delete(library_plain(much));
    } catch (const std::bad_alloc &) {
        thrown = true;
    }
    CHECK(thrown);
    std::set_new_handler([] {
        if (++handled == 3) std::set_new_handler(nullptr);
    });
    CHECK(!::operator new(much, std::nothrow));
#if !defined POOL && !defined COUNTED && !defined HEADER
    CHECK(handled == 3);
#endif
    std::set_new_handler([] { throw std::bad_alloc(); });
    CHECK(!::operator new(much, std::nothrow));
    std::set_new_handler(nullptr);
}

typedef void *malloc_fn(std::size_t);

/* What it gives by its own name; freed, resized and asked about by everybody's. */
static void foreign(const char *name, const char *symbol)
{
    void *library = dlopen(name, RTLD_NOW | RTLD_LOCAL);
    if (!library) std::exit(77);
    malloc_fn *give = (malloc_fn *)dlsym(library, symbol);
    CHECK(give);
    for (std::size_t n : { 16, 100, 3000, 100000, 5000000 }) {
        char *p = (char *)give(n), *q = (char *)give(n), *r = (char *)give(n);
        std::memset(p, 1, n);
        std::memset(q, 2, n);
        CHECK(malloc_usable_size(p) >= n);
        std::free(p);
        q = (char *)std::realloc(q, 2 * n);
        CHECK(q && q[0] == 2 && q[n - 1] == 2);
        std::free(q);
        ::operator delete(r);
    }
}

static ucontext_t outside, inside;

/* On a stack far below the thread's own, and below the blocks. */
static void foreign_on_fiber(char **v)
{
    static char **args;
    args = v;
    const std::size_t size = 256 << 10;
    char *stack = (char *)mmap((void *)0x10000000, size, PROT_READ | PROT_WRITE,
                               MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    CHECK(stack != MAP_FAILED && getcontext(&inside) == 0);
    inside.uc_stack.ss_sp = stack;
    inside.uc_stack.ss_size = size;
    inside.uc_link = &outside;
    makecontext(&inside, [] { foreign(args[2], args[3]); }, 0);
    CHECK(swapcontext(&outside, &inside) == 0);
}

int main(int c, char **v)
{
    if (c > 3 && !std::strcmp(v[1], "foreign")) {
        foreign(v[2], v[3]);
        foreign_on_fiber(v);
    } else {
        forms();
        strings();
        forms();
        failures();
    }
#if defined POOL || defined COUNTED || defined HEADER
    CHECK(news > 4000 && deletes > 4000);
#endif
    std::puts("fine");
    return 0;
}

#endif
