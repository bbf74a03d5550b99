/* probe.c - may this address be read? The kernel answers, with EFAULT instead of a signal that
 * kills.
 *
 * Owns nothing; no lock.
 *
 * rt_sigprocmask copies the new mask from user memory before it checks the requested operation. So
 * a call with an invalid operation shows the state of the address by its error. (Abseil's
 * AddressIsReadable does the same.) It is the cheapest such call, and no sandbox forbids it. */
#include "probe.h"

#include "os.h"
#include <errno.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

bool oaki_probe(const void *p)
{
    int saved = errno;
    const void *word = (const void *)OAKI_ALIGN_DOWN((uintptr_t)p, 8);
    bool ok = syscall(SYS_rt_sigprocmask, ~0L, word, NULL, 8L) == 0 || errno != EFAULT;
    errno = saved;
    return ok && word != NULL; /* a null mask is no error */
}

static const char *page_up(const char *p, size_t page)
{
    return (const char *)OAKI_ALIGN_UP((uintptr_t)p + 1, page);
}

const char *oaki_probe_end(const char *lo, const char *hi)
{
    size_t page = oaki_os_page_size();
    const char *p = lo;
    while (p < hi && oaki_probe(p)) p = page_up(p, page);
    return OAKI_MIN(p, hi);
}

const char *oaki_probe_start(const char *lo, const char *hi)
{
    if (lo >= hi || oaki_probe(lo)) return lo;
    size_t page = oaki_os_page_size();
    /* invariant: `bad` is unreadable, `good` is readable */
    const char *bad = (const char *)OAKI_ALIGN_DOWN((uintptr_t)lo, page);
    const char *good = (const char *)OAKI_ALIGN_DOWN((uintptr_t)(hi - 1), page);
    while ((size_t)(good - bad) > page) {
        const char *mid = bad + OAKI_ALIGN_DOWN((size_t)(good - bad) / 2, page);
        if (oaki_probe(mid))
            good = mid;
        else
            bad = mid;
    }
    return good > lo ? good : hi;
}

const char *oaki_probe_down(const char *lo, const char *hi)
{
    size_t page = oaki_os_page_size();
    const char *p = hi;
    while (p > lo) {
        const char *next = (const char *)OAKI_ALIGN_DOWN((uintptr_t)p - 1, page);
        if (!oaki_probe(next)) break;
        p = next;
    }
    return OAKI_MAX(p, lo);
}

/* With MS_ASYNC, Linux only walks the mappings, as it writes back by itself anyway. It returns
 * ENOMEM when there is a gap. */
bool oaki_probe_mapped(const char *lo, const char *hi)
{
    int saved = errno;
    char *from = (char *)OAKI_ALIGN_DOWN((uintptr_t)lo, oaki_os_page_size());
    bool ok = syscall(SYS_msync, from, (size_t)(hi - from), (long)MS_ASYNC) == 0 ||
              errno != ENOMEM;
    errno = saved;
    return ok;
}

bool oaki_probe_range(const char *lo, const char *hi)
{
    size_t page = oaki_os_page_size();
    const char *from = (char *)OAKI_ALIGN_DOWN((uintptr_t)lo, page);
    const char *last = (const char *)OAKI_ALIGN_DOWN((uintptr_t)(hi - 1), page);
    return oaki_probe(lo) && (from == last || oaki_probe(last)) &&
           ((size_t)(last - from) <= page || oaki_probe_mapped(lo, hi));
}

/* The copy ends at an unreadable byte, or where the system refuses to copy, as at a device's
 * address. The rest is probed one by one. */
bool oaki_probe_all(const void *const *p, size_t n)
{
    int saved = errno;
    char out[OAKI_PROBES];
    struct iovec from[OAKI_PROBES], to = { out, n };
    OAKI_INVARIANT(n <= OAKI_PROBES, "more addresses than are probed at once");
    for (size_t i = 0; i < n; i++) from[i] = (struct iovec){ (void *)(uintptr_t)p[i], 1 };
    ssize_t r = n > 0 ? process_vm_readv(oaki_os_pid(), &to, 1, from, n, 0) : 0;
    errno = saved;
    size_t i = r > 0 ? (size_t)r : 0;
    while (i < n && oaki_probe(p[i])) i++;
    return i == n;
}

size_t oaki_probe_copy(void *out, const void *p, size_t n)
{
    int saved = errno;
    struct iovec to = { out, n }, from = { (void *)(uintptr_t)p, n };
    ssize_t r = process_vm_readv(oaki_os_pid(), &to, 1, &from, 1, 0);
    size_t copied = r >= 0 ? (size_t)r : errno == EFAULT ? 0 : SIZE_MAX;
    errno = saved;
    return copied;
}
