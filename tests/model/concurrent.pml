/* concurrent.pml - a model of mostly-concurrent marking without a write barrier, for spin.
 *
 * A mutator moves references between a few objects and its registers while a collector marks. Dirty
 * tracking is one bit for each page: protecting a page clears it, the next store to the page sets
 * it. The collector pauses the mutator at both ends of a mark. Mark bits are sticky: the next cycle
 * may keep them, and is a minor one then (gc/concurrent/sticky.c). Other threads pause it too,
 * PAUSES times in all: to end the mark that is under way, to abort it, or for a stopped cycle, full
 * or minor (gc/pauses.c).
 *
 * The phases, and which may follow which, are those of gc/cycle.c; tests/model/check-phases
 * compares them. A step into a phase asserts the table.
 *
 * Whether mark bits are kept for the next cycle is left open wherever they may be kept. So minor
 * and full cycles, concurrent and stopped, follow each other in each order.
 *
 * Property: nothing that the mutator can reach is freed. It is asserted at the end of each mark
 * (what is reachable is marked) and at each use of an object (it is allocated).
 *
 * What stands for what:
 * - An object is a number from 1 on, 0 is NULL; it lies on page (object - 1) / PER_PAGE, which is a
 *   span, too. Sets of objects and of pages are bits of a byte.
 * - The registers are all roots: registers, stacks, and data without dirty tracking. Several
 *   threads that pass references to each other are one mutator with the registers of all of them,
 *   as it uses these in any order. So the order has no meaning, and they are kept sorted.
 * - A pause is one step for the mutator, with all phases that it goes through.
 * - PREPARE is one step, as nothing reads M before MARK. RECLAIM has no work here: there are no
 *   records.
 * - With BUFFER, a store is two steps. When it is issued the processor checks whether the page may
 *   be written, which is when the bit is set (by a fault, or by the kernel in the page table);
 *   later it reaches memory. In between the mutator goes on, and sees its own store. One store is
 *   pending at most.
 * - To protect a page is one step, with all that the kernel does until the call returns: other
 *   processors forget the page's old translation, and stores that they had begun by it reach
 *   memory. (A processor that is interrupted for that first finishes the stores it has begun.)
 *   PAGEMAP_SCAN with PM_SCAN_WP_MATCHING reads the bit and protects in that step too; so does
 *   tracking by mprotect, which protects first and takes the page off its list afterwards.
 * - A stopped cycle protects all pages or none, and no page is released: a page without protection
 *   counts as dirty, and is rescanned all the more.
 * - The collector reads memory a word at a time, and the mutator may come between any two words.
 *   Each step of the collector makes one access to what the mutator changes.
 * - M is clear for what isn't allocated, where the code has it set during a mark and clears it as
 *   the slot is handed out.
 * - The mutator sweeps a page whole, before anything is allocated on it, which stays young.
 * - Before the first cycle the mutator runs alone: so it meets every heap that can be built.
 *
 * Each BREAK_* breaks one rule; `make check-model` shows that spin then finds an object that is
 * lost:
 * - PROTECT_LATE: pages are protected before anything is marked;
 * - SHOOTDOWN: once a page is protected, no processor writes to it by an older translation;
 * - RESCAN_FIRST: a round protects a page before it rescans it;
 * - QUANTUM: no pause comes between these two;
 * - ROOTS, FINAL_RESCAN: FINAL_PAUSE marks from the roots, and rescans dirty pages;
 * - UNSWEPT: nothing is allocated on a page that is unswept;
 * - MINOR_PROTECT: a minor cycle protects no page before its mark;
 * - PROTECT_ON: a stopped cycle ends PROTECT: if it keeps mark bits, no later write is forgotten
 *   (the code keeps none until protection is released);
 * - ABORT: an aborted mark keeps no mark bits.
 * Not modelled: finalizers, weak references and ephemerons (records that a concurrent mark
 * finds certain, and those that the final pause decides), oak_free, a second marker, a second
 * driver, a heap that grows, the copies of M that a marker works on, and the lock of a fault's
 * handler. */

#ifndef OBJECTS
#define OBJECTS 3 /* 2 or 3 */
#endif
#ifndef FIELDS
#define FIELDS 1 /* of an object: 1 or 2 */
#endif
#ifndef PER_PAGE
#define PER_PAGE 1
#endif
#ifndef ROUNDS
#define ROUNDS 1 /* of PRECLEAN, at most */
#endif
#ifndef CYCLES
#define CYCLES 1 /* of the collector's thread */
#endif
#ifndef PAUSES
#define PAUSES 0 /* of other threads */
#endif

