/* Kv: every verb of a single key, with good and bad input. */
#include "check.h"

#include <time.h>

static void pause_ms(long ms) {
  struct timespec time = {ms / 1000, ms % 1000 * 1000000};
  nanosleep(&time, NULL);
}

static void a_value_comes_back(void) {
  concord_db *db = open_memory();
  concord_buffer value, back;
  concord_bytes text;
  OK(concord_value_from_text(concord_str("hello"), &value));
  OK(concord_put(db, key("greeting"), view(value), NULL));
  OK(concord_get(db, key("greeting"), NULL, &back));
  CHECK(same(view(back), value.data, value.len));
  CHECK(back.data[back.len] == 0);
  OK(concord_value_as_text(view(back), &text));
  CHECK(same_text(text, "hello"));
  concord_buffer_free(&value);
  concord_buffer_free(&back);
  EXPECT(CONCORD_NOT_FOUND, concord_get(db, key("nobody"), NULL, &back));
  CHECK(back.data == NULL && back.len == 0);
  OK(concord_close(db));
}

static void keys_are_any_bytes_from_1_to_1024(void) {
  concord_db *db = open_memory();
  concord_buffer value;
  uint8_t bytes[1025];
  concord_bytes any = {bytes, 0};
  for (int byte = 0; byte < 256; byte++) {
    bytes[0] = (uint8_t)byte;
    any.len = 1;
    OK(concord_put(db, any, one(), NULL));
    OK(concord_get(db, any, NULL, &value));
    concord_buffer_free(&value);
  }
  memset(bytes, 0, sizeof bytes);
  any.len = 1024;
  OK(concord_put(db, any, one(), NULL));
  OK(concord_get(db, any, NULL, &value));
  concord_buffer_free(&value);
  size_t wrong[] = {0, 1025};
  for (size_t at = 0; at < 2; at++) {
    int64_t number;
    uint64_t ttl_ms;
    size_t len;
    concord_record record;
    any.len = wrong[at];
    EXPECT(CONCORD_INVALID_KEY, concord_put(db, any, one(), NULL));
    EXPECT(CONCORD_INVALID_KEY, concord_put_new(db, any, one(), NULL));
    EXPECT(CONCORD_INVALID_KEY, concord_put_if(db, any, one(), NULL));
    EXPECT(CONCORD_INVALID_KEY, concord_get(db, any, NULL, &value));
    EXPECT(CONCORD_INVALID_KEY, concord_get_into(db, any, NULL, NULL, 0, &len));
    EXPECT(CONCORD_INVALID_KEY, concord_get_record(db, any, NULL, &record));
    EXPECT(CONCORD_INVALID_KEY, concord_read(db, any, NULL, NULL, NULL));
    EXPECT(CONCORD_INVALID_KEY, concord_ttl(db, any, NULL, &ttl_ms));
    EXPECT(CONCORD_INVALID_KEY, concord_delete(db, any, NULL));
    EXPECT(CONCORD_INVALID_KEY, concord_delete_if(db, any, NULL));
    EXPECT(CONCORD_INVALID_KEY, concord_increment(db, any, 1, 0, NULL, &number));
    EXPECT(CONCORD_INVALID_KEY, concord_touch(db, any, 1000, NULL));
    EXPECT(CONCORD_INVALID_KEY, concord_touch(db, any, 0, NULL));
  }
  OK(concord_close(db));
}

