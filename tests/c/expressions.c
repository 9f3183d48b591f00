/* Expressions: the golden cases of the expression language, as a C program meets them.
 *
 * usage: expressions FILE (tests/golden/expressions.json) */
#include "check.h"
#include "json.h"

/* The text of a JSON string. */
static concord_buffer text_of(span json) {
  concord_bytes bytes = {(const uint8_t *)json.data, json.len}, text;
  concord_buffer value, copy = {malloc(json.len + 1), 0};
  OK(concord_value_from_json(bytes, &value));
  OK(concord_value_as_text(view(value), &text));
  memcpy(copy.data, text.data, text.len);
  copy.len = text.len;
  concord_buffer_free(&value);
  return copy;
}

/* The value of a case: of its JSON, of its bytes, or null. */
static concord_buffer value_of(span line) {
  span json = member(line, "value"), hex = inside_of(member(line, "cbor"));
  concord_buffer value = {NULL, 0};
  if (hex.data != NULL) {
    value.data = malloc(hex.len);
    for (size_t at = 0; at + 1 < hex.len; at += 2) {
      unsigned byte = 0;
      CHECK(sscanf(hex.data + at, "%2x", &byte) == 1);
      value.data[value.len++] = (uint8_t)byte;
    }
    return value;
  }
  if (json.data == NULL) json = (span){"null", 4};
  OK(concord_value_from_json((concord_bytes){(const uint8_t *)json.data, json.len}, &value));
  return value;
}

static void is_refused(span line, concord_bytes expression) {
  uint64_t count;
  concord_db *db = open_memory();
  concord_selector selector = CONCORD_SELECTOR_INIT;
  size_t column = strtoul(member(line, "column").data, NULL, 10);
  EXPECT(CONCORD_INVALID_CONDITION, concord_expression_check(expression));
  CHECK(concord_last_error_column() == column);
  selector.where = expression.len == 0 ? key("") : expression;
  EXPECT(CONCORD_INVALID_CONDITION, concord_count(db, &selector, NULL, &count));
  CHECK(concord_last_error_column() == column);
  OK(concord_close(db));
}

static void holds_as_told(span line, concord_bytes expression) {
  span name = member(line, "key"), revision = member(line, "revision"), ttl = member(line, "ttl");
  concord_buffer value = value_of(line), named = {NULL, 0};
  bool holds;
  if (name.data != NULL) named = text_of(name);
  OK(concord_expression_check(expression));
  OK(concord_expression_holds(expression, name.data == NULL ? key("k") : view(named), view(value),
                              revision.data == NULL ? 1 : strtoull(revision.data, NULL, 10),
                              ttl.data == NULL ? 0 : (uint64_t)(strtod(ttl.data, NULL) * 1000), &holds));
  CHECK(holds == is(member(line, "result"), "true"));
  free(named.data);
  free(value.data);
}

int main(int count, char **arguments) {
  char *line = NULL;
  size_t room = 0;
  FILE *file = count == 2 ? fopen(arguments[1], "r") : NULL;
  if (file == NULL) {
    fprintf(stderr, "usage: %s tests/golden/expressions.json\n", arguments[0]);
    return 2;
  }
  while (getline(&line, &room, file) > 0) {
    size_t len = strcspn(line, "\n");
    if (*line != '{') continue;
    if (line[len - 1] == ',') len--;
    span whole = {line, len};
    concord_buffer expression = text_of(member(whole, "expression"));
    check_broken = 0;
    if (member(whole, "column").data != NULL) is_refused(whole, view(expression));
    else holds_as_told(whole, view(expression));
    if (check_broken) printf("FAILED %.*s\n", (int)len, line);
    check_broken ? check_failed++ : check_passed++;
    free(expression.data);
  }
  free(line);
  fclose(file);
  CHECK(check_passed + check_failed > 150);
  return check_report();
}
