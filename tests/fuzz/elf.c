/* elf.c - fuzz target: symbols of a file that is taken for a program or a library. */
#include "fuzz.h"
#include "observe/elfsym.h"

#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uintptr_t places[] = { 0,      1,      0x40,   0x100,  0x238,   0x1000,
                                        0x1004, 0x1020, 0x2000, 0x4000, 0x10000, UINTPTR_MAX };
    char path[64];
    oaki_elf e;
    int fd = fuzz_file(data, size, path);
    if (oaki_elf_open(&e, path) == 0) {
        for (size_t i = 0; i < OAKI_COUNT(places) * 2; i++) {
            uintptr_t start, at = places[i / 2];
            size_t n;
            const char *name = oaki_elf_symbol(&e, at, i % 2, &start, &n);
            if (!name) continue;
            FUZZ_REQUIRE((const unsigned char *)name >= e.map &&
                         (const unsigned char *)name + strlen(name) < e.map + e.size);
            FUZZ_REQUIRE(at >= start);
        }
        oaki_elf_close(&e);
    }
    close(fd);
    return 0;
}
