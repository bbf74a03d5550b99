/* leak.c - a leak, and what finds it: requests are served, each leaves a line in a log that nobody
 * trims, and fills a cache that is bounded and so is no leak.
 *
 * A program that serves starts the detector with oak_detector_start(), or has OAKUM_DETECTOR=1 in
 * its environment, and is looked at after collections, on another thread. Here each look is asked
 * for, and looks may follow each other at once. */
#include <oakum/oakum.h>
#include <stdio.h>

static oak_map *audit;      /* grows with every request */
static void *cache[1000];   /* full after the first thousand */

static void serve(uint64_t request)
{
    void **line = oak_map_put(audit, &request);
    if (line) *line = oak_alloc_noscan(400);
    cache[request % 1000] = oak_alloc(1000);
}

int main(void)
{
    oak_detector_config cfg;
    oak_finding found[8];
    uint64_t request = 0;
    oak_detector_config_default(&cfg);
    cfg.pace_ms = 0;
    oak_profile_set_rate(4096); /* sites of so small a program show at the usual rate by luck */
    audit = oak_map_new(&oak_map_u64_ptr, 0);
    if (oak_detector_prepare(&cfg) != 0) return 1;
    for (int look = 0; look < 20; look++) {
        for (int i = 0; i < 2000; i++) serve(request++);
        oak_detector_scan();
    }
    size_t n = oak_detector_findings(found, 8);
    for (size_t i = 0; i < n && i < 8; i++)
        if (found[i].severity == OAK_SEVERITY_LEAK)
            printf("%s: %s: %s\n", oak_finding_name(found[i].kind), found[i].subject,
                   found[i].evidence);
    return 0;
}
