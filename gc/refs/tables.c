/* tables.c - all object tables: loops over them for a cycle, for oak_free and for a zone's end.
 *
 * A pause clears the words that the program can read: those of weak references, ephemerons and
 * links. It flags the records of dead objects, which are reclaimed while the world runs. Meanwhile
 * a new object may lie where a dead one was, so a look-up skips flagged records.
 *
 * Owns: the order of the tables. Invariant: no record is flagged or certain when a mark begins. The
 *   thread that ends a cycle holds gc_lock until all is reclaimed, so no other holder sees a flag.
 *   Records that an aborted mark left certain lose that in the next init pause.
 * Lock: finalizer_lock, for some records at a time. Bound: O(flagged records), and a byte of each
 * record. */
#include "tables.h"

#include "gc/concurrent/concurrent.h"
#include "gc/contract.h"
#include "gc/tuning.h"
#include "runtime/options.h"
#include "runtime/os.h"
#include "runtime/thread.h"

/* Tables whose records keep objects alive come first. */
static const oaki_table_ops *const tables[OAKI_TABLES] = {
    &oaki_held_table,        &oaki_finalizers_table, &oaki_weak_table,
    &oaki_short_links_table, &oaki_long_links_table, &oaki_ephemerons_table,
    &oaki_external_table
};

/* ---- in a mark ---- */

uint32_t oaki_tables_note_certain(size_t table, bool all, uint32_t from, unsigned most)
{
    const oaki_table_ops *t = tables[table];
    OAKI_REQUIRES_LOCK(&oaki_the_heap.finalizer_lock);
    if (!t->note_certain || !(all || t->keeps)) return OAKI_RECORD_NONE;
    return t->note_certain(from, most);
}

void oaki_tables_clear(bool decided)
{
    OAKI_REQUIRES_STOPPED();
    for (size_t i = 0; i < OAKI_TABLES; i++)
        if (tables[i]->clear) tables[i]->clear(decided);
}

/* ---- after it ---- */

static void wait_for_tests(void)
{
    long us = oaki_debug_switches.settle;
    if (OAKI_UNLIKELY(us > 0 && !oaki_world_stopped())) oaki_os_sleep_ns((uint64_t)us * 1000);
}

static void reclaim(const oaki_table_ops *t)
{
    uint32_t from = 0;
    for (bool more = true; more;) {
        oaki_lock_acquire(&oaki_the_heap.finalizer_lock);
        OAKI_ASSERT(t->reclaim || t->table->flagged == 0);
        more = oaki_objtable_reclaim(t->table, &from, t->reclaim);
        bool waited = oaki_lock_is_awaited(&oaki_the_heap.finalizer_lock);
        oaki_lock_release(&oaki_the_heap.finalizer_lock);
        if (waited && !oaki_world_stopped()) oaki_os_sleep_ns(OAKI_TUNE_TURN_NS);
    }
}

void oaki_tables_reclaim(void)
{
    OAKI_REQUIRES_LOCK(&oaki_the_heap.gc_lock);
    OAKI_REQUIRES_INSIDE();
    wait_for_tests();
    for (size_t i = 0; i < OAKI_TABLES; i++) reclaim(tables[i]);
}

/* ---- freed by hand ---- */

void oaki_gc_object_freed(void *obj)
{
    OAKI_REQUIRES_INSIDE();
    for (size_t i = 0; i < OAKI_TABLES; i++)
        if (tables[i]->forget) tables[i]->forget(obj);
}

void oaki_tables_forget_zone(uint32_t zone)
{
    OAKI_REQUIRES_LOCK(&oaki_the_heap.finalizer_lock);
    for (size_t i = 0; i < OAKI_TABLES; i++)
        if (tables[i]->forget_zone) tables[i]->forget_zone(zone);
}

/* ---- the rest ---- */

void oaki_tables_trim(void)
{
    oaki_lock_acquire(&oaki_the_heap.finalizer_lock);
    for (size_t i = 0; i < OAKI_TABLES; i++) {
        size_t need = oaki_objtable_trim(tables[i]->table, OAKI_TUNE_TABLE_FORGET);
        if (tables[i]->trim) tables[i]->trim(need);
    }
    oaki_deferred_trim();
    oaki_lock_release(&oaki_the_heap.finalizer_lock);
}

#ifdef OAKI_DEBUG
bool oaki_tables_any_flagged(void)
{
    size_t n = 0;
    OAKI_REQUIRES_COLLECTOR();
    for (size_t i = 0; i < OAKI_TABLES; i++) n += tables[i]->table->flagged;
    return n > 0;
}
#endif

const char *oaki_tables_check(void)
{
    const char *rule = NULL;
    oaki_lock_acquire(&oaki_the_heap.finalizer_lock);
    for (size_t i = 0; i < OAKI_TABLES && !rule; i++) {
        rule = tables[i]->check ? tables[i]->check() : NULL;
        if (!rule) rule = oaki_objtable_check_at_rest(tables[i]->table);
    }
    oaki_lock_release(&oaki_the_heap.finalizer_lock);
    return rule ? rule : oaki_deferred_check();
}

OAKI_AT_START void oaki_tables_init(void)
{
    for (size_t i = 0; i < OAKI_TABLES; i++) {
        oaki_objtable_init(tables[i]->table, tables[i]->record, &oaki_the_heap.finalizer_lock);
        if (tables[i]->init) tables[i]->init();
    }
}
