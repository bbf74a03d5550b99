/* root.hpp - oak::root: a reference that keeps its object alive from anywhere.
 *
 * For memory that the collector doesn't scan: objects of the host's malloc, members of exceptions,
 * elements of the host's containers. A cycle that leads through a root is never collected.
 *
 * Copies share one pinned cell with a count, so copying never fails. Threads: as std::shared_ptr.
 * Destroying the last copy frees the cell, so it is not allowed in a blocking region. */
#ifndef OAKUM_CXX_ROOT_HPP
#define OAKUM_CXX_ROOT_HPP

#include <atomic>
#include <functional>
#include <oakum/cxx/base.hpp>
#include <utility>

namespace oak
{

namespace detail
{

/* Pinned. The collector scans it. */
struct root_cell {
    void *object;
    std::atomic<std::size_t> count;
};

} // namespace detail

/** A reference to a T in the heap that counts as a root. T may be const, or incomplete. */
template <class T> class root
{
    template <class U> friend class root;

    T *p_ = nullptr;
    detail::root_cell *cell_ = nullptr; /* NULL: p_ is NULL */

    void share() const noexcept
    {
        if (cell_) cell_->count.fetch_add(1, std::memory_order_relaxed);
    }

  public:
    using element_type = T;

    constexpr root() noexcept = default;
    constexpr root(std::nullptr_t) noexcept {}

    /** Keeps *p alive. Throws std::bad_alloc. */
    explicit root(T *p) : p_(p)
    {
        if (!p) return;
        void *cell = oak_alloc_pinned(sizeof *cell_);
        if (!cell) detail::out_of_memory();
        cell_ = ::new (cell) detail::root_cell{ const_cast<std::remove_cv_t<T> *>(p), { 1 } };
    }

    root(const root &other) noexcept : p_(other.p_), cell_(other.cell_) { share(); }
    root(root &&other) noexcept
        : p_(std::exchange(other.p_, nullptr)), cell_(std::exchange(other.cell_, nullptr))
    {
    }

    /** From a root of a derived class, or of a less const type. */
    template <class U, std::enable_if_t<std::is_convertible<U *, T *>::value, int> = 0>
    root(const root<U> &other) noexcept : p_(other.p_), cell_(other.cell_)
    {
        share();
    }
    template <class U, std::enable_if_t<std::is_convertible<U *, T *>::value, int> = 0>
    root(root<U> &&other) noexcept
        : p_(std::exchange(other.p_, nullptr)), cell_(std::exchange(other.cell_, nullptr))
    {
    }

    root &operator=(root other) noexcept
    {
        swap(other);
        return *this;
    }

    ~root()
    {
        if (cell_ && cell_->count.fetch_sub(1, std::memory_order_acq_rel) == 1) oak_free(cell_);
    }

    T *get() const noexcept { return p_; }
    T *operator->() const noexcept { return p_; }
    template <class U = T> std::add_lvalue_reference_t<U> operator*() const noexcept { return *p_; }
    explicit operator bool() const noexcept { return p_ != nullptr; }

    void reset() noexcept { root().swap(*this); }
    void reset(T *p) { root(p).swap(*this); }

    void swap(root &other) noexcept
    {
        std::swap(p_, other.p_);
        std::swap(cell_, other.cell_);
    }
    friend void swap(root &a, root &b) noexcept { a.swap(b); }

    friend bool operator==(const root &a, const root &b) noexcept { return a.p_ == b.p_; }
    friend bool operator!=(const root &a, const root &b) noexcept { return a.p_ != b.p_; }
};

} // namespace oak

namespace std
{

/** Hashes as the pointer. */
template <class T> struct hash<oak::root<T>> {
    size_t operator()(const oak::root<T> &r) const noexcept { return hash<T *>()(r.get()); }
};

} // namespace std

#endif
