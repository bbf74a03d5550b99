/* list.c - every scenario, in the order of the table. A new one is a line here. */
#include "scenario.h"

#define SCN_LIST(X)                            \
    X(scn_unbounded_global_map)                \
    X(scn_leaked_thread_holding_map)           \
    X(scn_struct_field_map_lifetime)           \
    X(scn_watermark_vs_leak)                   \
    X(scn_key_type_reachability)               \
    X(scn_delete_does_not_release)             \
    X(scn_audit_cache_unbounded)               \
    X(scn_syncmap_delayed_delete)              \
    X(scn_weak_reference_pool)                 \
    X(scn_short_lived_churn_missed)            \
    X(scn_thread_stack_leak)                   \
    X(scn_pool_misuse)                         \
    X(scn_finalizer_cycle)                     \
    X(scn_idle_connection_pool)                \
    X(scn_gc_thrash)                           \
    X(scn_floating_garbage)                    \
    X(scn_hash_collision_chain)                \
    X(scn_overflow_buckets_vs_free)            \
    X(scn_delete_gc_blind_spot)                \
    X(scn_collision_rate_monitor)              \
    X(scn_concurrent_map_comparison)           \
    X(scn_range_insert_delete_pins_oldbuckets) \
    X(scn_stuck_iterator)                      \
    X(scn_field_map_iteration_stalls_growth)   \
    X(scn_syncmap_dirty_promotion)             \
    X(scn_deferred_closure_capture)            \
    X(scn_escaped_closure_capture)             \
    X(scn_idle_map_mid_growth)                 \
    X(scn_sticky_olditerator_flag)             \
    X(scn_emptied_mid_growth)                  \
    X(scn_deleted_all_mid_growth)              \
    X(scn_span_pinned_by_one_object)           \
    X(scn_nan_keys)                            \
    X(scn_clear_during_range)                  \
    X(scn_interior_pointer_pins_array)         \
    X(scn_concurrent_range_mid_growth)         \
    X(scn_controlled_growth_experiment)        \
    X(scn_growth_steps)                        \
    X(scn_rebuild_vs_delete)                   \
    X(scn_string_key_substring_pin)            \
    X(scn_three_sigma_detector)                \
    X(scn_heap_profile_of_a_map)

#define DECLARE(name) extern const scn_scenario name;
SCN_LIST(DECLARE)
#undef DECLARE

#define ADDRESS(name) &name,
const scn_scenario *const scn_scenarios[] = { SCN_LIST(ADDRESS) NULL };
#undef ADDRESS
