/* concurrent.pml - a model of mostly-concurrent marking without a write barrier, for spin.
 *
 * A mutator moves references between a few objects and its registers while a collector marks. All
 * that the collector is told of writes is one bit for each page: protecting a page clears it, the
 * next store to the page sets it. It stops the mutator at the beginning of a cycle, and at the end
 * of the mark. Marks are sticky: what a cycle has marked, the next one may keep, and is a minor one
 * then (gc/concurrent/sticky.c). Other threads may stop the world, too, STOPS times in all: to end the mark
 * that is under way, to give it up, or to collect themselves, full or minor (gc/cycle.c).
 *
 * Whether marks are kept for the next cycle is left open wherever they may be kept, so that minor
 * and full ones, beside the program and in a stop, follow each other in each order.
 *
 * Property: nothing that the mutator can reach is freed. It is asserted at the end of each mark
 * (what is reachable is marked) and at each use of an object (it is allocated).
 *
 * What stands for what:
 * - An object is a number from 1 on, 0 is NULL; it lies on page (object - 1) / PER_PAGE, which is a
 *   span, too. Sets of objects and of pages are bits of a byte.
 * - The registers are all roots: registers, stacks, and data that nobody watches. Several threads
 *   that pass references to each other are one mutator with the registers of all of them, as it
 *   uses these in any order. So the order has no meaning, and they are kept sorted.
 * - With BUFFER, a store is two steps. When it is issued the processor looks whether the page may
 *   be written, which is when the bit is set (by a fault, or by the kernel in the page table);
 *   later it reaches memory. In between the mutator goes on, and sees its own store. One store is
 *   under way at most.
 * - To protect a page is one step, with all that the kernel does until the call returns: other
 *   processors forget the page's old translation, and stores that they had begun by it reach
 *   memory. (A processor that is interrupted for that first finishes the stores it has begun.)
 *   PAGEMAP_SCAN with PM_SCAN_WP_MATCHING reads the bit and protects in that step too; so does a
 *   collector of mprotect faults that protects first and takes the page off its list afterwards.
 * - What a collection in a stop protects are all pages or none, and no page is released: what isn't
 *   protected counts as written, and is looked at all the more.
 * - The collector reads memory a word at a time, and the mutator may come between any two words.
 *   Each step of the collector makes one access to what the mutator changes.
 * - M is clear for what isn't allocated, where the code has it set during a mark and clears it as
 *   the slot is handed out.
 * - The mutator sweeps a page whole, before anything is made on it; what is made stays young.
 * - Before the first cycle the mutator runs alone: so it meets every heap that can be built.
 *
 * Each BREAK_* breaks one rule; `make check-model` shows that spin then finds an object that is
 * lost. Not modelled: finalizers, weak references and ephemerons (of some the marker notes that
 * they are sure; the others are decided in the stop, which is one step here), oak_free, a second
 * marker, a heap that grows, M while it is prepared (nobody reads it then), the copies of M that a
 * marker works on, and the lock of a fault's handler. */

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
#define ROUNDS 1 /* of pre-cleaning, at most */
#endif
#ifndef CYCLES
#define CYCLES 1 /* of the collector's thread */
#endif
#ifndef STOPS
#define STOPS 0 /* of other threads */
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
byte written;              /* pages: since they were protected */
#ifdef BUFFER
byte pending, value;       /* 1 + the slot that a store goes to, and what it stores; 0: none */
#define READ(slot) (pending == 1 + (slot) -> value : field[slot])
#define IDLE (pending == 0)
#define PENDING_ON(p) (pending != 0 && (pending - 1) / FIELDS / PER_PAGE == (p))
#else
#define READ(slot) field[slot]
#define IDLE true
#define PENDING_ON(p) false
#endif

/* ---- what collector and mutator tell each other ---- */

mtype = { NONE, BEGUN, MARKING };
mtype state = NONE;        /* of the mark beside the program: OAKI_BESIDE_* */
byte mark, grey;           /* objects; grey: queued, or marked and to be scanned */
byte waiting;              /* pages that are to be swept */
bool keeps;                /* the next cycle may be a minor one */
bool forgets;              /* pages are being protected for a full one */
bool inside;               /* the collector is in mid piece: no stop comes */
bool over;                 /* the last cycle */
#if STOPS > 0
byte stops;
#endif

