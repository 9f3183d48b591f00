/*
 * fork.c: notices forks. A child has the parent's handles but none of the threads behind them, and it must never
 * become a second member with the same identity and data: everything opened before is refused there at once.
 */
#include "native.h"

#include <pthread.h>

unsigned fork_generation = 1;

static void in_child(void) { fork_generation++; }

int fork_init(void) {
    if (pthread_atfork(NULL, NULL, in_child) != 0) {
        PyErr_SetString(PyExc_ImportError, "concord_kv cannot watch for forks: pthread_atfork failed");
        return -1;
    }
    return 0;
}

PyObject *raise_forked(void) {
    return raise_kind(CONCORD_CLOSED, "the store was opened before a fork and belongs to the parent process; "
                                      "open stores after forking, or use multiprocessing's \"spawn\"");
}
