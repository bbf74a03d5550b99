/* keep - memory that only an odd place refers to, and that no collection may free: keep PLACE.
 * Status 7: there was no collection that could have freed it. */
#include <atomic_ops.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <threads.h>
#include <unistd.h>

#define OWN __attribute__((noinline))
#define SIZE 200
#define MARK 0x5a

static OWN unsigned char *make(void)
{
    unsigned char *p = malloc(SIZE);
    if (!p) abort();
    return memset(p, MARK, SIZE);
}

static bool is_whole(const unsigned char *p)
{
    for (int i = 0; i < SIZE; i++)
        if (p[i] != MARK) return false;
    return true;
}

/* What is left on the stack of those that were called. */
static OWN void wipe(void)
{
    char rest[20000];
    memset(rest, 0, sizeof rest);
    __asm__("" ::"r"(rest) : "memory");
}

static AO_t lost; /* large blocks, by waste() */
static AO_t waits; /* as long as another process is looked at */

/* Enough for a collection or two, and then whatever was freed is used again. */
static OWN void waste(void)
{
    for (int i = 0; i < 3000; i++) {
        char *p = malloc(100000);
        if (!p) abort();
        memset(p, 1, 100000);
        (void)AO_fetch_and_add1(&lost);
        while (AO_load(&waits)) usleep(1000);
    }
    for (int i = 0; i < 200000; i++) {
        char *p = malloc(SIZE);
        if (!p) abort();
        memset(p, 2, SIZE);
    }
}

/* Of the 300 MB that waste() loses first, most have made room for what came after; where others are
 * at work, a collection may fail, and it is called more often. */
static bool has_collected(bool alone)
{
    struct rusage used;
    return getrusage(RUSAGE_SELF, &used) == 0 && used.ru_maxrss < (alone ? 250 : 700) << 10;
}

/* ---- shared memory ---- */

static OWN void fill(void **at)
{
    at[0] = make();
}

/* The only reference is at `at`, in n bytes from `from` on, of which the program then changes what
 * may be done with them; or nothing, when that is NULL. */
static int after(int (*change)(void *from, size_t n, int how), int how, void *from, size_t n,
                 void **at)
{
    if (from == MAP_FAILED) return 6;
    fill(at);
    wipe();
    if (change && change(from, n, how) != 0) return 6;
    waste();
    return is_whole(*at) ? 0 : 5;
}

static int in_memory(void *from)
{
    /* the pages before were never touched */
    return after(NULL, 0, from, 1 << 20, (void **)((char *)from + 64 * 4096));
}

static int in_memory_that_becomes_read_only(void **at)
{
    return after(mprotect, PROT_READ, at, 1 << 20, at);
}

static int in_what_becomes_read_only(int flags, int fd)
{
    return in_memory_that_becomes_read_only(
        mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, flags, fd, 0));
}

static int in_read_only(void)
{
    return in_what_becomes_read_only(MAP_PRIVATE | MAP_ANONYMOUS, -1);
}

static int in_shared_read_only(void)
{
    return in_what_becomes_read_only(MAP_SHARED | MAP_ANONYMOUS, -1);
}

static int in_file_read_only(void)
{
    char name[] = "/tmp/oakum-keep-XXXXXX";
    int fd = mkstemp(name);
    if (fd < 0 || unlink(name) != 0 || ftruncate(fd, 1 << 20) != 0) return 6;
    return in_what_becomes_read_only(MAP_PRIVATE, fd);
}

static int in_shm_file_read_only(void)
{
    int fd = shm_open("/oakum-keep", O_RDWR | O_CREAT | O_EXCL, 0600);
    if (fd < 0 || shm_unlink("/oakum-keep") != 0 || ftruncate(fd, 1 << 20) != 0) return 6;
    return in_what_becomes_read_only(MAP_PRIVATE, fd);
}

/* What lies behind the end of the program's data, and is called its heap. */
static int in_break_read_only(void)
{
    uintptr_t at = ((uintptr_t)sbrk(0) + 4095) & ~(uintptr_t)4095;
    if (brk((void *)(at + (1 << 20))) != 0) return 6;
    return in_memory_that_becomes_read_only((void **)at);
}

