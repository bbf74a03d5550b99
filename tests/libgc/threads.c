/* threads.c - threads, blocking regions, stacks, the allocation lock, fork. */
#include "api.h"
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#define THREADS 6

static void *build(void *arg)
{
    void **head = NULL;
    for (int i = 0; i < 20000; i++) {
        void **p = GC_malloc(24);
        if (i % 2 == 0) {
            p[0] = head;
            p[1] = (void *)(uintptr_t)(i + (intptr_t)arg);
            head = p;
        }
        if (i % 5000 == 0) GC_gcollect();
    }
    return head;
}

static long length(void **head, intptr_t arg)
{
    long n = 0;
    for (; head; head = head[0]) n += ((intptr_t)head[1] - arg) % 2 == 0;
    return n;
}

static void create(void)
{
    pthread_t thread[THREADS];
    void *result;
    long good = 0;
    for (int i = 0; i < THREADS; i++)
        good += GC_pthread_create(&thread[i], NULL, build, (void *)(intptr_t)(100 * i)) == 0;
    say("created", good);
    good = 0;
    for (int i = 0; i < THREADS; i++) {
        GC_gcollect();
        good += GC_pthread_join(thread[i], &result) == 0 && length(result, 100 * i) == 10000;
    }
    say("joined, results whole", good);
}

static void *exits(void *arg)
{
    GC_pthread_exit(build(arg));
}

/* What a thread that is over has returned is there until it is joined, and its stack is not. */

typedef struct ending {
    watch w;
    pid_t tid;
    sem_t told; /* it is known */
    bool exits;
} ending;

static NOINLINE void *make_result(watch *w)
{
    void **head = NULL;
    for (int i = 0; i < MANY; i++) {
        void **p = GC_malloc(40);
        *p = head;
        head = p;
        watch_add(w, p);
    }
    return head;
}

static void *returns(void *arg)
{
    ending *e = arg;
    e->tid = gettid();
    sem_post(&e->told);
    void *result = make_result(&e->w);
    if (e->exits) GC_pthread_exit(result);
    return result;
}

static NOINLINE void join_and_drop(pthread_t t)
{
    void **head;
    long n = 0;
    GC_pthread_join(t, (void **)&head);
    for (; head; head = *head) n++;
    say("  its length", n);
}

static void result_lives(const char *what, bool exits)
{
    pthread_t t;
    ending e = { .exits = exits };
    watch_init(&e.w);
    sem_init(&e.told, 0, 0);
    GC_pthread_create(&t, NULL, returns, &e);
    while (sem_wait(&e.told) != 0) continue;
    while (tgkill(getpid(), e.tid, 0) == 0) usleep(1000);
    collect();
    printf("%s\n", what);
    say_of_many("  before the join", watch_alive(&e.w));
    join_and_drop(t);
    collect();
    say_of_many("  and after it", watch_alive(&e.w));
}

static void *sleeps(void *arg)
{
    for (;;) pause();
    return arg;
}

static void ends(void)
{
    pthread_t t;
    void *result = NULL;
    GC_pthread_create(&t, NULL, exits, (void *)10);
    usleep(20000);
    collect();
    GC_pthread_join(t, &result);
    say("exited, result whole", length(result, 10) == 10000);
    result_lives("a result that is returned", false);
    GC_pthread_create(&t, NULL, sleeps, NULL);
    GC_pthread_cancel(t);
    GC_pthread_join(t, &result);
    say("cancelled", result == PTHREAD_CANCELED);
    say("detached", GC_pthread_create(&t, NULL, build, NULL) == 0 && GC_pthread_detach(t) == 0);
}

static void *registers(void *arg)
{
    struct GC_stack_base base;
    long *said = arg;
    said[0] = GC_thread_is_registered();
    said[1] = GC_get_stack_base(&base) == GC_SUCCESS && (char *)base.mem_base > (char *)&base;
    said[2] = GC_register_my_thread(&base);
    said[3] = GC_register_my_thread(&base);
    said[4] = GC_thread_is_registered() != 0;
    said[5] = length(build((void *)20), 20);
    said[6] = GC_unregister_my_thread();
    said[7] = GC_thread_is_registered();
    return NULL;
}

