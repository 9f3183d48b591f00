/* Handles: opening and closing, and that no misuse of a handle is more than an error. */
#include "check.h"

#include <sys/wait.h>
#include <unistd.h>

static void the_library_says_which_version_runs(void) {
  CHECK(strcmp(concord_version(), CONCORD_VERSION) == 0);
  char numbers[32];
  snprintf(numbers, sizeof numbers, "%d.%d.%d", CONCORD_VERSION_MAJOR, CONCORD_VERSION_MINOR, CONCORD_VERSION_PATCH);
  CHECK(strcmp(numbers, CONCORD_VERSION) == 0);
}

static void every_status_has_a_name(void) {
  CHECK(strcmp(concord_error_name(CONCORD_OK), "ok") == 0);
  CHECK(strcmp(concord_error_name(CONCORD_NOT_FOUND), "not_found") == 0);
  CHECK(strcmp(concord_error_name(CONCORD_INTERNAL), "internal") == 0);
  for (int status = CONCORD_OK; status <= CONCORD_COMPACTED; status++) {
    CHECK(strcmp(concord_error_name(status), "unknown") != 0);
    for (int other = CONCORD_OK; other < status; other++) {
      CHECK(strcmp(concord_error_name(status), concord_error_name(other)) != 0);
    }
    int retryable = status == CONCORD_TIMEOUT || status == CONCORD_CLUSTER_NOT_READY;
    CHECK(concord_error_is_retryable(status) == (retryable != 0));
  }
  CHECK(strcmp(concord_error_name(-1), "unknown") == 0);
  CHECK(strcmp(concord_error_name(CONCORD_COMPACTED + 1), "unknown") == 0);
  CHECK(strcmp(concord_error_name(INT32_MAX), "unknown") == 0);
  CHECK(!concord_error_is_retryable(-7));
}

static void the_last_error_is_words_and_stays_until_the_next(void) {
  CHECK(concord_last_error() != NULL);
  concord_buffer value;
  concord_db *db = open_memory();
  EXPECT(CONCORD_NOT_FOUND, concord_get(db, key("nobody"), NULL, &value));
  CHECK(strstr(concord_last_error(), "does not exist") != NULL);
  OK(concord_put(db, key("a"), one(), NULL));
  CHECK(strstr(concord_last_error(), "does not exist") != NULL);
  EXPECT(CONCORD_INVALID_CONFIG, concord_get(NULL, key("a"), NULL, &value));
  CHECK(strstr(concord_last_error(), "NULL") != NULL);
  OK(concord_close(db));
}

