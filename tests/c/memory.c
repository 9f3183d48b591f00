/* Memory: a million operations and hundreds of stores later the process is no larger. */
#define _DEFAULT_SOURCE
#include "check.h"

#include <unistd.h>

/* Resident memory of this process, bytes. */
static long resident(void) {
  long pages = 0, all = 0;
  FILE *file = fopen("/proc/self/statm", "r");
  CHECK(file != NULL && fscanf(file, "%ld %ld", &all, &pages) == 2);
  if (file != NULL) fclose(file);
  return pages * sysconf(_SC_PAGESIZE);
}

static void grew_less_than(long before, long limit) {
  long grown = resident() - before;
  if (grown >= limit) fprintf(stderr, "grew by %ld bytes\n", grown);
  CHECK(grown < limit);
}

static void look(void *context, size_t index, concord_bytes value, uint64_t revision, uint64_t ttl_ms) {
  (void)index, (void)revision, (void)ttl_ms;
  *(size_t *)context += value.len;
}

/* Twenty calls that allocate, fail, or both; four of them writes that do not wait. */
static void twenty_calls(concord_db *db, concord_queue *queue, int round) {
  char name[32];
  uint8_t room[256];
  size_t len = 0;
  uint64_t ttl_ms;
  int64_t number;
  concord_buffer value, back, json;
  concord_record record, records[2];
  concord_scan *scan;
  concord_item item;
  concord_completion done[8];
  concord_bytes empty = {NULL, 0}, text;
  snprintf(name, sizeof name, "key:%d", round % 1000);
  concord_bytes pair[2] = {key(name), key("nobody")};
  OK(concord_value_from_text(concord_str("a text of about a hundred bytes, long enough to be worth a block of memory"), &value));
  OK(concord_put_async(queue, key(name), view(value), NULL, 1));
  OK(concord_increment_async(queue, key("n"), 1, 0, NULL, 2));
  OK(concord_get_async(queue, key("nobody"), NULL, 3));
  OK(concord_delete_async(queue, key("nobody"), NULL, 4));
  EXPECT(CONCORD_INVALID_KEY, concord_put_async(queue, empty, view(value), NULL, 5));
  for (size_t taken = 0, count = 0; taken < 4; taken += count) {
    OK(concord_queue_next(queue, 20000, &done[0]));
    OK(concord_queue_take(queue, done + 1, 7, &count));
    for (size_t at = 0; at <= count; at++) concord_completion_free(&done[at]);
    count++;
  }
  OK(concord_get(db, key(name), NULL, &back));
  CHECK(same(view(back), value.data, value.len));
  OK(concord_value_as_text(view(back), &text));
  OK(concord_value_to_json(view(back), &json));
  concord_buffer_free(&json);
  concord_buffer_free(&back);
  concord_buffer_free(&value);
  EXPECT(CONCORD_NOT_FOUND, concord_get(db, key("nobody"), NULL, &back));
  EXPECT(CONCORD_INVALID_KEY, concord_get(db, empty, NULL, &back));
  OK(concord_get_into(db, key(name), NULL, room, sizeof room, &len));
  OK(concord_get_record(db, key(name), NULL, &record));
  concord_record_free(&record);
  OK(concord_get_many(db, pair, 2, NULL, records));
  concord_records_free(records, 2);
  OK(concord_read(db, key(name), NULL, look, &len));
  OK(concord_ttl(db, key(name), NULL, &ttl_ms));
  EXPECT(CONCORD_INVALID_VALUE, concord_value_as_int(concord_str("\xff"), &number));
  EXPECT(CONCORD_INVALID_VALUE, concord_value_from_json(concord_str("[1,"), &json));
  OK(concord_scan_open(db, NULL, &scan));
  OK(concord_scan_next(scan, &item));
  OK(concord_scan_close(scan));
}

static void a_million_operations_leave_nothing_behind(void) {
  concord_open_options options = CONCORD_OPEN_OPTIONS_INIT;
  concord_db *db;
  concord_queue *queue;
  options.durability = CONCORD_DURABILITY_MEMORY;
  options.snapshot_log_bytes = 1 << 20; /* so that the log in memory is not what grows */
  OK(concord_open(NULL, &options, &db));
  OK(concord_queue_open(db, &queue));
  int all = rounds(50000, 100);
  for (int round = 0; round < all / 5; round++) twenty_calls(db, queue, round);
  long before = resident();
  for (int round = 0; round < all; round++) twenty_calls(db, queue, round);
  grew_less_than(before, 16 << 20);
  OK(concord_queue_close(queue));
  OK(concord_close(db));
}

