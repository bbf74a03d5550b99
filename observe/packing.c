/* packing.c - libprotobuf-c and zlib, loaded late (packing.h).
 *
 * Owns: struct self: written once, by oaki_packing_load. */
#include "packing.h"
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>

static struct {
    pthread_once_t once;
    bool loaded;
    __typeof__(&oaki_packing_size) size;
    __typeof__(&oaki_packing_pack) pack;
    __typeof__(&oaki_packing_pack_to_buffer) pack_to_buffer;
    __typeof__(&oaki_packing_unpack) unpack;
    __typeof__(&oaki_packing_free_unpacked) free_unpacked;
    __typeof__(&deflateInit2_) begin;
    __typeof__(&deflate) deflate;
    __typeof__(&deflateEnd) end;
} self = { .once = PTHREAD_ONCE_INIT };

static bool find(void *lib, const char *name, void *fn)
{
    void *at = lib ? dlsym(lib, name) : NULL;
    *(void **)fn = at;
    return at != NULL;
}

static void load(void)
{
    void *pb = dlopen("libprotobuf-c.so.1", RTLD_NOW | RTLD_LOCAL);
    void *z = dlopen("libz.so.1", RTLD_NOW | RTLD_LOCAL);
    self.loaded = find(pb, "protobuf_c_message_get_packed_size", &self.size) &&
                  find(pb, "protobuf_c_message_pack", &self.pack) &&
                  find(pb, "protobuf_c_message_pack_to_buffer", &self.pack_to_buffer) &&
                  find(pb, "protobuf_c_message_unpack", &self.unpack) &&
                  find(pb, "protobuf_c_message_free_unpacked", &self.free_unpacked) &&
                  find(z, "deflateInit2_", &self.begin) && find(z, "deflate", &self.deflate) &&
                  find(z, "deflateEnd", &self.end);
}

int oaki_packing_load(void)
{
    (void)pthread_once(&self.once, load);
    if (self.loaded) return 0;
    errno = ENOSYS;
    return -1;
}

/* ---- libprotobuf-c ---- */

size_t oaki_packing_size(const ProtobufCMessage *message)
{
    return self.size(message);
}

size_t oaki_packing_pack(const ProtobufCMessage *message, uint8_t *out)
{
    return self.pack(message, out);
}

size_t oaki_packing_pack_to_buffer(const ProtobufCMessage *message, ProtobufCBuffer *buffer)
{
    return self.pack_to_buffer(message, buffer);
}

ProtobufCMessage *oaki_packing_unpack(const ProtobufCMessageDescriptor *descriptor,
                                      ProtobufCAllocator *allocator, size_t len,
                                      const uint8_t *data)
{
    return self.unpack(descriptor, allocator, len, data);
}

void oaki_packing_free_unpacked(ProtobufCMessage *message, ProtobufCAllocator *allocator)
{
    self.free_unpacked(message, allocator);
}

/* ---- zlib ---- */

int oaki_packing_deflate_begin(z_stream *z)
{
    return self.begin(z, Z_DEFAULT_COMPRESSION, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY,
                      ZLIB_VERSION, (int)sizeof *z);
}

int oaki_packing_deflate(z_stream *z, int flush)
{
    return self.deflate(z, flush);
}

int oaki_packing_deflate_end(z_stream *z)
{
    return self.end(z);
}
