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

/* What is in gzip's format, and nothing behind it, unpacked to at most `room` bytes; the caller
 * frees it. */
char *fuzz_inflate(const void *packed, size_t n, size_t room, size_t *out);

/* It is a profile as profile.proto has it: known fields, text in UTF-8, and numbers of strings,
 * functions, places and mappings that are there. Returns how many labels there are in all. */
size_t fuzz_pprof_check(const void *p, size_t n);

#endif
