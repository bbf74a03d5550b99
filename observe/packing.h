/* packing.h - what pprof.c needs of libprotobuf-c and zlib, which are loaded when the first profile
 * is written: linked, they would make every start of a program longer, by some 100 us.
 *
 * The generated code calls the functions of libprotobuf-c by the names that they are given here. */
#ifndef OAKI_PACKING_H
#define OAKI_PACKING_H

#include "runtime/base.h"

#define protobuf_c_message_get_packed_size oaki_packing_size
#define protobuf_c_message_pack oaki_packing_pack
#define protobuf_c_message_pack_to_buffer oaki_packing_pack_to_buffer
#define protobuf_c_message_unpack oaki_packing_unpack
#define protobuf_c_message_free_unpacked oaki_packing_free_unpacked
#include <protobuf-c/protobuf-c.h>
#include <zlib.h>

/* 0, or -1 with ENOSYS when a library is missing. Outside of oaki_enter. */
int oaki_packing_load(void);

/* deflateInit2 for gzip, deflate, deflateEnd; loaded before. */
int oaki_packing_deflate_begin(z_stream *z);
int oaki_packing_deflate(z_stream *z, int flush);
int oaki_packing_deflate_end(z_stream *z);

#endif
