/*
 * scan.c: iterators over a store as it was when they began, in the order of the keys' bytes.
 *
 * A record belongs to the scan only until its next step, which another thread may take as soon as Python code runs:
 * so it is taken over like any lent record, before anything else happens.
 */
#include "native.h"

enum { KEYS, ITEMS, RECORDS };

typedef struct {
    PyObject_HEAD
    concord_scan *scan; /* NULL once ended */
    unsigned generation;
    int kind;
    bool may_wait; /* a step may ask another node, or look at many records before it finds one */
    bool is_stepping;
    bool is_closing; /* to be ended when the step is done */
} scan;

static PyTypeObject *scan_type;

static void end(scan *s) {
    concord_scan *handle = s->scan;
    s->scan = NULL;
    if (handle != NULL && s->generation == fork_generation)
        concord_scan_close(handle);
}

static void scan_dealloc(PyObject *self) {
    end((scan *)self);
    free_instance(self);
}

static int bound_of(PyObject *object, concord_bytes *bound) {
    *bound = (concord_bytes){NULL, 0};
    if (object == Py_None)
        return 0;
    Py_ssize_t len;
    if (PyUnicode_Check(object)) {
        bound->data = (const uint8_t *)PyUnicode_AsUTF8AndSize(object, &len);
        if (bound->data == NULL)
            return raise_instead(CONCORD_INVALID_KEY, "a bound with lone surrogates is not UTF-8"), -1;
    } else if (PyBytes_Check(object)) {
        char *data;
        if (PyBytes_AsStringAndSize(object, &data, &len) < 0)
            return -1;
        bound->data = (const uint8_t *)data;
    } else {
        PyErr_SetString(PyExc_TypeError, "prefix, start and end are str or bytes");
        return -1;
    }
    bound->len = (size_t)len;
    return 0;
}

/* Opens a scan; a barrier that takes longer than a moment is waited for without the GIL. */
static int open_scan(store *s, concord_scan_options *options, concord_scan **out) {
    concord_read_options reading = CONCORD_READ_OPTIONS_INIT;
    concord_status status = CONCORD_TIMEOUT;
    reading.timeout_ms = options->timeout_ms;
    reading.consistency = options->consistency;
    reading.token = options->token;
    options->timeout_ms = READ_MS_INLINE;
    *out = NULL;
    if (answers_at_once(s, &reading))
        status = concord_scan_open(s->db, options, out);
    if (status == CONCORD_TIMEOUT) {
        patience p = patience_of(&reading);
        while (status == CONCORD_TIMEOUT && patience_left(&p)) {
            if (!store_usable(s))
                return -1;
            options->timeout_ms = p.options.timeout_ms;
            Py_BEGIN_ALLOW_THREADS
            status = concord_scan_open(s->db, options, out);
            Py_END_ALLOW_THREADS
        }
    }
    if (status != CONCORD_OK && !PyErr_Occurred())
        raise_status(status);
    return PyErr_Occurred() ? -1 : 0;
}

PyObject *store_scan(PyObject *self, PyObject *args) {
    store *s = (store *)self;
    PyObject *prefix, *start, *stop, *consistency, *timeout = NULL, *token = NULL, *picking = Py_None;
    concord_scan_options options = CONCORD_SCAN_OPTIONS_INIT;
    concord_selector selector;
    int kind;
    if (!PyArg_ParseTuple(args, "OOOOi|OOO:_scan", &prefix, &start, &stop, &consistency, &kind, &timeout, &token,
                          &picking) ||
        !store_usable(s))
        return NULL;
    options.keys_only = kind == KEYS;
    if (picking != Py_None) {
        if (selector_of_tuple(picking, &selector) < 0)
            return NULL;
        options.selector = &selector;
    }
    if (token_of_object(token, &options.token) < 0 || bound_of(prefix, &options.prefix) < 0 ||
        bound_of(start, &options.start) < 0 || bound_of(stop, &options.end) < 0 ||
        consistency_of_object(consistency, &options.consistency) < 0 ||
        timeout_of_object(timeout, &options.timeout_ms) < 0) {
        token_first(s, options.token, CONCORD_SCOPE_READ, (concord_bytes){NULL, 0});
        return NULL;
    }
    allocfunc allocate = (allocfunc)PyType_GetSlot(scan_type, Py_tp_alloc);
    scan *made = (scan *)allocate(scan_type, 0);
    if (made == NULL)
        return NULL;
    made->scan = NULL;
    made->generation = fork_generation;
    made->kind = kind;
    made->may_wait = s->is_client || picking != Py_None;
    made->is_stepping = made->is_closing = false;
    if (open_scan(s, &options, &made->scan) < 0)
        Py_CLEAR(made);
    return (PyObject *)made;
}

