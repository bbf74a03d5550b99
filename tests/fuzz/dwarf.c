/* dwarf.c - fuzz target: lines, functions and data from the debugging information of a library that
 * the process has mapped, as the loader would, but for running anything of it.
 *
 * The first four bytes of the input say how long the library is; the rest is what lies beside it
 * under the names that it may have for separate debugging information. libdw opens them by their
 * names, so they are files: in the folder FUZZ_FILES, while they are looked at. It is not built
 * with coverage, so the seeds and the dictionary have to reach what it does. */
#include "observe/dwarf.h"
#include "fuzz.h"

#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define ROOM ((size_t)1 << 20) /* of addresses, where the library is mapped each time */
#define LENGTH 4               /* bytes that say how long it is */
#define DENSE ((size_t)0x500)  /* addresses that most seeds have their code and data at */

enum { LIBRARY, DEBUG, DWO, FILES };

static char *place, paths[FILES][PATH_MAX];

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    static const char *const names[FILES] = { "library", "d.debug", "d.dwo" };
    const char *folder = getenv("FUZZ_FILES");
    (void)argc;
    (void)argv;
    for (size_t i = 0; i < FILES; i++)
        snprintf(paths[i], PATH_MAX, "%s/%s", folder ? folder : ".", names[i]);
    place = mmap(NULL, ROOM, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    oaki_dwarf_load();
    FUZZ_REQUIRE(place != MAP_FAILED && oaki_dwarf_here() == OAKI_DWARF_READY);
    return 0;
}

static int make_file(const char *path, const uint8_t *data, size_t size)
{
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    FUZZ_REQUIRE(fd >= 0 && write(fd, data, size) == (ssize_t)size);
    return fd;
}

static void make_files(const uint8_t *data, size_t size, size_t library)
{
    int fd = make_file(paths[LIBRARY], data, library);
    void *text = mmap(place, library, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_FIXED, fd, 0);
    FUZZ_REQUIRE(text == place);
    close(fd);
    for (size_t i = DEBUG; i < FILES; i++)
        close(make_file(paths[i], data + library, size - library));
}

static void remove_files(void)
{
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED;
    FUZZ_REQUIRE(mmap(place, ROOM, PROT_NONE, flags, -1, 0) == place);
    for (size_t i = 0; i < FILES; i++) FUZZ_REQUIRE(unlink(paths[i]) == 0);
}

static void look(const char *at)
{
    oak_frame frames[OAKI_SYMBOL_INLINED];
    size_t offset, bytes;
    memset(frames, 0, sizeof frames);
    size_t n = oaki_dwarf_code((uintptr_t)at, frames);
    FUZZ_REQUIRE(n <= OAKI_SYMBOL_INLINED);
    for (size_t i = 0; i < n; i++) {
        if (frames[i].function) FUZZ_REQUIRE(strlen(frames[i].function) < ROOM);
        if (frames[i].file) FUZZ_REQUIRE(strlen(frames[i].file) < ROOM);
    }
    const char *name = oaki_dwarf_data((uintptr_t)at, &offset, &bytes);
    if (name) FUZZ_REQUIRE(strlen(name) < ROOM && (bytes == 0 || offset < bytes));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint32_t library;
    if (size <= LENGTH || size > ROOM / 2) return -1;
    memcpy(&library, data, LENGTH);
    data += LENGTH;
    size -= LENGTH;
    if (library == 0 || library > size) return -1;
    make_files(data, size, library);
    for (size_t at = 0; at < library && at < DENSE; at += 0x10) look(place + at);
    for (size_t at = DENSE; at < library && at < 0x2000; at += 0x80) look(place + at);
    FUZZ_REQUIRE(oaki_dwarf_is_open());
    oaki_dwarf_close();
    remove_files();
    return 0;
}
