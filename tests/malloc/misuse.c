/* misuse.c - thirteen misuses of memory, one by name; tests/malloc/misuse looks at what each is
 * told as. Others are for the page behind a large object. `right`: a program without a misuse, for
 * what it costs. With -DNATIVE it calls Oakum's
 * functions, otherwise malloc. Compile it without builtins. */
#include <malloc.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <unistd.h>

#ifdef NATIVE
#include <oakum/oakum.h>
#include <oakum/zone.h>
#define give oak_alloc_pinned
#define take oak_free
#define resize oak_realloc
#else
#define give malloc
#define take free
#define resize realloc
#endif

void _ZdlPvm(void *p, size_t n) __attribute__((weak));
void *_Znwm(size_t n) __attribute__((weak));

char *p, *q, byte; /* not static: what is stored there is stored */

static void past_1(void) { p[100] = 1; }
static void before_1(void) { p[-1] = 1; }
static void past_8(void) { memset(p, 2, 108); }
static void past_far(void) { memset(p, 0, 300); } /* the size of two others, too */

static void past_large(void)
{
    p = give(100000);
    p[100000] = 1;
}

/* With guard=page: at the page, if the size is a multiple of the alignment. */
static void past_page(void)
{
    p = give(100000);
    p[100000] = 1;
}

static void read_past_page(void)
{
    p = give(100000);
    byte = p[100000];
}

/* Between the object's end and the page, which is found when it is freed. */
static void past_slack(void)
{
    p = give(99990);
    p[99999] = 1;
    take(p);
}

/* What page mode serves ends at a page of the system, but for what its alignment takes. */
static void ends(void)
{
    for (size_t n = 33000; n < 3000000; n = n * 9 / 8 + 7) {
        char *some = give(n);
        uintptr_t end = ((uintptr_t)some + n + 15) & ~(uintptr_t)15;
        if (end % 4096 != 0 || (uintptr_t)some % 16 != 0) exit(3);
        memset(some, 1, n);
        some = resize(some, n + 100);
        end = ((uintptr_t)some + n + 100 + 15) & ~(uintptr_t)15;
        if (end % 4096 != 0 || some[n - 1] != 1) exit(4);
        take(some);
    }
}

/* ---- a program that handles SIGSEGV itself, as a virtual machine does ---- */

#define ITS_OWN ((size_t)65536)
static char *its_own;
static volatile sig_atomic_t handled;

static void open_page(int sig, siginfo_t *info, void *context)
{
    char *at = info->si_addr;
    (void)sig, (void)context;
    if (at < its_own || at >= its_own + ITS_OWN) _exit(5);
    if (mprotect(its_own, ITS_OWN, PROT_READ | PROT_WRITE) != 0) _exit(6);
    handled++;
}

static void set_handler(int flags)
{
    struct sigaction sa = { .sa_sigaction = open_page, .sa_flags = SA_SIGINFO | flags }, old;
    if (sigaction(SIGSEGV, &sa, NULL) != 0 || sigaction(SIGSEGV, NULL, &old) != 0) exit(7);
#ifndef NATIVE
    if (old.sa_sigaction != open_page) exit(8);
#endif
}

