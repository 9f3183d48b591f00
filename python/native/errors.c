/* errors.c: a status of the library as the exception class of its kind (concord_kv.errors). */
#include "native.h"

#include <stdarg.h>
#include <string.h>

/* Raises the class of the status; `column` is where in an expression or a pattern the fault is, 0 when there is none. */
static PyObject *raise_at(concord_status status, const char *message, size_t len, size_t column) {
    PyObject *code = PyLong_FromLong(status);
    if (code == NULL)
        return NULL;
    PyObject *type = PyDict_GetItemWithError(g.errors_by_code, code);
    Py_DECREF(code);
    if (type == NULL) {
        if (PyErr_Occurred())
            return NULL;
        return raise_kind(CONCORD_INTERNAL, "unknown status %d", (int)status);
    }
    PyObject *text = PyUnicode_DecodeUTF8(message, (Py_ssize_t)len, "replace");
    if (text == NULL)
        return NULL;
    PyObject *error = PyObject_CallFunctionObjArgs(type, text, NULL);
    PyObject *place = column == 0 ? NULL : PyLong_FromSize_t(column);
    if (error != NULL && place != NULL && PyObject_SetAttrString(error, "column", place) < 0)
        Py_CLEAR(error);
    if (error != NULL)
        PyErr_SetObject(type, error);
    Py_XDECREF(place);
    Py_XDECREF(error);
    Py_DECREF(text);
    return NULL;
}

PyObject *raise_message(concord_status status, const char *message, size_t len) {
    return raise_at(status, message, len, 0);
}

PyObject *raise_status(concord_status status) {
    const char *message = concord_last_error();
    return raise_at(status, message, strlen(message), concord_last_error_column());
}

PyObject *raise_completion(const concord_completion *done) {
    size_t column = done->status == CONCORD_INVALID_CONDITION ? (size_t)done->integer : 0;
    return raise_at(done->status, (const char *)done->message.data, done->message.len, column);
}

PyObject *raise_kind(concord_status status, const char *format, ...) {
    char message[512];
    va_list list;
    va_start(list, format);
    int len = PyOS_vsnprintf(message, sizeof message, format, list);
    va_end(list);
    return raise_message(status, message, len < 0 ? 0 : strlen(message));
}

PyObject *raise_instead(concord_status status, const char *message) {
    if (PyErr_ExceptionMatches(PyExc_ValueError)) {
        PyErr_Clear();
        raise_message(status, message, strlen(message));
    }
    return NULL;
}

int errors_init(void) {
    PyObject *errors = PyImport_ImportModule("concord_kv.errors");
    if (errors == NULL)
        return -1;
    g.errors_by_code = PyObject_GetAttrString(errors, "ERRORS_BY_CODE");
    g.concord_error = PyObject_GetAttrString(errors, "ConcordError");
    Py_DECREF(errors);
    return g.errors_by_code == NULL || g.concord_error == NULL ? -1 : 0;
}
