/* start.c - start-up, the options, the program's end.
 *
 * The loader makes the first call of malloc long before libc is ready; it starts the heap. So that
 * start needs no thread, no file, and no environment. The options take effect in __libc_start_main:
 * then all libraries are initialised, and no code of the program has run.
 *
 * The report is made after the program's atexit handlers and all destructors, or when the program
 * calls _exit. The reporting thread ends the process. Other threads may try to end it meanwhile, as
 * the report's pause interrupts their sleep; they wait for the reporting thread.
 *
 * Owns: oaki_wanted, oaki_started, struct self. Lock: none: one thread starts, one ends. */
#include "observe/cancel.h"
#include "cache.h"
#include "preload.h"
#include "report.h"
#include "runtime/observer.h"
#include "runtime/options.h"
#include "runtime/os.h"
#include "runtime/print.h"
#include "runtime/room.h"
#include "runtime/roomy.h"
#include "tell.h"
#include <dlfcn.h>
#include <errno.h>
#include <oakum/oakum.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/syscall.h>
#include <unistd.h>

oaki_asked oaki_wanted = { .frames = 12 };
AO_t oaki_started;

enum { NOT_YET, BY_A_THREAD, BY_NOBODY };

static struct {
    pid_t pid;             /* of the process that reports */
    unsigned int reported; /* AO_int: NOT_YET, BY_A_THREAD or BY_NOBODY */
    unsigned int saving;   /* AO_int: a thread saves the profile */
    bool follow, observes;
} self;

static __thread bool reports __attribute__((tls_model("initial-exec"))); /* this thread reports */

/* ---- options ---- */

static const char *asked(const char *name)
{
    const char *value = oaki_options_variable(name);
    return value && *value ? value : NULL;
}

static unsigned number(const char *name, unsigned usual)
{
    const char *value = asked(name);
    return value ? (unsigned)strtoul(value, NULL, 10) : usual;
}

/* ---- the heap ---- */

static int free_signal(void)
{
    struct sigaction now;
    int report = (int)number("OAKUM_MALLOC_SIGNAL", 0);
    for (int s = SIGRTMAX - 1; s >= SIGRTMIN; s--)
        if (s != report && sigaction(s, NULL, &now) == 0 && !(now.sa_flags & SA_SIGINFO) &&
            now.sa_handler == SIG_DFL)
            return s;
    return 0;
}

/* Oakum's own allocations don't wait for room, as they have the side range (entry.c). */
static bool waits_for_room(void)
{
    return !oaki_my.quiet;
}

static const oaki_room_host room = { .waits = waits_for_room,
                                     .give_up = oaki_caches_empty,
                                     .collect = oaki_lost_make_room };

/* The heap has no threads of its own, as some programs count their threads, or fork. */
bool oaki_start_heap(void)
{
    oak_config cfg;
    if (oaki_my.busy) return false;
    oaki_my.busy = true;
    oak_config_default(&cfg);
    cfg.gc_percent = -1;
    cfg.gc_threads = 1;
    cfg.background_sweep = cfg.scavenge = cfg.touch_ahead = cfg.finalizer_thread = 0;
    if (!cfg.stop_signal) cfg.stop_signal = free_signal();
    oaki_wanted.stop_signal = cfg.stop_signal;
    bool first = oak_init(&cfg) == 0;
    if (first) {
        oak_gc_disable();
        oaki_caches_init();
        oaki_room_set_host(&room);
    }
    oaki_my.busy = false;
    return first || AO_load_acquire(&oaki_the_heap.started) != 0;
}

/* Replaces the hook that the heap calls at its start (runtime/observer.h). */
void __wrap_oaki_observe_start(const oak_config *config);
void __wrap_oaki_observe_start(const oak_config *config)
{
    (void)config;
}

/* ---- the environment: variables of `oakum run` (cmd/run.c) ---- */