static void values_are_checked_before_they_are_stored(void) {
  concord_db *db = open_memory();
  concord_bytes nothing = {NULL, 0};
  EXPECT(CONCORD_INVALID_VALUE, concord_put(db, key("a"), nothing, NULL));
  EXPECT(CONCORD_INVALID_VALUE, concord_put(db, key("a"), concord_str("\xff"), NULL));
  EXPECT(CONCORD_INVALID_VALUE, concord_put(db, key("a"), concord_str("\x01\x01"), NULL));

  /* 128 lists in one another are fine, 129 are not. */
  uint8_t deep[129];
  memset(deep, 0x81, sizeof deep);
  deep[127] = 0x80;
  concord_bytes nested = {deep, 128};
  OK(concord_put(db, key("deep"), nested, NULL));
  deep[127] = 0x81;
  deep[128] = 0x80;
  nested.len = 129;
  EXPECT(CONCORD_INVALID_VALUE, concord_put(db, key("deep"), nested, NULL));

  /* 17 MiB are too large, a size that lies about itself is no reason to allocate. */
  size_t large = 17u << 20;
  uint8_t *bytes = calloc(large, 1);
  CHECK(bytes != NULL);
  bytes[0] = 0x5a;
  size_t inner = large - 5;
  for (int at = 0; at < 4; at++) bytes[1 + at] = (uint8_t)(inner >> (24 - 8 * at));
  concord_bytes heavy = {bytes, large};
  EXPECT(CONCORD_VALUE_TOO_LARGE, concord_put(db, key("heavy"), heavy, NULL));
  free(bytes);
  const uint8_t lie[] = {0x5b, 0x0f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x00};
  concord_bytes lying = {lie, sizeof lie};
  EXPECT(CONCORD_INVALID_VALUE, concord_put(db, key("lie"), lying, NULL));

  concord_buffer value;
  EXPECT(CONCORD_NOT_FOUND, concord_get(db, key("heavy"), NULL, &value));
  EXPECT(CONCORD_NOT_FOUND, concord_get(db, key("a"), NULL, &value));
  OK(concord_close(db));
}

static void the_largest_value_is_as_the_store_was_opened(void) {
  concord_open_options options = CONCORD_OPEN_OPTIONS_INIT;
  concord_db *db;
  concord_buffer value;
  char text[2000];
  memset(text, 'x', sizeof text);
  options.durability = CONCORD_DURABILITY_MEMORY;
  options.value_bytes_max = 1024;
  OK(concord_open(NULL, &options, &db));
  concord_bytes long_text = {(const uint8_t *)text, sizeof text};
  OK(concord_value_from_text(long_text, &value));
  EXPECT(CONCORD_VALUE_TOO_LARGE, concord_put(db, key("a"), view(value), NULL));
  concord_buffer_free(&value);
  OK(concord_close(db));
}

static void get_into_fills_memory_of_the_caller(void) {
  concord_db *db = open_memory();
  concord_buffer value;
  uint8_t room[8] = {9, 9, 9, 9, 9, 9, 9, 9};
  size_t len = 77;
  OK(concord_value_from_text(concord_str("four"), &value));
  OK(concord_put(db, key("a"), view(value), NULL));
  EXPECT(CONCORD_VALUE_TOO_LARGE, concord_get_into(db, key("a"), NULL, NULL, 0, &len));
  CHECK(len == value.len);
  EXPECT(CONCORD_VALUE_TOO_LARGE, concord_get_into(db, key("a"), NULL, room, 4, &len));
  CHECK(len == value.len && room[0] == 9);
  OK(concord_get_into(db, key("a"), NULL, room, sizeof room, &len));
  CHECK(len == value.len && memcmp(room, value.data, len) == 0 && room[len] == 9);
  OK(concord_get_into(db, key("a"), NULL, room, len, &len));
  EXPECT(CONCORD_NOT_FOUND, concord_get_into(db, key("b"), NULL, room, sizeof room, &len));
  CHECK(len == 0);
  concord_buffer_free(&value);
  OK(concord_close(db));
}

typedef struct {
  int calls;
  size_t index, len;
  uint64_t revision, ttl_ms;
  int64_t number;
} seen;

static void look(void *context, size_t index, concord_bytes value, uint64_t revision, uint64_t ttl_ms) {
  seen *what = context;
  what->calls++;
  what->index = index;
  what->len = value.len;
  what->revision = revision;
  what->ttl_ms = ttl_ms;
  OK(concord_value_as_int(value, &what->number));
}

static void read_shows_a_record_where_it_lies(void) {
  concord_db *db = open_memory();
  concord_write_options options = CONCORD_WRITE_OPTIONS_INIT;
  seen what = {0, 9, 0, 0, 0, 0};
  options.ttl_ms = 60000;
  OK(concord_put(db, key("a"), one(), &options));
  OK(concord_read(db, key("a"), NULL, look, &what));
  CHECK(what.calls == 1 && what.index == 0 && what.len == 1 && what.number == 1);
  CHECK(what.revision > 0 && what.ttl_ms > 58000 && what.ttl_ms <= 60000);
  EXPECT(CONCORD_NOT_FOUND, concord_read(db, key("b"), NULL, look, &what));
  CHECK(what.calls == 1);
  OK(concord_read(db, key("a"), NULL, NULL, NULL));
  EXPECT(CONCORD_NOT_FOUND, concord_read(db, key("b"), NULL, NULL, NULL));
  OK(concord_close(db));
}