static void null_is_an_error_everywhere(void) {
  concord_buffer buffer;
  concord_record record;
  concord_item item;
  concord_completion completion;
  concord_scan *scan;
  concord_queue *queue;
  size_t len;
  uint64_t ttl_ms;
  int64_t number;
  EXPECT(CONCORD_INVALID_CONFIG, concord_open(NULL, NULL, NULL));
  EXPECT(CONCORD_INVALID_CONFIG, concord_close(NULL));
  EXPECT(CONCORD_INVALID_CONFIG, concord_get(NULL, key("a"), NULL, &buffer));
  EXPECT(CONCORD_INVALID_CONFIG, concord_get_into(NULL, key("a"), NULL, NULL, 0, &len));
  EXPECT(CONCORD_INVALID_CONFIG, concord_get_record(NULL, key("a"), NULL, &record));
  EXPECT(CONCORD_INVALID_CONFIG, concord_read(NULL, key("a"), NULL, NULL, NULL));
  EXPECT(CONCORD_INVALID_CONFIG, concord_ttl(NULL, key("a"), NULL, &ttl_ms));
  EXPECT(CONCORD_INVALID_CONFIG, concord_put(NULL, key("a"), one(), NULL));
  EXPECT(CONCORD_INVALID_CONFIG, concord_put_new(NULL, key("a"), one(), NULL));
  EXPECT(CONCORD_INVALID_CONFIG, concord_put_if(NULL, key("a"), one(), NULL));
  EXPECT(CONCORD_INVALID_CONFIG, concord_delete(NULL, key("a"), NULL));
  EXPECT(CONCORD_INVALID_CONFIG, concord_increment(NULL, key("a"), 1, 0, NULL, &number));
  EXPECT(CONCORD_INVALID_CONFIG, concord_touch(NULL, key("a"), 1, NULL));
  EXPECT(CONCORD_INVALID_CONFIG, concord_put_many(NULL, NULL, 0, NULL));
  EXPECT(CONCORD_INVALID_CONFIG, concord_delete_many(NULL, NULL, 0, NULL));
  EXPECT(CONCORD_INVALID_CONFIG, concord_touch_many(NULL, NULL, 0, NULL, NULL));
  EXPECT(CONCORD_INVALID_CONFIG, concord_get_many(NULL, NULL, 0, NULL, NULL));
  EXPECT(CONCORD_INVALID_CONFIG, concord_read_many(NULL, NULL, 0, NULL, NULL, NULL));
  EXPECT(CONCORD_INVALID_CONFIG, concord_scan_open(NULL, NULL, &scan));
  EXPECT(CONCORD_INVALID_CONFIG, concord_scan_open_async(NULL, NULL, 1, &scan));
  EXPECT(CONCORD_INVALID_CONFIG, concord_count(NULL, NULL, NULL, &ttl_ms));
  EXPECT(CONCORD_INVALID_CONFIG, concord_delete_where(NULL, NULL, NULL, &ttl_ms));
  EXPECT(CONCORD_INVALID_CONFIG, concord_expression_holds(key("true"), key("a"), one(), 1, 0, NULL));
  EXPECT(CONCORD_INVALID_CONDITION, concord_expression_check((concord_bytes){NULL, 0}));
  EXPECT(CONCORD_INVALID_CONFIG, concord_scan_next(NULL, &item));
  EXPECT(CONCORD_INVALID_CONFIG, concord_scan_close(NULL));
  EXPECT(CONCORD_INVALID_CONFIG, concord_status_json(NULL, &buffer));
  EXPECT(CONCORD_INVALID_CONFIG, concord_members_json(NULL, &buffer));
  EXPECT(CONCORD_INVALID_CONFIG, concord_queue_open(NULL, &queue));
  EXPECT(CONCORD_INVALID_CONFIG, concord_queue_next(NULL, 0, &completion));
  EXPECT(CONCORD_INVALID_CONFIG, concord_queue_take(NULL, &completion, 1, &len));
  EXPECT(CONCORD_INVALID_CONFIG, concord_queue_close(NULL));
  EXPECT(CONCORD_INVALID_CONFIG, concord_put_async(NULL, key("a"), one(), NULL, 1));
  CHECK(concord_queue_fd(NULL) == -1);
  CHECK(scan == NULL && queue == NULL);

  concord_db *db = open_memory();
  EXPECT(CONCORD_INVALID_CONFIG, concord_get(db, key("a"), NULL, NULL));
  EXPECT(CONCORD_INVALID_CONFIG, concord_get_into(db, key("a"), NULL, NULL, 0, NULL));
  EXPECT(CONCORD_INVALID_CONFIG, concord_get_into(db, key("a"), NULL, NULL, 5, &len));
  EXPECT(CONCORD_INVALID_CONFIG, concord_get_record(db, key("a"), NULL, NULL));
  EXPECT(CONCORD_INVALID_CONFIG, concord_ttl(db, key("a"), NULL, NULL));
  EXPECT(CONCORD_INVALID_CONFIG, concord_put_many(db, NULL, 1, NULL));
  EXPECT(CONCORD_INVALID_CONFIG, concord_delete_many(db, NULL, 1, NULL));
  EXPECT(CONCORD_INVALID_CONFIG, concord_touch_many(db, NULL, 1, NULL, NULL));
  EXPECT(CONCORD_INVALID_CONFIG, concord_get_many(db, NULL, 1, NULL, &record));
  EXPECT(CONCORD_INVALID_CONFIG, concord_get_many(db, NULL, 1, NULL, NULL));
  EXPECT(CONCORD_INVALID_CONFIG, concord_scan_open(db, NULL, NULL));
  EXPECT(CONCORD_INVALID_CONFIG, concord_queue_open(db, NULL));
  EXPECT(CONCORD_INVALID_CONFIG, concord_status_json(db, NULL));
  concord_bytes nowhere = {NULL, 3};
  EXPECT(CONCORD_INVALID_CONFIG, concord_put(db, nowhere, one(), NULL));
  EXPECT(CONCORD_INVALID_CONFIG, concord_put(db, key("a"), nowhere, NULL));
  concord_bytes endless = {(const uint8_t *)"a", SIZE_MAX};
  EXPECT(CONCORD_INVALID_CONFIG, concord_put(db, endless, one(), NULL));
  concord_buffer_free(NULL);
  concord_record_free(NULL);
  concord_records_free(NULL, 3);
  concord_completion_free(NULL);
  CHECK(concord_str(NULL).len == 0);
  OK(concord_close(db));
}

