/*
 * native.h: what the C files of concord_kv._native share. One file a noun: errors, value_encode, value_decode,
 * value_times, arguments, selector, request, store, cluster, tokens, reads, scan, queue.
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
#define TIMEOUT_MS_DEFAULT 5000
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
    PyObject *atom, *structure, *absent, *record;
    PyObject *datetime, *date, *time, *timezone, *timedelta, *utc, *zone_info;
    PyObject *decimal;
    PyObject *errors_by_code; /* dict: code -> class */
    PyObject *concord_error;
    PyObject *empty_bytes;
    PyTypeObject *store_type;
} native_globals;

extern native_globals g;

/* errors.c: each sets an exception and answers NULL. */
PyObject *raise_status(concord_status status);
PyObject *raise_message(concord_status status, const char *message, size_t len);
/* The same for a call that has a completion. */
PyObject *raise_completion(const concord_completion *completion);
PyObject *raise_kind(concord_status status, const char *format, ...);
/* Replaces a pending ValueError (of which UnicodeError is one) by this kind; anything else stays. */
PyObject *raise_instead(concord_status status, const char *message);
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

/* arguments.c: what calls are given. 0, or -1 with an exception set. */
typedef struct {
    PyObject *const *values;
    Py_ssize_t count;
    PyObject *keywords; /* tuple of names, or NULL */
} arguments;

/*
 * Sorts arguments by name into `out` (borrowed, NULL where none is given). `names` ends with NULL; the first
 * `positional` may be given by position, the first `required` must be given.
 */
int sort_arguments(const char *verb, const char *const *names, int positional, int required, arguments given,
                   PyObject **out);
/* The key's bytes, borrowed from the object. */
int key_of_object(PyObject *object, concord_bytes *key);
/* Of an item of a bulk operation: anything but str and bytes is invalid_operation_format. */
int key_of_item(PyObject *object, concord_bytes *key);
/* Seconds to milliseconds; NULL and None are 0. What is no positive duration raises `status`. */
int ttl_of_object(PyObject *object, concord_status status, uint64_t *ttl_ms);
int timeout_of_object(PyObject *object, uint64_t *timeout_ms);
int consistency_of_object(PyObject *object, int32_t *consistency);
int int64_of_object(PyObject *object, const char *name, int64_t *number);
/* str when it is UTF-8, else bytes. */
PyObject *key_to_object(concord_bytes key);
/* Remaining seconds, or None for 0. */
PyObject *ttl_to_object(uint64_t ttl_ms);

/* selector.c: what concord_kv.selection makes of keywords, borrowing from it. 0, or -1 with an exception set. */
int selector_of_tuple(PyObject *tuple, concord_selector *selector);
PyObject *native_expression_check(PyObject *module, PyObject *expression);
PyObject *native_expression_holds(PyObject *module, PyObject *args);

/* fork.c: the generation is bumped in a child, where nothing that was opened before may be used. */
extern unsigned fork_generation;
int fork_init(void);
PyObject *raise_forked(void);

/* request.c: a write, or a read that must not block, ready to be handed to the library. */
typedef enum { PUT, DELETE, INCREMENT, TOUCH, PUT_MANY, DELETE_MANY, TOUCH_MANY, DELETE_WHERE, COUNT, GET_RECORD } verb;

/* Whether it only reads: then nothing is lost when its answer is. */
static inline bool is_read(verb which) { return which == GET_RECORD || which == COUNT; }

typedef struct {
    verb verb;
    concord_bytes key;
    concord_write_options options; /* of a read its timeout and token only */
    int32_t consistency;
    int64_t by, initial;
    uint64_t ttl_ms;
    size_t count;
    concord_put_item *puts;
    concord_touch_item *touches;
    concord_bytes *keys;
    concord_selector selector;
    PyObject *held; /* keeps the keys of a batch, or a selector, alive */
    encoder value, expected;
} request;

/* When a request gives up waiting, on the clock of now_ms(). */
uint64_t request_deadline(const request *r);
/* Milliseconds of a clock that only goes forward. */
uint64_t now_ms(void);
/* The message of a request that gave up. */
#define OVERDUE "no answer in time; the write may or may not have happened, read before trying again"

#define OVERDUE_READ "no answer in time; try again"

/* Builds a request from Python arguments. Always to be ended with request_free, also after -1. */
typedef int (*request_builder)(request *r, size_t value_bytes_max, arguments given);

int build_put(request *r, size_t value_bytes_max, arguments given);
int build_put_new(request *r, size_t value_bytes_max, arguments given);
int build_put_if(request *r, size_t value_bytes_max, arguments given);
int build_delete(request *r, size_t value_bytes_max, arguments given);
int build_delete_if(request *r, size_t value_bytes_max, arguments given);
int build_increment(request *r, size_t value_bytes_max, arguments given);
int build_touch(request *r, size_t value_bytes_max, arguments given);
int build_put_many(request *r, size_t value_bytes_max, arguments given);
int build_delete_many(request *r, size_t value_bytes_max, arguments given);
int build_touch_many(request *r, size_t value_bytes_max, arguments given);
int build_get_record(request *r, size_t value_bytes_max, arguments given);
int build_count(request *r, size_t value_bytes_max, arguments given);
int build_delete_where(request *r, size_t value_bytes_max, arguments given);
/* The items of a bulk operation as a new list of at most 500. */
PyObject *batch(PyObject *items);
void request_init(request *r, verb which);
void request_free(request *r);
concord_status request_submit(const request *r, concord_queue *queue, uint64_t tag);
/* What a completed call answers in Python; raises when it failed. */
PyObject *answer_of(verb which, const concord_completion *completion);

