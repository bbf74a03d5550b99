/* tlsfixed.c - a library that a test loads: thread-local storage in what the loader keeps free of
 * the static block for those that come later. */
static __thread void *slots[4] __attribute__((tls_model("initial-exec")));

void **libtlsfixed_slots(void);

void **libtlsfixed_slots(void)
{
    return slots;
}
