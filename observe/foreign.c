/* foreign.c - the namespace of Oakum's own libraries (foreign.h).
 *
 * The namespace is opened with a second copy of the C library, from the same file as the program's.
 * That happens before any other library is loaded into it. Four things are set up in this copy:
 * - Its malloc has one arena for all threads. It doesn't see threads end, so an ended thread's
 *   arena would never be reused.
 * - It has its own environment. The host's is an array that setenv may free.
 * - Each thread's character tables are set by uselocale on each oaki_foreign_enter. The C library
 *   that starts a thread sets only its own.
 * - All its thread keys (pthread_key_create) are used up. Each C library numbers keys for itself,
 *   but a thread has one table. So a library's value would appear under one of the host's keys.
 *
 * A library that would end the process is made to leave the call instead:
 * - by error() (libdw without memory), which first calls a hook that prints the program's name.
 *   The hook is oaki_foreign_give_up.
 * - by abort, exit, a failed assertion and the like: foreign_exits.c;
 * - by a fault, where it reads files of the host: shield.c. Then its malloc is tried, and if that
 *   doesn't return, no library of the namespace is called any more.
 *
 * Owns: struct self, written under its lock before `c` is first set; struct tries.
 * Locks: self.lock is held while a library is loaded. The holder waits for the loader's lock, and
 *   for no other lock of Oakum. tries.lock guards struct tries, and is held in a try.
 * Invariant: a child forked while a library was being loaded loads and calls none, as locks may be
 *   held there for ever. */
#include "foreign.h"
#include "foreign_checks.h"
#include "foreign_exits.h"
#include "object.h"
#include "shield.h"
#include "runtime/print.h"
#include "runtime/restore.h"
#include "runtime/thread.h"
#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <locale.h>
#include <malloc.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct {
    pthread_mutex_t lock;
    AO_t c; /* the namespace's C library; 0 until the namespace is usable */
    long space; /* an Lmid_t */
    bool loading; /* a thread is loading a library */
    bool lost;    /* `loading` was set when this process was forked */
    bool registered;
    AO_t dead; /* a lost call has left the malloc damaged, or locked */
    __typeof__(&malloc) malloc;
    __typeof__(&free) free;
    __typeof__(&uselocale) uselocale;
    int *(*errno_location)(void);
} self = { .lock = PTHREAD_MUTEX_INITIALIZER };

typedef struct
try {
    jmp_buf out;
}
try;

/* The try under way. One at a time: a call that is lost in the malloc leaves its lock locked, and
 * nobody may be waiting for that. */
static struct {
    pthread_mutex_t lock;
    AO_t thread; /* the pthread_t that has the lock; 0: none */
    try *try;
} tries = { .lock = PTHREAD_MUTEX_INITIALIZER };

static void in_child(void)
{
    pthread_mutex_init(&self.lock, NULL);
    pthread_mutex_init(&tries.lock, NULL);
    AO_store(&tries.thread, 0);
    self.lost |= self.loading;
    self.loading = false;
}

static char *copy_of(const char *s)
{
    size_t n = strlen(s) + 1;
    char *copy = self.malloc(n);
    return copy ? memcpy(copy, s, n) : NULL;
}

#ifdef HAVE_DLMOPEN

/* ---- the C library ---- */

/* The file of the program's C library. Another file would not match the program's loader. */
static const char *file_of_libc(void)
{
    struct link_map *map;
    void *c = dlopen("libc.so.6", RTLD_LAZY | RTLD_NOLOAD);
    const char *name = c && dlinfo(c, RTLD_DI_LINKMAP, &map) == 0 ? map->l_name : NULL;
    if (c) (void)dlclose(c); /* only lowers the count */
    return name && name[0] ? name : "libc.so.6";
}

/* Copies the environment by the second malloc; the copy is never freed. Without memory, variables
 * are missing in it, which costs some settings only. */
