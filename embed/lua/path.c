/* path.c - a path through a Lua state as a text: _G.app.handler (upvalue queue)[3]; and whether a
 * script could follow it.
 *
 * Owns: nothing. Bound: O(length of the path); the middle of a path of more than STEPS is left out.
 */
#include "path.h"
#include "structs.h"
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#define STEPS 64
#define TEXT 48 /* bytes of a key that are shown */

static bool is_name(const char *s)
{
    if (!isalpha((unsigned char)*s) && *s != '_') return false;
    for (; *s; s++)
        if (!isalnum((unsigned char)*s) && *s != '_') return false;
    return true;
}

static void add_field(luaL_Buffer *b, const char *s)
{
    if (is_name(s) && strlen(s) <= TEXT) {
        luaL_addchar(b, '.');
        luaL_addstring(b, s);
        return;
    }
    luaL_addstring(b, "[\"");
    for (size_t i = 0; s[i] && i < TEXT; i++) {
        char hex[8];
        unsigned char c = (unsigned char)s[i];
        if (c == '"' || c == '\\') luaL_addchar(b, '\\');
        if (c >= ' ' && c != 127) {
            luaL_addchar(b, s[i]);
        } else {
            snprintf(hex, sizeof hex, "\\x%02x", c);
            luaL_addstring(b, hex);
        }
    }
    luaL_addstring(b, strlen(s) > TEXT ? "...\"]" : "\"]");
}

/* Add the name of a coroutine's function at a level, as the walk has seen it. */
static void add_function(luaL_Buffer *b, oaki_lua_walk *w, unsigned thread, int level)
{
    char text[LUA_IDSIZE + 128];
    lua_Debug d;
    oaki_lua_walk_push(w, thread);
    lua_State *co = lua_tothread(w->L, -1);
    lua_pop(w->L, 1);
    if (!co || !lua_getstack(co, level, &d) || !lua_getinfo(co, "Sln", &d)) return;
    if (d.currentline > 0)
        snprintf(text, sizeof text, "%.100s at %s:%d", d.name ? d.name : d.what, d.short_src,
                 d.currentline);
    else snprintf(text, sizeof text, "%.100s", d.name ? d.name : d.what);
    luaL_addstring(b, text);
}

static void add_edge(luaL_Buffer *b, oaki_lua_walk *w, const oaki_lua_edge *e, unsigned from)
{
    char text[128];
    switch ((oaki_lua_edge_kind)e->kind) {
    case OAKI_LUA_FIELD: add_field(b, e->as.text); return;
    case OAKI_LUA_INDEX: snprintf(text, sizeof text, "[%lld]", (long long)e->as.i); break;
    case OAKI_LUA_NUMBER: snprintf(text, sizeof text, "[%.14g]", e->as.n); break;
    case OAKI_LUA_OTHER_KEY:
        if (e->type == LUA_TBOOLEAN)
            snprintf(text, sizeof text, "[%s]", e->as.i ? "true" : "false");
        else snprintf(text, sizeof text, "[%s: %p]", lua_typename(w->L, e->type), e->as.p);
        break;
    case OAKI_LUA_KEY: snprintf(text, sizeof text, " (a key)"); break;
    case OAKI_LUA_METATABLE: snprintf(text, sizeof text, " (metatable)"); break;
    case OAKI_LUA_UPVALUE:
        if (*e->as.text) snprintf(text, sizeof text, " (upvalue %.80s)", e->as.text);
        else snprintf(text, sizeof text, " (upvalue %d)", e->number);
        break;
    case OAKI_LUA_USER_VALUE: snprintf(text, sizeof text, " (user value %d)", e->number); break;
    case OAKI_LUA_FRAME:
        luaL_addstring(b, " (function ");
        add_function(b, w, from, e->number);
        snprintf(text, sizeof text, ")");
        break;
    case OAKI_LUA_LOCAL:
        snprintf(text, sizeof text, " (local %.80s of ", e->as.text);
        luaL_addstring(b, text);
        add_function(b, w, from, e->number);
        snprintf(text, sizeof text, ")");
        break;
    case OAKI_LUA_STACK: snprintf(text, sizeof text, " (stack slot %d)", e->number); break;
    default: text[0] = '\0';
    }
    luaL_addstring(b, text);
}

