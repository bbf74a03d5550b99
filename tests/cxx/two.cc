// two.cc - a second file of a program that includes the headers.
#include <oakum/oakum.hpp>

oak::map<int, long> from_two();

oak::map<int, long> from_two()
{
    oak::map<int, long> m;
    m[1] = 2;
    return m;
}

#ifdef PLUGIN
#include <oakum/exceptions.hpp> // in a library: too late
#endif
