/*
 * store.c: Store, the class behind concord_kv.Db: opening, closing and the calls that block.
 *
 * A blocking call is submitted to a completion queue and waited for in slices without the GIL, so that signals
 * (KeyboardInterrupt) are handled while it waits. An interrupted call closes its queue; its answer goes nowhere.
 */
#include "native.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>

#define SPINS 64
/* Larger requests are submitted without the GIL: checking and compressing them takes its time. So does asking others
   about a token. */
#define SUBMIT_BYTES_INLINE 16384

/* ---- opening and closing ---- */

store *store_allocate(PyTypeObject *type) {
    allocfunc allocate = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    store *s = (store *)allocate(type, 0);
    if (s == NULL)
        return NULL;
    s->db = NULL;
    s->idle_count = 0;
    s->generation = fork_generation;
    s->may_wait = s->is_client = false;
    return s;
}

/* What _native.Store takes as `http`, borrowing from it. */
static int http_of_tuple(PyObject *tuple, concord_http_options *http) {
    unsigned long long body_bytes_max;
    *http = (concord_http_options)CONCORD_HTTP_OPTIONS_INIT;
    if (!PyTuple_Check(tuple)) {
        PyErr_SetString(PyExc_TypeError, "http is a tuple");
        return -1;
    }
    if (!PyArg_ParseTuple(tuple, "O&iiO&O&KIp:http", optional_text, &http->ip, &http->api_port, &http->prometheus_port,
                          optional_text, &http->tls_certificate, optional_text, &http->tls_private_key,
                          &body_bytes_max, &http->connections_max, &http->allow_open))
        return -1;
    http->body_bytes_max = (size_t)body_bytes_max;
    return 0;
}

static PyObject *store_new(PyTypeObject *type, PyObject *args, PyObject *keywords) {
    static char *names[] = {"path", "durability", "interval_ms", "consistency", "compression", "compression_level",
                            "compression_threshold_bytes", "value_bytes_max", "expiry_interval_ms",
                            "snapshot_log_bytes", "cluster", "http", "switches", NULL};
    concord_open_options options = CONCORD_OPEN_OPTIONS_INIT;
    concord_cluster_options cluster;
    concord_http_options http;
    PyObject *path, *member = Py_None, *served = Py_None, *switches = NULL;
    unsigned long long interval_ms, threshold, value_bytes_max, expiry_interval_ms, snapshot_log_bytes;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "OiKiiIKKKK|OOO!:Store", names, &path, &options.durability,
                                     &interval_ms, &options.consistency, &options.compression,
                                     &options.compression_level, &threshold, &value_bytes_max, &expiry_interval_ms,
                                     &snapshot_log_bytes, &member, &served, &PyTuple_Type, &switches))
        return NULL;
    if (switches != NULL && !PyArg_ParseTuple(switches, "iiiii:switches", &options.auth_enabled, &options.local_socket,
                                              &options.telemetry_enabled, &options.hot_keys, &options.metrics_keys))
        return NULL;
    if (served != Py_None) {
        if (http_of_tuple(served, &http) < 0)
            return NULL;
        options.http = &http;
    }
    if (member != Py_None) {
        if (cluster_of_tuple(member, &cluster) < 0)
            return NULL;
        options.cluster = &cluster;
    }
    options.interval_ms = interval_ms;
    options.compression_threshold_bytes = (size_t)threshold;
    options.value_bytes_max = (size_t)value_bytes_max;
    options.expiry_interval_ms = expiry_interval_ms;
    options.snapshot_log_bytes = snapshot_log_bytes;
    char *data_dir = NULL;
    if (path != Py_None && PyBytes_AsStringAndSize(path, &data_dir, NULL) < 0)
        return NULL;
    store *s = store_allocate(type);
    if (s == NULL)
        return NULL;
    s->may_wait = member != Py_None || getenv("CONCORD_LISTEN") != NULL;
    s->value_bytes_max = options.value_bytes_max == 0 ? VALUE_BYTES_MAX_DEFAULT : options.value_bytes_max;
    concord_status status;
    Py_BEGIN_ALLOW_THREADS
    status = concord_open(data_dir, &options, &s->db);
    Py_END_ALLOW_THREADS
    if (status != CONCORD_OK) {
        raise_status(status);
        Py_DECREF(s);
        return NULL;
    }
    return (PyObject *)s;
}