hidden byte obj, fld, steps, live; /* inside of one step */

inline shade(w)
{
    if
    :: w != 0 && HAS(allocated, w) && !HAS(mark, w) ->
        ADD(mark, w);
        ADD(grey, w)
    :: else
    fi
}

/* ---- a stop, in one step: a thread stands between two instructions, and what it has stored is in
 *      memory ---- */

/* The roots, what was written since it was protected, and what hangs on these. */
inline finish()
{
#ifndef BREAK_ROOTS
    shade(regs[0]);
    shade(regs[1]);
#endif
#ifndef BREAK_LAST_PAGES
    obj = 1;
    do
    :: obj <= OBJECTS ->
        if
        :: HAS(written, PAGE(obj)) && HAS(mark, obj) -> ADD(grey, obj)
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
inline look()
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

inline end_mark(keep)
{
    finish();
    look();
    state = NONE;
    waiting = ALL_PAGES;
    keeps = keep
}

/* The marks that were kept are those of the cycle that has begun, or nobody's. */
#ifdef BREAK_GIVEN_UP
#define KEEPS_BEGUN keeps
#else
#define KEEPS_BEGUN false
#endif

inline give_up()
{
    state = NONE;
    grey = 0;
    mark = (keeps -> mark : 0)
}

/* ---- another thread stops the world ---- */

/* A full cycle that protects pages forgets what was written: nobody keeps marks meanwhile. */
#ifdef BREAK_FORGETS
#define MAY_KEEP true
#else
#define MAY_KEEP !forgets
#endif
/* A thread in mid piece is waited for. */
#ifdef BREAK_PIECE
#define CAN_STOP (waiting == 0 && IDLE)
#else
#define CAN_STOP (waiting == 0 && IDLE && !inside)
#endif

/* A mark that is under way ends. */
#define END(keep) \
    :: d_step { \
        stops < STOPS && !over && CAN_STOP && state == MARKING -> \
        stops++; \
        end_mark(keep) \
    }

/* Else it collects; a mark that has only begun is begun anew. It may protect pages if it keeps
 * marks. */
#define COLLECT(full, keep, protects) \
    :: d_step { \
        stops < STOPS && !over && CAN_STOP && state != MARKING && (full || keeps) && \
        (!keep || MAY_KEEP) -> \
        stops++; \
        mark = (full -> 0 : mark); \
        grey = 0; \
        end_mark(keep); \
        written = (protects -> 0 : written) \
    }

/* It uses M for something else: what is queued is forgotten, too. */
#define GIVE_UP \
    :: d_step { \
        stops < STOPS && !over && CAN_STOP && state != NONE -> \
        stops++; \
        give_up() \
    }

/* ---- the mutator ---- */

inline store(o, f, w)
{
    assert(HAS(allocated, o));
    ADD(written, PAGE(o));
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

/* Between two marks M has a bit for what is old; where nothing is, none is looked at. */
inline sweep(p)
{
    REMOVE(waiting, p);
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
        :: PAGE(obj) == p && !keeps -> REMOVE(mark, obj)
        :: else
        fi;
        obj++
    :: else -> break
    od;
    skip
}

#ifdef BREAK_BORN_SWEPT
#define IS_SWEPT(p) true
#else
#define IS_SWEPT(p) !HAS(waiting, p)
#endif

#define LOAD(r, s, f) :: d_step { !over && regs[r] != 0 -> load(regs[r], f, s); sort() }
#define STORE(r, s, f) :: d_step { !over && regs[r] != 0 && IDLE -> store(regs[r], f, regs[s]) }
#define CLEAR(r, s, f) :: d_step { !over && regs[r] != 0 && IDLE -> store(regs[r], f, 0) }
#define DROP(r) :: d_step { !over && regs[r] != 0 -> regs[r] = 0; sort() }
/* Memory for an object is zero beforehand: to make it is no store. */
#define MAKE(o) \
    :: d_step { \
        !over && regs[1] == 0 && !HAS(allocated, o) && IS_SWEPT(PAGE(o)) -> \
        ADD(allocated, o); \
        regs[1] = o; \
        sort() \
    }
#define SWEEP(p) :: d_step { HAS(waiting, p) -> sweep(p) }

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
    EACH_OBJECT(MAKE)
    EACH_PAGE(SWEEP)
#if STOPS > 0
    GIVE_UP
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
    :: over && IDLE -> break
    od
}

/* ---- the collector's thread ---- */

/* Returns once no processor writes to the page by what it knew of it before. */
#ifdef BREAK_SHOOTDOWN
#define CAN_PROTECT(p) true
#else
#define CAN_PROTECT(p) !PENDING_ON(p)
#endif

inline protect_all()
{
    do
    :: d_step { p < PAGES && CAN_PROTECT(p) -> REMOVE(written, p); p++ }
    :: d_step { p == PAGES -> p = 0 } -> break
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

/* Marked objects of a page are scanned again. */
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

/* A round of pre-cleaning takes the written pages, protects them again, and then scans. One in
 * short stops is one of these in which the mutator comes between some pages only. No stop comes
 * between the two; once somebody else has ended the mark, nothing is protected any more. */
inline clean()
{
    do
    :: d_step { state == MARKING && p < PAGES && !HAS(written, p) -> p++ }
#ifdef BREAK_CLEAN_FIRST
    :: d_step { state == MARKING && p < PAGES && HAS(written, p) -> inside = true };
        rescan(p);
        atomic { CAN_PROTECT(p) -> REMOVE(written, p); inside = false; p++ }
#else
    :: d_step {
        state == MARKING && p < PAGES && HAS(written, p) && CAN_PROTECT(p) ->
        REMOVE(written, p);
        inside = true
      };
        rescan(p);
        atomic { inside = false; p++ }
#endif
    :: d_step { state != MARKING || p == PAGES -> p = 0 } -> break
    od
}

/* Some roots as they are now, for a start, and again between rounds: nothing relies on it. */
#define SOME_ROOTS(some) \
    :: d_step { \
        state == MARKING -> \
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

/* Some roots are queued. */
#define FIRST_STOP(some) \
    :: d_step { \
        waiting == 0 && IDLE -> \
        minor = minor && keeps; \
        keeps = KEEPS_BEGUN; \
        forgets = false; \
        state = BEGUN; \
        if :: ((some) & 1) && regs[0] != 0 -> ADD(grey, regs[0]) :: else fi; \
        if :: ((some) & 2) && regs[1] != 0 -> ADD(grey, regs[1]) :: else fi \
    }

#define LAST_STOP(keep) :: d_step { state == MARKING && IDLE -> end_mark(keep) }

#ifdef BREAK_OLD
#define PROTECTS true
#else
#define PROTECTS forgets
#endif

active proctype collector()
{
    byte at, f, p, rounds, cycle;
    bool minor;

    do
    :: d_step { cycle < CYCLES -> cycle++; minor = keeps; forgets = !minor };
#ifndef BREAK_PROTECT_LATE
        if
        :: PROTECTS -> protect_all()
        :: else
        fi;
#endif
        if
        FIRST_STOP(0)
        FIRST_STOP(1)
        FIRST_STOP(2)
        FIRST_STOP(3)
        :: d_step { true -> minor = false; forgets = false } /* it is not needed any more */
        fi;
        if
        :: d_step {
            state == BEGUN ->
            mark = (minor -> mark : 0);
            grey = grey & allocated & ~mark;
            mark = mark | grey;
            minor = false;
            state = MARKING
          }
        :: d_step { state == NONE -> minor = false }
        fi;
        drain();
#ifdef BREAK_PROTECT_LATE
        protect_all();
#endif
        do
        :: d_step { state == MARKING && rounds < ROUNDS -> rounds++ };
            if
            SOME_ROOTS(0)
            SOME_ROOTS(1)
            SOME_ROOTS(2)
            SOME_ROOTS(3)
            :: state != MARKING
            fi;
            clean();
            drain()
        :: d_step { true -> rounds = 0 } -> break
        od;

        if
        LAST_STOP(false)
        LAST_STOP(true)
        :: d_step { state == MARKING -> give_up() } /* the program wants no collection now */
        :: state == NONE
        fi
    :: cycle == CYCLES && waiting == 0 -> break
    od;
    over = true
}
