/* exceptions.hpp - every C++ exception in the process is a root, whichever library throws it.
 *
 * Include it in one source file of the program itself, not of a library. It defines functions of
 * the C++ ABI: __cxa_allocate_exception, __cxa_free_exception, __cxa_throw and
 * __cxa_init_primary_exception. They call those of the C++ library, libstdc++ or libc++abi, which
 * must be a shared one. For a program that can't do this, see oakum/cxx/throw.hpp.
 *
 * In a library, such as a plugin, define OAK_EXCEPTIONS_OF_LIBRARY and include it in one source
 * file of the library. Then the functions are hidden, and the roots are the exceptions that the
 * library's own code throws. All of them must be gone before the library is unloaded.
 *
 * From then on, an object lives while an exception refers to it. An exception counts from before
 * its constructor runs until its last handler and std::exception_ptr are gone, in any thread. Its
 * own bytes are roots, wherever it lies, but not the host's memory that it refers to. Exceptions
 * that were allocated before Oakum has started are not covered. A throw attaches its thread.
 *
 * Cost: two acquisitions of a lock, and two of the roots' lock, for each exception.
 *
 * Owns: the records, one behind each exception's object, in lists by its address. Lock: `lock`,
 * which fork takes, too. */
#ifndef OAKUM_EXCEPTIONS_HPP
#define OAKUM_EXCEPTIONS_HPP

#ifndef __cpp_exceptions
#error "oakum/exceptions.hpp: the program is compiled without exceptions"
#endif

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <dlfcn.h>
#include <initializer_list>
#include <mutex>
#include <oakum/gc.h>
#include <oakum/heap.h>
#include <pthread.h>

#ifdef OAK_EXCEPTIONS_OF_LIBRARY
#define OAK_EXCEPTIONS_ABI_ __attribute__((visibility("hidden"), used))
#else
#define OAK_EXCEPTIONS_ABI_ __attribute__((visibility("default"), used))
#endif

extern "C" {

/* Declared under other names, as the C++ library's headers may declare the ABI's names. */
OAK_EXCEPTIONS_ABI_ void *oak_exception_allocate_(std::size_t size) noexcept
    __asm__("__cxa_allocate_exception");
OAK_EXCEPTIONS_ABI_ void oak_exception_free_(void *object) noexcept __asm__("__cxa_free_exception");
[[noreturn]] OAK_EXCEPTIONS_ABI_ void
oak_exception_throw_(void *object, void *type, void (*destroy)(void *)) __asm__("__cxa_throw");
OAK_EXCEPTIONS_ABI_ void *oak_exception_init_(void *object, void *type,
                                              void (*destroy)(void *)) noexcept
    __asm__("__cxa_init_primary_exception");
}

namespace oak
{
namespace detail
{

/* Each program and library that includes this has its own. */
namespace
{

/* The C++ library's function of that name. */
template <class F> F exception_function(const char *name) noexcept
{
    void *fn = dlsym(RTLD_NEXT, name);
    if (!fn) oak_fatal("oakum: oakum/exceptions.hpp: no shared C++ library has %s", name);
    return reinterpret_cast<F>(fn);
}

/* Lies behind the exception's object, in the same memory. */
struct exception_record {
    exception_record *next;
    void *object;
    std::size_t size;
    void (*destroy)(void *); /* the exception's own destructor, or NULL */
    enum { nothing, rooted, held } state;
};

class exception_table
{
    std::mutex lock;
    exception_record *list[64] = {};

    exception_record **place(const void *object) noexcept
    {
        std::uintptr_t at = reinterpret_cast<std::uintptr_t>(object) >> 4;
        exception_record **r = &list[(at ^ at >> 6) % 64];
        while (*r && (*r)->object != object) r = &(*r)->next;
        return r;
    }

  public:
    void enter() { lock.lock(); }
    void leave() { lock.unlock(); }

    void add(exception_record *r) noexcept
    {
        std::lock_guard<std::mutex> guard(lock);
        exception_record **first = place(r->object);
        r->next = *first; /* NULL, at the list's end */
        *first = r;
    }

    exception_record *find(const void *object) noexcept
    {
        std::lock_guard<std::mutex> guard(lock);
        return *place(object);
    }

