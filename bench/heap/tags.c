/* tags.c - what a full collection costs with tagged words: tags TREE|REFS K TAG
 *
 * Builds a graph whose references are words of one kind, and collects K times, in pauses, with one
 * marker. Callgrind's count for K = 4 less that for K = 1, by 3, is a collection's. TAG is plain,
 * nan, top, shift, compressed or three (docs/measurements/tags.md). */
#include <oakum/oakum.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OBJECTS 50000

static uint64_t *root, state = 88172645463325252u;
static uint64_t box;
static int shift;
static bool halves;
static uintptr_t base;

static uint64_t draw(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    return state ^= state << 17;
}

static uint64_t word_of(void *p)
{
    return halves ? ((uintptr_t)p - base) >> 4 : (uint64_t)(uintptr_t)p << shift | box;
}

static uint64_t tree(int depth)
{
    uint64_t *node = oak_alloc(2 * sizeof *node);
    for (int i = 0; i < 2 && depth > 0; i++) node[i] = tree(depth - 1);
    return word_of(node);
}

/* Eight references in each object. */
static void refs(void)
{
    uint64_t *all = oak_alloc(OBJECTS * sizeof *all);
    size_t each = halves ? sizeof(uint32_t) : sizeof(uint64_t);
    root[0] = (uint64_t)(uintptr_t)all;
    for (int i = 0; i < OBJECTS; i++) all[i] = (uint64_t)(uintptr_t)oak_alloc(8 * each);
    for (int i = 0; i < 8 * OBJECTS; i++) {
        uint64_t word = word_of((void *)(uintptr_t)all[draw() % OBJECTS]);
        memcpy((char *)(uintptr_t)all[i / 8] + (size_t)(i % 8) * each, &word, each);
    }
}

static void choose(const char *name, oak_config *c)
{
    oak_pointer_tag *t = c->pointer_tags;
    if (strcmp(name, "nan") == 0 || strcmp(name, "three") == 0) {
        *t++ = OAK_TAG_NAN_FFFC;
        box = (uint64_t)0xfffc << 48;
    }
    if (strcmp(name, "three") == 0) {
        *t++ = OAK_TAG_NAN_FFFA;
        *t = OAK_TAG_NAN_7FFC;
    } else if (strcmp(name, "top") == 0) {
        *t = OAK_TAG_TOP_BYTE;
        box = (uint64_t)0x7f << 56;
    } else if (strcmp(name, "shift") == 0) {
        *t = OAK_TAG_SHIFTED(3);
        shift = 3;
    } else if (strcmp(name, "compressed") == 0) {
        *t = OAK_TAG_COMPRESSED(4);
        halves = true;
    }
}

int main(int argc, char **argv)
{
    oak_config c;
    oak_heap_info info;
    if (argc != 4) return 2;
    oak_config_default(&c);
    c.concurrent = c.background_sweep = c.scavenge = c.touch_ahead = 0;
    c.gc_threads = 1;
    c.gc_percent = -1;
    c.heap_reserve = (size_t)32 << 30;
    choose(argv[3], &c);
    if (oak_init(&c) != 0) return 1;
    oak_heap_info_read(&info);
    base = (uintptr_t)info.base;
    root = oak_alloc(sizeof *root);
    if (strcmp(argv[1], "refs") == 0)
        refs();
    else
        root[0] = tree(17);
    for (int i = atoi(argv[2]); i > 0; i--) oak_collect();
    oak_memstats stats;
    oak_memstats_read(&stats);
    printf("%zu objects\n", (size_t)stats.heap_objects);
    return 0;
}
