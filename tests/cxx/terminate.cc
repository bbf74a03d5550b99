// terminate.cc - a destructor that throws as a finalizer, or a hash that throws in a map, ends the
// program by std::terminate, with the exception at hand. No exception passes through C.
//
// usage: terminate thread | run | hash
#include "cxx.h"
#include <cstring>
#include <exception>
#include <stdexcept>
#include <unistd.h>

namespace
{

struct throws {
    ~throws() noexcept(false) { throw std::runtime_error("from a finalizer"); }
};

struct bad_hash {
    std::size_t operator()(int) const { throw std::runtime_error("from a hash"); }
};

void told()
{
    try {
        std::rethrow_exception(std::current_exception());
    } catch (const std::exception &e) {
        std::printf("terminated: %s\n", e.what());
        std::fflush(stdout);
    }
    _exit(42);
}

} // namespace

int main(int argc, char **argv)
{
    if (argc < 2) return 2;
    if (argc < 3) std::set_terminate(told);
    if (!std::strcmp(argv[1], "run")) begin();
    if (!std::strcmp(argv[1], "hash")) oak::set<int, bad_hash>().insert(1);
    try {
        elsewhere([] {
            for (int i = 0; i < 10; i++) (void)oak::make<throws>();
        });
        oak_collect();
        oak_finalizers_run();
        sleep(60); /* for the finalizer thread */
    } catch (const std::exception &) {
        std::puts("the exception passed through the collector");
    }
    return 0;
}
