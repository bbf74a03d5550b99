// bare.cc - the headers in a program without exceptions and RTTI; and what is fatal there.
//
// usage: bare [memory | array | absent | nil]
#include <cstdio>
#include <cstring>
#include <memory>
#include <oakum/oakum.hpp>
#include <string>
#include <vector>

#if defined(__cpp_exceptions) || defined(__cpp_rtti)
#error "to be compiled with -fno-exceptions -fno-rtti"
#endif

int destroyed;

struct one {
    int id = 3;
    ~one() { destroyed++; }
};

int main(int argc, char **argv)
{
    const char *way = argc > 1 ? argv[1] : "";
    oak::map<std::string, std::unique_ptr<int>> m;
    m["a"] = std::make_unique<int>(1);
    if (!std::strcmp(way, "memory")) {
        oak_set_heap_max(std::size_t(16) << 20);
        (void)oak::make<long[]>(std::size_t(16) << 20);
    }
    if (!std::strcmp(way, "array")) (void)oak::allocator<long>().allocate(SIZE_MAX / 2);
    if (!std::strcmp(way, "absent")) (void)m.at("b");
    if (!std::strcmp(way, "nil")) oak::set<int>::nil().insert(1);
    if (*way) return 0;

    std::vector<int, oak::allocator<int>> v(100, 1);
    oak::weak<one> w(oak::make<one>());
    oak::root<one> r(w.lock());
    oak::zone_guard guard(nullptr);
    int sum = 0;
    for (auto [key, value] : m) sum += *value + static_cast<int>(key.size());
    oak::destroy(oak::make<one[]>(4));
    if (sum != 2 || r->id != 3 || destroyed != 4 || v[99] != 1) return 1;
    std::puts("bare: fine");
    return 0;
}
