/* Conformance: runs the scripts that all languages run; tests/conformance/README.md explains their form.
 *
 * usage: conformance VECTORS SCRIPT... (tests/golden/values/vectors.txt tests/conformance/basic.txt ...) */
#include "check.h"
#include "json.h"

#include <time.h>

enum { WORDS = 16, ITEMS = 1024 };

static double number_of(span word) { return strtod(word.data, NULL); }
static uint64_t ms_of(span seconds) { return (uint64_t)(number_of(seconds) * 1000 + 0.5); }

/* ---- golden vectors by name ---- */

static struct {
  char name[64];
  concord_buffer value;
} vectors[512];
static size_t vector_count;

static void read_vectors(const char *path) {
  char *line = NULL;
  size_t room = 0;
  FILE *file = fopen(path, "r");
  CHECK(file != NULL);
  while (file != NULL && getline(&line, &room, file) > 0 && vector_count < 512) {
    char *hex = strchr(line, '\t'), *end = hex == NULL ? NULL : strchr(hex + 1, '\t');
    if (end == NULL) continue;
    snprintf(vectors[vector_count].name, sizeof vectors->name, "%.*s", (int)(hex - line), line);
    concord_buffer value = {malloc((size_t)(end - hex)), 0};
    for (hex++; hex < end; hex += 2) {
      unsigned byte = 0;
      CHECK(sscanf(hex, "%2x", &byte) == 1);
      value.data[value.len++] = (uint8_t)byte;
    }
    vectors[vector_count++].value = value;
  }
  free(line);
  if (file != NULL) fclose(file);
}

/* ---- tokens ---- */

/* What the tokens of a step allocated; freed when the step is over. */
static concord_buffer owned[4 * ITEMS];
static void *blocks[4 * ITEMS];
static size_t owned_count, block_count;

static concord_bytes keep(concord_buffer buffer) {
  owned[owned_count++] = buffer;
  return view(buffer);
}

static void *block(size_t size) { return blocks[block_count++] = malloc(size + 1); }

static void forget(void) {
  while (owned_count > 0) concord_buffer_free(&owned[--owned_count]);
  while (block_count > 0) free(blocks[--block_count]);
}

/* What a value of the step was refused with before any verb saw it. */
static concord_status token_status;

static concord_bytes json_value(span json) {
  concord_bytes text = {(const uint8_t *)json.data, json.len};
  concord_buffer value;
  concord_status status = concord_value_from_json(text, &value);
  if (status != CONCORD_OK) token_status = status;
  return keep(value);
}

static concord_bytes key_of(span word) {
  concord_bytes found = {NULL, 0};
  if (begins(word, "hex:")) {
    uint8_t *bytes = block(word.len / 2);
    for (size_t at = 4; at + 1 < word.len; at += 2) {
      unsigned byte = 0;
      CHECK(sscanf(word.data + at, "%2x", &byte) == 1);
      bytes[found.len++] = (uint8_t)byte;
    }
    found.data = bytes;
  } else if (begins(word, "rep:")) {
    char *end;
    found.len = strtoul(word.data + 4, &end, 10);
    uint8_t *bytes = block(found.len);
    memset(bytes, end[1], found.len);
    found.data = bytes;
  } else {
    OK(concord_value_as_text(json_value(word), &found));
  }
  return found;
}

static concord_bytes value_of(span word) {
  if (begins(word, "@")) {
    for (size_t at = 0; at < vector_count; at++) {
      if (is(after(word, 1), vectors[at].name)) return view(vectors[at].value);
    }
    fprintf(stderr, "no golden vector is called %.*s\n", (int)word.len, word.data);
    check_broken = 1;
  }
  if (begins(word, "text*")) {
    char *end;
    size_t times = strtoul(word.data + 5, &end, 10);
    span unit = after(word, (size_t)(end + 1 - word.data));
    uint8_t *text = block(times * unit.len);
    for (size_t at = 0; at < times; at++) memcpy(text + at * unit.len, unit.data, unit.len);
    concord_bytes whole = {text, times * unit.len};
    concord_buffer value;
    OK(concord_value_from_text(whole, &value));
    return keep(value);
  }
  return json_value(word);
}

