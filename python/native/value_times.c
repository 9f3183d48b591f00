/*
 * value_times.c: dates and times between Python's datetime objects and the text forms of the value model.
 *
 * Fractions are written with six digits or, when zero, left out. Readers of text answer NULL without an exception
 * when it is not such text or Python has no such date.
 */
#include "native.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    int year, month, day, hour, minute, second, microsecond;
    long offset_s;
} moment;

/* ---- writing ---- */

static int integer_of(PyObject *object, const char *attribute, int *out) {
    PyObject *value = PyObject_GetAttrString(object, attribute);
    if (value == NULL)
        return -1;
    long number = PyLong_AsLong(value);
    Py_DECREF(value);
    if (number == -1 && PyErr_Occurred())
        return -1;
    *out = (int)number;
    return 0;
}

static int date_parts(PyObject *value, moment *m) {
    return integer_of(value, "year", &m->year) < 0 || integer_of(value, "month", &m->month) < 0 ||
                   integer_of(value, "day", &m->day) < 0
               ? -1
               : 0;
}

static int time_parts(PyObject *value, moment *m) {
    return integer_of(value, "hour", &m->hour) < 0 || integer_of(value, "minute", &m->minute) < 0 ||
                   integer_of(value, "second", &m->second) < 0 || integer_of(value, "microsecond", &m->microsecond) < 0
               ? -1
               : 0;
}

static int write_date(char *out, size_t size, const moment *m) {
    return snprintf(out, size, "%04d-%02d-%02d", m->year, m->month, m->day);
}

static int write_time(char *out, size_t size, const moment *m) {
    int len = snprintf(out, size, "%02d:%02d:%02d", m->hour, m->minute, m->second);
    return m->microsecond == 0 ? len : len + snprintf(out + len, size - (size_t)len, ".%06d", m->microsecond);
}

static int write_datetime(char *out, size_t size, const moment *m) {
    int len = write_date(out, size, m);
    out[len++] = 'T';
    return len + write_time(out + len, size - (size_t)len, m);
}

static int encode_tagged(encoder *e, uint64_t tag, const char *text, int len) {
    return encode_head(e, 6, tag) < 0 || encode_head(e, 3, (uint64_t)len) < 0 ? -1 : encode_raw(e, text, (size_t)len);
}

int encode_date(encoder *e, PyObject *value) {
    moment m = {0};
    char text[64];
    return date_parts(value, &m) < 0 ? -1 : encode_tagged(e, TAG_DATE, text, write_date(text, sizeof text, &m));
}

int encode_time(encoder *e, PyObject *value) {
    moment m = {0};
    char text[64];
    PyObject *zone = PyObject_GetAttrString(value, "tzinfo");
    if (zone == NULL)
        return -1;
    bool has_zone = zone != Py_None;
    Py_DECREF(zone);
    if (has_zone) {
        raise_kind(CONCORD_INVALID_VALUE, "a time of day with a time zone cannot be stored");
        return -1;
    }
    return time_parts(value, &m) < 0 ? -1 : encode_tagged(e, TAG_TIME, text, write_time(text, sizeof text, &m));
}

/* Seconds of value.<method>(); None counts as `if_none` seconds, which may be LONG_MIN to say so. */
static int seconds_of(PyObject *value, const char *method, long if_none, long *out) {
    PyObject *delta = PyObject_CallMethod(value, method, NULL);
    if (delta == NULL)
        return -1;
    int days = 0, seconds = 0, microseconds = 0, result = 0;
    if (delta == Py_None) {
        *out = if_none;
    } else {
        result = integer_of(delta, "days", &days) < 0 || integer_of(delta, "seconds", &seconds) < 0 ||
                         integer_of(delta, "microseconds", &microseconds) < 0
                     ? -1
                     : 0;
        *out = (long)days * 86400 + seconds;
        if (result == 0 && microseconds != 0) {
            raise_kind(CONCORD_INVALID_VALUE, "a datetime whose offset has microseconds cannot be stored");
            result = -1;
        }
    }
    Py_DECREF(delta);
    return result;
}

