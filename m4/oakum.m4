# oakum.m4 - Oakum's own configure macros.

# OAK_PKG(VARIABLE, MODULE) - a library that pkg-config must find, or the way to get it.
AC_DEFUN([OAK_PKG], [
    PKG_CHECK_MODULES([$1], [$2], [],
        [AC_MSG_ERROR([pkg-config does not find $2: run ./autogen.sh, which installs what packages.txt lists])])
])

# OAK_PKG_TESTS(VARIABLE, MODULE) - likewise, but only make check needs it.
AC_DEFUN([OAK_PKG_TESTS], [
    PKG_CHECK_MODULES([$1], [$2], [],
        [AC_MSG_WARN([pkg-config does not find $2, which make check needs])])
])

# OAK_LUA - Lua 5.4, for embed/lua: --with-lua=auto builds it where the headers are. HAVE_LUA, LUA_CFLAGS,
# LUA_LIBS, LUA_MODULE, its name for pkg-config, and LUA, the interpreter, or empty.
AC_DEFUN([OAK_LUA], [
    AC_ARG_WITH([lua],
        [AS_HELP_STRING([--with-lua=auto|yes|no], [Lua 5.4 on Oakum, and the module for it])],
        [], [with_lua=auto])
    oak_have_lua=no
    AS_IF([test "$with_lua" != no],
          [PKG_CHECK_MODULES([LUA], [lua5.4 >= 5.4], [oak_have_lua=yes LUA_MODULE=lua5.4],
              [PKG_CHECK_MODULES([LUA], [lua-5.4 >= 5.4], [oak_have_lua=yes LUA_MODULE=lua-5.4], [:])])
           AS_IF([test "$with_lua$oak_have_lua" = yesno],
                 [AC_MSG_ERROR([pkg-config does not find lua5.4: run ./autogen.sh --with=lua])])
           AC_CHECK_PROGS([LUA], [lua5.4 lua])])
    AM_CONDITIONAL([HAVE_LUA], [test "$oak_have_lua" = yes])
    AC_SUBST([LUA_MODULE])
])

