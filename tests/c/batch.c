/* Batch: many keys in one operation, and scans over them. */
#include "check.h"

enum { MAX = 500 };

static char names[MAX + 1][16];
static concord_put_item items[MAX + 1];
static concord_bytes keys[MAX + 1];

static void prepare(void) {
  for (int at = 0; at <= MAX; at++) {
    snprintf(names[at], sizeof names[at], "k%04d", at);
    keys[at] = key(names[at]);
    items[at].key = keys[at];
    items[at].value = one();
    items[at].ttl_ms = 0;
  }
}

static size_t count_all(const concord_db *db, const concord_scan_options *options) {
  concord_scan *scan;
  concord_item item, last = {{NULL, 0}, {NULL, 0}, 0, 0};
  concord_status status;
  uint8_t last_key[1024];
  size_t count = 0;
  OK(concord_scan_open(db, options, &scan));
  while ((status = concord_scan_next(scan, &item)) == CONCORD_OK) {
    if (count > 0) {
      size_t common = last.key.len < item.key.len ? last.key.len : item.key.len;
      int order = memcmp(last_key, item.key.data, common);
      CHECK(order < 0 || (order == 0 && last.key.len < item.key.len));
    }
    memcpy(last_key, item.key.data, item.key.len);
    last = item;
    count++;
  }
  EXPECT(CONCORD_NOT_FOUND, status);
  EXPECT(CONCORD_NOT_FOUND, concord_scan_next(scan, &item));
  CHECK(item.key.data == NULL && item.value.data == NULL);
  OK(concord_scan_close(scan));
  return count;
}

static void five_hundred_go_501_do_not(void) {
  concord_db *db = open_memory();
  prepare();
  OK(concord_put_many(db, items, MAX, NULL));
  EXPECT(CONCORD_BATCH_TOO_LARGE, concord_put_many(db, items, MAX + 1, NULL));
  EXPECT(CONCORD_BATCH_TOO_LARGE, concord_put_many(db, NULL, SIZE_MAX, NULL));
  EXPECT(CONCORD_BATCH_TOO_LARGE, concord_delete_many(db, keys, MAX + 1, NULL));
  EXPECT(CONCORD_BATCH_TOO_LARGE, concord_touch_many(db, NULL, MAX + 1, NULL, NULL));
  EXPECT(CONCORD_BATCH_TOO_LARGE, concord_get_many(db, keys, MAX + 1, NULL, NULL));
  CHECK(count_all(db, NULL) == MAX);
  OK(concord_delete_many(db, keys, MAX, NULL));
  OK(concord_delete_many(db, keys, MAX, NULL));
  CHECK(count_all(db, NULL) == 0);
  OK(concord_put_many(db, NULL, 0, NULL));
  OK(concord_delete_many(db, NULL, 0, NULL));
  OK(concord_touch_many(db, NULL, 0, NULL, NULL));
  OK(concord_get_many(db, NULL, 0, NULL, NULL));
  OK(concord_close(db));
}

/* Promise: one bad item, wherever it stands, and nothing of the batch happens. */
static void a_batch_is_all_or_nothing(void) {
  concord_db *db = open_memory();
  concord_record records[3];
  prepare();
  items[1].key.len = 0;
  EXPECT(CONCORD_INVALID_KEY, concord_put_many(db, items, 3, NULL));
  prepare();
  items[2].value = concord_str("\xff");
  EXPECT(CONCORD_INVALID_VALUE, concord_put_many(db, items, 3, NULL));
  prepare();
  items[2].ttl_ms = UINT64_MAX;
  EXPECT(CONCORD_INVALID_TTL, concord_put_many(db, items, 3, NULL));
  CHECK(count_all(db, NULL) == 0);
  prepare();
  OK(concord_put_many(db, items, 3, NULL));
  keys[2].len = 0;
  EXPECT(CONCORD_INVALID_KEY, concord_delete_many(db, keys, 3, NULL));
  EXPECT(CONCORD_INVALID_KEY, concord_get_many(db, keys, 3, NULL, records));
  for (int at = 0; at < 3; at++) CHECK(records[at].value.data == NULL);
  CHECK(count_all(db, NULL) == 3);
  concord_write_options options = CONCORD_WRITE_OPTIONS_INIT;
  options.condition = CONCORD_CONDITION_ABSENT;
  EXPECT(CONCORD_INVALID_CONDITION, concord_put_many(db, items, 3, &options));
  OK(concord_close(db));
}

