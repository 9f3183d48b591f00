/*
 * tokens.c: in whose name calls are made: handles for the holders of tokens, tokens of single calls, and the verbs
 * that make, list and revoke tokens.
 *
 * The token of a call is judged before its key, its TTL and its value. What is wrong with those is found here, before
 * the library is asked; so it is asked about the token then, and what it says of that goes first. Calls that are right
 * are asked about nothing.
 */
#include "native.h"

#include <string.h>

#define NO_TOKEN "this is no token: it was mistyped or cut off"

int token_of_object(PyObject *object, const char **token) {
    *token = NULL;
    if (object == NULL || object == Py_None)
        return 0;
    if (!PyUnicode_Check(object)) {
        PyErr_SetString(PyExc_TypeError, "a token is a str");
        return -1;
    }
    Py_ssize_t len;
    const char *text = PyUnicode_AsUTF8AndSize(object, &len);
    if (text == NULL)
        return raise_instead(CONCORD_UNAUTHORIZED, NO_TOKEN), -1;
    if (strlen(text) != (size_t)len)
        return raise_kind(CONCORD_UNAUTHORIZED, NO_TOKEN), -1;
    *token = text;
    return 0;
}

static concord_status authorize(const store *s, const char *token, uint32_t scopes, concord_bytes key) {
    concord_db *db = s->db;
    concord_status status;
    Py_BEGIN_ALLOW_THREADS /* a member may ask the leader, a client connects */
    status = concord_authorize(db, token, scopes, &key, key.data != NULL);
    Py_END_ALLOW_THREADS
    return status;
}

void token_first(const store *s, const char *token, uint32_t scopes, concord_bytes key) {
    PyObject *type, *value, *traceback;
    if (!PyErr_ExceptionMatches(g.concord_error) || s->db == NULL || s->generation != fork_generation)
        return;
    PyErr_Fetch(&type, &value, &traceback);
    concord_status status = authorize(s, token, scopes, key);
    if (status != CONCORD_UNAUTHORIZED && status != CONCORD_FORBIDDEN) {
        PyErr_Restore(type, value, traceback);
        return;
    }
    raise_status(status);
    Py_XDECREF(type);
    Py_XDECREF(value);
    Py_XDECREF(traceback);
}

/* _authorize(token, scopes, key): raises when the holder may not do that; a key that is none is left out. */
PyObject *store_authorize(PyObject *self, PyObject *args) {
    store *s = (store *)self;
    PyObject *token_object, *key_object;
    const char *token;
    unsigned int scopes;
    concord_bytes key = {NULL, 0};
    if (!PyArg_ParseTuple(args, "OIO:_authorize", &token_object, &scopes, &key_object) || !store_usable(s) ||
        token_of_object(token_object, &token) < 0)
        return NULL;
    if ((PyUnicode_Check(key_object) || PyBytes_Check(key_object)) && key_of_object(key_object, &key) < 0)
        PyErr_Clear();
    concord_status status = authorize(s, token, scopes, key);
    if (status != CONCORD_OK)
        return raise_status(status);
    Py_RETURN_NONE;
}

/* Another handle of the same store. */
static store *another(const store *s, PyTypeObject *type) {
    store *made = store_allocate(type);
    if (made == NULL)
        return NULL;
    made->value_bytes_max = s->value_bytes_max;
    made->may_wait = s->may_wait;
    made->is_client = s->is_client;
    return made;
}

PyObject *store_with_token(PyObject *self, PyObject *object) {
    store *s = (store *)self;
    const char *token;
    if (!store_usable(s) || token_of_object(object, &token) < 0)
        return NULL;
    if (token == NULL) {
        PyErr_SetString(PyExc_TypeError, "a token is a str");
        return NULL;
    }
    store *made = another(s, Py_TYPE(self));
    if (made == NULL)
        return NULL;
    concord_db *db = s->db;
    concord_status status;
    Py_BEGIN_ALLOW_THREADS
    status = concord_with_token(db, token, &made->db);
    Py_END_ALLOW_THREADS
    if (status == CONCORD_OK)
        return (PyObject *)made;
    raise_status(status);
    Py_DECREF(made);
    return NULL;
}

