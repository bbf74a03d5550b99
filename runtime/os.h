/* os.h - the calls to the operating system for memory, clocks and threads. One .c file per system.
 *
 * Sizes and addresses are multiples of the system's page size unless said otherwise. A function
 * that can fail returns NULL, or 0 or -1 with errno. All may be called with the world stopped. */
#ifndef OAKI_OS_H
#define OAKI_OS_H

#include "base.h"
#include <sys/types.h>

/* reserves address space: inaccessible, with no memory behind it */
void *oaki_os_reserve(size_t size, size_t align);
/* munmap; at the process's limit on mappings, only the memory goes for now */
void oaki_os_release(void *p, size_t size);
void oaki_os_release_after_fork(void); /* in the child */
/* A mapping becomes two, of `first` bytes and of the rest. false: no memory to note that. */
bool oaki_os_split(void *p, size_t size, size_t first);
void oaki_os_shorten(void *p, size_t size, size_t keep); /* releases all behind keep */
/* readable and writable; reads as zero until written; ENOMEM */
int oaki_os_commit(void *p, size_t size);
bool oaki_os_can_map(size_t n); /* whether the process may have n more mappings */
/* drops the memory and keeps the range committed: it reads as zero */
void oaki_os_purge(void *p, size_t size);
/* puts memory behind the range; its contents stay */
void oaki_os_touch(void *p, size_t size);
void *oaki_os_map(size_t size);                   /* a mapping of its own, committed and zeroed */
/* The same for short work, such as writing an image. Where a limit on data refuses private memory,
 * it is memory shared with children, which no such limit counts. */
void *oaki_os_map_scratch(size_t size);
void *oaki_os_remap(void *p, size_t size, size_t to); /* may move; on NULL, p is unchanged */
void oaki_os_huge(void *p, size_t size, bool on); /* advice only */
/* Joins small pages to huge ones at once, and backs missing pages. Since Linux 6.1. */
bool oaki_os_join(void *p, size_t size);
size_t oaki_os_page_size(void);
size_t oaki_os_memory(void);                      /* bytes in the machine */
size_t oaki_os_mappings_most(void);               /* vm.max_map_count */
bool oaki_os_limited(void);                       /* a limit on address space or data is set */
unsigned oaki_os_cpus(void);                      /* available to this process */
uint64_t oaki_os_now_ns(void);                    /* monotonic */
/* ns between two readings of a clock; 0 where it has gone back, as of a process that was moved. */
OAKI_INLINE uint64_t oaki_os_since(uint64_t from, uint64_t to)
{
    return to > from ? to - from : 0;
}
uint64_t oaki_os_lately_ns(void);                 /* the same, cheaper, to a few ms */
uint64_t oaki_os_wall_ns(void);                   /* since 1970 */
uint64_t oaki_os_cpu_ns(void);                    /* of the whole process */
uint64_t oaki_os_thread_cpu_ns(void);             /* of the calling thread */
int oaki_os_thread_clock(void);                   /* for use by another thread; 0: none */
uint64_t oaki_os_clock_ns(int clock);             /* 0: the thread is gone */
int oaki_os_tid(void);                            /* this and the next: -1 where unknown */
int oaki_os_pid(void);                            /* not cached: the host may fork directly */
bool oaki_os_alone(void);                         /* the process certainly has one thread */
/* Random bytes. false where the system gives none: the bytes differ from process to process, but
 * can be guessed. */
bool oaki_os_random(void *out, size_t n);
/* The same for seeds. It does not wait where the system has none yet, as early in its boot. */
void oaki_os_seed(void *out, size_t n);
void oaki_os_sleep_ns(uint64_t ns);
void oaki_os_sleep_exactly_ns(uint64_t ns); /* without the up to 50 us of slack */
void oaki_os_yield(void);
/* After this, waking the calling thread does not preempt the thread that wakes it, as it would
 * after a long sleep (SCHED_BATCH). */
void oaki_os_prefer_others(void);

/* write without signals: a pipe without a reader gives EPIPE, a write past RLIMIT_FSIZE gives
 * EFBIG. No cancellation point. */
ssize_t oaki_os_write(int fd, const void *p, size_t n);

/* Sleeps while *word == seen; spurious returns are allowed. timeout_ns 0: no timeout. Safe in
 * signal handlers. */
void oaki_futex_wait(unsigned int *word, unsigned int seen, uint64_t timeout_ns);
void oaki_futex_wake(unsigned int *word, int n);

/* Resident bytes in [p, p + n), from the kernel's page map; SIZE_MAX when unknown. */
size_t oaki_os_resident(const void *p, size_t n);

/* Resident bytes of the process as the kernel counts them, accurate to some pages; 0 when
 * unknown. */
size_t oaki_os_rss(void);

/* Masks all signals of the calling thread except `but`, if that isn't 0. Returns the mask before.
 * Uses the system call: libc's function leaves libc's own signals unmasked, and the malloc
 * library's leaves the stop signal. */
uint64_t oaki_os_mask_signals(int but);
/* Blocks the signals of `set`, bit i for signal i + 1, and leaves others as they are. Returns the
 * mask before. */
uint64_t oaki_os_block_signals(uint64_t set);
/* The mask of the interrupted code, from a handler's context. */
uint64_t oaki_os_mask_of(const void *context);
/* Makes the thread continue in fn when the handler returns, as if the interrupted instruction had
 * called it. fn may not return, and must not expect an aligned stack. */
void oaki_os_go_on_in(void *context, void (*fn)(void));
/* Restores the mask, libc's own signals included: a thread of libc's has those blocked. */
void oaki_os_unmask_signals(uint64_t before);

/* Is a part of [from, to) mapped MAP_SHARED, so that another mapping may write to its memory? Reads
 * /proc/thread-self/maps; false when that can't be read. Allocates nothing. */
bool oaki_os_is_shared(uintptr_t from, uintptr_t to);

#endif
