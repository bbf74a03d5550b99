/* anchor.c - anchors of Lua values (anchor.h).
 *
 * The owner's first user value is a table of branches. A branch is a table of 256 chunks, and a
 * chunk is a table of 256 slots.
 *
 * Owns: nothing beyond the owner's. Invariant: a chunk is in the list of open chunks iff it has a
 * free slot. Bound: see anchor.h. */
#include "anchor.h"
#include "frame.h"
#include <oakum/heap.h>
#include <string.h>

#define NONE OAKI_LUA_CHUNK /* no slot */

static uint32_t chunk_of(uint32_t anchor)
{
    return (anchor - 1) / OAKI_LUA_CHUNK;
}

static uint32_t slot_of(uint32_t anchor)
{
    return (anchor - 1) % OAKI_LUA_CHUNK;
}

/* ---- the list of open chunks ---- */

static void link_first(oaki_lua_anchors *a, oaki_lua_chunk *c)
{
    c->prev = NULL;
    c->next = a->open;
    if (a->open) a->open->prev = c;
    a->open = c;
}

static void unlink_chunk(oaki_lua_anchors *a, oaki_lua_chunk *c)
{
    if (c->prev) c->prev->next = c->next;
    else a->open = c->next;
    if (c->next) c->next->prev = c->prev;
    c->prev = c->next = NULL;
}

/* Swap the first two chunks of the list. */
static void swap_first(oaki_lua_anchors *a)
{
    oaki_lua_chunk *second = a->open->next;
    unlink_chunk(a, second);
    link_first(a, second);
}

/* ---- tables ---- */

/* Raise an error unless a value is a table: the debug library can replace user values. */
static void need_table(lua_State *L, int type)
{
    if (OAKI_LUA_UNLIKELY(type != LUA_TTABLE))
        luaL_error(L, "oakum: a user value of Oakum's was replaced");
}

/* Replace the table at the top of the stack by the table in its slot. If there is none, and `make`
 * is not 0, make one with so many slots. Making a table may run finalizers, which may use the owner
 * and make the same table. So the slot is read again afterwards. */
static void step(lua_State *L, lua_Integer slot, int make)
{
    int type = lua_rawgeti(L, -1, slot);
    if (type == LUA_TNIL && make) {
        lua_pop(L, 1);
        lua_createtable(L, make, 0);
        type = lua_rawgeti(L, -2, slot);
        if (type == LUA_TNIL) {
            lua_pop(L, 1);
            lua_pushvalue(L, -1);
            lua_rawseti(L, -3, slot);
            type = LUA_TTABLE;
        } else {
            lua_remove(L, -2);
        }
    }
    need_table(L, type);
    lua_remove(L, -2);
}

static void push_branch(lua_State *L, int owner, uint32_t index, int make)
{
    int type = lua_getiuservalue(L, owner, 1);
    if (type == LUA_TNIL && make) {
        lua_pop(L, 1);
        lua_createtable(L, 16, 0);
        type = lua_getiuservalue(L, owner, 1);
        if (type == LUA_TNIL) {
            lua_pop(L, 1);
            lua_pushvalue(L, -1);
            lua_setiuservalue(L, owner, 1);
            type = LUA_TTABLE;
        }
    }
    need_table(L, type);
    step(L, (lua_Integer)(index / OAKI_LUA_CHUNK) + 1, make);
}

static void push_chunk(lua_State *L, int owner, uint32_t index)
{
    push_branch(L, owner, index, 0);
    step(L, (lua_Integer)(index % OAKI_LUA_CHUNK) + 1, 0);
}

/* Make the table of a chunk. */
static void make_chunk(lua_State *L, int owner, const oaki_lua_anchors *a, oaki_lua_chunk *c)
{
    const int n = (int)OAKI_LUA_CHUNK;
    owner = lua_absindex(L, owner);
    push_branch(L, owner, c->index, n);
    lua_createtable(L, a->pairs ? 0 : n, a->pairs ? n : 0);
    if (c->made) { /* a finalizer has made it meanwhile */
        lua_pop(L, 2);
        return;
    }
    if (a->metatable) {
        lua_rawgetp(L, LUA_REGISTRYINDEX, a->metatable);
        lua_setmetatable(L, -2);
    }
    lua_rawseti(L, -2, (lua_Integer)(c->index % OAKI_LUA_CHUNK) + 1);
    lua_pop(L, 1);
    c->made = true;
}

