/*
 * request.c: one call, from Python arguments to the library and from its completion back to Python. Blocking calls
 * (store.c) and asyncio (queue.c) share it, so that both faces mean the same.
 */
#include "native.h"

#include <string.h>
#include <time.h>

void request_init(request *r, verb which) {
    r->verb = which;
    r->key = (concord_bytes){NULL, 0};
    r->options = (concord_write_options)CONCORD_WRITE_OPTIONS_INIT;
    r->consistency = CONCORD_CONSISTENCY_DEFAULT;
    r->by = 1;
    r->initial = 0;
    r->ttl_ms = 0;
    r->count = 0;
    r->puts = NULL;
    r->touches = NULL;
    r->keys = NULL;
    r->selector = (concord_selector)CONCORD_SELECTOR_INIT;
    r->held = NULL;
    encoder_init(&r->value, VALUE_BYTES_MAX_DEFAULT);
    encoder_init(&r->expected, VALUE_BYTES_MAX_CEILING);
}

void request_free(request *r) {
    encoder_free(&r->value);
    encoder_free(&r->expected);
    PyMem_Free(r->puts);
    PyMem_Free(r->touches);
    PyMem_Free(r->keys);
    Py_CLEAR(r->held);
}

uint64_t now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

uint64_t request_deadline(const request *r) {
    return now_ms() + (r->options.timeout_ms == 0 ? TIMEOUT_MS_DEFAULT : r->options.timeout_ms);
}

static int compress_of(PyObject *object, request *r) {
    if (object == NULL || object == Py_None)
        return 0;
    if (!PyBool_Check(object)) {
        PyErr_SetString(PyExc_TypeError, "compress is True, False or None");
        return -1;
    }
    r->options.compress = object == Py_True ? CONCORD_COMPRESS_ALWAYS : CONCORD_COMPRESS_NEVER;
    return 0;
}

/* A condition that is an expression. */
static int expression_of(PyObject *where, request *r) {
    Py_ssize_t len;
    if (!PyUnicode_Check(where)) {
        PyErr_SetString(PyExc_TypeError, "an expression is a str");
        return -1;
    }
    const char *text = PyUnicode_AsUTF8AndSize(where, &len);
    if (text == NULL)
        return raise_instead(CONCORD_INVALID_CONDITION, "the expression has lone surrogates, so it is not UTF-8"), -1;
    r->options.condition = CONCORD_CONDITION_WHERE;
    r->options.where = (concord_bytes){(const uint8_t *)text, (size_t)len};
    return 0;
}

/* `expected`, `revision` and `where`; what is left out is NULL, because None is a value like any other. */
static int condition_of(PyObject *expected, PyObject *revision, PyObject *where, request *r) {
    int given = (expected != NULL) + (revision != NULL) + (where != NULL);
    if (given == 0)
        return raise_kind(CONCORD_MISSING_CONDITION, "a conditional write needs a condition"), -1;
    if (given > 1)
        return raise_kind(CONCORD_CONFLICTING_CONDITIONS, "a conditional write takes one condition only"), -1;
    if (where != NULL)
        return expression_of(where, r);
    if (revision != NULL) {
        if (!PyLong_Check(revision) || PyBool_Check(revision)) {
            PyErr_SetString(PyExc_TypeError, "revision is an int");
            return -1;
        }
        unsigned long long number = PyLong_AsUnsignedLongLong(revision);
        if (number == (unsigned long long)-1 && PyErr_Occurred()) {
            PyErr_Clear();
            return raise_kind(CONCORD_INVALID_CONDITION, "a revision is 0 to 2^64 - 1"), -1;
        }
        r->options.condition = CONCORD_CONDITION_REVISION;
        r->options.revision = number;
        return 0;
    }
    if (expected == g.absent && r->verb == DELETE)
        return raise_kind(CONCORD_INVALID_CONDITION, "a key that does not exist cannot be deleted"), -1;
    if (expected == g.absent) {
        r->options.condition = CONCORD_CONDITION_ABSENT;
        return 0;
    }
    if (encode_value(&r->expected, expected, 1) < 0)
        return -1;
    r->options.condition = CONCORD_CONDITION_EXPECTED;
    r->options.expected = (concord_bytes){r->expected.data, r->expected.len};
    return 0;
}

