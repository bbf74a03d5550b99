/* tuning.h - the constants of pacing, of the concurrent mark, and of object tables.
 *
 * Those of the marker's loops are in trace/tuning.h. Sizes of data structures are not here, nor
 * constants of runtime/. Each has its unit, its trade, and after "Measured:" what chose it, on the
 * machine of docs/measurements/pause.md. One without that word was not measured: it is an estimate,
 * or a bound. */
#ifndef OAKI_TUNING_H
#define OAKI_TUNING_H

#include <oakum/gc.h>
#include <stddef.h>
#include <stdint.h>

/* ---- is a mark concurrent? (plan.c) ---- */

/* Bytes live, from which a heap of unknown pauses is marked concurrently. A mark in one pause
 * costs less processor time in total; a concurrent one has short pauses. */
#define OAKI_TUNE_LARGE ((size_t)64 << 20)

/* ns: the default of oak_config.pause_goal_us. A smaller goal is kept where tracking is dear, too.
 * Not measured: it is what the users of other collectors expect. */
#define OAKI_TUNE_PAUSE_GOAL_NS (OAK_PAUSE_GOAL_US * UINT64_C(1000))

/* ns: the least goal of a library that prefers stops. Memory and processor time against pauses.
 * Measured: with 10 ms, bench-heap's trees (pauses of 25 to 34 ms) took 176 MB for 133, and 17 %
 * more processor time. */
#define OAKI_TUNE_STOPS_PAUSE_NS 40000000u

/* Bytes live, below which the estimate of a pause decides nothing: roots take time too, and so does
 * a busy machine. A program with 5 MB live has a goal of 10 MB to 12, and opens no tracking.
 * Measured: beside eight other loads such a program had a pause of 18 ms, and began to track. */
#define OAKI_TUNE_LONG_PAUSE_FROM ((size_t)16 << 20)

/* Bytes in use, from which helpers that mark are started, unless the program sets their number.
 * Threads of small programs against pauses: a thread alone marks so much in some milliseconds. */
#define OAKI_TUNE_HELPERS_FROM ((size_t)16 << 20)

/* Bytes live: a mark of fewer gives no time per live byte. A smaller value follows changes sooner,
 * and takes fixed costs for costs per byte. */
#define OAKI_TUNE_MEANINGFUL ((size_t)1 << 20)

/* ns: a pause that is shorter is left alone where concurrent marking is cheap; one that is longer
 * than the second is not cheap to avoid. Pauses against floating garbage.
 * Measured: bench-pause's message window had pauses of 1.2 and 1.9 ms for 34 and 65 MB, and has 0.1
 * to 0.4 ms. Heaps of small linked objects lie above 4 ms: their slow mark keeps what dies. */
#define OAKI_TUNE_NOTICED_NS 1000000u
#define OAKI_TUNE_CHEAP_NS 4000000u

/* Bytes: the least goal of such a heap. Not measured alone; see OAKI_TUNE_NOTICED_NS. */
#define OAKI_TUNE_CHEAP_FROM ((size_t)16 << 20)

/* Part of the heap, 1/n: mutators may allocate that much in the pause's time. A concurrent mark
 * takes some times as long, and objects allocated meanwhile count as live. */
#define OAKI_TUNE_CHEAP_GROWTH 8

/* Times the cost per byte seen in a pause: a concurrent mark that costs more replaces it. Lower,
 * and a heap alternates between the modes, as a mark's cost depends on the number of workers. */
#define OAKI_TUNE_CHANGED 4

/* ---- what the host's costs decide (plan.c) ---- */

/* ns of the first write to a protected page. Where it costs more, pages are tracked only for a
 * pause goal below the default, or where that is affordable. Total time against pauses.
 * Measured elsewhere: 0.7 us on most hosts, 4 to 14 us under a hypervisor that shadows page
 * tables. Not measured: values between. */