static void every_level_of_reading_answers(void) {
  concord_db *db = open_memory();
  concord_read_options options = CONCORD_READ_OPTIONS_INIT;
  concord_buffer value;
  OK(put_int(db, "a", 1));
  for (int level = CONCORD_CONSISTENCY_DEFAULT; level <= CONCORD_CONSISTENCY_STRONG; level++) {
    options.consistency = level;
    options.timeout_ms = 1000;
    OK(concord_get(db, key("a"), &options, &value));
    concord_buffer_free(&value);
  }
  OK(concord_close(db));
}

static void a_record_has_revision_and_lifetime(void) {
  concord_db *db = open_memory();
  concord_record record, later;
  uint64_t ttl_ms = 99;
  OK(put_int(db, "a", 1));
  OK(concord_get_record(db, key("a"), NULL, &record));
  CHECK(record.revision > 0 && record.ttl_ms == 0 && record.value.len == 1);
  OK(concord_ttl(db, key("a"), NULL, &ttl_ms));
  CHECK(ttl_ms == 0);
  OK(put_int(db, "a", 2));
  OK(concord_get_record(db, key("a"), NULL, &later));
  CHECK(later.revision > record.revision);
  concord_record_free(&record);
  concord_record_free(&later);
  concord_record_free(&later);
  EXPECT(CONCORD_NOT_FOUND, concord_get_record(db, key("b"), NULL, &record));
  CHECK(record.value.data == NULL);
  EXPECT(CONCORD_NOT_FOUND, concord_ttl(db, key("b"), NULL, &ttl_ms));
  OK(concord_close(db));
}

static void lifetimes_end(void) {
  concord_db *db = open_memory();
  concord_write_options options = CONCORD_WRITE_OPTIONS_INIT;
  concord_buffer value;
  uint64_t ttl_ms;
  options.ttl_ms = 50;
  OK(concord_put(db, key("short"), one(), &options));
  options.ttl_ms = 60000;
  OK(concord_put(db, key("long"), one(), &options));
  OK(concord_put(db, key("kept"), one(), &options));
  OK(concord_put(db, key("kept"), one(), NULL)); /* no TTL: the old one is removed */
  OK(concord_ttl(db, key("kept"), NULL, &ttl_ms));
  CHECK(ttl_ms == 0);
  OK(concord_touch(db, key("kept"), 5000, NULL));
  OK(concord_ttl(db, key("kept"), NULL, &ttl_ms));
  CHECK(ttl_ms > 3000 && ttl_ms <= 5000);
  EXPECT(CONCORD_INVALID_TTL, concord_touch(db, key("kept"), 0, NULL));
  EXPECT(CONCORD_INVALID_TTL, concord_touch(db, key("kept"), UINT64_MAX, NULL));
  options.ttl_ms = (uint64_t)-1000; /* a deadline in the past, computed carelessly */
  EXPECT(CONCORD_INVALID_TTL, concord_put(db, key("kept"), one(), &options));
  pause_ms(80);
  EXPECT(CONCORD_NOT_FOUND, concord_get(db, key("short"), NULL, &value));
  EXPECT(CONCORD_NOT_FOUND, concord_touch(db, key("short"), 1000, NULL));
  OK(concord_get(db, key("long"), NULL, &value));
  concord_buffer_free(&value);
  OK(concord_close(db));
}

static void delete_is_done_also_when_nothing_is_there(void) {
  concord_db *db = open_memory();
  concord_buffer value;
  OK(put_int(db, "a", 1));
  OK(concord_delete(db, key("a"), NULL));
  EXPECT(CONCORD_NOT_FOUND, concord_get(db, key("a"), NULL, &value));
  OK(concord_delete(db, key("a"), NULL));
  OK(concord_close(db));
}

