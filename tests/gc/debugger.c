/* debugger.c - a debugger that is attached to the program while collections mark beside it: it
 * halts each thread in turn, wherever that is, lets it do single steps, and passes signals on. It
 * reads references, and, where the system tells of what it writes (docs/tracking.md), moves the
 * only ones there are. */
#include "gc/concurrent/concurrent.h"
#include "runtime/dirty.h"
#include "tests/heap.h"
#include "tests/threads.h"
#include "tests/tracked.h"

#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>

Suite *suite_gc_debugger(void);

#define SEAL 0xdeb0661ac0ffee11u
#define THINGS 32    /* that the debugger moves at a time */
#define TURNS 60     /* more than there are places */
#define STEPS 3      /* instructions */
#define LOOKS 10
#define LOOK_NS 50000
#define THREADS 64   /* at most */
#define LINKED 50000 /* of each mover's list */
#define PLACE 512    /* references: a page */
#define PLACES 32    /* where things go in turn */
#define MOVERS 2

typedef struct thing {
    uint64_t seal, id;
    struct thing *next;
} thing;

/* Between the debugger and the program: turn and done count up in turn. */
static struct {
    AO_t attached, refused, turn, done, over, halted;
    thing **from, **to;
    bool writes;
} *shared;

/* ---- the debugger ---- */

static struct {
    pid_t program, thread[THREADS];
    bool halted[THREADS];
    size_t threads;
} debugged;

static void add_thread(pid_t tid)
{
    if (debugged.threads == THREADS) _exit(2);
    debugged.halted[debugged.threads] = false;
    debugged.thread[debugged.threads++] = tid;
}

static void seize(pid_t tid)
{
    if (ptrace(PTRACE_SEIZE, tid, NULL, (void *)PTRACE_O_TRACECLONE) == 0) add_thread(tid);
}

static bool attach(void)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/task", (int)debugged.program);
    DIR *tasks = opendir(path);
    if (!tasks) return false;
    for (struct dirent *d; (d = readdir(tasks)) != NULL;)
        if (d->d_name[0] != '.') seize((pid_t)atol(d->d_name));
    closedir(tasks);
    return debugged.threads > 0;
}

static void gone(pid_t tid)
{
    for (size_t i = 0; i < debugged.threads; i++) {
        if (debugged.thread[i] != tid) continue;
        debugged.thread[i] = debugged.thread[--debugged.threads];
        debugged.halted[i] = debugged.halted[debugged.threads];
        return;
    }
}

static void born(pid_t parent)
{
    unsigned long tid = 0;
    ptrace(PTRACE_GETEVENTMSG, parent, NULL, &tid);
    if (tid) add_thread((pid_t)tid);
}

static void resume(pid_t tid, long signal)
{
    ptrace(PTRACE_CONT, tid, NULL, (void *)signal);
}

/* Lets the thread go on from what it halted for; not, and true, if it was asked to halt, or is new.
 * SIGTRAP is of a step that was still under way. */
static bool stands(pid_t tid, int status)
{
    if (!WIFSTOPPED(status)) return gone(tid), false;
    int event = status >> 16, signal = WSTOPSIG(status);
    if (event == PTRACE_EVENT_STOP && signal == SIGTRAP) return true;
    if (event == PTRACE_EVENT_CLONE) born(tid);
    resume(tid, event || signal == SIGTRAP ? 0 : signal);
    return false;
}

/* What the thread halted for next, if it does in so many looks; the others go on. */
static bool await(pid_t tid, int *status, size_t looks)
{
    for (; looks > 0; looks--) {
        pid_t who = waitpid(-1, status, __WALL | WNOHANG);
        if (who > 0 && who == tid) return true;
        if (who > 0 && stands(who, *status)) resume(who, 0);
        if (who <= 0) oaki_os_sleep_ns(LOOK_NS);
    }
    return false;
}

