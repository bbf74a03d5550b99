/* closed.c - pages of blocks that the program protects, as the guard page of a coroutine's stack
 * that is a block.
 *
 * The heap in an image has to be readable, so images are told of the first such page. The C library
 * unmaps a large block that is freed, with its protection. So its pages are opened here, before it
 * is free: another block may come to lie there. A small block's owner opens it, as the C library
 * writes to it, too.
 *
 * What bypasses libc's mprotect goes unnoticed.
 *
 * Owns nothing. Lock: none. */
#include "observe/image.h"
#include "preload.h"
#include "runtime/os.h"

#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The runtime's own calls come here, too. */
OAKI_EXPORT int mprotect(void *p, size_t n, int prot)
{
    const oaki_heap *h = &oaki_the_heap;
    bool open = (prot & PROT_READ) && (prot & PROT_WRITE);
    if (OAKI_UNLIKELY(!open && (uintptr_t)p - h->base < h->reserved)) oaki_image_expect_closed();
    return (int)syscall(SYS_mprotect, p, n, prot);
}

void oaki_closed_open(void *p, size_t n)
{
    uintptr_t page = oaki_os_page_size(), lo = OAKI_ALIGN_UP((uintptr_t)p, page);
    uintptr_t hi = OAKI_ALIGN_DOWN((uintptr_t)p + n, page);
    if (OAKI_LIKELY(!oaki_image_expects_closed()) || hi <= lo) return;
    (void)syscall(SYS_mprotect, lo, hi - lo, PROT_READ | PROT_WRITE);
}
