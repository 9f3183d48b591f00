/* arguments.c: what Python calls are given, as the library takes it. Wrong types are TypeError, wrong values their kind. */
#include "native.h"

#include <math.h>
#include <string.h>

int sort_arguments(const char *verb_name, const char *const *names, int positional, int required, arguments given,
                   PyObject **out) {
    int count = 0;
    while (names[count] != NULL)
        out[count++] = NULL;
    if (given.count > positional) {
        PyErr_Format(PyExc_TypeError, "%s() takes at most %d positional arguments (%zd given)", verb_name, positional,
                     given.count);
        return -1;
    }
    for (Py_ssize_t i = 0; i < given.count; i++)
        out[i] = given.values[i];
    Py_ssize_t named = given.keywords == NULL ? 0 : PyTuple_Size(given.keywords);
    for (Py_ssize_t i = 0; i < named; i++) {
        PyObject *keyword = PyTuple_GetItem(given.keywords, i);
        int at = 0;
        while (at < count && PyUnicode_CompareWithASCIIString(keyword, names[at]) != 0)
            at++;
        if (at == count) {
            PyErr_Format(PyExc_TypeError, "%s() got an unexpected keyword argument '%U'", verb_name, keyword);
            return -1;
        }
        if (out[at] != NULL) {
            PyErr_Format(PyExc_TypeError, "%s() got multiple values for argument '%s'", verb_name, names[at]);
            return -1;
        }
        out[at] = given.values[given.count + i];
    }
    for (int i = 0; i < required; i++) {
        if (out[i] == NULL) {
            PyErr_Format(PyExc_TypeError, "%s() missing required argument '%s'", verb_name, names[i]);
            return -1;
        }
    }
    return 0;
}

static int wrong_type(const char *what, PyObject *object) {
    PyObject *name = PyObject_GetAttrString((PyObject *)Py_TYPE(object), "__qualname__");
    if (name != NULL)
        PyErr_Format(PyExc_TypeError, "%s, not %U", what, name);
    Py_XDECREF(name);
    return -1;
}

int key_of_object(PyObject *object, concord_bytes *key) {
    Py_ssize_t len;
    if (PyUnicode_Check(object)) {
        key->data = (const uint8_t *)PyUnicode_AsUTF8AndSize(object, &len);
        if (key->data == NULL)
            return raise_instead(CONCORD_INVALID_KEY, "the key has lone surrogates, so it is not UTF-8"), -1;
    } else if (PyBytes_Check(object)) {
        char *data;
        if (PyBytes_AsStringAndSize(object, &data, &len) < 0)
            return -1;
        key->data = (const uint8_t *)data;
    } else {
        return wrong_type("a key is str or bytes", object);
    }
    key->len = (size_t)len;
    if (len == 0 || len > KEY_BYTES_MAX) {
        raise_kind(CONCORD_INVALID_KEY, "a key is 1 to %d bytes, this one has %zd", KEY_BYTES_MAX, len);
        return -1;
    }
    return 0;
}

int key_of_item(PyObject *object, concord_bytes *key) {
    if (!PyUnicode_Check(object) && !PyBytes_Check(object)) {
        raise_kind(CONCORD_INVALID_OPERATION_FORMAT, "the key of an item is str or bytes");
        return -1;
    }
    return key_of_object(object, key);
}

int ttl_of_object(PyObject *object, concord_status status, uint64_t *ttl_ms) {
    *ttl_ms = 0;
    if (object == NULL || object == Py_None)
        return 0;
    if (PyBool_Check(object) || (!PyFloat_Check(object) && !PyLong_Check(object) && !PyIndex_Check(object)))
        return wrong_type("a TTL is seconds as int or float, or None", object);
    double seconds = PyFloat_Check(object) ? PyFloat_AsDouble(object) : 0;
    if (!PyFloat_Check(object)) {
        int overflow;
        PyObject *number = PyNumber_Index(object);
        if (number == NULL)
            return -1;
        long long whole = PyLong_AsLongLongAndOverflow(number, &overflow);
        Py_DECREF(number);
        if (overflow == 0 && whole > 0 && (uint64_t)whole <= TTL_MS_MAX / 1000) {
            *ttl_ms = (uint64_t)whole * 1000;
            return 0;
        }
    } else if (seconds >= 0.001 && seconds <= (double)(TTL_MS_MAX / 1000)) {
        *ttl_ms = (uint64_t)llround(seconds * 1000.0);
        return 0;
    }
    raise_kind(status, "a TTL is 0.001 seconds to 1,000 years");
    return -1;
}

int timeout_of_object(PyObject *object, uint64_t *timeout_ms) {
    *timeout_ms = 0;
    if (object == NULL || object == Py_None)
        return 0;
    if (PyBool_Check(object) || (!PyFloat_Check(object) && !PyLong_Check(object)))
        return wrong_type("a timeout is seconds as int or float, or None", object);
    double seconds = PyFloat_AsDouble(object);
    if (seconds == -1.0 && PyErr_Occurred()) {
        if (!PyErr_ExceptionMatches(PyExc_OverflowError))
            return -1;
        PyErr_Clear();
    }
    if (!(seconds >= 0.001 && seconds <= 1e9)) {
        raise_kind(CONCORD_INVALID_CONFIG, "a timeout is at least 0.001 seconds");
        return -1;
    }
    *timeout_ms = (uint64_t)llround(seconds * 1000.0);
    return 0;
}

int consistency_of_object(PyObject *object, int32_t *consistency) {
    *consistency = CONCORD_CONSISTENCY_DEFAULT;
    if (object == NULL || object == Py_None)
        return 0;
    if (!PyUnicode_Check(object))
        return wrong_type("consistency is a str", object);
    if (PyUnicode_CompareWithASCIIString(object, "eventual") == 0)
        *consistency = CONCORD_CONSISTENCY_EVENTUAL;
    else if (PyUnicode_CompareWithASCIIString(object, "leader") == 0)
        *consistency = CONCORD_CONSISTENCY_LEADER;
    else if (PyUnicode_CompareWithASCIIString(object, "strong") == 0)
        *consistency = CONCORD_CONSISTENCY_STRONG;
    else
        return raise_kind(CONCORD_INVALID_CONFIG, "consistency is \"eventual\", \"leader\" or \"strong\""), -1;
    return 0;
}

int int64_of_object(PyObject *object, const char *name, int64_t *number) {
    if (object == NULL)
        return 0;
    if (!PyLong_Check(object) || PyBool_Check(object)) {
        PyErr_Format(PyExc_TypeError, "%s is an int", name);
        return -1;
    }
    int overflow;
    *number = PyLong_AsLongLongAndOverflow(object, &overflow);
    if (overflow != 0) {
        raise_kind(CONCORD_VALUE_TOO_LARGE, "%s does not fit into 64 bits", name);
        return -1;
    }
    return *number == -1 && PyErr_Occurred() ? -1 : 0;
}

PyObject *key_to_object(concord_bytes key) {
    PyObject *text = PyUnicode_DecodeUTF8((const char *)key.data, (Py_ssize_t)key.len, NULL);
    if (text == NULL && PyErr_ExceptionMatches(PyExc_UnicodeDecodeError)) {
        PyErr_Clear();
        return PyBytes_FromStringAndSize((const char *)key.data, (Py_ssize_t)key.len);
    }
    return text;
}

PyObject *ttl_to_object(uint64_t ttl_ms) {
    if (ttl_ms == 0)
        Py_RETURN_NONE;
    return PyFloat_FromDouble((double)ttl_ms / 1000.0);
}
