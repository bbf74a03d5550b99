/* late.c - a plugin that links liboakum.so, so that a program which knows nothing of Oakum loads it
 * late: allocates, collects and looks whether all is there that should be. */
#include <dlfcn.h>
#include <oakum/oakum.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct node {
    struct node *next;
    size_t number;
} node;

__attribute__((visibility("default"))) int late_run(void);
__attribute__((visibility("default"))) int late_run_lua(void *state);

static node *kept; /* a root: the plugin's data */

/* The rounds overlap: what one keeps, the next one's collections have to find. */
static int check(size_t n)
{
    size_t seen = 0;
    for (const node *p = kept; p; p = p->next)
        if (p->number != seen++) return -1;
    return seen == n ? 0 : -1;
}

/* The first of the plugins starts it, and the others are told so. */
static bool is_told_who(void)
{
    oak_started before, by;
    Dl_info me;
    if (!dladdr((void *)&kept, &me)) return false;
    if (oak_config_read(NULL, &before)) {
        return oak_init(NULL) == 0 && oak_config_read(NULL, &by) && by.how == before.how &&
               strcmp(by.by, before.by) == 0;
    }
    return oak_init(NULL) == 0 && oak_config_read(NULL, &by) && by.how == OAK_START_INIT &&
           strcmp(by.by, me.dli_fname) == 0;
}

int late_run(void)
{
    enum { ROUNDS = 3, NODES = 20000 };
    if (!is_told_who()) return 5;
    oak_memstats before, after;
    oak_memstats_read(&before);
    for (int round = 0; round < ROUNDS; round++) {
        node *list = NULL;
        for (size_t i = NODES; i-- > 0;) {
            node *p = oak_alloc(sizeof *p);
            if (!p || !oak_alloc(100)) return 1;
            *p = (node){ list, i };
            list = p;
        }
        oak_collect();
        if (round > 0 && check(NODES) != 0) return 2;
        kept = list;
        oak_collect();
        if (check(NODES) != 0) return 3;
    }
    oak_memstats_read(&after);
    return after.num_gc >= before.num_gc + 2 * ROUNDS && after.frees > before.frees ? 0 : 4;
}

/* As a function of Lua's: no results. */
int late_run_lua(void *state)
{
    int status = late_run();
    (void)state;
    if (status != 0) exit(10 + status);
    return 0;
}
