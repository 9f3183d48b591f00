/* Values: making and reading encoded values without a CBOR library. */
#include "check.h"

#include <math.h>

static concord_type type_of(concord_bytes value) {
  concord_type type = CONCORD_TYPE_OTHER;
  OK(concord_value_type(value, &type));
  return type;
}

static void scalars_go_there_and_back(void) {
  concord_buffer value;
  bool truth = false;
  OK(concord_value_from_null(&value));
  CHECK(type_of(view(value)) == CONCORD_TYPE_NULL && value.len == 1);
  concord_buffer_free(&value);
  for (int wanted = 0; wanted < 2; wanted++) {
    OK(concord_value_from_bool(wanted != 0, &value));
    CHECK(type_of(view(value)) == CONCORD_TYPE_BOOL);
    OK(concord_value_as_bool(view(value), &truth));
    CHECK(truth == (wanted != 0));
    concord_buffer_free(&value);
  }
  int64_t numbers[] = {0, 1, -1, 23, 24, 255, 256, 65535, 65536, -65537, 4294967296, INT64_MAX, INT64_MIN};
  for (size_t at = 0; at < sizeof numbers / sizeof *numbers; at++) {
    int64_t back = 7;
    OK(concord_value_from_int(numbers[at], &value));
    CHECK(type_of(view(value)) == CONCORD_TYPE_INT);
    OK(concord_value_as_int(view(value), &back));
    CHECK(back == numbers[at]);
    concord_buffer_free(&value);
  }
  double doubles[] = {0.0, -0.0, 1.5, 1e300, -5e-324, INFINITY, -INFINITY};
  for (size_t at = 0; at < sizeof doubles / sizeof *doubles; at++) {
    double back = 7;
    OK(concord_value_from_double(doubles[at], &value));
    CHECK(type_of(view(value)) == CONCORD_TYPE_DOUBLE);
    OK(concord_value_as_double(view(value), &back));
    CHECK(memcmp(&back, &doubles[at], sizeof back) == 0);
    concord_buffer_free(&value);
  }
  double back = 0;
  OK(concord_value_from_double(NAN, &value));
  OK(concord_value_as_double(view(value), &back));
  CHECK(isnan(back));
  concord_buffer_free(&value);
}

static void text_and_bytes_are_found_where_they_lie(void) {
  concord_buffer value;
  concord_bytes found;
  const char *texts[] = {"", "a", "twenty-four characters..", "Gr\xc3\xbc\xc3\x9f" "e \xf0\x9f\x99\x82"};
  for (size_t at = 0; at < 4; at++) {
    OK(concord_value_from_text(concord_str(texts[at]), &value));
    CHECK(type_of(view(value)) == CONCORD_TYPE_TEXT);
    OK(concord_value_as_text(view(value), &found));
    CHECK(same_text(found, texts[at]) && found.data + found.len == value.data + value.len);
    OK(concord_value_as_bytes(view(value), &found));
    CHECK(same_text(found, texts[at]));
    concord_buffer_free(&value);
  }
  concord_bytes nul = {(const uint8_t *)"a\0b", 3};
  OK(concord_value_from_text(nul, &value));
  OK(concord_value_as_text(view(value), &found));
  CHECK(same(found, "a\0b", 3));
  concord_buffer_free(&value);
  uint8_t all[256];
  for (int at = 0; at < 256; at++) all[at] = (uint8_t)at;
  concord_bytes bytes = {all, sizeof all};
  OK(concord_value_from_bytes(bytes, &value));
  CHECK(type_of(view(value)) == CONCORD_TYPE_BYTES);
  OK(concord_value_as_bytes(view(value), &found));
  CHECK(same(found, all, sizeof all));
  EXPECT(CONCORD_INVALID_VALUE, concord_value_as_text(view(value), &found));
  CHECK(found.data == NULL && found.len == 0);
  concord_buffer_free(&value);
  EXPECT(CONCORD_INVALID_VALUE, concord_value_from_text(bytes, &value));
  CHECK(value.data == NULL);

  /* An atom is a name; strings in pieces are valid, but lie nowhere as a whole. */
  const uint8_t atom[] = {0xd8, CONCORD_TAG_ATOM, 0x62, 'o', 'k'};
  concord_bytes name = {atom, sizeof atom};
  CHECK(type_of(name) == CONCORD_TYPE_ATOM);
  OK(concord_value_as_text(name, &found));
  CHECK(same_text(found, "ok"));
  const uint8_t pieces[] = {0x7f, 0x61, 'a', 0x61, 'b', 0xff};
  concord_bytes in_pieces = {pieces, sizeof pieces};
  OK(concord_value_check(in_pieces));
  EXPECT(CONCORD_INVALID_VALUE, concord_value_as_text(in_pieces, &found));
  const uint8_t end[] = {0x5f, 0x41, 0xff, 0xff};
  concord_bytes ends_alike = {end, sizeof end};
  EXPECT(CONCORD_INVALID_VALUE, concord_value_as_bytes(ends_alike, &found));
}