/* ---- one step ---- */

typedef struct {
  span words[WORDS];
  size_t count;
} sentence;

static span option(const sentence *step, const char *name) {
  for (size_t at = 1; at < step->count; at++) {
    if (begins(step->words[at], name) && step->words[at].data[strlen(name)] == '=') {
      return after(step->words[at], strlen(name) + 1);
    }
  }
  return none();
}

static concord_read_options reading(const sentence *step) {
  concord_read_options options = CONCORD_READ_OPTIONS_INIT;
  span level = option(step, "consistency");
  if (level.data != NULL) {
    options.consistency = is(level, "eventual") ? CONCORD_CONSISTENCY_EVENTUAL
                          : is(level, "leader") ? CONCORD_CONSISTENCY_LEADER
                                                : CONCORD_CONSISTENCY_STRONG;
  }
  return options;
}

static concord_write_options writing(const sentence *step) {
  concord_write_options options = CONCORD_WRITE_OPTIONS_INIT;
  span ttl = option(step, "ttl"), compress = option(step, "compress");
  span expected = option(step, "expected"), revision = option(step, "revision"), where = option(step, "condition");
  if (ttl.data != NULL) options.ttl_ms = ms_of(ttl);
  if (compress.data != NULL) options.compress = is(compress, "true") ? CONCORD_COMPRESS_ALWAYS : CONCORD_COMPRESS_NEVER;
  if (revision.data != NULL) {
    options.condition = CONCORD_CONDITION_REVISION;
    options.revision = (uint64_t)number_of(revision);
  }
  if (where.data != NULL) {
    options.condition = CONCORD_CONDITION_WHERE;
    options.where = key_of(where);
  }
  if (is(expected, ":absent")) {
    options.condition = CONCORD_CONDITION_ABSENT;
  } else if (expected.data != NULL) {
    options.condition = CONCORD_CONDITION_EXPECTED;
    options.expected = value_of(expected);
  }
  return options;
}

static concord_bytes keys[ITEMS];
static concord_put_item put_items[ITEMS];
static concord_touch_item touches[ITEMS];
static concord_record records[ITEMS];
static bool found[ITEMS];
static size_t item_count;

/* Reads the list of a bulk step; items are a key alone, or a list that begins with one. */
static void read_items(span list) {
  span name, item;
  list = inside_of(list);
  for (item_count = 0; item_count < ITEMS && element(&list, &name, &item); item_count++) {
    span part[3] = {none(), none(), none()};
    if (*item.data == '[') {
      item = inside_of(item);
      for (size_t at = 0; at < 3 && element(&item, &name, &part[at]); at++) {
      }
    } else {
      part[0] = item;
    }
    keys[item_count] = key_of(part[0]);
    put_items[item_count] = (concord_put_item){keys[item_count], {NULL, 0}, part[2].data == NULL ? 0 : ms_of(part[2])};
    touches[item_count] = (concord_touch_item){keys[item_count], 0};
  }
}

static void read_values(span list, int lifetimes) {
  span name, item;
  list = inside_of(list);
  for (size_t at = 0; at < item_count && element(&list, &name, &item); at++) {
    span second = none();
    item = inside_of(item);
    if (element(&item, &name, &second)) element(&item, &name, &second);
    if (lifetimes) touches[at].ttl_ms = ms_of(second);
    else put_items[at].value = value_of(second);
  }
}

static size_t distinct_keys(void) {
  size_t distinct = 0;
  for (size_t at = 0; at < item_count; at++) {
    size_t before = 0;
    while (before < at && !same(keys[before], keys[at].data, keys[at].len)) before++;
    distinct += before == at;
  }
  return distinct;
}

