/* cxx.h - what the tests of the C++ headers share: checks, and places that keep nothing alive. */
#ifndef TESTS_CXX_H
#define TESTS_CXX_H

#include <cstdio>
#include <cstdlib>
#include <oakum/oakum.hpp>
#include <thread>

inline int failures = 0;

#define CHECK(x)                                                \
    do {                                                        \
        if (!(x)) {                                             \
            std::printf("%s:%d: %s\n", __FILE__, __LINE__, #x); \
            failures++;                                         \
        }                                                       \
    } while (0)

/* fn throws an exception of type E. */
#define CHECK_THROWS(E, ...)     \
    do {                         \
        bool caught_it_ = false; \
        try {                    \
            __VA_ARGS__;         \
        } catch (const E &) {    \
            caught_it_ = true;   \
        }                        \
        CHECK(caught_it_);       \
    } while (0)

/* f's frames lie far below the caller's. */
template <class F> __attribute__((noinline)) void below(F &f)
{
    char gap[32768];
    __asm__ __volatile__("" : : "r"(gap) : "memory");
    f();
    __asm__ __volatile__("" : : "r"(gap) : "memory");
}

/* Runs f where nothing of it stays: on the stack of a thread that ends, and at a depth that no
 * collection here looks at. */
template <class F> void elsewhere(F f)
{
    std::thread([&f] {
        oak_thread_attach();
        below(f);
        oak_thread_detach();
    }).join();
}

/* Runs tests, each on a stack of its own. */
template <class... F> void run(F... tests)
{
    const auto attached = [](auto test) {
        oak_thread_attach();
        test();
    };
    (std::thread(attached, tests).join(), ...);
}

/* Two collections, and the finalizers that are ready. */
inline void collect()
{
    std::thread([] {
        for (int i = 0; i < 2; i++) {
            oak_collect();
            oak_finalizers_run();
        }
    }).join();
}

/* Leaves no reference to the object. */
inline bool alive(oak_weak *w)
{
    bool is = false;
    elsewhere([&] { is = oak_weak_get(w) != nullptr; });
    return is;
}

/* Objects that a stray word on a stack may keep alive: one or two, but not most of them. */
struct crowd {
    static constexpr int N = 50;
    oak_weak *w[N];

    template <class T> T *add(int i, T *p)
    {
        w[i] = oak_weak_new(p);
        return p;
    }
    bool all_alive() const
    {
        int n = 0;
        for (oak_weak *one : w) n += alive(one);
        return n == N;
    }
    bool most_dead() const
    {
        int n = 0;
        for (oak_weak *one : w) n += !alive(one);
        return n > N / 2;
    }
};

/* Finalizers run in collect() alone. */
inline void begin()
{
    oak_config c;
    oak_config_default(&c);
    c.finalizer_thread = 0;
    if (oak_init(&c) != 0) std::abort();
}

inline int end(const char *what)
{
    if (failures == 0) std::printf("%s: fine\n", what);
    return failures != 0;
}

#endif
