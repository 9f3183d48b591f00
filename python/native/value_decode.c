/*
 * value_decode.c: CBOR to Python objects, for bytes that nobody has checked.
 *
 * - Nesting is limited before recursion, lengths are compared with what is there before anything is allocated.
 * - Short names (keys of dicts, atoms) are remembered, because the same few come again and again.
 */
#include "native.h"

#include <math.h>
#include <string.h>

enum { UNSIGNED, NEGATIVE, BYTES, TEXT, ARRAY, MAP, TAG, SIMPLE };
#define INDEFINITE 31
#define BREAK 0xff
#define LIST_RESERVED_MAX 1024

typedef struct {
    const uint8_t *bytes;
    size_t len, at;
} reader;

typedef struct {
    uint8_t major, info;
    uint64_t argument;
} head;

static PyObject *item(reader *r, int depth, bool is_key);

static PyObject *fault(size_t at, const char *reason) {
    return raise_kind(CONCORD_INVALID_VALUE, "%s at byte %zu", reason, at);
}

static bool read_head(reader *r, head *h) {
    size_t start = r->at;
    if (r->at >= r->len)
        return fault(r->len, "the value ends in the middle of an item"), false;
    uint8_t first = r->bytes[r->at++];
    h->major = first >> 5;
    h->info = first & 31;
    h->argument = h->info;
    if (h->info < 24)
        return true;
    if (h->info == INDEFINITE && ((h->major >= BYTES && h->major <= MAP) || h->major == SIMPLE)) {
        h->argument = 0;
        return true;
    }
    if (h->info > 27)
        return fault(start, "reserved additional information"), false;
    size_t width = (size_t)1 << (h->info - 24);
    if (width > r->len - r->at)
        return fault(r->len, "the value ends in the middle of an item"), false;
    h->argument = 0;
    for (size_t i = 0; i < width; i++)
        h->argument = h->argument << 8 | r->bytes[r->at++];
    return true;
}

/* Content of a string of definite length. */
static const char *take(reader *r, uint64_t len) {
    if (len > r->len - r->at)
        return fault(r->at, "a length passes the end of the value"), NULL;
    const char *data = (const char *)r->bytes + r->at;
    r->at += (size_t)len;
    return data;
}

static PyObject *text_of(const char *data, size_t len, size_t at) {
    PyObject *text = PyUnicode_DecodeUTF8(data, (Py_ssize_t)len, NULL);
    if (text == NULL && PyErr_ExceptionMatches(PyExc_UnicodeDecodeError)) {
        PyErr_Clear();
        fault(at, "text that is not UTF-8");
    }
    return text;
}

static PyObject *string(reader *r, head h) {
    if (h.info != INDEFINITE) {
        size_t at = r->at;
        const char *data = take(r, h.argument);
        if (data == NULL)
            return NULL;
        return h.major == TEXT ? text_of(data, (size_t)h.argument, at)
                               : PyBytes_FromStringAndSize(data, (Py_ssize_t)h.argument);
    }
    PyObject *parts = PyList_New(0), *joined = NULL;
    if (parts == NULL)
        return NULL;
    for (;;) {
        size_t start = r->at;
        head chunk;
        if (!read_head(r, &chunk))
            goto done;
        if (chunk.major == SIMPLE && chunk.info == INDEFINITE)
            break;
        if (chunk.major != h.major || chunk.info == INDEFINITE) {
            fault(start, "a chunk that is no string of its kind");
            goto done;
        }
        PyObject *part = string(r, chunk);
        int added = part == NULL ? -1 : PyList_Append(parts, part);
        Py_XDECREF(part);
        if (added < 0)
            goto done;
    }
    if (h.major == BYTES) {
        joined = PyObject_CallMethod(g.empty_bytes, "join", "(O)", parts);
    } else {
        PyObject *nothing = PyUnicode_FromStringAndSize("", 0);
        joined = nothing == NULL ? NULL : PyUnicode_Join(nothing, parts);
        Py_XDECREF(nothing);
    }
done:
    Py_DECREF(parts);
    return joined;
}