static size_t index_of(concord_bytes wanted) {
  for (size_t at = item_count; at-- > 0;) {
    if (same(keys[at], wanted.data, wanted.len)) return at;
  }
  return ITEMS;
}

/* ---- comparing ---- */

static int is_ttl(span word, uint64_t ttl_ms) {
  if (is(word, "null")) return ttl_ms == 0;
  double wanted = number_of(*word.data == '~' ? after(word, 1) : word) * 1000;
  return ttl_ms > 0 && (double)ttl_ms <= wanted && (double)ttl_ms > wanted - 2000;
}

/* Whether two compact JSON texts say the same: the members of an object have no order. */
static int same_json(span left, span right) {
  span name, value, other_name, other;
  size_t members = 0, others = 0;
  if (left.len == 0 || right.len == 0 || *left.data != *right.data) return 0;
  if (*left.data != '{' && *left.data != '[') return same_span(left, right);
  span left_rest = inside_of(left), right_rest = inside_of(right);
  if (*left.data == '[') {
    while (element(&left_rest, &name, &value)) {
      if (!element(&right_rest, &name, &other) || !same_json(value, other)) return 0;
    }
    return !element(&right_rest, &name, &other);
  }
  while (element(&right_rest, &name, &other)) others++;
  for (; element(&left_rest, &name, &value); members++) {
    int matched = 0;
    right_rest = inside_of(right);
    while (!matched && element(&right_rest, &other_name, &other)) {
      matched = same_span(name, other_name) && same_json(value, other);
    }
    if (!matched) return 0;
  }
  return members == others;
}

static int is_value(span word, concord_bytes value) {
  concord_bytes wanted = value_of(word);
  concord_buffer left, right;
  if (same(value, wanted.data, wanted.len)) return 1;
  if (concord_value_to_json(value, &left) != CONCORD_OK) return 0;
  keep(left);
  if (concord_value_to_json(wanted, &right) != CONCORD_OK) return 0;
  keep(right);
  return same_json((span){(char *)left.data, left.len}, (span){(char *)right.data, right.len});
}

/* Compares the object that a bulk step expects with what came for each key. */
static int bulk_matches(span verb, span object) {
  span name, value;
  size_t members = 0;
  object = inside_of(object);
  for (; element(&object, &name, &value); members++) {
    size_t at = index_of(key_of(name));
    if (at == ITEMS) return 0;
    if (is(verb, "get_many")) {
      span wanted = member(value, "ok");
      if (wanted.data == NULL ? records[at].value.data != NULL : !is_value(wanted, view(records[at].value))) return 0;
    } else if (is(verb, "touch_many")) {
      if (found[at] != is(value, "\"ok\"")) return 0;
    } else if (is(verb, "get_all_with_ttl")) {
      if (!is_value(member(value, "value"), view(records[at].value))) return 0;
      if (!is_ttl(member(value, "ttl"), records[at].ttl_ms)) return 0;
    } else if (is(verb, "get_all")) {
      if (!is_value(value, view(records[at].value))) return 0;
    } else if (!is(value, "\"ok\"")) {
      return 0;
    }
  }
  return members == distinct_keys();
}

/* Reads everything into `keys` and `records`. */
static concord_status scan_all(const concord_db *db, const sentence *step) {
  concord_scan_options options = CONCORD_SCAN_OPTIONS_INIT;
  concord_scan *scan;
  concord_item item;
  options.consistency = reading(step).consistency;
  concord_status status = concord_scan_open(db, &options, &scan);
  if (status != CONCORD_OK) return status;
  for (item_count = 0; item_count < ITEMS && (status = concord_scan_next(scan, &item)) == CONCORD_OK; item_count++) {
    uint8_t *copy = block(item.key.len + item.value.len);
    memcpy(copy, item.key.data, item.key.len);
    memcpy(copy + item.key.len, item.value.data, item.value.len);
    keys[item_count] = (concord_bytes){copy, item.key.len};
    records[item_count] = (concord_record){{copy + item.key.len, item.value.len}, item.revision, item.ttl_ms};
  }
  OK(concord_scan_close(scan));
  return status == CONCORD_NOT_FOUND ? CONCORD_OK : status;
}

