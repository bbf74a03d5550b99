/* doctor.h - the findings of `oakum doctor`. */
#ifndef CMD_DOCTOR_H
#define CMD_DOCTOR_H

#include "cmd.h"

typedef enum cmd_level { CMD_FINE, CMD_WARN, CMD_BAD } cmd_level;

typedef struct cmd_finding {
    cmd_level level;
    const char *name;      /* such as "huge-pages": stable, for scripts */
    char what[160];
    const char *why, *fix; /* fix: NULL: nothing to do */
} cmd_finding;

typedef struct cmd_findings {
    cmd_finding list[24];
    size_t n;
} cmd_findings;

/* Append a finding. */
void cmd_find(cmd_findings *to, cmd_level level, const char *name, const char *why,
              const char *fix, const char *what, ...) __attribute__((format(printf, 6, 7)));

/* Look at what the system allows a process. root is prepended to the names in /proc and /sys: "" or
 * a folder of tests. process is a process id or "self". */
void cmd_doctor_system(cmd_findings *to, const char *root, const char *process);

/* Look at the names of Oakum's variables in the environment with which a process was started, as
 * far as it can be read. root and process as above. */
void cmd_doctor_environment(cmd_findings *to, const char *root, const char *process);

#endif