static void what_is_of_another_type_is_refused(void) {
  concord_buffer text, number, huge, list;
  int64_t integer = 5;
  double real = 5;
  bool truth = true;
  concord_bytes found;
  OK(concord_value_from_text(concord_str("1"), &text));
  OK(concord_value_from_int(1, &number));
  OK(concord_value_from_json(concord_str("9223372036854775808"), &huge));
  OK(concord_value_from_json(concord_str("[1]"), &list));
  EXPECT(CONCORD_INVALID_VALUE, concord_value_as_int(view(text), &integer));
  CHECK(integer == 0 && strlen(concord_last_error()) > 0);
  EXPECT(CONCORD_INVALID_VALUE, concord_value_as_int(view(huge), &integer));
  EXPECT(CONCORD_INVALID_VALUE, concord_value_as_int(view(list), &integer));
  EXPECT(CONCORD_INVALID_VALUE, concord_value_as_double(view(text), &real));
  OK(concord_value_as_double(view(number), &real));
  CHECK(real == 1.0);
  EXPECT(CONCORD_INVALID_VALUE, concord_value_as_bool(view(number), &truth));
  EXPECT(CONCORD_INVALID_VALUE, concord_value_as_text(view(number), &found));
  EXPECT(CONCORD_INVALID_VALUE, concord_value_as_bytes(view(list), &found));
  concord_buffer_free(&text);
  concord_buffer_free(&number);
  concord_buffer_free(&huge);
  concord_buffer_free(&list);
  OK(concord_value_from_int((int64_t)1 << 53, &number));
  OK(concord_value_as_double(view(number), &real));
  concord_buffer_free(&number);
  OK(concord_value_from_int(((int64_t)1 << 53) + 1, &number));
  EXPECT(CONCORD_INVALID_VALUE, concord_value_as_double(view(number), &real));
  concord_buffer_free(&number);
}

static void every_type_has_its_number(void) {
  static const struct {
    const char *json;
    concord_type type;
  } cases[] = {
      {"null", CONCORD_TYPE_NULL},   {"true", CONCORD_TYPE_BOOL},  {"1", CONCORD_TYPE_INT},
      {"1.0", CONCORD_TYPE_DOUBLE},  {"\"a\"", CONCORD_TYPE_TEXT}, {"{\"$bytes\":\"AAE=\"}", CONCORD_TYPE_BYTES},
      {"[1,[2]]", CONCORD_TYPE_LIST}, {"{}", CONCORD_TYPE_MAP},    {"99999999999999999999", CONCORD_TYPE_INT},
  };
  for (size_t at = 0; at < sizeof cases / sizeof *cases; at++) {
    concord_buffer value;
    OK(concord_value_from_json(concord_str(cases[at].json), &value));
    CHECK(type_of(view(value)) == cases[at].type);
    concord_buffer_free(&value);
  }
  const uint8_t date[] = {0xd9, 0x03, 0xec, 0x6a, '2', '0', '2', '5', '-', '1', '0', '-', '2', '1'};
  concord_bytes day = {date, sizeof date};
  CHECK(CONCORD_TAG_DATE == 0x03ec && type_of(day) == CONCORD_TYPE_DATE);
  const uint8_t tuple[] = {0xd9, CONCORD_TAG_TUPLE >> 8, CONCORD_TAG_TUPLE & 0xff, 0x81, 0x01};
  concord_bytes pair = {tuple, sizeof tuple};
  CHECK(type_of(pair) == CONCORD_TYPE_TUPLE);
  const uint8_t set[] = {0xd9, CONCORD_TAG_SET >> 8, CONCORD_TAG_SET & 0xff, 0x81, 0x01};
  concord_bytes elements = {set, sizeof set};
  CHECK(type_of(elements) == CONCORD_TYPE_SET);
  concord_type type = CONCORD_TYPE_MAP;
  EXPECT(CONCORD_INVALID_VALUE, concord_value_type(concord_str("\xff"), &type));
  CHECK(type == CONCORD_TYPE_NULL);
}

