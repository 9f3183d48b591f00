/* Query: scans, counts and removals of what a selector picks, and conditions that are expressions. */
#define _DEFAULT_SOURCE
#include "check.h"

#include <time.h>
#include <unistd.h>

static void put_json(const concord_db *db, const char *name, const char *json) {
  concord_buffer value;
  OK(concord_value_from_json(concord_str(json), &value));
  OK(concord_put(db, key(name), view(value), NULL));
  concord_buffer_free(&value);
}

/* The users and products of the documentation. */
static void fill(concord_db *db) {
  put_json(db, "user:1", "{\"role\":\"admin\",\"age\":31}");
  put_json(db, "user:2", "{\"role\":\"user\",\"age\":40}");
  put_json(db, "user:100", "{\"role\":\"admin\",\"age\":29}");
  put_json(db, "product:1", "{\"price\":50}");
  put_json(db, "product:2", "{\"price\":150}");
  put_json(db, "product:3", "{\"price\":199}");
}

static concord_db *shop(void) {
  concord_db *db = open_memory();
  fill(db);
  return db;
}

static concord_selector all(void) {
  concord_selector selector = CONCORD_SELECTOR_INIT;
  return selector;
}

static concord_selector of_prefix(const char *prefix) {
  concord_selector selector = all();
  selector.prefix = key(prefix);
  return selector;
}

/* The keys that a scan gives, with a space behind each. */
static const char *walked(concord_scan *scan) {
  static char keys[4096];
  concord_item item;
  concord_status status;
  *keys = 0;
  while ((status = concord_scan_next(scan, &item)) == CONCORD_OK) {
    strncat(keys, (const char *)item.key.data, item.key.len);
    strcat(keys, " ");
  }
  EXPECT(CONCORD_NOT_FOUND, status);
  OK(concord_scan_close(scan));
  return keys;
}

static const char *keys_of(const concord_db *db, concord_scan_options options) {
  concord_scan *scan = NULL;
  OK(concord_scan_open(db, &options, &scan));
  return scan == NULL ? "" : walked(scan);
}

static const char *picked(const concord_db *db, concord_selector selector) {
  concord_scan_options options = CONCORD_SCAN_OPTIONS_INIT;
  options.selector = &selector;
  options.keys_only = 1;
  return keys_of(db, options);
}

static uint64_t counted(const concord_db *db, concord_selector selector) {
  uint64_t count = UINT64_MAX;
  OK(concord_count(db, &selector, NULL, &count));
  return count;
}

static void the_examples_hold(concord_db *db) {
  concord_selector selector = of_prefix("user:");
  uint64_t count = 0;
  CHECK(strcmp(picked(db, selector), "user:1 user:100 user:2 ") == 0);
  selector.limit = 2;
  CHECK(strcmp(picked(db, selector), "user:1 user:100 ") == 0);
  selector.offset = 1, selector.limit = 5;
  CHECK(strcmp(picked(db, selector), "user:100 user:2 ") == 0);
  CHECK(counted(db, selector) == 2);
  selector.limit = 0;
  CHECK(counted(db, selector) == 0);
  selector = of_prefix("user:"), selector.pattern = key("\\d{3}");
  CHECK(strcmp(picked(db, selector), "user:100 ") == 0);
  selector.pattern = key("USER"), selector.pattern_flags = "i";
  CHECK(counted(db, selector) == 3);
  selector = all(), selector.suffix = key(":1");
  CHECK(strcmp(picked(db, selector), "product:1 user:1 ") == 0);
  selector = all(), selector.contains = key("er:1");
  CHECK(strcmp(picked(db, selector), "user:1 user:100 ") == 0);
  selector = all(), selector.range_from = key("product:2"), selector.range_to = key("user:1");
  CHECK(strcmp(picked(db, selector), "product:2 product:3 user:1 ") == 0);
  selector = of_prefix("user:"), selector.where = key("value.age >= 30 and value.role == \"admin\"");
  CHECK(strcmp(picked(db, selector), "user:1 ") == 0);
  OK(concord_delete_where(db, &selector, NULL, &count));
  CHECK(count == 1 && counted(db, all()) == 5);
  OK(concord_delete_where(db, &selector, NULL, NULL));
  OK(concord_count(db, NULL, NULL, &count));
  CHECK(count == 5);
}