#define NAME_BYTES_MAX 40
#define NAMES 2048

typedef struct {
    PyObject *object;
    uint8_t len, is_atom;
    char text[NAME_BYTES_MAX];
} name;

static name names[NAMES];

static PyObject *atom_of(PyObject *text) {
    return text == NULL ? NULL : PyObject_CallFunctionObjArgs(g.atom, text, NULL);
}

/* A short text or atom, from the memory of recent ones. */
static PyObject *remembered(const char *data, size_t len, size_t at, bool is_atom) {
    uint32_t hash = 2166136261u ^ is_atom;
    for (size_t i = 0; i < len; i++)
        hash = (hash ^ (uint8_t)data[i]) * 16777619u;
    name *slot = &names[(hash ^ hash >> 16) % NAMES];
    if (slot->object != NULL && slot->len == len && slot->is_atom == is_atom && memcmp(slot->text, data, len) == 0) {
        Py_INCREF(slot->object);
        return slot->object;
    }
    PyObject *object = text_of(data, len, at);
    if (is_atom) {
        PyObject *text = object;
        object = atom_of(text);
        Py_XDECREF(text);
    }
    if (object == NULL)
        return NULL;
    PyObject *old = slot->object;
    Py_INCREF(object);
    slot->object = object;
    slot->len = (uint8_t)len;
    slot->is_atom = is_atom;
    memcpy(slot->text, data, len);
    Py_XDECREF(old);
    return object;
}

static PyObject *atom(reader *r, head h) {
    if (h.info != INDEFINITE && h.argument <= NAME_BYTES_MAX) {
        size_t at = r->at;
        const char *data = take(r, h.argument);
        return data == NULL ? NULL : remembered(data, (size_t)h.argument, at, true);
    }
    PyObject *text = string(r, h), *made = atom_of(text);
    Py_XDECREF(text);
    return made;
}

/* Whether another item follows; `left` is -1 for an array or map of indefinite length. 1, 0 or -1. */
static int more(reader *r, int64_t *left) {
    if (*left >= 0)
        return *left > 0 ? (--*left, 1) : 0;
    if (r->at >= r->len)
        return fault(r->len, "the value ends in the middle of an item"), -1;
    if (r->bytes[r->at] != BREAK)
        return 1;
    r->at++;
    return 0;
}

static bool announced(reader *r, head h, uint64_t width, int64_t *left) {
    *left = -1;
    if (h.info == INDEFINITE)
        return true;
    /* Each item takes at least a byte, so nobody can announce more than there is. */
    if (h.argument > (r->len - r->at) / width)
        return fault(r->at, "a length passes the end of the value"), false;
    *left = (int64_t)h.argument;
    return true;
}

static PyObject *list(reader *r, head h, int depth, bool is_key) {
    int64_t left;
    if (!announced(r, h, 1, &left))
        return NULL;
    /* Long lists grow as items come, or nested announcements would reserve far more than there is. */
    if (left >= 0 && left <= LIST_RESERVED_MAX) {
        PyObject *items = PyList_New((Py_ssize_t)left);
        if (items == NULL)
            return NULL;
        for (Py_ssize_t i = 0; i < left; i++) {
            PyObject *element = item(r, depth + 1, is_key);
            if (element == NULL) {
                Py_DECREF(items);
                return NULL;
            }
            PyList_SetItem(items, i, element);
        }
        return items;
    }
    PyObject *items = PyList_New(0);
    int next = -1;
    while (items != NULL && (next = more(r, &left)) == 1) {
        PyObject *element = item(r, depth + 1, is_key);
        int added = element == NULL ? -1 : PyList_Append(items, element);
        Py_XDECREF(element);
        if (added < 0)
            break;
    }
    if (items != NULL && next != 0)
        Py_CLEAR(items);
    return items;
}

