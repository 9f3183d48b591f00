/* module.c: concord_kv._native, the one extension module; exports nothing but its init function. */
#include "native.h"

#include <string.h>

native_globals g;

static PyObject *native_version(PyObject *module, PyObject *unused) {
    (void)module;
    (void)unused;
    return PyUnicode_FromString(concord_version());
}

/* One attribute of a module; NULL with an exception set when either is missing. */
static PyObject *attribute(const char *module, const char *name) {
    PyObject *imported = PyImport_ImportModule(module);
    if (imported == NULL)
        return NULL;
    PyObject *object = PyObject_GetAttrString(imported, name);
    Py_DECREF(imported);
    return object;
}

static int globals_init(void) {
    const struct {
        PyObject **place;
        const char *module, *name;
    } needed[] = {
        {&g.atom, "concord_kv.values", "Atom"},       {&g.structure, "concord_kv.values", "Struct"},
        {&g.absent, "concord_kv.values", "ABSENT"},   {&g.record, "concord_kv.values", "Record"},
        {&g.datetime, "datetime", "datetime"},        {&g.date, "datetime", "date"},
        {&g.time, "datetime", "time"},                {&g.timezone, "datetime", "timezone"},
        {&g.timedelta, "datetime", "timedelta"},      {&g.zone_info, "zoneinfo", "ZoneInfo"},
        {&g.decimal, "decimal", "Decimal"},
    };
    for (size_t i = 0; i < sizeof needed / sizeof *needed; i++)
        if ((*needed[i].place = attribute(needed[i].module, needed[i].name)) == NULL)
            return -1;
    g.utc = PyObject_GetAttrString(g.timezone, "utc");
    g.empty_bytes = PyBytes_FromStringAndSize("", 0);
    return g.utc == NULL || g.empty_bytes == NULL ? -1 : 0;
}

static PyMethodDef functions[] = {
    {"encode", native_encode, METH_O, "encode(value)\n--\n\nA value as CBOR."},
    {"decode", native_decode, METH_O, "decode(data)\n--\n\nThe value that these bytes of CBOR are."},
    {"expression_check", native_expression_check, METH_O,
     "expression_check(expression)\n--\n\nRaises when these bytes are no expression."},
    {"expression_holds", native_expression_holds, METH_VARARGS,
     "expression_holds(expression, key, value, revision, ttl)\n--\n\nWhether it is true of a record (value as CBOR)."},
    {"version", native_version, METH_NOARGS, "version()\n--\n\nVersion of the library."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "concord_kv._native", "Concord's C interface for Python; private to concord_kv.", -1,
    functions,             NULL,                 NULL,                                                       NULL,
    NULL,
};

PyMODINIT_FUNC PyInit__native(void) {
    if (strcmp(concord_version(), CONCORD_VERSION) != 0) {
        PyErr_Format(PyExc_ImportError, "concord_kv was compiled for %s but linked with %s", CONCORD_VERSION,
                     concord_version());
        return NULL;
    }
    PyObject *module = PyModule_Create(&definition);
    if (module == NULL)
        return NULL;
    if (errors_init() < 0 || globals_init() < 0 || fork_init() < 0 || store_init_type(module) < 0 ||
        cluster_init(module) < 0 || tokens_init(module) < 0 ||
        scan_init_type(module) < 0 || queue_init_type(module) < 0) {
        Py_DECREF(module);
        return NULL;
    }
    return module;
}
