/* allocator.hpp - oak::allocator: memory of the heap for containers.
 *
 * A container's buffer is an object of the heap. It lives while a root or a live object refers to
 * it. So the container itself has to be in scanned memory: on a stack, in a global variable, or in
 * an object of the heap. A container in memory of the host's malloc needs oak::pinned_allocator.
 * Containers free their buffers at once, as with any allocator. */
#ifndef OAKUM_CXX_ALLOCATOR_HPP
#define OAKUM_CXX_ALLOCATOR_HPP

#include <oakum/cxx/base.hpp>

namespace oak
{

/** Memory is scanned if may_hold_pointers<T>. */
struct scan {
};

/** Arrays of T are not scanned. A container's other allocations, such as nodes, are. */
template <class T> struct noscan_of {
};

/** Memory is scanned, and is a root until it is freed. */
struct pinned {
};

/** An allocator in the sense of the standard. It has no state: all are equal, and a container may
 * pass its memory to any other. Memory is of the zone that the calling thread is in. */
template <class T, class How = scan> class allocator
{
    static_assert(!std::is_const<T>::value && !std::is_volatile<T>::value,
                  "containers have no const or volatile elements");

    static constexpr detail::how how()
    {
        if (std::is_same<How, pinned>::value) return detail::how::pinned;
        if (std::is_same<How, noscan_of<T>>::value) return detail::how::noscan;
        return may_hold_pointers<T> ? detail::how::scan : detail::how::noscan;
    }

  public:
    using value_type = T;
    using size_type = std::size_t;
    using difference_type = std::ptrdiff_t;
    using propagate_on_container_copy_assignment = std::true_type;
    using propagate_on_container_move_assignment = std::true_type;
    using propagate_on_container_swap = std::true_type;
    using is_always_equal = std::true_type;

    /** The allocator for another type. */
    template <class U> struct rebind {
        using other = allocator<U, How>;
    };

    constexpr allocator() noexcept = default;
    template <class U> constexpr allocator(const allocator<U, How> &) noexcept {}

    /** Memory for n elements, zeroed. Throws std::bad_alloc or std::bad_array_new_length. */
    [[nodiscard]] T *allocate(size_type n)
    {
        static_assert(how() != detail::how::pinned || alignof(T) <= 16,
                      "pinned memory is aligned to 16");
        return static_cast<T *>(detail::allocate_array<T>(how(), n));
    }

    /** Frees memory of allocate. */
    void deallocate(T *p, size_type) noexcept { oak_free(p); }

    /** The most elements of an array. */
    constexpr size_type max_size() const noexcept
    {
        return static_cast<size_type>(PTRDIFF_MAX) / sizeof(T);
    }

    template <class U>
    friend constexpr bool operator==(const allocator &, const allocator<U, How> &) noexcept
    {
        return true;
    }
    template <class U>
    friend constexpr bool operator!=(const allocator &, const allocator<U, How> &) noexcept
    {
        return false;
    }
};

/** For elements without pointers: they are not scanned. */
template <class T> using noscan_allocator = allocator<T, noscan_of<T>>;

/** For containers in memory that the collector doesn't scan. A buffer is a root until the container
 * frees it. */
template <class T> using pinned_allocator = allocator<T, pinned>;

} // namespace oak

#endif