static void the_examples_of_the_documentation_hold(void) {
  concord_db *db = shop();
  the_examples_hold(db);
  OK(concord_close(db));
}

static void a_scan_gives_the_records_that_are_picked(void) {
  concord_db *db = shop();
  concord_scan_options options = CONCORD_SCAN_OPTIONS_INIT;
  concord_selector selector = of_prefix("product:");
  concord_scan *scan;
  concord_item item;
  concord_buffer json;
  selector.where = key("value.price > 100");
  options.selector = &selector;
  OK(concord_scan_open(db, &options, &scan));
  OK(concord_delete(db, key("product:3"), NULL)); /* after that point in time */
  CHECK(concord_scan_ready(scan) == 0);
  OK(concord_scan_next(scan, &item));
  CHECK(concord_scan_ready(scan) == 1 && concord_scan_ready(NULL) == 0);
  CHECK(same_text(item.key, "product:2") && item.revision == 5 && item.ttl_ms == 0);
  OK(concord_value_to_json(item.value, &json));
  CHECK(same_text(view(json), "{\"price\":150}"));
  concord_buffer_free(&json);
  OK(concord_scan_next(scan, &item));
  CHECK(same_text(item.key, "product:3"));
  EXPECT(CONCORD_NOT_FOUND, concord_scan_next(scan, &item));
  EXPECT(CONCORD_NOT_FOUND, concord_scan_next(scan, &item));
  OK(concord_scan_close(scan));
  options.keys_only = 1;
  OK(concord_scan_open(db, &options, &scan));
  OK(concord_scan_next(scan, &item));
  CHECK(same_text(item.key, "product:2") && item.revision == 5 && item.value.len == 0);
  OK(concord_scan_close(scan));
  OK(concord_close(db));
}

/* Promise: start and end narrow a selector exactly as they narrow a scan. */
static void start_and_end_narrow_a_selector(void) {
  static const char *const names[] = {"", "a", "a\x01", "ab", "b", "b:", "c", "\xff"};
  concord_db *db = open_memory();
  concord_selector selector = all();
  for (size_t at = 1; at < sizeof names / sizeof *names; at++) OK(concord_put(db, key(names[at]), one(), NULL));
  OK(concord_put(db, (concord_bytes){(const uint8_t *)"a\0", 2}, one(), NULL));
  for (size_t from = 0; from < sizeof names / sizeof *names; from++) {
    for (size_t to = 0; to < sizeof names / sizeof *names; to++) {
      concord_scan_options options = CONCORD_SCAN_OPTIONS_INIT;
      char plain[4096];
      options.start = key(names[from]), options.end = key(names[to]);
      strcpy(plain, keys_of(db, options));
      options.selector = &selector;
      CHECK(strcmp(plain, keys_of(db, options)) == 0);
      options.keys_only = 1;
      CHECK(strcmp(plain, keys_of(db, options)) == 0);
    }
  }
  concord_scan_options options = CONCORD_SCAN_OPTIONS_INIT;
  selector.range_from = key("a\x01"), selector.range_to = key("b:");
  options.selector = &selector, options.start = key("a"), options.end = key("b:");
  CHECK(strcmp(keys_of(db, options), "a\x01 ab b ") == 0);
  options.start = key("ab"), options.end = key("c");
  CHECK(strcmp(keys_of(db, options), "ab b b: ") == 0);
  options.start = key("c"), options.end = key("");
  CHECK(strcmp(keys_of(db, options), "") == 0);
  OK(concord_close(db));
}

static void what_is_to_be_removed_must_be_said(void) {
  concord_db *db = shop();
  concord_selector selector = all();
  concord_write_options options = CONCORD_WRITE_OPTIONS_INIT;
  uint64_t count = 7;
  EXPECT(CONCORD_INVALID_CONDITION, concord_delete_where(db, NULL, NULL, &count));
  EXPECT(CONCORD_INVALID_CONDITION, concord_delete_where(db, &selector, NULL, &count));
  selector.limit = 3;
  EXPECT(CONCORD_INVALID_CONDITION, concord_delete_where(db, &selector, NULL, &count));
  options.condition = CONCORD_CONDITION_ABSENT;
  selector = of_prefix("user:");
  EXPECT(CONCORD_INVALID_CONDITION, concord_delete_where(db, &selector, &options, &count));
  CHECK(counted(db, all()) == 6);
  selector = of_prefix("");
  OK(concord_delete_where(db, &selector, NULL, &count));
  CHECK(count == 6);
  OK(concord_close(db));
}

