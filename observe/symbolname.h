/* symbolname.h - the one place where roots get symbols from.
 *
 * Each writes an empty string where there is no name. `file` is kept when it is known already and
 * nothing better is found. Outside of a stop and of oaki_enter. */
#ifndef OAKI_SYMBOLNAME_H
#define OAKI_SYMBOLNAME_H

#include "runtime/base.h"

/* The function that an address is in. */
void oaki_name_of_code(uintptr_t pc, char *name, size_t n, char *file, size_t file_n);

/* The variable; *offset is that of the address in it, or from the loaded object's base. */
void oaki_name_of_data(uintptr_t addr, char *name, size_t n, char *file, size_t file_n,
                       size_t *offset);

/* The thread-local variable at this offset of the block of `file`; *offset becomes that in it. */
void oaki_name_of_tls(const char *file, size_t at, char *name, size_t n, size_t *offset);

/* What a loaded object's path says to people: the program's own for /proc/self/exe. */
void oaki_name_of_file(const char *path, char *out, size_t n);

#endif