static void what_was_freed_may_be_freed_again(void) {
  concord_buffer buffer;
  OK(concord_value_from_int(7, &buffer));
  concord_buffer_free(&buffer);
  CHECK(buffer.data == NULL && buffer.len == 0);
  concord_buffer_free(&buffer);
}

static void after_close_everything_answers_closed(void) {
  concord_db *db = open_memory();
  concord_scan *scan;
  concord_queue *queue;
  concord_buffer buffer;
  concord_completion completion;
  OK(put_int(db, "a", 1));
  OK(concord_queue_open(db, &queue));
  OK(concord_close(db));
  EXPECT(CONCORD_CLOSED, concord_close(db));
  EXPECT(CONCORD_CLOSED, concord_get(db, key("a"), NULL, &buffer));
  CHECK(buffer.data == NULL);
  EXPECT(CONCORD_CLOSED, concord_put(db, key("a"), one(), NULL));
  EXPECT(CONCORD_CLOSED, concord_status_json(db, &buffer));
  EXPECT(CONCORD_CLOSED, concord_scan_open(db, NULL, &scan));
  OK(concord_queue_close(queue));
  EXPECT(CONCORD_CLOSED, concord_queue_close(queue));
  EXPECT(CONCORD_CLOSED, concord_queue_next(queue, 0, &completion));
  EXPECT(CONCORD_CLOSED, concord_put_async(queue, key("a"), one(), NULL, 1));
  CHECK(concord_queue_fd(queue) == -1);
}

static void scans_and_queues_outlive_their_store_as_errors(void) {
  concord_db *db = open_memory();
  concord_scan *scan;
  concord_queue *queue;
  concord_item item;
  concord_completion completion;
  OK(put_int(db, "a", 1));
  OK(concord_scan_open(db, NULL, &scan));
  OK(concord_queue_open(db, &queue));
  OK(concord_close(db));
  EXPECT(CONCORD_CLOSED, concord_scan_next(scan, &item));
  OK(concord_scan_close(scan));
  EXPECT(CONCORD_CLOSED, concord_scan_close(scan));
  EXPECT(CONCORD_CLOSED, concord_scan_next(scan, &item));
  EXPECT(CONCORD_CLOSED, concord_put_async(queue, key("a"), one(), NULL, 1));
  EXPECT(CONCORD_CLOSED, concord_queue_next(queue, -1, &completion));
  OK(concord_queue_close(queue));
}

static void a_handle_of_another_kind_is_refused(void) {
  concord_db *db = open_memory();
  concord_queue *queue;
  concord_buffer buffer;
  concord_item item;
  OK(concord_queue_open(db, &queue));
  EXPECT(CONCORD_INVALID_CONFIG, concord_get((concord_db *)queue, key("a"), NULL, &buffer));
  EXPECT(CONCORD_INVALID_CONFIG, concord_close((concord_db *)queue));
  EXPECT(CONCORD_INVALID_CONFIG, concord_queue_close((concord_queue *)db));
  EXPECT(CONCORD_INVALID_CONFIG, concord_scan_next((concord_scan *)db, &item));
  OK(concord_queue_close(queue));
  OK(concord_close(db));
}

/* Promise: any number whatever in place of a handle is an error, never a crash. */
static void a_handle_out_of_the_blue_is_refused(void) {
  concord_db *db = open_memory();
  concord_buffer buffer;
  uint64_t random = 88172645463325252u;
  for (int round = 0; round < rounds(100000, 2000); round++) {
    random ^= random << 13, random ^= random >> 7, random ^= random << 17;
    uintptr_t number = (uintptr_t)random >> (random & 31);
    if (number == (uintptr_t)db) continue;
    concord_status status = concord_get((concord_db *)number, key("a"), NULL, &buffer);
    CHECK(status == CONCORD_INVALID_CONFIG || status == CONCORD_CLOSED);
    status = concord_scan_close((concord_scan *)number);
    CHECK(status == CONCORD_INVALID_CONFIG || status == CONCORD_CLOSED);
  }
  for (int bit = 0; bit < 64; bit++) {
    uintptr_t number = (uintptr_t)db ^ ((uintptr_t)1 << bit);
    concord_status status = concord_get((concord_db *)number, key("a"), NULL, &buffer);
    CHECK(status == CONCORD_INVALID_CONFIG || status == CONCORD_CLOSED);
  }
  EXPECT(CONCORD_NOT_FOUND, concord_get(db, key("a"), NULL, &buffer));
  OK(concord_close(db));
}

