/* suites_lua.h - every suite of tests/check_lua, which runs Lua states on Oakum (suites.h). */
X(embed_lua_state)
X(embed_lua_lines)
X(embed_lua_many)
X(embed_lua_object)
X(embed_lua_reach)