static int write_offset(char *out, size_t size, long offset_s) {
    long minutes = labs(offset_s) / 60;
    return snprintf(out, size, "%c%02ld:%02ld", offset_s < 0 ? '-' : '+', minutes / 60, minutes % 60);
}

/* The name of a zoneinfo zone: a new reference, or None for any other time zone. */
static PyObject *zone_name(PyObject *zone) {
    int is_named = g.zone_info == NULL ? 0 : PyObject_IsInstance(zone, g.zone_info);
    if (is_named < 0)
        return NULL;
    if (!is_named)
        Py_RETURN_NONE;
    return PyObject_GetAttrString(zone, "key");
}

static bool is_utc(PyObject *name) {
    return PyUnicode_CompareWithASCIIString(name, "UTC") == 0 || PyUnicode_CompareWithASCIIString(name, "Etc/UTC") == 0;
}

static int encode_zoned(encoder *e, PyObject *value, PyObject *name, const moment *m, int depth) {
    long std_s;
    char text[64];
    if (depth >= VALUE_DEPTH_MAX) {
        raise_kind(CONCORD_INVALID_VALUE, "the value is nested deeper than %d levels", VALUE_DEPTH_MAX);
        return -1;
    }
    if (seconds_of(value, "dst", 0, &std_s) < 0)
        return -1;
    PyObject *abbreviation = PyObject_CallMethod(value, "tzname", NULL), *parts = NULL;
    if (abbreviation == NULL)
        return -1;
    int len = write_datetime(text, sizeof text, m), result = -1;
    len += write_offset(text + len, sizeof text - (size_t)len, m->offset_s);
    if (encode_head(e, 6, TAG_ZONED_DATETIME) == 0 && encode_head(e, 4, 5) == 0 &&
        (parts = Py_BuildValue("s#OOll", text, (Py_ssize_t)len, name, abbreviation, m->offset_s - std_s, std_s)) !=
            NULL) {
        result = 0;
        for (Py_ssize_t i = 0; i < 5 && result == 0; i++)
            result = encode_value(e, PyTuple_GetItem(parts, i), depth + 1);
    }
    Py_XDECREF(parts);
    Py_DECREF(abbreviation);
    return result;
}

int encode_datetime(encoder *e, PyObject *value, int depth) {
    moment m = {0};
    char text[64];
    if (date_parts(value, &m) < 0 || time_parts(value, &m) < 0)
        return -1;
    PyObject *zone = PyObject_GetAttrString(value, "tzinfo"), *name = NULL;
    if (zone == NULL)
        return -1;
    int result = -1, len = write_datetime(text, sizeof text, &m);
    if (zone == Py_None) {
        result = encode_tagged(e, TAG_NAIVE_DATETIME, text, len);
    } else if ((name = zone_name(zone)) != NULL && seconds_of(value, "utcoffset", LONG_MIN, &m.offset_s) == 0) {
        if (m.offset_s == LONG_MIN) {
            raise_kind(CONCORD_INVALID_VALUE, "a datetime whose time zone knows no offset cannot be stored");
        } else if (PyUnicode_Check(name) && !is_utc(name)) {
            result = encode_zoned(e, value, name, &m, depth);
        } else if (m.offset_s % 60 != 0) {
            raise_kind(CONCORD_INVALID_VALUE, "a datetime whose offset has seconds needs a zoneinfo time zone");
        } else {
            if (m.offset_s == 0)
                text[len++] = 'Z';
            else
                len += write_offset(text + len, sizeof text - (size_t)len, m.offset_s);
            result = encode_tagged(e, TAG_DATETIME, text, len);
        }
    }
    Py_XDECREF(name);
    Py_DECREF(zone);
    return result;
}

/* ---- reading ---- */

