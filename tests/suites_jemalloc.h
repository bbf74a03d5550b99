/* suites_jemalloc.h - the suites of tests/check_jemalloc; see suites.h. */
X(runtime_meta)