static void put_new_creates_and_never_overwrites(void) {
  concord_db *db = open_memory();
  concord_write_options options = CONCORD_WRITE_OPTIONS_INIT;
  OK(concord_put_new(db, key("a"), one(), NULL));
  EXPECT(CONCORD_ALREADY_EXISTS, concord_put_new(db, key("a"), one(), NULL));
  options.condition = CONCORD_CONDITION_ABSENT;
  EXPECT(CONCORD_ALREADY_EXISTS, concord_put_new(db, key("a"), one(), &options));
  OK(concord_put_if(db, key("b"), one(), &options));
  EXPECT(CONCORD_ALREADY_EXISTS, concord_put_if(db, key("b"), one(), &options));
  EXPECT(CONCORD_ALREADY_EXISTS, concord_put(db, key("b"), one(), &options));
  options.condition = CONCORD_CONDITION_REVISION;
  options.revision = 1;
  EXPECT(CONCORD_CONFLICTING_CONDITIONS, concord_put_new(db, key("c"), one(), &options));
  OK(concord_close(db));
}

static void put_if_writes_under_its_condition_only(void) {
  concord_db *db = open_memory();
  concord_write_options expected = CONCORD_WRITE_OPTIONS_INIT, revision = CONCORD_WRITE_OPTIONS_INIT;
  concord_buffer three, double_three;
  concord_record record;
  OK(concord_value_from_int(3, &three));
  OK(concord_value_from_double(3.0, &double_three));
  expected.condition = CONCORD_CONDITION_EXPECTED;
  expected.expected = view(double_three);
  EXPECT(CONCORD_NOT_FOUND, concord_put_if(db, key("a"), one(), &expected));
  OK(concord_put(db, key("a"), view(three), NULL));
  OK(concord_put_if(db, key("a"), one(), &expected)); /* 3 is worth 3.0 */
  EXPECT(CONCORD_CONDITION_FAILED, concord_put_if(db, key("a"), one(), &expected));
  CHECK(get_int(db, "a") == 1);

  OK(concord_get_record(db, key("a"), NULL, &record));
  revision.condition = CONCORD_CONDITION_REVISION;
  revision.revision = record.revision;
  OK(concord_put_if(db, key("a"), view(three), &revision));
  EXPECT(CONCORD_CONDITION_FAILED, concord_put_if(db, key("a"), one(), &revision));
  EXPECT(CONCORD_CONDITION_FAILED, concord_delete_if(db, key("a"), &revision));
  CHECK(get_int(db, "a") == 3);
  OK(concord_delete_if(db, key("a"), &expected));
  EXPECT(CONCORD_NOT_FOUND, concord_delete_if(db, key("a"), &expected));
  concord_record_free(&record);
  concord_buffer_free(&three);
  concord_buffer_free(&double_three);
  OK(concord_close(db));
}

/* Promise: a write whose author believes it guarded never runs unguarded. */
static void conditions_that_make_no_sense_are_refused(void) {
  concord_db *db = open_memory();
  concord_write_options none = CONCORD_WRITE_OPTIONS_INIT, options = CONCORD_WRITE_OPTIONS_INIT;
  concord_buffer value;
  EXPECT(CONCORD_MISSING_CONDITION, concord_put_if(db, key("a"), one(), NULL));
  EXPECT(CONCORD_MISSING_CONDITION, concord_put_if(db, key("a"), one(), &none));
  EXPECT(CONCORD_MISSING_CONDITION, concord_delete_if(db, key("a"), NULL));
  options.condition = 17;
  EXPECT(CONCORD_INVALID_CONDITION, concord_put_if(db, key("a"), one(), &options));
  options.condition = CONCORD_CONDITION_EXPECTED; /* but expects nothing */
  EXPECT(CONCORD_INVALID_CONDITION, concord_put_if(db, key("a"), one(), &options));
  options.expected = concord_str("\xff"); /* no value */
  EXPECT(CONCORD_INVALID_VALUE, concord_put_if(db, key("a"), one(), &options));
  options.expected = one();
  options.revision = 5;
  EXPECT(CONCORD_CONFLICTING_CONDITIONS, concord_put_if(db, key("a"), one(), &options));
  options.condition = CONCORD_CONDITION_REVISION;
  EXPECT(CONCORD_CONFLICTING_CONDITIONS, concord_put_if(db, key("a"), one(), &options));
  options.condition = CONCORD_CONDITION_ABSENT;
  EXPECT(CONCORD_CONFLICTING_CONDITIONS, concord_put_if(db, key("a"), one(), &options));
  none.revision = 5; /* a revision, but the kind was forgotten */
  EXPECT(CONCORD_INVALID_CONDITION, concord_put(db, key("a"), one(), &none));
  none.revision = 0;
  none.condition = CONCORD_CONDITION_ABSENT;
  EXPECT(CONCORD_INVALID_CONDITION, concord_touch(db, key("a"), 5, &none));
  EXPECT(CONCORD_INVALID_CONDITION, concord_increment(db, key("a"), 1, 0, &none, NULL));
  EXPECT(CONCORD_NOT_FOUND, concord_get(db, key("a"), NULL, &value));
  OK(concord_close(db));
}