#define PAGES ((OBJECTS + PER_PAGE - 1) / PER_PAGE)
#define BIT(n) (1 << (n))
#define PAGE(o) (((o) - 1) / PER_PAGE)
#define HAS(set, o) (((set) & BIT(o)) != 0)
#define ADD(set, o) set = set | BIT(o)
#define REMOVE(set, o) set = set & ~BIT(o)
#define SLOT(o, f) (((o) - 1) * FIELDS + (f))
#define ALL_PAGES (BIT(PAGES) - 1)

/* An option of a `do` for each field, page or object. */
#if FIELDS > 1
#define EACH_FIELD(option, r, s) option(r, s, 0) option(r, s, 1)
#else
#define EACH_FIELD(option, r, s) option(r, s, 0)
#endif
#if PAGES > 2
#define EACH_PAGE(option) option(0) option(1) option(2)
#elif PAGES > 1
#define EACH_PAGE(option) option(0) option(1)
#else
#define EACH_PAGE(option) option(0)
#endif
#if OBJECTS > 2
#define EACH_OBJECT(option) option(1) option(2) option(3)
#else
#define EACH_OBJECT(option) option(1) option(2)
#endif

/* ---- memory ---- */

byte field[OBJECTS * FIELDS];
byte regs[2];
byte allocated;            /* objects */
byte dirty;                /* pages: written since they were protected */
#ifdef BUFFER
byte pending, value;       /* 1 + the slot that a store goes to, and what it stores; 0: none */
#define READ(slot) (pending == 1 + (slot) -> value : field[slot])
#define DRAINED (pending == 0)
#define PENDING_ON(p) (pending != 0 && (pending - 1) / FIELDS / PER_PAGE == (p))
#else
#define READ(slot) field[slot]
#define DRAINED true
#define PENDING_ON(p) false
#endif

/* ---- the collector's state ---- */

mtype = { IDLE, PROTECT, INIT_PAUSE, PREPARE, MARK, PRECLEAN, FINAL_PAUSE, RECLAIM, SWEEP };
mtype phase = IDLE;
byte mark, grey;           /* objects; grey: queued, or marked and to be scanned */
byte unswept;              /* pages */
bool sticky;               /* mark bits are kept: the next cycle may be a minor one */
bool inside;               /* the collector is in mid quantum: no pause comes */
bool over;                 /* the last cycle */
#if PAUSES > 0
byte pauses;
#endif

hidden byte obj, fld, steps, live; /* inside of one step */

/* May follow phase `now`: may_follow of gc/cycle.c, line by line. */
#define MAY_FOLLOW(now) \
    (now == IDLE -> BIT(PROTECT) | BIT(INIT_PAUSE) : \
    (now == PROTECT -> BIT(INIT_PAUSE) | BIT(SWEEP) | BIT(IDLE) : \
    (now == INIT_PAUSE -> BIT(PREPARE) : \
    (now == PREPARE -> BIT(MARK) | BIT(IDLE) : \
    (now == MARK -> BIT(PRECLEAN) | BIT(FINAL_PAUSE) | BIT(IDLE) : \
    (now == PRECLEAN -> BIT(FINAL_PAUSE) | BIT(IDLE) : \
    (now == FINAL_PAUSE -> BIT(RECLAIM) : \
    (now == RECLAIM -> BIT(SWEEP) : \
    (now == SWEEP -> BIT(IDLE) | BIT(PROTECT) | BIT(INIT_PAUSE) : 0)))))))))

#define AT_REST (phase == IDLE || phase == SWEEP)
#define MARKING (phase == MARK || phase == PRECLEAN) /* concurrently */

/* As oaki_cycle_enter; and nothing waits to be swept when a cycle begins. */
inline enter(next)
{
    assert(MAY_FOLLOW(phase) & BIT(next));
    assert(next != INIT_PAUSE || unswept == 0);
    phase = next
}

inline shade(w)
{
    if
    :: w != 0 && HAS(allocated, w) && !HAS(mark, w) ->
        ADD(mark, w);
        ADD(grey, w)
    :: else
    fi
}

/* ---- a pause, in one step: a thread is stopped between two instructions, and what it has stored
 *      is in memory ---- */