#define OAKI_TUNE_DEAR_WRITE_NS OAK_DEAR_WRITE_NS

/* ns: the same where pages are tracked by faults. Not measured: a fault and two calls of mprotect
 * take 2 to 4 us on this host. */
#define OAKI_TUNE_DEAR_FAULT_NS 30000u

/* Share of the time between two cycles: that tracking may take where writes are dear; and that a
 * concurrent mark may take beyond a pause's cost, where the pause is within the goal. Not measured:
 * it is the objective. */
#define OAKI_TUNE_EXTRA_SHARE 0.15

/* Part of the pause goal, 1/n, that a minor cycle in one pause may take; and times the goal that it
 * might take if all new objects were alive. Total time against pauses.
 * Measured: bench-heap's trees have minor pauses of 0.5 to 2.3 ms, and take 0.8 of the time. */
#define OAKI_TUNE_MINOR_PAUSE 2
#define OAKI_TUNE_MINOR_WORST 4

/* Part of the last such pause and its cost, 1/n, that each concurrent minor cycle forgets: after
 * some, another pause is tried. Not measured. */
#define OAKI_TUNE_MINOR_FORGET 8u

/* Part of a concurrent minor mark's cost, 1/n, that each such pause forgets: one dear mark doesn't
 * decide for good. Not measured. */
#define OAKI_TUNE_MINOR_KEPT 64u

/* Part of all pages, 1/n, that count as written in a cycle before there was a concurrent one. */
#define OAKI_TUNE_UNKNOWN_DIRTY 4

/* Bytes live, from which the host is measured: in a smaller heap nothing is decided by it. */
#define OAKI_TUNE_HOST_FROM OAKI_TUNE_STICKY_FROM
/* Probes, after which a class of costs is certain if two agree. Each takes some milliseconds. */
#define OAKI_TUNE_PROBES 3

/* ns between two readings of control groups' limits: system calls against obeying a change late. */
#define OAKI_TUNE_LIMITS_NS UINT64_C(10000000000)

/* Part of a control group's memory limit, 1/n, that is left for other memory of the process. */
#define OAKI_TUNE_GROUP_LIMIT_LESS 8

/* Words traced, below which a mark is no measure of the cost of a word. */
#define OAKI_TUNE_MEANINGFUL_WORDS ((size_t)1 << 20)

/* A mark is slow that costs so many times what a word has cost at least; and so many ns, where that
 * is known, or so many where it isn't. Lists cost 50 ns a word here, random graphs 20.
 * Measured elsewhere: 220 to 570 ns a word on tracked huge pages that were split. */
#define OAKI_TUNE_SLOW 4
#define OAKI_TUNE_SLOW_WORD_NS 60.0
#define OAKI_TUNE_SLOW_WORD_MOST_NS 150.0

/* Times: the least cost of a word is forgotten by so much in a cycle, as heaps change. */
#define OAKI_TUNE_FORGET 1.05

/* ns of a pause that shows what share of processors its workers had; that share, 1/n; and pauses in
 * a row with less before half as many workers mark. Longer marks against drains that wait for a
 * worker without a processor. */
#define OAKI_TUNE_SHARE_NS UINT64_C(1000000)
#define OAKI_TUNE_SHARE 4
#define OAKI_TUNE_STARVED 2u

/* Pauses with a larger share before twice as many are tried. */
#define OAKI_TUNE_FED 16u

/* Full cycles without tracking after a slow mark: the first time, and at most. Slow marks against
 * a host that recovers. */
#define OAKI_TUNE_REST 4u
#define OAKI_TUNE_REST_MOST 4096u

/* ns of joining pages after a slow mark, and bytes at a time. The host thread's processor time
 * against the speed that comes back. */
#define OAKI_TUNE_REPAIR_NS UINT64_C(4000000000)
#define OAKI_TUNE_REPAIR_STEP ((size_t)2 << 20)

/* Part of such bytes, 1/n, that may be free: the system fills free pages when it joins. Memory
 * against huge pages. */
