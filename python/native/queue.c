/*
 * queue.c: Queue, the asyncio side of a store: calls that answer with a future of one event loop.
 *
 * - Every call under way has a slot that holds its future; the slot's number is the call's tag.
 * - The loop watches the queue's descriptor and calls drain(), which settles futures on the loop's thread. A future
 *   that was cancelled meanwhile is left alone; its write goes on.
 * - While calls are under way, `arm` was called and a timer of the loop calls expire() now and then: who waited too
 *   long gets unknown_outcome, or timeout for a read. The slot stays taken until the answer comes, because its number is still in use.
 */
#include "native.h"

#include <string.h>

#define TAKE_AT_ONCE 256
/* So many completions a turn of the loop; the descriptor stays readable for the rest. */
#define TAKE_A_TURN 4096

typedef struct {
    PyObject *future;
    verb verb;
    uint64_t deadline_ms;
    size_t next_free;
} slot;

typedef struct {
    PyObject_HEAD
    store *store;
    PyObject *create_future, *arm;
    bool is_armed;
    concord_queue *queue; /* NULL once closed */
    unsigned generation;
    slot *slots;
    size_t slot_count, slots_used, first_free, in_flight;
} queue;

#define NO_SLOT SIZE_MAX

static PyObject *queue_new(PyTypeObject *type, PyObject *args, PyObject *keywords) {
    static char *names[] = {"store", "loop", "arm", NULL};
    PyObject *of, *loop, *arm;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "O!OO:Queue", names, (PyObject *)g.store_type, &of, &loop, &arm) ||
        !store_usable((store *)of))
        return NULL;
    allocfunc allocate = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    queue *q = (queue *)allocate(type, 0);
    if (q == NULL)
        return NULL;
    Py_INCREF(of);
    q->store = (store *)of;
    Py_INCREF(arm);
    q->arm = arm;
    q->generation = fork_generation;
    q->first_free = NO_SLOT;
    q->create_future = PyObject_GetAttrString(loop, "create_future");
    if (q->create_future == NULL) {
        Py_DECREF(q);
        return NULL;
    }
    concord_status status = concord_queue_open(q->store->db, &q->queue);
    if (status != CONCORD_OK) {
        Py_DECREF(q);
        return raise_status(status);
    }
    return (PyObject *)q;
}

static void close_handle(queue *q) {
    concord_queue *handle = q->queue;
    q->queue = NULL;
    if (handle != NULL && q->generation == fork_generation)
        concord_queue_close(handle);
}

static int queue_traverse(PyObject *self, visitproc visit, void *arg) {
    queue *q = (queue *)self;
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(q->store);
    Py_VISIT(q->create_future);
    Py_VISIT(q->arm);
    for (size_t i = 0; i < q->slots_used; i++)
        Py_VISIT(q->slots[i].future);
    return 0;
}

static int queue_clear(PyObject *self) {
    queue *q = (queue *)self;
    close_handle(q);
    Py_CLEAR(q->store);
    Py_CLEAR(q->create_future);
    Py_CLEAR(q->arm);
    for (size_t i = 0; i < q->slots_used; i++)
        Py_CLEAR(q->slots[i].future);
    return 0;
}

static void queue_dealloc(PyObject *self) {
    queue *q = (queue *)self;
    PyObject_GC_UnTrack(self);
    queue_clear(self);
    PyMem_Free(q->slots);
    free_instance(self);
}

static bool queue_usable(const queue *q) {
    if (q->generation != fork_generation)
        return raise_forked(), false;
    if (q->queue == NULL)
        return raise_kind(CONCORD_CLOSED, "the store was closed"), false;
    return true;
}

static size_t take_slot(queue *q) {
    size_t at = q->first_free;
    if (at != NO_SLOT) {
        q->first_free = q->slots[at].next_free;
        return at;
    }
    if (q->slots_used == q->slot_count) {
        size_t count = q->slot_count == 0 ? 64 : q->slot_count * 2;
        slot *slots = PyMem_Realloc(q->slots, count * sizeof *slots);
        if (slots == NULL)
            return PyErr_NoMemory(), NO_SLOT;
        q->slots = slots;
        q->slot_count = count;
    }
    return q->slots_used++;
}

