/*
 * cluster.c: the store as a member of a cluster, as a client of one, and the verbs of db.cluster.
 *
 * Verbs that block give the GIL away; Python waits for them on another thread so that Ctrl-C ends the wait
 * (cluster.py). Waiting until ready is done here, in slices between which signals are handled.
 */
#include "native.h"

int optional_text(PyObject *object, void *place) {
    char *data = NULL;
    if (object != Py_None && PyBytes_AsStringAndSize(object, &data, NULL) < 0)
        return 0;
    *(const char **)place = data;
    return 1;
}

int cluster_of_tuple(PyObject *tuple, concord_cluster_options *c) {
    unsigned long long election_timeout_ms;
    *c = (concord_cluster_options)CONCORD_CLUSTER_OPTIONS_INIT;
    if (!PyTuple_Check(tuple)) {
        PyErr_SetString(PyExc_TypeError, "cluster is a tuple");
        return -1;
    }
    if (!PyArg_ParseTuple(tuple, "O&O&O&O&O&O&O&O&pIpIO&Ki:cluster", optional_text, &c->listen, optional_text,
                          &c->advertise, optional_text, &c->name, optional_text, &c->seeds, optional_text, &c->cookie,
                          optional_text, &c->tls_certificate, optional_text, &c->tls_private_key, optional_text,
                          &c->tls_authority, &c->tls_verify_node_id, &c->bootstrap_expect, &c->multicast,
                          &c->multicast_port, optional_text, &c->multicast_group, &election_timeout_ms, &c->promote))
        return -1;
    c->election_timeout_ms = election_timeout_ms;
    return 0;
}

PyObject *store_connect(PyObject *type, PyObject *args) {
    concord_client_options options = CONCORD_CLIENT_OPTIONS_INIT;
    const char *addresses, *data_dir;
    unsigned long long threshold, connect_timeout_ms;
    if (!PyArg_ParseTuple(args, "O&O&O&O&O&O&O&piiIKK:_connect", optional_text, &addresses, optional_text, &data_dir,
                          optional_text, &options.cookie, optional_text, &options.token,
                          optional_text, &options.tls_certificate, optional_text, &options.tls_private_key,
                          optional_text, &options.tls_authority, &options.tls_verify_node_id, &options.consistency,
                          &options.compression, &options.compression_level, &threshold, &connect_timeout_ms))
        return NULL;
    options.compression_threshold_bytes = (size_t)threshold;
    options.connect_timeout_ms = connect_timeout_ms;
    store *s = store_allocate((PyTypeObject *)type);
    if (s == NULL)
        return NULL;
    s->may_wait = s->is_client = true;
    s->value_bytes_max = VALUE_BYTES_MAX_CEILING; /* the members have their own, and the last word */
    concord_status status;
    Py_BEGIN_ALLOW_THREADS
    status = data_dir == NULL ? concord_connect(addresses, &options, &s->db)
                              : concord_connect_local(data_dir, &options, &s->db);
    Py_END_ALLOW_THREADS
    if (status != CONCORD_OK) {
        raise_status(status);
        Py_DECREF(s);
        return NULL;
    }
    return (PyObject *)s;
}

static PyObject *done_or_raised(concord_status status) {
    if (status != CONCORD_OK)
        return raise_status(status);
    Py_RETURN_NONE;
}

PyObject *store_is_ready(PyObject *self, PyObject *unused) {
    store *s = (store *)self;
    bool is_ready;
    (void)unused;
    if (!store_usable(s))
        return NULL;
    concord_status status = concord_is_ready(s->db, &is_ready);
    return status == CONCORD_OK ? PyBool_FromLong(is_ready) : raise_status(status);
}

PyObject *store_wait_ready(PyObject *self, PyObject *timeout) {
    store *s = (store *)self;
    concord_read_options whole = CONCORD_READ_OPTIONS_INIT;
    if (timeout_of_object(timeout, &whole.timeout_ms) < 0 || !store_usable(s))
        return NULL;
    concord_status status = CONCORD_TIMEOUT;
    patience p = patience_of(&whole);
    while (status == CONCORD_TIMEOUT && patience_left(&p)) {
        if (!store_usable(s))
            return NULL;
        concord_db *db = s->db;
        Py_BEGIN_ALLOW_THREADS
        status = concord_wait_ready(db, p.options.timeout_ms);
        Py_END_ALLOW_THREADS
    }
    return PyErr_Occurred() ? NULL : done_or_raised(status);
}

PyObject *store_reads_at_once(PyObject *self, PyObject *consistency) {
    store *s = (store *)self;
    int32_t level;
    if (!store_usable(s) || consistency_of_object(consistency, &level) < 0)
        return NULL;
    return PyBool_FromLong(!s->may_wait || concord_reads_at_once(s->db, level));
}

PyObject *store_cluster_add(PyObject *self, PyObject *args) {
    store *s = (store *)self;
    const char *address;
    PyObject *timeout;
    uint64_t timeout_ms, node_id;
    if (!PyArg_ParseTuple(args, "O&O:_cluster_add", optional_text, &address, &timeout) || !store_usable(s) ||
        timeout_of_object(timeout, &timeout_ms) < 0)
        return NULL;
    concord_db *db = s->db;
    concord_status status;
    Py_BEGIN_ALLOW_THREADS
    status = concord_cluster_add(db, address, timeout_ms, &node_id);
    Py_END_ALLOW_THREADS
    return status == CONCORD_OK ? PyLong_FromUnsignedLongLong(node_id) : raise_status(status);
}

/* One of the verbs that change members: which one, a node id, another for "replace", the timeout. */
PyObject *store_cluster_change(PyObject *self, PyObject *args) {
    store *s = (store *)self;
    unsigned long long node_id, other;
    PyObject *timeout;
    uint64_t timeout_ms;
    int change;
    if (!PyArg_ParseTuple(args, "iKKO:_cluster_change", &change, &node_id, &other, &timeout) || !store_usable(s) ||
        timeout_of_object(timeout, &timeout_ms) < 0)
        return NULL;
    concord_db *db = s->db;
    concord_status status;
    Py_BEGIN_ALLOW_THREADS
    switch (change) {
    case CLUSTER_PROMOTE:
        status = concord_cluster_promote(db, node_id, timeout_ms);
        break;
    case CLUSTER_REMOVE:
        status = concord_cluster_remove(db, node_id, timeout_ms);
        break;
    case CLUSTER_REPLACE:
        status = concord_cluster_replace(db, node_id, other, timeout_ms);
        break;
    case CLUSTER_TRANSFER_LEADERSHIP:
        status = concord_cluster_transfer_leadership(db, node_id, timeout_ms);
        break;
    default:
        status = concord_cluster_leave(db, timeout_ms);
    }
    Py_END_ALLOW_THREADS
    return done_or_raised(status);
}

int cluster_init(PyObject *module) {
    return PyModule_AddIntConstant(module, "PROMOTE", CLUSTER_PROMOTE) < 0 ||
                   PyModule_AddIntConstant(module, "REMOVE", CLUSTER_REMOVE) < 0 ||
                   PyModule_AddIntConstant(module, "REPLACE", CLUSTER_REPLACE) < 0 ||
                   PyModule_AddIntConstant(module, "TRANSFER_LEADERSHIP", CLUSTER_TRANSFER_LEADERSHIP) < 0 ||
                   PyModule_AddIntConstant(module, "LEAVE", CLUSTER_LEAVE) < 0
               ? -1
               : 0;
}
