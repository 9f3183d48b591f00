/*
 * scan.c: iterators over a store as it was when they began, in the order of the keys' bytes.
 *
 * A record belongs to the scan only until its next step, which another thread may take as soon as Python code runs:
 * so it is taken over like any lent record, before anything else happens.
 */
#include "native.h"

#define COUNT_SLICE 65536

enum { KEYS, ITEMS, RECORDS };

typedef struct {
    PyObject_HEAD
    concord_scan *scan; /* NULL once ended */
    unsigned generation;
    int kind;
    bool may_wait; /* the next step may ask another node */
    bool is_stepping;
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
    PyObject *prefix, *start, *stop, *consistency, *timeout = NULL, *token = NULL;
    concord_scan_options options = CONCORD_SCAN_OPTIONS_INIT;
    int kind;
    if (!PyArg_ParseTuple(args, "OOOOi|OO:_scan", &prefix, &start, &stop, &consistency, &kind, &timeout, &token) ||
        !store_usable(s))
        return NULL;
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
    made->may_wait = s->is_client;
    made->is_stepping = false;
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

/* One step. A client's may wait for another node: without the GIL, and other threads are refused meanwhile. */
static concord_status step(scan *s, concord_item *item) {
    concord_status status;
    if (!s->may_wait)
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
    if (status == CONCORD_OK)
        return entry(s, &item);
    end(s);
    return status == CONCORD_NOT_FOUND ? NULL : raise_status(status);
}

Py_ssize_t store_length(PyObject *self) {
    store *s = (store *)self;
    concord_scan *handle;
    concord_item item;
    if (!store_usable(s))
        return -1;
    concord_scan_options options = CONCORD_SCAN_OPTIONS_INIT;
    if (open_scan(s, &options, &handle) < 0)
        return -1;
    concord_status status = CONCORD_OK;
    Py_ssize_t count = 0;
    while (status == CONCORD_OK && PyErr_CheckSignals() == 0) {
        Py_BEGIN_ALLOW_THREADS
        for (int i = 0; i < COUNT_SLICE && (status = concord_scan_next(handle, &item)) == CONCORD_OK; i++)
            count++;
        Py_END_ALLOW_THREADS
    }
    if (status != CONCORD_OK && status != CONCORD_NOT_FOUND)
        raise_status(status);
    concord_scan_close(handle);
    return PyErr_Occurred() ? -1 : count;
}

int scan_init_type(PyObject *module) {
    static PyType_Slot slots[] = {
        {Py_tp_doc, "An iterator over a store as it was when it began."},
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
