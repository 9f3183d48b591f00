/* value_encode.c: Python objects to CBOR, shortest heads, definite lengths, straight into one growing buffer. */
#include "native.h"

#include <stdlib.h>
#include <string.h>

void encoder_init(encoder *e, size_t bytes_max) {
    e->data = e->first;
    e->len = 0;
    e->capacity = sizeof e->first;
    e->bytes_max = bytes_max;
}

void encoder_free(encoder *e) {
    if (e->data != e->first)
        free(e->data);
    e->data = e->first;
    e->len = 0;
    e->capacity = sizeof e->first;
}

/* Makes room for `more` bytes; what would exceed the cap is refused before anything is allocated. */
static int reserve(encoder *e, size_t more) {
    if (more <= e->capacity - e->len)
        return 0;
    if (more > e->bytes_max || e->len > e->bytes_max - more) {
        raise_kind(CONCORD_VALUE_TOO_LARGE, "the value is larger than %zu bytes; store a reference to it instead",
                   e->bytes_max);
        return -1;
    }
    size_t capacity = e->capacity * 2;
    if (capacity < e->len + more)
        capacity = e->len + more;
    uint8_t *data = realloc(e->data == e->first ? NULL : e->data, capacity);
    if (data == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    if (e->data == e->first)
        memcpy(data, e->first, e->len);
    e->data = data;
    e->capacity = capacity;
    return 0;
}

int encode_raw(encoder *e, const void *bytes, size_t len) {
    if (reserve(e, len) < 0)
        return -1;
    if (len > 0)
        memcpy(e->data + e->len, bytes, len);
    e->len += len;
    return 0;
}

int encode_head(encoder *e, uint8_t major, uint64_t number) {
    if (reserve(e, 9) < 0)
        return -1;
    uint8_t *at = e->data + e->len;
    major <<= 5;
    int bytes;
    if (number < 24) {
        *at = (uint8_t)(major | number);
        e->len += 1;
        return 0;
    } else if (number <= UINT8_MAX) {
        *at = major | 24, bytes = 1;
    } else if (number <= UINT16_MAX) {
        *at = major | 25, bytes = 2;
    } else if (number <= UINT32_MAX) {
        *at = major | 26, bytes = 4;
    } else {
        *at = major | 27, bytes = 8;
    }
    for (int i = bytes; i > 0; i--, number >>= 8)
        at[i] = (uint8_t)number;
    e->len += 1 + (size_t)bytes;
    return 0;
}

static int encode_string(encoder *e, uint8_t major, const void *bytes, size_t len) {
    return encode_head(e, major, len) < 0 ? -1 : encode_raw(e, bytes, len);
}

int encode_text(encoder *e, PyObject *text, const char *what) {
    Py_ssize_t len;
    const char *utf8 = PyUnicode_AsUTF8AndSize(text, &len);
    if (utf8 == NULL) {
        raise_instead(CONCORD_INVALID_VALUE, what);
        return -1;
    }
    return encode_string(e, 3, utf8, (size_t)len);
}

/* Beyond 64 bits: tag 2 or 3 over the magnitude. `number` is >= 2^64, already complemented when negative. */
static int encode_big(encoder *e, PyObject *number, bool negative) {
    int result = -1;
    PyObject *bits = PyObject_CallMethod(number, "bit_length", NULL), *bytes = NULL;
    if (bits == NULL)
        return -1;
    long long count = PyLong_AsLongLong(bits);
    Py_DECREF(bits);
    if (count < 0)
        return -1;
    count = (count + 7) / 8;
    if ((unsigned long long)count > e->bytes_max) {
        raise_kind(CONCORD_VALUE_TOO_LARGE, "the integer is larger than %zu bytes", e->bytes_max);
        return -1;
    }
    bytes = PyObject_CallMethod(number, "to_bytes", "Ls", count, "big");
    if (bytes == NULL)
        return -1;
    if (encode_head(e, 6, negative ? TAG_BIG_NEGATIVE : TAG_BIG_POSITIVE) == 0)
        result = encode_string(e, 2, PyBytes_AsString(bytes), (size_t)PyBytes_Size(bytes));
    Py_DECREF(bytes);
    return result;
}

int encode_int(encoder *e, PyObject *value) {
    int overflow;
    long long small = PyLong_AsLongLongAndOverflow(value, &overflow);
    if (overflow == 0) {
        if (small == -1 && PyErr_Occurred())
            return -1;
        return small >= 0 ? encode_head(e, 0, (uint64_t)small) : encode_head(e, 1, ~(uint64_t)small);
    }
    /* Exactly an int from here on, so that no subclass's methods are called. */
    PyObject *magnitude = overflow > 0 ? PyNumber_Long(value) : PyNumber_Invert(value);
    if (magnitude == NULL)
        return -1;
    int result;
    unsigned long long wide = PyLong_AsUnsignedLongLong(magnitude);
    if (wide == (unsigned long long)-1 && PyErr_Occurred()) {
        if (!PyErr_ExceptionMatches(PyExc_OverflowError)) {
            result = -1;
        } else {
            PyErr_Clear();
            result = encode_big(e, magnitude, overflow < 0);
        }
    } else {
        result = encode_head(e, overflow < 0 ? 1 : 0, wide);
    }
    Py_DECREF(magnitude);
    return result;
}

static int encode_float(encoder *e, PyObject *value) {
    double number = PyFloat_AsDouble(value);
    if (number == -1.0 && PyErr_Occurred())
        return -1;
    uint64_t bits;
    memcpy(&bits, &number, sizeof bits);
    uint8_t out[9] = {0xfb};
    for (int i = 8; i > 0; i--, bits >>= 8)
        out[i] = (uint8_t)bits;
    return encode_raw(e, out, sizeof out);
}

static int encode_list(encoder *e, PyObject *list, int depth) {
    Py_ssize_t count = PyList_Size(list);
    if (encode_head(e, 4, (uint64_t)count) < 0)
        return -1;
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *item = PyList_GetItem(list, i);
        if (item == NULL)
            return -1;
        Py_INCREF(item);
        int result = encode_value(e, item, depth + 1);
        Py_DECREF(item);
        if (result < 0)
            return -1;
    }
    if (PyList_Size(list) != count) {
        PyErr_SetString(PyExc_RuntimeError, "list changed size while it was encoded");
        return -1;
    }
    return 0;
}