/* Until it stands; false: it has ended. It is asked again after any other halt, which takes a
 * request's place (ptrace(2), PTRACE_INTERRUPT). */
static bool halt(pid_t tid)
{
    int status;
    do {
        if (ptrace(PTRACE_INTERRUPT, tid, NULL, NULL) != 0) return gone(tid), false;
        if (!await(tid, &status, SIZE_MAX)) return false;
        if (stands(tid, status)) return true;
    } while (WIFSTOPPED(status));
    return false;
}

/* Some steps, if they take no time: it may wait for what another thread does. */
static void step(pid_t tid)
{
    for (int i = 0; i < STEPS; i++) {
        int status;
        if (ptrace(PTRACE_SINGLESTEP, tid, NULL, NULL) != 0) return;
        if (!await(tid, &status, LOOKS)) {
            if (halt(tid)) break;
            return;
        }
        bool stepped = WIFSTOPPED(status) && status >> 16 == 0 && WSTOPSIG(status) == SIGTRAP;
        if (!stepped && !stands(tid, status)) return;
    }
    resume(tid, 0);
}

static bool move(pid_t tid)
{
    thing **to = shared->to + AO_load(&shared->turn) % PLACES * PLACE;
    for (size_t i = 0; i < THINGS; i++) {
        errno = 0;
        long word = ptrace(PTRACE_PEEKDATA, tid, shared->from + i, NULL);
        if (errno != 0 || word == 0) return false;
        if (!shared->writes) continue;
        if (ptrace(PTRACE_POKEDATA, tid, to + i, (void *)word) != 0) return false;
        if (ptrace(PTRACE_POKEDATA, tid, shared->from + i, NULL) != 0) return false;
    }
    return true;
}

/* While all stand, as in gdb: the program's stops don't hold back what another process writes. */
static void take_a_turn(void)
{
    for (size_t i = 0; i < debugged.threads; i++) {
        if (debugged.halted[i]) continue;
        debugged.halted[i] = true;
        if (!halt(debugged.thread[i])) i = (size_t)-1; /* another is in its place */
    }
    if (debugged.threads > 0 && move(debugged.thread[0]))
        AO_store_release(&shared->done, AO_load(&shared->turn));
    for (size_t i = 0; i < debugged.threads; i++) {
        debugged.halted[i] = false;
        resume(debugged.thread[i], 0);
    }
}

/* One turn of its own for each of the program's, and halts between them. */
static void look_on(void)
{
    for (size_t n = 0; !AO_load(&shared->over) && debugged.threads > 0; n++) {
        bool due = AO_load_acquire(&shared->turn) > AO_load(&shared->done);
        if (due && n % 4 == 0) take_a_turn(); /* some looks later: a mark has begun meanwhile */
        pid_t tid = debugged.thread[n % debugged.threads];
        if (!halt(tid)) continue;
        AO_fetch_and_add1(&shared->halted);
        step(tid);
        int status;
        (void)await(0, &status, LOOKS);
    }
    while (debugged.threads > 0) {
        pid_t tid = debugged.thread[0];
        if (halt(tid)) ptrace(PTRACE_DETACH, tid, NULL, NULL);
        gone(tid);
    }
}

static void be_the_debugger(const int go[2])
{
    char byte;
    close(go[1]);
    debugged.program = getppid();
    if (read(go[0], &byte, 1) != 1) _exit(1);
    if (attach()) {
        AO_store_release(&shared->attached, 1);
        look_on();
    } else {
        AO_store_release(&shared->refused, 1);
    }
    _exit(0);
}

/* ---- the program ---- */

static thing *new_thing(uint64_t id)
{
    thing *x = oak_alloc(sizeof *x);
    *x = (thing){ .seal = SEAL, .id = id };
    return x;
}

