/* map_fuzz.c - the model of the default map at random seeds for FUZZ_SECONDS (60): make fuzz-map.
 *
 * Each run is a child, whose options follow from the seed too, so that a crash or a hang is told
 * with its seed as well. SEED=n repeats one run, in this process. */
#include "model.h"
#include "runtime/options.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { SECONDS = 60, HANGS = 600 };

/* Which options go with which kind is as random as the rest. */
static void run(uint64_t seed)
{
    oak_config c;
    model_seed(~seed);
    oak_config_default(&c);
    c.gc_percent = model_below(5) == 0 ? -1 : 50;
    c.min_heap = 65536;
    c.background_sweep = c.scavenge = model_below(3) == 0;
    c.gc_threads = 1 + (int)model_below(2);
    if (oak_init(&c) != 0) abort();
    bool is_long = model_below(50) == 0;
    if (!is_long && model_below(7) == 0) oaki_debug_switches.stress = 1 + (int)model_below(1000);
    if (model_below(2) == 0) oaki_debug_switches.poison = 1;
    model_who = "fuzz_map";
    model_run(seed, (unsigned)model_below(model_nkinds), is_long ? 600000 : 20000);
}

static bool run_apart(uint64_t seed)
{
    int status;
    pid_t child = fork();
    if (child == 0) {
        alarm(HANGS);
        run(seed);
        _exit(0);
    }
    return child > 0 && waitpid(child, &status, 0) == child && status == 0;
}

int main(void)
{
    const char *given = getenv("SEED"), *seconds = getenv("FUZZ_SECONDS");
    struct timespec now;
    if (given && *given) {
        run(strtoull(given, NULL, 0));
        return 0;
    }
    clock_gettime(CLOCK_REALTIME, &now);
    time_t end = now.tv_sec + (seconds && *seconds ? atol(seconds) : SECONDS);
    uint64_t seed = (uint64_t)now.tv_sec * 1000000007 + (uint64_t)now.tv_nsec, runs = 0;
    printf("fuzz_map: seeds from %llu\n", (unsigned long long)seed);
    for (; time(NULL) < end; seed++, runs++) {
        if (run_apart(seed)) continue;
        printf("fuzz_map: failed; SEED=%llu make fuzz-map repeats it\n", (unsigned long long)seed);
        return 1;
    }
    printf("fuzz_map: %llu runs, nothing found\n", (unsigned long long)runs);
    return 0;
}