static void json_goes_there_and_back(void) {
  const char *texts[] = {"null", "[1,-2,3.5,\"four\",{\"five\":[true,false,null]}]", "{\"$bytes\":\"AAEC/w==\"}",
                         "\"quote \\\" backslash \\\\ newline \\n\"", "123456789012345678901234567890"};
  for (size_t at = 0; at < 5; at++) {
    concord_buffer value, json;
    OK(concord_value_from_json(concord_str(texts[at]), &value));
    OK(concord_value_check(view(value)));
    OK(concord_value_to_json(view(value), &json));
    CHECK(same_text(view(json), texts[at]) && json.data[json.len] == 0);
    concord_buffer_free(&value);
    concord_buffer_free(&json);
  }
  const char *wrong[] = {"", "{", "[1,]", "nul", "1 2", "NaN", "{\"a\":1,}", "\"\\ud800\"", "\x80"};
  for (size_t at = 0; at < 9; at++) {
    concord_buffer value;
    EXPECT(CONCORD_INVALID_VALUE, concord_value_from_json(concord_str(wrong[at]), &value));
    CHECK(value.data == NULL);
  }
  concord_buffer value, json;
  OK(concord_value_from_double(NAN, &value));
  EXPECT(CONCORD_INVALID_VALUE, concord_value_to_json(view(value), &json));
  CHECK(json.data == NULL);
  concord_buffer_free(&value);
}

/* Promise: nesting is counted before it is followed, so no input overflows the stack. */
static void bottomless_nesting_is_an_error(void) {
  size_t depth = 1000000;
  uint8_t *deep = malloc(depth);
  concord_buffer buffer;
  concord_type type;
  int64_t number;
  CHECK(deep != NULL);
  concord_bytes nested = {deep, depth};
  memset(deep, '[', depth);
  EXPECT(CONCORD_INVALID_VALUE, concord_value_from_json(nested, &buffer));
  memset(deep, 0x81, depth);
  EXPECT(CONCORD_INVALID_VALUE, concord_value_check(nested));
  EXPECT(CONCORD_INVALID_VALUE, concord_value_to_json(nested, &buffer));
  EXPECT(CONCORD_INVALID_VALUE, concord_value_type(nested, &type));
  EXPECT(CONCORD_INVALID_VALUE, concord_value_as_int(nested, &number));
  memset(deep, 0x9f, depth);
  EXPECT(CONCORD_INVALID_VALUE, concord_value_check(nested));
  memset(deep, 0xd8, depth);
  EXPECT(CONCORD_INVALID_VALUE, concord_value_check(nested));
  free(deep);
}

/* Promise: any bytes are a value or an error. */
static void random_bytes_harm_nothing(void) {
  uint64_t random = 0x9e3779b97f4a7c15u;
  uint8_t bytes[24];
  for (int round = 0; round < rounds(200000, 3000); round++) {
    concord_buffer json;
    concord_bytes value = {bytes, 1 + (size_t)round % sizeof bytes}, found;
    concord_type type;
    int64_t number;
    for (size_t at = 0; at < sizeof bytes; at++) {
      random ^= random << 13, random ^= random >> 7, random ^= random << 17;
      bytes[at] = (uint8_t)random;
    }
    concord_status checked = concord_value_check(value);
    CHECK(checked == CONCORD_OK || checked == CONCORD_INVALID_VALUE);
    CHECK((concord_value_type(value, &type) == CONCORD_OK) == (checked == CONCORD_OK));
    concord_value_as_int(value, &number);
    if (concord_value_as_text(value, &found) == CONCORD_OK) {
      CHECK(found.len == 0 || (found.data >= bytes && found.data + found.len <= bytes + value.len));
    }
    if (concord_value_to_json(value, &json) == CONCORD_OK) CHECK(checked == CONCORD_OK);
    concord_buffer_free(&json);
  }
}

int main(void) {
  RUN(scalars_go_there_and_back);
  RUN(text_and_bytes_are_found_where_they_lie);
  RUN(what_is_of_another_type_is_refused);
  RUN(every_type_has_its_number);
  RUN(json_goes_there_and_back);
  RUN(bottomless_nesting_is_an_error);
  RUN(random_bytes_harm_nothing);
  return check_report();
}