#define OAKI_TUNE_REPAIR_FREE 8

/* Words traced that cost as much as to protect a page, and a fault: where costs are not known, and
 * the bounds where they are. */
#define OAKI_TUNE_PAGE_WORDS ((size_t)128)
#define OAKI_TUNE_PAGE_WORDS_LEAST ((size_t)16)
#define OAKI_TUNE_PAGE_WORDS_MOST ((size_t)4096)

/* Words that worker 0 traces before it wakes helpers, at least and at most; and in between, how
 * many wake-ups they are to outweigh. */
#define OAKI_TUNE_WAKE_WORDS ((size_t)4096)
#define OAKI_TUNE_WAKE_WORDS_MOST ((size_t)65536)
#define OAKI_TUNE_WAKES 4

/* ---- when a cycle begins (pace.c) ---- */

/* Part of the live bytes, 1/n, and bytes: the trigger lies so far above them at least, so that
 * cycles never follow one another at once. Memory against processor time. */
#define OAKI_TUNE_LEAST_STEP 32
#define OAKI_TUNE_LEAST_STEP_BYTES ((size_t)64 << 10)

/* Part of the bytes that a full mark found live, 1/n: floating garbage is at most that, as an
 * estimate. Lower goals against cycles that follow too soon. */
#define OAKI_TUNE_FLOATING_MOST 2

/* Times the bytes allocated during the last mark: so early a concurrent mark begins. Throttled
 * mutators against floating garbage. */
#define OAKI_TUNE_RUNWAY 1.25

/* Part of the way from live bytes to the goal, 1/n: no mark begins earlier.
 * Measured: with three quarters, threads that outran the mark had the heap grow without end. */
#define OAKI_TUNE_RUNWAY_MOST 2

/* Part of the space to the trigger, 1/n: a driver with a budget begins when it is left. Cycles
 * against pauses that no budget covers. */
#define OAKI_TUNE_NEAR 4

/* Bytes that a finalizer of libgc's interface counts as, beyond those that waited at the last mark
 * (pace.c). Collections against the memory outside of the heap that finalizers give back.
 * Measured: 200,000 objects of 32 bytes, dropped at once: up to 23,800 waited without it, 1,100 on
 * Boehm's collector. */
#define OAKI_TUNE_FINALIZER_BYTES ((size_t)1024)

/* Bytes: the least goal of a heap whose program sets none, at first, and at most; and the share of
 * processor time, 1/n, from which it grows. Memory of small programs against processor time.
 * Measured: Jim Tcl peaks at 4.0 MiB for 6.6, in the same time. TinyScheme with 0.2 MB live takes
 * 174 million instructions at 512 KiB and 81 at 4 MiB; it goes up to that. With a share of 1/4 it
 * peaks at 3.6 MiB for 6.8, in 1.5 times the processor time. */
#define OAKI_TUNE_SMALL_FIRST ((size_t)512 << 10)
#define OAKI_TUNE_SMALL_MOST ((size_t)4 << 20)
#define OAKI_TUNE_SMALL_SHARE 16

/* Bytes: the least that a program can set. A few spans, of which a collection frees some. */
#define OAKI_TUNE_SMALL_LEAST ((size_t)64 << 10)

/* Part of the live bytes, 1/n, that mutators allocate at least before a cycle that only finalizers
 * make due. Such cycles against their cost: not measured. */
#define OAKI_TUNE_FINALIZER_LEAST 32

/* Bytes live, from which the goal is lower if marks cost less than 1/THRIFT_SHARE of a processor.
 * Processor time against memory.
 * Measured: bench-pause's message window needs a fifth less memory. */
#define OAKI_TUNE_THRIFT_FROM ((size_t)128 << 20)
#define OAKI_TUNE_THRIFT_SHARE 4

/* Part of the bytes between live and goal, 1/n, that stays at least, as the costs of just two marks
 * are known. */
