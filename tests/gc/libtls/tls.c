/* tls.c - a library that a test loads: thread-local storage in a block of its own, which each
 * thread gets when it first asks. */
static __thread void *slots[1024];

void **libtls_slots(void);

void **libtls_slots(void)
{
    return slots;
}