static void drop_chunk(lua_State *L, int owner, oaki_lua_chunk *c)
{
    push_branch(L, owner, c->index, 0);
    lua_pushnil(L);
    lua_rawseti(L, -2, (lua_Integer)(c->index % OAKI_LUA_CHUNK) + 1);
    lua_pop(L, 1);
    c->made = false;
    c->free = NONE;
    c->fresh = 0;
}

/* ---- anchors ---- */

static void more_chunks(lua_State *L, oaki_lua_anchors *a)
{
    if (a->nchunks == a->room) {
        size_t room = a->room ? a->room * 2 : 16;
        oaki_lua_chunk **more = NULL;
        if (room <= UINT32_MAX / OAKI_LUA_CHUNK)
            more = OAKI_LUA_ALLOC(L, oak_realloc(a->chunk, room * sizeof *more));
        if (!more) oaki_lua_no_memory(L);
        a->chunk = more;
        a->room = room;
    }
    oaki_lua_chunk *c = OAKI_LUA_ALLOC(L, oak_alloc(sizeof *c));
    if (!c) oaki_lua_no_memory(L);
    c->index = (uint32_t)a->nchunks;
    c->free = NONE;
    a->chunk[a->nchunks++] = c;
    link_first(a, c);
}

/* Whether the first two chunks of the list can supply two anchors. */
static bool is_ready(const oaki_lua_anchors *a)
{
    const oaki_lua_chunk *c = a->open;
    if (!c || !c->made) return false;
    return c->used + 2 <= OAKI_LUA_CHUNK || (c->next && c->next->made);
}

void oaki_lua_anchors_reserve(lua_State *L, int owner, oaki_lua_anchors *a)
{
    while (OAKI_LUA_UNLIKELY(!is_ready(a))) {
        oaki_lua_chunk *c = a->open;
        if (c && c->made) c = c->next;
        if (!c) more_chunks(L, a), c = a->open;
        make_chunk(L, owner, a, c);
    }
}

uint32_t oaki_lua_anchor_take(oaki_lua_anchors *a)
{
    oaki_lua_chunk *c = a->open;
    uint32_t slot = c->free;
    if (slot != NONE) c->free = c->link[slot] == slot ? NONE : c->link[slot];
    else slot = c->fresh++;
    a->used++;
    if (++c->used == OAKI_LUA_CHUNK) unlink_chunk(a, c);
    return c->index * OAKI_LUA_CHUNK + slot + 1;
}

/* The last free slot of a chunk's list links to itself. */
void oaki_lua_anchor_drop(lua_State *L, int owner, oaki_lua_anchors *a, uint32_t anchor)
{
    oaki_lua_chunk *c = a->chunk[chunk_of(anchor)];
    uint32_t slot = slot_of(anchor);
    if (!a->pairs) {
        lua_pushnil(L);
        oaki_lua_anchor_set(L, owner, anchor);
    }
    c->link[slot] = (uint8_t)(c->free == NONE ? slot : c->free);
    c->free = (uint16_t)slot;
    a->used--;
    if (c->used-- == OAKI_LUA_CHUNK) link_first(a, c);
    if (c->used > 0 || (a->open == c && !c->next)) return;
    drop_chunk(L, owner, c);
    unlink_chunk(a, c);
    link_first(a, c);
    if (c->next->made) swap_first(a);
}

void oaki_lua_anchor_set(lua_State *L, int owner, uint32_t anchor)
{
    owner = lua_absindex(L, owner);
    push_chunk(L, owner, chunk_of(anchor));
    lua_insert(L, -2);
    lua_rawseti(L, -2, (lua_Integer)slot_of(anchor) + 1);
    lua_pop(L, 1);
}

void oaki_lua_anchor_get(lua_State *L, int owner, uint32_t anchor)
{
    push_chunk(L, lua_absindex(L, owner), chunk_of(anchor));
    lua_rawgeti(L, -1, (lua_Integer)slot_of(anchor) + 1);
    lua_remove(L, -2);
}

void oaki_lua_anchor_push_chunk(lua_State *L, int owner, uint32_t anchor)
{
    push_chunk(L, lua_absindex(L, owner), chunk_of(anchor));
}

void oaki_lua_anchors_clear(lua_State *L, int owner, oaki_lua_anchors *a)
{
    owner = lua_absindex(L, owner);
    lua_pushnil(L);
    lua_setiuservalue(L, owner, 1);
    oak_free(a->chunk);
    a->chunk = NULL;
    a->open = NULL;
    a->nchunks = a->room = a->used = 0;
}