static bool digits(const char **at, const char *end, int count, int *out) {
    if (end - *at < count)
        return false;
    int number = 0;
    for (int i = 0; i < count; i++, (*at)++) {
        if (**at < '0' || **at > '9')
            return false;
        number = number * 10 + (**at - '0');
    }
    *out = number;
    return true;
}

static bool sign(const char **at, const char *end, char expected) {
    return *at < end && **at == expected ? ((*at)++, true) : false;
}

static bool read_date(const char **at, const char *end, moment *m) {
    return digits(at, end, 4, &m->year) && sign(at, end, '-') && digits(at, end, 2, &m->month) && sign(at, end, '-') &&
           digits(at, end, 2, &m->day);
}

static bool read_time(const char **at, const char *end, moment *m) {
    if (!(digits(at, end, 2, &m->hour) && sign(at, end, ':') && digits(at, end, 2, &m->minute) && sign(at, end, ':') &&
          digits(at, end, 2, &m->second)))
        return false;
    m->microsecond = 0;
    if (!sign(at, end, '.'))
        return true;
    int count = 0;
    for (; *at < end && **at >= '0' && **at <= '9' && count < 6; count++, (*at)++)
        m->microsecond = m->microsecond * 10 + (**at - '0');
    if (count == 0)
        return false;
    for (; count < 6; count++)
        m->microsecond *= 10;
    return true;
}

static bool read_offset(const char **at, const char *end, moment *m) {
    int hours, minutes;
    m->offset_s = 0;
    if (sign(at, end, 'Z'))
        return true;
    bool is_negative = sign(at, end, '-');
    if (!is_negative && !sign(at, end, '+'))
        return false;
    if (!digits(at, end, 2, &hours) || !sign(at, end, ':') || !digits(at, end, 2, &minutes) || hours > 23 ||
        minutes > 59)
        return false;
    m->offset_s = (hours * 60 + minutes) * 60;
    if (is_negative)
        m->offset_s = -m->offset_s;
    return true;
}

/* ValueError and OverflowError of a constructor mean: Python has no such date. */
static PyObject *unless_impossible(PyObject *made) {
    if (made == NULL && (PyErr_ExceptionMatches(PyExc_ValueError) || PyErr_ExceptionMatches(PyExc_OverflowError)))
        PyErr_Clear();
    return made;
}

static PyObject *datetime_of(const moment *m, PyObject *zone) {
    return unless_impossible(PyObject_CallFunction(g.datetime, "iiiiiiiO", m->year, m->month, m->day, m->hour,
                                                   m->minute, m->second, m->microsecond, zone));
}

static PyObject *fixed_zone(long offset_s, PyObject *name) {
    if (offset_s == 0 && name == NULL)
        return Py_INCREF(g.utc), g.utc;
    PyObject *delta = PyObject_CallFunction(g.timedelta, "il", 0, offset_s);
    if (delta == NULL)
        return unless_impossible(NULL);
    PyObject *zone = PyObject_CallFunctionObjArgs(g.timezone, delta, name, NULL);
    Py_DECREF(delta);
    return unless_impossible(zone);
}

PyObject *date_from_text(const char *text, size_t len) {
    moment m = {0};
    const char *end = text + len;
    if (!read_date(&text, end, &m) || text != end)
        return NULL;
    return unless_impossible(PyObject_CallFunction(g.date, "iii", m.year, m.month, m.day));
}

PyObject *time_from_text(const char *text, size_t len) {
    moment m = {0};
    const char *end = text + len;
    if (!read_time(&text, end, &m) || text != end)
        return NULL;
    return unless_impossible(PyObject_CallFunction(g.time, "iiii", m.hour, m.minute, m.second, m.microsecond));
}

static bool read_datetime(const char **at, const char *end, moment *m) {
    return read_date(at, end, m) && sign(at, end, 'T') && read_time(at, end, m);
}

