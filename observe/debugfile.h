/* debugfile.h - debugging information in a file apart, by the name that the object has for it
 * (.gnu_debuglink): beside the object, in .debug beside it, and under /usr/lib/debug.
 *
 * libdw's own search would ask servers on the network behind that, and load a library for it
 * (docs/libraries.md). */
#ifndef OAKI_DEBUGFILE_H
#define OAKI_DEBUGFILE_H

#include "runtime/base.h"

#define OAKI_DEBUGFILE_PATH 4096

typedef struct oaki_debugfile {
    const char *object, *link;
    const unsigned char *id; /* the object's build id, which the file must have, */
    size_t id_len;           /* or 0: */
    uint32_t crc;            /* then the file's checksum */
} oaki_debugfile;

/* The file, open for reading, and its path; or -1. */
int oaki_debugfile_open(const oaki_debugfile *d, char path[OAKI_DEBUGFILE_PATH]);

#endif