static void a_condition_may_be_an_expression(void) {
  concord_db *db = open_memory();
  concord_write_options options = CONCORD_WRITE_OPTIONS_INIT;
  options.condition = CONCORD_CONDITION_WHERE;
  options.where = key("value < 2");
  EXPECT(CONCORD_NOT_FOUND, concord_put_if(db, key("a"), one(), &options));
  OK(concord_put(db, key("a"), one(), NULL));
  OK(concord_put_if(db, key("a"), one(), &options));
  options.where = key("value > 1 or revision < 2");
  EXPECT(CONCORD_CONDITION_FAILED, concord_put_if(db, key("a"), one(), &options));
  EXPECT(CONCORD_CONDITION_FAILED, concord_delete_if(db, key("a"), &options));
  options.where = key("value <");
  EXPECT(CONCORD_INVALID_CONDITION, concord_delete_if(db, key("a"), &options));
  CHECK(concord_last_error_column() == 8 && strstr(concord_last_error(), "column 8") != NULL);
  options.where = (concord_bytes){NULL, 0};
  EXPECT(CONCORD_INVALID_CONDITION, concord_delete_if(db, key("a"), &options));
  CHECK(concord_last_error_column() == 1);
  options.where = key("\xff");
  EXPECT(CONCORD_INVALID_CONDITION, concord_delete_if(db, key("a"), &options));
  CHECK(concord_last_error_column() == 0);
  options.where = key("value == 1"), options.revision = 2;
  EXPECT(CONCORD_CONFLICTING_CONDITIONS, concord_delete_if(db, key("a"), &options));
  options.revision = 0, options.condition = CONCORD_CONDITION_NONE;
  EXPECT(CONCORD_INVALID_CONDITION, concord_delete(db, key("a"), &options));
  options.condition = CONCORD_CONDITION_WHERE;
  OK(concord_delete_if(db, key("a"), &options));
  EXPECT(CONCORD_NOT_FOUND, concord_delete_if(db, key("a"), &options));
  /* A program that was compiled before there were expressions says a smaller size. */
  options = (concord_write_options)CONCORD_WRITE_OPTIONS_INIT;
  options.size = offsetof(concord_write_options, where);
  OK(concord_put(db, key("a"), one(), &options));
  OK(concord_close(db));
}

static double seconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* Every verb refuses it, in little time, and nothing is removed. */
static void refuse(const concord_db *db, concord_selector selector, size_t column) {
  concord_scan_options options = CONCORD_SCAN_OPTIONS_INIT;
  concord_scan *scan = (concord_scan *)db;
  uint64_t count;
  double begun = seconds();
  EXPECT(CONCORD_INVALID_CONDITION, concord_count(db, &selector, NULL, &count));
  CHECK(concord_last_error_column() == column);
  EXPECT(CONCORD_INVALID_CONDITION, concord_delete_where(db, &selector, NULL, NULL));
  options.selector = &selector;
  EXPECT(CONCORD_INVALID_CONDITION, concord_scan_open(db, &options, &scan));
  CHECK(scan == NULL && seconds() - begun < rounds(1, 60));
}

