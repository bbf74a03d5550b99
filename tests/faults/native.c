/* native.c - programs on liboakum.so for check-faults: collect, threads, fork, serve. */
#include <oakum/oakum.h>
#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define GUEST_NEW oak_alloc
#define GUEST_ROOM 48
#include "list.h"

OAK_MAP_DEFINE(numbers, uint64_t, uint64_t);

static node *kept;
static void on_final(void *obj, void *ctx)
{
    (void)obj;
    (void)ctx;
}

static void check_stats(void)
{
    oak_memstats stats;
    memset(&stats, 0, sizeof stats);
    oak_memstats_read(&stats);
    expect("objects", (long)stats.heap_objects, (long)(stats.mallocs - stats.frees));
    expect("bytes of the heap", (long)stats.heap_sys, (long)(stats.heap_inuse + stats.heap_idle));
    if (stats.heap_alloc > stats.heap_inuse)
        wrong("bytes in objects", (long)stats.heap_alloc, (long)stats.heap_inuse);
}

static int collect(void)
{
    kept = list_of(20000);
    for (int i = 0; i < 20; i++) {
        list_of(20000);
        if (!oak_alloc_noscan(100000)) failed("a large object");
    }
    numbers *m = numbers_new(0);
    if (!m) failed("numbers_new");
    for (uint64_t i = 0; i < 30000; i++) {
        uint64_t *slot = numbers_put(m, i);
        if (!slot) failed("numbers_put");
        *slot = i * 3;
    }
    for (int i = 0; i < 50; i++) {
        void *p = oak_alloc(64);
        if (!p) failed("oak_alloc");
        if (oak_finalizer_set(p, on_final, NULL) != 0) failed("oak_finalizer_set");
    }
    oak_weak *weak = oak_weak_new(kept);
    if (!weak) failed("oak_weak_new");
    oak_collect();
    oak_collect();
    if (oak_weak_get(weak) != kept) wrong("a weak reference", 0, 1);
    check_list(kept, 20000);
    for (uint64_t i = 0; i < 30000; i++) {
        uint64_t *slot = numbers_get(m, i);
        expect("a map's entry", slot ? (long)*slot : -1, (long)(i * 3));
    }
    check_stats();
    (void)oak_scavenge();
    check_list(kept, 20000);
    say("collected\n");
    return 0;
}

static void *thread(void *arg)
{
    node *own = list_of(5000);
    (void)arg;
    list_of(20000);
    check_list(own, 5000);
    return NULL;
}

/* Small stacks: libc keeps 40 MiB of them for later threads, and aborts where it can't unmap what
 * is more. */
static int threads(void)
{
    enum { N = 6 };
    pthread_t t[N];
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, 256 << 10);
    kept = list_of(5000);
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < N; i++) {
            int error = oak_thread_create(&t[i], &attr, thread, NULL);
            if (error == 0) continue;
            errno = error;
            failed("oak_thread_create");
        }
        oak_collect();
        for (int i = 0; i < N; i++) pthread_join(t[i], NULL);
    }
    check_list(kept, 5000);
    check_stats();
    say("joined\n");
    return 0;
}

static int forks(void)
{
    kept = list_of(10000);
    oak_collect();
    fflush(NULL);
    pid_t child = fork();
    if (child < 0) failed("fork");
    if (child == 0) {
        check_list(kept, 10000);
        list_of(50000);
        oak_collect();
        check_list(kept, 10000);
        _exit(0);
    }
    int status;
    if (waitpid(child, &status, 0) != child) failed("waitpid");
    if (WIFSIGNALED(status)) wrong("a child's signal", WTERMSIG(status), 0);
    if (WEXITSTATUS(status) != 0 && WEXITSTATUS(status) != TOLD)
        wrong("a child's status", WEXITSTATUS(status), 0);
    if (oak_profile_set_rate(4096) != 0) failed("oak_profile_set_rate");
    list_of(20000);
    oak_profile *profile = oak_profile_read(0);
    if (!profile) failed("oak_profile_read");
    if (oak_profile_save(profile, "profile.pb.gz") != 0) failed("oak_profile_save");
    oak_profile_free(profile);
    if (oak_snapshot_save("heap.snap") != 0) failed("oak_snapshot_save");
    char text[200];
    oak_snapshot *s = oak_snapshot_open("heap.snap", text, sizeof text);
    if (!s) {
        faults_off();
        fprintf(stderr, "guest: oak_snapshot_open: %s\n", text);
        return TOLD;
    }
    oak_snapshot_info info;
    oak_snapshot_info_read(s, &info);
    if (info.objects < 10000) wrong("objects of a snapshot", (long)info.objects, 10000);
    oak_snapshot_close(s);
    oak_path *path = oak_why_alive(kept->next->next);
    if (!path) failed("oak_why_alive");
    oak_path_free(path);
    check_list(kept, 10000);
    say("saved\n");
    return WEXITSTATUS(status);
}

/* Where the server is found, for the check's own client. */
static void leave_address(void)
{
    char url[256];
    faults_off();
    oak_debug_serve_url(url, sizeof url);
    FILE *f = fopen("address.new", "w");
    if (!f || fprintf(f, "%s\n", url) < 0 || fclose(f) != 0) failed("address");
    if (rename("address.new", "address") != 0) failed("address");
    faults_on();
}

/* Requests come from that client, which closes standard input at the end. */
static int serve(const char *address)
{
    char text[200];
    list_of(20000);
    oak_collect();
    if (oak_profile_set_rate(4096) != 0) failed("oak_profile_set_rate");
    kept = list_of(10000);
    if (oak_debug_serve(address) < 0) {
        oak_debug_serve_error(text, sizeof text);
        faults_off();
        fprintf(stderr, "guest: oak_debug_serve: %s\n", text);
        faults_on();
        return TOLD;
    }
    leave_address();
    long n;
    do n = syscall(SYS_read, 0, text, sizeof text);
    while (n > 0 || (n < 0 && errno == EINTR));
    if (n < 0) failed("standard input");
    oak_debug_serve_stop();
    check_list(kept, 10000);
    say("served\n");
    return 0;
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";
    int status = 2;
    faults_on();
    if (!strcmp(what, "collect")) status = collect();
    if (!strcmp(what, "threads")) status = threads();
    if (!strcmp(what, "fork")) status = forks();
    if (!strcmp(what, "serve") && argc > 2) status = serve(argv[2]);
    return status;
}
