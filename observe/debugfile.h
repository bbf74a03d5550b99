/* debugfile.h - separate files of debugging information, found by the name in .gnu_debuglink.
 *
 * They are looked for in the object's directory, in .debug there, and under /usr/lib/debug. libdw's
 * own search would go on to servers on the network, and load a library for that
 * (docs/libraries.md). */
#ifndef OAKI_DEBUGFILE_H
#define OAKI_DEBUGFILE_H

#include "runtime/base.h"

#define OAKI_DEBUGFILE_PATH 4096

typedef struct oaki_debugfile {
    const char *object, *link;
    const unsigned char *id; /* the object's build id, which the file must have */
    size_t id_len;           /* 0: the object has none, and `crc` decides */
    uint32_t crc;            /* the file's checksum, by .gnu_debuglink */
} oaki_debugfile;

/* Returns the file's descriptor, open for reading, and its path; or -1. */
int oaki_debugfile_open(const oaki_debugfile *d, char path[OAKI_DEBUGFILE_PATH]);

#endif