#define OAKI_TUNE_THRIFT_LEAST 2

/* ---- under a memory limit (pace.c) ---- */

/* Part of the bytes in spans beyond the live ones, 1/n, that no allocation will fill; and part of
 * the limit, 1/n, for spans that are partly filled at any time. The limit against early cycles. */
#define OAKI_TUNE_WASTE 8
#define OAKI_TUNE_LIMIT_LESS 32

/* Part of the live bytes, 1/n, and bytes: the trigger of a postponed cycle goes up by so much. It
 * bounds how often the clocks are read. */
#define OAKI_TUNE_POSTPONE 64
#define OAKI_TUNE_POSTPONE_BYTES ((size_t)64 << 10)

/* Times a cycle's duration by the clock, after which a program counts as asleep, and may be
 * collected although it used less processor time.
 * Measured, for the half of processor time: beside two other loads the collector had 44 to 46 %
 * under a limit that can't be met. Not measured: the factor itself. */
#define OAKI_TUNE_ASLEEP 8

/* ns of processor time: the credit that a program may save. More lets a limit that can't be met
 * cost more at once.
 * Measured: without credit, a cycle of 20 ms let the heap go 60 MB past a limit that can be met. */
#define OAKI_TUNE_CREDIT_NS 1000000000

/* ---- mutators past the goal (pace.c, assist.c) ---- */

/* Part of the space between live bytes and goal, 1/n, by which a late mark lets the heap grow.
 * Memory against throttled mutators.
 * Measured: four threads with objects of 1 MB had 9.6 GB beside 259 MB live without a bound; with
 * it, at most 992 MB for a goal of 891. */
#define OAKI_TUNE_LATE 8

/* Part of the live bytes, 1/n: the least of that growth, where the goal lies near them. A goal that
 * a memory limit lowers would otherwise throttle all mutators. */
#define OAKI_TUNE_LATE_LEAST 32

/* Times as long by the clock a thread waits where no thread marks meanwhile. Memory against a
 * mutator's longest operation.
 * Measured: by the clock alone, 64 threads beside a load of ten had 173 to 243 MB for a goal of
 * 144. Not measured: the factor itself. */
#define OAKI_TUNE_BUSY 4

/* ns: tracing by an assist at a time. The mutator's longest operation against the mark's progress.
 * Measured: an assist bounded by words took 2 to 8 ms, and on a large map 3.5 to 17 ms. */
#define OAKI_TUNE_ASSIST_NS 200000u

/* ns of marking that a throttled mutator waits for at most, for each WAIT_BYTES that it is about
 * to allocate. Memory against a mutator's longest operation.
 * Measured: with 1 ms for each 64 KiB, a span of small objects waited for 1 ms; the peak memory of
 * the graphs of 256 MB and 1 GiB is the same. */
#define OAKI_TUNE_WAIT_NS 250000u
#define OAKI_TUNE_WAIT_BYTES ((size_t)16 << 10)

/* ns without progress, after which the mark may be waiting for what a mutator holds. Memory on a
 * busy machine against a mutator's longest operation. A load of 20 may hold a thread up so long. */
#define OAKI_TUNE_STALLED_NS 100000000u

/* ns: the most of it, times OAKI_TUNE_BUSY, for a mark that has stalled. */
#define OAKI_TUNE_BLIND_NS 250000000u

/* ns that a throttled thread sleeps at once, for each such thread, and at most. Each wakeup takes
 * the mark's processor; a long sleep outlasts the mark.
 * Measured: for a goal of 337 MB, 64 threads had 1,530 MB with one nap each, and 388 MB with this;
 * 300 threads 2,227 and 400 MB. */
#define OAKI_TUNE_NAP_NS 100000u
#define OAKI_TUNE_NAP_MOST_NS 5000000u

/* ns: OAKUM_DEBUG=twice waits for a concurrent cycle for so long, asking so often. It bounds the
 * wait of a caller that holds what the mark waits for. */