/* What the final pause marks: the roots, what dirty pages hold, and what these lead to. */
inline finish()
{
#ifndef BREAK_ROOTS
    shade(regs[0]);
    shade(regs[1]);
#endif
#ifndef BREAK_FINAL_RESCAN
    obj = 1;
    do
    :: obj <= OBJECTS ->
        if
        :: HAS(dirty, PAGE(obj)) && HAS(mark, obj) -> ADD(grey, obj)
        :: else
        fi;
        obj++
    :: else -> break
    od;
#endif
    do
    :: grey == 0 -> break
    :: else ->
        obj = 1;
        do
        :: HAS(grey, obj) -> break
        :: else -> obj++
        od;
        REMOVE(grey, obj);
        fld = 0;
        do
        :: fld < FIELDS ->
            shade(field[SLOT(obj, fld)]);
            fld++
        :: else -> break
        od
    od
}

/* What the mutator can reach is marked. */
inline check_live()
{
    live = (regs[0] != 0 -> BIT(regs[0]) : 0) | (regs[1] != 0 -> BIT(regs[1]) : 0);
    steps = 0;
    do
    :: steps < OBJECTS -> /* a path has at most so many steps */
        obj = 0;
        do
        :: obj < OBJECTS * FIELDS ->
            if
            :: HAS(live, 1 + obj / FIELDS) && field[obj] != 0 -> ADD(live, field[obj])
            :: else
            fi;
            obj++
        :: else -> break
        od;
        steps++
    :: else -> break
    od;
    assert((live & ~mark) == 0)
}

inline final_pause(keep)
{
    enter(FINAL_PAUSE);
    finish();
    check_live();
    enter(RECLAIM);
    sticky = keep;
    unswept = ALL_PAGES;
    enter(SWEEP)
}

/* Of an aborted mark nothing is kept; a mark that has begun has taken what was kept before it. */
#ifdef BREAK_ABORT
#define STICKY_BEGUN sticky
#else
#define STICKY_BEGUN false
#endif

inline abort()
{
    grey = 0;
    sticky = STICKY_BEGUN;
    if
    :: unswept != 0 -> enter(SWEEP) /* which reads M */
    :: else ->
        mark = (sticky -> mark : 0);
        if
        :: phase == IDLE
        :: else -> enter(IDLE)
        fi
    fi
}

/* ---- another thread pauses the world ---- */

/* A thread in mid quantum is waited for. */
#ifdef BREAK_QUANTUM
#define CAN_PAUSE (unswept == 0 && DRAINED)
#else
#define CAN_PAUSE (unswept == 0 && DRAINED && !inside)
#endif

/* A concurrent mark ends. */
#define END(keep) \
    :: d_step { \
        pauses < PAUSES && !over && CAN_PAUSE && MARKING -> \
        pauses++; \
        final_pause(keep) \
    }

/* A stopped cycle. A concurrent one that is in PREPARE is given up; PROTECT ends with it. It
 * may protect pages if it keeps mark bits. */
#define COLLECT(full, keep, protects) \
    :: d_step { \
        pauses < PAUSES && !over && CAN_PAUSE && !MARKING && (full || sticky) -> \
        pauses++; \
        if :: phase == PREPARE -> abort() :: else fi; \
        enter(INIT_PAUSE); \
        grey = 0; \
        enter(PREPARE); \
        mark = (full -> 0 : mark); \
        enter(MARK); \
        final_pause(keep); \
        dirty = (protects -> 0 : dirty) \
    }

/* It uses M for something else. */
#define ABORT \
    :: d_step { \
        pauses < PAUSES && !over && CAN_PAUSE && (phase != IDLE || sticky) -> \
        pauses++; \
        abort() \
    }

/* ---- the mutator ---- */

inline store(o, f, w)
{
    assert(HAS(allocated, o));
    ADD(dirty, PAGE(o));
#ifdef BUFFER
    pending = 1 + SLOT(o, f);
    value = w
#else
    field[SLOT(o, f)] = w
#endif
}

inline load(o, f, r)
{
    assert(HAS(allocated, o));
    regs[r] = READ(SLOT(o, f));
    assert(regs[r] == 0 || HAS(allocated, regs[r]))
}

inline sort()
{
    if
    :: regs[0] < regs[1] ->
        obj = regs[0];
        regs[0] = regs[1];
        regs[1] = obj
    :: else
    fi
}

