// exceptions.cc - objects that only an exception refers to live as long as the exception.
//
// -DTRACK: by <oakum/exceptions.hpp>; -DTHROW: by oak::throw_; -DROOT: by an oak::root in it.
// With none of them they die, and so the test fails. -DPLUGIN: in a library that load.c loads.
#include "cxx.h"
#ifdef PLUGIN
#define OAK_EXCEPTIONS_OF_LIBRARY
#endif
#ifdef TRACK
#include <oakum/exceptions.hpp>
#endif
#include <atomic>
#include <future>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace
{

struct node {
    long magic = 4711;
    long pad[5] = {};
};

#ifdef ROOT
using reference = oak::root<node>;
#else
using reference = node *;
#endif

struct failure : std::runtime_error {
    reference object;
    explicit failure(node *n) : std::runtime_error("failure"), object(n) {}
};

/* Constructed in the exception, which is the only one that refers to it by then. */
struct slow {
    reference object;
    explicit slow(oak_weak **w)
    {
        elsewhere([&] {
            node *n = oak::make<node>();
            *w = oak_weak_new(n);
            object = reference(n);
        });
        collect();
    }
};

template <class E, class... A> [[noreturn]] void raise(A... args)
{
#ifdef THROW
    oak::throw_new<E>(args...);
#else
    throw E(args...);
#endif
}

template <class E> std::exception_ptr pointer_to(E e)
{
#ifdef THROW
    return oak::make_exception_ptr(std::move(e));
#else
    return std::make_exception_ptr(std::move(e));
#endif
}

/* Throws a failure whose object nothing else refers to. */
__attribute__((noinline)) void fail(oak_weak **w)
{
    std::exception_ptr e;
    elsewhere([&] {
        try {
            node *n = oak::make<node>();
            *w = oak_weak_new(n);
            raise<failure>(n);
        } catch (...) {
            e = std::current_exception();
        }
    });
    std::rethrow_exception(e);
}

struct collects {
    ~collects() { collect(); }
};

void in_flight()
{
    oak_weak *w;
    try {
        collects before, again;
        fail(&w);
    } catch (const failure &f) {
        CHECK(alive(w) && f.object->magic == 4711);
    }
    try {
        collects here;
        raise<slow>(&w);
    } catch (const slow &s) {
        collect();
        CHECK(alive(w) && s.object->magic == 4711);
    }
}

void rethrown()
{
    oak_weak *w;
    try {
        try {
            try {
                fail(&w);
            } catch (failure &) {
                collect();
                CHECK(alive(w));
                throw;
            }
        } catch (const std::exception &) {
            try { /* another one meanwhile */
                oak_weak *x;
                fail(&x);
            } catch (...) {
                collect();
            }
            collects here;
            throw;
        }
    } catch (const failure &f) {
        collect();
        CHECK(alive(w) && f.object->magic == 4711);
    }
}

void nested()
{
    oak_weak *w;
    try {
        try {
            fail(&w);
        } catch (...) {
            collect();
            std::throw_with_nested(std::logic_error("outer"));
        }
    } catch (const std::logic_error &outer) {
        collect();
        try {
            std::rethrow_if_nested(outer);
            CHECK(false);
        } catch (const failure &f) {
            collect();
            CHECK(alive(w) && f.object->magic == 4711);
        }
    }
}

/* In the host's memory; rethrown in another thread; gone with the last pointer. */
void pointers()
{
    static crowd objects;
    auto held = std::make_unique<std::vector<std::exception_ptr>>();
    elsewhere([&] {
        for (int i = 0; i < crowd::N; i++) {
            std::exception_ptr e;
            if (i % 2)
                e = pointer_to(failure(objects.add(i, oak::make<node>())));
            else
                try {
                    raise<failure>(objects.add(i, oak::make<node>()));
                } catch (...) {
                    e = std::current_exception();
                }
            held->push_back(e);
        }
    });
    collect();
    CHECK(objects.all_alive());
    if (failures) return;
    elsewhere([&] {
        int good = 0;
        for (std::exception_ptr &e : *held) try {
                std::rethrow_exception(e);
            } catch (failure &f) {
                good += f.object->magic == 4711;
            }
        CHECK(good == crowd::N);
    });
    collect();
    CHECK(objects.all_alive());
    elsewhere([&] { held.reset(); });
    collect();
    CHECK(objects.most_dead());
}

/* The exception's memory is a root while it exists, and not after that. */
void released()
{
    const void *at = nullptr;
    try {
        raise<failure>(oak::make<node>());
    } catch (const failure &f) {
        at = &f;
#ifndef ROOT
        CHECK(oak_root_remove(const_cast<void *>(at), sizeof f) == 0);
        CHECK(oak_root_add(const_cast<void *>(at), sizeof f) == 0);
#endif
    }
    CHECK(oak_root_remove(const_cast<void *>(at), sizeof(failure)) == -1);
}

void futures()
{
    oak_weak *w = nullptr;
    std::promise<int> promise;
    std::future<int> future = promise.get_future();
    elsewhere([&] {
        try {
            fail(&w);
        } catch (...) {
            promise.set_exception(std::current_exception());
        }
    });
    collect();
    try {
        future.get();
        CHECK(false);
    } catch (const failure &f) {
        CHECK(alive(w) && f.object->magic == 4711);
    }
}

#ifndef ROOT
/* A thrown pointer; and what is thrown out of a blocking region. */
void others()
{
    static oak_weak *w;
    std::exception_ptr e;
    elsewhere([&] {
        try {
            node *n = oak::make<node>();
            w = oak_weak_new(n);
            raise<node *>(n);
        } catch (...) {
            e = std::current_exception();
        }
    });
    collect();
    try {
        std::rethrow_exception(e);
    } catch (node *n) {
        CHECK(alive(w) && n->magic == 4711);
    }
    static node *object;
    auto region = [](void *) -> void * { raise<failure>(object); };
    elsewhere([&] {
        object = oak::make<node>();
        w = oak_weak_new(object);
        try {
            oak_blocking_call(region, nullptr);
        } catch (...) {
            object = nullptr;
            e = std::current_exception();
        }
    });
    collect();
    CHECK(alive(w));
#ifdef THROW
    struct refuses {
        refuses() { throw 5; }
    };
    CHECK_THROWS(int, oak::throw_new<refuses>());
    CHECK_THROWS(std::string, oak::throw_(std::string("moved")));
    const failure f(nullptr);
    CHECK_THROWS(failure, oak::throw_(f));
#endif
}
#else
void others() {}
#endif

void threads()
{
    std::atomic<int> bad{ 0 }, left{ 3 };
    std::vector<std::thread> some;
    for (int t = 0; t < 3; t++)
        some.emplace_back([&] {
            std::exception_ptr last;
            for (int i = 0; i < 500; i++) try {
                    if (last && i % 3) std::rethrow_exception(last);
                    raise<failure>(oak::make<node>());
                } catch (const failure &f) {
                    bad += f.object->magic != 4711;
                    last = std::current_exception();
                }
            left--;
        });
    while (left > 0) oak_collect();
    for (auto &t : some) t.join();
    CHECK(bad == 0);
}

} // namespace

#ifdef PLUGIN
extern "C" int test_plugin();
#define main test_plugin
#endif

int main()
{
    begin();
    run(pointers);
    if (failures == 0) run(in_flight, rethrown, nested, released, futures, others, threads);
    return end("exceptions");
}
