/* ring.c - see ring.h. One entry is under way at a time (io_uring(7)). */
#include "ring.h"

#include <atomic_ops.h>
#include <errno.h>
#include <linux/io_uring.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define ENTRIES 4

static struct {
    int fd;
    char *rings;
    struct io_uring_sqe *sqes;
    struct io_uring_params p;
} ring;

static unsigned *word(uint32_t offset)
{
    return (unsigned *)(ring.rings + offset);
}

static void *map(size_t bytes, off_t what)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, ring.fd, what);
    return p == MAP_FAILED ? NULL : p;
}

bool test_ring_open(void)
{
    ring.fd = (int)syscall(SYS_io_uring_setup, ENTRIES, &ring.p);
    if (ring.fd < 0 || !(ring.p.features & IORING_FEAT_SINGLE_MMAP)) return false;
    size_t sq = ring.p.sq_off.array + ring.p.sq_entries * sizeof(unsigned);
    size_t cq = ring.p.cq_off.cqes + ring.p.cq_entries * sizeof(struct io_uring_cqe);
    ring.rings = map(sq > cq ? sq : cq, IORING_OFF_SQ_RING);
    ring.sqes = map(ring.p.sq_entries * sizeof *ring.sqes, (off_t)IORING_OFF_SQES);
    return ring.rings && ring.sqes;
}

static void submit(const struct io_uring_sqe *entry)
{
    unsigned tail = *word(ring.p.sq_off.tail), at = tail & *word(ring.p.sq_off.ring_mask);
    ring.sqes[at] = *entry;
    word(ring.p.sq_off.array)[at] = at;
    AO_int_store_release(word(ring.p.sq_off.tail), tail + 1);
}

static bool take(int *result)
{
    unsigned head = *word(ring.p.cq_off.head), at = head & *word(ring.p.cq_off.ring_mask);
    if (head == AO_int_load_acquire(word(ring.p.cq_off.tail))) return false;
    *result = ((struct io_uring_cqe *)(ring.rings + ring.p.cq_off.cqes))[at].res;
    AO_int_store_release(word(ring.p.cq_off.head), head + 1);
    return true;
}

bool test_ring_read(int file, void *to, size_t n)
{
    int result = -1;
    unsigned left = 1;
    submit(&(struct io_uring_sqe){
        .opcode = IORING_OP_READ,
        .flags = IOSQE_ASYNC,
        .fd = file,
        .addr = (uintptr_t)to,
        .len = (unsigned)n,
    });
    while (left > 0 || !take(&result)) { /* a stop may interrupt the wait */
        long got = syscall(SYS_io_uring_enter, ring.fd, left, 1, IORING_ENTER_GETEVENTS, NULL, 0L);
        if (got > 0) left = 0;
        if (got < 0 && errno != EINTR) return false;
    }
    return result == (int)n;
}