static void what_is_no_selector_is_refused(void) {
  enum { LONG = 1 << 20 };
  concord_db *db = shop();
  concord_selector selector = all();
  uint64_t count;
  uint8_t *text = malloc(LONG);
  memset(text, 'a', LONG);
  concord_bytes megabyte = {text, LONG}, above = {text, 1025}, deep = {text, 4000}, deeper = {text, 20001};
  selector.range_from = key("b"), selector.range_to = key("a");
  refuse(db, selector, 0);
  selector = all(), selector.range_from = key("b");
  refuse(db, selector, 0);
  selector = of_prefix("user:"), selector.pattern_flags = "i";
  refuse(db, selector, 0);
  selector.pattern = key("a"), selector.pattern_flags = "g";
  refuse(db, selector, 0);
  selector = all(), selector.pattern = key("a(?!b)");
  refuse(db, selector, 2);
  selector.pattern = key("(a)\\1");
  refuse(db, selector, 4);
  selector.pattern = key("\xff");
  refuse(db, selector, 0);
  selector.pattern = key("\\w{1000}{1000}");
  EXPECT(CONCORD_INVALID_CONDITION, concord_count(db, &selector, NULL, &count));
  selector.pattern = megabyte;
  refuse(db, selector, 0);
  selector = all(), selector.where = megabyte;
  refuse(db, selector, 0);
  selector.where = key("value.price >");
  refuse(db, selector, 14);
  selector.where = key("");
  refuse(db, selector, 1);
  selector = all(), selector.prefix = above;
  refuse(db, selector, 0);
  selector = all(), selector.suffix = above;
  refuse(db, selector, 0);
  memset(text, '(', 20000);
  memset(text + 10000, ')', 10001);
  text[10000] = '1';
  selector = all(), selector.where = deeper;
  EXPECT(CONCORD_INVALID_CONDITION, concord_count(db, &selector, NULL, &count));
  selector.where = deep;
  EXPECT(CONCORD_INVALID_CONDITION, concord_count(db, &selector, NULL, &count));
  EXPECT(CONCORD_INVALID_CONDITION, concord_expression_check(deep));
  free(text);
  selector = of_prefix("user:");
  selector.prefix.len = SIZE_MAX;
  EXPECT(CONCORD_INVALID_CONFIG, concord_count(db, &selector, NULL, &count));
  selector = all(), selector.size = 3;
  EXPECT(CONCORD_INVALID_CONFIG, concord_count(db, &selector, NULL, &count));
  EXPECT(CONCORD_INVALID_CONFIG, concord_count(db, NULL, NULL, NULL));
  EXPECT(CONCORD_INVALID_CONFIG, concord_count(NULL, NULL, NULL, &count));
  EXPECT(CONCORD_INVALID_CONFIG, concord_delete_where(NULL, NULL, NULL, &count));
  CHECK(counted(db, all()) == 6);
  OK(concord_close(db));
  EXPECT(CONCORD_CLOSED, concord_count(db, NULL, NULL, &count));
}

static void a_scan_with_a_selector_has_one_prefix(void) {
  concord_db *db = shop();
  concord_scan_options options = CONCORD_SCAN_OPTIONS_INIT;
  concord_selector selector = of_prefix("user:");
  concord_scan *scan;
  options.selector = &selector, options.prefix = key("user:");
  EXPECT(CONCORD_INVALID_CONFIG, concord_scan_open(db, &options, &scan));
  options.selector = NULL, options.keys_only = 2;
  EXPECT(CONCORD_INVALID_CONFIG, concord_scan_open(db, &options, &scan));
  options.keys_only = 1;
  CHECK(strcmp(keys_of(db, options), "user:1 user:100 user:2 ") == 0);
  options.size = offsetof(concord_scan_options, selector);
  CHECK(strcmp(keys_of(db, options), "user:1 user:100 user:2 ") == 0);
  OK(concord_close(db));
}

static concord_completion next(concord_queue *queue) {
  concord_completion done;
  OK(concord_queue_next(queue, 60000, &done));
  return done;
}

/* Promise: an event loop reads everything and never waits: so many steps as a completion says come without. */
static void an_event_loop_walks_without_waiting(void) {
  concord_db *db = open_memory();
  concord_queue *queue;
  concord_scan_options options = CONCORD_SCAN_OPTIONS_INIT;
  concord_selector selector = of_prefix("n:");
  concord_scan *scan;
  concord_item item;
  concord_completion done;
  int records = rounds(5000, 1500), seen = 0;
  for (int at = 0; at < records; at++) {
    char name[32];
    snprintf(name, sizeof name, "n:%06d", at);
    OK(concord_put(db, key(name), one(), NULL));
  }
  OK(concord_queue_open(db, &queue));
  OK(concord_count_async(queue, &selector, NULL, 1));
  done = next(queue);
  CHECK(done.tag == 1 && done.status == CONCORD_OK && done.integer == records);
  for (int plain = 0; plain < 2; plain++) {
    options.selector = plain ? NULL : &selector;
    OK(concord_scan_open_async(queue, &options, 2, &scan));
    seen = 0;
    for (done = next(queue); done.status == CONCORD_OK && done.integer > 0; done = next(queue)) {
      for (int64_t at = 0; at < done.integer; at++, seen++) OK(concord_scan_next(scan, &item));
      OK(concord_scan_more_async(queue, scan, 3));
    }
    CHECK(seen == records && done.status == CONCORD_OK && done.tag == 3);
    EXPECT(CONCORD_NOT_FOUND, concord_scan_next(scan, &item));
    OK(concord_scan_close(scan));
  }
  OK(concord_delete_where_async(queue, &selector, NULL, 4));
  done = next(queue);
  CHECK(done.tag == 4 && done.integer == records && done.revision == (uint64_t)records + 1);
  OK(concord_queue_close(queue));
  OK(concord_close(db));
}

