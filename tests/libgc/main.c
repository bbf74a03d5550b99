/* main.c - runs the parts of the test of libgc's interface that its arguments name, or all that can
 * share a process. */
#include "api.h"

void say(const char *what, long value)
{
    printf("%s: %ld\n", what, value);
}

/* A stray word keeps one or two, or lets them go in a later part: no library is the worse for
 * it. */
void say_of_many(const char *what, long n)
{
    const char *word = n <= MANY / 10 ? "none" : n >= MANY - MANY / 10 ? "all" : "some";
    printf("%s: %s\n", what, word);
}

static NOINLINE void scrub(void)
{
    char dead[16384];
    memset(dead, 0, sizeof dead);
    __asm__ __volatile__("" : : "r"(dead) : "memory");
}

void collect(void)
{
    for (int i = 0; i < 3; i++) {
        scrub();
        GC_gcollect();
    }
}

void watch_init(watch *w)
{
    w->n = 0;
    w->link = GC_malloc_atomic_uncollectable(MANY * sizeof *w->link);
    memset(w->link, 0, MANY * sizeof *w->link);
}

void watch_add(watch *w, void *obj)
{
    void **link = &w->link[w->n++];
    *link = (void *)GC_HIDE_POINTER(obj);
    GC_general_register_disappearing_link(link, obj);
}

long watch_alive(const watch *w)
{
    long n = 0;
    for (size_t i = 0; i < w->n; i++) n += w->link[i] != NULL;
    return n;
}

static const struct {
    const char *name;
    void (*run)(void);
    bool alone;  /* in a process of its own */
    bool starts; /* and it starts the library itself */
} parts[] = {
    { "alloc", test_alloc, false, false },
    { "kinds", test_kinds, false, false },
    { "typed", test_typed, false, false },
    { "finalizers", test_finalizers, false, false },
    { "links", test_links, false, false },
    { "roots", test_roots, false, false },
    { "collecting", test_collecting, false, false },
    { "figures", test_figures, false, false },
    { "debug", test_debug, false, false },
    { "regions", test_regions, false, false },
    { "threads", test_threads, false, false },
    { "foreign", test_foreign, true, false },
    { "callbacks", test_callbacks, true, false },
    { "settings", test_settings, true, false },
    { "exiting", test_exiting, true, false },
    { "dumps", test_dumps, true, false },
    { "checking", test_checking, true, false },
    { "log", test_log, true, false },
    { "incremental", test_incremental, true, false },
    { "disabled", test_disabled, true, false },
    { "limit", test_limit, true, false },
    { "racing", test_racing, true, false },
    { "limits", test_limits, true, false },
    { "shrinking", test_shrinking, true, false },
    { "leaking", test_leaking, true, false },
    { "markers", test_markers, true, false },
    { "helped", test_helped, true, false },
    { "disclaim", test_disclaim, true, false },
    { "weakmap", test_weakmap, true, false },
    { "unprotected", test_unprotected, true, false },
    { "whole", test_whole, true, false },
    { "exclusions", test_exclusions, true, false },
    { "secondary", test_secondary, true, true },
    { "keys", test_keys, true, false },
    { "leaks", test_leaks, true, false },
    { "smashing", test_smashing, true, false },
    { "huge", test_huge, true, false },
    { "libraries", test_libraries, true, false },
    { "maximum", test_maximum, true, false },
    { "subthreads", test_subthreads, true, false },
    { "loading", test_loading, true, false },
    { "locked", test_locked, true, false },
    { "displaced", test_displaced, true, true },
    { "dumping", test_dumping, true, true },
    { "early", test_early, true, true },
    { "environment", test_environment, true, true },
    { "warnings", test_warnings, true, true },
    { "strict", test_strict, true, true },
    { "oom", test_oom, true, true },
};

int main(int argc, char **argv)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        bool wanted = argc == 1 && !parts[i].alone;
        for (int a = 1; a < argc; a++) wanted |= strcmp(argv[a], parts[i].name) == 0;
        if (!wanted) continue;
        printf("== %s\n", parts[i].name);
        if (!parts[i].starts) GC_INIT();
        scrub(); /* its frame would hold words that the part before has left there */
        parts[i].run();
    }
    return 0;
}
