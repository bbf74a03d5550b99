/* track.h - what the sanitizers and Valgrind are told; nothing in a plain build.
 *
 * oaki_track_alloc: [p, p + n) is about to be handed out. oaki_track_free: it may not be touched
 * until then. Only objects freed by hand are poisoned: the collector frees what nothing points
 * to, and its own scans go anywhere. */
#ifndef OAKI_TRACK_H
#define OAKI_TRACK_H

#include "base.h"

#if defined(__SANITIZE_ADDRESS__)
#define OAKI_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define OAKI_ASAN 1
#endif
#endif

#if defined(__SANITIZE_THREAD__)
#define OAKI_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define OAKI_TSAN 1
#endif
#endif

#ifdef OAKI_ASAN
#include <sanitizer/asan_interface.h>
#define oaki_track_alloc(p, n) __asan_unpoison_memory_region((p), (n))
#define oaki_track_free(p, n) __asan_poison_memory_region((p), (n))
/* A scan reads whole stacks and segments, red zones included. Inlined code goes by the function
 * that it ends up in, so the callers of an OAKI_INLINE one need it too. */
#define OAKI_NO_ASAN __attribute__((no_sanitize_address))
#else
#define oaki_track_alloc(p, n) ((void)(p), (void)(n))
#define oaki_track_free(p, n) ((void)(p), (void)(n))
#define OAKI_NO_ASAN
#endif

#endif
