// allocator.cc - oak::allocator under the containers of the standard.
#include "cxx.h"
#include <deque>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

namespace
{

struct node {
    node *next = nullptr;
    long value = 0, pad[3] = {}; /* no handle lies next to it */
};

struct pixel {
    unsigned char rgb[4];
};

struct alignas(64) wide {
    double d[8];
};

enum class colour : char { red };

} // namespace

template <> inline constexpr bool oak::may_hold_pointers<pixel> = false;

namespace
{

static_assert(oak::may_hold_pointers<node *> && oak::may_hold_pointers<node>);
static_assert(oak::may_hold_pointers<std::uintptr_t> && oak::may_hold_pointers<long>);
static_assert(!oak::may_hold_pointers<char> && !oak::may_hold_pointers<int>);
static_assert(!oak::may_hold_pointers<double> && !oak::may_hold_pointers<colour>);
static_assert(!oak::may_hold_pointers<pixel>);

using A = oak::allocator<int>;
using N = oak::noscan_allocator<node *>;
using T = std::allocator_traits<A>;
static_assert(std::is_same<T::rebind_alloc<node>, oak::allocator<node>>::value);
static_assert(std::is_same<std::allocator_traits<N>::rebind_alloc<node *>, N>::value);
static_assert(
    std::is_same<
        std::allocator_traits<std::allocator_traits<N>::rebind_alloc<node>>::rebind_alloc<node *>,
        N>::value);
static_assert(T::propagate_on_container_copy_assignment::value &&
              T::propagate_on_container_move_assignment::value &&
              T::propagate_on_container_swap::value && T::is_always_equal::value);
static_assert(std::is_nothrow_copy_constructible<A>::value && std::is_empty<A>::value);
static_assert(std::is_constructible<A, oak::allocator<node>>::value);
static_assert(!std::is_constructible<A, N>::value, "what is not scanned is another allocator");

/* A heap object that only p refers to is alive. */
template <class Make> bool keeps(Make make)
{
    oak_weak *w = nullptr;
    auto container = std::make_unique<decltype(make(&w))>(); /* in the host's memory */
    oak::root<void> buffers[4];
    elsewhere([&] { *container = make(&w); });
    /* the container's own words, but nothing that they lead to */
    std::size_t words = sizeof *container / sizeof(void *);
    for (std::size_t i = 0; i < words && i < 4; i++) {
        void *p;
        std::memcpy(&p, reinterpret_cast<char *>(container.get()) + i * sizeof p, sizeof p);
        if (oak_base(p)) buffers[i] = oak::root<void>(p);
    }
    collect();
    if (alive(w)) return true;
    (void)container.release(); /* it may refer to what has gone */
    return false;
}

node *fresh(oak_weak **w)
{
    node *n = oak::make<node>();
    *w = oak_weak_new(n);
    return n;
}

void scanning()
{
    CHECK(keeps(
        [](oak_weak **w) { return std::vector<node *, oak::allocator<node *>>{ fresh(w) }; }));
    CHECK(keeps([](oak_weak **w) {
        return std::vector<std::uintptr_t, oak::allocator<std::uintptr_t>>{
            reinterpret_cast<std::uintptr_t>(fresh(w))
        };
    }));
    CHECK(!keeps([](oak_weak **w) {
        return std::vector<node *, oak::noscan_allocator<node *>>{ fresh(w) };
    }));
    // nodes of a container are scanned, whatever is said of its elements
    auto list = std::list<long, oak::noscan_allocator<long>>();
    for (long i = 0; i < 1000; i++) list.push_back(i);
    collect();
    long sum = 0;
    for (long x : list) sum += x;
    CHECK(sum == 499500);
}

void pinned()
{
    using vector = std::vector<node *, oak::pinned_allocator<node *>>;
    auto host = std::make_unique<vector>();
    static crowd nodes;
    elsewhere([&] {
        for (int i = 0; i < crowd::N; i++) host->push_back(nodes.add(i, oak::make<node>()));
    });
    collect();
    CHECK(nodes.all_alive());
    elsewhere([&] { host.reset(); });
    collect();
    CHECK(nodes.most_dead());
}

void containers()
{
    std::vector<std::string, oak::allocator<std::string>> v(100, "text that is longer than small");
    auto copy = v;
    v.push_back("one");
    copy = std::move(v);
    CHECK(copy.size() == 101 && copy.back() == "one");

    std::map<int, node *, std::less<int>, oak::allocator<std::pair<const int, node *>>> m;
    std::unordered_map<int, long, std::hash<int>, std::equal_to<int>,
                       oak::allocator<std::pair<const int, long>>>
        u;
    std::deque<long, oak::noscan_allocator<long>> d;
    std::basic_string<char, std::char_traits<char>, oak::allocator<char>> s;
    for (int i = 0; i < 5000; i++) {
        m[i] = oak::make<node>(node{ nullptr, i, {} });
        u[i] = i;
        d.push_front(i);
        s += 'x';
        if (i % 1000 == 0) oak_collect();
    }
    long sum = 0;
    for (auto &e : m) sum += e.second->value;
    for (auto &e : u) sum -= e.second;
    CHECK(sum == 0 && d.size() == 5000 && s.size() == 5000);

    auto shared = std::allocate_shared<node>(oak::allocator<node>());
    shared->value = 7;
    CHECK(shared->value == 7);
}

void alignment()
{
    std::vector<wide, oak::allocator<wide>> v(3);
    std::vector<wide, oak::noscan_allocator<wide>> n(3);
    CHECK(reinterpret_cast<std::uintptr_t>(v.data()) % 64 == 0);
    CHECK(reinterpret_cast<std::uintptr_t>(n.data()) % 64 == 0);
    int *none = A().allocate(0);
    CHECK(none != nullptr);
    A().deallocate(none, 0);
    CHECK(A() == oak::allocator<node>() && !(A() != A()));
}

void errors()
{
    A a;
    CHECK_THROWS(std::bad_array_new_length, (void)a.allocate(SIZE_MAX / 2));
    CHECK_THROWS(std::bad_array_new_length, (void)a.allocate(a.max_size() + 1));
    CHECK_THROWS(std::bad_alloc, (void)a.allocate(a.max_size()));
    oak_set_heap_max(std::size_t(64) << 20);
    std::vector<int, A> v(10, 3);
    CHECK_THROWS(std::bad_alloc, v.reserve(std::size_t(100) << 20));
    CHECK(v.size() == 10 && v[9] == 3);
    CHECK_THROWS(std::bad_alloc, (void)oak::make<long[]>(std::size_t(100) << 20));
    oak_set_heap_max(0);
    v.reserve(std::size_t(100) << 18);
}

} // namespace

int main()
{
    begin();
    run(scanning, pinned, containers, alignment, errors);
    return end("allocator");
}
