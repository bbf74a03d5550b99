/* concurrent.pml - a model of mostly-concurrent marking without a write barrier, for spin.
 *
 * A mutator moves references between a few objects and its registers while a collector marks. All
 * that the collector is told of writes is one bit for each page: protecting a page clears it, the
 * next store to the page sets it. The collector stops the mutator once, at the end of the mark.
 * With CYCLES=2 a minor cycle comes after the full one, with sticky mark bits: it keeps the marks.
 *
 * Property: nothing that the mutator can reach is freed. It is asserted at the end of the stop
 * (what is reachable is marked) and at each use of an object (it is allocated).
 *
 * What stands for what:
 * - An object is a number from 1 on, 0 is NULL; it lies on page (object - 1) / PER_PAGE. Sets of
 *   objects and of pages are bits of a byte.
 * - The registers are all roots: registers, stacks, and data that nobody watches. Several threads
 *   that pass references to each other are one mutator with the registers of all of them, as it
 *   uses these in any order.
 * - With BUFFER, a store is two steps. When it is issued the processor looks whether the page may
 *   be written, which is when the bit is set (by a fault, or by the kernel in the page table);
 *   later it reaches memory. In between the mutator goes on, and sees its own store. One store is
 *   under way at most.
 * - To protect a page is one step, with all that the kernel does until the call returns: other
 *   processors forget the page's old translation, and stores that they had begun by it reach
 *   memory. (A processor that is interrupted for that first finishes the stores it has begun.)
 *   PAGEMAP_SCAN with PM_SCAN_WP_MATCHING reads the bit and protects in that step too; so does a
 *   collector of mprotect faults that protects first and takes the page off its list afterwards.
 * - The collector reads memory a word at a time, and the mutator may come between any two words.
 *   Each atomic step of the collector makes one access to what the mutator changes.
 * - Before the cycle the mutator runs alone: so the cycle meets every heap that can be built.
 *
 * Each BREAK_* breaks one rule; `make check-model` shows that spin then finds an object that is
 * lost. Not modelled: finalizers and weak references (they are decided in the stop, which is one
 * step here), oak_free, a second marker, a heap that grows, the copies of M that a marker works on,
 * and the lock of a fault's handler. */

#ifndef OBJECTS
#define OBJECTS 3
#endif
#ifndef FIELDS
#define FIELDS 1 /* of an object: 1 or 2 */
#endif
#ifndef REGISTERS
#define REGISTERS 2
#endif
#ifndef PER_PAGE
#define PER_PAGE 1
#endif
#ifndef ROUNDS
#define ROUNDS 1 /* of pre-cleaning, at most */
#endif
#ifndef CYCLES
#define CYCLES 1 /* the first is full, those that follow are minor */
#endif

#define PAGES ((OBJECTS + PER_PAGE - 1) / PER_PAGE)
#define BIT(n) (1 << (n))
#define PAGE(o) (((o) - 1) / PER_PAGE)
#define HAS(set, o) (((set) & BIT(o)) != 0)
#define ADD(set, o) set = set | BIT(o)
#define REMOVE(set, o) set = set & ~BIT(o)
#define SLOT(o, f) (((o) - 1) * FIELDS + (f))

/* ---- memory ---- */

byte field[OBJECTS * FIELDS];
byte regs[REGISTERS];
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

bool sweeping;             /* what is allocated lies where a sweep is over, and stays */
bool over;                 /* the cycle */
byte mark, grey;           /* objects; grey: marked, and to be scanned */

