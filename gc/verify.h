/* verify.h - OAKUM_DEBUG=verify=1. */
#ifndef OAKI_VERIFY_H
#define OAKI_VERIFY_H

/* World stopped, after the mark: mark again in the plainest way and compare. Fatal when an
 * object that is reachable is unmarked, or when a structure's checker finds a broken rule. */
void oaki_verify(void);

#endif
