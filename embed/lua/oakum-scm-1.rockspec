-- LuaRocks: in a clone, `luarocks make embed/lua/oakum-scm-1.rockspec` builds the module and
-- installs it into a tree. Nothing is fetched: the source is the folder.
rockspec_format = "3.0"
package = "oakum"
version = "scm-1"
source = { url = "git+file://." }
description = {
    summary = "Maps that never stall, weak maps, caches, heap profiles and a leak detector",
    license = "MIT",
}
supported_platforms = { "linux" }
dependencies = { "lua >= 5.4, < 5.5" }
build = {
    type = "command",
    -- a Makefile that is there is kept; else GNUmakefile has one made
    build_command = "$(MAKE) LUA_CFLAGS=-I$(LUA_INCDIR) embed/lua/oakum.so",
    install = { lib = { oakum = "embed/lua/oakum.so" } },
}