static void register_by_hand(void)
{
    static long said[8];
    struct GC_stack_base base;
    pthread_t t;
    GC_allow_register_threads();
    GC_get_stack_base(&base);
    say("the first thread", GC_register_my_thread(&base));
    pthread_create(&t, NULL, registers, said);
    pthread_join(t, NULL);
    for (int i = 0; i < 8; i++) printf("registering by hand, %d: %ld\n", i, said[i]);
}

/* ---- blocking ---- */

static volatile sig_atomic_t go;

static void *active(void *arg)
{
    return (void *)length(build(arg), (intptr_t)arg);
}

static void *blocked(void *arg)
{
    while (!go) usleep(1000);
    return GC_call_with_gc_active(active, arg);
}

static void *blocks(void *arg)
{
    void **kept = build(arg);
    long n = (long)(intptr_t)GC_do_blocking(blocked, arg);
    return (void *)(n + length(kept, (intptr_t)arg));
}

static void blocking(void)
{
    pthread_t t;
    void *result;
    GC_pthread_create(&t, NULL, blocks, (void *)4);
    usleep(20000);
    collect();
    go = 1;
    GC_pthread_join(t, &result);
    say("blocked, active and blocked", (long)(intptr_t)result);
    say("active when it is", (long)(intptr_t)GC_call_with_gc_active(active, (void *)2));
}

/* A thread that is cancelled in a region allocates in the handlers that it has pushed before, be it
 * blocked, or active in the midst of it. */

typedef struct cancelling {
    sem_t there;
    bool active;
    long length;
} cancelling;

static void *waits(void *arg)
{
    cancelling *c = arg;
    sem_post(&c->there);
    for (;;) pause();
    return arg;
}

static void *waits_in_region(void *arg)
{
    cancelling *c = arg;
    return c->active ? GC_call_with_gc_active(waits, c) : GC_do_blocking(waits, c);
}

static void builds(void *arg)
{
    cancelling *c = arg;
    c->length = length(build((void *)6), 6);
}

static void *is_cancelled(void *arg)
{
    pthread_cleanup_push(builds, arg);
    GC_do_blocking(waits_in_region, arg);
    pthread_cleanup_pop(0);
    return NULL;
}

static void cancelled(void)
{
    for (int i = 0; i < 2; i++) {
        pthread_t t;
        void *result = NULL;
        cancelling c = { .active = i == 1 };
        sem_init(&c.there, 0, 0);
        GC_pthread_create(&t, NULL, is_cancelled, &c);
        while (sem_wait(&c.there) != 0) continue;
        GC_pthread_cancel(t);
        GC_pthread_join(t, &result);
        say("cancelled in a region", result == PTHREAD_CANCELED);
        say("  built by its handler", c.length);
    }
}

/* ---- stacks ---- */

static void *with_base(struct GC_stack_base *base, void *arg)
{
    char here;
    say("base of a frame", (char *)base->mem_base > &here);
    return arg;
}

/* A stack of the program's own, told of by GC_set_stackbottom: what it refers to lives, and what
 * lies behind its bottom does not count. */

#define STACK ((size_t)256 << 10)

static ucontext_t back, fiber;
static struct GC_stack_base own, other;
static void *handle;
static watch on_fiber, behind;
static long on_fiber_alive, behind_alive;

static NOINLINE void fill(watch *w, void **where)
{
    watch_init(w);
    for (int i = 0; i < MANY; i++) {
        where[i] = GC_malloc(40);
        watch_add(w, where[i]);
    }
}

static void run_fiber(void)
{
    void *slots[MANY];
    fill(&on_fiber, slots);
    fill(&behind, other.mem_base);
    collect();
    on_fiber_alive = watch_alive(&on_fiber);
    behind_alive = watch_alive(&behind);
    GC_reachable_here(slots);
    GC_set_stackbottom(handle, &own);
    swapcontext(&fiber, &back);
}