static int encode_tuple(encoder *e, PyObject *tuple, int depth) {
    Py_ssize_t count = PyTuple_Size(tuple);
    if (encode_head(e, 6, TAG_TUPLE) < 0 || encode_head(e, 4, (uint64_t)count) < 0)
        return -1;
    for (Py_ssize_t i = 0; i < count; i++)
        if (encode_value(e, PyTuple_GetItem(tuple, i), depth + 1) < 0)
            return -1;
    return 0;
}

static int encode_dict(encoder *e, PyObject *dict, int depth) {
    Py_ssize_t count = PyDict_Size(dict), position = 0, seen = 0;
    if (encode_head(e, 5, (uint64_t)count) < 0)
        return -1;
    PyObject *key, *value;
    while (PyDict_Next(dict, &position, &key, &value)) {
        Py_INCREF(key);
        Py_INCREF(value);
        int result = encode_value(e, key, depth + 1);
        if (result == 0)
            result = encode_value(e, value, depth + 1);
        Py_DECREF(key);
        Py_DECREF(value);
        if (result < 0)
            return -1;
        if (PyDict_Size(dict) != count || ++seen > count)
            break;
    }
    if (seen != count || PyDict_Size(dict) != count) {
        PyErr_SetString(PyExc_RuntimeError, "dictionary changed size while it was encoded");
        return -1;
    }
    return 0;
}

typedef struct {
    const uint8_t *data;
    size_t len;
} element;

static int element_order(const void *left, const void *right) {
    const element *a = left, *b = right;
    size_t shorter = a->len < b->len ? a->len : b->len;
    int order = memcmp(a->data, b->data, shorter);
    return order != 0 ? order : (a->len > b->len) - (a->len < b->len);
}

/* A set has no order and Python's differs from process to process: its elements are written sorted by their bytes. */
static int encode_set(encoder *e, PyObject *set, int depth) {
    Py_ssize_t count = PySet_Size(set), seen = 0;
    if (encode_head(e, 6, TAG_SET) < 0 || encode_head(e, 4, (uint64_t)count) < 0)
        return -1;
    PyObject *iterator = PyObject_GetIter(set), *item;
    if (iterator == NULL)
        return -1;
    int result = -1;
    size_t begin = e->len;
    size_t *ends = PyMem_Malloc(((size_t)count + 1) * sizeof *ends);
    element *elements = PyMem_Malloc(((size_t)count + 1) * sizeof *elements);
    uint8_t *sorted = NULL;
    if (ends == NULL || elements == NULL) {
        PyErr_NoMemory();
        goto done;
    }
    while ((item = PyIter_Next(iterator)) != NULL) {
        int one = seen < count ? encode_value(e, item, depth + 1) : -2;
        Py_DECREF(item);
        if (one == -1)
            goto done;
        if (one == -2)
            break;
        ends[seen++] = e->len;
    }
    if (PyErr_Occurred())
        goto done;
    if (seen != count) {
        PyErr_SetString(PyExc_RuntimeError, "set changed size while it was encoded");
        goto done;
    }
    if (count > 1) {
        size_t total = e->len - begin, at = 0;
        sorted = PyMem_Malloc(total);
        if (sorted == NULL) {
            PyErr_NoMemory();
            goto done;
        }
        for (Py_ssize_t i = 0; i < count; i++) {
            size_t from = i == 0 ? begin : ends[i - 1];
            elements[i] = (element){e->data + from, ends[i] - from};
        }
        qsort(elements, (size_t)count, sizeof *elements, element_order);
        for (Py_ssize_t i = 0; i < count; i++) {
            memcpy(sorted + at, elements[i].data, elements[i].len);
            at += elements[i].len;
        }
        memcpy(e->data + begin, sorted, total);
    }
    result = 0;
done:
    PyMem_Free(sorted);
    PyMem_Free(elements);
    PyMem_Free(ends);
    Py_DECREF(iterator);
    return result;
}

