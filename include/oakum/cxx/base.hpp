/* base.hpp - shared by the C++ headers: how errors are reported, and which memory is scanned.
 *
 * An allocation that fails throws std::bad_alloc, and an array of too many elements throws
 * std::bad_array_new_length. Without exceptions (-fno-exceptions) both are fatal errors of Oakum.
 * Functions that the collector or a map calls are noexcept, as an exception must not pass through
 * frames of C. An exception that leaves such a function ends in std::terminate.
 *
 * C++17 or later. Needs no RTTI, except where said. */
#ifndef OAKUM_CXX_BASE_HPP
#define OAKUM_CXX_BASE_HPP

#if __cplusplus < 201703L
#error "Oakum's C++ headers are C++17: compile with -std=c++17, -std=gnu++17 or later"
#endif

#include <cstddef>
#include <new>
#include <oakum/heap.h>
#include <type_traits>

namespace oak
{

namespace detail
{

[[noreturn, gnu::cold]] inline __attribute__((always_inline)) void out_of_memory()
{
#ifdef __cpp_exceptions
    throw std::bad_alloc();
#else
    oak_fatal("oakum: out of memory in a program without exceptions");
#endif
}

[[noreturn, gnu::cold]] inline __attribute__((always_inline)) void too_many()
{
#ifdef __cpp_exceptions
    throw std::bad_array_new_length();
#else
    oak_fatal("oakum: an array of too many elements");
#endif
}

/* The enum's integer, or T itself. */
template <class T, bool = std::is_enum<T>::value> struct number_of {
    using type = T;
};
template <class T> struct number_of<T, true> {
    using type = typename std::underlying_type<T>::type;
};

template <class T> constexpr bool may_hold_pointers_default()
{
    using number = typename number_of<std::remove_cv_t<T>>::type;
    if (!std::is_arithmetic<number>::value) return true;
    return std::is_integral<number>::value && sizeof(number) >= sizeof(void *);
}

enum class how { scan, noscan, pinned };

/* NULL without room. Every object is aligned to 16 at least. */
inline void *allocate(how h, std::size_t bytes, std::size_t align) noexcept
{
    if (h == how::pinned) return oak_alloc_pinned(bytes);
    if (align > 16)
        return h == how::scan ? oak_alloc_aligned(align, bytes)
                              : oak_alloc_aligned_noscan(align, bytes);
    return h == how::scan ? oak_alloc(bytes) : oak_alloc_noscan(bytes);
}

template <class T> void *allocate_array(how h, std::size_t n)
{
    if (n > static_cast<std::size_t>(PTRDIFF_MAX) / sizeof(T)) too_many();
    void *p = allocate(h, n * sizeof(T), alignof(T));
    if (!p) out_of_memory();
    return p;
}

} // namespace detail

/** Whether elements of type T are scanned for pointers by default. Floating point, and integers and
 * enums that are narrower than a pointer, are not. Everything else is, integers as wide as a
 * pointer included. Specialize it for a class without pointers:
 *
 *     template <> inline constexpr bool oak::may_hold_pointers<pixel> = false; */
template <class T> inline constexpr bool may_hold_pointers = detail::may_hold_pointers_default<T>();

} // namespace oak

#endif