inline shade(w)
{
    if
    :: w != 0 && HAS(allocated, w) && !HAS(mark, w) ->
        ADD(mark, w);
        ADD(grey, w)
    :: else
    fi
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

/* Memory for an object is zero beforehand: to make it is no store. */
inline make(o, r)
{
    ADD(allocated, o);
    if
    :: sweeping -> ADD(mark, o)
    :: else
    fi;
    regs[r] = o
}

active proctype mutator()
{
    byte r, s, f;

    do
    :: atomic {
        !over;
        select(r : 0 .. REGISTERS - 1);
        if
        :: regs[r] != 0 ->
            select(s : 0 .. REGISTERS - 1);
            select(f : 0 .. FIELDS - 1);
            load(regs[r], f, s)
        :: regs[r] != 0 && IDLE ->
            select(s : 0 .. REGISTERS);
            select(f : 0 .. FIELDS - 1);
            store(regs[r], f, (s == REGISTERS -> 0 : regs[s % REGISTERS]))
        :: regs[r] != 0 ->
            regs[r] = 0
        :: regs[r] == 0 ->
            select(s : 1 .. OBJECTS);
            if
            :: !HAS(allocated, s) -> make(s, r)
            :: else
            fi
        fi;
        r = 0; s = 0; f = 0
      }
#ifdef BUFFER
    :: atomic {
        pending != 0 ->
        field[pending - 1] = value;
        pending = 0;
        value = 0
      }
#endif
    :: over && IDLE -> break
    od
}

/* ---- the collector ---- */

/* Returns once no processor writes to the page by what it knew of it before. */
inline protect(p)
{
#ifndef BREAK_SHOOTDOWN
    !PENDING_ON(p);
#endif
    REMOVE(written, p)
}

inline protect_all()
{
    do
    :: atomic {
        p < PAGES ->
        protect(p);
        p++
      }
    :: atomic { p == PAGES -> p = 0; break }
    od
}

/* The next marked object of page p, or OBJECTS + 1. */
inline next_on(p)
{
    at++;
    do
    :: at > OBJECTS -> break
    :: at <= OBJECTS && PAGE(at) == p && HAS(mark, at) && HAS(allocated, at) -> break
    :: else -> at++
    od
}

/* Marked objects of a page are scanned again. */
inline rescan(p)
{
    atomic { at = 0; next_on(p) }
    do
    :: atomic {
        at <= OBJECTS ->
        shade(field[SLOT(at, f)]);
        f = (f + 1) % FIELDS;
        if
        :: f == 0 -> next_on(p)
        :: else
        fi
      }
    :: atomic { at > OBJECTS -> at = 0; break }
    od
}

/* A round of pre-cleaning takes the written pages, protects them again, and then scans. One in short
 * stops is one of these in which the mutator comes between some pages only. */
inline clean()
{
    do
    :: atomic { p < PAGES && !HAS(written, p) -> p++ }
#ifdef BREAK_CLEAN_FIRST
    :: p < PAGES && HAS(written, p) ->
        rescan(p);
        atomic { protect(p); p++ }
#else
    :: atomic { p < PAGES && HAS(written, p) -> protect(p) };
        rescan(p);
        p++
#endif
    :: atomic { p == PAGES -> p = 0; break }
    od
}

/* Some roots as they are now, for a start, and again between rounds: nothing relies on it. */
inline some_roots()
{
    atomic {
        do
        :: at < REGISTERS ->
            if
            :: shade(regs[at])
            :: true
            fi;
            at++
        :: else -> break
        od;
        at = 0
    }
}

inline drain()
{
    do
    :: atomic {
        at == 0 && grey != 0 ->
        select(at : 1 .. OBJECTS);
        if
        :: HAS(grey, at) ->
            REMOVE(grey, at);
            shade(field[SLOT(at, 0)]);
            at = (FIELDS == 1 -> 0 : at)
        :: else -> at = 0
        fi
      }
    :: atomic { at != 0 -> shade(field[SLOT(at, FIELDS - 1)]); at = 0 }
    :: at == 0 && grey == 0 -> break
    od
}

/* In the stop: the roots, what was written since it was protected, and what hangs on these. */
inline finish()
{
#ifndef BREAK_ROOTS
    at = 0;
    do
    :: at < REGISTERS ->
        shade(regs[at]);
        at++
    :: else -> break
    od;
#endif
#ifndef BREAK_LAST_PAGES
    at = 1;
    do
    :: at <= OBJECTS ->
        if
        :: HAS(written, PAGE(at)) && HAS(mark, at) && HAS(allocated, at) ->
            ADD(grey, at)
        :: else
        fi;
        at++
    :: else -> break
    od;
#endif
    do
    :: grey == 0 -> break
    :: else ->
        at = 1;
        do
        :: HAS(grey, at) -> break
        :: else -> at++
        od;
        REMOVE(grey, at);
        f = 0;
        do
        :: f < FIELDS ->
            shade(field[SLOT(at, f)]);
            f++
        :: else -> break
        od
    od
}

/* What the mutator can reach is marked. */
inline look()
{
    at = 0;
    do
    :: at < REGISTERS ->
        if
        :: regs[at] != 0 -> ADD(reached, regs[at])
        :: else
        fi;
        at++
    :: else -> break
    od;
    p = 0;
    do
    :: p < OBJECTS -> /* a path has at most so many steps */
        at = 0;
        do
        :: at < OBJECTS * FIELDS ->
            if
            :: HAS(reached, 1 + at / FIELDS) && field[at] != 0 -> ADD(reached, field[at])
            :: else
            fi;
            at++
        :: else -> break
        od;
        p++
    :: else -> break
    od;
    assert((reached & ~mark) == 0)
}

/* The mutator runs, and makes objects in what is swept. */
inline sweep()
{
    do
    :: atomic {
        at <= OBJECTS ->
        if
        :: HAS(allocated, at) && !HAS(mark, at) ->
            REMOVE(allocated, at);
            f = 0;
            do
            :: f < FIELDS ->
                field[SLOT(at, f)] = 0;
                f++
            :: else -> break
            od;
            f = 0
        :: else
        fi;
        at++
      }
    :: atomic { at > OBJECTS -> at = 0; break }
    od
}

/* Pages that were written before the cycle. A full cycle marks everything anew, so it only protects
 * them. A minor one keeps the marks of the one before, and scans again what has been written
 * since. */
inline begin()
{
    if
    :: cycle == 0 -> protect_all()
#ifdef BREAK_OLD
    :: cycle > 0 -> protect_all()
#else
    :: cycle > 0 -> clean()
#endif
    fi
}

active proctype collector()
{
    byte at, f, p, rounds, cycle, reached;

    do
    :: cycle < CYCLES ->
#ifndef BREAK_PROTECT_LATE
        begin();
#endif

        some_roots();
        drain();
#ifdef BREAK_PROTECT_LATE
        begin();
#endif
        do
        :: atomic { rounds < ROUNDS -> rounds++ };
            some_roots();
            clean();
            drain()
        :: atomic { true -> rounds = 0; break }
        od;

        /* The stop is one step. A thread stands between two instructions, and what it has stored
         * is in memory. What is written from here on, the next minor cycle has to scan. */
        atomic {
            IDLE;
            d_step {
                finish();
                look();
                reached = 0;
                p = 0;
                f = 0;
                at = 1;
#ifndef BREAK_BORN_SWEPT
                sweeping = true;
#endif
                written = (CYCLES > 1 -> 0 : written)
            }
        }
        sweep();
        sweeping = false;
        cycle++
    :: else -> break
    od;
    over = true
}
