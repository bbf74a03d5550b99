/* lines.c - lines of the script as frames of the heap profile (<oakum/frames.h>).
 *
 * A sample is taken in the allocator function, which doesn't know the running coroutine. It finds
 * the active coroutines: the running one, and those that have resumed another active one.
 * - Lua tells the allocator which blocks are coroutines.
 * - An active coroutine has no error and at least one frame.
 * - The address of its lua_State is on the C stack, as the interpreter works with it.
 *
 * So the C stack is searched from its top. The active coroutines are sorted by the last place at
 * which each is found. A coroutine that has resumed another has its last frame beyond all frames of
 * that one; earlier places may be stale words. The main coroutine comes last, as no other can
 * resume it. Only the running coroutine can be in a Lua function at its innermost level, so such a
 * one comes first.
 *
 * Owns: oaki_lua.threads, thread_size, source, stack_*. Bound: a sample is O(words of the C stack,
 * at most STACK_WORDS, and frames of Lua). */
#include "frame.h"
#include "state.h"
#include <oakum/map.h>
#include <string.h>

#define MOST_STACK ((uintptr_t)64 << 20) /* more than a stack's bytes; no address of the heap */
#define ACTIVE 16            /* the most active coroutines that are found */
#define STACK_WORDS (1u << 17)

/* ---- coroutines ---- */

/* Make a map in the default zone: the caller's zone may be discarded before the state is closed. */
static oak_map *new_map(void)
{
    if (oak_zone_enter(NULL) != 0) return NULL;
    oak_map *m = oak_map_new(&oak_map_ptr_u64, 0);
    oak_zone_leave(NULL);
    return m;
}

void oaki_lua_thread_made(oaki_lua *s, void *block, size_t size)
{
    if (!s->threads) s->threads = new_map();
    if (!s->threads || !oak_map_put(s->threads, &block)) return;
    uintptr_t at = (uintptr_t)block;
    if (!s->thread_size || at < s->threads_lo) s->threads_lo = at;
    if (at > s->threads_hi) s->threads_hi = at;
    s->thread_size = size;
}

void oaki_lua_thread_freed(oaki_lua *s, void *block)
{
    (void)oak_map_delete(s->threads, &block);
}

/* Since Lua 5.4.5, a stack that is being moved has offsets in place of the pointers in its frames.
 * The function's is the first word of a frame. */
static bool is_moving(const lua_Debug *d)
{
    return *(const uintptr_t *)(const void *)d->i_ci < MOST_STACK;
}

/* A coroutine that is being made has no frame yet. */
static bool is_active(lua_State *L)
{
    lua_Debug d;
    return lua_status(L) == LUA_OK && lua_getstack(L, 0, &d) && d.i_ci && !is_moving(&d);
}

static bool runs_lua(lua_State *L)
{
    lua_Debug d;
    return lua_getstack(L, 0, &d) && lua_getinfo(L, "S", &d) && d.what[0] != 'C';
}

static lua_State *coroutine_at(const oaki_lua *s, uintptr_t word)
{
    uintptr_t at = word - LUA_EXTRASPACE;
    if (at < s->threads_lo || at > s->threads_hi || at % 16 != 0) return NULL;
    void *block = (void *)at;
    return oak_map_get(s->threads, &block) ? (lua_State *)word : NULL;
}

static void find_stack(oaki_lua *s)
{
    pthread_attr_t a;
    void *lo;
    size_t n;
    if (s->stack_hi && pthread_equal(s->stack_of, pthread_self())) return;
    s->stack_hi = 0;
    if (pthread_getattr_np(pthread_self(), &a) != 0) return;
    if (pthread_attr_getstack(&a, &lo, &n) == 0) {
        s->stack_of = pthread_self();
        s->stack_lo = (uintptr_t)lo;
        s->stack_hi = (uintptr_t)lo + n;
    }
    pthread_attr_destroy(&a);
}

/* Move a coroutine to the end of the list. If there are too many, the first one is dropped. */
static size_t add(lua_State **out, size_t n, lua_State *L)
{
    size_t i = 0;
    while (i < n && out[i] != L) i++;
    if (i == n && n < ACTIVE) n++;
    if (i == ACTIVE) i = 0;
    memmove(out + i, out + i + 1, (n - 1 - i) * sizeof *out);
    out[n - 1] = L;
    return n;
}

/* Search the C stack, including frames of other functions. */
__attribute__((no_sanitize("address"), noinline)) static size_t
search_stack(const oaki_lua *s, lua_State **out)
{
    uintptr_t here = (uintptr_t)__builtin_frame_address(0);
    size_t n = 0;
    if (here < s->stack_lo || here >= s->stack_hi) return 0;
    const uintptr_t *w = (const uintptr_t *)here;
    size_t words = OAKI_LUA_MIN((s->stack_hi - here) / sizeof *w, (size_t)STACK_WORDS);
    for (size_t i = 0; i < words; i++) {
        lua_State *L = coroutine_at(s, w[i]);
        if (L && is_active(L)) n = add(out, n, L);
    }
    return n;
}

/* List the active coroutines, the running one first. */
static size_t active(oaki_lua *s, lua_State **out)
{
    size_t n = 0;
    if (oak_map_len(s->threads) > 0) {
        find_stack(s);
        n = search_stack(s, out);
    }
    if (s->main && is_active(s->main)) n = add(out, n, s->main);
    for (size_t i = 1; i < n; i++) {
        if (!runs_lua(out[i])) continue;
        lua_State *L = out[i];
        memmove(out + 1, out, i * sizeof *out);
        out[0] = L;
        break;
    }
    return n;
}

static size_t read_lines(uintptr_t *frame, size_t max, void *ctx)
{
    lua_State *list[ACTIVE];
    size_t n = active(ctx, list), told = 0;
    for (size_t i = 0; i < n; i++) told += oaki_lua_frames(list[i], frame + told, max - told);
    return told;
}

void oaki_lua_lines_init(oaki_lua *s)
{
    s->source = oaki_lua_frame_source(read_lines, s);
}
