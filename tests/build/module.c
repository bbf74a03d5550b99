/* module.c - an extension module that holds Oakum's static library, as a Lua module would. */
#include <oakum/oakum.h>

__attribute__((visibility("default"))) int module_run(void);

int module_run(void)
{
    for (int i = 0; i < 100000; i++)
        if (!oak_alloc(64)) return -1;
    oak_collect();
    return 0;
}
