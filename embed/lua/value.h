/* value.h - Lua values in structures of Oakum's.
 *
 * Keys are compared as in Lua's tables: numbers by value, where a whole float equals the integer;
 * strings by their bytes; other objects by their address. A value that is no object is stored
 * directly. Objects and strings are kept alive by anchors (anchor.h). Some structures store a copy
 * of a key that is a string instead. */
#ifndef OAKI_LUA_VALUE_H
#define OAKI_LUA_VALUE_H

#include "lua_base.h"
#include <oakum/map.h>

typedef union oaki_lua_bits {
    lua_Integer i;
    lua_Number n;
    const void *p;
} oaki_lua_bits;

/* The types are Lua's, and this one for integers. */
#define OAKI_LUA_TINTEGER 32u

typedef struct oaki_lua_key {
    oaki_lua_bits as;
    uint64_t hash;
    size_t len;      /* bytes of a string */
    uint32_t type;
    uint32_t anchor; /* or 0 */
} oaki_lua_key;

typedef struct oaki_lua_value {
    oaki_lua_bits as;
    uint32_t type;
    uint32_t anchor; /* or 0 */
} oaki_lua_value;

/* The hash and comparison functions of the key type for oak_map. A key contains its hash. */
uint64_t oaki_lua_key_hash(const void *key, uint64_t seed, size_t size);
bool oaki_lua_key_equal(const void *a, const void *b, size_t size);

/* Get the key at idx for a look-up; a string's bytes stay Lua's. Returns false for nil and NaN. */
bool oaki_lua_key_at(lua_State *L, int idx, oaki_lua_key *out);

/* Get the key at idx for a write; raises an error for nil and NaN. */
oaki_lua_key oaki_lua_check_key(lua_State *L, int idx);

/* Replace the bytes of a string key by a copy. Raises an error without memory. */
void oaki_lua_key_keep(lua_State *L, oaki_lua_key *k);

/* Whether values of a type are objects. */
bool oaki_lua_is_object(uint32_t type);

/* Whether values of a type need an anchor. */
bool oaki_lua_needs_anchor(int type);

/* The value at idx. */
oaki_lua_value oaki_lua_value_at(lua_State *L, int idx);

/* Push a key, or a value, that has no anchor. */
void oaki_lua_push_key(lua_State *L, const oaki_lua_key *k);
void oaki_lua_push_value(lua_State *L, const oaki_lua_value *v);

#endif