static void copy_environment(void *c)
{
    char ***there = dlsym(c, "environ");
    size_t n = 0;
    if (!there) return;
    while (environ && environ[n]) n++;
    char **copy = self.malloc((n + 1) * sizeof *copy);
    for (size_t i = 0; copy && i < n; i++) {
        copy[i] = copy_of(environ[i]);
        if (!copy[i]) n = i;
    }
    if (copy) copy[n] = NULL;
    *there = copy;
}

static void use_up_keys(void *c)
{
    pthread_key_t key;
    __typeof__(&pthread_key_create) create;
    *(void **)&create = dlsym(c, "pthread_key_create");
    while (create && create(&key, NULL) == 0) continue;
}

static bool open_space(void)
{
    __typeof__(&mallopt) set;
    void *c = dlmopen(LM_ID_NEWLM, file_of_libc(), RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (!c) return false;
    *(void **)&set = dlsym(c, "mallopt");
    *(void **)&self.malloc = dlsym(c, "malloc");
    *(void **)&self.free = dlsym(c, "free");
    *(void **)&self.uselocale = dlsym(c, "uselocale");
    *(void **)&self.errno_location = dlsym(c, "__errno_location");
    if (!oaki_foreign_checks_init(c)) return false;
    if (!set || !self.malloc || !self.free || !self.uselocale || !self.errno_location ||
        dlinfo(c, RTLD_DI_LMID, &self.space) != 0)
        return false;
    void (**error_hook)(void) = dlsym(c, "error_print_progname");
    if (error_hook) *error_hook = oaki_foreign_give_up;
    (void)set(M_ARENA_MAX, 1);
    copy_environment(c);
    use_up_keys(c);
    AO_store_release(&self.c, (AO_t)c);
    return true;
}

/* ---- loading ---- */

/* Redirects the library's exits, and those of all that were loaded with it. The C library's own
 * calls stay: it is the first object of the namespace, and has no such imports. */
static void redirect_exits(void *library)
{
    struct link_map *m;
    if (dlinfo(library, RTLD_DI_LINKMAP, &m) != 0) return;
    while (m->l_prev) m = m->l_prev;
    for (; m; m = m->l_next) oaki_foreign_exits_redirect(m);
}

static void *load(const char *library, char why[OAKI_FOREIGN_WHY])
{
    void *lib = NULL;
    (void)dlerror();
    if (AO_load(&self.c) || open_space())
        lib = dlmopen(self.space, library, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (lib) redirect_exits(lib);
    const char *error = lib ? NULL : dlerror();
    if (!lib) oaki_format(why, OAKI_FOREIGN_WHY, "%s", error ? error : library);
    return lib;
}

#else

static void *load(const char *library, char why[OAKI_FOREIGN_WHY])
{
    oaki_format(why, OAKI_FOREIGN_WHY, "%s: this C library has no namespaces (dlmopen)", library);
    return NULL;
}

#endif

/* A fork waits for a load, but only for a limited time. If a library forks while it is loaded, the
 * forking thread holds the loader's lock itself. */
void *oaki_foreign_load(const char *library, char why[OAKI_FOREIGN_WHY])
{
    void *lib = NULL;
    OAKI_ASSERT(!oaki_fork_is_held());
    if (!oaki_objects_are_linked()) {
        oaki_format(why, OAKI_FOREIGN_WHY, "%s: the program is linked with -static", library);
        return NULL;
    }
    pthread_mutex_lock(&self.lock);
    if (!self.registered) oaki_fork_register(in_child);
    self.registered = true;
    oaki_loader_begin(NULL);
    if (self.lost) {
        oaki_format(why, OAKI_FOREIGN_WHY, "%s: this process was forked as one was loaded",
                    library);
    } else {
        self.loading = true;
        lib = load(library, why);
        self.loading = false;
    }
    oaki_loader_end(NULL);
    pthread_mutex_unlock(&self.lock);
    return lib;
}

bool oaki_foreign_stays(void)
{
    if (!AO_load(&self.c)) return false;
    self.registered = false;
    oaki_restore_except(&self, sizeof self);
    return true;
}

void *oaki_foreign_find(void *library, const char *function)
{
    oaki_loader_begin(NULL); /* dlsym takes the loader's lock */
    void *fn = dlsym(library, function);
    oaki_loader_end(NULL);
    return fn;
}

/* ---- calls ---- */

void oaki_foreign_enter(void)
{
    OAKI_ASSERT(AO_load(&self.c));
    oaki_fork_hold();
    (void)self.uselocale(LC_GLOBAL_LOCALE);
}

void oaki_foreign_leave(void)
{
    oaki_fork_release();
}

/* Outside of enter, as it may wait. false: no library may be called any more. */
static bool begin_try(try *t)
{
    pthread_mutex_lock(&tries.lock);
    if (AO_load(&self.dead)) {
        pthread_mutex_unlock(&tries.lock);
        return false;
    }
    oaki_foreign_enter();
    tries.try = t;
    AO_store(&tries.thread, (AO_t)pthread_self());
    return true;
}

static void leave_try(void)
{
    AO_store(&tries.thread, 0);
    oaki_foreign_leave();
    pthread_mutex_unlock(&tries.lock);
}

static try *own_try(void)
{
    return AO_load(&tries.thread) == (AO_t)pthread_self() ? tries.try : NULL;
}

bool oaki_foreign_try(void (*fn)(void *ctx), void *ctx)
{
    try t;
    OAKI_ASSERT(!own_try());
    if (!begin_try(&t)) return false;
    if (setjmp(t.out) != 0) {
        leave_try();
        return false;
    }
    fn(ctx);
    leave_try();
    return true;
}

/* ---- shielded calls ---- */

#define CALL_NS UINT64_C(120000000000) /* that a call may last; a debugging file may be far away */
#define TRIAL_NS UINT64_C(20000000000)

/* Not on the caller's stack, which may lie in the heap: first writes to protected pages of the heap
 * may be faults that the program handles. */
static struct {
    try t;
    void (*fn)(void *ctx);
    void *ctx;
    bool left;
} shielded;

static void call_shielded(void *unused)
{
    (void)unused;
    if (setjmp(shielded.t.out) != 0) shielded.left = true;
    else shielded.fn(shielded.ctx);
}

static void try_malloc(void *unused)
{
    (void)unused;
    self.free(self.malloc(1000));
}

/* abort of the C library itself ends in an instruction of its own, if no signal ends it. */
static bool is_damaged(const oaki_shield_loss *loss)
{
    oaki_shield_loss other;
    if (loss->signal == SIGABRT || loss->signal == SIGTRAP || loss->kernels) return true;
    return oaki_shield_call(try_malloc, NULL, TRIAL_NS, &other) != OAKI_SHIELD_OVER;
}

oaki_foreign_result oaki_foreign_try_shielded(void (*fn)(void *ctx), void *ctx)
{
    oaki_shield_loss loss;
    OAKI_ASSERT(!own_try());
    if (!begin_try(&shielded.t)) return OAKI_FOREIGN_LEFT;
    shielded.fn = fn;
    shielded.ctx = ctx;
    shielded.left = false;
    oaki_shield how = oaki_shield_call(call_shielded, NULL, CALL_NS, &loss);
    if (how == OAKI_SHIELD_LOST && is_damaged(&loss)) AO_store(&self.dead, 1);
    leave_try();
    if (how == OAKI_SHIELD_REFUSED) return OAKI_FOREIGN_REFUSED;
    if (how == OAKI_SHIELD_LOST) oaki_foreign_exits_tell(loss.signal);
    return how == OAKI_SHIELD_LOST || shielded.left ? OAKI_FOREIGN_LEFT : OAKI_FOREIGN_OVER;
}

/* ---- in a try ---- */

void oaki_foreign_give_up(void)
{
    try *t = own_try();
    if (t) longjmp(t->out, 1);
}

char *oaki_foreign_copy(const char *s)
{
    OAKI_ASSERT(oaki_fork_is_held());
    return copy_of(s);
}

void oaki_foreign_free(void *p)
{
    OAKI_ASSERT(oaki_fork_is_held());
    self.free(p);
}

int oaki_foreign_errno(void)
{
    OAKI_ASSERT(oaki_fork_is_held());
    return *self.errno_location();
}