/* Runs a step over many keys; `result` is what it should answer behind "ok". */
static concord_status run_bulk(const concord_db *db, const sentence *step, span result, int *right) {
  span verb = step->words[0], list = step->words[1];
  concord_read_options read = reading(step);
  concord_write_options write = writing(step);
  concord_status status;
  if (begins(verb, "get_all")) {
    status = scan_all(db, step);
    *right = status == CONCORD_OK && bulk_matches(verb, result);
    return status;
  }
  read_items(list);
  if (begins(verb, "put_many")) {
    read_values(list, 0);
    if (is(verb, "put_many_with_ttl")) write.ttl_ms = ms_of(step->words[2]);
    status = concord_put_many(db, put_items, item_count, &write);
  } else if (is(verb, "delete_many")) {
    status = concord_delete_many(db, keys, item_count, &write);
  } else if (is(verb, "touch_many")) {
    read_values(list, 1);
    status = concord_touch_many(db, touches, item_count, &write, found);
  } else {
    status = concord_get_many(db, keys, item_count, &read, records);
  }
  *right = status == CONCORD_OK && result.data != NULL && bulk_matches(verb, result);
  if (is(verb, "get_many")) concord_records_free(records, item_count <= 500 ? item_count : 0);
  return status;
}

static concord_bytes said(const sentence *step, const char *name) {
  span word = option(step, name);
  return word.data == NULL ? (concord_bytes){NULL, 0} : key_of(word);
}

static concord_selector selecting(const sentence *step) {
  concord_selector selector = CONCORD_SELECTOR_INIT;
  span name, range = option(step, "range"), offset = option(step, "offset"), limit = option(step, "limit");
  span flags = option(step, "flags");
  selector.prefix = said(step, "prefix");
  selector.suffix = said(step, "suffix");
  selector.contains = said(step, "contains");
  selector.pattern = said(step, "pattern");
  selector.where = said(step, "where");
  if (flags.data != NULL) {
    char *letters = block(flags.len);
    memcpy(letters, flags.data, flags.len);
    letters[flags.len] = 0;
    selector.pattern_flags = letters;
  }
  if (range.data != NULL) {
    span end = none();
    range = inside_of(range);
    if (element(&range, &name, &end)) selector.range_from = key_of(end);
    if (element(&range, &name, &end)) selector.range_to = key_of(end);
  }
  if (offset.data != NULL) selector.offset = strtoull(offset.data, NULL, 10);
  if (limit.data != NULL) selector.limit = strtoull(limit.data, NULL, 10);
  return selector;
}

/* Whether the records that a selector picks are the keys, or the pairs, that a list has. */
static concord_status run_scan(const concord_db *db, const sentence *step, span list, int *right) {
  concord_selector selector = selecting(step);
  concord_scan_options options = CONCORD_SCAN_OPTIONS_INIT;
  concord_scan *scan;
  concord_item item;
  span name, wanted;
  options.selector = &selector;
  options.consistency = reading(step).consistency;
  options.keys_only = is(step->words[0], "keys");
  concord_status status = concord_scan_open(db, &options, &scan);
  if (status != CONCORD_OK) return status;
  *right = 1;
  list = inside_of(list);
  while ((status = concord_scan_next(scan, &item)) == CONCORD_OK) {
    *right = *right && element(&list, &name, &wanted);
    if (!*right) break;
    if (!options.keys_only) {
      span second = none(), pair = inside_of(wanted);
      *right = element(&pair, &name, &wanted) && element(&pair, &name, &second) && is_value(second, item.value);
    }
    concord_bytes key = key_of(wanted);
    *right = *right && same(item.key, key.data, key.len);
  }
  *right = *right && !element(&list, &name, &wanted);
  OK(concord_scan_close(scan));
  return status == CONCORD_NOT_FOUND ? CONCORD_OK : status;
}

