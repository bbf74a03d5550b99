/* extents - Oakum's own mappings are listed once each, with their last length, in whatever order
 * they came, went, and were shortened. Linked with what is otherwise preloaded, whose list it is.
 */
#include "embed/malloc/preload.h"
#include "runtime/os.h"
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define PLACES 300
#define STEP ((uintptr_t)1 << 16)
#define FIRST ((uintptr_t)1 << 60) /* where there is no memory */

static size_t length[PLACES]; /* bytes; 0: none */

static size_t next(size_t below)
{
    static uint64_t x = 1;
    x = x * 6364136223846793005u + 1442695040888963407u;
    return (size_t)(x >> 33) % below;
}

static void change(size_t i)
{
    const void *p = (const void *)(FIRST + i * STEP);
    length[i] = next(2) == 0 ? 0 : (1 + next(8)) << 12;
    if (length[i] > 0) oaki_own_add(p, length[i]);
    else oaki_own_remove(p);
}

/* The list's extents of these places are in order, and no others. */
static bool is_right(const oaki_extent *list, size_t n)
{
    size_t i = 0;
    for (size_t k = 0; k < n; k++) {
        if (list[k].lo < FIRST || list[k].lo >= FIRST + PLACES * STEP) continue;
        while (i < PLACES && length[i] == 0) i++;
        if (i == PLACES || list[k].lo != FIRST + i * STEP) return false;
        if (list[k].hi != list[k].lo + length[i++]) return false;
    }
    while (i < PLACES && length[i] == 0) i++;
    return i == PLACES;
}

int main(void)
{
    for (int round = 0; round < 1000; round++) {
        size_t n, mapped;
        for (int k = 0; k < 50; k++) change(next(PLACES));
        oaki_extent *list = oaki_own_sorted(&n, &mapped);
        if (!list) abort();
        bool right = is_right(list, n);
        oaki_os_release(list, mapped);
        if (right) continue;
        fprintf(stderr, "extents: the list is wrong after %d changes\n", 50 * (round + 1));
        return 1;
    }
    return 0;
}
