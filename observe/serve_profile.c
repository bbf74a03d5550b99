/* serve_profile.c - heap profiles by HTTP, as Go's net/http/pprof has them.
 *
 * Owns: nothing; runs on the light worker. /debug/pprof/heap and allocs are profiles of this
 * moment. With seconds=N, and at profile-diff, they show the change in that time. Such a request is
 * handled here twice, and waits in between without a thread. Bound: OAKI_SERVE_DIFFS waiting
 * requests. */
#include "runtime/heap.h"
#include "runtime/os.h"
#include "serve_json.h"
#include <errno.h>
#include <oakum/profile.h>
#include <sys/mman.h>
#include <unistd.h>

#define TOP_USUAL 50

static const char off[] = "the heap profile is off: set OAKUM_PROFILE_RATE=512K, or call "
                          "oak_profile_set_rate";

static bool any_site(const oak_profile_site *site, void *ctx)
{
    (void)site;
    *(bool *)ctx = true;
    return false;
}

/* Is sampling off, and did it never record anything? */
static bool is_off(const oak_profile *p)
{
    bool any = false;
    return oak_profile_rate() == 0 &&
           oak_profile_each(p, OAK_PROFILE_INUSE_BYTES, any_site, &any) == 0 && !any;
}

/* Writes to an anonymous file first. */
static int write_out(oaki_request *r, const oak_profile *p, unsigned flags)
{
    int fd = memfd_create("oakum-profile", MFD_CLOEXEC);
    if (fd < 0) return -1;
    oak_profile_order order =
        flags & OAK_PROFILE_ALLOCS ? OAK_PROFILE_ALLOC_BYTES : OAK_PROFILE_INUSE_BYTES;
    int result = r->text ? oak_profile_print(p, fd, order, r->has_top ? r->top : TOP_USUAL)
                         : oak_profile_write(p, fd);
    if (result == 0) oaki_body_read(&r->body, fd);
    close(fd);
    return result;
}

static void put_profile(oaki_request *r, const oak_profile *p, unsigned flags, const char *name)
{
    if (write_out(r, p, flags) != 0) {
        oaki_request_refuse(r, 503, "the profile can't be written: no memory");
        return;
    }
    if (r->text) return;
    r->type = "application/octet-stream";
    r->name = name;
}

/* Takes the first of two readings, and sets when the second is due. The cycle is read after the
 * figures: one that ended in between is not taken for one after them. */
static void begin_difference(oaki_request *r, unsigned flags)
{
    r->base = oak_profile_read(flags);
    r->cycle = AO_load(&oaki_the_heap.cycle);
    r->base_now = oak_profile_read(flags | OAK_PROFILE_NOW);
    if (!r->base || !r->base_now)
        oaki_request_refuse(r, 503, "no memory for a reading of the profile");
    else if (is_off(r->base))
        oaki_request_refuse(r, 409, off);
    else
        r->due = oaki_os_now_ns() + (uint64_t)r->seconds * 1000000000;
}

/* The difference is taken from collection to collection, as objects allocated after the last one
 * had no chance to die. If there was no collection in between, the figures are of the two
 * moments. */
static oak_profile *second_reading(oaki_request *r, unsigned flags)
{
    bool collected = AO_load(&oaki_the_heap.cycle) != r->cycle;
    oak_profile *p = oak_profile_read(collected ? flags : flags | OAK_PROFILE_NOW);
    if (p) oak_profile_subtract(p, collected ? r->base : r->base_now);
    return p;
}

static void make(oaki_request *r, unsigned flags, const char *name)
{
    if (r->has_seconds && !r->base) {
        begin_difference(r, flags);
        return;
    }
    oak_profile *p = r->has_seconds ? second_reading(r, flags) : oak_profile_read(flags);
    if (!p) oaki_request_refuse(r, 503, "no memory for a reading of the profile");
    else if (!r->has_seconds && is_off(p)) oaki_request_refuse(r, 409, off);
    else put_profile(r, p, flags, name);
    oak_profile_free(p);
}

void oaki_serve_heap(oaki_request *r)
{
    make(r, 0, "heap.pb.gz");
}

void oaki_serve_allocs(oaki_request *r)
{
    make(r, OAK_PROFILE_ALLOCS, "allocs.pb.gz");
}

void oaki_serve_profile_diff(oaki_request *r)
{
    make(r, 0, "profile-diff.pb.gz");
}
