/* throw.hpp - oak::throw_: an exception that keeps alive the objects that it refers to.
 *
 * The C++ library keeps exceptions in memory of the host's malloc, which the collector doesn't
 * scan. So an object that only an exception refers to dies, unless one of these is true:
 * - the exception refers to it by an oak::root (root.hpp);
 * - the exception is thrown by oak::throw_, or made by oak::make_exception_ptr;
 * - the program includes <oakum/exceptions.hpp>, which covers every throw of all its libraries.
 *
 * Each covers an exception from its construction until its last handler and std::exception_ptr are
 * gone: rethrown, nested, and in other threads too. The exception object itself is scanned. Other
 * memory of the host's that it refers to, as by a std::vector, is not.
 *
 * Not for programs without exceptions or RTTI. */
#ifndef OAKUM_CXX_THROW_HPP
#define OAKUM_CXX_THROW_HPP

#if defined(__cpp_exceptions) && defined(__cpp_rtti)

#include <cerrno>
#include <cxxabi.h>
#include <exception>
#include <oakum/cxx/base.hpp>
#include <oakum/gc.h>
#include <typeinfo>
#include <utility>

namespace oak
{
namespace detail
{

/* Makes an exception's memory a root. Where Oakum is the program's malloc, that memory is in the
 * heap, and can't be added. */
template <class E> void exception_begins(E *e)
{
    if (oak_root_add(static_cast<void *>(e), sizeof(E)) != 0 && errno == ENOMEM) out_of_memory();
}

template <class E> void exception_ends(E *e) noexcept
{
    (void)oak_root_remove(static_cast<void *>(e), sizeof(E));
}

/* The exception's destructor, as the C++ library calls it. */
template <class E> void destroy_exception(void *p) noexcept
{
    E *e = static_cast<E *>(p);
    e->~E();
    exception_ends(e);
}

/* Memory of an exception that is being constructed. */
template <class E> struct unthrown {
    E *e = static_cast<E *>(abi::__cxa_allocate_exception(sizeof(E)));
    bool rooted = false;

    unthrown() = default;
    unthrown(const unthrown &) = delete;
    unthrown &operator=(const unthrown &) = delete;
    ~unthrown()
    {
        if (!e) return;
        if (rooted) exception_ends(e);
        abi::__cxa_free_exception(static_cast<void *>(e));
    }
};

} // namespace detail

/** Throws E(args...), whose words are roots as long as the exception exists. Handlers see an E, as
 * after `throw`. Throws std::bad_alloc if that fails, or the constructor's own exception. */
template <class E, class... A> [[noreturn]] void throw_new(A &&...args)
{
    static_assert(alignof(E) <= 16, "an exception is aligned to 16");
    detail::unthrown<E> u;
    detail::exception_begins(u.e);
    u.rooted = true;
    ::new (static_cast<void *>(u.e)) E(std::forward<A>(args)...);
    E *e = std::exchange(u.e, nullptr);
    abi::__cxa_throw(static_cast<void *>(e), const_cast<std::type_info *>(&typeid(E)),
                     detail::destroy_exception<E>);
}

/** As `throw e`, by throw_new: for classes and pointers alike. */
template <class E> [[noreturn]] void throw_(E &&e)
{
    throw_new<std::decay_t<E>>(std::forward<E>(e));
}

/** As std::make_exception_ptr(e), by throw_. */
template <class E> std::exception_ptr make_exception_ptr(E &&e) noexcept
{
    try {
        throw_(std::forward<E>(e));
    } catch (...) {
        return std::current_exception();
    }
}

} // namespace oak

#endif
#endif