static PyObject *as_tuple(PyObject *items) {
    PyObject *tuple = items == NULL ? NULL : PyList_AsTuple(items);
    Py_XDECREF(items);
    return tuple;
}

/* TypeError of an unhashable key becomes invalid_value. */
static void refuse_key(size_t at) {
    if (PyErr_ExceptionMatches(PyExc_TypeError)) {
        PyErr_Clear();
        fault(at, "a map or struct inside a key or a set, which Python cannot hold,");
    }
}

static PyObject *set(reader *r, head h, int depth, bool is_key) {
    size_t at = r->at;
    PyObject *items = list(r, h, depth, true);
    if (items == NULL)
        return NULL;
    PyObject *made = is_key ? PyFrozenSet_New(items) : PySet_New(items);
    Py_ssize_t count = PyList_Size(items);
    Py_DECREF(items);
    if (made == NULL) {
        refuse_key(at);
    } else if (PySet_Size(made) != count) {
        Py_CLEAR(made);
        fault(at, "a set with elements that are equal in Python (such as 1 and 1.0)");
    }
    return made;
}

/*
 * After a key that was there already: the last one wins, unless Python only takes two different keys for equal.
 * `*seen` maps each key to the object that the dict holds; it is built when it is first needed.
 */
static bool same_type(PyObject *dict, PyObject *key, PyObject **seen, size_t at) {
    if (*seen == NULL) {
        Py_ssize_t position = 0;
        PyObject *other, *value;
        if ((*seen = PyDict_New()) == NULL)
            return false;
        while (PyDict_Next(dict, &position, &other, &value))
            if (PyDict_SetItem(*seen, other, other) < 0)
                return false;
    }
    PyObject *held = PyDict_GetItemWithError(*seen, key);
    if (held == NULL)
        return false;
    if (Py_TYPE(held) != Py_TYPE(key))
        return fault(at, "a map with keys that are equal in Python (such as 1 and 1.0)"), false;
    return true;
}

static PyObject *key_of(reader *r, int depth) {
    size_t start = r->at;
    if (start < r->len && r->bytes[start] >> 5 == TEXT && depth <= VALUE_DEPTH_MAX) {
        head h;
        if (!read_head(r, &h))
            return NULL;
        if (h.info != INDEFINITE && h.argument <= NAME_BYTES_MAX) {
            const char *data = take(r, h.argument);
            return data == NULL ? NULL : remembered(data, (size_t)h.argument, start, false);
        }
        return string(r, h);
    }
    return item(r, depth, true);
}

static PyObject *map(reader *r, head h, int depth, bool is_key) {
    int64_t left;
    size_t at = r->at;
    if (is_key)
        return fault(at, "a map or struct inside a key or a set, which Python cannot hold,");
    if (!announced(r, h, 2, &left))
        return NULL;
    PyObject *dict = PyDict_New(), *key = NULL, *value = NULL, *seen = NULL;
    if (dict == NULL)
        return NULL;
    int next;
    Py_ssize_t count = 0;
    while ((next = more(r, &left)) == 1) {
        at = r->at;
        if ((key = key_of(r, depth + 1)) == NULL || (value = item(r, depth + 1, false)) == NULL)
            goto failed;
        if (PyDict_SetItem(dict, key, value) < 0) {
            refuse_key(at);
            goto failed;
        }
        if (PyDict_Size(dict) == count && !same_type(dict, key, &seen, at))
            goto failed;
        if (PyDict_Size(dict) != count && seen != NULL && PyDict_SetItem(seen, key, key) < 0)
            goto failed;
        count = PyDict_Size(dict);
        Py_CLEAR(key);
        Py_CLEAR(value);
    }
    if (next < 0)
        Py_CLEAR(dict);
    Py_XDECREF(seen);
    return dict;
failed:
    Py_XDECREF(key);
    Py_XDECREF(value);
    Py_XDECREF(seen);
    Py_DECREF(dict);
    return NULL;
}

