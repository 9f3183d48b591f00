/*
 * value_decimal.c: Decimal between Python and the value model, digits and exponent kept exactly.
 *
 * NaN, infinities and negative zero have no [exponent, mantissa] form; they are written as Elixir's struct
 * Decimal{sign, coef, exp}, so that Elixir reads them as its own.
 */
#include "native.h"

#define ELIXIR_DECIMAL "Elixir.Decimal"

/* {sign, coefficient or name, exponent} as the fields of Elixir's struct. */
static int encode_as_struct(encoder *e, int sign, const char *coefficient, long long exponent, int depth) {
    static const char name[] = ELIXIR_DECIMAL;
    if (depth >= VALUE_DEPTH_MAX - 1) {
        raise_kind(CONCORD_INVALID_VALUE, "the value is nested deeper than %d levels", VALUE_DEPTH_MAX);
        return -1;
    }
#define PUT(call) \
    if ((call) < 0) \
    return -1
#define PUT_ATOM(text, len) \
    PUT(encode_head(e, 6, TAG_ATOM)); \
    PUT(encode_head(e, 3, len)); \
    PUT(encode_raw(e, text, len))
    PUT(encode_head(e, 6, TAG_STRUCT));
    PUT(encode_head(e, 4, 2));
    PUT(encode_head(e, 3, sizeof name - 1));
    PUT(encode_raw(e, name, sizeof name - 1));
    PUT(encode_head(e, 5, 3));
    PUT_ATOM("coef", 4);
    if (coefficient == NULL) {
        PUT(encode_head(e, 0, 0));
    } else {
        PUT_ATOM(coefficient, 3);
    }
    PUT_ATOM("exp", 3);
    PUT(exponent >= 0 ? encode_head(e, 0, (uint64_t)exponent) : encode_head(e, 1, ~(uint64_t)exponent));
    PUT_ATOM("sign", 4);
    return sign == 0 ? encode_head(e, 0, 1) : encode_head(e, 1, 0);
#undef PUT_ATOM
#undef PUT
}

/* The coefficient as an integer, without going through text, whose length Python limits. */
static PyObject *coefficient_of(PyObject *digits) {
    PyObject *whole = PyObject_CallFunction(g.decimal, "((iOi))", 0, digits, 0);
    PyObject *number = whole == NULL ? NULL : PyNumber_Long(whole);
    Py_XDECREF(whole);
    return number;
}

static int encode_finite(encoder *e, int sign, PyObject *digits, long long exponent, int depth) {
    PyObject *number = coefficient_of(digits);
    if (number == NULL)
        return -1;
    int result = -1, is_zero = PyObject_Not(number);
    if (is_zero == 1 && sign != 0) {
        result = encode_as_struct(e, sign, NULL, exponent, depth);
    } else if (is_zero >= 0 && depth >= VALUE_DEPTH_MAX) {
        raise_kind(CONCORD_INVALID_VALUE, "the value is nested deeper than %d levels", VALUE_DEPTH_MAX);
    } else if (is_zero >= 0) {
        PyObject *signed_number = sign == 0 ? PyNumber_Positive(number) : PyNumber_Negative(number);
        if (signed_number != NULL && encode_head(e, 6, TAG_DECIMAL) == 0 && encode_head(e, 4, 2) == 0 &&
            (exponent >= 0 ? encode_head(e, 0, (uint64_t)exponent) : encode_head(e, 1, ~(uint64_t)exponent)) == 0)
            result = encode_int(e, signed_number);
        Py_XDECREF(signed_number);
    }
    Py_DECREF(number);
    return result;
}

int encode_decimal(encoder *e, PyObject *value, int depth) {
    PyObject *parts = PyObject_CallMethod(value, "as_tuple", NULL);
    if (parts == NULL)
        return -1;
    int result = -1;
    PyObject *digits = PyTuple_GetItem(parts, 1), *exponent = PyTuple_GetItem(parts, 2);
    long sign = digits == NULL || exponent == NULL ? -1 : PyLong_AsLong(PyTuple_GetItem(parts, 0));
    if (sign < 0) {
        /* the exception is set */
    } else if (PyLong_Check(exponent)) {
        long long power = PyLong_AsLongLong(exponent);
        if (power != -1 || !PyErr_Occurred())
            result = encode_finite(e, (int)sign, digits, power, depth);
    } else if (PyUnicode_CompareWithASCIIString(exponent, "F") == 0) {
        result = encode_as_struct(e, (int)sign, "inf", 0, depth);
    } else if (PyUnicode_CompareWithASCIIString(exponent, "n") == 0 && PyTuple_Size(digits) == 0) {
        result = encode_as_struct(e, (int)sign, "NaN", 0, depth);
    } else {
        raise_kind(CONCORD_INVALID_VALUE, "a signalling or annotated Decimal NaN cannot be stored");
    }
    Py_DECREF(parts);
    return result;
}