/* key, value, ttl, compress, timeout, token: what all puts of one key have. The token first, it is judged first. */
static int put_parts(request *r, size_t value_bytes_max, PyObject **in) {
    r->value.bytes_max = value_bytes_max;
    return token_of_object(in[5], &r->options.token) < 0 || key_of_object(in[0], &r->key) < 0 ||
                   ttl_of_object(in[2], CONCORD_INVALID_TTL, &r->options.ttl_ms) < 0 ||
                   compress_of(in[3], r) < 0 || timeout_of_object(in[4], &r->options.timeout_ms) < 0 ||
                   encode_value(&r->value, in[1], 1) < 0
               ? -1
               : 0;
}

static const char *const put_names[] = {"key", "value", "ttl", "compress", "timeout", "token", NULL};

int build_put(request *r, size_t value_bytes_max, arguments given) {
    PyObject *in[6];
    request_init(r, PUT);
    return sort_arguments("put", put_names, 3, 2, given, in) < 0 ? -1 : put_parts(r, value_bytes_max, in);
}

int build_put_new(request *r, size_t value_bytes_max, arguments given) {
    PyObject *in[6];
    request_init(r, PUT);
    r->options.condition = CONCORD_CONDITION_ABSENT;
    return sort_arguments("put_new", put_names, 3, 2, given, in) < 0 ? -1 : put_parts(r, value_bytes_max, in);
}

int build_put_if(request *r, size_t value_bytes_max, arguments given) {
    static const char *const names[] = {"key", "value", "ttl", "compress", "timeout", "token", "expected", "revision", "where", NULL};
    PyObject *in[9];
    request_init(r, PUT);
    if (sort_arguments("put_if", names, 2, 2, given, in) < 0)
        return -1;
    return put_parts(r, value_bytes_max, in) < 0 ? -1 : condition_of(in[6], in[7], in[8], r);
}

int build_delete(request *r, size_t value_bytes_max, arguments given) {
    static const char *const names[] = {"key", "timeout", "token", NULL};
    PyObject *in[3];
    (void)value_bytes_max;
    request_init(r, DELETE);
    return sort_arguments("delete", names, 1, 1, given, in) < 0 ||
                   token_of_object(in[2], &r->options.token) < 0 || key_of_object(in[0], &r->key) < 0
               ? -1
               : timeout_of_object(in[1], &r->options.timeout_ms);
}

int build_delete_if(request *r, size_t value_bytes_max, arguments given) {
    static const char *const names[] = {"key", "timeout", "expected", "revision", "token", "where", NULL};
    PyObject *in[6];
    (void)value_bytes_max;
    request_init(r, DELETE);
    return sort_arguments("delete_if", names, 1, 1, given, in) < 0 ||
                   token_of_object(in[4], &r->options.token) < 0 || key_of_object(in[0], &r->key) < 0 ||
                   timeout_of_object(in[1], &r->options.timeout_ms) < 0
               ? -1
               : condition_of(in[2], in[3], in[5], r);
}

int build_increment(request *r, size_t value_bytes_max, arguments given) {
    static const char *const names[] = {"key", "by", "initial", "ttl", "timeout", "token", NULL};
    PyObject *in[6];
    (void)value_bytes_max;
    request_init(r, INCREMENT);
    return sort_arguments("increment", names, 2, 1, given, in) < 0 ||
                   token_of_object(in[5], &r->options.token) < 0 || key_of_object(in[0], &r->key) < 0 ||
                   int64_of_object(in[1], "by", &r->by) < 0 || int64_of_object(in[2], "initial", &r->initial) < 0 ||
                   ttl_of_object(in[3], CONCORD_INVALID_TTL, &r->options.ttl_ms) < 0
               ? -1
               : timeout_of_object(in[4], &r->options.timeout_ms);
}