static concord_status run_query(const concord_db *db, const sentence *step, span result, int *right) {
  concord_selector selector = selecting(step);
  concord_read_options read = reading(step);
  uint64_t count = 0;
  if (!is(step->words[0], "count") && !is(step->words[0], "delete_where")) return run_scan(db, step, result, right);
  concord_status status = is(step->words[0], "count") ? concord_count(db, &selector, &read, &count)
                                                      : concord_delete_where(db, &selector, NULL, &count);
  *right = status == CONCORD_OK && result.data != NULL && count == strtoull(result.data, NULL, 10);
  return status;
}

static concord_status run_read(const concord_db *db, const sentence *step, const span *result, int *right) {
  span verb = step->words[0];
  concord_bytes name = key_of(step->words[1]);
  concord_read_options options = reading(step);
  concord_record record;
  concord_status status;
  if (is(verb, "ttl")) {
    uint64_t ttl_ms;
    status = concord_ttl(db, name, &options, &ttl_ms);
    *right = status == CONCORD_OK && is_ttl(result[0], ttl_ms);
    return status;
  }
  status = concord_get_record(db, name, &options, &record);
  *right = status == CONCORD_OK && is_value(result[0], view(record.value));
  if (is(verb, "get_with_ttl")) *right = *right && is_ttl(result[1], record.ttl_ms);
  if (is(verb, "get_record")) {
    span revision = after(result[1], strlen("rev="));
    *right = *right && record.revision > 0 && is_ttl(after(result[2], strlen("ttl=")), record.ttl_ms);
    *right = *right && (is(revision, "?") || (uint64_t)number_of(revision) == record.revision);
  }
  concord_record_free(&record);
  return status;
}

static concord_status run_write(const concord_db *db, const sentence *step, const span *result, int *right) {
  span verb = step->words[0];
  concord_bytes name = key_of(step->words[1]);
  concord_write_options options = writing(step);
  *right = 1;
  if (is(verb, "delete")) return concord_delete(db, name, &options);
  if (is(verb, "delete_if")) return concord_delete_if(db, name, &options);
  if (is(verb, "touch")) return concord_touch(db, name, ms_of(step->words[2]), &options);
  if (is(verb, "increment")) {
    span by = option(step, "by"), initial = option(step, "initial");
    int64_t sum = 0;
    concord_status status =
        concord_increment(db, name, by.data == NULL ? 1 : strtoll(by.data, NULL, 10),
                          initial.data == NULL ? 0 : strtoll(initial.data, NULL, 10), &options, &sum);
    *right = status == CONCORD_OK && sum == strtoll(result[0].data == NULL ? "0" : result[0].data, NULL, 10);
    return status;
  }
  concord_bytes value = value_of(step->words[2]);
  if (is(verb, "put_with_ttl")) options.ttl_ms = ms_of(step->words[3]);
  if (is(verb, "put_new")) return concord_put_new(db, name, value, &options);
  if (is(verb, "put_if")) return concord_put_if(db, name, value, &options);
  if (is(verb, "put") || is(verb, "put_with_ttl")) return concord_put(db, name, value, &options);
  *right = 0;
  fprintf(stderr, "no verb is called %.*s\n", (int)verb.len, verb.data);
  return CONCORD_INTERNAL;
}

