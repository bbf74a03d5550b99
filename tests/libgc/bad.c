/* bad.c - what programs do that libgc's documentation forbids, or that goes wrong with it, and that
 * is to work, or to end with a line that says why. Runs on Oakum's library alone.
 *
 * usage: bad NAME */
#include "api.h"
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/auxv.h>
#include <sys/wait.h>
#include <unistd.h>

static void **list(long n)
{
    void **head = NULL;
    for (long i = 0; i < n; i++) {
        void **p = GC_malloc(24);
        p[0] = head;
        head = p;
        GC_malloc(50);
    }
    return head;
}

static long length(void **head)
{
    long n = 0;
    for (; head; head = head[0]) n++;
    return n;
}

/* Threads of pthread_create that nobody registers, and which are known after their first call, be
 * it in a region. */

static void *first_calls(void *arg)
{
    *(long *)arg = length(list(10));
    return arg;
}

static void *unregistered(void *arg)
{
    long n = 0;
    if (arg) GC_do_blocking(first_calls, &n);
    void **mine = list(20000);
    GC_gcollect();
    return (void *)(length(mine) + n);
}

static int unknown_threads(void)
{
    pthread_t t[4];
    void *n;
    long sum = 0;
    for (int i = 0; i < 4; i++) pthread_create(&t[i], NULL, unregistered, i < 2 ? &sum : NULL);
    for (int i = 0; i < 10; i++) GC_gcollect();
    for (int i = 0; i < 4; i++) {
        pthread_join(t[i], &n);
        sum += (long)n;
    }
    return sum == 80020 ? 0 : 1;
}

/* A thread that gets the number of the one that is being joined before GC_pthread_join knows that
 * it has joined: in here, called from there, another thread starts it. */

static struct {
    bool on;
    pthread_t next;
    sem_t joined, started, end;
} reuse;

static void wait_for(sem_t *s)
{
    while (sem_wait(s) != 0) continue;
}

int pthread_join(pthread_t thread, void **result)
{
    int (*real)(pthread_t, void **);
    *(void **)&real = dlsym(RTLD_NEXT, "pthread_join");
    int e = real(thread, result);
    if (!reuse.on) return e;
    reuse.on = false;
    sem_post(&reuse.joined);
    wait_for(&reuse.started);
    return e;
}

static void *returns_at_once(void *arg)
{
    return arg;
}

static void *returns_list(void *arg)
{
    void **mine = list((long)arg);
    wait_for(&reuse.end);
    return mine;
}

static void *starts(void *arg)
{
    wait_for(&reuse.joined);
    GC_pthread_create(&reuse.next, NULL, returns_list, arg);
    sem_post(&reuse.started);
    return NULL;
}

/* Its result, of this length, is there though the heap has been collected. */
static int ends_well(long n)
{
    void *result = NULL;
    sem_post(&reuse.end);
    usleep(10000);
    for (int i = 0; i < 3; i++) {
        list(10000);
        GC_gcollect();
    }
    if (GC_pthread_join(reuse.next, &result) != 0) return 1;
    return length(result) == n ? 0 : 1;
}

static int number_reused(void)
{
    pthread_t starter, first;
    GC_pthread_create(&starter, NULL, starts, (void *)1000);
    GC_pthread_create(&first, NULL, returns_at_once, NULL);
    reuse.on = true;
    GC_pthread_join(first, NULL);
    int bad = ends_well(1000);
    return bad + GC_pthread_join(starter, NULL) + !pthread_equal(first, reuse.next);
}

/* Joins that fail, or are cancelled, take nothing from the one that doesn't. */

static void *joins_itself(void *arg)
{
    if (GC_pthread_join(pthread_self(), NULL) != EDEADLK) return NULL;
    return returns_list(arg);
}

static void *joins_next(void *arg)
{
    sem_post(&reuse.started);
    GC_pthread_join(reuse.next, NULL);
    return arg;
}

static int joins_that_fail(void)
{
    pthread_t joiner;
    void *result;
    GC_pthread_create(&reuse.next, NULL, joins_itself, (void *)1000);
    GC_pthread_create(&joiner, NULL, joins_next, NULL);
    wait_for(&reuse.started);
    usleep(10000);
    GC_pthread_cancel(joiner);
    GC_pthread_join(joiner, &result);
    return (result != PTHREAD_CANCELED) + ends_well(1000);
}

