/* map_types.c - ready types of the default map, and hashes for types that its users define.
 *
 * Owns: constants only. */
#include "hash.h"
#include "map.h"
#include <string.h>

#define READY(name, kind, size, value, scan) \
    const oak_map_type name = { .key = kind, .key_size = size, .value_size = value, .flags = scan }
#define BOTH (OAK_MAP_SCAN_KEY | OAK_MAP_SCAN_VALUE)

READY(oak_map_u32_u32, OAK_KEY_U32, 4, 4, 0);
READY(oak_map_u32_ptr, OAK_KEY_U32, 4, 8, OAK_MAP_SCAN_VALUE);
READY(oak_map_u64_u64, OAK_KEY_U64, 8, 8, 0);
READY(oak_map_u64_ptr, OAK_KEY_U64, 8, 8, OAK_MAP_SCAN_VALUE);
READY(oak_map_ptr_u64, OAK_KEY_POINTER, 8, 8, OAK_MAP_SCAN_KEY);
READY(oak_map_ptr_ptr, OAK_KEY_POINTER, 8, 8, BOTH);
READY(oak_map_cstring_u64, OAK_KEY_CSTRING, 8, 8, OAK_MAP_SCAN_KEY);
READY(oak_map_cstring_ptr, OAK_KEY_CSTRING, 8, 8, BOTH);
READY(oak_map_slice_u64, OAK_KEY_SLICE, 16, 8, OAK_MAP_SCAN_KEY);
READY(oak_map_slice_ptr, OAK_KEY_SLICE, 16, 8, BOTH);
READY(oak_map_double_u64, OAK_KEY_DOUBLE, 8, 8, 0);
READY(oak_map_double_ptr, OAK_KEY_DOUBLE, 8, 8, OAK_MAP_SCAN_VALUE);

uint64_t oak_hash_bytes(const void *p, size_t n, uint64_t seed)
{
    if (OAKI_UNLIKELY(!p && n > 0)) oak_fatal("oakum: oak_hash_bytes: NULL has no bytes");
    return oaki_hash_bytes(p, n, seed);
}

uint64_t oak_hash_cstring(const char *s, uint64_t seed)
{
    if (OAKI_UNLIKELY(!s)) oak_fatal("oakum: oak_hash_cstring: NULL is no text");
    return oaki_hash_bytes(s, strlen(s), seed);
}

uint64_t oak_hash_double(double d, uint64_t seed)
{
    return oaki_hash_u64(oaki_double_bits(d), seed);
}
