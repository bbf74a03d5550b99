/* unwind.c - fuzz target: tables for unwinding (.eh_frame_hdr and .eh_frame) that may say anything,
 * and the first page of an object, which tells what is loaded there.
 *
 * The first four bytes of the input say where the code is, from the header; the rest is mapped, as
 * an object with nothing behind it, and a walk goes one frame up from that code. */
#include "fuzz.h"
#include "observe/unwind_content.h"
#include "observe/unwind_walk.h"
#include "runtime/os.h"

#include <string.h>
#include <sys/mman.h>

#define ROOM ((size_t)1 << 16) /* of an object */
#define CODE 4                 /* bytes that say where code is */
#define PLACES 8               /* of code that are tried */

static char *place;         /* ROOM bytes, between pages that can't be read */
static uintptr_t words[64]; /* a stack */

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    size_t page = oaki_os_page_size();
    char *all = mmap(NULL, ROOM + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    FUZZ_REQUIRE(all != MAP_FAILED);
    place = all + page;
    FUZZ_REQUIRE(mprotect(place, ROOM, PROT_READ | PROT_WRITE) == 0);
    return 0;
}

static void walk(const oaki_unwind_object *o, uintptr_t at, bool exact)
{
    oaki_walk w = { .pc = at, .exact = exact };
    for (size_t i = 0; i < OAKI_COUNT(words); i++)
        words[i] = i % 3 ? (uintptr_t)&words[i] + 8 * (i % 5) : (uintptr_t)place + i;
    for (unsigned i = 0; i < OAKI_COLUMNS; i++) w.registers.r[i] = (uintptr_t)&words[i];
    w.registers.known = ~(uint32_t)0 >> (32 - OAKI_COLUMNS);
    uintptr_t sp = w.registers.r[OAKI_COLUMN_SP];
    if (!oaki_walk_row(&w, o, at)) return;
    FUZZ_REQUIRE(w.registers.known >> OAKI_COLUMN_SP & w.registers.known >> OAKI_COLUMN_RA & 1);
    FUZZ_REQUIRE(w.exact || w.registers.r[OAKI_COLUMN_SP] > sp - exact);
}

static void look(const oaki_unwind_object *o, uintptr_t at)
{
    oaki_rule rule = oaki_walk_read_rule(o, at);
    FUZZ_REQUIRE(oaki_rule_kind(rule) >= OAKI_BY_SP && oaki_rule_kind(rule) <= OAKI_AT_END);
    walk(o, at, true);
    walk(o, at, false);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint64_t number; /* each object is another */
    int32_t code;
    if (size < CODE || size > ROOM) return -1;
    memcpy(&code, data, CODE);
    data += CODE;
    size -= CODE;
    uintptr_t lo = (uintptr_t)place + ROOM - size;
    memset(place, 0, ROOM - size);
    if (size > 0) memcpy((void *)lo, data, size);
    oaki_unwind_object o = { lo, lo + size, lo, ++number };
    for (unsigned i = 0; i < PLACES; i++)
        look(&o, o.header + (uintptr_t)(intptr_t)code + ((uintptr_t)1 << i) - 1);
    if (size > 0) memcpy(place, data, size); /* as the first page of an object */
    o = (oaki_unwind_object){ (uintptr_t)place, (uintptr_t)place + ROOM, 0, number };
    (void)oaki_unwind_content(&o, false);
    return 0;
}