/* Lets go of everything; the handle is taken first, so that nobody else can use or close it meanwhile. */
static concord_status release(store *s) {
    concord_db *db = s->db;
    s->db = NULL;
    if (s->generation != fork_generation)
        return CONCORD_OK;
    while (s->idle_count > 0)
        concord_queue_close(s->idle[--s->idle_count]);
    concord_status status = CONCORD_OK;
    if (db != NULL) {
        Py_BEGIN_ALLOW_THREADS
        status = concord_close(db);
        Py_END_ALLOW_THREADS
    }
    return status;
}

static void store_dealloc(PyObject *self) {
    release((store *)self);
    free_instance(self);
}

static PyObject *store_close(PyObject *self, PyObject *unused) {
    (void)unused;
    concord_status status = release((store *)self);
    if (status != CONCORD_OK && status != CONCORD_CLOSED)
        return raise_status(status);
    Py_RETURN_NONE;
}

static PyObject *store_closed(PyObject *self, void *unused) {
    (void)unused;
    store *s = (store *)self;
    return PyBool_FromLong(s->db == NULL || s->generation != fork_generation);
}

static PyObject *text_answer(PyObject *self, concord_status (*ask)(const concord_db *, concord_buffer *)) {
    store *s = (store *)self;
    concord_buffer buffer = {NULL, 0};
    if (!store_usable(s))
        return NULL;
    concord_db *db = s->db;
    concord_status status;
    Py_BEGIN_ALLOW_THREADS /* a client asks a member */
    status = ask(db, &buffer);
    Py_END_ALLOW_THREADS
    if (status != CONCORD_OK)
        return raise_status(status);
    PyObject *text = PyUnicode_DecodeUTF8((const char *)buffer.data, (Py_ssize_t)buffer.len, "replace");
    concord_buffer_free(&buffer);
    return text;
}

#define TEXT_METHOD(name, ask) \
    static PyObject *store_##name(PyObject *self, PyObject *unused) { \
        (void)unused; \
        return text_answer(self, ask); \
    }

TEXT_METHOD(status_json, concord_status_json)
TEXT_METHOD(members_json, concord_members_json)
TEXT_METHOD(tokens_json, concord_tokens_json)
TEXT_METHOD(metrics_text, concord_metrics_text)
TEXT_METHOD(api_address, concord_api_address)
TEXT_METHOD(prometheus_address, concord_prometheus_address)

static PyObject *store_client(PyObject *self, void *unused) {
    (void)unused;
    return PyBool_FromLong(((store *)self)->is_client);
}

/* ---- calls that block ---- */

static concord_queue *borrow_queue(store *s) {
    concord_queue *queue = NULL;
    if (s->idle_count > 0)
        return s->idle[--s->idle_count];
    concord_status status = concord_queue_open(s->db, &queue);
    return status == CONCORD_OK ? queue : (raise_status(status), NULL);
}

static void return_queue(store *s, concord_queue *queue) {
    if (s->db != NULL && s->idle_count < IDLE_QUEUES)
        s->idle[s->idle_count++] = queue;
    else
        concord_queue_close(queue);
}

/* Looks a few times before it sleeps: an answer from memory comes within microseconds. */
static concord_status spin(concord_queue *queue, concord_completion *completion) {
    for (int i = 0; i < SPINS; i++) {
        size_t count;
        concord_status status = concord_queue_take(queue, completion, 1, &count);
        if (status != CONCORD_OK || count == 1)
            return status;
        sched_yield();
    }
    return CONCORD_TIMEOUT;
}

/*
 * The one completion that this queue will bring. -1 with an exception set when the wait was interrupted, took too
 * long (then of the kind `overdue`) or failed.
 */
