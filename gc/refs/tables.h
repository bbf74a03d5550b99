/* tables.h - what each table of records about objects can do (objtable.h), and the tables.
 *
 * A new kind of reference is one file (gc/local.am) that defines its operations, a line in
 * tables.c, and below its declaration and OAKI_TABLES. What its records keep alive is queued by
 * note_certain in a concurrent mark, and by rootmark.c in a pause. debug/verify.c checks each kind
 * that refers to objects, by name. */
#ifndef OAKI_TABLES_H
#define OAKI_TABLES_H

#include "gc/gc.h"
#include "objtable.h"

/* A member that a table has no use for is NULL. */
typedef struct oaki_table_ops {
    oaki_objtable *table;
    size_t record; /* bytes of one */
    bool keeps;    /* its records keep something alive, which note_certain queues */
    /* In a concurrent mark, for worker 0, finalizer_lock held: examines up to `most` records from
     * number `from` on. Records whose objects are all marked become certain: the final pause
     * passes by them. Returns the number to go on from, or OAKI_RECORD_NONE. */
    uint32_t (*note_certain)(uint32_t from, unsigned most);
    /* World stopped, once before finalizers are decided and once after: references to unmarked
     * objects are cleared for the program, and their records flagged. */
    void (*clear)(bool decided);
    /* The flagged record i leaves the table, or loses its flag; finalizer_lock. NULL: no pause
     * flags any. */
    void (*reclaim)(uint32_t i);
    void (*forget)(void *obj);           /* the object is freed by hand; inside oaki_enter */
    void (*forget_zone)(uint32_t zone);  /* all of a zone's are; finalizer_lock */
    /* The table has been trimmed to room for `need` records: memory beside it follows;
     * finalizer_lock. */
    void (*trim)(size_t need);
    const char *(*check)(void);          /* of rules beside the table's: the broken one, or NULL */
    void (*init)(void);                  /* after the table's */
} oaki_table_ops;

enum { OAKI_TABLES = 7 };

extern const oaki_table_ops oaki_held_table, oaki_finalizers_table, oaki_weak_table,
    oaki_short_links_table, oaki_long_links_table, oaki_ephemerons_table, oaki_external_table;

/* For all tables; the same locks. */
void oaki_tables_init(void);
/* all: or only if the table keeps something alive. */
uint32_t oaki_tables_note_certain(size_t table, bool all, uint32_t from, unsigned most);
void oaki_tables_clear(bool decided);
void oaki_tables_reclaim(void); /* everything; gc_lock, inside oaki_enter or in a pause */
void oaki_tables_forget_zone(uint32_t zone);
void oaki_tables_trim(void);    /* takes finalizer_lock */
bool oaki_tables_any_flagged(void); /* debug builds; the collector alone calls it */
const char *oaki_tables_check(void); /* in RECLAIM, when nothing is flagged any more */

#endif
