/* symbolname.h - symbol names of roots.
 *
 * Each function writes an empty string if there is no name. `file` stays as it is unless a better
 * one is found. Outside of a pause and of oaki_enter. */
#ifndef OAKI_SYMBOLNAME_H
#define OAKI_SYMBOLNAME_H

#include "runtime/base.h"

/* The function that contains an address. */
void oaki_name_of_code(uintptr_t pc, char *name, size_t n, char *file, size_t file_n);

/* The variable. *offset is the address's offset in it, or from the loaded object's base. */
void oaki_name_of_data(uintptr_t addr, char *name, size_t n, char *file, size_t file_n,
                       size_t *offset);

/* The thread-local variable at offset `at` of the block of `file`. *offset is the offset in it. */
void oaki_name_of_tls(const char *file, size_t at, char *name, size_t n, size_t *offset);

/* The name shown for a loaded object's path: for /proc/self/exe, the program's own. */
void oaki_name_of_file(const char *path, char *out, size_t n);

#endif