/* Whether a step answers as it should. */
static int run(const concord_db *db, const sentence *step, const sentence *result) {
  span verb = step->words[0];
  int right = 0;
  concord_status status = CONCORD_OK;
  if (is(verb, "sleep_ms")) {
    long ms = (long)number_of(step->words[1]);
    struct timespec time = {ms / 1000, ms % 1000 * 1000000};
    return nanosleep(&time, NULL) == 0;
  }
  int bulk = begins(verb, "get_all") || is(verb, "get_many") || is(verb, "delete_many") || is(verb, "touch_many") ||
             begins(verb, "put_many");
  int read = is(verb, "get") || is(verb, "get_record") || is(verb, "get_with_ttl") || is(verb, "ttl");
  int query = is(verb, "keys") || is(verb, "pairs") || is(verb, "count") || is(verb, "delete_where");
  status = query  ? run_query(db, step, result->words[1], &right)
           : bulk ? run_bulk(db, step, result->words[1], &right)
           : read ? run_read(db, step, &result->words[1], &right)
                  : run_write(db, step, &result->words[1], &right);
  if (token_status != CONCORD_OK) status = token_status;
  if (is(result->words[0], "error")) return is(result->words[1], concord_error_name(status));
  if (status != CONCORD_OK) fprintf(stderr, "answered %s: %s\n", concord_error_name(status), concord_last_error());
  return status == CONCORD_OK && right;
}

/* ---- scripts ---- */

/* Splits a line at single spaces outside JSON strings. */
static void split(const char *line, sentence *step, sentence *result) {
  sentence *into = step;
  int inside = 0;
  *step = *result = (sentence){{{NULL, 0}}, 0};
  const char *from = line;
  for (const char *at = line;; at++) {
    if (*at == 0 || (*at == ' ' && !inside)) {
      span word = {from, (size_t)(at - from)};
      if (is(word, "->")) into = result;
      else if (into->count < WORDS) into->words[into->count++] = word;
      from = at + 1;
    }
    if (*at == 0) return;
    if (inside && *at == '\\') at++;
    else if (*at == '"') inside = !inside;
  }
}

/* Whether a step is one that C's types forbid. Cuts the mark off. */
static int is_not_for_c(char *line) {
  char *mark = strstr(line, " # not: ");
  if (mark == NULL) return 0;
  *mark = 0;
  for (char *word = strtok(mark + 8, ", "); word != NULL; word = strtok(NULL, ", ")) {
    if (strcmp(word, "c") == 0) return 1;
  }
  return 0;
}

int main(int count, char **arguments) {
  char *line = NULL;
  size_t room = 0;
  int skipped = 0;
  if (count < 3) {
    fprintf(stderr, "usage: %s VECTORS SCRIPT...\n", arguments[0]);
    return 2;
  }
  read_vectors(arguments[1]);
  for (int script = 2; script < count; script++) {
    concord_db *db = open_memory();
    FILE *lines = fopen(arguments[script], "r");
    int number = 0, steps = check_passed + check_failed;
    CHECK(lines != NULL);
    while (lines != NULL && getline(&line, &room, lines) > 0) {
      sentence step, result;
      number++;
      line[strcspn(line, "\n")] = 0;
      if (*line == 0 || *line == '#') continue;
      if (strncmp(line, "== ", 3) == 0) {
        OK(concord_close(db));
        db = open_memory();
        continue;
      }
      if (is_not_for_c(line)) {
        skipped++;
        continue;
      }
      check_broken = 0;
      token_status = CONCORD_OK;
      split(line, &step, &result);
      if (result.count > 0 && run(db, &step, &result) && !check_broken) {
        check_passed++;
      } else {
        check_failed++;
        printf("FAILED %s:%d: %.200s\n", arguments[script], number, line);
      }
      forget();
    }
    if (lines != NULL) fclose(lines);
    OK(concord_close(db));
    printf("ok     %s: %d steps\n", arguments[script], check_passed + check_failed - steps);
  }
  for (size_t at = 0; at < vector_count; at++) free(vectors[at].value.data);
  free(line);
  printf("%d steps are not for C\n", skipped);
  return check_report();
}