static void fault_twice(void)
{
    its_own = mmap(NULL, ITS_OWN, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (int i = 1; i <= 2; i++) {
        its_own[100] = (char)i;
        if (handled != i || its_own[100] != i) exit(9);
        if (mprotect(its_own, ITS_OWN, PROT_NONE) != 0) exit(10);
    }
}

static void own_handler(void)
{
    fault_twice();
    if (vfork() == 0) {
        signal(SIGSEGV, SIG_DFL); /* its own matter */
        _exit(0);
    }
    handled = 0;
    fault_twice();
#ifndef NATIVE
    handled = 0;
    set_handler(0); /* anew, where the guard has begun */
    fault_twice();
#endif
    past_page();
}

/* The same, on an alternate stack of 8 KiB. */
static void small_stack(void)
{
    own_handler();
}

static void prepare(const char *name)
{
    static char room[8192];
    stack_t s = { .ss_sp = room, .ss_size = sizeof room };
    if (strcmp(name, "own-handler") == 0) set_handler(0);
    if (strcmp(name, "small-stack") != 0) return;
    if (sigaltstack(&s, NULL) != 0) exit(11);
    set_handler(SA_ONSTACK);
}

static void written(void)
{
    take(p);
    p[40] = 1;
}

static void read_freed(void)
{
    take(p);
    byte = p[40];
    if (byte == 3) _exit(0); /* what was there still is */
    _exit(1);                /* something else is found: 0xdb, or another's */
}

static void twice(void)
{
    take(p);
    take(q);
    take(p);
}

static void inside(void) { take(p + 16); }

static void stack(void)
{
    char room[64];
    p = room + 16;
    take(p);
}

static void resized(void)
{
    take(p);
    p = resize(p, 200);
}

static void sized(void)
{
#ifdef NATIVE
    oak_zone *z = oak_zone_new(NULL); /* it has no sized deallocation: what lay in a dead zone */
    p = oak_zone_alloc(z, 100);
    (void)oak_zone_discard(z);
    take(p);
#else
    p = _Znwm(100);
    _ZdlPvm(p, 64);
#endif
}

static void wild(void) /* never initialised: what was in the memory */
{
    char **holder = give(64);
    memset(holder, 0x5a, 64);
    take(holder[3]);
}

/* ---- no misuse that the guard may name ---- */

#define SMALL 400
static char *small[SMALL];
static volatile sig_atomic_t nsmall; /* freed by the handler */

static void next_alarm(void)
{
    struct itimerval once = { { 0, 0 }, { 0, 100 + nsmall % 7 * 100 } };
    setitimer(ITIMER_REAL, &once, NULL);
}

static void free_small(int sig)
{
    (void)sig;
    if (nsmall == SMALL) return;
    take(small[nsmall++]);
    next_alarm();
}

/* A handler that frees blocks of a few bytes in the middle of malloc: it breaks a rule of C, but
 * writes nothing. */
static void handler_frees(void)
{
    struct sigaction sa = { .sa_handler = free_small, .sa_flags = SA_RESTART };
    for (int i = 0; i < SMALL; i++) small[i] = give(i % 8);
    sigaction(SIGALRM, &sa, NULL);
    next_alarm();
    while (nsmall < SMALL) take(give(1000));
    take(give(1000));
}

/* What is lost has a pointer to what is free: only one block is lost. */
static void dangling(void)
{
    char **lost = give(64);
    memset(lost, 0, 64);
    lost[1] = give(5000);
    take(lost[1]);
    lost = NULL;
    memset(&lost, 0, sizeof lost);
}

/* Frees what it allocates, 48 MB in three seconds. */
static void steady(void)
{
    for (int i = 0; i < 150; i++) {
        for (int k = 0; k < 160; k++) take(give(2000));
        usleep(20000);
    }
}

static void right(void)
{
    enum { LIVE = 4096 };
    static char *live[LIVE];
    uint64_t x = 88172645463325252u;
    for (int i = 0; i < 400000; i++) {
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        unsigned at = x % LIVE;
        size_t n = 16 + (x >> 20) % 256;
        if ((x >> 40) % 1000 == 0) n = 50000;
        if (live[at]) take(live[at]);
        live[at] = give(n);
        memset(live[at], 1, n);
    }
}

static const struct {
    const char *name;
    void (*fn)(void);
} all[] = {
    { "past-1", past_1 },
    { "before-1", before_1 },
    { "past-8", past_8 },
    { "past-far", past_far },
    { "past-large", past_large },
    { "past-page", past_page },
    { "read-past-page", read_past_page },
    { "past-slack", past_slack },
    { "ends", ends },
    { "own-handler", own_handler },
    { "small-stack", small_stack },
    { "written", written },
    { "read", read_freed },
    { "twice", twice },
    { "inside", inside },
    { "stack", stack },
    { "resized", resized },
    { "sized", sized },
    { "wild", wild },
    { "handler-frees", handler_frees },
    { "dangling", dangling },
    { "steady", steady },
    { "right", right },
};

int main(int c, char **v)
{
    char *some[64];
    if (c > 1) prepare(v[1]); /* before the first allocation */
    for (int i = 0; i < 64; i++) some[i] = give(100), memset(some[i], 3, 100);
    p = some[20];
    q = some[21];
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (c > 1 && strcmp(v[1], all[i].name) == 0) all[i].fn();
    for (int i = 0; c > 1 && i < 64; i++) /* as a program does */
        if (some[i] != p && some[i] != q) take(some[i]);
    if (c > 1 && (!strcmp(v[1], "past-1") || !strcmp(v[1], "before-1") || !strcmp(v[1], "past-8") ||
                  !strcmp(v[1], "past-far") || !strcmp(v[1], "past-large")))
        take(p);
    return 0;
}