static void of_duplicate_keys_the_last_wins(void) {
  concord_db *db = open_memory();
  concord_buffer two;
  OK(concord_value_from_int(2, &two));
  concord_put_item twice[2] = {{key("a"), one(), 0}, {key("a"), view(two), 0}};
  OK(concord_put_many(db, twice, 2, NULL));
  CHECK(get_int(db, "a") == 2);
  concord_buffer_free(&two);
  OK(concord_close(db));
}

static void items_take_their_own_lifetime_or_that_of_the_batch(void) {
  concord_db *db = open_memory();
  concord_write_options options = CONCORD_WRITE_OPTIONS_INIT;
  uint64_t ttl_ms;
  concord_put_item two[2] = {{key("own"), one(), 5000}, {key("batch"), one(), 0}};
  options.ttl_ms = 60000;
  OK(concord_put_many(db, two, 2, &options));
  OK(concord_ttl(db, key("own"), NULL, &ttl_ms));
  CHECK(ttl_ms > 0 && ttl_ms <= 5000);
  OK(concord_ttl(db, key("batch"), NULL, &ttl_ms));
  CHECK(ttl_ms > 5000 && ttl_ms <= 60000);
  OK(concord_close(db));
}

static void touch_many_says_what_it_found(void) {
  concord_db *db = open_memory();
  bool found[3] = {false, true, false};
  uint64_t ttl_ms;
  OK(put_int(db, "a", 1));
  OK(put_int(db, "c", 1));
  concord_touch_item three[3] = {{key("a"), 5000}, {key("b"), 5000}, {key("c"), 5000}};
  OK(concord_touch_many(db, three, 3, NULL, found));
  CHECK(found[0] && !found[1] && found[2]);
  OK(concord_touch_many(db, three, 3, NULL, NULL));
  OK(concord_ttl(db, key("c"), NULL, &ttl_ms));
  CHECK(ttl_ms > 0 && ttl_ms <= 5000);
  three[1].ttl_ms = 0;
  EXPECT(CONCORD_INVALID_TOUCH_OPERATION, concord_touch_many(db, three, 3, NULL, found));
  OK(concord_close(db));
}

static void look(void *context, size_t index, concord_bytes value, uint64_t revision, uint64_t ttl_ms) {
  int64_t number = 0;
  OK(concord_value_as_int(value, &number));
  CHECK(revision > 0 && ttl_ms == 0);
  ((int64_t *)context)[index] = number;
}

static void get_many_answers_in_the_order_of_the_keys(void) {
  concord_db *db = open_memory();
  concord_record records[4];
  OK(put_int(db, "a", 1));
  OK(put_int(db, "b", 2));
  concord_bytes wanted[4] = {key("b"), key("nobody"), key("a"), key("b")};
  OK(concord_get_many(db, wanted, 4, NULL, records));
  CHECK(records[0].value.len == 1 && records[0].value.data[0] == 2);
  CHECK(records[1].value.data == NULL && records[1].revision == 0);
  CHECK(records[2].value.len == 1 && records[2].value.data[0] == 1);
  CHECK(records[3].revision == records[0].revision && records[3].revision > records[2].revision);
  concord_records_free(records, 4);
  concord_records_free(records, 4);
  int64_t numbers[4] = {-1, -1, -1, -1};
  OK(concord_read_many(db, wanted, 4, NULL, look, numbers));
  CHECK(numbers[0] == 2 && numbers[1] == -1 && numbers[2] == 1 && numbers[3] == 2);
  EXPECT(CONCORD_INVALID_CONFIG, concord_read_many(db, wanted, 4, NULL, NULL, NULL));
  OK(concord_close(db));
}

