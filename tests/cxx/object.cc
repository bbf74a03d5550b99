// object.cc - oak::make, oak::destroy, oak::weak, oak::root, oak::zone_guard.
#include "cxx.h"
#include <atomic>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace
{

std::vector<int> *gone; /* the ids of destroyed objects, in their order */

struct noisy {
    int id;
    noisy *other = nullptr;
    explicit noisy(int n, noisy *o = nullptr) : id(n), other(o) {}
    noisy(const noisy &) = delete;
    ~noisy() { gone->push_back(id); }
};

struct base {
    virtual ~base() = default;
    long pad[3] = {};
};
struct side {
    virtual int number() const { return 5; }
    virtual ~side() = default;
    base *back = nullptr;
};
struct derived : base, side {
    std::string text = "a text that points to itself where it is short";
    std::string small = "s";
    int number() const override { return 6; }
    ~derived() override { gone->push_back(100); }
};

struct aggregate {
    int a, b;
    std::string s;
};

struct thrower {
    static inline int budget = 0, alive = 0;
    std::string s = "more than fifteen characters";
    thrower()
    {
        if (budget-- <= 0) throw std::runtime_error("constructor");
        alive++;
    }
    ~thrower() { alive--; }
};

struct alignas(128) wide {
    char c[128];
};

std::vector<int> collected()
{
    collect();
    std::vector<int> ids;
    ids.swap(*gone);
    return ids;
}

void destructors()
{
    using ids = std::vector<int>;
    elsewhere([] { (void)oak::make<noisy>(1); });
    CHECK(collected() == ids({ 1 }));
    elsewhere([] { (void)oak::make<noisy, oak::destructor::none>(2); });
    CHECK(collected() == ids());
    /* what refers goes first */
    elsewhere([] { (void)oak::make<noisy>(2, oak::make<noisy>(1)); });
    collect();
    collect();
    CHECK(collected() == ids({ 2, 1 }));
    elsewhere([] { (void)oak::make<derived>(); }); /* refers to itself */
    CHECK(collected() == ids({ 100 }));
    /* a cycle is kept, and counted; without an order it isn't */
    elsewhere([] {
        noisy *a = oak::make<noisy>(1);
        a->other = oak::make<noisy>(2, a);
    });
    CHECK(collected() == ids());
    oak_memstats s;
    oak_memstats_read(&s);
    CHECK(s.finalizer_cycles == 2);
    elsewhere([] {
        noisy *a = oak::make<noisy, oak::destructor::unordered>(3);
        a->other = oak::make<noisy, oak::destructor::unordered>(4, a);
    });
    CHECK(collected().size() == 2);
    elsewhere([] {
        noisy *a = oak::make<noisy>(5);
        CHECK(a->id == 5 && !a->other);
        oak::destroy(a);
        side *d = oak::make<derived>();
        CHECK(d->number() == 6);
        oak::destroy(d); /* by its base that lies inside */
        oak::destroy(static_cast<int *>(nullptr));
    });
    CHECK(collected() == ids({ 5, 100 }));
}

void arrays()
{
    int *zeros = oak::make<int[]>(1000);
    int *noscan = oak::make_noscan<int[]>(1000);
    int sum = 0;
    for (int i = 0; i < 1000; i++) sum += zeros[i] + noscan[i];
    CHECK(sum == 0);
    elsewhere([] {
        thrower::budget = 10;
        (void)oak::make<thrower[]>(10);
        CHECK(oak::make<thrower[]>(0) != nullptr);
    });
    CHECK(thrower::alive == 10);
    collect();
    CHECK(thrower::alive == 0);
    elsewhere([] {
        thrower::budget = 10;
        oak::destroy(oak::make<thrower[]>(10) + 3);
    });
    CHECK(thrower::alive == 0);
    CHECK_THROWS(std::bad_array_new_length, (void)oak::make<long[]>(SIZE_MAX / 8 + 1));
    auto members = oak::make<int aggregate::*[]>(3); /* whose zero is no byte of zeros */
    CHECK(members[2] == nullptr);
}

/* The memory of what was not constructed is freed at once. */
void constructors()
{
    oak_memstats before, after;
    elsewhere([&] {
        oak_memstats_read(&before);
        thrower::budget = 0;
        CHECK_THROWS(std::runtime_error, (void)oak::make<thrower>());
        thrower::budget = 7;
        CHECK_THROWS(std::runtime_error, (void)oak::make<thrower[]>(10));
        oak_memstats_read(&after);
    });
    CHECK(thrower::alive == 0);
    CHECK(after.heap_objects == before.heap_objects && after.finalizers == before.finalizers);
    aggregate *a = oak::make<aggregate>(1, 2, "three");
    CHECK(a->a == 1 && a->b == 2 && a->s == "three");
    const std::string *s = oak::make<const std::string>("text");
    CHECK(*s == "text");
    CHECK(reinterpret_cast<std::uintptr_t>(oak::make<wide>()) % 128 == 0);
    auto owner = oak::make<std::unique_ptr<int>>(std::make_unique<int>(8));
    CHECK(**owner == 8);
}

void scanned()
{
    oak::root<void *> scan, noscan;
    oak_weak *a = nullptr, *b = nullptr;
    elsewhere([&] {
        base *x = oak::make<base>(), *y = oak::make<base>(); /* no handle lies next to them */
        a = oak_weak_new(x);
        b = oak_weak_new(y);
        scan = oak::root<void *>(oak::make<void *>(x));
        noscan = oak::root<void *>(oak::make_noscan<void *>(y));
    });
    collect();
    CHECK(alive(a) && !alive(b));
}

oak::weak<derived> global_weak;

void weak()
{
    static_assert(sizeof(oak::weak<int>) == sizeof(void *));
    static_assert(std::is_trivially_copyable<oak::weak<int>>::value);
    static_assert(std::is_constructible<oak::weak<const side>, oak::weak<derived>>::value);
    static_assert(!std::is_constructible<oak::weak<derived>, oak::weak<side>>::value);
    oak::weak<side> none, null(nullptr);
    CHECK(none.expired() && null.lock() == nullptr && oak::weak<int>(nullptr).handle() == nullptr);
    static oak::weak<const side> inside;
    static oak::root<derived> keep;
    elsewhere([&] {
        keep.reset(oak::make<derived>());
        global_weak = keep.get();
        inside = global_weak;
        oak::weak<derived> copy = global_weak, other;
        swap(copy, other);
        CHECK(copy.expired() && other.lock() == keep.get());
        other.reset();
        CHECK(other.expired() && !global_weak.expired());
    });
    collect();
    elsewhere([&] { CHECK(global_weak.lock() == keep.get() && inside.lock()->number() == 6); });
    elsewhere([] { keep.reset(); });
    collect();
    CHECK(global_weak.expired() && inside.expired());
    CHECK(gone->size() == 1);
    gone->clear();
    none = global_weak; /* from a dead one */
    CHECK(none.expired());
}

/* What lock() gives stays, whatever the collector does meanwhile. */
void weak_threads()
{
    struct cell {
        long magic = 4711;
        ~cell() { magic = 0; }
    };
    static std::atomic<bool> stop{ false };
    static std::atomic<long> seen{ 0 }, bad{ 0 };
    static oak::weak<cell> shared[64];
    static std::atomic<cell *> strong[64];
    for (int i = 0; i < 64; i++) {
        strong[i] = oak::make<cell>();
        shared[i] = oak::weak<cell>(strong[i].load());
    }
    std::thread readers[2];
    for (auto &t : readers)
        t = std::thread([] {
            for (unsigned i = 0; !stop; i++)
                if (cell *c = shared[i % 64].lock()) {
                    seen++;
                    if (c->magic != 4711) bad++;
                }
        });
    for (int i = 0; i < 64; i++) {
        while (seen < i * 10) std::this_thread::yield();
        strong[i] = nullptr;
        if (i % 8 == 7) {
            oak_collect();
            oak_finalizers_run();
        }
        if (i == 60) break; /* the readers always see some */
    }
    stop = true;
    for (auto &t : readers) t.join();
    CHECK(bad == 0 && seen > 0);
    for (auto &s : strong) s = nullptr;
}

void roots()
{
    static_assert(std::is_nothrow_copy_constructible<oak::root<int>>::value);
    static_assert(std::is_nothrow_move_assignable<oak::root<int>>::value);
    static_assert(!std::is_constructible<oak::root<derived>, oak::root<base>>::value);
    auto host = std::make_unique<std::vector<oak::root<const side>>>();
    static crowd objects;
    elsewhere([&] {
        for (int i = 0; i < crowd::N; i++) {
            oak::root<derived> d(objects.add(i, oak::make<derived>()));
            host->push_back(d);
            host->emplace_back(std::move(d));
            CHECK(!d && d == nullptr);
        }
        host->push_back(host->front());
        host->front() = host->back();
        CHECK((*host)[0] == (*host)[1] && (*host)[0]->number() == 6);
    });
    collect();
    CHECK(objects.all_alive());
    elsewhere([&] {
        host->resize(1);
        host->front() = oak::root<const side>();
        CHECK(!host->front() && host->front().get() == nullptr);
    });
    collect();
    CHECK(objects.most_dead());
    gone->clear();
    oak_memstats before, after;
    oak_memstats_read(&before);
    elsewhere([] {
        std::vector<oak::root<int>> many;
        int *p = oak::make<int>(1);
        for (int i = 0; i < 1000; i++) many.emplace_back(p);
        std::vector<std::thread> threads;
        for (int i = 0; i < 4; i++)
            threads.emplace_back([&] {
                for (auto copy : many) CHECK(*copy == 1);
            });
        for (auto &t : threads) t.join();
    });
    collect();
    oak_memstats_read(&after);
    CHECK(after.heap_objects < before.heap_objects + 100); /* the cells are freed */
}

void zones()
{
    oak_zone_options options = {};
    options.name = "test";
    oak_zone *z = oak_zone_new(&options), *y = oak_zone_new(nullptr);
    CHECK(oak_zone_current() == nullptr);
    {
        oak::zone_guard in(z);
        CHECK(oak_zone_of(oak::make<int>(1)) == z);
        {
            oak::zone_guard none(nullptr);
            CHECK(oak_zone_of(oak::make<int>(1)) == nullptr);
        }
        CHECK(oak_zone_current() == z);
        try {
            oak::zone_guard other(y);
            CHECK(oak_zone_enter(z) == 0); /* and not left */
            throw 1;
        } catch (int) {
        }
        CHECK(oak_zone_current() == z && oak_zone_depth() == 1);
        std::vector<long, oak::allocator<long>> v(100);
        CHECK(oak_zone_of(v.data()) == z);
    }
    CHECK(oak_zone_current() == nullptr && oak_zone_depth() == 0);
    static_assert(!std::is_copy_constructible<oak::zone_guard>::value &&
                  !std::is_move_constructible<oak::zone_guard>::value);
    CHECK(oak_zone_discard(z) == 0 && oak_zone_discard(y) == 0);
}

} // namespace

int main()
{
    begin();
    gone = new std::vector<int>;
    run(destructors, arrays, constructors, scanned, weak, weak_threads, roots, zones);
    return end("object");
}