static PyObject *assembled(int sign, PyObject *digits, PyObject *exponent) {
    PyObject *made = PyObject_CallFunction(g.decimal, "((iOO))", sign, digits, exponent);
    if (made == NULL && PyErr_ExceptionMatches(PyExc_Exception) && !PyErr_ExceptionMatches(PyExc_MemoryError))
        PyErr_Clear();
    return made;
}

PyObject *decimal_from_parts(PyObject *parts) {
    if (PyList_Size(parts) != 2)
        return NULL;
    PyObject *exponent = PyList_GetItem(parts, 0), *mantissa = PyList_GetItem(parts, 1), *made = NULL;
    int overflow;
    if (Py_TYPE(exponent) != &PyLong_Type || Py_TYPE(mantissa) != &PyLong_Type)
        return NULL;
    PyLong_AsLongLongAndOverflow(exponent, &overflow);
    if (overflow != 0)
        return NULL;
    PyObject *whole = PyObject_CallFunctionObjArgs(g.decimal, mantissa, NULL);
    PyObject *tuple = whole == NULL ? NULL : PyObject_CallMethod(whole, "as_tuple", NULL);
    if (tuple != NULL) {
        long sign = PyLong_AsLong(PyTuple_GetItem(tuple, 0));
        made = assembled((int)sign, PyTuple_GetItem(tuple, 1), exponent);
    }
    Py_XDECREF(tuple);
    Py_XDECREF(whole);
    return made;
}

PyObject *decimal_from_struct(PyObject *name, PyObject *fields) {
    if (PyUnicode_CompareWithASCIIString(name, ELIXIR_DECIMAL) != 0 || PyDict_Size(fields) != 3)
        return NULL;
    PyObject *sign = PyDict_GetItemString(fields, "sign"), *coefficient = PyDict_GetItemString(fields, "coef"),
             *exponent = PyDict_GetItemString(fields, "exp");
    if (sign == NULL || coefficient == NULL || exponent == NULL || Py_TYPE(sign) != &PyLong_Type ||
        Py_TYPE(exponent) != &PyLong_Type)
        return NULL;
    int overflow;
    long long plus_or_minus = PyLong_AsLongLongAndOverflow(sign, &overflow);
    if (overflow != 0 || (plus_or_minus != 1 && plus_or_minus != -1))
        return NULL;
    const char *kind = NULL;
    if (PyUnicode_Check(coefficient) && PyUnicode_CompareWithASCIIString(coefficient, "inf") == 0)
        kind = "F";
    else if (PyUnicode_Check(coefficient) && PyUnicode_CompareWithASCIIString(coefficient, "NaN") == 0)
        kind = "n";
    PyObject *made = NULL;
    if (kind != NULL) {
        PyObject *digits = kind[0] == 'F' ? Py_BuildValue("(i)", 0) : PyTuple_New(0), *text = PyUnicode_FromString(kind);
        if (digits != NULL && text != NULL)
            made = assembled(plus_or_minus < 0, digits, text);
        Py_XDECREF(digits);
        Py_XDECREF(text);
    } else if (Py_TYPE(coefficient) == &PyLong_Type) {
        PyObject *whole = PyObject_CallFunctionObjArgs(g.decimal, coefficient, NULL);
        PyObject *tuple = whole == NULL ? NULL : PyObject_CallMethod(whole, "as_tuple", NULL);
        if (tuple != NULL)
            made = assembled(plus_or_minus < 0, PyTuple_GetItem(tuple, 1), exponent);
        Py_XDECREF(tuple);
        Py_XDECREF(whole);
    }
    return made;
}