    exception_record *take(const void *object) noexcept
    {
        std::lock_guard<std::mutex> guard(lock);
        exception_record **at = place(object), *r = *at;
        if (r) *at = r->next;
        return r;
    }
};

exception_table exceptions;

/* Without memory for a root, no collection decides which objects are dead until the exception is
 * gone. Where Oakum is the program's malloc, the exception is in the heap, and no root can be
 * added. */
void exception_root(exception_record *r) noexcept
{
    oak_heap_info heap;
    oak_heap_info_read(&heap);
    r->state = exception_record::nothing;
    if (!heap.base || r->size < sizeof(void *)) return;
    if (oak_root_add(r->object, r->size) == 0) {
        r->state = exception_record::rooted;
    } else if (errno == ENOMEM) {
        oak_gc_disable();
        r->state = exception_record::held;
    }
}

void exception_forget(void *object) noexcept
{
    exception_record *r = exceptions.take(object);
    if (!r) return;
    const int saved = errno;
    if (r->state == exception_record::rooted) (void)oak_root_remove(r->object, r->size);
    if (r->state == exception_record::held) oak_gc_enable();
    errno = saved;
}

/* The destructor that the C++ library calls. Afterwards the library may free the memory without a
 * call of oak_exception_free_. */
void exception_destroy(void *object) noexcept
{
    exception_record *r = exceptions.find(object);
    if (r && r->destroy) r->destroy(object);
    exception_forget(object);
}

/* Returns the destructor to give to the C++ library. One exception may come twice, as __cxa_throw
 * may call __cxa_init_primary_exception. */
void (*exception_adopt(void *object, void (*destroy)(void *)) noexcept)(void *)
{
    exception_record *r = exceptions.find(object);
    if (!r || destroy == exception_destroy) return destroy;
    r->destroy = destroy;
    return exception_destroy;
}

#ifndef OAK_EXCEPTIONS_OF_LIBRARY
/* Checks that the process calls the functions of this file. In a library, their names may be bound
 * to functions of another one. So the files that hold the functions are compared, not the
 * addresses. */
[[gnu::constructor, gnu::used]] void exceptions_check()
{
    Dl_info here, there;
    void *self = reinterpret_cast<void *>(exceptions_check);
    for (const char *name : { "__cxa_allocate_exception", "__cxa_free_exception", "__cxa_throw" }) {
        void *called = dlsym(RTLD_DEFAULT, name);
        if (!called || !dladdr(self, &here) || !dladdr(called, &there) ||
            here.dli_fbase != there.dli_fbase)
            oak_fatal("oakum: oakum/exceptions.hpp: %s is not the program's: is the header "
                      "included in a library, or the program linked statically? (In a library, "
                      "define OAK_EXCEPTIONS_OF_LIBRARY before.)",
                      name);
    }
}
#endif

[[gnu::constructor, gnu::used]] void exceptions_begin()
{
    (void)pthread_atfork([] { exceptions.enter(); }, [] { exceptions.leave(); },
                         [] { exceptions.leave(); });
}

} // namespace
} // namespace detail
} // namespace oak

void *oak_exception_allocate_(std::size_t size) noexcept
{
    using namespace oak::detail;
    static const auto next = exception_function<void *(*)(std::size_t)>("__cxa_allocate_exception");
    const int saved = errno;
    const std::size_t at = (size + 15) / 16 * 16;
    char *object = static_cast<char *>(next(at + sizeof(exception_record)));
    std::memset(object, 0, at);
    void *place = object + at;
    exception_record *r =
        ::new (place) exception_record{ nullptr, object, size, nullptr, exception_record::nothing };
    exception_root(r);
    exceptions.add(r);
    errno = saved;
    return object;
}

void oak_exception_free_(void *object) noexcept
{
    static const auto next =
        oak::detail::exception_function<void (*)(void *)>("__cxa_free_exception");
    oak::detail::exception_forget(object);
    next(object);
}

void oak_exception_throw_(void *object, void *type, void (*destroy)(void *))
{
    using function = void (*)(void *, void *, void (*)(void *));
    static const auto next = oak::detail::exception_function<function>("__cxa_throw");
    next(object, type, oak::detail::exception_adopt(object, destroy));
    __builtin_unreachable();
}

void *oak_exception_init_(void *object, void *type, void (*destroy)(void *)) noexcept
{
    using function = void *(*)(void *, void *, void (*)(void *));
    static const auto next =
        oak::detail::exception_function<function>("__cxa_init_primary_exception");
    return next(object, type, oak::detail::exception_adopt(object, destroy));
}

#undef OAK_EXCEPTIONS_ABI_

#endif