/* Between two marks M has a bit for each old object; where mark bits aren't kept, M isn't read. */
inline sweep(p)
{
    REMOVE(unswept, p);
    obj = 1;
    do
    :: obj <= OBJECTS ->
        if
        :: PAGE(obj) == p && HAS(allocated, obj) && !HAS(mark, obj) ->
            REMOVE(allocated, obj);
            fld = 0;
            do
            :: fld < FIELDS ->
                field[SLOT(obj, fld)] = 0;
                fld++
            :: else -> break
            od
        :: PAGE(obj) == p && !sticky -> REMOVE(mark, obj)
        :: else
        fi;
        obj++
    :: else -> break
    od;
    if
    :: unswept == 0 && phase == SWEEP -> enter(IDLE)
    :: else
    fi
}

#ifdef BREAK_UNSWEPT
#define IS_SWEPT(p) true
#else
#define IS_SWEPT(p) !HAS(unswept, p)
#endif

#define LOAD(r, s, f) :: d_step { !over && regs[r] != 0 -> load(regs[r], f, s); sort() }
#define STORE(r, s, f) :: d_step { !over && regs[r] != 0 && DRAINED -> store(regs[r], f, regs[s]) }
#define CLEAR(r, s, f) :: d_step { !over && regs[r] != 0 && DRAINED -> store(regs[r], f, 0) }
#define DROP(r) :: d_step { !over && regs[r] != 0 -> regs[r] = 0; sort() }
/* Memory for an object is zero beforehand: to allocate it is no store. */
#define ALLOCATE(o) \
    :: d_step { \
        !over && regs[1] == 0 && !HAS(allocated, o) && IS_SWEPT(PAGE(o)) -> \
        ADD(allocated, o); \
        regs[1] = o; \
        sort() \
    }
#define SWEEP_PAGE(p) :: d_step { HAS(unswept, p) -> sweep(p) }

active proctype mutator()
{
    do
    EACH_FIELD(LOAD, 0, 0)
    EACH_FIELD(LOAD, 0, 1)
    EACH_FIELD(LOAD, 1, 0)
    EACH_FIELD(LOAD, 1, 1)
    EACH_FIELD(STORE, 0, 0)
    EACH_FIELD(STORE, 0, 1)
    EACH_FIELD(STORE, 1, 0)
    EACH_FIELD(STORE, 1, 1)
    EACH_FIELD(CLEAR, 0, 0)
    EACH_FIELD(CLEAR, 1, 0)
    DROP(0)
    DROP(1)
    EACH_OBJECT(ALLOCATE)
    EACH_PAGE(SWEEP_PAGE)
#if PAUSES > 0
    ABORT
    END(false)
    END(true)
    COLLECT(true, false, false)
    COLLECT(true, true, false)
    COLLECT(true, true, true)
    COLLECT(false, false, false)
    COLLECT(false, true, false)
    COLLECT(false, true, true)
#endif
#ifdef BUFFER
    :: d_step {
        pending != 0 ->
        field[pending - 1] = value;
        pending = 0;
        value = 0
      }
#endif
    :: over && DRAINED -> break
    od
}

/* ---- the collector's driver ---- */

/* Returns once no processor writes to the page by what it knew of it before. */
#ifdef BREAK_SHOOTDOWN
#define CAN_PROTECT(p) true
#else
#define CAN_PROTECT(p) !PENDING_ON(p)
#endif

/* Each quantum sees whether PROTECT is over: another thread may have kept mark bits since, and what
 * was written after that must not be forgotten. */
#ifdef BREAK_PROTECT_ON
#define PROTECT_IS_OVER false
#else
#define PROTECT_IS_OVER (phase != PROTECT)
#endif

inline protect_all(is_over)
{
    do
    :: d_step { !is_over && p < PAGES && CAN_PROTECT(p) -> REMOVE(dirty, p); p++ }
    :: d_step { is_over || p == PAGES -> p = 0 } -> break
    od
}

/* The next marked object of page p, or OBJECTS + 1. */
inline next_on(p)
{
    at++;
    do
    :: at <= OBJECTS && !(PAGE(at) == p && HAS(mark, at)) -> at++
    :: else -> break
    od;
    skip
}

/* Marked objects of a page are scanned once more. */
inline rescan(p)
{
    d_step { next_on(p) };
    do
    :: d_step {
        at <= OBJECTS ->
        shade(field[SLOT(at, f)]);
        f = (f + 1) % FIELDS;
        if
        :: f == 0 -> next_on(p)
        :: else
        fi;
        skip
      }
    :: d_step { at > OBJECTS -> at = 0 } -> break
    od
}

