/* promtext.h - a reader of Prometheus' text format for tests: strict, and fails the test where the
 * text is not as the format has it. */
#ifndef TESTS_OBSERVE_PROMTEXT_H
#define TESTS_OBSERVE_PROMTEXT_H

/* Each family has its HELP and TYPE once, before its samples, which stand together; no sample
 * stands twice; counters end in _total; a histogram's buckets rise, to the count. Returns how many
 * samples there are. */
unsigned prom_check(const char *text);

/* The value of the sample that is written so, "oakum_maps{kind=\"classic\"}". */
double prom_value(const char *text, const char *sample);

#endif
