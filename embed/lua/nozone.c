/* nozone.c - the zone of a state, in the module: there is none, as the stock interpreter makes its
 * states itself. liboakum-lua has state.c instead. */
#include "frame.h"

oak_zone *oaki_lua_zone_of(lua_State *L)
{
    (void)L;
    return NULL;
}