static void increment_counts(void) {
  concord_db *db = open_memory();
  concord_write_options options = CONCORD_WRITE_OPTIONS_INIT;
  concord_buffer text;
  int64_t number = 0;
  uint64_t ttl_ms;
  options.ttl_ms = 60000;
  OK(concord_increment(db, key("n"), 5, 100, &options, &number));
  CHECK(number == 105);
  OK(concord_ttl(db, key("n"), NULL, &ttl_ms));
  CHECK(ttl_ms > 0);
  OK(concord_increment(db, key("n"), -6, 100, NULL, &number));
  CHECK(number == 99 && get_int(db, "n") == 99);
  OK(concord_increment(db, key("n"), 1, 0, NULL, NULL));
  OK(put_int(db, "max", INT64_MAX));
  number = 7;
  EXPECT(CONCORD_VALUE_TOO_LARGE, concord_increment(db, key("max"), 1, 0, NULL, &number));
  CHECK(get_int(db, "max") == INT64_MAX);
  OK(concord_value_from_text(concord_str("12"), &text));
  OK(concord_put(db, key("text"), view(text), NULL));
  EXPECT(CONCORD_NOT_AN_INTEGER, concord_increment(db, key("text"), 1, 0, NULL, &number));
  concord_buffer_free(&text);
  OK(concord_close(db));
}

static void large_values_are_compressed_and_come_back_whole(void) {
  concord_open_options opening = CONCORD_OPEN_OPTIONS_INIT;
  concord_write_options options = CONCORD_WRITE_OPTIONS_INIT;
  size_t size = 3u << 20;
  char *text = malloc(size);
  concord_buffer value, back;
  CHECK(text != NULL);
  for (size_t at = 0; at < size; at++) text[at] = (char)('a' + at * 7 % 13);
  concord_bytes whole = {(const uint8_t *)text, size};
  OK(concord_value_from_text(whole, &value));
  for (int format = CONCORD_COMPRESSION_DEFAULT; format <= CONCORD_COMPRESSION_GZIP; format++) {
    concord_db *db;
    opening.durability = CONCORD_DURABILITY_MEMORY;
    opening.compression = format;
    opening.compression_level = 1;
    opening.compression_threshold_bytes = 100;
    OK(concord_open(NULL, &opening, &db));
    for (int how = CONCORD_COMPRESS_AUTO; how <= CONCORD_COMPRESS_NEVER; how++) {
      options.compress = how;
      OK(concord_put(db, key("large"), view(value), &options));
      OK(concord_get(db, key("large"), NULL, &back));
      CHECK(same(view(back), value.data, value.len));
      concord_buffer_free(&back);
    }
    OK(concord_close(db));
  }
  concord_buffer_free(&value);
  free(text);
}

int main(void) {
  RUN(a_value_comes_back);
  RUN(keys_are_any_bytes_from_1_to_1024);
  RUN(values_are_checked_before_they_are_stored);
  RUN(the_largest_value_is_as_the_store_was_opened);
  RUN(get_into_fills_memory_of_the_caller);
  RUN(read_shows_a_record_where_it_lies);
  RUN(every_level_of_reading_answers);
  RUN(a_record_has_revision_and_lifetime);
  RUN(lifetimes_end);
  RUN(delete_is_done_also_when_nothing_is_there);
  RUN(put_new_creates_and_never_overwrites);
  RUN(put_if_writes_under_its_condition_only);
  RUN(conditions_that_make_no_sense_are_refused);
  RUN(increment_counts);
  RUN(large_values_are_compressed_and_come_back_whole);
  return check_report();
}