static PyObject *big(reader *r, head h, bool negative) {
    PyObject *bytes = string(r, h);
    if (bytes == NULL)
        return NULL;
    PyObject *number = PyObject_CallMethod((PyObject *)&PyLong_Type, "from_bytes", "Os", bytes, "big");
    Py_DECREF(bytes);
    if (number == NULL || !negative)
        return number;
    PyObject *inverted = PyNumber_Invert(number);
    Py_DECREF(number);
    return inverted;
}

static PyObject *time_like(reader *r, head h, uint64_t tag, size_t at) {
    PyObject *text = string(r, h), *made = NULL;
    if (text == NULL)
        return NULL;
    Py_ssize_t len;
    const char *utf8 = PyUnicode_AsUTF8AndSize(text, &len);
    if (utf8 != NULL) {
        if (tag == TAG_DATE)
            made = date_from_text(utf8, (size_t)len);
        else if (tag == TAG_TIME)
            made = time_from_text(utf8, (size_t)len);
        else
            made = datetime_from_text(utf8, (size_t)len, tag == TAG_NAIVE_DATETIME);
        if (made == NULL && !PyErr_Occurred())
            fault(at, "a date or time that is not such text, or beyond Python's years 1 to 9999,");
    }
    Py_DECREF(text);
    return made;
}

static PyObject *structure(PyObject *parts, size_t at) {
    PyObject *struct_name = PyList_Size(parts) == 2 ? PyList_GetItem(parts, 0) : NULL;
    PyObject *fields = struct_name != NULL ? PyList_GetItem(parts, 1) : NULL;
    if (fields == NULL || (PyObject *)Py_TYPE(struct_name) != (PyObject *)&PyUnicode_Type || !PyDict_Check(fields))
        return fault(at, "a struct that is not [name, map of fields]");
    PyObject *decimal = decimal_from_struct(struct_name, fields);
    if (decimal != NULL || PyErr_Occurred())
        return decimal;
    return PyObject_CallFunctionObjArgs(g.structure, struct_name, fields, NULL);
}

/* Tags over an array of fixed shape: its parts are read as a list, then judged. */
static PyObject *shaped(reader *r, head h, uint64_t tag, int depth, bool is_key, size_t at) {
    if (tag == TAG_STRUCT && is_key)
        return fault(at, "a map or struct inside a key or a set, which Python cannot hold,");
    PyObject *parts = list(r, h, depth, false), *made = NULL;
    if (parts == NULL)
        return NULL;
    if (tag == TAG_STRUCT) {
        made = structure(parts, at);
    } else if (tag == TAG_DECIMAL) {
        made = decimal_from_parts(parts);
        if (made == NULL && !PyErr_Occurred())
            fault(at, "a decimal that is not [exponent of 64 bits, integer], or beyond Python's range,");
    } else {
        made = zoned_from_parts(parts);
        if (made == NULL && !PyErr_Occurred())
            fault(at, "a point in time in a zone that is not such parts, or beyond Python's years 1 to 9999,");
    }
    Py_DECREF(parts);
    return made;
}

static PyObject *tagged(reader *r, uint64_t tag, size_t at, int depth, bool is_key) {
    head h;
    if (!read_head(r, &h))
        return NULL;
    switch (tag) {
    case TAG_ATOM:
        return h.major == TEXT ? atom(r, h) : fault(at, "an atom that is not text");
    case TAG_BIG_POSITIVE:
    case TAG_BIG_NEGATIVE:
        return h.major == BYTES ? big(r, h, tag == TAG_BIG_NEGATIVE) : fault(at, "a big integer that is not bytes");
    case TAG_TUPLE:
        return h.major == ARRAY ? as_tuple(list(r, h, depth, is_key)) : fault(at, "a tuple that is not a list");
    case TAG_SET:
        return h.major == ARRAY ? set(r, h, depth, is_key) : fault(at, "a set that is not a list");
    case TAG_DATETIME:
    case TAG_NAIVE_DATETIME:
    case TAG_DATE:
    case TAG_TIME:
        return h.major == TEXT ? time_like(r, h, tag, at) : fault(at, "a date or time that is not text");
    case TAG_ZONED_DATETIME:
    case TAG_DECIMAL:
    case TAG_STRUCT:
        return h.major == ARRAY ? shaped(r, h, tag, depth, is_key, at) : fault(at, "a tag that is not over a list");
    default:
        return fault(at, "unknown tag");
    }
}

