/* forms.cc - which of a program's own operators new and delete are called by which expression.
 * tests/malloc/operators compiles it once without FORM, the program, and once for each form. */
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <new>

enum {
    NEW, NEW_ARRAY, NEW_ALIGNED, NEW_ARRAY_ALIGNED,
    NOTHROW, NOTHROW_ARRAY, NOTHROW_ALIGNED, NOTHROW_ARRAY_ALIGNED,
    DELETE, DELETE_ARRAY, DELETE_ALIGNED, DELETE_ARRAY_ALIGNED,
    FORMS
};

extern int called[FORMS];

#ifdef FORM

static void *counted(std::size_t n, std::align_val_t align = std::align_val_t(16))
{
    called[FORM]++;
    return std::aligned_alloc(std::size_t(align), (n + std::size_t(align)) & -std::size_t(align));
}

static void drop(void *p)
{
    called[FORM]++;
    std::free(p);
}

using size = std::size_t;
using align = std::align_val_t;
using nothrow = const std::nothrow_t &;
#if FORM == 0
void *operator new(size n) { return counted(n); }
#elif FORM == 1
void *operator new[](size n) { return counted(n); }
#elif FORM == 2
void *operator new(size n, align a) { return counted(n, a); }
#elif FORM == 3
void *operator new[](size n, align a) { return counted(n, a); }
#elif FORM == 4
void *operator new(size n, nothrow) noexcept { return counted(n); }
#elif FORM == 5
void *operator new[](size n, nothrow) noexcept { return counted(n); }
#elif FORM == 6
void *operator new(size n, align a, nothrow) noexcept { return counted(n, a); }
#elif FORM == 7
void *operator new[](size n, align a, nothrow) noexcept { return counted(n, a); }
#elif FORM == 8
void operator delete(void *p) noexcept { drop(p); }
#elif FORM == 9
void operator delete[](void *p) noexcept { drop(p); }
#elif FORM == 10
void operator delete(void *p, align) noexcept { drop(p); }
#elif FORM == 11
void operator delete[](void *p, align) noexcept { drop(p); }
#endif

#else

int called[FORMS];

static void *kept(void *p)
{
    __asm__ volatile("" : "+r"(p) : : "memory");
    if (!p) std::abort();
    return p;
}

static void tell(const char *expression)
{
    std::printf("%s:", expression);
    for (int &n : called) {
        std::printf(" %d", n);
        n = 0;
    }
    std::puts("");
}

#define TELL(...) ((void)(__VA_ARGS__), tell(#__VA_ARGS__))

int main()
{
    using namespace std;
    const align_val_t a{ 64 };
    void *p;
    TELL(p = kept(::operator new(40)));
    TELL(::operator delete(p));
    TELL(p = kept(::operator new[](40)));
    TELL(::operator delete[](p));
    TELL(p = kept(::operator new(40, a)));
    TELL(::operator delete(p, a));
    TELL(p = kept(::operator new[](40, a)));
    TELL(::operator delete[](p, a));
    TELL(p = kept(::operator new(40, nothrow)));
    TELL(::operator delete(p, nothrow));
    TELL(p = kept(::operator new[](40, nothrow)));
    TELL(::operator delete[](p, nothrow));
    TELL(p = kept(::operator new(40, a, nothrow)));
    TELL(::operator delete(p, a, nothrow));
    TELL(p = kept(::operator new[](40, a, nothrow)));
    TELL(::operator delete[](p, a, nothrow));
    p = kept(::operator new(40));
    TELL(::operator delete(p, size_t(40)));
    p = kept(::operator new[](40));
    TELL(::operator delete[](p, size_t(40)));
    p = kept(::operator new(40, a));
    TELL(::operator delete(p, size_t(40), a));
    p = kept(::operator new[](40, a));
    TELL(::operator delete[](p, size_t(40), a));
}

#endif