#define OAKI_TUNE_TWICE_NS 1000000000u
#define OAKI_TUNE_TWICE_NAP_NS 50000u

/* ---- a program that refuses collections (thread.c, assist.c, stages.c) ---- */

/* ns between two tries of a refused pause, and the number of tries before the work is dropped.
 * Short sections without collections pass; longer ones cost memory.
 * Measured: a program of 122 MB allowed collections for 200 objects after each 25 ms without. It
 * took 5.6 GB when a refused mark was dropped at once, and takes 0.2 GB. */
#define OAKI_TUNE_REFUSED_NAP_NS 500000u
#define OAKI_TUNE_REFUSED_NAPS 100

/* Cycles dropped in a row, after which an allocating thread collects in one pause. */
#define OAKI_TUNE_REFUSALS 3

/* Refused final pauses before dirty pages are rescanned once more. Work for rounds against the
 * length of the final pause. */
#define OAKI_TUNE_NAPS_A_ROUND 8

/* ---- workers and their memory (workers.c, segment.c) ---- */

/* Workers at most where the program has set no number. More processors' time against shorter
 * marks. Not measured; the documentation of oak_config.gc_threads promises it. */
#define OAKI_TUNE_WORKERS 8u

/* Part of the workers, 1/n, that mark concurrently; throttled mutators add others. Mutators'
 * processors against the length of a mark. */
#define OAKI_TUNE_CONCURRENT_WORKERS 4u

/* Bytes of the heap in a rescan task of the final pause, least and most, and tasks in between.
 * A small task wastes a call of the system. A large one is too much for one worker, which scans all
 * its objects but the large ones. */
#define OAKI_TUNE_RESCAN_LEAST ((size_t)2 << 20)
#define OAKI_TUNE_RESCAN_MOST ((size_t)16 << 20)
#define OAKI_TUNE_RESCAN_TASKS 64

/* Bytes of the heap that worker 0 takes in such tasks before it wakes helpers. Wake-ups against the
 * length of the pause. */
#define OAKI_TUNE_RESCAN_ALONE ((size_t)16 << 20)

/* Bytes of a large object's part on a dirty page: fewer are not worth a lock. */
#define OAKI_TUNE_RESCAN_SHARED ((size_t)4 << 10)

/* Pages between two readings of the clock, while a pause looks for objects left out. */
#define OAKI_TUNE_LEFT_OUT_PAGES 1024

/* Bytes of mark stack that are mapped at a time: the first few batches, and those after them, in
 * huge pages. A mark that needs more than a few batches needs many more. Not measured alone. */
#define OAKI_TUNE_STACK_BATCH ((size_t)256 << 10)
#define OAKI_TUNE_STACK_BATCHES 4
#define OAKI_TUNE_STACK_HUGE_BATCH ((size_t)4 << 20)

/* Part of the live bytes, 1/n, that mark stacks keep between marks. Memory against page faults.
 * These cost most where a hypervisor has taken the memory back.
 * Measured: a random graph of 1 GiB has 61 MB of mark stack. Its collection took 8 % longer where
 * all of it was given back. */
#define OAKI_TUNE_STACK_KEEP 16

/* ---- protected pages (protect.c) ---- */

/* Pages: two runs of scanned pages are treated as one across fewer. Calls of the system against
 * pages protected for nothing. */
#define OAKI_TUNE_GAP ((size_t)8)

/* Pages nearly full of marked objects in a row that stay protected within a sparse run. Calls of
 * the system against faults. */
#define OAKI_TUNE_ISLAND ((size_t)32)

/* Bytes of marked objects on a page that is nearly full: it is old, and stays protected. And bytes
 * of such pages in a row that are worth a call. Faults where new objects are allocated, against
 * pages rescanned in each minor cycle. */
#define OAKI_TUNE_DENSE (OAKI_PAGE / 8 * 7)
#define OAKI_TUNE_DENSE_LEAST (OAKI_PAGE * 4)