static PyObject *entry(scan *s, const concord_item *item) {
    PyObject *key = key_to_object(item->key), *second, *pair;
    if (s->kind == KEYS || key == NULL)
        return key;
    lent l = {0};
    lend(&l, 0, item->value, item->revision, item->ttl_ms);
    second = s->kind == ITEMS ? lent_value(&l) : lent_record(&l);
    pair = second == NULL ? NULL : PyTuple_New(2);
    if (pair == NULL) {
        Py_XDECREF(second);
        Py_DECREF(key);
        return NULL;
    }
    PyTuple_SetItem(pair, 0, key);
    PyTuple_SetItem(pair, 1, second);
    return pair;
}

/* One step. One that may wait does so without the GIL, and other threads are refused meanwhile. */
static concord_status step(scan *s, concord_item *item) {
    concord_status status;
    if (!s->may_wait || concord_scan_ready(s->scan) > 0)
        return concord_scan_next(s->scan, item);
    s->is_stepping = true;
    Py_BEGIN_ALLOW_THREADS
    status = concord_scan_next(s->scan, item);
    Py_END_ALLOW_THREADS
    s->is_stepping = false;
    return status;
}

static PyObject *scan_next(PyObject *self) {
    scan *s = (scan *)self;
    concord_item item;
    if (s->generation != fork_generation)
        return raise_forked();
    if (s->scan == NULL)
        return NULL;
    if (s->is_stepping) {
        PyErr_SetString(PyExc_ValueError, "another thread walks this iterator now");
        return NULL;
    }
    concord_status status = step(s, &item);
    if (status == CONCORD_OK && !s->is_closing)
        return entry(s, &item);
    end(s);
    if (s->is_closing)
        return NULL;
    return status == CONCORD_NOT_FOUND ? NULL : raise_status(status);
}

/* Lets the point in time go now, or when the step that another thread takes is done; no other follows. */
static PyObject *scan_close(PyObject *self, PyObject *unused) {
    scan *s = (scan *)self;
    (void)unused;
    s->is_closing = true;
    if (!s->is_stepping)
        end(s);
    Py_RETURN_NONE;
}

static PyObject *scan_enter(PyObject *self, PyObject *unused) {
    (void)unused;
    Py_INCREF(self);
    return self;
}

static PyObject *scan_exit(PyObject *self, PyObject *args) {
    (void)args;
    return scan_close(self, NULL);
}

int scan_init_type(PyObject *module) {
    static PyMethodDef methods[] = {
        {"close", scan_close, METH_NOARGS, "close()\n--\n\nEnds the walk and lets its point in time go."},
        {"__enter__", scan_enter, METH_NOARGS, "The iterator itself."},
        {"__exit__", scan_exit, METH_VARARGS, "Closes the iterator."},
        {NULL, NULL, 0, NULL},
    };
    static PyType_Slot slots[] = {
        {Py_tp_doc, "An iterator over a store as it was when it began."},
        {Py_tp_methods, methods},
        {Py_tp_dealloc, scan_dealloc},
        {Py_tp_iter, PyObject_SelfIter},
        {Py_tp_iternext, scan_next},
        {0, NULL},
    };
    static PyType_Spec spec = {"concord_kv._native.Scan", sizeof(scan), 0,
                               Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION, slots};
    scan_type = (PyTypeObject *)add_type(module, &spec, "Scan");
    return scan_type == NULL || PyModule_AddIntConstant(module, "KEYS", KEYS) < 0 ||
                   PyModule_AddIntConstant(module, "ITEMS", ITEMS) < 0 ||
                   PyModule_AddIntConstant(module, "RECORDS", RECORDS) < 0
               ? -1
               : 0;
}