static int in_zero(void)
{
    int fd = open("/dev/zero", O_RDWR);
    return in_memory(mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0));
}

/* Folders within folders, the names of which are newlines: the kernel lists each as four bytes. */
static int open_long_name(void)
{
    enum { DEEP = 11, LENGTH = 200 };
    char name[LENGTH + 1] = "", top[] = "/tmp/oakum-keep-XXXXXX";
    memset(name, '\n', LENGTH);
    if (!mkdtemp(top) || chdir(top) != 0) return -1;
    for (int i = 0; i < DEEP; i++)
        if (mkdir(name, 0700) != 0 || chdir(name) != 0) return -1;
    int fd = open("file", O_RDWR | O_CREAT, 0600);
    if (fd < 0 || ftruncate(fd, 1 << 20) != 0 || unlink("file") != 0) return -1;
    for (int i = 0; i < DEEP; i++)
        if (chdir("..") != 0 || rmdir(name) != 0) return -1;
    return rmdir(top) == 0 ? fd : -1;
}

/* What the kernel lists after such a file. */
static int above_long_name(void)
{
    int fd = open_long_name(), flags = MAP_PRIVATE | MAP_ANONYMOUS;
    char *at = mmap(NULL, 2 << 20, PROT_READ | PROT_WRITE, flags, -1, 0);
    if (fd < 0 || at == MAP_FAILED) return 6;
    if (mmap(at, 1 << 20, PROT_READ, MAP_PRIVATE | MAP_FIXED, fd, 0) != at) return 6;
    return in_memory(at + (1 << 20));
}

static int in_shared(void)
{
    int flags = MAP_SHARED | MAP_ANONYMOUS;
    return in_memory(mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, flags, -1, 0));
}