/* Empties a slot and answers its future. */
static PyObject *leave_slot(queue *q, size_t at) {
    PyObject *future = q->slots[at].future;
    q->slots[at].future = NULL;
    q->slots[at].next_free = q->first_free;
    q->first_free = at;
    return future;
}

/* Asks for the timer that calls expire(), unless it runs already. */
static int arm(queue *q) {
    if (q->is_armed)
        return 0;
    PyObject *armed = PyObject_CallFunctionObjArgs(q->arm, NULL);
    Py_XDECREF(armed);
    q->is_armed = armed != NULL;
    return armed == NULL ? -1 : 0;
}

static PyObject *start(PyObject *self, request_builder build, arguments given) {
    queue *q = (queue *)self;
    request r;
    PyObject *future = NULL;
    if (!queue_usable(q))
        return NULL;
    if (build(&r, q->store->value_bytes_max, given) < 0) {
        token_first(q->store, r.options.token, is_read(r.verb) ? CONCORD_SCOPE_READ : CONCORD_SCOPE_WRITE, r.key);
        goto done;
    }
    if (!queue_usable(q) || arm(q) < 0 || (future = PyObject_CallFunctionObjArgs(q->create_future, NULL)) == NULL)
        goto done;
    size_t at = take_slot(q);
    if (at == NO_SLOT) {
        Py_CLEAR(future);
        goto done;
    }
    Py_INCREF(future);
    q->slots[at].future = future;
    q->slots[at].verb = r.verb;
    q->slots[at].deadline_ms = request_deadline(&r);
    concord_status status = request_submit(&r, q->queue, at);
    if (status != CONCORD_OK) {
        Py_DECREF(leave_slot(q, at));
        Py_CLEAR(future);
        raise_status(status);
        goto done;
    }
    q->in_flight++;
done:
    request_free(&r);
    return future;
}

/* Tells a future how its call ended, unless it was cancelled. */
static int settle(PyObject *future, verb which, const concord_completion *completion) {
    PyObject *done = PyObject_CallMethod(future, "done", NULL);
    if (done == NULL)
        return -1;
    int is_done = PyObject_IsTrue(done);
    Py_DECREF(done);
    if (is_done != 0)
        return is_done < 0 ? -1 : 0;
    PyObject *answer = answer_of(which, completion), *told;
    if (answer != NULL) {
        told = PyObject_CallMethod(future, "set_result", "(O)", answer);
        Py_DECREF(answer);
    } else {
        PyObject *type, *value, *traceback;
        PyErr_Fetch(&type, &value, &traceback);
        PyErr_NormalizeException(&type, &value, &traceback);
        told = PyObject_CallMethod(future, "set_exception", "(O)", value);
        Py_XDECREF(type);
        Py_XDECREF(value);
        Py_XDECREF(traceback);
    }
    Py_XDECREF(told);
    return told == NULL ? -1 : 0;
}

static PyObject *queue_drain(PyObject *self, PyObject *unused) {
    queue *q = (queue *)self;
    concord_completion completions[TAKE_AT_ONCE];
    (void)unused;
    for (size_t taken = 0; taken < TAKE_A_TURN && q->queue != NULL && q->generation == fork_generation;) {
        size_t count;
        concord_status status = concord_queue_take(q->queue, completions, TAKE_AT_ONCE, &count);
        if (status != CONCORD_OK)
            return raise_status(status);
        for (size_t i = 0; i < count; i++) {
            size_t at = (size_t)completions[i].tag;
            verb which = q->slots[at].verb;
            PyObject *future = leave_slot(q, at);
            q->in_flight--;
            if (future != NULL && settle(future, which, &completions[i]) < 0)
                PyErr_WriteUnraisable(future);
            Py_XDECREF(future);
            concord_completion_free(&completions[i]);
        }
        taken += count;
        if (count < TAKE_AT_ONCE)
            break;
    }
    Py_RETURN_NONE;
}

/* Tells the future in a slot that nobody will hear of its call any more. The slot stays taken. */
static void give_up(queue *q, size_t at, concord_status of_read, const char *message) {
    PyObject *future = q->slots[at].future;
    bool reads = is_read(q->slots[at].verb);
    concord_completion lost;
    memset(&lost, 0, sizeof lost);
    lost.status = reads ? of_read : CONCORD_UNKNOWN_OUTCOME;
    if (reads)
        message = of_read == CONCORD_TIMEOUT ? OVERDUE_READ : "the store was closed";
    lost.message = (concord_buffer){(uint8_t *)message, strlen(message)};
    q->slots[at].future = NULL;
    if (settle(future, q->slots[at].verb, &lost) < 0)
        PyErr_WriteUnraisable(future);
    Py_DECREF(future);
}

