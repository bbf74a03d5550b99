/* weak.hpp - oak::weak: a reference that doesn't keep its object alive.
 *
 * Threads: as std::weak_ptr. Any number of threads may use copies at the same time, or one object
 * by const member functions. The collector clears all weak references to an object together, in a
 * pause, before its destructor runs. A pointer that lock() has returned keeps the object alive, as
 * any pointer does.
 *
 * A weak reference refers to a handle in the heap, so it has to be in scanned memory. One in memory
 * of the host's malloc needs an oak::root of its own handle. */
#ifndef OAKUM_CXX_WEAK_HPP
#define OAKUM_CXX_WEAK_HPP

#include <oakum/cxx/base.hpp>
#include <oakum/gc.h>

namespace oak
{

/** A weak reference to a T in an object of the heap: to the object, or to a part of it. */
template <class T> class weak
{
    oak_weak *handle_ = nullptr;

  public:
    using element_type = T;

    /** Refers to nothing. */
    constexpr weak() noexcept = default;
    constexpr weak(std::nullptr_t) noexcept {}

    /** Refers to *p; NULL: to nothing. Throws std::bad_alloc. Fatal if p is in no object of
     * Oakum's. */
    explicit weak(T *p)
    {
        if (!p) return;
        handle_ = oak_weak_new(const_cast<std::remove_cv_t<T> *>(p));
        if (!handle_) detail::out_of_memory();
    }

    /** From a weak reference to a derived class, or to a less const type. Throws std::bad_alloc. */
    template <class U,
              std::enable_if_t<!std::is_same<U, T>::value && std::is_convertible<U *, T *>::value,
                               int> = 0>
    weak(const weak<U> &other) : weak(static_cast<T *>(other.lock()))
    {
    }

    weak &operator=(T *p) { return *this = weak(p); }

    /** The object, or NULL once it is dead. */
    [[nodiscard]] T *lock() const noexcept { return static_cast<T *>(oak_weak_get(handle_)); }

    /** Whether the object is dead, or there was none. A live object may die right after the
     * call. */
    [[nodiscard]] bool expired() const noexcept { return !lock(); }

    /** Refers to nothing from now on. */
    void reset() noexcept { handle_ = nullptr; }

    void swap(weak &other) noexcept
    {
        oak_weak *handle = handle_;
        handle_ = other.handle_;
        other.handle_ = handle;
    }
    friend void swap(weak &a, weak &b) noexcept { a.swap(b); }

    /** The weak reference in C; NULL: there is none. */
    oak_weak *handle() const noexcept { return handle_; }
};

} // namespace oak

#endif
