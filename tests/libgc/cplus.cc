/* cplus.cc - a C++ program on libgc's headers and its library for C++, which replaces operator new:
 * objects, their finalizers, containers, and what new throws. */
#include <cstdio>
#include <map>
#include <new>
#include <string>
#include <vector>

#define GC_THREADS
#define GC_NO_THREAD_REDIRECTS
#include <gc/gc_allocator.h>
#include <gc/gc_cpp.h>

static long destroyed;

struct part : public gc_cleanup {
    part *other;
    long number;
    explicit part(long n, part *o) : other(o), number(n) {}
    ~part() { destroyed += number == 7; }
};

struct node : public gc {
    node *next;
    explicit node(node *n) : next(n) {}
};

__attribute__((noinline)) static void make_parts()
{
    for (int i = 0; i < 200; i++) (void)new part(7, nullptr);
}

__attribute__((noinline)) static long chain()
{
    node *head = nullptr;
    long n = 0;
    for (int i = 0; i < 50000; i++) head = new node(head);
    GC_gcollect();
    for (; head; head = head->next) n++;
    return n;
}

int main()
{
    GC_INIT();
    std::printf("chain: %ld\n", chain());
    make_parts();
    for (int i = 0; i < 3; i++) {
        (void)chain();
        (void)GC_invoke_finalizers();
    }
    std::printf("destructors: %s\n", destroyed >= 180 ? "all" : "some");
    std::map<int, std::string> plain; /* by operator new, which is the library's */
    for (int i = 0; i < 5000; i++) plain[i] = std::string(40, static_cast<char>('a' + i % 26));
    GC_gcollect();
    long good = 0;
    for (const auto &p : plain) good += p.second == std::string(40, 'a' + p.first % 26);
    std::printf("map: %ld\n", good);
    std::vector<node *, gc_allocator<node *> > held;
    for (int i = 0; i < 5000; i++) held.push_back(new node(i ? held[0] : nullptr));
    GC_gcollect();
    good = 0;
    for (std::size_t i = 1; i < held.size(); i++) good += held[i]->next == held[0];
    std::vector<int, traceable_allocator<int> > traced(1000, 3);
    std::printf("vector: %ld %d\n", good, traced[999]);
    char *raw = new (NoGC) char[100], *in_heap = new (GC) char[100];
    std::printf("places: %d %d\n", GC_base(in_heap) != nullptr, raw != nullptr);
    GC_FREE(raw);
    std::size_t huge = static_cast<std::size_t>(-1) / 2;
    __asm__("" : "+r"(huge));
    GC_set_warn_proc(GC_ignore_warn_proc);
    try {
        std::printf("huge: %p\n", static_cast<void *>(new (GC) char[huge]));
    } catch (const std::bad_alloc &) {
        std::printf("huge: bad_alloc\n");
    }
}
