/*
 * reads.c: reads of single and several keys. Local reads take less time than handing over the GIL, so they keep it.
 * A read that has to wait for other nodes gives it away: of a single key by way of a completion queue, of several in
 * slices; in between signals are handled.
 *
 * The library lends a record to a callback. A scalar becomes its object right there; anything larger in shape is
 * copied out and decoded when the record was given back, because decoding it may run Python code.
 */
#include "native.h"

#include <string.h>

#define COPY_INLINE 4096

void lend(void *context, size_t index, concord_bytes value, uint64_t revision, uint64_t ttl_ms) {
    lent *l = (lent *)context + index;
    l->is_there = true;
    l->revision = revision;
    l->ttl_ms = ttl_ms;
    if ((l->value = decode_scalar(value.data, value.len)) != NULL)
        return;
    l->len = value.len;
    l->copy = value.len <= l->first_len ? l->first : PyMem_Malloc(value.len);
    if (l->copy != NULL)
        memcpy(l->copy, value.data, value.len);
}

PyObject *lent_value(lent *l) {
    PyObject *value = l->value;
    l->value = NULL;
    if (value != NULL)
        return value;
    if (l->copy == NULL)
        return PyErr_NoMemory();
    value = decode_value(l->copy, l->len);
    if (l->copy != l->first)
        PyMem_Free(l->copy);
    l->copy = NULL;
    return value;
}

void lent_drop(lent *l) {
    Py_CLEAR(l->value);
    if (l->copy != l->first)
        PyMem_Free(l->copy);
    l->copy = NULL;
}

PyObject *lent_record(lent *l) {
    PyObject *value = lent_value(l);
    return value == NULL ? NULL : PyObject_CallFunction(g.record, "NKN", value, l->revision, ttl_to_object(l->ttl_ms));
}

PyObject *record_of(const concord_completion *completion) {
    lent l = {0};
    lend(&l, 0, (concord_bytes){completion->value.data, completion->value.len}, completion->revision,
         completion->ttl_ms);
    return lent_record(&l);
}

patience patience_of(const concord_read_options *options) {
    patience p = {.options = CONCORD_READ_OPTIONS_INIT};
    if (options != NULL)
        p.options = *options;
    p.slice_ms = SLICE_MS;
    p.deadline_ms = now_ms() + (p.options.timeout_ms == 0 ? TIMEOUT_MS_DEFAULT : p.options.timeout_ms);
    return p;
}

bool patience_left(patience *p) {
    uint64_t now = now_ms();
    if (now >= p->deadline_ms || PyErr_CheckSignals() < 0)
        return false;
    uint64_t left = p->deadline_ms - now;
    p->options.timeout_ms = left < p->slice_ms ? left : p->slice_ms;
    p->slice_ms = p->slice_ms * 2 < SLICE_MS_MAX ? p->slice_ms * 2 : SLICE_MS_MAX;
    return true;
}

static PyObject *missing(PyObject *key) {
    PyObject *text = PyObject_Repr(key);
    const char *utf8 = text == NULL ? NULL : PyUnicode_AsUTF8AndSize(text, NULL);
    if (utf8 != NULL)
        raise_kind(CONCORD_NOT_FOUND, "no such key: %.400s", utf8);
    Py_XDECREF(text);
    return NULL;
}

bool answers_at_once(const store *s, const concord_read_options *options) {
    return !s->may_wait || (options->token == NULL && concord_reads_at_once(s->db, options->consistency));
}