PyObject *store_as_admin(PyObject *self, PyObject *unused) {
    store *s = (store *)self, *made;
    (void)unused;
    if (!store_usable(s) || (made = another(s, Py_TYPE(self))) == NULL)
        return NULL;
    concord_status status = concord_as_admin(s->db, &made->db);
    if (status == CONCORD_OK)
        return (PyObject *)made;
    raise_status(status);
    Py_DECREF(made);
    return NULL;
}

PyObject *store_auth_enabled(PyObject *self, PyObject *unused) {
    store *s = (store *)self;
    bool is_enabled;
    (void)unused;
    if (!store_usable(s))
        return NULL;
    concord_status status = concord_auth_enabled(s->db, &is_enabled);
    return status == CONCORD_OK ? PyBool_FromLong(is_enabled) : raise_status(status);
}

/* The prefixes of a token, borrowed from a tuple of bytes. 0, or -1 with an exception set. */
static int prefixes_of(PyObject *tuple, concord_bytes **prefixes, size_t *count) {
    *count = (size_t)PyTuple_Size(tuple);
    if ((*prefixes = PyMem_Calloc(*count + 1, sizeof **prefixes)) == NULL)
        return PyErr_NoMemory(), -1;
    for (size_t i = 0; i < *count; i++) {
        char *data;
        Py_ssize_t len;
        if (PyBytes_AsStringAndSize(PyTuple_GetItem(tuple, (Py_ssize_t)i), &data, &len) < 0)
            return -1;
        (*prefixes)[i] = (concord_bytes){(const uint8_t *)data, (size_t)len};
    }
    return 0;
}

/* _token_create(name, scopes, prefixes, ttl): the token and what is known of it as JSON. */
PyObject *store_token_create(PyObject *self, PyObject *args) {
    store *s = (store *)self;
    concord_token_options options = CONCORD_TOKEN_OPTIONS_INIT;
    PyObject *prefix_tuple, *ttl, *answer = NULL;
    concord_bytes *prefixes = NULL;
    unsigned int scopes;
    if (!PyArg_ParseTuple(args, "yIO!O:_token_create", &options.name, &scopes, &PyTuple_Type, &prefix_tuple, &ttl) ||
        !store_usable(s))
        return NULL;
    options.scopes = scopes;
    if (ttl_of_object(ttl, CONCORD_INVALID_TTL, &options.ttl_ms) < 0 ||
        prefixes_of(prefix_tuple, &prefixes, &options.key_prefix_count) < 0) {
        token_first(s, NULL, CONCORD_SCOPE_ADMIN, (concord_bytes){NULL, 0});
        PyMem_Free(prefixes);
        return NULL;
    }
    options.key_prefixes = prefixes;
    concord_db *db = s->db;
    concord_buffer token, info;
    concord_status status;
    Py_BEGIN_ALLOW_THREADS
    status = concord_token_create(db, &options, &token, &info);
    Py_END_ALLOW_THREADS
    PyMem_Free(prefixes);
    if (status != CONCORD_OK)
        return raise_status(status);
    answer = Py_BuildValue("(s#s#)", (const char *)token.data, (Py_ssize_t)token.len, (const char *)info.data,
                           (Py_ssize_t)info.len);
    concord_buffer_free(&token);
    concord_buffer_free(&info);
    return answer;
}

PyObject *store_token_revoke(PyObject *self, PyObject *object) {
    store *s = (store *)self;
    const char *id = PyUnicode_Check(object) ? PyUnicode_AsUTF8AndSize(object, NULL) : NULL;
    if (id == NULL)
        return PyErr_Occurred() ? NULL : (PyErr_SetString(PyExc_TypeError, "a token or its id is a str"), NULL);
    if (!store_usable(s))
        return NULL;
    concord_db *db = s->db;
    concord_status status;
    Py_BEGIN_ALLOW_THREADS
    status = concord_token_revoke(db, id);
    Py_END_ALLOW_THREADS
    if (status != CONCORD_OK)
        return raise_status(status);
    Py_RETURN_NONE;
}

int tokens_init(PyObject *module) {
    return PyModule_AddIntConstant(module, "SCOPE_READ", CONCORD_SCOPE_READ) < 0 ||
                   PyModule_AddIntConstant(module, "SCOPE_WRITE", CONCORD_SCOPE_WRITE) < 0 ||
                   PyModule_AddIntConstant(module, "SCOPE_ADMIN", CONCORD_SCOPE_ADMIN) < 0
               ? -1
               : 0;
}