# OAK_LIBC - what not each C library has, so that it is done in another way, or not at all: libraries
# in a namespace of their own (observe/foreign.c), cleanups that longjmp runs (runtime/contain.h), the
# lock of the list of files (runtime/fork.c), and what embed/malloc has to stand in for.
AC_DEFUN([OAK_LIBC], [
    AC_CHECK_FUNCS([dlmopen strerrordesc_np _IO_list_lock mallinfo2 makecontext])
    AC_CHECK_TYPES([struct _pthread_cleanup_buffer], [], [], [[#include <pthread.h>]])
    AS_IF([test "$ac_cv_func_mallinfo2" = no],
          [AC_MSG_NOTICE([this C library is not glibc: no malloc for unmodified programs, no debug server])])
    AM_CONDITIONAL([OAK_PRELOAD], [test "$ac_cv_func_mallinfo2" = yes && test -z "$OAK_MODE_LDFLAGS"]) # a sanitizer has its own malloc
])

# OAK_ORDER - whether the linker takes a script that places functions (tools/order): OAK_ORDER_LDFLAGS.
AC_DEFUN([OAK_ORDER], [
    AC_CACHE_CHECK([whether the linker places functions by a script], [oak_cv_ld_order], [
        echo 'SECTIONS { .text.first : { *(.text.first) } } INSERT BEFORE .text;' >conftest.ld
        oak_save_LDFLAGS=$LDFLAGS
        LDFLAGS="$LDFLAGS -shared -Wl,-T,conftest.ld"
        AC_LINK_IFELSE([AC_LANG_SOURCE([[
            __attribute__((section(".text.first"))) int first(void) { return 1; }]])],
            [oak_cv_ld_order=yes], [oak_cv_ld_order=no])
        LDFLAGS=$oak_save_LDFLAGS
        rm -f conftest.ld])
    # only in objects of shared libraries: in others each file's code stays together (runtime/owncode.h)
    AS_IF([test "$oak_cv_ld_order" = yes],
          [OAK_ORDER_LDFLAGS='-Wl,-T,liboakum.ld'
           lt_prog_compiler_pic="$lt_prog_compiler_pic -ffunction-sections"],
          [OAK_ORDER_LDFLAGS=])
    AC_SUBST([OAK_ORDER_LDFLAGS])
])

# OAK_WARNINGS - warnings that every build has, in OAK_WARN_CFLAGS.
AC_DEFUN([OAK_WARNINGS], [
    AC_ARG_ENABLE([werror], [AS_HELP_STRING([--enable-werror], [warnings are errors])])
    OAK_WARN_CFLAGS="-Wall -Wextra -Wstrict-prototypes"
    AS_IF([test "$enable_werror" = yes], [OAK_WARN_CFLAGS="$OAK_WARN_CFLAGS -Werror"])
    AC_SUBST([OAK_WARN_CFLAGS])
])

# OAK_MODES - debug and sanitizer builds: OAK_MODE_CPPFLAGS, OAK_MODE_CFLAGS, OAK_MODE_LDFLAGS. To
# be called before AC_PROG_CC, as a debug build has another default for CFLAGS.
AC_DEFUN([OAK_MODES], [
    AC_ARG_ENABLE([debug],
        [AS_HELP_STRING([--enable-debug], [assertions, lock order checks, -O1])])
    AC_ARG_ENABLE([asan],
        [AS_HELP_STRING([--enable-asan], [AddressSanitizer and UndefinedBehaviorSanitizer])])
    AC_ARG_ENABLE([tsan], [AS_HELP_STRING([--enable-tsan], [ThreadSanitizer])])
    AS_IF([test "$enable_asan$enable_tsan" = yesyes],
          [AC_MSG_ERROR([--enable-asan and --enable-tsan exclude each other])])
    AS_IF([test "$enable_debug" = yes],
          [: ${CFLAGS="-O1 -g"}
           OAK_MODE_CPPFLAGS=-DOAKI_DEBUG])
    AS_IF([test "$enable_asan" = yes],
          [OAK_MODE_LDFLAGS="-fsanitize=address,undefined -fno-sanitize-recover=undefined"
           # Inlined into a function that is not instrumented (a scan of stacks), a scope's end
           # poisons, and its next start doesn't undo it.
           OAK_MODE_CFLAGS=-fno-sanitize-address-use-after-scope])
    AS_IF([test "$enable_tsan" = yes],
          [OAK_MODE_LDFLAGS="-fsanitize=thread"
           # GCC warns of each fence; tests/tsan.supp names where one matters.
           OAK_MODE_CFLAGS="-Wno-unknown-warning-option -Wno-tsan"])
    AS_IF([test -n "$OAK_MODE_LDFLAGS"],
          [OAK_MODE_CFLAGS="$OAK_MODE_LDFLAGS $OAK_MODE_CFLAGS -fno-omit-frame-pointer"])
    AC_SUBST([OAK_MODE_CPPFLAGS])
    AC_SUBST([OAK_MODE_CFLAGS])
    AC_SUBST([OAK_MODE_LDFLAGS])
])

# OAK_METADATA - what keeps the shared library's metadata (docs/metadata.md): OAKI_WITH_JEMALLOC in
# config.h, and OAK_METADATA_LDFLAGS. Without it, jemalloc is for a test alone.
#
# jemalloc is handed to the linker past libtool, which would note it as a dependency of the static
# library. It brings C++'s new and delete with it. In a C program that loads a plugin in C++ they
# would be found before libstdc++'s, while delete hands memory to the program's free: so libstdc++,
# which jemalloc needs anyway, goes first.
AC_DEFUN([OAK_METADATA], [
    AC_ARG_WITH([metadata],
        [AS_HELP_STRING([--with-metadata=builtin|jemalloc], [what keeps Oakum's own records])],
        [], [with_metadata=builtin])
    OAK_METADATA_LDFLAGS=
    AS_IF([test "$with_metadata" = jemalloc],
        [OAK_PKG([JEMALLOC], [jemalloc >= 5.2])], [OAK_PKG_TESTS([JEMALLOC], [jemalloc >= 5.2])])
    AS_CASE([$with_metadata],
        [builtin], [],
        [jemalloc],
            [AC_DEFINE([OAKI_WITH_JEMALLOC], [1], [the shared library keeps metadata in jemalloc])
             AC_CHECK_LIB([jemalloc], [_ZdlPv],
                 [OAK_METADATA_LDFLAGS=-Wl,--no-as-needed,-l:libstdc++.so.6])
             OAK_METADATA_LDFLAGS="$OAK_METADATA_LDFLAGS -Wl,$JEMALLOC_LIBS"],
        [AC_MSG_ERROR([--with-metadata takes builtin or jemalloc])])
    AC_SUBST([OAK_METADATA_LDFLAGS])
])
