/* value.h - Lua values in structures of Oakum's.
 *
 * A key is found by what it is: numbers by value (a float that is a whole number is that integer,
 * as in tables), strings by their bytes, other objects by their address. A value is kept as it is
 * if it is no object. Objects and strings are kept for Lua's collector in anchors (anchor.h), or
 * a structure has a copy of a key that is a string. */
#ifndef OAKI_LUA_VALUE_H
#define OAKI_LUA_VALUE_H

#include "lua_base.h"
#include <oakum/map.h>

typedef union oaki_lua_bits {
    lua_Integer i;
    lua_Number n;
    const void *p;
} oaki_lua_bits;

/* Types are Lua's, and this for integers. */
#define OAKI_LUA_TINTEGER 32u

typedef struct oaki_lua_key {
    oaki_lua_bits as;
    uint64_t hash;
    size_t len;      /* of a string */
    uint32_t type;
    uint32_t anchor; /* or 0 */
} oaki_lua_key;

typedef struct oaki_lua_value {
    oaki_lua_bits as;
    uint32_t type;
    uint32_t anchor; /* or 0 */
} oaki_lua_value;

/* Keys as a map's type has them: custom, with the hash that they carry. */
uint64_t oaki_lua_key_hash(const void *key, uint64_t seed, size_t size);
bool oaki_lua_key_equal(const void *a, const void *b, size_t size);

/* The key at idx, for a look-up: a string's bytes are Lua's. false for nil and NaN. */
bool oaki_lua_key_at(lua_State *L, int idx, oaki_lua_key *out);

/* The same for a write: those are errors. */
oaki_lua_key oaki_lua_check_key(lua_State *L, int idx);

/* With a copy of the string, if it is one. Raises an error without memory. */
void oaki_lua_key_keep(lua_State *L, oaki_lua_key *k);

/* Is it an object, by its type? */
bool oaki_lua_is_object(uint32_t type);

/* Does the value at idx, of this type, need an anchor? */
bool oaki_lua_needs_anchor(int type);

/* The value at idx. */
oaki_lua_value oaki_lua_value_at(lua_State *L, int idx);

/* Push what has no anchor. */
void oaki_lua_push_key(lua_State *L, const oaki_lua_key *k);
void oaki_lua_push_value(lua_State *L, const oaki_lua_value *v);

#endif