/* Promise: a handle is never valid again, however often its place is given to another. */
static void an_old_handle_never_comes_back(void) {
  concord_db *db = open_memory();
  concord_scan *first, *scan;
  concord_item item;
  OK(concord_scan_open(db, NULL, &first));
  OK(concord_scan_close(first));
  for (int round = 0; round < rounds(20000, 300); round++) {
    OK(concord_scan_open(db, NULL, &scan));
    CHECK(scan != first);
    EXPECT(CONCORD_CLOSED, concord_scan_next(first, &item));
    OK(concord_scan_close(scan));
  }
  OK(concord_close(db));
}

static void bad_options_are_refused(void) {
  concord_db *db = (concord_db *)1;
  concord_open_options options = CONCORD_OPEN_OPTIONS_INIT;
  options.size = 0;
  EXPECT(CONCORD_INVALID_CONFIG, concord_open(NULL, &options, &db));
  CHECK(db == NULL);
  options.size = sizeof options - 1;
  EXPECT(CONCORD_INVALID_CONFIG, concord_open(NULL, &options, &db));
  options.size = SIZE_MAX;
  EXPECT(CONCORD_INVALID_CONFIG, concord_open(NULL, &options, &db));
#define BAD(field, number)                                               \
  do {                                                                   \
    concord_open_options bad = CONCORD_OPEN_OPTIONS_INIT;                \
    bad.field = number;                                                  \
    EXPECT(CONCORD_INVALID_CONFIG, concord_open(NULL, &bad, &db));       \
  } while (0)
  BAD(durability, 4);
  BAD(durability, -1);
  BAD(durability, CONCORD_DURABILITY_INTERVAL); /* without an interval */
  BAD(interval_ms, 5);                          /* without CONCORD_DURABILITY_INTERVAL */
  BAD(consistency, 4);
  BAD(compression, 9);
  BAD(compression_level, 10);
  BAD(value_bytes_max, 1000);
  BAD(value_bytes_max, (size_t)1 << 40);
  BAD(expiry_interval_ms, 9);
  BAD(snapshot_log_bytes, 1000);
  EXPECT(CONCORD_INVALID_CONFIG, concord_open("", NULL, &db));

  /* A newer program's options: what is zero behind the end is fine, what is set is refused. */
  struct {
    concord_open_options known;
    uint64_t unknown;
  } newer = {CONCORD_OPEN_OPTIONS_INIT, 0};
  newer.known.size = sizeof newer;
  newer.known.durability = CONCORD_DURABILITY_MEMORY;
  OK(concord_open(NULL, &newer.known, &db));
  OK(concord_close(db));
  newer.unknown = 1;
  EXPECT(CONCORD_INVALID_CONFIG, concord_open(NULL, &newer.known, &db));

  concord_buffer value;
  concord_read_options reading = CONCORD_READ_OPTIONS_INIT;
  concord_write_options writing = CONCORD_WRITE_OPTIONS_INIT;
  concord_scan_options scanning = CONCORD_SCAN_OPTIONS_INIT;
  concord_scan *scan;
  db = open_memory();
  reading.consistency = 17;
  EXPECT(CONCORD_INVALID_CONFIG, concord_get(db, key("a"), &reading, &value));
  reading.consistency = 0;
  reading.reserved = 1;
  EXPECT(CONCORD_INVALID_CONFIG, concord_get(db, key("a"), &reading, &value));
  writing.compress = 3;
  EXPECT(CONCORD_INVALID_CONFIG, concord_put(db, key("a"), one(), &writing));
  writing.compress = 0;
  writing.size = 3;
  EXPECT(CONCORD_INVALID_CONFIG, concord_put(db, key("a"), one(), &writing));
  scanning.consistency = -5;
  EXPECT(CONCORD_INVALID_CONFIG, concord_scan_open(db, &scanning, &scan));
  OK(concord_close(db));
}

static void a_store_is_there_again_and_belongs_to_one_opener(void) {
  char directory[] = "/tmp/concord-c-XXXXXX";
  CHECK(mkdtemp(directory) != NULL);
  concord_db *db, *second;
  OK(concord_open(directory, NULL, &db));
  OK(put_int(db, "a", 42));
  EXPECT(CONCORD_LOCKED, concord_open(directory, NULL, &second));
  CHECK(second == NULL && strlen(concord_last_error()) > 0);
  OK(concord_close(db));
  OK(concord_open(directory, NULL, &db));
  CHECK(get_int(db, "a") == 42);
  OK(concord_close(db));
  char command[64];
  snprintf(command, sizeof command, "rm -r '%s'", directory);
  CHECK(system(command) == 0);
}

