/* os.h - all that Oakum asks of the operating system's memory and clocks. One .c for each
 * system.
 *
 * Sizes and addresses are multiples of the system's page size unless said otherwise. Functions
 * that can fail return 0 or -1 with errno, or NULL. All may be called with the world stopped. */
#ifndef OAKI_OS_H
#define OAKI_OS_H

#include "base.h"
#include <sys/types.h>

/* inaccessible address space, no memory behind it */
void *oaki_os_reserve(size_t size, size_t align);
/* munmap; where the process has as many mappings as it may, the memory alone goes for now */
void oaki_os_release(void *p, size_t size);
void oaki_os_shorten(void *p, size_t size, size_t keep); /* release what is behind keep */
/* readable, writable, zero when never touched; ENOMEM */
int oaki_os_commit(void *p, size_t size);
/* drop the memory, keep it committed: reads as zero */
void oaki_os_purge(void *p, size_t size);
/* have memory behind it, what it holds unchanged */
void oaki_os_touch(void *p, size_t size);
void *oaki_os_map(size_t size);                   /* committed, zeroed, of its own */
/* The same for work that ends soon, as an image's: where a limit on data leaves no memory of its
 * own, it is memory that children share, which no such limit counts. */
void *oaki_os_map_scratch(size_t size);
void *oaki_os_remap(void *p, size_t size, size_t to); /* it may move; NULL, and p stays as it was */
void oaki_os_huge(void *p, size_t size, bool on); /* advice only */
size_t oaki_os_page_size(void);
size_t oaki_os_memory(void);                      /* bytes that the machine has */
bool oaki_os_limited(void);                       /* is address space, or what of it is in use? */
unsigned oaki_os_cpus(void);                      /* that this process may run on */
uint64_t oaki_os_now_ns(void);                    /* monotonic */
uint64_t oaki_os_lately_ns(void);                 /* the same, to some ms, for less */
uint64_t oaki_os_wall_ns(void);                   /* since 1970 */
uint64_t oaki_os_cpu_ns(void);                    /* of the whole process */
uint64_t oaki_os_thread_cpu_ns(void);             /* of the calling thread */
int oaki_os_thread_clock(void);                   /* for another one that asks; 0: none */
uint64_t oaki_os_clock_ns(int clock);             /* 0: that thread is gone */
int oaki_os_tid(void);                            /* these two: -1 where nothing tells them */
int oaki_os_pid(void);                            /* not kept: the program may fork by itself */
bool oaki_os_alone(void);                         /* the process has one thread, for sure */
/* false where the system gives none: they differ from process to process, but can be guessed */
bool oaki_os_random(void *out, size_t n);
void oaki_os_sleep_ns(uint64_t ns);
void oaki_os_sleep_exactly_ns(uint64_t ns); /* not up to 50 us longer, as that one */
void oaki_os_yield(void);
/* The calling thread won't be run before the one that wakes it, as one that slept long would. */
void oaki_os_prefer_others(void);

/* write, but no signal comes of it: what nobody reads is EPIPE, what would be longer than
 * RLIMIT_FSIZE EFBIG. No cancellation point. */
ssize_t oaki_os_write(int fd, const void *p, size_t n);

/* Sleep while *word == seen; spurious returns are allowed. timeout_ns 0: none. Safe in signal
 * handlers. */
void oaki_futex_wait(unsigned int *word, unsigned int seen, uint64_t timeout_ns);
void oaki_futex_wake(unsigned int *word, int n);

/* Bytes of the process that are resident in [p, p + n), from the kernel's page map; SIZE_MAX
 * when it can't tell. */
size_t oaki_os_resident(const void *p, size_t n);

/* The same of all of the process, as the kernel counts it, to some pages; 0 when it can't tell. */
size_t oaki_os_rss(void);

/* Masks all signals of the calling thread, by the system's call, as libc's leaves those alone that
 * it uses itself, and we the stop signal; but for that one, if it isn't 0. Returns the mask
 * before. */
uint64_t oaki_os_mask_signals(int but);
/* Those of the set, bit i for signal i + 1, and no others. Returns the mask before. */
uint64_t oaki_os_block_signals(uint64_t set);
/* That which was in force where the signal came, of a handler's context. */
uint64_t oaki_os_mask_of(const void *context);
/* When the handler returns, the thread is in fn, as if the instruction that was interrupted had
 * called it; fn may not return, and expects no alignment of the stack. */
void oaki_os_go_on_in(void *context, void (*fn)(void));
/* As it was, libc's own signals too: a thread of libc's has them blocked. */
void oaki_os_unmask_signals(uint64_t before);

/* Is a part of [from, to) mapped so that what it shows may be written through another mapping, too
 * (MAP_SHARED)? By /proc/thread-self/maps; false when that can't be read. Allocates nothing. */
bool oaki_os_is_shared(uintptr_t from, uintptr_t to);

#endif
