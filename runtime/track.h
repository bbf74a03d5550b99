/* track.h - reports to the sanitizers and to Valgrind; nothing in a plain build.
 *
 * oaki_track_alloc: [p, p + n) is about to be handed out. oaki_track_free: it may not be touched
 * until it is handed out again. Only objects freed by hand are poisoned. No reference is left to an
 * object that the collector frees, and the collector's own scans read everywhere. */
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
/* For a function that scans: a scan reads whole stacks and segments, red zones included. Inlined
 * code takes the attribute of the function that it ends up in, so callers of an OAKI_INLINE one
 * need it too. */
#define OAKI_NO_ASAN __attribute__((no_sanitize_address))
#else
#define oaki_track_alloc(p, n) ((void)(p), (void)(n))
#define oaki_track_free(p, n) ((void)(p), (void)(n))
#define OAKI_NO_ASAN
#endif

#endif