static void read_environment(oaki_asked *w)
{
    w->leaks = asked("OAKUM_MALLOC_LEAKS");
    w->collect = asked("OAKUM_MALLOC_COLLECT");
    w->all = asked("OAKUM_MALLOC_ALL");
    w->possible = asked("OAKUM_MALLOC_POSSIBLE");
    w->quiet = asked("OAKUM_MALLOC_QUIET");
    w->verbose = asked("OAKUM_MALLOC_VERBOSE");
    w->generate = asked("OAKUM_MALLOC_GEN_SUPPRESSIONS");
    w->json = asked("OAKUM_MALLOC_JSON");
    w->junit = asked("OAKUM_MALLOC_JUNIT");
    w->frames = number("OAKUM_MALLOC_FRAMES", 12);
    w->error_exit = (int)number("OAKUM_MALLOC_ERROR_EXITCODE", 0);
    w->signal = (int)number("OAKUM_MALLOC_SIGNAL", 0);
    w->growth_ms = number("OAKUM_MALLOC_GROWTH", 0);
    w->log = asked("OAKUM_MALLOC_LOG");
    w->profile = asked("OAKUM_MALLOC_PROFILE");
    w->serve = asked("OAKUM_MALLOC_SERVE");
    w->check = asked("OAKUM_MALLOC_CHECK");
    w->caches = !(w->leaks || w->collect || w->growth_ms || w->serve || w->profile || w->check);
    w->tracks = w->leaks || w->collect || w->growth_ms || w->serve;
    self.follow = asked("OAKUM_MALLOC_CHILDREN");
}

/* Copy a string of the environment, which the program may change. */
static void keep(const char **s)
{
    if (*s) *s = strdup(*s);
}

/* ---- the end ---- */

bool oaki_is_process(void)
{
    return self.pid == oaki_os_pid();
}

/* One at a time. The name is in no frame, as the thread that ends the program may have a small
 * stack. */
static void save_profile(void)
{
    static char name[4096];
    oaki_tell_name(oaki_wanted.profile, name, sizeof name);
    oaki_quiet_begin();
    if (oak_profile_save(NULL, name) != 0)
        oaki_say("oakum: the heap profile can't be saved in %.900s: %.80s", name,
                 oaki_error_text(errno));
    oaki_quiet_end();
}

/* A profile is saved on a signal and at the end; no later one replaces that of the end. */
void oaki_save_profile(bool last)
{
    while (!AO_int_compare_and_swap_acquire(&self.saving, 0, 1)) oaki_os_yield();
    if (last || !AO_int_load(&self.reported)) save_profile();
    AO_int_store_release(&self.saving, 0);
}

static void tell_growth(void)
{
    oaki_quiet_begin();
    oaki_growth_tell();
    oaki_quiet_end();
}

/* Wait for ever if another thread reports, as that one ends the process. Called before libc's exit,
 * which would not call at_exit again while that handler runs. Two cases must not wait: a child of
 * vfork, and a signal handler that has interrupted the runtime, as it may hold locks that the
 * report needs. */
static void leave_it_to_reporter(void)
{
    const oaki_thread *t = oaki_tls_thread;
    if (AO_int_load(&self.reported) != BY_A_THREAD || reports || !oaki_is_process()) return;
    if (t && t->in_runtime != 0) return;
    for (;;) syscall(SYS_ppoll, NULL, 0, NULL, NULL, 0);
}

typedef struct ending {
    int status;
    const char *own_sp;
} ending;

static void report(void *ctx)
{
    const oaki_asked *w = &oaki_wanted;
    ending *e = ctx;
    bool can = oaki_can_enter_again();
    if (w->profile && can) oaki_save_profile(true);
    if (w->growth_ms && can) tell_growth();
    if (w->check && can) e->status = oaki_check_end(e->status);
    if (!w->leaks) return;
    bool clean = oaki_report_leaks(e->own_sp);
    if (!clean && w->error_exit) e->status = w->error_exit;
}

