/* lru.c - a map and a list in the order of use: what is beyond the bound goes from its end. */
#include "lru.h"

static void unlink_node(scn_lru *l, scn_lru_node *n)
{
    *(n->newer != NULL ? &n->newer->older : &l->newest) = n->older;
    *(n->older != NULL ? &n->older->newer : &l->oldest) = n->newer;
    n->newer = n->older = NULL;
}

void *scn_lru_pop_oldest(const scn_map_policy *p, scn_lru *l)
{
    scn_lru_node *last = l->oldest;

    if (last == NULL) return NULL;
    unlink_node(l, last);
    p->delete (l->map, &last->key);
    return last->value;
}

void scn_lru_put(const scn_map_policy *p, scn_lru *l, scn_string key, void *value)
{
    scn_lru_node *n = scn_must(oak_alloc(sizeof(*n)));

    if (l->map == NULL) l->map = p->new (SCN_STRING_PTR, 0);
    n->key = key;
    n->value = value;
    *(scn_lru_node **)p->put(l->map, &key) = n;
    n->older = l->newest;
    *(l->newest != NULL ? &l->newest->newer : &l->oldest) = n;
    l->newest = n;
    if (p->len(l->map) > l->most) {
        void *out = scn_lru_pop_oldest(p, l);

        if (l->evicted != NULL) l->evicted(out);
    }
}