static void *switches(void *what)
{
    char *stack = mmap(NULL, 2 * STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    handle = GC_get_my_stackbottom(&own);
    other.mem_base = stack + STACK;
    getcontext(&fiber);
    fiber.uc_stack.ss_sp = stack;
    fiber.uc_stack.ss_size = STACK;
    makecontext(&fiber, run_fiber, 0);
    GC_set_stackbottom(handle, &other);
    swapcontext(&back, &fiber);
    say_of_many(what, on_fiber_alive);
    say_of_many("behind its bottom", behind_alive);
    munmap(stack, 2 * STACK);
    collect();
    say_of_many("and when that is gone", watch_alive(&on_fiber));
    return NULL;
}

static void fibers(void)
{
    pthread_t t;
    switches("on a stack of the first thread's");
    GC_pthread_create(&t, NULL, switches, "on a stack of another's");
    GC_pthread_join(t, NULL);
}

static void stacks(void)
{
    struct GC_stack_base base;
    char here;
    say("call with base", GC_call_with_stack_base(with_base, &here) == &here);
    say("stack's bottom", GC_stackbottom > &here);
    void *handle = GC_get_my_stackbottom(&base);
    say("my stack's bottom", handle && (char *)base.mem_base > &here);
}

/* ---- the lock ---- */

static long shared;

static void *add(void *arg)
{
    long was = shared;
    for (volatile sig_atomic_t i = 0; i < 50; i++) continue;
    shared = was + 1;
    return arg;
}

static void *add_often(void *arg)
{
    for (int i = 0; i < 5000; i++) {
        GC_call_with_alloc_lock(add, arg);
        GC_malloc(40);
    }
    return NULL;
}

static void lock(void)
{
    pthread_t thread[THREADS];
    say("with the lock", GC_call_with_alloc_lock(add, &shared) == &shared);
    shared = 0;
    for (int i = 0; i < THREADS; i++) GC_pthread_create(&thread[i], NULL, add_often, NULL);
    for (int i = 0; i < THREADS; i++) GC_pthread_join(thread[i], NULL);
    say("added under it", shared);
    GC_alloc_lock();
    GC_alloc_unlock();
}

static void signals(void)
{
    sigset_t all, now;
    sigfillset(&all);
    say("mask", GC_pthread_sigmask(SIG_BLOCK, &all, NULL));
    pthread_sigmask(SIG_SETMASK, NULL, &now);
    say("the suspend signal is left open", !sigismember(&now, GC_get_suspend_signal()));
    say("others are not", sigismember(&now, SIGUSR1));
    pthread_sigmask(SIG_UNBLOCK, &all, NULL);
    say("suspend signal", GC_get_suspend_signal());
    say("restart signal", GC_get_thr_restart_signal());
}

static void forked(void)
{
    int status = 1;
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        GC_atfork_child();
        _exit(length(build((void *)2), 2) == 10000 ? 0 : 1);
    }
    waitpid(child, &status, 0);
    say("a child allocates and collects", WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static jmp_buf out;

static void leave(void *obj, void *cd)
{
    (void)obj;
    (void)cd;
    longjmp(out, 1);
}

static NOINLINE void make_leaving(void)
{
    for (int i = 0; i < 20; i++) GC_register_finalizer(GC_malloc(40), leave, NULL, NULL, NULL);
}

static void jumps(void)
{
    volatile sig_atomic_t left = 0;
    make_leaving();
    GC_set_finalize_on_demand(1);
    collect();
    for (volatile sig_atomic_t i = 0; i < 30; i++) {
        if (setjmp(out) == 0) GC_invoke_finalizers();
        else left++;
    }
    say("finalizers that left", left >= 18);
    GC_set_finalize_on_demand(0);
    say("goes on", length(build((void *)2), 2));
}

void test_threads(void)
{
    stacks();
    fibers();
    create();
    ends();
    register_by_hand();
    blocking();
    cancelled();
    lock();
    signals();
    jumps();
    forked();
}

/* libgc lets go of it. */
void test_exiting(void)
{
    result_lives("a result of GC_pthread_exit", true);
}
