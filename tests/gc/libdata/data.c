/* data.c - a library that a test loads: initialised and zeroed data. */
void *libdata_data[64] = { &libdata_data[0] };
void *libdata_bss[64];
