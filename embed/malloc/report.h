/* report.h - a leak as its report has it, and the files that are written of leaks. */
#ifndef OAKI_MALLOC_REPORT_H
#define OAKI_MALLOC_REPORT_H

#include "observe/suppress.h"
#include "preload.h"

struct oaki_site;

/* The blocks of all sites whose innermost frames are equal. */
typedef struct oaki_leak {
    const struct oaki_site *site;
    oaki_sum of[OAKI_LOSSES], below;
    oak_frame *frame; /* the shown frames; NULL until oaki_leak_name */
    size_t nframes;
    bool to_end;      /* the stack has no further frames */
    const oaki_suppression *by[OAKI_LOSSES]; /* what suppresses it, or NULL */
} oaki_leak;

typedef struct oaki_leaks {
    oaki_leak *list;
    size_t n;
    oaki_sum suppressed;
} oaki_leaks;

/* "definitely lost" and its like; definite and its like, as in suppressions. */
const char *oaki_loss_words(oaki_loss loss);
const char *oaki_loss_kind(oaki_loss loss);

/* Whether the report lists this leak's blocks of this kind, if they aren't suppressed. */
bool oaki_leak_is_listed(const oaki_leak *l, oaki_loss loss);

/* Look up the names of the frames. Returns false without memory. */
bool oaki_leak_name(oaki_leak *l);
void oaki_leaks_free(oaki_leaks *l);

/* ---- suppressed.c ---- */

/* Read the files of --suppressions. At the start, within oaki_quiet_begin. */
void oaki_suppressed_start(void);

/* Note which leaks are suppressed, and take their blocks from the sums. Returns false without
 * memory. */
bool oaki_suppressed_note(oaki_leaks *l, oaki_lost *sums);

/* Call fn with each suppression that has matched nothing so far. */
void oaki_suppressed_unused(void (*fn)(void *ctx, const oaki_suppression *s), void *ctx);

/* ---- leakfile.c ---- */

void oaki_leakfiles_start(void); /* before the program can close its descriptors */
void oaki_leakfiles_release(void); /* in a child that reports nothing: closes what start opened */

/* Write the files of --gen-suppressions, --json and --junit. Returns false if one could not be
 * written; that is reported. */
bool oaki_leakfiles_write(const oaki_leaks *l, const oaki_lost *sums);

#endif
