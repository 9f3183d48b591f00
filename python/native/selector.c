/* selector.c: which records a walk, a count or a removal is about, and expressions by themselves. */
#include "native.h"

/* Bytes that are said, or None. */
static int said(PyObject *object, void *place) {
    concord_bytes *bytes = place;
    *bytes = (concord_bytes){NULL, 0};
    if (object == Py_None)
        return 1;
    char *data;
    Py_ssize_t len;
    if (PyBytes_AsStringAndSize(object, &data, &len) < 0)
        return 0;
    *bytes = (concord_bytes){(const uint8_t *)data, (size_t)len};
    return 1;
}

int selector_of_tuple(PyObject *tuple, concord_selector *selector) {
    unsigned long long offset, limit;
    *selector = (concord_selector)CONCORD_SELECTOR_INIT;
    if (!PyTuple_Check(tuple)) {
        PyErr_SetString(PyExc_TypeError, "a selector is a tuple");
        return -1;
    }
    if (!PyArg_ParseTuple(tuple, "O&O&O&O&yO&O&O&KK:selector", said, &selector->prefix, said, &selector->suffix, said,
                          &selector->contains, said, &selector->pattern, &selector->pattern_flags, said,
                          &selector->range_from, said, &selector->range_to, said, &selector->where, &offset, &limit))
        return -1;
    selector->offset = offset;
    selector->limit = limit;
    return 0;
}

PyObject *native_expression_check(PyObject *module, PyObject *expression) {
    concord_bytes text;
    (void)module;
    if (!said(expression, &text))
        return NULL;
    concord_status status = concord_expression_check(text);
    if (status != CONCORD_OK)
        return raise_status(status);
    Py_RETURN_NONE;
}

PyObject *native_expression_holds(PyObject *module, PyObject *args) {
    concord_bytes text, key, value;
    unsigned long long revision;
    PyObject *ttl;
    uint64_t ttl_ms;
    bool holds;
    (void)module;
    if (!PyArg_ParseTuple(args, "O&O&O&KO:expression_holds", said, &text, said, &key, said, &value, &revision, &ttl) ||
        ttl_of_object(ttl, CONCORD_INVALID_TTL, &ttl_ms) < 0)
        return NULL;
    concord_status status = concord_expression_holds(text, key, value, revision, ttl_ms, &holds);
    return status == CONCORD_OK ? PyBool_FromLong(holds) : raise_status(status);
}
