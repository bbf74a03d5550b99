// load.cc - loads the library that its argument names, runs its test_plugin, and unloads it.
//
// -DTRACK: a C++ program whose own exceptions are roots. -DFIRST: one with the C++ library already
// loaded. With neither it needs no C++ library.
#include <cstdio>
#include <dlfcn.h>
#ifdef TRACK
#include <oakum/exceptions.hpp>
#endif
#if defined TRACK || defined FIRST
#include <stdexcept>

static bool throws()
{
    try {
        throw std::runtime_error("own");
    } catch (const std::exception &) {
        return true;
    }
}
#else
static bool throws()
{
    return true;
}
#endif

int main(int argc, char **argv)
{
    if (argc < 2 || !throws()) return 2;
    void *plugin = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
    if (!plugin) return std::puts(dlerror()), 2;
    auto run = reinterpret_cast<int (*)()>(dlsym(plugin, "test_plugin"));
    int status = run ? run() : 2;
    if (dlclose(plugin) != 0) return 2;
    return throws() ? status : 2;
}