/* A list of its own, taken apart and put together the other way round. */
static void *reverse(void *arg)
{
    thing **head = oak_alloc(sizeof *head);
    for (size_t i = 0; i < LINKED; i++) {
        thing *x = new_thing(i);
        x->next = *head;
        *head = x;
    }
    while (!AO_load(&shared->over)) {
        thing *old = *head, *next;
        size_t n = 0;
        for (*head = NULL; old; old = next, n++) {
            next = old->next;
            test_expect(old->seal == SEAL, __LINE__);
            old->next = *head;
            *head = old;
            (void)new_thing(n);
        }
        test_expect(n == LINKED, __LINE__);
    }
    return arg;
}

/* They are in their place of `to`, which the program doesn't write; or still in `from`. */
static void assert_whole(thing **now)
{
    for (size_t i = 0; i < THINGS; i++) {
        ck_assert_ptr_nonnull(now[i]);
        ck_assert_msg(now[i]->seal == SEAL && now[i]->id == i, "thing %zu of turn %zu", i,
                      (size_t)AO_load(&shared->turn));
    }
}

static void take_turns(void)
{
    for (AO_t turn = 1; turn <= TURNS && AO_load(&test_wrong) == 0; turn++) {
        for (size_t i = 0; i < THINGS; i++) shared->from[i] = new_thing(i);
        AO_store_release(&shared->turn, turn);
        while (AO_load_acquire(&shared->done) < turn) {
            test_ask_or_collect();
            oaki_os_sleep_ns(200000);
        }
        if (!shared->writes) assert_whole(shared->from);
        for (AO_t place = turn < PLACES ? 1 : 0; shared->writes && place < PLACES; place++)
            if (place <= turn) assert_whole(shared->to + place * PLACE);
    }
    ck_assert_uint_ge(AO_load(&shared->halted), TURNS);
}

static AO_t held[2]; /* what is shared is no root */

START_TEST(a_debugger_is_attached)
{
    int go[2];
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ck_assert(shared != MAP_FAILED && pipe(go) == 0);
    shared->writes = test_tracking != OAK_TRACKING_FAULTS;
    pid_t child = fork();
    if (child == 0) be_the_debugger(go);
    oak_config c = test_config_beside(test_tracking);
    c.gc_threads = 2;
    bool can = test_heap_tracked(c, 0);
    oaki_debug_switches.beside = 1;
    (void)prctl(PR_SET_PTRACER, child, 0, 0, 0); /* where Yama asks for it */
    pthread_t id[MOVERS];
    shared->from = oak_alloc(THINGS * sizeof *shared->from);
    shared->to = oak_alloc(PLACES * PLACE * sizeof *shared->to);
    AO_store(&held[0], (AO_t)shared->from);
    AO_store(&held[1], (AO_t)shared->to);
    for (size_t i = 0; i < MOVERS; i++) id[i] = test_start(reverse, NULL);
    ck_assert_int_eq(write(go[1], "", 1), 1);
    while (!AO_load(&shared->attached) && !AO_load(&shared->refused)) oaki_os_yield();
    if (AO_load(&shared->refused)) printf("skipped: no process may trace another here\n");
    else if (can) take_turns();
    AO_store(&shared->over, 1);
    for (size_t i = 0; i < MOVERS; i++) test_join(id[i]);
    ck_assert_int_eq(test_wait_child(child), 0);
    ck_assert_msg(AO_load(&test_wrong) == 0, "debugger.c:%zu", (size_t)AO_load(&test_wrong));
    oak_collect();
    test_assert_sound();
}
END_TEST

static void add(Suite *s, const char *name, void (*setup)(void))
{
    TCase *t = tcase_create(name);
    tcase_set_timeout(t, 120);
    tcase_add_checked_fixture(t, setup, NULL);
    tcase_add_test(t, a_debugger_is_attached);
    suite_add_tcase(s, t);
}

Suite *suite_gc_debugger(void)
{
    Suite *s = suite_create("gc/debugger");
    add(s, "userfaultfd", test_by_userfaultfd);
    add(s, "faults", test_by_faults);
    return s;
}
