// map.cc - oak::map and oak::set: every kind of key and value, iterators, ranges.
#include "cxx.h"
#include <algorithm>
#include <limits>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>
#if __cplusplus >= 202002L
#include <ranges>
#endif

namespace
{

struct point {
    int x, y;
};

struct folded { /* compared without regard to case */
    char c;
};
struct fold {
    std::size_t operator()(folded f) const { return static_cast<unsigned char>(f.c | 32); }
    bool operator()(folded a, folded b) const { return (a.c | 32) == (b.c | 32); }
};

struct padded {
    char c;
    long l;
    bool operator==(const padded &p) const { return c == p.c && l == p.l; }
};

struct large {
    long words[40];
};

struct counted {
    static inline int alive = 0;
    int id;
    explicit counted(int n) : id(n) { alive++; }
    counted(counted &&o) noexcept : id(o.id) { alive++; }
    counted &operator=(counted &&) = default;
    ~counted() { alive--; }
};

enum class colour { red, green };

} // namespace

template <> struct std::hash<padded> {
    std::size_t operator()(const padded &p) const { return static_cast<std::size_t>(p.l + p.c); }
};

namespace
{

using numbers = oak::map<int, long>;
static_assert(std::is_trivially_copyable<numbers>::value && sizeof(numbers) == sizeof(void *));
static_assert(std::is_same<numbers::reference, std::pair<const int &, long &>>::value);
static_assert(std::is_same<oak::set<std::string>::reference, std::string_view>::value);
#ifdef __cpp_lib_ranges
static_assert(std::ranges::forward_range<numbers> && std::ranges::forward_range<const numbers>);
static_assert(std::ranges::input_range<oak::map<std::string, std::unique_ptr<int>>>);
static_assert(std::ranges::forward_range<oak::set<std::string>>);
static_assert(std::ranges::common_range<numbers> && std::ranges::borrowed_range<numbers>);
static_assert(std::forward_iterator<numbers::iterator> &&
              std::forward_iterator<oak::set<int>::iterator>);
static_assert(!std::ranges::bidirectional_range<numbers>);
#endif

void basics()
{
    numbers m;
    CHECK(m.empty() && m.begin() == m.end() && !m.contains(1) && m.get(1) == nullptr);
    for (int i = 0; i < 10000; i++) m[i] = i * 2L;
    CHECK(m.size() == 10000 && m.at(77) == 154 && m.count(9999) == 1 && m.count(10000) == 0);
    CHECK_THROWS(std::out_of_range, m.at(-1));
    long sum = 0;
    for (auto [k, v] : m) {
        sum += k;
        v = k;
    }
    for (const auto &e : m) sum -= e.second;
    CHECK(sum == 0);
    ++m[5];
    CHECK(*m.get(5) == 6);
    CHECK(!m.insert(5, 50).second && m.at(5) == 6);
    CHECK(!m.insert_or_assign(5, 50).second && m.at(5) == 50);
    CHECK(m.insert_or_assign(20000, 1).second);
    CHECK(m.erase(5) == 1 && m.erase(5) == 0);
    const numbers &same = m;
    CHECK(same.begin()->first == m.begin()->first && *same.get(20000) == 1);
    numbers copy = m; /* the same map */
    copy[-1] = 1;
    CHECK(m.contains(-1) && copy.handle() == m.handle());
    m.clear();
    CHECK(copy.empty());

    numbers init = { { 1, 10 }, { 2, 20 }, { 1, 30 } };
    CHECK(init.size() == 2 && init.at(1) == 10);
    std::unordered_map<int, long> other = { { 3, 4 }, { 5, 6 } };
    numbers from(other.begin(), other.end());
    CHECK(from.size() == 2 && from.at(5) == 6);
    CHECK(numbers::with_room_for(1000).empty());
    numbers nil = numbers::nil();
    CHECK(nil.empty() && !nil.contains(1) && nil.erase(1) == 0 && nil.begin() == nil.end());
    nil.clear();
    CHECK_THROWS(
        std::bad_alloc, (void)[] {
            struct limit { /* gone however the block is left: a loop may lack memory, too */
                std::size_t before = oak_set_heap_max(std::size_t(16) << 20);
                ~limit() { oak_set_heap_max(before); }
            } until_the_end;
            oak::map<long, large> big;
            try {
                for (long i = 0;; i++) big[i].words[0] = i;
            } catch (...) {
                for (auto [k, v] : big) CHECK(v.words[0] == k);
                CHECK(big.size() > 1000);
                throw;
            }
        }());
}

template <class K> void fill_keys(std::vector<K> keys)
{
    oak::map<K, int> m;
    oak::set<K> s;
    int n = 0;
    for (const K &k : keys) {
        m[k] = n++;
        CHECK(s.insert(k) && !s.insert(k));
    }
    CHECK(m.size() == keys.size() && s.size() == keys.size());
    n = 0;
    for (const K &k : keys) {
        CHECK(m.at(k) == n++);
        CHECK(s.contains(k));
    }
    std::size_t seen = 0;
    for (auto e : m) seen += m.at(e.first) == e.second;
    for (const auto &k : s) seen += s.contains(k);
    CHECK(seen == 2 * keys.size());
    for (const K &k : keys) CHECK(m.erase(k) == 1 && s.erase(k) == 1);
    CHECK(m.empty() && s.empty());
}

void keys()
{
    static int a, b;
    fill_keys<bool>({ false, true });
    fill_keys<char>({ 'a', 'b' });
    fill_keys<short>({ 1, -1 });
    fill_keys<double>({ 0.5, -3, 1e300 });
    fill_keys<float>({ 0.5F, -3 });
    fill_keys<long double>({ 0.5L, -3 });
    fill_keys<colour>({ colour::red, colour::green });
    fill_keys<int *>({ &a, &b });
    fill_keys<std::string>({ "", "a", "a text of more than fifteen characters" });
    fill_keys<std::string_view>({ "", "a", "a text of more than fifteen characters" });
    fill_keys<const char *>({ "a", "b" });
    fill_keys<padded>({ { 'a', 1 }, { 'b', 1 } });
    fill_keys<std::vector<bool>>({ {}, { true }, { true, false } });
    oak::map<double, int> d;
    d[0.0] = 1;
    CHECK(d.contains(-0.0));
    oak::map<point, int> p;
    p[{ 1, 2 }] = 3;
    CHECK(p.contains({ 1, 2 }) && !p.contains({ 2, 1 }));
    oak::set<folded, fold, fold> f;
    CHECK(f.insert({ 'x' }) && !f.insert(folded{ 'X' }) && f.size() == 1);
    std::string text = "by its text";
    oak::map<const char *, int> c;
    c["by its text"] = 1;
    CHECK(c.contains(text.c_str()));
    oak::set<std::unique_ptr<int>> u;
    auto one = std::make_unique<int>(1);
    int *raw = one.get();
    CHECK(u.insert(std::move(one)) && !one && **u.begin() == 1 && u.begin()->get() == raw);
}

/* A map of strings has copies; one of views has what it was given. */
void text()
{
    oak::map<std::string, int> owning;
    oak::map<std::string_view, int> views;
    char buffer[] = "text";
    owning[buffer] = 1;
    CHECK(owning.contains(std::string("text")) && owning.contains(std::string_view("text")));
    views[std::string_view(buffer)] = 1;
    CHECK((*views.begin()).first.data() == buffer);
    buffer[0] = 'n';
    CHECK(owning.contains("text") && !owning.contains(buffer));
    std::string nul("a\0b", 3);
    owning[nul] = 2;
    CHECK(owning.contains(nul) && !owning.contains("a"));
    for (int i = 0; i < 2000; i++) {
        owning["key " + std::to_string(i)] = i;
        if (i % 500 == 0) oak_collect();
    }
    elsewhere([&] {
        int sum = 0;
        for (int i = 0; i < 2000; i++) sum += owning.at("key " + std::to_string(i)) == i;
        CHECK(sum == 2000);
    });
    using heap_string = std::basic_string<char, std::char_traits<char>, oak::allocator<char>>;
    oak::set<heap_string> s;
    CHECK(s.insert(heap_string("x")) && s.contains("x"));
}

/* Trivially copyable, as its moves are trivial. */
struct handle {
    int number;
    explicit handle(int n) : number(n) {}
    handle(const handle &) = delete;
    handle &operator=(const handle &) = delete;
    handle(handle &&) = default;
    handle &operator=(handle &&) = default;
};

void values()
{
    oak::map<int, handle> handles;
    CHECK(handles.try_emplace(1, 5).second && !handles.try_emplace(1, 6).second);
    CHECK(handles.insert_or_assign(2, handle(7)).second);
    CHECK(!handles.insert_or_assign(2, handle(8)).second);
    CHECK(handles.insert(3, handle(9)).second);
    CHECK(handles.at(1).number == 5 && handles.at(2).number == 8 && handles.at(3).number == 9);

    oak::map<int, std::unique_ptr<int>> moved;
    auto value = std::make_unique<int>(7);
    CHECK(moved.try_emplace(1, std::move(value)).second && !value);
    value = std::make_unique<int>(8);
    CHECK(!moved.try_emplace(1, std::move(value)).second && *value == 8); /* not moved from */
    CHECK(!moved.insert_or_assign(1, std::move(value)).second && *moved.at(1) == 8);
    CHECK(!moved[2]);

    oak::map<std::string, std::string> texts;
    for (int i = 0; i < 1000; i++) texts["key" + std::to_string(i)] = std::to_string(i);
    texts.insert("key1000", texts.at("key5")); /* an argument in the map itself */
    CHECK(texts.at("key1000") == "5");
    long same = 0;
    for (auto [k, v] : texts) same += k.substr(3) == v;
    CHECK(same == 1000);

    oak::map<int, large> larges;
    larges[1].words[39] = 5;
    CHECK(larges.at(1).words[39] == 5);
    oak::map<int, point> points;
    points.try_emplace(1, 2, 3);
    CHECK(points.at(1).y == 3);

    counted::alive = 0;
    elsewhere([] {
        oak::map<int, counted> m;
        oak::map<int, int> self;
        for (int i = 0; i < 100; i++) m.try_emplace(i, i);
        for (int i = 0; i < 100; i++) self.try_emplace(i, i ? self.at(i - 1) + 1 : 0);
        CHECK(self.at(99) == 99 && counted::alive == 100);
        m.erase(5);
        CHECK(counted::alive == 99);
        for (auto [k, v] : m)
            if (v.id % 2) m.erase(k); /* in the loop */
        CHECK(counted::alive == 50 && m.size() == 50);
        m.clear();
        CHECK(counted::alive == 0 && m.empty());
        oak::map<double, counted> reals; /* no NaN equals a key that is there */
        for (int i = 0; i < 100; i++)
            reals.try_emplace(i % 2 ? i : std::numeric_limits<double>::quiet_NaN(), i);
        CHECK(counted::alive == 100 && reals.size() == 100);
        reals.clear();
        CHECK(counted::alive == 0 && reals.empty());
        for (int i = 0; i < 100; i++) m.try_emplace(i, i);
    });
    collect();
    collect();
    CHECK(counted::alive == 0); /* the map has gone, and then its values */
}

/* Values in the map keep objects alive; numbers don't. */
void scanning()
{
    static oak::map<int, void *> refers;
    static oak::map<int, std::uintptr_t> number;
    static oak_weak *a, *b;
    elsewhere([] {
        refers = oak::map<int, void *>();
        number = oak::map<int, std::uintptr_t>();
        long *x = oak::make<long[]>(9), *y = oak::make<long[]>(9);
        a = oak_weak_new(x);
        b = oak_weak_new(y);
        refers[1] = x;
        number[1] = reinterpret_cast<std::uintptr_t>(y);
    });
    collect();
    CHECK(alive(a) && !alive(b));
}

void iteration()
{
    oak::set<int> s;
    for (int i = 0; i < 1000; i++) s.insert(i);
    std::set<int> seen;
    for (int k : s) { /* entries come and go; those that stay are given once */
        CHECK(seen.insert(k).second);
        if (k < 1000 && k % 3 == 0) s.erase(k);
        if (k < 1000) s.insert(k + 10000);
    }
    for (int i = 0; i < 1000; i++) CHECK(seen.count(i) == 1 || i % 3 == 0);
    /* copies go on by themselves */
    auto i = s.begin();
    for (int n = 0; n < 100; n++) ++i;
    auto j = i, end = s.end();
    CHECK(*i == *j && i == j && i != end);
    std::vector<int> x, y;
    for (; i != end; i++) x.push_back(*i);
    for (; j != s.end(); ++j) y.push_back(*j);
    CHECK(x == y && x.size() + 100 == s.size());
    numbers m = { { 1, 2 }, { 3, 4 } };
    CHECK(std::count_if(m.begin(), m.end(), [](auto e) { return e.second == e.first + 1; }) == 2);
    CHECK(std::find(s.begin(), s.end(), 10001) != s.end());
#ifdef __cpp_lib_ranges
    CHECK(std::ranges::distance(s) == static_cast<long>(s.size()));
    CHECK(std::ranges::count_if(m, [](auto e) { return e.first == 1; }) == 1);
#if !defined(__clang__) /* Clang 14 can't compile the views of libstdc++ */
    long sum = 0;
    for (auto &v : m | std::views::values) sum += v;
    for (auto k : m | std::views::keys | std::views::filter([](int k) { return k > 1; })) sum += k;
    CHECK(sum == 9);
#endif
#endif
}

/* Keys of one home: an iterator has a list of its own for them, and so has its copy. */
struct one_hash {
    std::size_t operator()(int) const { return 1; }
};

void lists()
{
    oak::set<int, one_hash> s;
    for (int i = 0; i < 200; i++) s.insert(i);
    auto i = s.begin();
    for (int n = 0; n < 5; n++) ++i;
    auto j = i;
    std::set<int> x, y;
    for (; i != s.end(); ++i) {
        CHECK(x.insert(*i).second);
        s.insert(*i + 1000);
    }
    for (++j; j != s.end(); ++j) CHECK(y.insert(*j).second); /* where it was, others may be now */
    long first = std::count_if(y.begin(), y.end(), [](int k) { return k < 200; });
    CHECK(first == 194);
}

template <class M, class P> struct filling {
    M *m;
    P put;
    int key, asked;
    std::size_t limit;

    /* Adds the very key that the map is asked to add. */
    static bool full(oak_zone *z, size_t, void *ctx)
    {
        auto *f = static_cast<filling *>(ctx);
        f->asked++;
        f->limit *= 4;
        oak_zone_set_limit(z, f->limit);
        CHECK(f->put(*f->m, f->key));
        return true;
    }
};

/* put(m, key): is the key added? Each is, once. */
template <class M, class P> void fill_a_zone(P put)
{
    filling<M, P> f = { nullptr, put, 0, 0, 64 << 10 };
    oak_zone_options o = {};
    o.limit = f.limit;
    o.on_full = filling<M, P>::full;
    o.ctx = &f;
    oak_zone *z = oak_zone_new(&o);
    M m = M::nil();
    {
        oak::zone_guard in(z);
        m = M();
    }
    f.m = &m;
    int added = 0, before = counted::alive;
    for (; f.key < 20000; f.key++) {
        const int asked = f.asked;
        if (put(m, f.key)) added++;
        else CHECK(f.asked > asked);
    }
    CHECK(f.asked > 0 && added + f.asked == 20000 && m.size() == 20000);
    CHECK(counted::alive == before || counted::alive == before + 20000);
    for (int k = 0; k < 20000; k++) CHECK(m.contains(typename M::key_type(k)));
    m.clear();
    CHECK(counted::alive == before);
    oak_zone_discard(z);
}

struct by_id {
    std::size_t operator()(const counted &c) const { return static_cast<std::size_t>(c.id); }
    bool operator()(const counted &a, const counted &b) const { return a.id == b.id; }
};

void full()
{
    fill_a_zone<numbers>([](numbers &m, int k) { return m.try_emplace(k, k).second; });
    using values = oak::map<int, counted>;
    fill_a_zone<values>([](values &m, int k) { return m.try_emplace(k, k).second; });
    using keys = oak::set<counted, by_id, by_id>;
    fill_a_zone<keys>([](keys &s, int k) { return s.insert(counted(k)); });
}

struct boxed_int {
    int v;
    explicit boxed_int(int n) : v(n) {}
    boxed_int(const boxed_int &o) : v(o.v) {}
    bool operator==(const boxed_int &o) const { return v == o.v; }
};

/* Finalizers, which a put runs, erase other entries: what is put is there, with its value. Many
 * puts may pass before a collection is due, and it may be the collector's thread's. */
template <class V> void erased_meanwhile()
{
    static oak::map<int, V> m;
    static int erased, during;
    static bool puts;
    const auto finalize = [](void *p, void *) {
        m.erase(*static_cast<int *>(p));
        erased++;
        during += puts;
    };
    static const auto writer = std::this_thread::get_id();
    auto *before = oak_finalizer_notify([] { /* also on the collector's thread */
        if (std::this_thread::get_id() == writer) oak_finalizers_run();
    });
    int i = 0;
    for (; i < 100000 || (during == 0 && i < 2000000); i++) {
        if (i % 50 == 0) {
            int *p = static_cast<int *>(oak_alloc_noscan(sizeof(int)));
            *p = i;
            oak_finalizer_set(p, finalize, nullptr);
        }
        puts = true;
        auto put = m.try_emplace(i, i);
        puts = false;
        CHECK(put.second && V(*put.first) == V(i));
    }
    oak_collect();
    oak_finalizer_notify(before);
    (void)oak_finalizers_run();
    CHECK(erased > 0 && m.size() > std::size_t(i) / 10 * 9);
}

void erased()
{
    erased_meanwhile<long>();
    erased_meanwhile<boxed_int>();
}

/* A value whose constructor adds the key first. */
struct first {
    static oak::map<int, first> *m;
    static bool adds;
    std::string text;
    explicit first(const char *s) : text(s) {}
    first(std::string &&s) : text(std::move(s))
    {
        if (!adds) return;
        adds = false;
        m->try_emplace(7, "of the constructor");
    }
};
oak::map<int, first> *first::m;
bool first::adds;

void assigned_late()
{
    static oak::map<int, first> m;
    std::string s = "a value that is too long for the string's own room";
    const std::string wanted = s;
    first::m = &m;
    first::adds = true;
    auto put = m.insert_or_assign(7, std::move(s));
    CHECK(!put.second && m.size() == 1 && m.at(7).text == wanted && put.first->text == wanted);
}

} // namespace

int main()
{
    begin();
    run(basics, keys, text, values, scanning, iteration, lists, full, erased, assigned_late);
    return end("map");
}
