/* serve_json.h - the server's answers in JSON. */
#ifndef OAKI_SERVE_JSON_H
#define OAKI_SERVE_JSON_H

#include "json.h"
#include "serve.h"

/* Begin an answer that is JSON, and end it. */
void oaki_serve_json_begin(oaki_request *r, oaki_json *j);
void oaki_serve_json_end(oaki_request *r, oaki_json *j);

/* Answers of the light worker. */
void oaki_serve_state(oaki_request *r);
void oaki_serve_memstats(oaki_request *r);
void oaki_serve_host(oaki_request *r);
void oaki_serve_gc(oaki_request *r);
void oaki_serve_maps(oaki_request *r);
void oaki_serve_threads(oaki_request *r);
void oaki_serve_leaks(oaki_request *r);
void oaki_serve_metrics(oaki_request *r);

/* Parts of those answers. */
void oaki_serve_put_leaks(oaki_json *j);
void oaki_serve_leak_metrics(oaki_body *b);

/* Answers with profiles and a trace, and with a path. The heavy worker makes the last one. */
void oaki_serve_heap(oaki_request *r);
void oaki_serve_allocs(oaki_request *r);
void oaki_serve_profile_diff(oaki_request *r);
void oaki_serve_trace(oaki_request *r);
void oaki_serve_why(oaki_request *r);

#endif