static int await_completion(concord_queue *queue, uint64_t deadline_ms, concord_status overdue,
                            concord_completion *completion) {
    concord_status status;
    Py_BEGIN_ALLOW_THREADS
    status = spin(queue, completion);
    Py_END_ALLOW_THREADS
    while (status == CONCORD_TIMEOUT) {
        uint64_t now = now_ms();
        if (PyErr_CheckSignals() < 0)
            return -1;
        if (now >= deadline_ms)
            return raise_kind(overdue, overdue == CONCORD_TIMEOUT ? OVERDUE_READ : OVERDUE), -1;
        uint64_t left = deadline_ms - now;
        Py_BEGIN_ALLOW_THREADS
        status = concord_queue_next(queue, left < SLICE_MS ? (int64_t)left : SLICE_MS, completion);
        Py_END_ALLOW_THREADS
    }
    return status == CONCORD_OK ? 0 : (raise_status(status), -1);
}

static PyObject *perform(store *s, const request *r) {
    concord_queue *queue = borrow_queue(s);
    if (queue == NULL)
        return NULL;
    concord_status status;
    uint64_t deadline_ms = request_deadline(r);
    if (r->value.len > SUBMIT_BYTES_INLINE || (r->options.token != NULL && s->may_wait)) {
        Py_BEGIN_ALLOW_THREADS
        status = request_submit(r, queue, 0);
        Py_END_ALLOW_THREADS
    } else {
        status = request_submit(r, queue, 0);
    }
    if (status != CONCORD_OK) {
        raise_status(status);
        return_queue(s, queue);
        return NULL;
    }
    concord_completion completion;
    if (await_completion(queue, deadline_ms, is_read(r->verb) ? CONCORD_TIMEOUT : CONCORD_UNKNOWN_OUTCOME, &completion) < 0) {
        concord_queue_close(queue);
        return NULL;
    }
    return_queue(s, queue);
    PyObject *answer = answer_of(r->verb, &completion);
    concord_completion_free(&completion);
    return answer;
}

int store_read_waiting(store *s, concord_bytes key, const concord_read_options *options, concord_completion *out) {
    uint64_t timeout_ms = options->timeout_ms == 0 ? TIMEOUT_MS_DEFAULT : options->timeout_ms;
    concord_queue *queue = borrow_queue(s);
    if (queue == NULL)
        return -1;
    concord_status status;
    if (options->token != NULL) {
        Py_BEGIN_ALLOW_THREADS
        status = concord_get_async(queue, key, options, 0);
        Py_END_ALLOW_THREADS
    } else {
        status = concord_get_async(queue, key, options, 0);
    }
    if (status != CONCORD_OK) {
        raise_status(status);
        return_queue(s, queue);
        return -1;
    }
    /* The library ends the wait itself and says why; this is for when it cannot. */
    if (await_completion(queue, now_ms() + timeout_ms + SLICE_MS, CONCORD_TIMEOUT, out) < 0) {
        concord_queue_close(queue);
        return -1;
    }
    return_queue(s, queue);
    if (out->status == CONCORD_OK || out->status == CONCORD_NOT_FOUND)
        return out->status == CONCORD_OK;
    raise_message(out->status, (const char *)out->message.data, out->message.len);
    concord_completion_free(out);
    return -1;
}

static PyObject *call_with(PyObject *self, request_builder build, arguments given) {
    store *s = (store *)self;
    request r;
    PyObject *answer = NULL;
    /* Looked at again after building, which may have run Python code that closed the store. */
    if (!store_usable(s))
        return NULL;
    if (build(&r, s->value_bytes_max, given) < 0)
        token_first(s, r.options.token, is_read(r.verb) ? CONCORD_SCOPE_READ : CONCORD_SCOPE_WRITE, r.key);
    else if (store_usable(s))
        answer = perform(s, &r);
    request_free(&r);
    return answer;
}

#define CALL_METHOD(name) \
    static PyObject *store_##name(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *keywords) { \
        return call_with(self, build_##name, (arguments){args, count, keywords}); \
    }

CALL_METHOD(put)
CALL_METHOD(put_new)
CALL_METHOD(put_if)
CALL_METHOD(delete)
CALL_METHOD(delete_if)
CALL_METHOD(increment)
CALL_METHOD(touch)
CALL_METHOD(put_many)
CALL_METHOD(delete_many)
CALL_METHOD(touch_many)
CALL_METHOD(delete_where)
CALL_METHOD(count)

