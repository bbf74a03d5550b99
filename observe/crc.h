/* crc.h - the checksum of gzip and of .gnu_debuglink: CRC-32 by the polynomial 0x04c11db7, its bits
 * reversed (RFC 1952, 8). */
#ifndef OAKI_CRC_H
#define OAKI_CRC_H

#include "runtime/base.h"

/* Extends the checksum `crc`, 0 at first, by n bytes. Works by half bytes: the table has 64
 * bytes. */
OAKI_INLINE uint32_t oaki_crc32(uint32_t crc, const unsigned char *p, size_t n)
{
    static const uint32_t table[16] = { 0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac,
                                        0x76dc4190, 0x6b6b51f4, 0x4db26158, 0x5005713c,
                                        0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c,
                                        0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c };
    uint32_t c = ~crc;
    for (size_t i = 0; i < n; i++) {
        c ^= p[i];
        c = c >> 4 ^ table[c & 15];
        c = c >> 4 ^ table[c & 15];
    }
    return ~c;
}

#endif
