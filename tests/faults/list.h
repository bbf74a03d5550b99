/* list.h - lists of nodes from the allocator that a program of check-faults is about: GUEST_NEW
 * gives the memory, and a node has GUEST_ROOM bytes besides. Both are defined before this. */
#ifndef OAKUM_TESTS_LIST_H
#define OAKUM_TESTS_LIST_H

#include "guest.h"

#define GUEST_TEXT(name) #name
#define GUEST_NAME(name) GUEST_TEXT(name)

typedef struct node {
    struct node *next;
    long value;
    char room[GUEST_ROOM];
} node;

static inline node *list_of(long n)
{
    node *list = NULL;
    for (long i = 0; i < n; i++) {
        node *item = GUEST_NEW(sizeof *item);
        if (!item) failed(GUEST_NAME(GUEST_NEW));
        item->next = list;
        item->value = i;
        list = item;
    }
    return list;
}

static inline void check_list(const node *list, long n)
{
    long sum = 0, count = 0;
    for (; list; list = list->next, count++) sum += list->value;
    expect("nodes", count, n);
    expect("sum", sum, n * (n - 1) / 2);
}

#endif