int build_touch(request *r, size_t value_bytes_max, arguments given) {
    static const char *const names[] = {"key", "ttl", "timeout", "token", NULL};
    PyObject *in[4];
    (void)value_bytes_max;
    request_init(r, TOUCH);
    if (sort_arguments("touch", names, 2, 2, given, in) < 0 || token_of_object(in[3], &r->options.token) < 0 ||
        key_of_object(in[0], &r->key) < 0)
        return -1;
    if (in[1] == Py_None)
        return raise_kind(CONCORD_INVALID_TTL, "touch needs a TTL; put without one makes a key live for ever"), -1;
    return ttl_of_object(in[1], CONCORD_INVALID_TTL, &r->ttl_ms) < 0 ? -1
                                                                       : timeout_of_object(in[2], &r->options.timeout_ms);
}

PyObject *batch(PyObject *items) {
    if (PyUnicode_Check(items) || PyBytes_Check(items)) {
        PyErr_SetString(PyExc_TypeError, "a bulk operation takes a list of items, not a single str or bytes");
        return NULL;
    }
    PyObject *iterator = PyObject_GetIter(items), *list = NULL, *item;
    if (iterator == NULL || (list = PyList_New(0)) == NULL)
        goto failed;
    while ((item = PyIter_Next(iterator)) != NULL) {
        int added = PyList_Append(list, item);
        Py_DECREF(item);
        if (added < 0)
            goto failed;
        if (PyList_Size(list) > BATCH_OPS_MAX) {
            raise_kind(CONCORD_BATCH_TOO_LARGE, "a bulk operation holds at most %d items; split it", BATCH_OPS_MAX);
            goto failed;
        }
    }
    if (PyErr_Occurred())
        goto failed;
    Py_DECREF(iterator);
    return list;
failed:
    Py_XDECREF(iterator);
    Py_XDECREF(list);
    return NULL;
}

/* The same, where a mapping counts as its pairs. */
static PyObject *pairs(PyObject *items) {
    if (PyList_Check(items) || PyTuple_Check(items) || !PyObject_HasAttrString(items, "items"))
        return batch(items);
    PyObject *list = PyMapping_Items(items), *limited = list == NULL ? NULL : batch(list);
    Py_XDECREF(list);
    return limited;
}

/* An item as a tuple of two or three. */
static PyObject *item_parts(PyObject *item, Py_ssize_t least, Py_ssize_t most) {
    PyObject *parts = NULL;
    if (PyTuple_Check(item) || PyList_Check(item))
        parts = PySequence_Tuple(item);
    if (parts != NULL && (PyTuple_Size(parts) < least || PyTuple_Size(parts) > most))
        Py_CLEAR(parts);
    if (parts == NULL && !PyErr_Occurred())
        raise_kind(CONCORD_INVALID_OPERATION_FORMAT, "an item is a tuple of %s",
                   most == 3 ? "(key, value) or (key, value, ttl)" : "(key, ttl)");
    return parts;
}

static int put_item(request *r, size_t at, PyObject *parts, size_t value_bytes_max) {
    concord_put_item *item = &r->puts[at];
    size_t begin = r->value.len, left = BATCH_BYTES_MAX - begin;
    PyObject *ttl = PyTuple_Size(parts) == 3 ? PyTuple_GetItem(parts, 2) : NULL;
    if (key_of_item(PyTuple_GetItem(parts, 0), &item->key) < 0 || PyList_Append(r->held, PyTuple_GetItem(parts, 0)) < 0 ||
        ttl_of_object(ttl, CONCORD_INVALID_TTL, &item->ttl_ms) < 0)
        return -1;
    r->value.bytes_max = begin + (value_bytes_max < left ? value_bytes_max : left);
    if (encode_value(&r->value, PyTuple_GetItem(parts, 1), 1) < 0)
        return -1;
    /* The buffer may move while it grows: addresses follow when all items are there. */
    item->value = (concord_bytes){NULL, r->value.len - begin};
    return 0;
}

/* Calls `one` for each item's parts. */
static int each_item(request *r, PyObject *list, Py_ssize_t least, Py_ssize_t most, size_t value_bytes_max,
                     int (*one)(request *, size_t, PyObject *, size_t)) {
    r->count = (size_t)PyList_Size(list);
    r->held = PyList_New(0);
    if (r->held == NULL)
        return -1;
    for (size_t i = 0; i < r->count; i++) {
        PyObject *parts = item_parts(PyList_GetItem(list, (Py_ssize_t)i), least, most);
        int result = parts == NULL ? -1 : one(r, i, parts, value_bytes_max);
        Py_XDECREF(parts);
        if (result < 0)
            return -1;
    }
    return 0;
}