/* db[key] = value. Deleting by subscript is Python's own, because it has to know whether the key exists. */
static int store_set_item(PyObject *self, PyObject *key, PyObject *value) {
    if (value == NULL) {
        PyObject *done = PyObject_CallMethod(self, "_delete_item", "(O)", key);
        Py_XDECREF(done);
        return done == NULL ? -1 : 0;
    }
    PyObject *args[] = {key, value}, *done = store_put(self, args, 2, NULL);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

static Py_ssize_t store_length(PyObject *self) {
    store *s = (store *)self;
    request r;
    request_init(&r, COUNT);
    PyObject *count = store_usable(s) ? perform(s, &r) : NULL;
    request_free(&r);
    Py_ssize_t length = count == NULL ? -1 : PyLong_AsSsize_t(count);
    Py_XDECREF(count);
    return length;
}

static int store_bool(PyObject *self) {
    (void)self;
    return 1;
}

#define VERB(name, doc) {#name, (PyCFunction)(void (*)(void))store_##name, METH_FASTCALL | METH_KEYWORDS, doc}

static PyMethodDef methods[] = {
    VERB(get, "get(key, default=None, *, consistency=None, timeout=None, token=None)\n--\n\n"
              "The value of a key, or `default` when it is missing or has expired."),
    VERB(get_record, "get_record(key, *, consistency=None, timeout=None, token=None)\n--\n\n"
                     "Value, revision and remaining TTL in seconds of a key, as a Record. Raises NotFoundError."),
    VERB(get_with_ttl, "get_with_ttl(key, *, consistency=None, timeout=None, token=None)\n--\n\n"
                       "(value, remaining seconds or None). Raises NotFoundError."),
    VERB(ttl, "ttl(key, *, consistency=None, timeout=None, token=None)\n--\n\n"
              "Remaining seconds of a key, None when it lives for ever. Raises NotFoundError."),
    VERB(get_many, "get_many(keys, *, consistency=None, timeout=None, token=None)\n--\n\n"
                   "The values of up to 500 keys at one point in time, as a dict; missing keys are left out."),
    VERB(put, "put(key, value, ttl=None, *, compress=None, timeout=None, token=None)\n--\n\n"
              "Stores a value. Without a TTL (seconds) an old TTL of the key is removed."),
    VERB(put_new, "put_new(key, value, ttl=None, *, compress=None, timeout=None, token=None)\n--\n\n"
                  "Stores a value if the key does not exist. Raises AlreadyExistsError."),
    VERB(put_if, "put_if(key, value, *, expected=..., revision=..., where=..., ttl=None, compress=None, timeout=None, token=None)\n--\n\n"
                 "Stores a value if the condition holds."),
    VERB(delete, "delete(key, *, timeout=None, token=None)\n--\n\nRemoves a key; a missing one is fine."),
    VERB(delete_if, "delete_if(key, *, expected=..., revision=..., where=..., timeout=None, token=None)\n--\n\n"
                    "Removes a key if the condition holds."),
    VERB(increment, "increment(key, by=1, *, initial=0, ttl=None, timeout=None, token=None)\n--\n\n"
                    "Adds to an integer atomically and answers the sum; a missing key counts as `initial` first."),
    VERB(touch, "touch(key, ttl, *, timeout=None, token=None)\n--\n\n"
                "Makes the remaining lifetime of an existing key `ttl` seconds. Raises NotFoundError."),
    VERB(put_many, "put_many(items, *, ttl=None, compress=None, timeout=None, token=None)\n--\n\n"
                   "Stores up to 500 records, all or none: a mapping, or (key, value) or (key, value, ttl) tuples."),
    VERB(delete_many, "delete_many(keys, *, timeout=None, token=None)\n--\n\nRemoves up to 500 keys, all or none."),
    VERB(count, "count(selector, *, consistency=None, timeout=None, token=None)\n--\n\n"
                "How many records a selector picks."),
    VERB(delete_where, "delete_where(selector, *, timeout=None, token=None)\n--\n\n"
                       "Removes what a selector picks, all at once, and answers how many records these were."),
    VERB(touch_many, "touch_many(items, *, timeout=None, token=None)\n--\n\n"
                     "Sets the lifetimes of up to 500 (key, ttl); for each whether its key existed, in their order."),
    {"_scan", store_scan, METH_VARARGS,
     "_scan(prefix, start, end, consistency, kind)\n--\n\nAn iterator over the store as it is now."},
    {"_status_json", store_status_json, METH_NOARGS, "_status_json()\n--\n\nThe store's status as JSON."},
    {"_members_json", store_members_json, METH_NOARGS, "_members_json()\n--\n\nThe members as JSON."},
    {"_tokens_json", store_tokens_json, METH_NOARGS, "_tokens_json()\n--\n\nThe tokens as JSON."},
    {"_api_address", store_api_address, METH_NOARGS, "_api_address()\n--\n\nWhere HTTP is served, or ''."},
    {"_prometheus_address", store_prometheus_address, METH_NOARGS,
     "_prometheus_address()\n--\n\nWhere metrics alone are served, or ''."},
    {"metrics_text", store_metrics_text, METH_NOARGS,
     "metrics_text()\n--\n\nAll metrics in Prometheus text format 0.0.4; needs no token. A client tells what it counted."},
    {"_authorize", store_authorize, METH_VARARGS,
     "_authorize(token, scopes, key)\n--\n\nRaises when the holder may not do that."},
    {"_with_token", store_with_token, METH_O, "_with_token(token)\n--\n\nThe store in the name of a token."},
    {"_as_admin", store_as_admin, METH_NOARGS, "_as_admin()\n--\n\nThe store with every right."},
    {"_auth_enabled", store_auth_enabled, METH_NOARGS, "_auth_enabled()\n--\n\nWhether calls need a token."},
    {"_token_create", store_token_create, METH_VARARGS,
     "_token_create(name, scopes, prefixes, ttl)\n--\n\nA new token and what is known of it as JSON."},
    {"_token_revoke", store_token_revoke, METH_O, "_token_revoke(id_or_token)\n--\n\nEnds a token."},
    {"_connect", store_connect, METH_VARARGS | METH_CLASS, "_connect(...)\n--\n\nA client; see concord_kv.connect()."},
    {"_is_ready", store_is_ready, METH_NOARGS, "_is_ready()\n--\n\nWhether this node serves."},
    {"_wait_ready", store_wait_ready, METH_O, "_wait_ready(timeout)\n--\n\nWaits until this node serves."},
    {"_reads_at_once", store_reads_at_once, METH_O,
     "_reads_at_once(consistency)\n--\n\nWhether reads at this level answer without waiting for other nodes."},
    {"_cluster_add", store_cluster_add, METH_VARARGS, "_cluster_add(address, timeout)\n--\n\nTakes a node in."},
    {"_cluster_change", store_cluster_change, METH_VARARGS,
     "_cluster_change(change, node_id, other, timeout)\n--\n\nChanges who the members are or who leads."},
    {"close", store_close, METH_NOARGS,
     "close()\n--\n\nCloses the store; what is acknowledged is safe. Closing twice is fine."},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef properties[] = {
    {"_is_client", store_client, NULL, "Whether the store lives elsewhere.", NULL},
    {"closed", store_closed, NULL, "Whether the store was closed (or belongs to the parent of a fork).", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

int store_init_type(PyObject *module) {
    static PyType_Slot slots[] = {
        {Py_tp_doc, "An open store; made by concord_kv.open()."},
        {Py_tp_new, store_new},
        {Py_tp_dealloc, store_dealloc},
        {Py_tp_methods, methods},
        {Py_tp_getset, properties},
        {Py_mp_subscript, store_get_item},
        {Py_mp_ass_subscript, store_set_item},
        {Py_mp_length, store_length},
        {Py_sq_contains, store_contains},
        {Py_nb_bool, store_bool},
        {0, NULL},
    };
    static PyType_Spec spec = {"concord_kv._native.Store", sizeof(store), 0,
                               Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE, slots};
    g.store_type = (PyTypeObject *)add_type(module, &spec, "Store");
    return g.store_type == NULL ? -1 : 0;
}
