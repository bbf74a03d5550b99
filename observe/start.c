/* start.c - starts the tools that options and environment select (runtime/observer.h). */
#include "runtime/observer.h"
#include "gclog.h"
#include "guard.h"
#include "judge.h"
#include "profile.h"
#include "serve.h"

OAKI_AT_START void oaki_observe_start(const oak_config *config)
{
    oaki_guard_from_environment();
    oaki_profile_start(config->profile_rate);
    oaki_gclog_from_environment();
    oaki_serve_from_environment();
    oaki_detector_from_environment();
}
