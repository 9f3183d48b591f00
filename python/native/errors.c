/* errors.c: a status of the library as the exception class of its kind (concord_kv.errors). */
#include "native.h"

#include <stdarg.h>
#include <string.h>

PyObject *raise_message(concord_status status, const char *message, size_t len) {
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
    PyErr_SetObject(type, text);
    Py_DECREF(text);
    return NULL;
}

PyObject *raise_status(concord_status status) {
    const char *message = concord_last_error();
    return raise_message(status, message, strlen(message));
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