/* Add the first step, by its usual name if it has one. */
static void add_first(luaL_Buffer *b, oaki_lua_walk *w, const oaki_lua_edge *e)
{
    bool index = e->kind == OAKI_LUA_INDEX, field = e->kind == OAKI_LUA_FIELD;
    if (index && e->as.i == LUA_RIDX_GLOBALS) {
        luaL_addstring(b, "_G");
    } else if (index && e->as.i == LUA_RIDX_MAINTHREAD) {
        luaL_addstring(b, "main thread");
    } else if (e->kind == OAKI_LUA_THREAD) {
        luaL_addstring(b, "running coroutine");
    } else if (field && strcmp(e->as.text, LUA_LOADED_TABLE) == 0) {
        luaL_addstring(b, "package.loaded");
    } else if (e->kind == OAKI_LUA_METATABLE) {
        luaL_addstring(b, "metatable of strings");
    } else {
        luaL_addstring(b, "registry");
        add_edge(b, w, e, 0);
    }
}

void oaki_lua_walk_path(oaki_lua_walk *w, unsigned number)
{
    unsigned step[STEPS], n = 0, length = 0;
    luaL_Buffer b;
    for (unsigned i = number; i != 0; i = w->node[i].from, length++)
        if (length < STEPS) step[n++] = i;
    luaL_buffinit(w->L, &b);
    if (number == 0 && !w->has_last) luaL_addstring(&b, "registry");
    if (length > n) luaL_addstring(&b, "...");
    for (unsigned i = n; i > 0; i--) {
        const oaki_lua_node *s = &w->node[step[i - 1]];
        if (s->from == 0) add_first(&b, w, &s->edge);
        else add_edge(&b, w, &s->edge, s->from);
    }
    if (w->has_last && number == w->found) {
        if (number == 0) add_first(&b, w, &w->last);
        else add_edge(&b, w, &w->last, number);
    }
    luaL_pushresult(&b);
}

/* ---- hidden paths ---- */

#define ANCHOR_STEPS 3 /* the owner's user value, a branch, a chunk (anchor.c) */

static bool is_ours(oaki_lua_walk *w, unsigned number)
{
    static const char *const types[] = { OAKI_LUA_MAP,  OAKI_LUA_WEAKMAP,  OAKI_LUA_CACHE,
                                         OAKI_LUA_LIST, OAKI_LUA_ITERATOR, OAKI_LUA_DETECTOR };
    bool ours = false;
    oaki_lua_walk_push(w, number);
    for (size_t i = 0; i < sizeof types / sizeof *types && !ours; i++)
        ours = luaL_testudata(w->L, -1, types[i]) != NULL;
    lua_pop(w->L, 1);
    return ours;
}

bool oaki_lua_walk_is_internal(oaki_lua_walk *w, unsigned number)
{
    for (unsigned step = 0; step < ANCHOR_STEPS; step++) {
        const oaki_lua_node *n = &w->node[number];
        number = n->from;
        if (n->edge.kind == OAKI_LUA_USER_VALUE) return is_ours(w, number);
        if (n->edge.kind != OAKI_LUA_INDEX) return false;
    }
    return false;
}

/* Whether a script can reach a root: the table of loaded modules, through `package`. */
static bool is_open_root(oaki_lua_walk *w, const oaki_lua_edge *e)
{
    if (e->kind == OAKI_LUA_THREAD) return true;
    if (e->kind == OAKI_LUA_INDEX) return e->as.i == LUA_RIDX_GLOBALS;
    if (e->kind != OAKI_LUA_FIELD || strcmp(e->as.text, LUA_LOADED_TABLE) != 0) return false;
    lua_rawgeti(w->L, LUA_REGISTRYINDEX, LUA_RIDX_GLOBALS);
    lua_pushliteral(w->L, "package");
    bool open = lua_istable(w->L, -2) && lua_rawget(w->L, -2) == LUA_TTABLE;
    lua_pop(w->L, 2);
    return open;
}

bool oaki_lua_walk_is_hidden(oaki_lua_walk *w, unsigned number)
{
    for (; number != 0; number = w->node[number].from) {
        const oaki_lua_node *n = &w->node[number];
        const oaki_lua_edge *e = &n->edge;
        if (n->from == 0) return !is_open_root(w, e);
        if (e->kind == OAKI_LUA_USER_VALUE && !is_ours(w, n->from)) return true;
        if (e->kind == OAKI_LUA_UPVALUE && !*e->as.text) return true;
        if (e->kind == OAKI_LUA_LOCAL && strncmp(e->as.text, "(C ", 3) == 0) return true;
    }
    return true; /* the registry itself */
}
