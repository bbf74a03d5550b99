/* fuzz.h - what the fuzz targets share. Each is a program of libFuzzer's (LLVM), with ASan and
 * UBSan: make fuzz. A target checks results, too: FUZZ_REQUIRE ends the run where one is wrong. */
#ifndef TESTS_FUZZ_H
#define TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

#define FUZZ_REQUIRE(what)                                                            \
    do {                                                                              \
        if (!(what)) {                                                                \
            fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #what); \
            abort();                                                                  \
        }                                                                             \
    } while (0)

/* A file in memory that holds the bytes, and its path; the descriptor is the caller's to close. */
int fuzz_file(const uint8_t *data, size_t size, char path[64]);

/* All that a file in memory holds, with a NUL behind it; the caller frees it. */
char *fuzz_read(int fd, size_t *n);

#endif