/* A finalizer that leaves the allocation it runs in. */

static jmp_buf out;
static volatile sig_atomic_t left;

static void leave(void *obj, void *cd)
{
    (void)obj;
    (void)cd;
    left++;
    longjmp(out, 1);
}

static void stay(void *obj, void *cd)
{
    (void)obj;
    (void)cd;
    left++;
}

static NOINLINE void make_finalized(GC_finalization_proc fn, int n)
{
    for (int i = 0; i < n; i++) GC_register_finalizer(GC_malloc(40), fn, NULL, NULL, NULL);
}

/* Allocating, and asking for other things, in a region of GC_do_blocking while others collect:
 * nothing is handed out twice. What is written to is uncollectable, as nobody looks at the stack in
 * there. */

enum { TAKEN = 100000 };

static volatile sig_atomic_t collecting = 1;

static void *collects(void *arg)
{
    while (collecting) GC_gcollect();
    return arg;
}

/* The list is kept by *head alone, which is no part of a stack. */
static int is_list_whole(void)
{
    static void **head;
    GC_generic_malloc_many(64, GC_I_NORMAL, (void **)&head);
    for (void **p = head; p; p = *p)
        if (p[1] || p[7] || GC_base(p) != p) return 0;
    return head != NULL;
}

static void ignore(void *obj, void *data)
{
    (void)obj;
    (void)data;
}

static void *asks(void *kept)
{
    static void *link;
    GC_register_finalizer_no_order(kept, ignore, NULL, NULL, NULL);
    GC_register_finalizer_no_order(kept, NULL, NULL, NULL, NULL);
    link = (void *)GC_HIDE_POINTER(kept);
    GC_general_register_disappearing_link(&link, kept);
    GC_gcollect();
    GC_alloc_lock();
    GC_alloc_unlock();
    return GC_unregister_disappearing_link(&link) ? kept : NULL;
}

static void *allocates(void *arg)
{
    static int *kept[100];
    long *good = arg;
    for (int i = 0; i < TAKEN; i++) {
        int **slot = &kept[i % 100], *p = *slot;
        if (p) {
            *good += *p % 100 == i % 100;
            GC_free(p);
        }
        p = *slot = i % 2 ? GC_malloc_uncollectable(40) : GC_malloc_atomic_uncollectable(40);
        if (!p || !GC_malloc(40) || !GC_malloc_atomic(40) || !is_list_whole()) return NULL;
        *p = i;
        if (i % 1000 == 0 && asks(p) != p) return NULL;
    }
    return arg;
}

/* The second time it is left by longjmp, and the thread stays in it. */
static void *leaves(void *arg)
{
    (void)allocates(arg);
    longjmp(out, 1);
}

static int region(void)
{
    static long good, n;
    pthread_t t;
    pthread_create(&t, NULL, collects, NULL);
    GC_do_blocking(allocates, &good);
    n = length(list(10000));
    if (setjmp(out) == 0) GC_do_blocking(leaves, &good);
    good += GC_malloc(40) != NULL;
    collecting = 0;
    pthread_join(t, NULL);
    return good == 2 * TAKEN - 100 + 1 && n == 10000 ? 0 : 1;
}

static int longjmp_from_finalizer(void)
{
    make_finalized(leave, 100);
    for (volatile sig_atomic_t i = 0; i < 200; i++) {
        if (setjmp(out) == 0) list(10000);
        if (i % 10 == 0 && setjmp(out) == 0) GC_gcollect();
    }
    return left > 10 && length(list(10000)) == 10000 ? 0 : 1;
}

/* And its thread goes on in a frame that has an unwritten buffer where the finalizer was. */

static NOINLINE int read_on(void)
{
    char buffer[16384];
    __asm__ __volatile__("" : : "r"(buffer) : "memory");
    left = 0;
    for (int i = 0; i < 40; i++) {
        GC_gcollect();
        list(2000);
        make_finalized(stay, 10);
    }
    return left > 300 ? 0 : 1;
}