PyObject *datetime_from_text(const char *text, size_t len, bool naive) {
    moment m = {0};
    const char *end = text + len;
    if (!read_datetime(&text, end, &m))
        return NULL;
    if (naive)
        return text == end ? datetime_of(&m, Py_None) : NULL;
    if (end - text == 6 && memcmp(text, "-00:00", 6) == 0)
        return NULL;
    if (!read_offset(&text, end, &m) || text != end)
        return NULL;
    PyObject *zone = fixed_zone(m.offset_s, NULL);
    PyObject *made = zone == NULL ? NULL : datetime_of(&m, zone);
    Py_XDECREF(zone);
    return made;
}

/* The moment in the named zone; NULL without exception when this machine's zone differs or is unknown. */
static PyObject *in_zone(const moment *m, PyObject *name, long total_s) {
    PyObject *zone = g.zone_info == NULL ? NULL : PyObject_CallFunctionObjArgs(g.zone_info, name, NULL);
    if (zone == NULL) {
        if (PyErr_Occurred() && PyErr_ExceptionMatches(PyExc_Exception) && !PyErr_ExceptionMatches(PyExc_MemoryError))
            PyErr_Clear();
        return NULL;
    }
    PyObject *made = datetime_of(m, zone);
    for (int fold = 0; made != NULL && fold < 2; fold++) {
        long offset_s;
        if (seconds_of(made, "utcoffset", LONG_MIN, &offset_s) < 0) {
            Py_CLEAR(made);
        } else if (offset_s == total_s) {
            break;
        } else if (fold == 1) {
            Py_CLEAR(made);
        } else {
            PyObject *changes = Py_BuildValue("{s:i}", "fold", 1), *none = PyTuple_New(0), *folded = NULL;
            PyObject *replace = PyObject_GetAttrString(made, "replace");
            if (changes != NULL && none != NULL && replace != NULL)
                folded = PyObject_Call(replace, none, changes);
            Py_XDECREF(changes);
            Py_XDECREF(none);
            Py_XDECREF(replace);
            Py_DECREF(made);
            made = folded;
        }
    }
    Py_DECREF(zone);
    return made;
}

PyObject *zoned_from_parts(PyObject *parts) {
    moment m = {0};
    if (PyList_Size(parts) != 5)
        return NULL;
    for (Py_ssize_t i = 0; i < 5; i++) {
        PyTypeObject *expected = i < 3 ? &PyUnicode_Type : &PyLong_Type;
        if (Py_TYPE(PyList_GetItem(parts, i)) != expected)
            return NULL;
    }
    PyObject *name = PyList_GetItem(parts, 1), *abbreviation = PyList_GetItem(parts, 2);
    int overflow[2];
    long long utc_s = PyLong_AsLongLongAndOverflow(PyList_GetItem(parts, 3), &overflow[0]);
    long long std_s = PyLong_AsLongLongAndOverflow(PyList_GetItem(parts, 4), &overflow[1]);
    if (overflow[0] != 0 || overflow[1] != 0 || utc_s > INT32_MAX || utc_s < INT32_MIN || std_s > INT32_MAX ||
        std_s < INT32_MIN || PyUnicode_GetLength(name) == 0)
        return NULL;
    Py_ssize_t len;
    const char *text = PyUnicode_AsUTF8AndSize(PyList_GetItem(parts, 0), &len);
    if (text == NULL)
        return NULL;
    const char *end = text + len;
    if (!read_datetime(&text, end, &m) || !read_offset(&text, end, &m) || text != end)
        return NULL;
    long total_s = (long)(utc_s + std_s);
    if (labs(total_s - m.offset_s) >= 60)
        return NULL;
    PyObject *made = in_zone(&m, name, total_s);
    if (made != NULL || PyErr_Occurred())
        return made;
    PyObject *zone = fixed_zone(total_s, abbreviation);
    made = zone == NULL ? NULL : datetime_of(&m, zone);
    Py_XDECREF(zone);
    return made;
}
