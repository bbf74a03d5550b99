/* oakum.hpp - Oakum for C++17 and later: all of oakum.h, and what C++ adds to it.
 *
 * allocator.hpp: containers in the heap. make.hpp: objects whose destructors are finalizers.
 * weak.hpp: references that don't keep their object alive. root.hpp: references that do, from
 * anywhere. zone.hpp: a zone for a scope. map.hpp: maps and sets as ranges. throw.hpp: exceptions
 * that refer to objects.
 *
 * After a plain throw, an object that only the exception in flight refers to may be collected: no
 * root shows the memory of exceptions. Use oak::throw_ in its place, or an oak::root as a member of
 * the exception. Or include <oakum/exceptions.hpp>, which is not part of this header, in one file
 * of the program, for every exception.
 *
 * Header-only: a program links liboakum as one in C does. docs/cxx.md has examples. */
#ifndef OAKUM_OAKUM_HPP
#define OAKUM_OAKUM_HPP

#include <oakum/cxx/allocator.hpp>
#include <oakum/cxx/base.hpp>
#include <oakum/cxx/make.hpp>
#include <oakum/cxx/map.hpp>
#include <oakum/cxx/root.hpp>
#include <oakum/cxx/throw.hpp>
#include <oakum/cxx/weak.hpp>
#include <oakum/cxx/zone.hpp>
#include <oakum/oakum.h>

#endif