static void a_place_that_is_no_directory_is_refused(void) {
  concord_db *db;
  concord_status status = concord_open("/dev/null/store", NULL, &db);
  CHECK(status == CONCORD_IO || status == CONCORD_INVALID_CONFIG);
  CHECK(db == NULL);
}

static void the_status_is_json(void) {
  concord_db *db = open_memory();
  concord_buffer json, value;
  OK(put_int(db, "a", 1));
  OK(concord_status_json(db, &json));
  CHECK(strstr((char *)json.data, "\"cluster\"") != NULL && strstr((char *)json.data, "\"storage\"") != NULL);
  CHECK(strlen((char *)json.data) == json.len);
  OK(concord_value_from_json(view(json), &value));
  concord_buffer_free(&value);
  concord_buffer_free(&json);
  OK(concord_members_json(db, &json));
  CHECK(json.data[0] == '[');
  OK(concord_value_from_json(view(json), &value));
  concord_buffer_free(&value);
  concord_buffer_free(&json);
  OK(concord_close(db));
}

/* Promise: the child of a fork gets an error at once, never a hang; the parent goes on; the child may open its own. */
static void the_child_of_a_fork_gets_an_error(void) {
  concord_db *db = open_memory();
  concord_queue *queue;
  concord_scan *scan;
  OK(put_int(db, "a", 1));
  OK(concord_queue_open(db, &queue));
  OK(concord_scan_open(db, NULL, &scan));
  int answers[2];
  char answer = 'n';
  CHECK(pipe(answers) == 0);
  fflush(stdout);
  pid_t child = fork();
  if (child == 0) {
    alarm(20); /* a hang is a failure */
    concord_buffer value;
    concord_item item;
    int right = concord_put(db, key("b"), one(), NULL) == CONCORD_CLOSED;
    right = right && strstr(concord_last_error(), "fork") != NULL;
    right = right && concord_get(db, key("a"), NULL, &value) == CONCORD_CLOSED;
    right = right && concord_scan_next(scan, &item) == CONCORD_CLOSED;
    right = right && concord_put_async(queue, key("b"), one(), NULL, 1) == CONCORD_CLOSED;
    right = right && concord_close(db) == CONCORD_CLOSED;
    concord_db *own = open_memory();
    right = right && put_int(own, "c", 3) == CONCORD_OK && get_int(own, "c") == 3;
    concord_queue *own_queue;
    concord_completion done;
    right = right && concord_queue_open(own, &own_queue) == CONCORD_OK;
    right = right && concord_count_async(own_queue, NULL, NULL, 1) == CONCORD_OK;
    right = right && concord_queue_next(own_queue, -1, &done) == CONCORD_OK && done.integer == 1;
    right = right && concord_close(own) == CONCORD_OK;
    _exit(write(answers[1], right ? "y" : "n", 1) == 1 ? 0 : 1);
  }
  close(answers[1]);
  CHECK(read(answers[0], &answer, 1) == 1 && answer == 'y');
  close(answers[0]);
  int how = -1;
  CHECK(waitpid(child, &how, 0) == child && WIFEXITED(how)); /* by itself; valgrind has its own exit code */
  OK(put_int(db, "b", 2));
  CHECK(get_int(db, "b") == 2);
  OK(concord_scan_close(scan));
  OK(concord_queue_close(queue));
  OK(concord_close(db));
}

int main(void) {
  RUN(the_library_says_which_version_runs);
  RUN(every_status_has_a_name);
  RUN(the_last_error_is_words_and_stays_until_the_next);
  RUN(null_is_an_error_everywhere);
  RUN(what_was_freed_may_be_freed_again);
  RUN(after_close_everything_answers_closed);
  RUN(scans_and_queues_outlive_their_store_as_errors);
  RUN(a_handle_of_another_kind_is_refused);
  RUN(a_handle_out_of_the_blue_is_refused);
  RUN(an_old_handle_never_comes_back);
  RUN(bad_options_are_refused);
  RUN(a_store_is_there_again_and_belongs_to_one_opener);
  RUN(a_place_that_is_no_directory_is_refused);
  RUN(the_status_is_json);
  RUN(the_child_of_a_fork_gets_an_error);
  return check_report();
}