/* Promise: a client asks as a member does, waiting or not. */
static void a_client_asks_as_a_member_does(void) {
  char dir[] = "/tmp/concord-query.XXXXXX", removal[64];
  concord_db *db, *client;
  concord_queue *queue;
  concord_scan *scan;
  concord_item item;
  concord_completion done;
  CHECK(mkdtemp(dir) != NULL);
  OK(concord_open(dir, NULL, &db));
  fill(db);
  OK(concord_connect_local(dir, NULL, &client));
  the_examples_hold(client);
  OK(concord_queue_open(client, &queue));
  OK(concord_scan_open_async(queue, NULL, 1, &scan));
  done = next(queue);
  CHECK(done.integer == 5);
  for (int at = 0; at < 5; at++) OK(concord_scan_next(scan, &item));
  OK(concord_scan_more_async(queue, scan, 2));
  CHECK(next(queue).integer == 0);
  OK(concord_scan_close(scan));
  OK(concord_count_async(queue, NULL, NULL, 3));
  CHECK(next(queue).integer == 5);
  OK(concord_queue_close(queue));
  OK(concord_close(client));
  OK(concord_close(db));
  snprintf(removal, sizeof removal, "rm -r %s", dir);
  CHECK(system(removal) == 0);
}

static void errors_of_the_queue_are_told_once(void) {
  concord_db *db = shop();
  concord_queue *queue;
  concord_scan_options options = CONCORD_SCAN_OPTIONS_INIT;
  concord_selector selector = all();
  concord_scan *scan;
  concord_item item;
  concord_completion done;
  OK(concord_queue_open(db, &queue));
  EXPECT(CONCORD_INVALID_CONDITION, concord_delete_where_async(queue, &selector, NULL, 1));
  selector.where = key("value >");
  OK(concord_count_async(queue, &selector, NULL, 2));
  done = next(queue);
  CHECK(done.tag == 2 && done.status == CONCORD_INVALID_CONDITION && done.integer == 8);
  CHECK(strstr((char *)done.message.data, "column 8") != NULL);
  concord_completion_free(&done);
  options.selector = &selector;
  OK(concord_scan_open_async(queue, &options, 3, &scan));
  done = next(queue);
  CHECK(done.tag == 3 && done.status == CONCORD_INVALID_CONDITION);
  concord_completion_free(&done);
  EXPECT(CONCORD_CLOSED, concord_scan_next(scan, &item));
  OK(concord_scan_close(scan));
  EXPECT(CONCORD_CLOSED, concord_scan_more_async(queue, scan, 4));
  EXPECT(CONCORD_INVALID_CONFIG, concord_scan_more_async(queue, NULL, 4));
  EXPECT(CONCORD_INVALID_CONFIG, concord_scan_open_async(NULL, NULL, 4, &scan));
  EXPECT(CONCORD_INVALID_CONFIG, concord_count_async(NULL, NULL, NULL, 4));
  EXPECT(CONCORD_TIMEOUT, concord_queue_next(queue, 50, &done));
  OK(concord_queue_close(queue));
  OK(concord_close(db));
}