/* Reads one key: 1 there, 0 not there, -1 with an exception set. Without `l` it only looks whether it is there. */
static int read_key(PyObject *self, PyObject *key, const concord_read_options *options, lent *l) {
    static const concord_read_options defaults = CONCORD_READ_OPTIONS_INIT;
    store *s = (store *)self;
    concord_bytes bytes = {NULL, 0};
    if (!store_usable(s))
        return -1;
    concord_read_options hurried = options == NULL ? defaults : *options;
    if (key_of_object(key, &bytes) < 0) {
        token_first(s, hurried.token, CONCORD_SCOPE_READ, bytes);
        return -1;
    }
    concord_status status = CONCORD_TIMEOUT;
    hurried.timeout_ms = READ_MS_INLINE;
    if (answers_at_once(s, &hurried))
        status = concord_read(s->db, bytes, &hurried, l == NULL ? NULL : lend, l);
    if (status == CONCORD_TIMEOUT) {
        concord_completion completion;
        int there = store_read_waiting(s, bytes, options == NULL ? &defaults : options, &completion);
        if (there < 0)
            return -1;
        if (there == 1 && l != NULL)
            lend(l, 0, (concord_bytes){completion.value.data, completion.value.len}, completion.revision,
                 completion.ttl_ms);
        concord_completion_free(&completion);
        return there;
    }
    if (status == CONCORD_OK)
        return 1;
    return status == CONCORD_NOT_FOUND ? 0 : (raise_status(status), -1);
}

static int read_options(PyObject *consistency, PyObject *timeout, PyObject *token, concord_read_options *options) {
    *options = (concord_read_options)CONCORD_READ_OPTIONS_INIT;
    return token_of_object(token, &options->token) < 0 || consistency_of_object(consistency, &options->consistency) < 0 ||
                   timeout_of_object(timeout, &options->timeout_ms) < 0
               ? -1
               : 0;
}

PyObject *store_get(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *keywords) {
    static const char *const names[] = {"key", "default", "consistency", "timeout", "token", NULL};
    PyObject *in[5] = {NULL};
    concord_read_options options, *given = NULL;
    if (keywords == NULL && (count == 1 || count == 2)) {
        in[0] = args[0];
        in[1] = count == 2 ? args[1] : NULL;
    } else if (sort_arguments("get", names, 2, 1, (arguments){args, count, keywords}, in) < 0 ||
               read_options(in[2], in[3], in[4], &options) < 0) {
        return NULL;
    } else {
        given = &options;
    }
    uint8_t first[COPY_INLINE];
    lent l = {.first = first, .first_len = sizeof first};
    int there = read_key(self, in[0], given, &l);
    if (there == 1)
        return lent_value(&l);
    if (there < 0)
        return NULL;
    PyObject *fallback = in[1] == NULL ? Py_None : in[1];
    Py_INCREF(fallback);
    return fallback;
}

PyObject *store_get_item(PyObject *self, PyObject *key) {
    uint8_t first[COPY_INLINE];
    lent l = {.first = first, .first_len = sizeof first};
    int there = read_key(self, key, NULL, &l);
    return there == 1 ? lent_value(&l) : there == 0 ? missing(key) : NULL;
}

int store_contains(PyObject *self, PyObject *key) { return read_key(self, key, NULL, NULL); }

/* Reads the key that these arguments name, which must be there. */
static int read_record(PyObject *self, const char *verb_name, arguments given, lent *l) {
    static const char *const names[] = {"key", "consistency", "timeout", "token", NULL};
    PyObject *in[4];
    concord_read_options options;
    if (sort_arguments(verb_name, names, 1, 1, given, in) < 0 || read_options(in[1], in[2], in[3], &options) < 0)
        return -1;
    int there = read_key(self, in[0], &options, l);
    if (there == 0)
        missing(in[0]);
    return there == 1 ? 0 : -1;
}

PyObject *store_get_record(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *keywords) {
    lent l = {0};
    if (read_record(self, "get_record", (arguments){args, count, keywords}, &l) < 0)
        return NULL;
    return lent_record(&l);
}

PyObject *store_get_with_ttl(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *keywords) {
    lent l = {0};
    if (read_record(self, "get_with_ttl", (arguments){args, count, keywords}, &l) < 0)
        return NULL;
    PyObject *value = lent_value(&l);
    return value == NULL ? NULL : Py_BuildValue("(NN)", value, ttl_to_object(l.ttl_ms));
}

PyObject *store_ttl(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *keywords) {
    lent l = {0};
    if (read_record(self, "ttl", (arguments){args, count, keywords}, &l) < 0)
        return NULL;
    lent_drop(&l);
    return ttl_to_object(l.ttl_ms);
}

