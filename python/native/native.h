/*
 * native.h: what the C files of concord_kv._native share. One file a noun: errors, value_encode, value_decode,
 * value_times, keys, store, reads, writes, calls, queue.
 *
 * Invariants
 * - Limited API of CPython 3.10: one binary serves every later version.
 * - The GIL is held everywhere except between Py_BEGIN_ALLOW_THREADS and its end, around waits for the store.
 * - While the store lends a record (concord_read) no Python code runs: scalars are made on the spot, everything
 *   that could start a garbage collection is copied out first and decoded afterwards.
 */
#ifndef CONCORD_KV_NATIVE_H
#define CONCORD_KV_NATIVE_H

#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030A0000
#include <Python.h>
#include <stdbool.h>
#include <stdint.h>

#include "concord.h"

#define VALUE_DEPTH_MAX 128
#define VALUE_BYTES_MAX_DEFAULT ((size_t)16 * 1024 * 1024)
#define VALUE_BYTES_MAX_CEILING ((size_t)64 * 1024 * 1024)
#define KEY_BYTES_MAX 1024
#define BATCH_OPS_MAX 500
#define BATCH_BYTES_MAX ((size_t)64 * 1024 * 1024)
#define TTL_MS_MAX ((uint64_t)1000 * 365 * 24 * 60 * 60 * 1000)

/* Tags of the value model, as the core lists them. */
enum {
    TAG_DATETIME = 0,
    TAG_BIG_POSITIVE = 2,
    TAG_BIG_NEGATIVE = 3,
    TAG_DECIMAL = 4,
    TAG_STRUCT = 27,
    TAG_ATOM = 39,
    TAG_SET = 258,
    TAG_DATE = 1004,
    TAG_TUPLE = 17220,
    TAG_NAIVE_DATETIME = 17221,
    TAG_TIME = 17222,
    TAG_ZONED_DATETIME = 17223,
};

/* Python objects that the extension needs again and again; filled once at import, never freed. */
typedef struct {
    PyObject *atom, *structure, *absent;
    PyObject *datetime, *date, *time, *timezone, *timedelta, *utc, *zone_info;
    PyObject *decimal;
    PyObject *errors_by_code; /* dict: code -> class */
    PyObject *concord_error;
    PyObject *empty_bytes;
    unsigned long main_thread;
} native_globals;

extern native_globals g;

/* errors.c */
PyObject *raise_status(concord_status status);
PyObject *raise_message(concord_status status, const char *message, size_t len);
PyObject *raise_kind(concord_status status, const char *format, ...);
/* Turns the pending exception into `status`, keeping it as the cause's text; MemoryError and the like stay. */
void raise_instead(concord_status status, const char *what);
int errors_init(void);

/* value_encode.c: bytes that grow, begun with encoder_init and ended with encoder_free. */
typedef struct {
    uint8_t *data;
    size_t len, capacity, bytes_max;
    uint8_t first[512];
} encoder;

void encoder_init(encoder *e, size_t bytes_max);
void encoder_free(encoder *e);
/* 0, or -1 with an exception set. */
int encode_value(encoder *e, PyObject *value, int depth);
int encode_head(encoder *e, uint8_t major, uint64_t number);
int encode_text(encoder *e, PyObject *text, const char *what);
int encode_raw(encoder *e, const void *bytes, size_t len);
int encode_int(encoder *e, PyObject *value);

/* value_times.c */
int encode_datetime(encoder *e, PyObject *value, int depth);
int encode_date(encoder *e, PyObject *value);
int encode_time(encoder *e, PyObject *value);
PyObject *datetime_from_text(const char *text, size_t len, bool naive);
PyObject *zoned_from_parts(PyObject *parts);
PyObject *date_from_text(const char *text, size_t len);
PyObject *time_from_text(const char *text, size_t len);

/* value_decimal.c */
int encode_decimal(encoder *e, PyObject *value, int depth);
PyObject *decimal_from_parts(PyObject *parts);
/* Elixir's and our form of decimals without digits; NULL without exception when it is another struct. */
PyObject *decimal_from_struct(PyObject *name, PyObject *fields);

/* value_decode.c: a new reference, or NULL with an exception set. */
PyObject *decode_value(const uint8_t *bytes, size_t len);
/* As decode_value when that cannot run Python code; otherwise NULL without exception, to be decoded from a copy. */
PyObject *decode_scalar(const uint8_t *bytes, size_t len);
PyObject *native_encode(PyObject *module, PyObject *value);
PyObject *native_decode(PyObject *module, PyObject *bytes);

#endif
