/* nozone.c - the module's answer to which zone a state has: none, as the states of the stock
 * interpreter are its own. In liboakum-lua state.c answers. */
#include "frame.h"

oak_zone *oaki_lua_zone_of(lua_State *L)
{
    (void)L;
    return NULL;
}