static int in_memfd(void)
{
    int fd = memfd_create("keep", 0);
    if (fd < 0 || ftruncate(fd, 1 << 20) != 0) return 6;
    return in_memory(mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
}

static int in_shm(void)
{
    int id = shmget(IPC_PRIVATE, 1 << 20, 0600);
    void *at = shmat(id, NULL, 0);
    shmctl(id, IPC_RMID, NULL);
    return in_memory(at);
}

/* ---- memory that the program keeps out of forks ---- */

static int in_kept_out(void **at, int advice)
{
    return after(madvise, advice, at, 1 << 16, at);
}

static int in_kept_out_mapping(int advice)
{
    int flags = MAP_PRIVATE | MAP_ANONYMOUS;
    return in_kept_out(mmap(NULL, 1 << 16, PROT_READ | PROT_WRITE, flags, -1, 0), advice);
}

static int in_dontfork(void)
{
    return in_kept_out_mapping(MADV_DONTFORK);
}

static int in_wipeonfork(void)
{
    return in_kept_out_mapping(MADV_WIPEONFORK);
}

/* Pages of malloc's stay in forks; that they don't become zero there is told. */
static int in_malloced(void)
{
    void **at = aligned_alloc(4096, 1 << 16);
    if (!at) abort();
    if (madvise(at, 1 << 16, MADV_WIPEONFORK) == 0 || errno != EINVAL) return 5;
    return in_kept_out(at, MADV_DONTFORK);
}

/* ---- a thread that has not called malloc ---- */

static AO_t box, taken, go;

/* Has it in a register, and no call that would save it comes in between. */
static int keep_in_register(void *arg)
{
    unsigned char *p;
    (void)arg;
    while (!(p = (unsigned char *)AO_load_acquire(&box))) {}
    AO_store(&box, 0);
    AO_store_release(&taken, 1);
    while (!AO_load(&go)) __asm__("" : "+r"(p));
    return is_whole(p) ? 0 : 5;
}

static OWN void give(void)
{
    AO_store_release(&box, (AO_t)make());
    while (!AO_load_acquire(&taken)) sched_yield();
}

static void give_and_waste(void)
{
    give();
    wipe();
    waste();
    AO_store_release(&go, 1);
}

static int in_c11_thread(void)
{
    thrd_t id;
    int result = 6;
    if (thrd_create(&id, keep_in_register, NULL) != thrd_success) return 6;
    give_and_waste();
    thrd_join(id, &result);
    return result;
}

/* One that libc doesn't know. */
static char stack[1 << 16] __attribute__((aligned(16)));

static int run(void *result)
{
    AO_store_release(result, (AO_t)keep_in_register(NULL));
    return 0;
}

static int in_clone(void)
{
    static AO_t result = 6;
    int flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM;
    if (clone(run, stack + sizeof stack, flags, &result) < 0) return 6;
    give_and_waste();
    while (AO_load_acquire(&result) == 6) sched_yield();
    return (int)AO_load(&result);
}

/* ---- where handlers run ---- */

static OWN bool give_signal_stack(void)
{
    stack_t stack = { .ss_sp = malloc(1 << 16), .ss_size = 1 << 16 };
    if (!stack.ss_sp) abort();
    memset(stack.ss_sp, MARK, SIZE);
    return sigaltstack(&stack, NULL) == 0;
}

/* Only the kernel has it. */
static int in_signal_stack(void)
{
    stack_t stack;
    if (!give_signal_stack()) return 6;
    wipe();
    waste();
    return sigaltstack(NULL, &stack) == 0 && is_whole(stack.ss_sp) ? 0 : 5;
}

/* ---- others at work while there is a collection ---- */

/* Has the loader's lock, more often than not. */
static int look_up(void *arg)
{
    Dl_info info;
    while (!AO_load(&go)) (void)dladdr(arg, &info);
    return 0;
}

static int beside_loader(void)
{
    thrd_t id;
    if (thrd_create(&id, look_up, stack) != thrd_success) return 6;
    for (int i = 0; i < 4; i++) waste();
    AO_store(&go, 1);
    thrd_join(id, NULL);
    return 0;
}

static int waste_on(void *arg)
{
    (void)arg;
    while (!AO_load(&go)) waste();
    return 0;
}

/* A gigabyte, of which no more is there at a time than between two collections. */
static int child(void)
{
    struct rusage used;
    for (int i = 0; i < 3; i++) waste();
    getrusage(RUSAGE_SELF, &used);
    return used.ru_maxrss < 700 << 10 ? 0 : 5;
}

/* Forks while another thread loses blocks, wherever that is with it. It waits while a child is
 * looked at, which would have less of the processors. */
static int in_children(void)
{
    thrd_t id;
    int status, failed = 0;
    if (thrd_create(&id, waste_on, NULL) != thrd_success) return 6;
    for (int i = 0; i < 3; i++) {
        for (AO_t from = AO_load(&lost); AO_load(&lost) - from < 700;) usleep(1000);
        pid_t pid = fork();
        if (pid == 0) _exit(child());
        AO_store(&waits, 1);
        if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0) failed++;
        AO_store(&waits, 0);
    }
    AO_store(&go, 1);
    thrd_join(id, NULL);
    return failed ? 5 : 0;
}

int main(int argc, char **argv)
{
    static const struct place {
        const char *name;
        int (*run)(void);
        bool keeps_all; /* so that nothing is freed */
    } places[] = { { "shared", in_shared, false }, { "memfd", in_memfd, false },
                   { "shm", in_shm, false }, { "above-long-name", above_long_name, false },
                   { "c11", in_c11_thread, false }, { "clone", in_clone, true },
                   { "dontfork", in_dontfork, true }, { "wipeonfork", in_wipeonfork, true },
                   { "malloced", in_malloced, false },
                   { "signal-stack", in_signal_stack, false },
                   { "read-only", in_read_only, false }, { "zero", in_zero, false },
                   { "shared-read-only", in_shared_read_only, false },
                   { "file-read-only", in_file_read_only, false },
                   { "shm-read-only", in_shm_file_read_only, false },
                   { "break-read-only", in_break_read_only, false },
                   { "loader", beside_loader, false }, { "children", in_children, false } };
    for (size_t i = 0; argc > 1 && i < sizeof places / sizeof places[0]; i++)
        if (strcmp(argv[1], places[i].name) == 0) {
            bool alone = places[i].run != beside_loader && places[i].run != in_children;
            int result = places[i].run();
            return result == 0 && has_collected(alone) == places[i].keeps_all ? 7 : result;
        }
    return 2;
}
