/* demo.c - a program that leaks in two ways and does harmless things beside, for a look at the
 * debug server: it prints the address and runs until it is ended.
 *
 * usage: demo [ADDRESS]
 * An audit log that nobody trims, in a map: a leak. A map that is left in the middle of a resize: a
 * classic one holds two arrays. A cache that fills up and stays as it is: no leak. Requests that
 * come and go: garbage, so that there are collections. */
#include <oakum/oakum.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static oak_map *audit, *cache;
static oak_classic_map *idle;
static volatile sig_atomic_t ended;

static void end(int sig)
{
    (void)sig;
    ended = 1;
}

static void *entry_new(size_t n)
{
    char *p = oak_alloc(n);
    if (p) memset(p, 'x', 16);
    return p;
}

static void audit_request(uint64_t id)
{
    *(void **)oak_map_put(audit, &id) = entry_new(480);
}

static void cache_put(uint64_t id)
{
    uint64_t key = id % 4000;
    *(void **)oak_map_put(cache, &key) = entry_new(700);
}

static void serve_request(uint64_t id)
{
    oak_span_begin("request");
    for (int i = 0; i < 40; i++) (void)!oak_alloc(200);
    cache_put(id);
    if (id % 4 == 0) audit_request(id);
    oak_span_end();
}

static void leave_in_mid_growth(void)
{
    idle = oak_classic_new(&oak_classic_int_int, 0);
    for (uint64_t i = 0; i < 27000; i++) (void)oak_classic_put(idle, &i);
}

int main(int argc, char **argv)
{
    char line[256];
    oak_detector_config detector;
    oak_detector_config_default(&detector);
    detector.interval_ms = 500;
    if (oak_profile_set_rate(16 << 10) != 0 || oak_detector_start(&detector) != 0) return 1;
    if (oak_debug_serve(argc > 1 ? argv[1] : NULL) < 0) {
        oak_debug_serve_error(line, sizeof line);
        fprintf(stderr, "demo: %s\n", line);
        return 1;
    }
    oak_debug_serve_url(line, sizeof line);
    puts(line);
    fflush(stdout);
    signal(SIGTERM, end);
    audit = oak_map_new(&oak_map_u64_ptr, 0);
    cache = oak_map_new(&oak_map_u64_ptr, 0);
    leave_in_mid_growth();
    for (uint64_t id = 0; !ended; id++) {
        serve_request(id);
        if (id % 20 == 0) nanosleep(&(struct timespec){ 0, 4000000 }, NULL);
    }
}