static void a_scan_walks_the_keys_that_it_was_asked_for(void) {
  concord_db *db = open_memory();
  concord_scan_options options = CONCORD_SCAN_OPTIONS_INIT;
  int many = rounds(3000, 600);
  for (int at = 0; at < many; at += 500) {
    prepare();
    for (int item = 0; item < 500; item++) {
      snprintf(names[item], sizeof names[item], "n:%05d", at + item);
      items[item].key = key(names[item]);
    }
    OK(concord_put_many(db, items, (size_t)(many - at < 500 ? many - at : 500), NULL));
  }
  OK(put_int(db, "a", 1));
  OK(put_int(db, "z", 1));
  concord_bytes high = {(const uint8_t *)"\xff\xff", 2};
  OK(concord_put(db, high, one(), NULL));
  CHECK(count_all(db, NULL) == (size_t)many + 3);
  CHECK(count_all(db, &options) == (size_t)many + 3);
  options.prefix = key("n:");
  CHECK(count_all(db, &options) == (size_t)many);
  options.prefix = key("n:0000");
  CHECK(count_all(db, &options) == 10);
  options.start = key("n:00005");
  CHECK(count_all(db, &options) == 5);
  options.end = key("n:00007");
  CHECK(count_all(db, &options) == 2);
  options.end = key("n:00005");
  CHECK(count_all(db, &options) == 0);
  options.end = key("m");
  CHECK(count_all(db, &options) == 0);
  options.prefix.len = 0;
  options.end.len = 0;
  options.start = key("n:00599");
  CHECK(count_all(db, &options) == (size_t)many - 599 + 2);
  options.start.len = 0;
  options.prefix = high;
  CHECK(count_all(db, &options) == 1);
  OK(concord_close(db));
}

static void a_scan_sees_the_store_as_it_was(void) {
  concord_db *db = open_memory();
  concord_scan *scan;
  concord_item item;
  size_t count = 0;
  prepare();
  OK(concord_put_many(db, items, 400, NULL));
  OK(concord_scan_open(db, NULL, &scan));
  OK(concord_scan_next(scan, &item));
  CHECK(same_text(item.key, "k0000") && item.value.len == 1 && item.revision > 0 && item.ttl_ms == 0);
  OK(concord_delete_many(db, keys, 400, NULL));
  OK(put_int(db, "k0001a", 1));
  for (count = 1; concord_scan_next(scan, &item) == CONCORD_OK; count++) CHECK(item.key.len == 5);
  CHECK(count == 400);
  OK(concord_scan_close(scan));
  CHECK(count_all(db, NULL) == 1);
  OK(concord_close(db));
}

static void scans_carry_large_values(void) {
  concord_db *db = open_memory();
  concord_write_options options = CONCORD_WRITE_OPTIONS_INIT;
  concord_scan *scan;
  concord_item item;
  concord_buffer value;
  size_t size = 1u << 20;
  uint8_t *bytes = malloc(size);
  CHECK(bytes != NULL);
  options.compress = CONCORD_COMPRESS_NEVER;
  for (int at = 0; at < 5; at++) {
    memset(bytes, at, size);
    concord_bytes whole = {bytes, size};
    OK(concord_value_from_bytes(whole, &value));
    OK(concord_put(db, key((const char *[]){"a", "b", "c", "d", "e"}[at]), view(value), &options));
    concord_buffer_free(&value);
  }
  OK(concord_scan_open(db, NULL, &scan));
  for (int at = 0; at < 5; at++) {
    concord_bytes content;
    OK(concord_scan_next(scan, &item));
    OK(concord_value_as_bytes(item.value, &content));
    CHECK(content.len == size && content.data[0] == at && content.data[size - 1] == at);
  }
  EXPECT(CONCORD_NOT_FOUND, concord_scan_next(scan, &item));
  OK(concord_scan_close(scan));
  free(bytes);
  OK(concord_close(db));
}

int main(void) {
  RUN(five_hundred_go_501_do_not);
  RUN(a_batch_is_all_or_nothing);
  RUN(of_duplicate_keys_the_last_wins);
  RUN(items_take_their_own_lifetime_or_that_of_the_batch);
  RUN(touch_many_says_what_it_found);
  RUN(get_many_answers_in_the_order_of_the_keys);
  RUN(a_scan_walks_the_keys_that_it_was_asked_for);
  RUN(a_scan_sees_the_store_as_it_was);
  RUN(scans_carry_large_values);
  return check_report();
}
