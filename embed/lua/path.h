/* path.h - the data that a walk (walk.h) keeps for each object, from which paths are made. */
#ifndef OAKI_LUA_PATH_H
#define OAKI_LUA_PATH_H

#include "walk.h"
#include <stdint.h>

/* The reference through which an object is reached from the previous one. */
typedef enum oaki_lua_edge_kind {
    OAKI_LUA_REGISTRY,
    OAKI_LUA_FIELD,      /* as.text */
    OAKI_LUA_INDEX,      /* as.i */
    OAKI_LUA_NUMBER,     /* as.n */
    OAKI_LUA_OTHER_KEY,  /* type; as.i of a boolean, as.p of others */
    OAKI_LUA_KEY,        /* the object is itself a key */
    OAKI_LUA_METATABLE,
    OAKI_LUA_UPVALUE,    /* number, as.text */
    OAKI_LUA_USER_VALUE, /* number */
    OAKI_LUA_FRAME,      /* the function at level `number` */
    OAKI_LUA_LOCAL,      /* as.text, of the function at level `number` */
    OAKI_LUA_STACK,      /* number, of a coroutine that hasn't started */
    OAKI_LUA_THREAD      /* the running coroutine */
} oaki_lua_edge_kind;

typedef struct oaki_lua_edge {
    uint8_t kind, type;
    int number;
    union {
        const char *text;
        const void *p;
        lua_Integer i;
        lua_Number n;
    } as;
} oaki_lua_edge;

typedef struct oaki_lua_node {
    const void *object;
    unsigned from;
    oaki_lua_edge edge;
} oaki_lua_node;

struct oaki_lua_walk {
    lua_State *L;
    const oaki_lua_visit *visit;
    oaki_lua_node *node;
    unsigned *hash; /* slots with a number + 1, or 0: twice `room`, a power of two */
    size_t n, room;
    int nodes_at, hash_at, values_at; /* stack indexes */
    unsigned current, found;
    unsigned running;   /* number of the running coroutine, or 0 */
    bool at_last;       /* the walk has come to the running coroutine */
    bool has_last;      /* the value that was found is no object: */
    oaki_lua_edge last; /* its reference from the object `found` */
};

#endif
