/* syncmap_race.c - the tests of syncmap_threads.c on a second copy of the sync map, in which a
 * thread may be held up for a while before each step that others can see.
 *
 * Windows of a few nanoseconds become long ones, so that threads meet in them on a busy machine
 * with few processors too. Everything of the copy has a name of its own. */
#include "gc/gc.h"
#include "maps/hash.h"
#include "maps/map.h"
#include "runtime/os.h"

static void hold_up(void)
{
    static __thread uint64_t state;
    if (state == 0) state = (uintptr_t)&state | 1;
    state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    unsigned draw = (unsigned)(state >> 40);
    if (draw % 512 == 0)
        oaki_os_yield();
    else if (draw % 8 == 0)
        for (unsigned i = 0; i < draw / 8 % 64; i++) oaki_pause();
}

static int slow_swap(AO_t *at, AO_t from, AO_t to)
{
    hold_up();
    return AO_compare_and_swap_full(at, from, to);
}

static AO_t slow_load(const AO_t *at)
{
    hold_up();
    return AO_load_acquire(at);
}

#undef AO_compare_and_swap_full
#undef AO_load_acquire
#define AO_compare_and_swap_full slow_swap
#define AO_load_acquire slow_load

#define oaki_sync_dead race_dead
#define oaki_sync_find race_find
#define oaki_sync_add race_add
#define oaki_sync_unlink race_unlink
#define oaki_sync_next race_next
#define oaki_sync_check race_check
#define oak_syncmap_new race_new
#define oak_syncmap_load race_load
#define oak_syncmap_store race_store
#define oak_syncmap_load_or_store race_load_or_store
#define oak_syncmap_swap race_swap
#define oak_syncmap_delete race_delete
#define oak_syncmap_load_and_delete race_load_and_delete
#define oak_syncmap_compare_and_swap race_compare_and_swap
#define oak_syncmap_compare_and_delete race_compare_and_delete
#define oak_syncmap_range race_range
#define oak_syncmap_len race_len
#define oak_syncmap_clear race_clear
#define oak_syncmap_stats_read race_stats_read

#include "maps/syncmap.c"
#include "maps/syncmap_stats.c"
#include "maps/syncmap_trie.c"

#define SUITE "maps/syncmap_race"
#define STEPS 10000
#define suite_maps_syncmap_threads suite_maps_syncmap_race
#include "syncmap_threads.c"
