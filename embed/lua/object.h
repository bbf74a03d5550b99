/* object.h - what state.c has to know of host objects (object.c). */
#ifndef OAKI_LUA_OBJECT_H
#define OAKI_LUA_OBJECT_H

#include "state.h"

/* The state has been closed: finalizers that are still to run find nothing to do. */
void oaki_lua_objects_close(oaki_lua *s);

#endif
