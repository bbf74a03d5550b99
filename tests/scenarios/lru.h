/* lru.h - a map that evicts the least recently stored, written on a map of any policy.
 *
 * What a program had to write before there was <oakum/cache.h>, and the repaired twin of a map that
 * grows without bound. A static variable; its map is made by the first put. */
#ifndef SCN_LRU_H
#define SCN_LRU_H

#include "scenario.h"

typedef struct scn_lru_node {
    struct scn_lru_node *newer, *older;
    scn_string key;
    void *value;
} scn_lru_node;

typedef struct scn_lru {
    size_t most;                  /* entries */
    void (*evicted)(void *value); /* or NULL */
    void *map;                    /* key to node */
    scn_lru_node *newest, *oldest;
} scn_lru;

/* A key that is not there. */
void scn_lru_put(const scn_map_policy *p, scn_lru *l, scn_string key, void *value);

/* Take out the value that was put first; NULL when there is none. */
void *scn_lru_pop_oldest(const scn_map_policy *p, scn_lru *l);

#endif