static int longjmp_under_a_buffer(void)
{
    make_finalized(leave, 1);
    for (volatile sig_atomic_t i = 0; i < 10 && left == 0; i++)
        if (setjmp(out) == 0) list(10000), GC_gcollect();
    return left == 1 ? read_on() : 2;
}

/* Finalizers that make garbage with finalizers, and collect: they run inside of each other, but do
 * not pile up. */

enum { NESTING = 2000, DEEPEST = 16 };

static long nested, deepest, made;

static void nest(void *obj, void *cd)
{
    (void)obj;
    (void)cd;
    if (++nested > deepest) deepest = nested;
    left++;
    if (made < NESTING) {
        made += 2;
        make_finalized(nest, 2);
        for (int i = 0; i < 4; i++) GC_gcollect();
    }
    nested--;
}

static int nested_finalizers(void)
{
    make_finalized(nest, 2);
    for (int i = 0; i < 100 && left < NESTING; i++) GC_gcollect();
    printf("%d ran, %ld inside of each other\n", (int)left, deepest);
    return left > NESTING * 9 / 10 && deepest > 1 && deepest < DEEPEST ? 0 : 1;
}

/* A fork while other threads allocate, by a program that has said nothing of it. */

static volatile sig_atomic_t stop;

static void *churns(void *arg)
{
    while (!stop) list(1000);
    return arg;
}

static int fork_beside_threads(void)
{
    pthread_t t[3];
    int bad = 0;
    for (int i = 0; i < 3; i++) GC_pthread_create(&t[i], NULL, churns, NULL);
    for (int i = 0; i < 20; i++) {
        int status = 1;
        pid_t child = fork();
        if (child == 0) {
            alarm(60);
            void **mine = list(20000);
            GC_gcollect();
            pthread_t more;
            GC_pthread_create(&more, NULL, unregistered, NULL);
            GC_pthread_join(more, NULL);
            _exit(length(mine) == 20000 ? 0 : 1);
        }
        waitpid(child, &status, 0);
        bad += status != 0;
    }
    stop = 1;
    for (int i = 0; i < 3; i++) GC_pthread_join(t[i], NULL);
    return bad;
}

/* Nothing comes from the environment of a program that has the privileges of its file: 0 when that
 * is so, 77 when this is none. */
static int privileges(void)
{
    if (!getauxval(AT_SECURE)) return 77;
    return GC_is_disabled() || GC_get_free_space_divisor() != 3 ? 1 : 0;
}

static int freed_twice(void)
{
    void *p = GC_malloc(40);
    GC_free(p);
    GC_free(p);
    return 0;
}

static int interior_freed(void)
{
    GC_free((char *)GC_malloc(40) + 16);
    return 0;
}

static int no_kind(void)
{
    return GC_generic_malloc(10, 60) == NULL;
}

/* As GC_debug_malloc's users have it: written past the end, found by a collection. */
static char *victim;

static NOINLINE void write_at(size_t n)
{
    victim[n] = 1;
}

static int smashed(void)
{
    victim = GC_debug_malloc(20, "place.c", 17);
    write_at(24); /* what is left of the last word may be written to */
    GC_gcollect();
    return 0;
}

static void describe(void *obj, char *out)
{
    memcpy(out, "a leaked thing", *(char *)obj == 1 ? 15 : 5);
}

static NOINLINE void leak_one(void)
{
    char *p = memset(GC_debug_malloc(100, "leak.c", 3), 1, 100);
    GC_reachable_here(p);
    p = GC_malloc_atomic(3000);
    GC_reachable_here(p);
}

static int leaks(void)
{
    char dead[4096];
    GC_register_describe_type_fn(1, describe);
    leak_one();
    memset(dead, 0, sizeof dead);
    __asm__ __volatile__("" : : "r"(dead) : "memory");
    GC_gcollect();
    return 0;
}

/* What a thread freed before it was unregistered is another's when it comes back. */

enum { SMALL = 100, OTHERS = 200000 };

static struct {
    sem_t freed, taken;
    void *mine;
} again;

