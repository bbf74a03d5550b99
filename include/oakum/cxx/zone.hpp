/* zone.hpp - oak::zone_guard: a scope in which the calling thread allocates in a zone. */
#ifndef OAKUM_CXX_ZONE_HPP
#define OAKUM_CXX_ZONE_HPP

#include <cerrno>
#include <oakum/cxx/base.hpp>
#include <oakum/zone.h>
#include <system_error>

namespace oak
{

/** Enters a zone, and leaves it at the end of the scope, however that is left. Zone entries that
 * were made in the scope and not left end with it. A guard ends on the stack that made it: it is
 * neither copied nor moved. */
class zone_guard
{
    std::size_t depth_;

  public:
    /** Enters z; NULL is the default zone. Throws std::bad_alloc; or std::system_error with EBUSY
     * while oak_zone_destroy checks the zone. */
    explicit zone_guard(oak_zone *z) : depth_(oak_zone_depth())
    {
        if (oak_zone_enter(z) == 0) return;
        if (errno == ENOMEM) detail::out_of_memory();
#ifdef __cpp_exceptions
        throw std::system_error(errno, std::generic_category(), "oak_zone_enter");
#else
        oak_fatal("oakum: oak::zone_guard: the zone is being destroyed");
#endif
    }
    zone_guard(const zone_guard &) = delete;
    zone_guard &operator=(const zone_guard &) = delete;
    ~zone_guard()
    {
        oak_zone_unwind(depth_);
    }
};

} // namespace oak

#endif
