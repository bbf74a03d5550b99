/* suites.h - every suite of tests/check_oakum, one line each: X(runtime_lock) is the function
 * suite_runtime_lock of tests/runtime/lock.c. Sorted; runtime first, then upwards. Read several
 * times, each with another X. */
X(runtime_fatal)
X(runtime_lock)
X(runtime_meta)
X(runtime_options)
X(runtime_os)
X(runtime_print)
X(runtime_thread)
X(runtime_type)
X(gc_ptrtable)
X(gc_trace)
X(maps_classic_golden)
X(maps_classic_misuse)
X(maps_classic_semantics)
X(maps_hash)
