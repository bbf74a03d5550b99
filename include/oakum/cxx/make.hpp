/* make.hpp - oak::make: objects of the heap, whose destructors are finalizers.
 *
 * The program need not destroy such an object. If its destructor is not trivial, it runs once the
 * object is unreachable: on the finalizer thread, or in oak_finalizers_run. It runs at no
 * particular time, and not at the program's end. A later collection frees the memory.
 *
 * Order (oak::destructor::ordered): an object is destroyed before the objects that it refers to, so
 * its destructor may use those. Objects with destructors that refer to each other in a cycle are
 * never destroyed; finalizer_cycles of oak_memstats counts them. An object may refer to itself.
 *
 * A destructor that runs as a finalizer must not throw, even if it is noexcept(false):
 * std::terminate is called. It may allocate and make objects. */
#ifndef OAKUM_CXX_MAKE_HPP
#define OAKUM_CXX_MAKE_HPP

#include <cstdint>
#include <oakum/cxx/base.hpp>
#include <oakum/gc.h>
#include <utility>

namespace oak
{

/** When the destructor of an object of oak::make runs. */
enum class destructor {
    ordered,   /* it runs before those of the objects that the object refers to */
    unordered, /* it runs once the object is unreachable, in a cycle too. Objects that it refers to
                * may be destroyed already, but their memory is not freed */
    none       /* it never runs */
};

namespace detail
{

template <class T> void destroy_one(void *p, void *) noexcept
{
    static_cast<T *>(p)->~T();
}

template <class T> void destroy_array(void *p, void *count) noexcept
{
    T *first = static_cast<T *>(p);
    for (std::uintptr_t n = reinterpret_cast<std::uintptr_t>(count); n > 0; n--) first[n - 1].~T();
}

/* Memory whose object is being constructed. Unless release() was called, the constructed elements
 * are destroyed, and the memory is freed. */
template <class T> class unfinished
{
    T *p_;

  public:
    std::size_t made = 0;

    explicit unfinished(void *p) noexcept : p_(static_cast<T *>(p)) {}
    unfinished(const unfinished &) = delete;
    unfinished &operator=(const unfinished &) = delete;
    ~unfinished()
    {
        if (!p_) return;
        destroy_array<T>(p_, reinterpret_cast<void *>(made));
        oak_free(p_);
    }

    T *get() const noexcept { return p_; }

    template <destructor D> T *release(oak_finalizer fn, std::size_t count)
    {
        constexpr int flags =
            D == destructor::ordered ? OAK_FINALIZER_IGNORE_SELF : OAK_FINALIZER_NO_ORDER;
        if constexpr (D != destructor::none && !std::is_trivially_destructible<T>::value)
            if (oak_finalizer_set_ex(p_, fn, reinterpret_cast<void *>(count), flags, nullptr,
                                     nullptr) != 0)
                out_of_memory();
        T *p = p_;
        p_ = nullptr;
        return p;
    }
};

template <class T, destructor D, how H, class... A> T *make_one(A &&...args)
{
    using object = std::remove_cv_t<T>;
    unfinished<object> u(allocate_array<object>(H, 1));
    if constexpr (std::is_constructible<object, A...>::value)
        ::new (static_cast<void *>(u.get())) object(std::forward<A>(args)...);
    else
        ::new (static_cast<void *>(u.get())) object{ std::forward<A>(args)... };
    u.made = 1;
    return u.template release<D>(destroy_one<object>, 1);
}

template <class T, destructor D, how H> T *make_many(std::size_t n)
{
    using object = std::remove_cv_t<T>;
    unfinished<object> u(allocate_array<object>(H, n));
    for (; u.made < n; u.made++) ::new (static_cast<void *>(u.get() + u.made)) object();
    if (n == 0) return u.template release<destructor::none>(nullptr, 0);
    return u.template release<D>(destroy_array<object>, n);
}

template <class T> struct array_of {
};
template <class E> struct array_of<E[]> {
    using element = E;
};

} // namespace detail

/** Makes an object in the heap: T(args...), or T{args...} for an aggregate. The object is scanned.
 * Unless T is trivially destructible or D is destructor::none, its destructor is its finalizer.
 * Throws std::bad_alloc, or the constructor's exception; the memory is then freed. */
template <class T, destructor D = destructor::ordered, class... A,
          std::enable_if_t<!std::is_array<T>::value, int> = 0>
[[nodiscard]] T *make(A &&...args)
{
    return detail::make_one<T, D, detail::how::scan>(std::forward<A>(args)...);
}

/** Makes an array of n elements, each E(): make<E[]>(n). Its finalizer destroys the elements, the
 * last one first. Throws std::bad_array_new_length, too. */
template <class T, destructor D = destructor::ordered,
          class E = typename detail::array_of<T>::element>
[[nodiscard]] E *make(std::size_t n)
{
    return detail::make_many<E, D, detail::how::scan>(n);
}

/** As make, for an object without pointers into the heap: it is not scanned. */
template <class T, destructor D = destructor::ordered, class... A,
          std::enable_if_t<!std::is_array<T>::value, int> = 0>
[[nodiscard]] T *make_noscan(A &&...args)
{
    return detail::make_one<T, D, detail::how::noscan>(std::forward<A>(args)...);
}

/** As make, for an array without pointers into the heap: make_noscan<E[]>(n). */
template <class T, destructor D = destructor::ordered,
          class E = typename detail::array_of<T>::element>
[[nodiscard]] E *make_noscan(std::size_t n)
{
    return detail::make_many<E, D, detail::how::noscan>(n);
}

/** Destroys an object or array of oak::make now, and frees it: runs its finalizer, if it has one.
 * p points to the object or into it, for instance to a base class. NULL is allowed. Weak references
 * to it are cleared. Fatal when p is in no live object. */
inline void destroy(const void *p) noexcept
{
    void *object = const_cast<void *>(p);
    if (!object) return;
    if (void *base = oak_base(object)) object = base;
    oak_finalizer fn = nullptr;
    void *ctx = nullptr;
    if (oak_finalizer_set_ex(object, nullptr, nullptr, 0, &fn, &ctx) == 0 && fn) fn(object, ctx);
    oak_free(object);
}

} // namespace oak

#endif
