/* pagemap.h - the PAGEMAP_SCAN call of Linux 6.7, which the headers of older systems lack.
 *
 * An ioctl on /proc/thread-self/pagemap. It walks a range and returns the runs of pages that match
 * given categories. A page matches when each category in `required` holds for it; for a category
 * that is also in `inverted`, when it does not hold. */
#ifndef OAKI_PAGEMAP_H
#define OAKI_PAGEMAP_H

#include "base.h"
#include <sys/ioctl.h>

typedef enum oaki_page_category {
    OAKI_PAGE_TRACKABLE =
        1 << 0, /* in a range registered with userfaultfd for asynchronous write protection */
    OAKI_PAGE_WRITTEN = 1 << 1, /* written since it was protected */
    OAKI_PAGE_FILE = 1 << 2,
    OAKI_PAGE_PRESENT = 1 << 3,
    OAKI_PAGE_SWAPPED = 1 << 4,
    OAKI_PAGE_ZERO = 1 << 5, /* the shared zero page, which takes no memory */
    OAKI_PAGE_HUGE = 1 << 6
} oaki_page_category;

typedef enum oaki_scan_flag {
    OAKI_SCAN_PROTECT = 1 << 0,     /* protect the pages that match */
    OAKI_SCAN_NEED_TRACKED = 1 << 1 /* fail with EPERM outside a registered range */
} oaki_scan_flag;

/* The kernel's layout: every field is 64 bits wide. */
typedef struct oaki_page_run {
    uint64_t start, end, categories;
} oaki_page_run;

typedef struct oaki_page_scan {
    uint64_t size, flags; /* size of this struct; oaki_scan_flag */
    uint64_t start, end;
    uint64_t stopped_at;   /* out: where to continue if `runs` was full; else `end` */
    uint64_t runs, runs_n; /* address and length of an oaki_page_run array */
    uint64_t max_pages;    /* 0: no limit */
    uint64_t inverted, required, any_of, returned;
} oaki_page_scan;

#define OAKI_PAGEMAP_SCAN _IOWR('f', 16, oaki_page_scan) /* returns the number of runs */

#endif
