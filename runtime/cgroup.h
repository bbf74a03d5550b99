/* cgroup.h - the limits that control groups set on the process: memory and processor time.
 *
 * Both versions, 1 and 2; the limits of the process's group and of all groups above it. Callable
 * from any thread. */
#ifndef OAKI_CGROUP_H
#define OAKI_CGROUP_H

#include "base.h"

typedef struct oaki_cgroup {
    size_t memory; /* bytes; SIZE_MAX: no limit */
    unsigned cpus; /* processors that the allowed time amounts to, rounded up; 0: no limit */
} oaki_cgroup;

/* Reads the limits by raw system calls: no cancellation point, no memory. `proc` is a file like
 * /proc/self/cgroup. `mount` is a folder like /sys/fs/cgroup, of at most OAKI_CGROUP_PATH bytes.
 * false: something could not be read, so there may be other limits than *out has. */
#define OAKI_CGROUP_PATH 128
bool oaki_cgroup_read(const char *proc, const char *mount, oaki_cgroup *out);

/* What OAKUM_HOST says in place of the groups; 0: no limit. */
void oaki_cgroup_force_memory(size_t bytes);
void oaki_cgroup_force_cpus(unsigned n);

/* Where the system has both; tests set others. */
extern OAKI_HIDDEN const char *oaki_cgroup_list, *oaki_cgroup_mount;

void oaki_cgroup_reset(void); /* in the child of a fork */

#endif