/* A round protects the dirty pages again, and then rescans them. A paused round is one of these in
 * which the mutator comes between some pages only. No pause comes between the two; once another
 * thread has ended the mark, nothing is protected any more. */
inline round()
{
    do
    :: d_step { MARKING && p < PAGES && !HAS(dirty, p) -> p++ }
#ifdef BREAK_RESCAN_FIRST
    :: d_step { MARKING && p < PAGES && HAS(dirty, p) -> inside = true };
        rescan(p);
        atomic { CAN_PROTECT(p) -> REMOVE(dirty, p); inside = false; p++ }
#else
    :: d_step {
        MARKING && p < PAGES && HAS(dirty, p) && CAN_PROTECT(p) ->
        REMOVE(dirty, p);
        inside = true
      };
        rescan(p);
        atomic { inside = false; p++ }
#endif
    :: d_step { !MARKING || p == PAGES -> p = 0 } -> break
    od
}

/* Some roots as they are now, for a start, and again between rounds: no rule needs it. */
#define SOME_ROOTS(some) \
    :: d_step { \
        MARKING -> \
        if :: (some) & 1 -> shade(regs[0]) :: else fi; \
        if :: (some) & 2 -> shade(regs[1]) :: else fi \
    }

#define SCAN(o) \
    :: d_step { \
        at == 0 && HAS(grey, o) -> \
        REMOVE(grey, o); \
        shade(field[SLOT(o, 0)]); \
        at = (FIELDS == 1 -> 0 : o); \
        inside = FIELDS > 1 \
    }

inline drain()
{
    do
    EACH_OBJECT(SCAN)
    :: d_step { at != 0 -> shade(field[SLOT(at, FIELDS - 1)]); at = 0; inside = false }
    :: at == 0 && grey == 0 -> break
    od
}

/* Some roots are queued. The cycle is minor if mark bits are kept and no page was protected. */
#ifdef BREAK_MINOR_PROTECT
#define FULL false
#else
#define FULL (phase == PROTECT)
#endif
#define CONCURRENT(some) \
    :: d_step { \
        unswept == 0 && DRAINED && (AT_REST || phase == PROTECT) -> \
        minor = sticky && !FULL; \
        enter(INIT_PAUSE); \
        sticky = STICKY_BEGUN; \
        if :: ((some) & 1) && regs[0] != 0 -> ADD(grey, regs[0]) :: else fi; \
        if :: ((some) & 2) && regs[1] != 0 -> ADD(grey, regs[1]) :: else fi; \
        enter(PREPARE) \
    }

#define FINISH(keep) :: d_step { MARKING && DRAINED -> final_pause(keep) }

#ifdef BREAK_MINOR_PROTECT
#define PROTECTS true
#else
#define PROTECTS !sticky
#endif

active proctype collector()
{
    byte at, f, p, rounds, cycle;
    bool minor;

    do
    :: d_step {
        cycle < CYCLES ->
        cycle++;
        if
        :: PROTECTS -> enter(PROTECT)
        :: else
        fi
      };
#ifndef BREAK_PROTECT_LATE
        if
        :: phase == PROTECT -> protect_all(PROTECT_IS_OVER)
        :: else
        fi;
#endif
        if
        CONCURRENT(0)
        CONCURRENT(1)
        CONCURRENT(2)
        CONCURRENT(3)
        :: d_step { phase == PROTECT -> abort() } /* it is not needed any more */
        :: AT_REST
        fi;
        if
        :: d_step {
            phase == PREPARE ->
            mark = (minor -> mark : 0);
            grey = grey & allocated & ~mark;
            mark = mark | grey;
            minor = false;
            enter(MARK)
          }
        :: d_step { AT_REST -> minor = false }
        fi;
        drain();
#ifdef BREAK_PROTECT_LATE
        protect_all(false);
#endif
        do
        :: d_step {
            MARKING && rounds < ROUNDS ->
            rounds++;
            if
            :: phase == MARK -> enter(PRECLEAN)
            :: else
            fi
          };
            if
            SOME_ROOTS(0)
            SOME_ROOTS(1)
            SOME_ROOTS(2)
            SOME_ROOTS(3)
            :: !MARKING
            fi;
            round();
            drain()
        :: d_step { true -> rounds = 0 } -> break
        od;

        if
        FINISH(false)
        FINISH(true)
        :: d_step { MARKING -> abort() } /* the program allows no pause now */
        :: AT_REST
        fi
    :: cycle == CYCLES && unswept == 0 -> break
    od;
    over = true
}
