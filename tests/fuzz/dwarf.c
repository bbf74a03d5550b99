/* dwarf.c - fuzz target: lines and functions from the debugging information of a library that the
 * process has mapped. It is mapped as the loader would, but for running anything of it. */
#include "fuzz.h"
#include "observe/symbol.h"

#include <elf.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define ROOM ((size_t)1 << 20) /* of addresses, where the library is mapped each time */

static char *place;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    place = mmap(NULL, ROOM, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    FUZZ_REQUIRE(place != MAP_FAILED);
    return 0;
}

static void look(const char *at)
{
    oak_frame frames[OAKI_SYMBOL_INLINED];
    oaki_symbol data;
    memset(frames, 0, sizeof frames);
    size_t n = oaki_symbol_of_code((uintptr_t)at, frames);
    FUZZ_REQUIRE(n >= 1 && n <= OAKI_SYMBOL_INLINED);
    for (size_t i = 0; i < n; i++) {
        if (frames[i].function) FUZZ_REQUIRE(strlen(frames[i].function) < ROOM);
        if (frames[i].file) FUZZ_REQUIRE(strlen(frames[i].file) < ROOM);
    }
    (void)oaki_symbol_of_data((uintptr_t)at, &data);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < sizeof(Elf64_Ehdr) || size > ROOM / 2 || memcmp(data, ELFMAG, SELFMAG)) return -1;
    int fd = fuzz_file(data, size, NULL);
    void *text = mmap(place, size, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_FIXED, fd, 0);
    FUZZ_REQUIRE(text == place);
    for (size_t at = 0; at < size && at < 0x2000; at += 0x80) look(place + at);
    oaki_symbols_release();
    FUZZ_REQUIRE(mmap(place, ROOM, PROT_NONE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) == place);
    close(fd);
    return 0;
}