/* Report, and return the exit status. */
static int end(int status, const char *own_sp)
{
    const oaki_asked *w = &oaki_wanted;
    OAKI_NO_CANCEL; /* nobody would go on with the report */
    if (!self.observes || (!w->leaks && !w->profile && !w->growth_ms && !w->check)) return status;
    leave_it_to_reporter();
    /* In this order: the system calls of each step may be forbidden. */
    if (AO_int_load(&self.reported)) return status;
    const char *why = oaki_sealed_as_noted();
    if (!why && !oaki_is_process()) return status;
    if (!why) why = oaki_seal_work_begin();
    if (why) {
        oaki_tell_plainly(why);
        return status;
    }
    reports = AO_int_compare_and_swap_full(&self.reported, NOT_YET, BY_A_THREAD);
    leave_it_to_reporter();
    ending e = { status, own_sp };
    if (reports) oaki_roomy_call(report, &e);
    oaki_seal_work_end();
    return e.status;
}

/* The stack pointer of the thread that ends the program, at its call of exit. libc's frames between
 * that call and at_exit contain stale words of earlier calls. */
static __thread const char *ending_sp __attribute__((tls_model("initial-exec")));

/* A nested call of exit makes libc go on with the remaining handlers, with the new status. */
static void at_exit(void *unused)
{
    (void)unused;
    OAKI_SAVE_REGISTERS;
    int status = end(-1, ending_sp ? ending_sp : OAKI_SAVED_SP);
    if (status != -1) exit(status);
}

OAKI_EXPORT OAK_NORETURN void exit(int status)
{
    OAKI_SAVE_REGISTERS;
    if (!ending_sp) ending_sp = OAKI_SAVED_SP;
    leave_it_to_reporter();
    for (;;) OAKI_REAL(exit)(status);
}

static OAKI_NOINLINE OAK_NORETURN void end_now(int status)
{
    OAKI_SAVE_REGISTERS;
    status = end(status, OAKI_SAVED_SP);
    for (;;) syscall(SYS_exit_group, status);
}

OAKI_EXPORT OAK_NORETURN void _exit(int status)
{
    end_now(status);
}

OAKI_EXPORT OAK_NORETURN void _Exit(int status)
{
    end_now(status);
}

/* ---- the beginning ---- */

int __cxa_atexit(void (*fn)(void *), void *arg, void *object); /* libc's; no header has it */

static void in_child(void)
{
    oaki_lost_after_fork();
    oaki_seal_after_fork();
    AO_int_store(&self.reported, self.follow ? NOT_YET : BY_NOBODY);
    reports = false;
    AO_int_store(&self.saving, 0);
    if (!self.follow) {
        if (oaki_wanted.check) return;
        oaki_tell_release();
        oaki_leakfiles_release();
        return;
    }
    self.pid = oaki_os_pid();
    if (self.observes) oaki_growth_after_fork();
}

static void exclude_own_data(void)
{
    size_t n;
    void *data = oaki_own_data(&n);
    if (!data) return;
    oaki_own_add(data, n);
    (void)oak_root_exclude(data, n);
}

/* Whether the malloc that all objects find by name is not this library's. The test is its result,
 * as its address may be that of an entry in the program's PLT. */
static bool is_replaced(void)
{
    __typeof__(malloc) *found;
    *(void **)&found = dlsym(RTLD_DEFAULT, "malloc");
    void *p = found(1);
    bool ours = !p || oaki_side_has(p) || oaki_heap_contains(p);
    if (p && ours) free(p);
    return !ours;
}

/* Report a library's operator new that doesn't call malloc, as those of jemalloc and tcmalloc. The
 * program's own operator isn't called: it may need variables that aren't initialised yet. */