static PyObject *queue_expire(PyObject *self, PyObject *unused) {
    queue *q = (queue *)self;
    uint64_t now = now_ms();
    (void)unused;
    for (size_t i = 0; i < q->slots_used; i++)
        if (q->slots[i].future != NULL && now >= q->slots[i].deadline_ms)
            give_up(q, i, CONCORD_TIMEOUT, OVERDUE);
    q->is_armed = q->in_flight > 0 && q->queue != NULL;
    return PyBool_FromLong(q->is_armed);
}

static PyObject *queue_close(PyObject *self, PyObject *unused) {
    queue *q = (queue *)self;
    PyObject *done = queue_drain(self, NULL);
    (void)unused;
    if (done == NULL)
        PyErr_Clear();
    Py_XDECREF(done);
    close_handle(q);
    for (size_t i = 0; i < q->slots_used; i++)
        if (q->slots[i].future != NULL)
            give_up(q, i, CONCORD_CLOSED, "the store was closed before the answer came; read before trying again");
    q->in_flight = 0;
    Py_RETURN_NONE;
}

static PyObject *queue_fileno(PyObject *self, PyObject *unused) {
    queue *q = (queue *)self;
    (void)unused;
    return queue_usable(q) ? PyLong_FromLong(concord_queue_fd(q->queue)) : NULL;
}

static PyObject *queue_in_flight(PyObject *self, void *unused) {
    (void)unused;
    return PyLong_FromSize_t(((queue *)self)->in_flight);
}

#define START_METHOD(name) \
    static PyObject *queue_##name(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *keywords) { \
        return start(self, build_##name, (arguments){args, count, keywords}); \
    }

START_METHOD(put)
START_METHOD(put_new)
START_METHOD(put_if)
START_METHOD(delete)
START_METHOD(delete_if)
START_METHOD(increment)
START_METHOD(touch)
START_METHOD(put_many)
START_METHOD(delete_many)
START_METHOD(touch_many)
START_METHOD(get_record)
START_METHOD(count)
START_METHOD(delete_where)

#define VERB(name) \
    {#name, (PyCFunction)(void (*)(void))queue_##name, METH_FASTCALL | METH_KEYWORDS, \
     "As Store." #name "(), answering a future."}

int queue_init_type(PyObject *module) {
    static PyMethodDef methods[] = {
        VERB(put),
        VERB(put_new),
        VERB(put_if),
        VERB(delete),
        VERB(delete_if),
        VERB(increment),
        VERB(touch),
        VERB(put_many),
        VERB(delete_many),
        VERB(touch_many),
        VERB(get_record),
        VERB(count),
        VERB(delete_where),
        {"drain", queue_drain, METH_NOARGS, "drain()\n--\n\nSettles the futures of all calls that were answered."},
        {"expire", queue_expire, METH_NOARGS,
         "expire()\n--\n\nGives up on calls that waited too long; whether others are still under way."},
        {"fileno", queue_fileno, METH_NOARGS, "fileno()\n--\n\nReadable while answers wait."},
        {"close", queue_close, METH_NOARGS, "close()\n--\n\nEnds the queue; open futures get UnknownOutcomeError."},
        {NULL, NULL, 0, NULL},
    };
    static PyGetSetDef properties[] = {
        {"in_flight", queue_in_flight, NULL, "How many calls were not answered yet.", NULL},
        {NULL, NULL, NULL, NULL, NULL},
    };
    static PyType_Slot slots[] = {
        {Py_tp_doc, "Calls of one store that answer with futures of one event loop."},
        {Py_tp_new, queue_new},
        {Py_tp_dealloc, queue_dealloc},
        {Py_tp_traverse, queue_traverse},
        {Py_tp_clear, queue_clear},
        {Py_tp_methods, methods},
        {Py_tp_getset, properties},
        {0, NULL},
    };
    static PyType_Spec spec = {"concord_kv._native.Queue", sizeof(queue), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
                               slots};
    PyObject *type = add_type(module, &spec, "Queue");
    Py_XDECREF(type);
    return type == NULL ? -1 : 0;
}