/* Bytes of the heap whose page table is examined at once: if all are scanned, one query has
 * them. */
#define OAKI_TUNE_BLOCK ((size_t)512 << 10)

/* ---- quanta (quantum.c, roots.c, begin.c, pauses.c, stages.c, refs/tables.c) ---- */

/* Words traced in a quantum, by worker 0 alone: about 0.1 ms. Pauses and forks wait for the end of
 * a quantum; each has a fixed cost. */
#define OAKI_TUNE_QUANTUM_WORDS ((size_t)8192)

/* ns of a quantum with helpers. To wake them costs time; a fork waits for the end.
 * Measured: a quantum bounded by worker 0's words lasted for the rest of the mark. Not measured:
 * the value. */
#define OAKI_TUNE_QUANTUM_SHARED_NS 500000u

/* ns between two tries of a thread that holds a table's lock again and again: a waiting thread has
 * its turn. The mark's progress against that thread's wait.
 * Measured: without it, oak_root_add waited 98 to 207 ms while a large range was read; 2.5 ms
 * with it. */
#define OAKI_TUNE_TURN_NS 50000u

/* ns that a driver waits for another's pause: system calls against time lost after the pause. */
#define OAKI_TUNE_DRIVER_WAIT_NS 50000u

/* Bytes of the range that a quantum protects or releases, and with a budget. Calls of the system
 * against the length of a quantum.
 * Measured: where first writes are dear, releasing 4 MiB takes 3 ms. With 512 KiB the longest step
 * of 1 ms takes 1.4 ms. */
#define OAKI_TUNE_PROTECT_STEP ((size_t)64 << 20)
#define OAKI_TUNE_PROTECT_BUDGET_STEP ((size_t)512 << 10)

/* Pages examined for pinned objects in a quantum, or objects queued. Not measured alone; with
 * pinned objects marked in quanta the longest pause of 4 million went from 31 to 4.8 ms. */
#define OAKI_TUNE_PINNED_PAGES ((size_t)16384)
#define OAKI_TUNE_PINNED_OBJECTS ((size_t)4096)

/* Records of a table in a quantum, whose lock a mutator may wait for. */
#define OAKI_TUNE_RECORDS ((size_t)512)

/* Bytes of a registered range in a quantum: oak_root_remove waits for it. */
#define OAKI_TUNE_ROOT_BYTES ((size_t)16 << 10)

/* Passes over ephemerons while mutators run; values of later keys are left to the final pause. */
#define OAKI_TUNE_EPHEMERON_PASSES 8

/* ---- preclean (preclean.c, roots.c, quantum.c) ---- */

/* Bytes of the range that a round asks the system about at a time. It starts with the least, twice
 * as many while few pages are dirty, half as many where more than ROUND_PAGES are. A call costs
 * time; a question that ends within a dirty huge page splits it. */
#define OAKI_TUNE_ROUND_LEAST_STEP ((size_t)2 << 20)
#define OAKI_TUNE_ROUND_MOST_STEP ((size_t)64 << 20)

/* Dirty pages that a quantum of a round is to rescan, and at most. */
#define OAKI_TUNE_ROUND_PAGES ((size_t)512)
#define OAKI_TUNE_ROUND_MOST_PAGES ((size_t)2048)

/* ns for the rescan of a page, as a driver with a budget counts it. Higher, and steps use less
 * than their budget.
 * Measured: 1.7 us a page, 3.6 us without the sieve (docs/measurements/concurrent.md). */
#define OAKI_TUNE_ROUND_PAGE_NS 2500u

/* Words to rescan that are left to the final pause. Rounds against the length of that pause. */
#define OAKI_TUNE_FEW_WORDS ((size_t)1 << 16)

/* Share of the last round's cost: a round that costs more has hardly shrunk, and rounds end. More
 * rounds against the final pause. */
