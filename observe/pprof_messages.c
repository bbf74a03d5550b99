/* pprof_messages.c - the messages of pprof.proto: what protoc-c makes of it, calling
 * libprotobuf-c by way of packing.h. */
#include "packing.h"
#include "observe/pprof.pb-c.c"