static int encode_struct(encoder *e, PyObject *value, int depth) {
    int result = -1;
    PyObject *name = PyObject_GetAttrString(value, "name"), *fields = PyObject_GetAttrString(value, "fields");
    if (name != NULL && fields != NULL) {
        if (!PyUnicode_Check(name) || !PyDict_Check(fields))
            raise_kind(CONCORD_INVALID_VALUE, "a Struct has a text as name and a dict as fields");
        else if (encode_head(e, 6, TAG_STRUCT) == 0 && encode_head(e, 4, 2) == 0 &&
                 encode_text(e, name, "the name of a Struct is no valid text") == 0)
            result = encode_value(e, fields, depth + 1);
    }
    Py_XDECREF(name);
    Py_XDECREF(fields);
    return result;
}

static int encode_bytes(encoder *e, PyObject *value) {
    char *data;
    Py_ssize_t len;
    if (PyBytes_Check(value))
        return PyBytes_AsStringAndSize(value, &data, &len) < 0 ? -1 : encode_string(e, 2, data, (size_t)len);
    if (PyByteArray_Check(value))
        return encode_string(e, 2, PyByteArray_AsString(value), (size_t)PyByteArray_Size(value));
    PyObject *copy = PyBytes_FromObject(value);
    if (copy == NULL)
        return -1;
    int result = encode_bytes(e, copy);
    Py_DECREF(copy);
    return result;
}

static int refuse(PyObject *value) {
    PyObject *name = PyObject_GetAttrString((PyObject *)Py_TYPE(value), "__qualname__");
    if (name == NULL)
        return -1;
    const char *text = PyUnicode_AsUTF8AndSize(name, NULL);
    if (text != NULL)
        raise_kind(CONCORD_INVALID_VALUE, "a value of type %s cannot be stored", text);
    Py_DECREF(name);
    return -1;
}

/* Instances of classes from other modules and of subclasses. */
static int encode_instance(encoder *e, PyObject *value, int depth) {
    const struct {
        PyObject *type;
        int kind;
    } kinds[] = {{g.structure, 0}, {g.datetime, 1}, {g.date, 2}, {g.time, 3}, {g.decimal, 4}};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        int is = PyObject_IsInstance(value, kinds[i].type);
        if (is < 0)
            return -1;
        if (!is)
            continue;
        switch (kinds[i].kind) {
        case 0:
            return encode_struct(e, value, depth);
        case 1:
            return encode_datetime(e, value, depth);
        case 2:
            return encode_date(e, value);
        case 3:
            return encode_time(e, value);
        default:
            return encode_decimal(e, value, depth);
        }
    }
    return refuse(value);
}

int encode_value(encoder *e, PyObject *value, int depth) {
    static const uint8_t null = 0xf6, no = 0xf4, yes = 0xf5;
    if (depth > VALUE_DEPTH_MAX) {
        raise_kind(CONCORD_INVALID_VALUE, "the value is nested deeper than %d levels (or contains itself)",
                   VALUE_DEPTH_MAX);
        return -1;
    }
    if (value == Py_None)
        return encode_raw(e, &null, 1);
    if (value == Py_True || value == Py_False)
        return encode_raw(e, value == Py_True ? &yes : &no, 1);
    if (PyUnicode_Check(value)) {
        if ((PyObject *)Py_TYPE(value) == g.atom && encode_head(e, 6, TAG_ATOM) < 0)
            return -1;
        return encode_text(e, value, "the text has lone surrogates, so it is not UTF-8");
    }
    if (PyLong_Check(value))
        return encode_int(e, value);
    if (PyFloat_Check(value))
        return encode_float(e, value);
    if (PyDict_Check(value))
        return encode_dict(e, value, depth);
    if (PyList_Check(value))
        return encode_list(e, value, depth);
    if (PyTuple_Check(value))
        return encode_tuple(e, value, depth);
    if (PyBytes_Check(value) || PyByteArray_Check(value) || PyMemoryView_Check(value))
        return encode_bytes(e, value);
    if (PyAnySet_Check(value))
        return encode_set(e, value, depth);
    return encode_instance(e, value, depth);
}

PyObject *native_encode(PyObject *module, PyObject *value) {
    (void)module;
    encoder e;
    encoder_init(&e, VALUE_BYTES_MAX_CEILING);
    PyObject *bytes = NULL;
    if (encode_value(&e, value, 1) == 0)
        bytes = PyBytes_FromStringAndSize((const char *)e.data, (Py_ssize_t)e.len);
    encoder_free(&e);
    return bytes;
}
