/* Golden: the golden vectors of the value model, as a C program meets them.
 *
 * usage: golden FOLDER (tests/golden/values) */
#include "check.h"

enum { COLUMNS = 4 };

static const char *folder;
static concord_db *db;

/* One line of a file: name, bytes, and what stands in the other columns. */
typedef struct {
  char *column[COLUMNS];
  uint8_t *bytes;
  concord_bytes value;
} vector;

static size_t unhex(const char *hex, uint8_t *into) {
  size_t len = 0;
  for (; hex[0] != 0 && hex[1] != 0; hex += 2) {
    unsigned byte;
    CHECK(sscanf(hex, "%2x", &byte) == 1);
    into[len++] = (uint8_t)byte;
  }
  CHECK(*hex == 0);
  return len;
}

/* Calls `judge` for each line of a file and answers how many there were. */
static int for_each(const char *file, void (*judge)(const vector *)) {
  enum { LINE = 1 << 18 };
  char path[512], *line = malloc(LINE);
  int count = 0;
  snprintf(path, sizeof path, "%s/%s", folder, file);
  FILE *lines = fopen(path, "r");
  CHECK(lines != NULL && line != NULL);
  while (lines != NULL && line != NULL && fgets(line, LINE, lines) != NULL) {
    vector read = {{line, (char *)"", (char *)"", (char *)""}, NULL, {NULL, 0}};
    line[strcspn(line, "\n")] = 0;
    for (int column = 1; column < COLUMNS; column++) {
      char *tab = strchr(read.column[column - 1], '\t');
      if (tab == NULL) break;
      *tab = 0;
      read.column[column] = tab + 1;
    }
    read.bytes = malloc(strlen(read.column[1]) / 2 + 1);
    read.value.data = read.bytes;
    read.value.len = unhex(read.column[1], read.bytes);
    int broken = check_broken;
    judge(&read);
    if (check_broken && !broken) fprintf(stderr, "  in %s, line %d: %s\n", file, count + 1, read.column[0]);
    free(read.bytes);
    count++;
  }
  if (lines != NULL) fclose(lines);
  free(line);
  return count;
}

static void is_accepted(const vector *read) {
  concord_buffer back, json, again, json_again;
  OK(concord_value_check(read->value));
  OK(concord_put(db, key("golden"), read->value, NULL));
  OK(concord_get(db, key("golden"), NULL, &back));
  CHECK(same(view(back), read->value.data, read->value.len));
  concord_buffer_free(&back);
  if (strcmp(read->column[2], "-") == 0) {
    EXPECT(CONCORD_INVALID_VALUE, concord_value_to_json(read->value, &json));
    return;
  }
  OK(concord_value_to_json(read->value, &json));
  CHECK(same_text(view(json), read->column[2]));
  OK(concord_value_from_json(view(json), &again));
  OK(concord_value_to_json(view(again), &json_again));
  CHECK(same(view(json_again), json.data, json.len));
  concord_buffer_free(&json);
  concord_buffer_free(&again);
  concord_buffer_free(&json_again);
}

static void is_worth_the_preferred_form(const vector *read) {
  uint8_t *bytes = malloc(strlen(read->column[2]) / 2 + 1);
  concord_bytes preferred = {bytes, unhex(read->column[2], bytes)};
  concord_buffer ours, theirs;
  concord_type type, preferred_type;
  OK(concord_value_check(read->value));
  OK(concord_value_type(read->value, &type));
  OK(concord_value_type(preferred, &preferred_type));
  CHECK(type == preferred_type);
  concord_status status = concord_value_to_json(read->value, &ours);
  CHECK(concord_value_to_json(preferred, &theirs) == status);
  CHECK(same(view(ours), theirs.data, theirs.len));
  concord_buffer_free(&ours);
  concord_buffer_free(&theirs);
  free(bytes);
}

static void is_refused(const vector *read) {
  concord_buffer json;
  concord_type type;
  EXPECT(CONCORD_INVALID_VALUE, concord_value_check(read->value));
  EXPECT(CONCORD_INVALID_VALUE, concord_value_type(read->value, &type));
  EXPECT(CONCORD_INVALID_VALUE, concord_value_to_json(read->value, &json));
  EXPECT(CONCORD_INVALID_VALUE, concord_put(db, key("refused"), read->value, NULL));
}

static void every_vector_is_a_value(void) { CHECK(for_each("vectors.txt", is_accepted) >= 80); }

static void every_other_form_is_worth_the_preferred_one(void) {
  CHECK(for_each("accepted.txt", is_worth_the_preferred_form) >= 10);
}

static void every_refused_vector_is_refused(void) { CHECK(for_each("refused.txt", is_refused) >= 40); }

int main(int count, char **arguments) {
  folder = count > 1 ? arguments[1] : "tests/golden/values";
  db = open_memory();
  RUN(every_vector_is_a_value);
  RUN(every_other_form_is_worth_the_preferred_one);
  RUN(every_refused_vector_is_refused);
  OK(concord_close(db));
  return check_report();
}
