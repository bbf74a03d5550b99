/* value.c - Lua values as keys and values (value.h).
 *
 * Owns: a seed for the hashes of strings, drawn once. Bound: O(1); for strings O(bytes). */
#include "value.h"
#include "frame.h"
#include <math.h>
#include <oakum/heap.h>
#include <pthread.h>
#include <string.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <unistd.h>

static struct {
    pthread_once_t once;
    uint64_t seed;
} self = { .once = PTHREAD_ONCE_INIT };

/* Draw the seed. Without random numbers, it is made of an address. */
static void draw(void)
{
    if (syscall(SYS_getrandom, &self.seed, sizeof self.seed, GRND_NONBLOCK) !=
        (long)sizeof self.seed)
        self.seed = (uint64_t)(uintptr_t)&self ^ (uint64_t)(uintptr_t)__builtin_frame_address(0);
}

static uint64_t mix(uint64_t x)
{
    x = (x ^ x >> 32) * 0xd6e8feb86659fd93u;
    return x ^ x >> 32;
}

uint64_t oaki_lua_key_hash(const void *key, uint64_t seed, size_t size)
{
    (void)seed, (void)size;
    return ((const oaki_lua_key *)key)->hash;
}

bool oaki_lua_key_equal(const void *a, const void *b, size_t size)
{
    const oaki_lua_key *x = a, *y = b;
    (void)size;
    if (x->hash != y->hash || x->type != y->type) return false;
    if (x->type != LUA_TSTRING) return x->as.i == y->as.i;
    return x->len == y->len && (x->as.p == y->as.p || memcmp(x->as.p, y->as.p, x->len) == 0);
}

bool oaki_lua_is_object(uint32_t type)
{
    return type == LUA_TTABLE || type == LUA_TFUNCTION || type == LUA_TUSERDATA ||
           type == LUA_TTHREAD;
}

bool oaki_lua_needs_anchor(int type)
{
    return type == LUA_TSTRING || oaki_lua_is_object((uint32_t)type);
}

static void number_key(lua_State *L, int idx, oaki_lua_key *k)
{
    lua_Integer i;
    k->as.n = lua_tonumber(L, idx);
    if (lua_isinteger(L, idx)) i = lua_tointeger(L, idx);
    else if (!lua_numbertointeger(k->as.n, &i) || (lua_Number)i != k->as.n) return;
    k->as.i = i;
    k->type = OAKI_LUA_TINTEGER;
}

bool oaki_lua_key_at(lua_State *L, int idx, oaki_lua_key *k)
{
    *k = (oaki_lua_key){ .type = (uint32_t)lua_type(L, idx) };
    switch (k->type) {
    case LUA_TNIL: return false;
    case LUA_TBOOLEAN: k->as.i = lua_toboolean(L, idx); break;
    case LUA_TNUMBER: number_key(L, idx, k); break;
    case LUA_TSTRING:
        (void)pthread_once(&self.once, draw);
        k->as.p = lua_tolstring(L, idx, &k->len);
        k->hash = oak_hash_bytes(k->as.p, k->len, self.seed);
        return true;
    default: k->as.p = lua_topointer(L, idx);
    }
    if (k->type == LUA_TNUMBER && isnan(k->as.n)) return false;
    k->hash = mix((uint64_t)k->as.i ^ (uint64_t)k->type << 56);
    return true;
}

oaki_lua_key oaki_lua_check_key(lua_State *L, int idx)
{
    oaki_lua_key k;
    if (!oaki_lua_key_at(L, idx, &k))
        luaL_error(L, "oakum: a key may not be %s", k.type == LUA_TNIL ? "nil" : "NaN");
    return k;
}

void oaki_lua_key_keep(lua_State *L, oaki_lua_key *k)
{
    if (k->type != LUA_TSTRING) return;
    void *copy = OAKI_LUA_ALLOC(L, oak_alloc_noscan(k->len + 1));
    if (!copy) oaki_lua_no_memory(L);
    memcpy(copy, k->as.p, k->len);
    k->as.p = copy;
}

oaki_lua_value oaki_lua_value_at(lua_State *L, int idx)
{
    oaki_lua_value v = { .type = (uint32_t)lua_type(L, idx) };
    if (lua_isinteger(L, idx)) {
        v.type = OAKI_LUA_TINTEGER;
        v.as.i = lua_tointeger(L, idx);
    } else if (v.type == LUA_TNUMBER) {
        v.as.n = lua_tonumber(L, idx);
    } else if (v.type == LUA_TBOOLEAN) {
        v.as.i = lua_toboolean(L, idx);
    } else if (v.type == LUA_TLIGHTUSERDATA) {
        v.as.p = lua_touserdata(L, idx);
    } /* a C function without upvalues is an object, too */
    return v;
}

static void push(lua_State *L, uint32_t type, const oaki_lua_bits *as, size_t len)
{
    switch (type) {
    case OAKI_LUA_TINTEGER: lua_pushinteger(L, as->i); break;
    case LUA_TNUMBER: lua_pushnumber(L, as->n); break;
    case LUA_TBOOLEAN: lua_pushboolean(L, as->i != 0); break;
    case LUA_TLIGHTUSERDATA: lua_pushlightuserdata(L, (void *)as->p); break;
    case LUA_TSTRING: lua_pushlstring(L, as->p, len); break;
    default: lua_pushnil(L);
    }
}

void oaki_lua_push_key(lua_State *L, const oaki_lua_key *k)
{
    push(L, k->type, &k->as, k->len);
}

void oaki_lua_push_value(lua_State *L, const oaki_lua_value *v)
{
    push(L, v->type, &v->as, 0);
}
