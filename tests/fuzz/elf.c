/* elf.c - fuzz target: symbols, sections and the build ID of a file that is taken for a program or
 * a library. */
#include "fuzz.h"
#include "observe/crc.h"
#include "observe/elfsym.h"

#include <string.h>
#include <unistd.h>

typedef struct bytes {
    const uint8_t *p;
    size_t n;
} bytes;

/* What is found is there. */
static void look_up(const oaki_elf *e, bytes all, uintptr_t at, oaki_elf_kind kind)
{
    uintptr_t start;
    size_t n;
    const char *name = oaki_elf_symbol(e, at, kind, &start, &n);
    if (!name) return;
    FUZZ_REQUIRE(memmem(all.p, all.n, name, strlen(name) + 1));
    FUZZ_REQUIRE(*name && at >= start && (n == 0 || at - start < n));
}

static void check_build_id(const oaki_elf *e, bytes all)
{
    static const char head[] = "\x14\0\0\0\x03\0\0\0GNU"; /* behind the name's length: 20 bytes */
    unsigned char id[20] = { 0 };
    const uint8_t *at = memmem(all.p, all.n, head, sizeof head);
    if (at && (size_t)(all.p + all.n - at) >= sizeof head + sizeof id)
        memcpy(id, at + sizeof head, sizeof id);
    bool found = oaki_elf_has_build_id(e, id, sizeof id);
    FUZZ_REQUIRE(!found || memmem(all.p, all.n, id, sizeof id));
    (void)oaki_elf_has_build_id(e, id, 4);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uintptr_t places[] = {
        0,      1,      0x40,   0x100,  0x238,  0x290,   0x300,
        0x1000, 0x1004, 0x1020, 0x2000, 0x4000, 0x10000, UINTPTR_MAX
    };
    static const char *const sections[] = { ".text", ".eh_frame_hdr", "", "x" };
    static const oaki_elf_kind kinds[] = { OAKI_ELF_FUNCTION, OAKI_ELF_DATA,
                                           OAKI_ELF_THREAD_LOCAL };
    const bytes all = { data, size };
    char path[64];
    oaki_elf e;
    int fd = fuzz_file(data, size, path);
    if (oaki_elf_open(&e, path) == 0) {
        uintptr_t addr;
        size_t length;
        for (size_t i = 0; i < OAKI_COUNT(places); i++)
            for (size_t k = 0; k < OAKI_COUNT(kinds); k++) look_up(&e, all, places[i], kinds[k]);
        for (size_t i = 0; i < OAKI_COUNT(sections); i++)
            (void)oaki_elf_section(&e, sections[i], &addr, &length);
        check_build_id(&e, all);
        FUZZ_REQUIRE(oaki_elf_has_checksum(&e, oaki_crc32(0, data, size)));
        oaki_elf_close(&e);
    }
    close(fd);
    return 0;
}