int build_put_many(request *r, size_t value_bytes_max, arguments given) {
    static const char *const names[] = {"items", "ttl", "compress", "timeout", "token", NULL};
    PyObject *in[5];
    request_init(r, PUT_MANY);
    if (sort_arguments("put_many", names, 1, 1, given, in) < 0 || token_of_object(in[4], &r->options.token) < 0)
        return -1;
    PyObject *list = pairs(in[0]);
    if (list == NULL)
        return -1;
    int result = -1;
    r->puts = PyMem_Calloc((size_t)PyList_Size(list) + 1, sizeof *r->puts);
    if (r->puts == NULL)
        PyErr_NoMemory();
    else if (each_item(r, list, 2, 3, value_bytes_max, put_item) == 0 &&
             ttl_of_object(in[1], CONCORD_INVALID_TTL, &r->options.ttl_ms) == 0 && compress_of(in[2], r) == 0)
        result = timeout_of_object(in[3], &r->options.timeout_ms);
    size_t at = 0;
    for (size_t i = 0; result == 0 && i < r->count; i++) {
        r->puts[i].value.data = r->value.data + at;
        at += r->puts[i].value.len;
    }
    Py_DECREF(list);
    return result;
}

int build_delete_many(request *r, size_t value_bytes_max, arguments given) {
    static const char *const names[] = {"keys", "timeout", "token", NULL};
    PyObject *in[3];
    (void)value_bytes_max;
    request_init(r, DELETE_MANY);
    if (sort_arguments("delete_many", names, 1, 1, given, in) < 0 || token_of_object(in[2], &r->options.token) < 0)
        return -1;
    if ((r->held = batch(in[0])) == NULL)
        return -1;
    r->count = (size_t)PyList_Size(r->held);
    if ((r->keys = PyMem_Calloc(r->count + 1, sizeof *r->keys)) == NULL)
        return PyErr_NoMemory(), -1;
    for (size_t i = 0; i < r->count; i++)
        if (key_of_item(PyList_GetItem(r->held, (Py_ssize_t)i), &r->keys[i]) < 0)
            return -1;
    return timeout_of_object(in[1], &r->options.timeout_ms);
}

static int touch_item(request *r, size_t at, PyObject *parts, size_t value_bytes_max) {
    concord_touch_item *item = &r->touches[at];
    PyObject *ttl = PyTuple_GetItem(parts, 1);
    (void)value_bytes_max;
    if (key_of_item(PyTuple_GetItem(parts, 0), &item->key) < 0 || PyList_Append(r->held, PyTuple_GetItem(parts, 0)) < 0)
        return -1;
    if (ttl == Py_None)
        return raise_kind(CONCORD_INVALID_TOUCH_OPERATION, "each item of a bulk touch needs a TTL"), -1;
    return ttl_of_object(ttl, CONCORD_INVALID_TOUCH_OPERATION, &item->ttl_ms);
}

int build_touch_many(request *r, size_t value_bytes_max, arguments given) {
    static const char *const names[] = {"items", "timeout", "token", NULL};
    PyObject *in[3];
    request_init(r, TOUCH_MANY);
    if (sort_arguments("touch_many", names, 1, 1, given, in) < 0 || token_of_object(in[2], &r->options.token) < 0)
        return -1;
    PyObject *list = pairs(in[0]);
    if (list == NULL)
        return -1;
    int result = -1;
    if ((r->touches = PyMem_Calloc((size_t)PyList_Size(list) + 1, sizeof *r->touches)) == NULL)
        PyErr_NoMemory();
    else if (each_item(r, list, 2, 2, value_bytes_max, touch_item) == 0)
        result = timeout_of_object(in[1], &r->options.timeout_ms);
    Py_DECREF(list);
    return result;
}