static void stores_leave_nothing_behind(void) {
  long before = 0;
  int all = rounds(300, 3);
  for (int round = 0; round < all + all / 3; round++) {
    if (round == all / 3) before = resident();
    concord_db *db = open_memory();
    concord_queue *queue;
    OK(concord_queue_open(db, &queue));
    OK(concord_put_async(queue, key("a"), one(), NULL, 1));
    OK(put_int(db, "b", round));
    OK(concord_close(db));
    OK(concord_queue_close(queue));
  }
  grew_less_than(before, 16 << 20);
}

/* Tokens made, used by handles and by options, listed and revoked; handles of stores that end before them. */
static void a_token_comes_and_goes(concord_db *db, concord_db *admin, concord_queue *queue, const char *lasting) {
  concord_token_options options = CONCORD_TOKEN_OPTIONS_INIT;
  concord_write_options writing = CONCORD_WRITE_OPTIONS_INIT;
  concord_bytes prefixes[] = {key("a"), key("b")};
  concord_buffer token, info, text;
  concord_completion done;
  concord_db *named;
  options.scopes = CONCORD_SCOPE_READ;
  options.key_prefixes = prefixes;
  options.key_prefix_count = 2;
  OK(concord_token_create(admin, &options, &token, &info));
  OK(concord_with_token(db, (char *)token.data, &named));
  EXPECT(CONCORD_FORBIDDEN, put_int(named, "a", 1));
  EXPECT(CONCORD_FORBIDDEN, concord_get(named, key("other"), NULL, &text));
  EXPECT(CONCORD_UNAUTHORIZED, concord_get(db, key("a"), NULL, &text));
  OK(concord_close(named));
  writing.token = lasting;
  OK(concord_put(db, key("a"), one(), &writing));
  OK(concord_put_async(queue, key("a"), one(), &writing, 1));
  OK(concord_queue_next(queue, 20000, &done));
  concord_completion_free(&done);
  OK(concord_tokens_json(admin, &text));
  concord_buffer_free(&text);
  OK(concord_metrics_text(db, &text));
  concord_buffer_free(&text);
  OK(concord_token_revoke(admin, (char *)token.data));
  EXPECT(CONCORD_UNAUTHORIZED, concord_with_token(db, (char *)token.data, &named));
  concord_buffer_free(&token);
  concord_buffer_free(&info);
}

static void tokens_leave_nothing_behind(void) {
  concord_open_options options = CONCORD_OPEN_OPTIONS_INIT;
  concord_token_options lasting = CONCORD_TOKEN_OPTIONS_INIT;
  concord_db *db, *admin;
  concord_queue *queue;
  concord_buffer token;
  options.auth_enabled = CONCORD_SWITCH_ON;
  options.snapshot_log_bytes = 1 << 20;
  OK(concord_open(NULL, &options, &db));
  OK(concord_as_admin(db, &admin));
  lasting.scopes = CONCORD_SCOPE_WRITE;
  OK(concord_token_create(admin, &lasting, &token, NULL));
  OK(concord_queue_open(db, &queue));
  int all = rounds(5000, 20);
  for (int round = 0; round < all / 2; round++) a_token_comes_and_goes(db, admin, queue, (char *)token.data);
  long before = resident();
  for (int round = 0; round < all; round++) a_token_comes_and_goes(db, admin, queue, (char *)token.data);
  grew_less_than(before, 16 << 20);
  concord_buffer_free(&token);
  OK(concord_queue_close(queue));
  OK(concord_close(db)); /* `admin` with it */
}

static void what_is_served_leaves_nothing_behind(void) {
  concord_http_options http = CONCORD_HTTP_OPTIONS_INIT;
  concord_open_options options = CONCORD_OPEN_OPTIONS_INIT;
  long before = 0;
  int all = rounds(60, 2);
  http.api_port = CONCORD_PORT_ANY;
  options.http = &http;
  for (int round = 0; round < all + all / 2; round++) {
    concord_db *db, *admin;
    concord_buffer address;
    if (round == all / 2) before = resident();
    OK(concord_open(NULL, &options, &db));
    OK(concord_as_admin(db, &admin));
    OK(concord_api_address(db, &address));
    concord_buffer_free(&address);
    OK(concord_close(db));
  }
  grew_less_than(before, 16 << 20);
}

int main(void) {
  RUN(tokens_leave_nothing_behind);
  RUN(what_is_served_leaves_nothing_behind);
  RUN(a_million_operations_leave_nothing_behind);
  RUN(stores_leave_nothing_behind);
  return check_report();
}