static PyObject *integer(head h) {
    if (h.major == UNSIGNED)
        return PyLong_FromUnsignedLongLong(h.argument);
    if (h.argument <= INT64_MAX)
        return PyLong_FromLongLong(-1 - (int64_t)h.argument);
    PyObject *number = PyLong_FromUnsignedLongLong(h.argument), *inverted;
    if (number == NULL)
        return NULL;
    inverted = PyNumber_Invert(number);
    Py_DECREF(number);
    return inverted;
}

static double half(uint16_t bits) {
    int exponent = bits >> 10 & 31, mantissa = bits & 1023;
    double magnitude = exponent == 0    ? ldexp(mantissa, -24)
                       : exponent != 31 ? ldexp(mantissa + 1024, exponent - 25)
                       : mantissa == 0  ? INFINITY
                                        : NAN;
    return bits & 0x8000 ? -magnitude : magnitude;
}

static PyObject *simple(head h, size_t at) {
    double wide;
    float narrow;
    uint32_t bits = (uint32_t)h.argument;
    switch (h.info) {
    case 20:
    case 21:
        return PyBool_FromLong(h.info == 21);
    case 22:
        Py_RETURN_NONE;
    case 25:
        return PyFloat_FromDouble(half((uint16_t)h.argument));
    case 26:
        memcpy(&narrow, &bits, sizeof narrow);
        return PyFloat_FromDouble(narrow);
    case 27:
        memcpy(&wide, &h.argument, sizeof wide);
        return PyFloat_FromDouble(wide);
    case INDEFINITE:
        return fault(at, "a break where no item of indefinite length is open");
    default:
        return fault(at, "a simple value other than false, true and null");
    }
}

static PyObject *item(reader *r, int depth, bool is_key) {
    size_t at = r->at;
    head h;
    if (depth > VALUE_DEPTH_MAX)
        return fault(at, "nested deeper than 128 levels");
    if (!read_head(r, &h))
        return NULL;
    switch (h.major) {
    case UNSIGNED:
    case NEGATIVE:
        return integer(h);
    case BYTES:
    case TEXT:
        return string(r, h);
    case ARRAY:
        return is_key ? as_tuple(list(r, h, depth, true)) : list(r, h, depth, false);
    case MAP:
        return map(r, h, depth, is_key);
    case TAG:
        return tagged(r, h.argument, at, depth, is_key);
    default:
        return simple(h, at);
    }
}

PyObject *decode_value(const uint8_t *bytes, size_t len) {
    reader r = {bytes, len, 0};
    PyObject *value = item(&r, 1, false);
    if (value != NULL && r.at != r.len) {
        Py_DECREF(value);
        return fault(r.at, "bytes follow after the value");
    }
    return value;
}

PyObject *decode_scalar(const uint8_t *bytes, size_t len) {
    if (len == 0)
        return NULL;
    uint8_t major = bytes[0] >> 5;
    if ((major >= ARRAY && major <= TAG) || (bytes[0] & 31) == INDEFINITE)
        return NULL;
    PyObject *value = decode_value(bytes, len);
    if (value == NULL)
        PyErr_Clear();
    return value;
}

PyObject *native_decode(PyObject *module, PyObject *bytes) {
    (void)module;
    char *data;
    Py_ssize_t len;
    if (PyBytes_AsStringAndSize(bytes, &data, &len) < 0)
        return NULL;
    return decode_value((const uint8_t *)data, (size_t)len);
}