/* store.c */
#define IDLE_QUEUES 16

typedef struct {
    PyObject_HEAD
    concord_db *db; /* NULL once closed */
    unsigned generation;
    size_t value_bytes_max;
    bool may_wait;  /* reads may have to ask other nodes */
    bool is_client; /* nothing is here: scans ask as well */
    /* Completion queues of blocking calls, kept for the next ones. */
    concord_queue *idle[IDLE_QUEUES];
    int idle_count;
} store;

/* Whether the store may be used; false with an exception set. */
static inline bool store_usable(const store *s) {
    if (s->generation != fork_generation)
        return raise_forked(), false;
    if (s->db == NULL)
        return raise_kind(CONCORD_CLOSED, "the store was closed"), false;
    return true;
}

int store_init_type(PyObject *module);
/* A store that is closed still. */
store *store_allocate(PyTypeObject *type);
/* Reads one key by way of a completion queue, waiting without the GIL: 1 there, 0 not there, -1 with an exception. */
int store_read_waiting(store *s, concord_bytes key, const concord_read_options *options, concord_completion *out);

/* cluster.c */
enum { CLUSTER_PROMOTE, CLUSTER_REMOVE, CLUSTER_REPLACE, CLUSTER_TRANSFER_LEADERSHIP, CLUSTER_LEAVE };

/* What _native.Store takes as `cluster`, borrowing from it. 0, or -1 with an exception set. */
int cluster_of_tuple(PyObject *tuple, concord_cluster_options *options);
/* For PyArg_Parse: bytes without NUL, or None as NULL. */
int optional_text(PyObject *object, void *place);
PyObject *store_connect(PyObject *type, PyObject *args);
PyObject *store_is_ready(PyObject *self, PyObject *unused);
PyObject *store_wait_ready(PyObject *self, PyObject *timeout);
PyObject *store_reads_at_once(PyObject *self, PyObject *consistency);
PyObject *store_cluster_add(PyObject *self, PyObject *args);
PyObject *store_cluster_change(PyObject *self, PyObject *args);
int cluster_init(PyObject *module);

/* tokens.c: the token of a call, borrowed from the object; NULL and None are NULL. 0, or -1 with an exception set. */
int token_of_object(PyObject *object, const char **token);
/*
 * With an exception set about what a call was given: replaces it when the call would be refused for its token anyway.
 * `key` may be empty. Only the error's own kinds are looked at: wrong types come first.
 */
void token_first(const store *s, const char *token, uint32_t scopes, concord_bytes key);
PyObject *store_authorize(PyObject *self, PyObject *args);
PyObject *store_with_token(PyObject *self, PyObject *token);
PyObject *store_as_admin(PyObject *self, PyObject *unused);
PyObject *store_auth_enabled(PyObject *self, PyObject *unused);
PyObject *store_token_create(PyObject *self, PyObject *args);
PyObject *store_token_revoke(PyObject *self, PyObject *id_or_token);
int tokens_init(PyObject *module);

/* reads.c: a record that the library lends to lend(), made into an object when it was given back. */
typedef struct {
    PyObject *value; /* set when it was decoded at once */
    uint8_t *copy;   /* otherwise its bytes: `first` or an allocation */
    size_t len;
    uint64_t revision, ttl_ms;
    bool is_there;
    uint8_t *first; /* memory for short ones, may be NULL */
    size_t first_len;
} lent;

/* Reads that wait at all wait no longer than this with the GIL, and in slices without it. */
#define READ_MS_INLINE 1
#define SLICE_MS 100
/* Where a slice begins the work again, each is twice as long as the one before, so that slow networks get there. */
#define SLICE_MS_MAX 800

/* How long waiting goes on; `options` is for its next slice. */
typedef struct {
    concord_read_options options;
    uint64_t deadline_ms, slice_ms;
} patience;

patience patience_of(const concord_read_options *options);
/* Whether there is time for another slice; handles signals, which may set an exception and end it. */
bool patience_left(patience *p);

/* Whether a read need not be waited for: nobody else is asked, not even about its token. */
bool answers_at_once(const store *s, const concord_read_options *options);

/* A concord_read_fn; `context` is an array of lent. */
void lend(void *context, size_t index, concord_bytes value, uint64_t revision, uint64_t ttl_ms);
/* A completed read as a Record. */
PyObject *record_of(const concord_completion *completion);
/* The value that was lent, as a new reference; frees what was copied. */
PyObject *lent_value(lent *l);
/* Value, revision and TTL as a Record. */
PyObject *lent_record(lent *l);
void lent_drop(lent *l);

/* reads.c and scan.c: methods of the store. */
PyObject *store_get(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *keywords);
PyObject *store_get_item(PyObject *self, PyObject *key);
int store_contains(PyObject *self, PyObject *key);
PyObject *store_get_record(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *keywords);
PyObject *store_get_with_ttl(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *keywords);
PyObject *store_ttl(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *keywords);
PyObject *store_get_many(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *keywords);
PyObject *store_scan(PyObject *self, PyObject *args);
int scan_init_type(PyObject *module);

/* queue.c */
int queue_init_type(PyObject *module);

/* types.c: a class made from a spec, added to the module under its name. */
PyObject *add_type(PyObject *module, PyType_Spec *spec, const char *name);
/* Ends an instance of one: frees its memory and lets go of its class. */
void free_instance(PyObject *self);

#endif