int build_get_record(request *r, size_t value_bytes_max, arguments given) {
    static const char *const names[] = {"key", "consistency", "timeout", "token", NULL};
    PyObject *in[4];
    (void)value_bytes_max;
    request_init(r, GET_RECORD);
    return sort_arguments("get_record", names, 1, 1, given, in) < 0 ||
                   token_of_object(in[3], &r->options.token) < 0 || key_of_object(in[0], &r->key) < 0 ||
                   consistency_of_object(in[1], &r->consistency) < 0 ||
                   timeout_of_object(in[2], &r->options.timeout_ms) < 0
               ? -1
               : 0;
}

/* Holds a selector for as long as the request. */
static int hold_selector(request *r, PyObject *tuple) {
    Py_INCREF(tuple);
    r->held = tuple;
    return selector_of_tuple(tuple, &r->selector);
}

int build_count(request *r, size_t value_bytes_max, arguments given) {
    static const char *const names[] = {"selector", "consistency", "timeout", "token", NULL};
    PyObject *in[4];
    (void)value_bytes_max;
    request_init(r, COUNT);
    return sort_arguments("count", names, 1, 1, given, in) < 0 || token_of_object(in[3], &r->options.token) < 0 ||
                   hold_selector(r, in[0]) < 0 || consistency_of_object(in[1], &r->consistency) < 0
               ? -1
               : timeout_of_object(in[2], &r->options.timeout_ms);
}

int build_delete_where(request *r, size_t value_bytes_max, arguments given) {
    static const char *const names[] = {"selector", "timeout", "token", NULL};
    PyObject *in[3];
    (void)value_bytes_max;
    request_init(r, DELETE_WHERE);
    return sort_arguments("delete_where", names, 1, 1, given, in) < 0 ||
                   token_of_object(in[2], &r->options.token) < 0 || hold_selector(r, in[0]) < 0
               ? -1
               : timeout_of_object(in[1], &r->options.timeout_ms);
}

static concord_status submit_read(const request *r, concord_queue *queue, uint64_t tag) {
    concord_read_options options = CONCORD_READ_OPTIONS_INIT;
    options.consistency = r->consistency;
    options.timeout_ms = r->options.timeout_ms;
    options.token = r->options.token;
    return r->verb == COUNT ? concord_count_async(queue, &r->selector, &options, tag)
                            : concord_get_async(queue, r->key, &options, tag);
}

concord_status request_submit(const request *r, concord_queue *queue, uint64_t tag) {
    switch (r->verb) {
    case GET_RECORD:
    case COUNT:
        return submit_read(r, queue, tag);
    case DELETE_WHERE:
        return concord_delete_where_async(queue, &r->selector, &r->options, tag);
    case PUT:
        return concord_put_async(queue, r->key, (concord_bytes){r->value.data, r->value.len}, &r->options, tag);
    case DELETE:
        return concord_delete_async(queue, r->key, &r->options, tag);
    case INCREMENT:
        return concord_increment_async(queue, r->key, r->by, r->initial, &r->options, tag);
    case TOUCH:
        return concord_touch_async(queue, r->key, r->ttl_ms, &r->options, tag);
    case PUT_MANY:
        return concord_put_many_async(queue, r->puts, r->count, &r->options, tag);
    case DELETE_MANY:
        return concord_delete_many_async(queue, r->keys, r->count, &r->options, tag);
    default:
        return concord_touch_many_async(queue, r->touches, r->count, &r->options, tag);
    }
}

PyObject *answer_of(verb which, const concord_completion *completion) {
    if (completion->status != CONCORD_OK)
        return raise_completion(completion);
    if (which == GET_RECORD)
        return record_of(completion);
    if (which == INCREMENT || which == COUNT || which == DELETE_WHERE)
        return PyLong_FromLongLong(completion->integer);
    if (which != TOUCH_MANY)
        Py_RETURN_NONE;
    PyObject *found = PyList_New((Py_ssize_t)completion->value.len);
    for (size_t i = 0; found != NULL && i < completion->value.len; i++)
        PyList_SetItem(found, (Py_ssize_t)i, PyBool_FromLong(completion->value.data[i]));
    return found;
}