#define OAKI_TUNE_SHRUNK(cost) ((cost) / 4 * 3)

/* Rounds of a kind in a row, and pauses for the roots alone, at most. */
#define OAKI_TUNE_ROUNDS 16
#define OAKI_TUNE_ROOT_PAUSES 3

/* ns: a mark that takes less does not ask for the roots again in a pause. */
#define OAKI_TUNE_BRIEF_MARK_NS 2000000u

/* ns: the length of a pause between the init pause and the final one. The longest pause against
 * the sum of pauses.
 * Measured: on a random graph of 256 MB the final pause is 0.6 to 0.8 ms for 18 without such
 * pauses; 1.5 to 3 ms for 120 at 1 GiB. */
#define OAKI_TUNE_SLICE_NS 700000u

/* Bytes that are asked about at a time in such a pause, and dirty pages that it rescans then.
 * Measured: bounded by bytes alone, a pause had up to nine times as many pages, and took 2 to
 * 3 ms. Not measured: the values. */
#define OAKI_TUNE_SLICE_STEP ((size_t)8 << 20)
#define OAKI_TUNE_SLICE_PAGES ((size_t)64)

/* ns: the least cost of a page of a large object in such a pause, whatever was measured last. */
#define OAKI_TUNE_SLICE_PAGE_LEAST_NS 100

/* Part of such a pause's length, 1/n, that mutators have before the next one: at first, and at
 * least. Mutators' progress against rounds that do not converge.
 * Measured: half of the time made the final pause no shorter than a quarter does. With a 16th as
 * the least, a graph of 4 GiB had a final pause of 107 ms on a busy machine. */
#define OAKI_TUNE_PART 4
#define OAKI_TUNE_PART_LEAST 64

/* ns that mutators have between two such pauses, at most and at least. */
#define OAKI_TUNE_BETWEEN_MOST_NS 2000000u
#define OAKI_TUNE_BETWEEN_LEAST_NS 40000u

/* Bytes that lose their protection at once where a mutator allocates. A fault a page against pages
 * that count as dirty. */
#define OAKI_TUNE_REGION ((size_t)256 << 10)

/* Processors up to which the collector's thread touches memory ahead itself, between two steps:
 * another thread would take the program's processor.
 * Measured: the worst operation of a graph of 256 MB was 3 to 13 ms, and is 1.0 to 2.5 ms. */
#define OAKI_TUNE_FEW_CPUS 4

/* ---- sticky mark bits (sticky.c, begin.c) ---- */

/* Full cycles before the first minor one is tried. */
#define OAKI_TUNE_STICKY_UNPROVEN 3

/* Bytes live, from which a cycle in one pause may be minor; fewer are marked in 2 ms. Faults
 * against the work of a full mark.
 * Measured: with 32 MiB of old nodes, bench-heap's trees have pauses of 0.8 ms for 8, and take 0.7
 * of the processor time. */
#define OAKI_TUNE_STICKY_FROM ((size_t)8 << 20)

/* Full cycles, at most, before a minor one is tried again after some that did not pay. */
#define OAKI_TUNE_STICKY_SKIP 64

/* Times as many full cycles before the next try, where a minor one did not pay. */
#define OAKI_TUNE_STICKY_SKIP_MORE 4

/* A minor cycle pays if each word that it traced freed so many times the bytes of a full cycle's:
 * MORE / LESS. The margin pays for dead old objects, which a minor cycle leaves. */
#define OAKI_TUNE_STICKY_PAYS_MORE 4
#define OAKI_TUNE_STICKY_PAYS_LESS 3

/* Part of the bytes allocated since the last cycle, 1/n: if a full one freed no more, the heap
 * grows, and a minor one would show nothing. */
#define OAKI_TUNE_STICKY_GROWS 2

/* Part of the bytes between the last full mark's live ones and the goal, 1/n: where less is left, a
 * full cycle comes next. Old garbage against the work of a full mark. */
