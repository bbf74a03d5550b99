/* object.h - host objects (object.c), for state.c. */
#ifndef OAKI_LUA_OBJECT_H
#define OAKI_LUA_OBJECT_H

#include "state.h"

/* Called when a state is closed: later finalizers of its host objects do nothing. */
void oaki_lua_objects_close(oaki_lua *s);

#endif
