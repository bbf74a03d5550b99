/* oakum.h - all of Oakum's public interface. */
#ifndef OAKUM_OAKUM_H
#define OAKUM_OAKUM_H

#include <oakum/base.h>
#include <oakum/cache.h>
#include <oakum/classic.h>
#include <oakum/detector.h>
#include <oakum/frames.h>
#include <oakum/gc.h>
#include <oakum/gclog.h>
#include <oakum/heap.h>
#include <oakum/map.h>
#include <oakum/map_bulk.h>
#include <oakum/map_inline.h>
#include <oakum/map_write.h>
#include <oakum/map_typed.h>
#include <oakum/pool.h>
#include <oakum/profile.h>
#include <oakum/serve.h>
#include <oakum/shardmap.h>
#include <oakum/snapshot.h>
#include <oakum/syncmap.h>
#include <oakum/trace.h>
#include <oakum/walk.h>
#include <oakum/weakmap.h>
#include <oakum/why.h>
#include <oakum/zone.h>

#endif