/* Many at once, some of a queue that closes, scans closed while they are read ahead, and a store that goes. */
static void closing_while_queries_run_is_clean(void) {
  for (int round = 0; round < rounds(20, 2); round++) {
    concord_db *db = shop();
    concord_queue *queue, *other;
    concord_scan *scans[50];
    OK(concord_queue_open(db, &queue));
    OK(concord_queue_open(db, &other));
    for (uint64_t at = 0; at < 50; at++) {
      OK(concord_count_async(queue, NULL, NULL, at));
      OK(concord_count_async(other, NULL, NULL, at));
      OK(concord_scan_open_async(queue, NULL, at, &scans[at]));
    }
    for (int at = 0; at < 50; at += 2) OK(concord_scan_close(scans[at]));
    OK(concord_queue_close(queue));
    for (int at = 0; at < 50; at++) {
      concord_completion done = next(other);
      CHECK(done.status == CONCORD_OK && done.integer == 6);
    }
    OK(concord_close(db));
    for (int at = 1; at < 50; at += 2) OK(concord_scan_close(scans[at]));
    OK(concord_queue_close(other));
  }
}

static void a_token_is_judged_first(void) {
  concord_open_options open = CONCORD_OPEN_OPTIONS_INIT;
  concord_token_options rights = CONCORD_TOKEN_OPTIONS_INIT;
  concord_read_options reading = CONCORD_READ_OPTIONS_INIT;
  concord_scan_options scanning = CONCORD_SCAN_OPTIONS_INIT;
  concord_write_options writing = CONCORD_WRITE_OPTIONS_INIT;
  concord_bytes prefix = key("user:");
  concord_selector selector = all();
  concord_buffer token;
  concord_db *db, *admin;
  concord_queue *queue;
  concord_scan *scan;
  uint64_t count;
  open.auth_enabled = CONCORD_SWITCH_ON;
  OK(concord_open(NULL, &open, &db));
  OK(concord_as_admin(db, &admin));
  OK(concord_put(admin, key("user:1"), one(), NULL));
  OK(concord_put(admin, key("x"), one(), NULL));
  rights.scopes = CONCORD_SCOPE_READ, rights.key_prefixes = &prefix, rights.key_prefix_count = 1;
  OK(concord_token_create(admin, &rights, &token, NULL));
  reading.token = scanning.token = writing.token = (char *)token.data;
  selector.where = key("value >");
  scanning.selector = &selector;
  OK(concord_queue_open(db, &queue));
  EXPECT(CONCORD_UNAUTHORIZED, concord_count(db, &selector, NULL, &count));
  EXPECT(CONCORD_UNAUTHORIZED, concord_delete_where(db, &selector, NULL, &count));
  EXPECT(CONCORD_UNAUTHORIZED, concord_count_async(queue, &selector, NULL, 1));
  EXPECT(CONCORD_UNAUTHORIZED, concord_scan_open_async(queue, NULL, 1, &scan));
  selector = all(), selector.suffix = key("1");
  EXPECT(CONCORD_FORBIDDEN, concord_count(db, &selector, &reading, &count));
  EXPECT(CONCORD_FORBIDDEN, concord_scan_open(db, &scanning, &scan));
  selector.prefix = key("user:");
  OK(concord_count(db, &selector, &reading, &count));
  CHECK(count == 1);
  OK(concord_scan_open(db, &scanning, &scan));
  CHECK(strcmp(walked(scan), "user:1 ") == 0);
  EXPECT(CONCORD_FORBIDDEN, concord_delete_where(db, &selector, &writing, &count));
  OK(concord_count_async(queue, &selector, &reading, 2));
  CHECK(next(queue).integer == 1);
  concord_buffer_free(&token);
  OK(concord_queue_close(queue));
  OK(concord_close(db));
}

int main(void) {
  RUN(the_examples_of_the_documentation_hold);
  RUN(a_scan_gives_the_records_that_are_picked);
  RUN(start_and_end_narrow_a_selector);
  RUN(what_is_to_be_removed_must_be_said);
  RUN(a_condition_may_be_an_expression);
  RUN(what_is_no_selector_is_refused);
  RUN(a_scan_with_a_selector_has_one_prefix);
  RUN(an_event_loop_walks_without_waiting);
  RUN(a_client_asks_as_a_member_does);
  RUN(errors_of_the_queue_are_told_once);
  RUN(closing_while_queries_run_is_clean);
  RUN(a_token_is_judged_first);
  return check_report();
}