/* The keys as a list and their bytes; at most 500. */
static int several(PyObject *given, PyObject **list, concord_bytes **keys, size_t *count) {
    if ((*list = batch(given)) == NULL)
        return -1;
    *count = (size_t)PyList_Size(*list);
    if ((*keys = PyMem_Calloc(*count + 1, sizeof **keys)) == NULL)
        return PyErr_NoMemory(), -1;
    for (size_t i = 0; i < *count; i++)
        if (key_of_object(PyList_GetItem(*list, (Py_ssize_t)i), &(*keys)[i]) < 0)
            return -1;
    return 0;
}

/* One slice of a read of several keys that waits, without the GIL. */
static concord_status slice_of_records(const store *s, const concord_bytes *keys, size_t count,
                                       const concord_read_options *options, lent *lents) {
    concord_record *records = PyMem_Calloc(count + 1, sizeof *records);
    concord_status status;
    if (records == NULL)
        return PyErr_NoMemory(), CONCORD_INTERNAL;
    Py_BEGIN_ALLOW_THREADS
    status = concord_get_many(s->db, keys, count, options, records);
    Py_END_ALLOW_THREADS
    for (size_t i = 0; status == CONCORD_OK && i < count; i++) {
        const concord_record *r = &records[i];
        if (r->value.data != NULL)
            lend(lents, i, (concord_bytes){r->value.data, r->value.len}, r->revision, r->ttl_ms);
    }
    concord_records_free(records, count);
    PyMem_Free(records);
    return status;
}

static int read_several(store *s, const concord_bytes *keys, size_t count, const concord_read_options *options,
                        lent *lents) {
    concord_read_options hurried = *options;
    concord_status status = CONCORD_TIMEOUT;
    hurried.timeout_ms = READ_MS_INLINE;
    if (answers_at_once(s, &hurried))
        status = concord_read_many(s->db, keys, count, &hurried, lend, lents);
    if (status == CONCORD_TIMEOUT) {
        patience p = patience_of(options);
        while (status == CONCORD_TIMEOUT && patience_left(&p)) {
            if (!store_usable(s))
                return -1;
            status = slice_of_records(s, keys, count, &p.options, lents);
        }
    }
    if (status != CONCORD_OK && !PyErr_Occurred())
        raise_status(status);
    return PyErr_Occurred() ? -1 : 0;
}

PyObject *store_get_many(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *keywords) {
    static const char *const names[] = {"keys", "consistency", "timeout", "token", NULL};
    store *s = (store *)self;
    PyObject *in[4], *list = NULL, *found = NULL;
    concord_read_options options;
    concord_bytes *keys = NULL;
    lent *lents = NULL;
    size_t wanted = 0;
    if (sort_arguments("get_many", names, 1, 1, (arguments){args, count, keywords}, in) < 0 ||
        read_options(in[1], in[2], in[3], &options) < 0)
        return NULL;
    if (several(in[0], &list, &keys, &wanted) < 0) {
        token_first(s, options.token, CONCORD_SCOPE_READ, (concord_bytes){NULL, 0});
        goto done;
    }
    if (!store_usable(s))
        goto done;
    if ((lents = PyMem_Calloc(wanted + 1, sizeof *lents)) == NULL) {
        PyErr_NoMemory();
        goto done;
    }
    if (read_several(s, keys, wanted, &options, lents) < 0)
        goto done;
    found = PyDict_New();
    for (size_t i = 0; found != NULL && i < wanted; i++) {
        if (!lents[i].is_there)
            continue;
        PyObject *value = lent_value(&lents[i]);
        if (value == NULL || PyDict_SetItem(found, PyList_GetItem(list, (Py_ssize_t)i), value) < 0)
            Py_CLEAR(found);
        Py_XDECREF(value);
    }
done:
    for (size_t i = 0; lents != NULL && i < wanted; i++)
        lent_drop(&lents[i]);
    PyMem_Free(lents);
    PyMem_Free(keys);
    Py_XDECREF(list);
    return found;
}
