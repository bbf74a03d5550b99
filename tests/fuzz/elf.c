/* elf.c - fuzz target: symbols, sections and the build ID of a file that is taken for a program or
 * a library. */
#include "fuzz.h"
#include "observe/elfsym.h"

#include <string.h>
#include <unistd.h>

static void look_up(const oaki_elf *e, uintptr_t at, bool data)
{
    uintptr_t start;
    size_t n;
    const char *name = oaki_elf_symbol(e, at, data, &start, &n);
    if (!name) return;
    FUZZ_REQUIRE((const unsigned char *)name >= e->map &&
                 (const unsigned char *)name + strlen(name) < e->map + e->size);
    FUZZ_REQUIRE(*name && at >= start && (n == 0 || at - start < n));
}

/* What is found is there. */
static void check_build_id(const oaki_elf *e)
{
    static const char head[] = "\x14\0\0\0\x03\0\0\0GNU"; /* behind the name's length: 20 bytes */
    unsigned char id[20] = { 0 };
    const unsigned char *at = memmem(e->map, e->size, head, sizeof head);
    if (at && (size_t)(e->map + e->size - at) >= sizeof head + sizeof id)
        memcpy(id, at + sizeof head, sizeof id);
    bool found = oaki_elf_has_build_id(e, id, sizeof id);
    FUZZ_REQUIRE(!found || memmem(e->map, e->size, id, sizeof id));
    (void)oaki_elf_has_build_id(e, id, 4);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uintptr_t places[] = {
        0,      1,      0x40,   0x100,  0x238,  0x290,   0x300,
        0x1000, 0x1004, 0x1020, 0x2000, 0x4000, 0x10000, UINTPTR_MAX
    };
    static const char *const sections[] = { ".text", ".eh_frame_hdr", "", "x" };
    char path[64];
    oaki_elf e;
    int fd = fuzz_file(data, size, path);
    if (oaki_elf_open(&e, path) == 0) {
        uintptr_t addr;
        size_t bytes;
        for (size_t i = 0; i < OAKI_COUNT(places) * 2; i++) look_up(&e, places[i / 2], i % 2);
        for (size_t i = 0; i < OAKI_COUNT(sections); i++)
            (void)oaki_elf_section(&e, sections[i], &addr, &bytes);
        check_build_id(&e);
        oaki_elf_close(&e);
    }
    close(fd);
    return 0;
}
