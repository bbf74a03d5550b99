/* tinyscheme.c - TinyScheme on a collected heap: each cell is an object of the heap's.
 *
 * TinyScheme takes cells from segments of its own, which a mark-sweep collector fills again.
 * tinyscheme.sh renames the functions below in a copy of scheme.c; here are others in their place.
 * The list of recent cells goes too: the C stack is scanned. */
#include "heap.h"

#include <ctype.h>
#include <float.h>
#include <limits.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <unistd.h>

static void *cell_heap_alloc(size_t n)
{
    return heap_alloc(n);
}
static void cell_heap_free(void *p)
{
    heap_free(p);
}

/* Fields of TinyScheme's have these names as well. */
#define malloc cell_heap_alloc
#define free cell_heap_free

#include "scheme-private.h"

static pointer get_cell_x(scheme *sc, pointer a, pointer b);
static pointer get_consecutive_cells(scheme *sc, int n);
static void push_recent_alloc(scheme *sc, pointer recent, pointer extra);

#include "scheme-cells.c"

static pointer get_cell_x(scheme *sc, pointer a, pointer b)
{
    (void)a, (void)b; /* this function's caller has them on its stack */
    pointer cell = heap_alloc(sizeof(struct cell));
    if (cell) return cell;
    sc->no_memory = 1;
    return sc->sink;
}

static pointer get_consecutive_cells(scheme *sc, int n)
{
    pointer cells = heap_calloc(n, sizeof(struct cell));
    if (cells) return cells;
    sc->no_memory = 1;
    return sc->sink;
}

static pointer reserve_cells(scheme *sc, int n)
{
    (void)n;
    return sc->T;
}

static int alloc_cellseg(scheme *sc, int n)
{
    (void)sc;
    return n;
}

static void push_recent_alloc(scheme *sc, pointer recent, pointer extra)
{
    (void)sc, (void)recent, (void)extra;
}

static void gc(scheme *sc, pointer a, pointer b)
{
    (void)sc, (void)a, (void)b;
    heap_collect();
}

/* A port that nobody has closed closes its file once it can't be reached. */
static void close_file(void *cell)
{
    port *pt = ((pointer)cell)->_object._port;
    if (pt->kind & port_file && pt->rep.stdio.closeit) fclose(pt->rep.stdio.file);
}

static pointer mk_port(scheme *sc, port *p)
{
    pointer x = get_cell(sc, sc->NIL, sc->NIL);
    typeflag(x) = T_PORT | T_ATOM;
    x->_object._port = p;
    bool loading = p >= sc->load_stack && p < sc->load_stack + MAXFIL; /* closed by file_pop */
    if (!loading && x != sc->sink) heap_finalizer(x, close_file);
    return x;
}