static void tell_of_new(void)
{
    void *(*new)(size_t);
    void (*delete)(void *);
    Dl_info info, program;
    *(void **)&new = dlsym(RTLD_DEFAULT, "_Znwm");
    *(void **)&delete = dlsym(RTLD_DEFAULT, "_ZdlPv");
    (void)dlerror(); /* discard the message, so that the program doesn't get it */
    if (!new || !delete || !dladdr(*(void **)&new, &info)) return;
    void *entry = (void *)getauxval(AT_ENTRY);
    if (dladdr(entry, &program) && program.dli_fbase == info.dli_fbase) return;
    if (!dladdr(*(void **)&delete, &program) || program.dli_fbase != info.dli_fbase) return;
    void *p = malloc(1);
    if (!p) return; /* without memory, new would throw, or end the program */
    free(p);
    p = new(1);
    if (!oaki_side_has(p) && !oaki_heap_contains(p))
        oaki_say("oakum: C++'s operator new is %s's, not malloc: what it gives is neither noted "
                 "nor reported",
                 info.dli_fname);
    delete(p);
}

static void observe(const oaki_asked *w)
{
    if (w->tracks || w->profile || w->signal || w->serve || w->check) {
        oaki_seal_start();
        tell_of_new();
    }
    oaki_maps_learn();
    exclude_own_data();
    if (w->check) oaki_check_start();
    if (w->leaks && oaki_note_start(1) != 0) oaki_say("oakum: no memory to note allocations");
    if (!w->leaks && (w->profile || w->serve || w->growth_ms))
        (void)oaki_note_start(OAK_PROFILE_RATE);
    if (w->growth_ms) oaki_growth_start();
    if (w->signal) oaki_signal_start();
    if (w->serve) oaki_serve_start();
    if (w->growth_ms || w->signal || w->serve) oaki_last_start();
    if (!w->leaks && !w->profile && !w->growth_ms && !w->check) return;
    /* A handler of no object runs after the destructors of all of them. One of this library would
     * run before those of the libraries that it comes before. */
    (void)__cxa_atexit(at_exit, NULL, NULL);
}

static void begin(char **first_environ)
{
    oaki_asked *w = &oaki_wanted;
    oaki_reals_find();
    read_environment(w);
    self.pid = oaki_os_pid();
    oaki_tell_start();
    oaki_fork_at(NULL, NULL, in_child);
    oaki_quiet_begin();
    keep(&w->log);
    keep(&w->profile);
    keep(&w->serve);
    keep(&w->check);
    keep(&w->generate);
    keep(&w->json);
    keep(&w->junit);
    oaki_leakfiles_start();
    oaki_suppressed_start();
    if (!self.follow && asked("OAKUM_MALLOC_LIBRARY"))
        oaki_environ_forget(first_environ);
    if (is_replaced())
        oaki_say("oakum: the program has a malloc of its own: nothing is noted or reported");
    else if (oaki_can_enter())
        observe(w), self.observes = true;
    else if (!w->caches)
        oaki_say("oakum: no memory for a heap, so that libc's malloc serves the program: nothing "
                 "is noted or reported");
    oaki_quiet_end();
    AO_store_release(&oaki_started, 1);
}

typedef int start_main(int (*main)(int, char **, char **), int argc, char **argv,
                       void (*init)(void), void (*fini)(void), void (*rtld_fini)(void),
                       void *stack_end);
start_main __libc_start_main;

static int (*program)(int, char **, char **);

/* Run the program's main. After its return, nothing below this frame is in use. */
static OAKI_NOINLINE int run_main(int argc, char **argv, char **envp)
{
    int status = program(argc, argv, envp);
    ending_sp = __builtin_frame_address(0);
    leave_it_to_reporter();
    return status;
}

OAKI_EXPORT int __libc_start_main(int (*main)(int, char **, char **), int argc, char **argv,
                                  void (*init)(void), void (*fini)(void), void (*rtld_fini)(void),
                                  void *stack_end)
{
    start_main *real;
    *(void **)&real = dlsym(RTLD_NEXT, "__libc_start_main");
    bool cleared = !environ; /* by a library's constructor: Oakum's variables are still there */
    if (cleared) environ = argv + argc + 1;
    begin(argv + argc + 1);
    if (cleared) environ = NULL;
    program = main;
    return real(run_main, argc, argv, init, fini, rtld_fini, stack_end);
}