#define OAKI_TUNE_STICKY_ROOM 2

/* Part of the live bytes, 1/n: while less than that was rescanned, pages that became old stay
 * unprotected. Calls of the system in the pause against pages rescanned again. */
#define OAKI_TUNE_STICKY_FEW 32

/* Minor cycles in a row before a full one. Floating garbage, and late finalizers, against work. */
#define OAKI_TUNE_STICKY_ROW 64

/* ---- object tables and walks (refs/, disclaim.c, walk.c) ---- */

/* Records whose memory is fetched ahead in a walk over a table. */
#define OAKI_TUNE_FETCHED 16

/* Part of a table's room, 1/n, that a collection forgets if it was not needed lately. Memory
 * against growing anew, as many tables are filled again and again. */
#define OAKI_TUNE_TABLE_FORGET 8

/* Records that are reclaimed while other threads wait for the table's lock. */
#define OAKI_TUNE_RECLAIMED 256

/* Part of the ephemerons left, 1/n: a pass that resolves fewer was poor, and the next one visits
 * them in another way. Not measured alone. */
#define OAKI_TUNE_POOR_PASS 32

/* Part of a table's links, 1/n: where more are dead, the others are moved and indexed anew. */
#define OAKI_TUNE_LINKS_DEAD 8

/* Objects whose words are queued before the marker drains. The worklist's memory against the cost
 * of a drain. */
#define OAKI_TUNE_DRAIN_EVERY 512

/* Slots and free pages that a step of a heap walk visits. The pause against their number. */
#define OAKI_TUNE_WALK_BATCH 4096

/* ---- finalizers and listeners (finalrun.c, finalall.c, zone.c, event.c) ---- */

/* ns that a thread without memory waits for ready finalizers, and between two checks. They may free
 * what it needs, or wait for what it holds. */
#define OAKI_TUNE_AWAIT_NS 100000000u
#define OAKI_TUNE_AWAIT_NAP_NS 100000u

/* ns that the coarse clock may be behind (runtime/os.h). Not measured: two of the kernel's ticks at
 * 250 a second. */
#define OAKI_TUNE_LATELY_NS 8000000u

/* Collections in a row that make no progress, after which oak_finalize_all and the destruction of a
 * zone give up. Objects that resurrect one another in turn against a loop without end. */
#define OAKI_TUNE_FINALIZE_ROUNDS 16

/* ns between two checks whether other threads' finalizers have returned, in the same calls; and
 * without any such return, until oak_finalize_all gives up. */
#define OAKI_TUNE_FINALIZE_POLL_NS 1000000u
#define OAKI_TUNE_FINALIZE_PATIENCE_NS 10000000000u

/* Such checks before a zone's destruction goes on without them. */
#define OAKI_TUNE_ZONE_POLLS 200

/* Bytes: one oak_external_add pays for no more. A thread's longest call against a heap that goes
 * past its goal. */
#define OAKI_TUNE_EXTERNAL_MOST ((size_t)1 << 30)

/* ns between two checks of a thread that waits until events are reported. */
#define OAKI_TUNE_EVENT_NAP_NS 50000u

/* ---- sweep (sweep.c) ---- */

/* Bytes in use, from which a background thread sweeps. In a smaller heap, mutators sweep it all
 * before that thread is awake, and a cycle may wait for it where it is descheduled.
 * Measured: churn of objects of 1 KiB beside other load took 1,258 ns an object with helpers in
 * small heaps, and 77 ns without. */
#define OAKI_TUNE_BACKGROUND_FROM ((size_t)32 << 20)

/* Spans that the background thread sweeps between two yields of its processor. */
#define OAKI_TUNE_SWEEP_BATCH 32

/* Times the bytes that must be swept for a byte allocated: the sweep ends before the next cycle.
 * Assists against a rest that the next cycle sweeps at once. */
#define OAKI_TUNE_SWEEP_AHEAD 1.1

#endif