static void *comes_back(void *arg)
{
    struct GC_stack_base base;
    (void)arg;
    if (GC_get_stack_base(&base) != GC_SUCCESS || GC_register_my_thread(&base) != GC_SUCCESS)
        return (void *)1;
    again.mine = (void *)~(uintptr_t)GC_malloc(SMALL);
    GC_free((void *)~(uintptr_t)again.mine);
    GC_unregister_my_thread();
    sem_post(&again.freed);
    sem_wait(&again.taken);
    GC_register_my_thread(&base);
    long found = 0;
    for (int i = 0; i < 1000; i++) found += GC_malloc(SMALL) == (void *)~(uintptr_t)again.mine;
    GC_unregister_my_thread();
    return (void *)found;
}

static long warned;

static void count_warnings(char *text, GC_word arg)
{
    (void)text;
    (void)arg;
    warned++;
}

static int enabled_too_often(void)
{
    GC_set_warn_proc(count_warnings);
    GC_disable();
    GC_enable();
    GC_enable();
    GC_word before = GC_get_gc_no();
    GC_gcollect();
    return warned != 1 || GC_is_disabled() || GC_get_gc_no() == before;
}

/* ---- a thread's argument ---- */

static long went;

static void goes(void *obj, void *unused)
{
    (void)obj;
    (void)unused;
    went++;
}

static void *forget(void *arg)
{
    return *(char *)arg ? arg : NULL;
}

static NOINLINE void start_one(pthread_t *id)
{
    void *arg = GC_malloc(SMALL);
    GC_register_finalizer(arg, goes, NULL, NULL, NULL);
    GC_pthread_create(id, NULL, forget, arg);
}

/* Before they are joined, all have ended, and their arguments are garbage. */
static int argument_dropped(void)
{
    pthread_t id[20];
    for (int i = 0; i < 20; i++) start_one(&id[i]);
    usleep(300000);
    for (int i = 0; i < 10; i++) GC_gcollect(), GC_invoke_finalizers();
    long early = went;
    for (int i = 0; i < 20; i++) GC_pthread_join(id[i], NULL);
    return early < 10;
}

static int back_again(void)
{
    pthread_t t;
    void *found;
    void **others = GC_malloc(OTHERS * sizeof *others);
    long taken = 0;
    sem_init(&again.freed, 0, 0);
    sem_init(&again.taken, 0, 0);
    GC_allow_register_threads();
    if (pthread_create(&t, NULL, comes_back, NULL) != 0) return 2;
    sem_wait(&again.freed);
    GC_gcollect();
    for (int i = 0; i < OTHERS; i++) {
        others[i] = GC_malloc(SMALL);
        taken += others[i] == (void *)~(uintptr_t)again.mine;
    }
    sem_post(&again.taken);
    pthread_join(t, &found);
    GC_reachable_here(others);
    printf("taken %ld, and again %ld\n", taken, (long)found);
    return taken == 1 && !found ? 0 : 1;
}

static NOINLINE void *link_odd(void)
{
    void **from = GC_malloc_atomic(16);
    static void *to[2];
    *from = GC_malloc(16);
    GC_general_register_disappearing_link(from, *from);
    GC_move_disappearing_link(from, (void **)((char *)to + 1));
    return *from;
}

static int odd_link(void)
{
    return link_odd() == NULL;
}

static const struct {
    const char *name;
    int (*run)(void);
} parts[] = {
    { "unknown-threads", unknown_threads },
    { "number-reused", number_reused },
    { "joins-that-fail", joins_that_fail },
    { "region", region },
    { "longjmp", longjmp_from_finalizer },
    { "longjmp-under-a-buffer", longjmp_under_a_buffer },
    { "nested", nested_finalizers },
    { "fork", fork_beside_threads },
    { "privileges", privileges },
    { "freed-twice", freed_twice },
    { "interior-freed", interior_freed },
    { "no-kind", no_kind },
    { "smashed", smashed },
    { "back-again", back_again },
    { "enabled-too-often", enabled_too_often },
    { "argument-dropped", argument_dropped },
    { "odd-link", odd_link },
    { "leaks", leaks },
};

int main(int argc, char **argv)
{
    GC_INIT();
    sem_init(&reuse.joined, 0, 0);
    sem_init(&reuse.started, 0, 0);
    sem_init(&reuse.end, 0, 0);
    for (size_t i = 0; argc > 1 && i < sizeof parts / sizeof parts[0]; i++)
        if (strcmp(argv[1], parts[i].name) == 0) return parts[i].run();
    return 2;
}
