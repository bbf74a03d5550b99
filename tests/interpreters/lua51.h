/* lua51.h - Lua 5.1, and LuaJIT, by their allocator hook: the main program opens a state whose
 * blocks are Oakum's, in a zone of their own. Lua's collector goes on to free them; the zone gives
 * the state a limit, a line in reports, and an end as a whole. */
#include "heap.h"

struct lua_State *lua51_newstate(void);
#define luaL_newstate() lua51_newstate()
