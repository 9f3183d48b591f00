/* Member: the member of the mixed cluster that is a C program. It obeys lines of its standard input, see drive.py.
 *
 * usage: member DATA-DIR LISTEN SEEDS COOKIE */
#include <concord.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { WAIT_MS = 20000, LARGE_COPIES = 500 };

/* How a value of the zoo is written down here. */
typedef enum { TEXT, BYTES, INT, DOUBLE, JSON, LARGE, CBOR } kind;

/* The same values, by the same names, are in member.py and member.exs. */
static const struct {
  const char *name;
  kind kind;
  const char *text; /* hexadecimal for BYTES and CBOR */
} zoo[] = {
    {"text", TEXT, "\u039f\u03bc\u03cc\u03bd\u03bf\u03b9\u03b1 \U0001f389"},
    {"empty", TEXT, ""},
    {"large", LARGE, "Concord "},
    {"bytes", BYTES, "ff00fe"},
    {"null", JSON, "null"},
    {"true", JSON, "true"},
    {"int", INT, "-25"},
    {"int64", INT, "9223372036854775807"},
    {"big", JSON, "1267650600228229401496703205376"}, /* 2^100 */
    {"float", DOUBLE, "0.1"},
    {"whole", DOUBLE, "1.0"},
    {"vast", DOUBLE, "1e300"},
    {"list", JSON, "[1,[2.5,\"three\"],null]"},
    {"map", JSON, "{\"id\":7,\"name\":\"Ann\",\"tags\":[\"x\",\"y\"]}"},
    {"atom", CBOR, "d8276772756e6e696e67"},
    {"tuple", CBOR, "d9434482d827626f6b01"}, /* (atom "ok", 1) */
    {"date", CBOR, "d903ec6a323032342d30322d3239"},
    {"time", CBOR, "d943466f32333a35393a35392e303030303035"},
    {"instant", CBOR, "c0781b323032352d31302d32315431323a34373a32372e3233313033345a"},
    {"naive", CBOR, "d94345781a323032352d31302d32315431323a34373a32372e323331303334"},
};
enum { ZOO = sizeof zoo / sizeof *zoo };

static concord_db *db;

/* One encoded value at a time. */
static uint8_t value_bytes[8192];

static concord_bytes unhex(const char *hex) {
  concord_bytes bytes = {value_bytes, 0};
  unsigned byte;
  while (sscanf(hex + 2 * bytes.len, "%2x", &byte) == 1) value_bytes[bytes.len++] = (uint8_t)byte;
  return bytes;
}

/* Makes a value of the zoo, by the function for its kind; good until the next one. */
static concord_bytes made(int at) {
  const char *text = zoo[at].text;
  concord_buffer value = {NULL, 0};
  concord_status status = CONCORD_OK;
  char large[LARGE_COPIES * 8 + 1] = "";
  concord_bytes bytes = {value_bytes, 0};
  switch (zoo[at].kind) {
    case TEXT: status = concord_value_from_text(concord_str(text), &value); break;
    case BYTES: status = concord_value_from_bytes(unhex(text), &value); break;
    case INT: status = concord_value_from_int(strtoll(text, NULL, 10), &value); break;
    case DOUBLE: status = concord_value_from_double(strtod(text, NULL), &value); break;
    case JSON: status = concord_value_from_json(concord_str(text), &value); break;
    case LARGE:
      for (int copy = 0; copy < LARGE_COPIES; copy++) strcat(large, text);
      status = concord_value_from_text(concord_str(large), &value);
      break;
    case CBOR: return unhex(text);
  }
  if (status != CONCORD_OK || value.len > sizeof value_bytes) {
    fprintf(stderr, "%s cannot be made: %s\n", zoo[at].name, concord_last_error());
    exit(1);
  }
  memcpy(value_bytes, value.data, value.len);
  bytes.len = value.len;
  concord_buffer_free(&value);
  return bytes;
}

static void print_hex(concord_bytes bytes) {
  for (size_t at = 0; at < bytes.len; at++) printf("%02x", bytes.data[at]);
}

/* The line that answers a command. */
static void answer(concord_status status, uint64_t number) {
  if (status == CONCORD_OK) printf("ok %" PRIu64 "\n", number);
  else printf("error %s %s\n", concord_error_name(status), concord_last_error());
}

/* The whole zoo in one batch. */
static void write_zoo(const char *prefix) {
  static char keys[ZOO][64];
  concord_put_item items[ZOO];
  uint8_t *copies[ZOO];
  memset(items, 0, sizeof items);
  for (int at = 0; at < ZOO; at++) {
    concord_bytes value = made(at);
    snprintf(keys[at], sizeof keys[at], "%s%s", prefix, zoo[at].name);
    copies[at] = malloc(value.len);
    memcpy(copies[at], value.data, value.len);
    items[at].key = concord_str(keys[at]);
    items[at].value.data = copies[at];
    items[at].value.len = value.len;
  }
  answer(concord_put_many(db, items, ZOO, NULL), ZOO);
  for (int at = 0; at < ZOO; at++) free(copies[at]);
}

static void check_zoo(const char *prefix) {
  static char keys[ZOO][64];
  concord_bytes names[ZOO];
  concord_record records[ZOO];
  concord_read_options options = CONCORD_READ_OPTIONS_INIT;
  options.consistency = CONCORD_CONSISTENCY_STRONG;
  options.timeout_ms = WAIT_MS;
  for (int at = 0; at < ZOO; at++) {
    snprintf(keys[at], sizeof keys[at], "%s%s", prefix, zoo[at].name);
    names[at] = concord_str(keys[at]);
  }
  concord_status status = concord_get_many(db, names, ZOO, &options, records);
  int wrong = -1;
  for (int at = 0; at < ZOO && status == CONCORD_OK; at++) {
    concord_bytes wanted = made(at);
    concord_buffer found = records[at].value;
    if (found.len != wanted.len || memcmp(found.data, wanted.data, wanted.len) != 0) wrong = at;
  }
  if (wrong < 0) {
    answer(status, ZOO);
  } else {
    concord_bytes found = {records[wrong].value.data, records[wrong].value.len};
    printf("error wrong %s is ", keys[wrong]);
    print_hex(found);
    printf("\n");
  }
  if (status == CONCORD_OK) concord_records_free(records, ZOO);
}

/* Everything that this node itself holds, after a read that has brought it up to date. */
static void dump(void) {
  concord_scan_options options = CONCORD_SCAN_OPTIONS_INIT;
  concord_read_options strong = CONCORD_READ_OPTIONS_INIT;
  concord_scan *scan = NULL;
  concord_item item;
  concord_buffer counter = {NULL, 0};
  uint64_t count = 0;
  strong.consistency = CONCORD_CONSISTENCY_STRONG;
  strong.timeout_ms = WAIT_MS;
  options.consistency = CONCORD_CONSISTENCY_EVENTUAL;
  concord_status status = concord_get(db, concord_str("count"), &strong, &counter);
  concord_buffer_free(&counter);
  if (status == CONCORD_OK) status = concord_scan_open(db, &options, &scan);
  while (status == CONCORD_OK && (status = concord_scan_next(scan, &item)) == CONCORD_OK) {
    printf("%.*s\t", (int)item.key.len, (const char *)item.key.data);
    print_hex(item.value);
    printf("\n");
    count++;
  }
  concord_scan_close(scan);
  answer(status == CONCORD_NOT_FOUND ? CONCORD_OK : status, count);
}

/* A number of the status: the first of this name before the list of members, or the last behind it. */
static uint64_t status_number(const char *name, int is_last) {
  concord_buffer json = {NULL, 0};
  uint64_t number = 0;
  if (concord_status_json(db, &json) == CONCORD_OK) {
    for (const char *at = (char *)json.data; (at = strstr(at, name)) != NULL; at++) {
      number = strtoull(at + strlen(name), NULL, 10);
      if (!is_last) break;
    }
  }
  concord_buffer_free(&json);
  return number;
}

static void count(void) {
  int64_t sum = 0;
  concord_status status = concord_increment(db, concord_str("count"), 1, 0, NULL, &sum);
  answer(status, (uint64_t)sum);
}

static void obey(const char *verb, const char *argument) {
  if (strcmp(verb, "ready") == 0) answer(concord_wait_ready(db, WAIT_MS), status_number("\"node\":", 1));
  else if (strcmp(verb, "leader") == 0) answer(CONCORD_OK, status_number("\"leader\":", 0));
  else if (strcmp(verb, "lead") == 0)
    answer(concord_cluster_transfer_leadership(db, strtoull(argument, NULL, 10), WAIT_MS), 0);
  else if (strcmp(verb, "write") == 0) write_zoo(argument);
  else if (strcmp(verb, "check") == 0) check_zoo(argument);
  else if (strcmp(verb, "count") == 0) count();
  else if (strcmp(verb, "dump") == 0) dump();
  else printf("error unknown %s\n", verb);
  fflush(stdout);
}

int main(int argc, char **argv) {
  if (argc != 5) {
    fprintf(stderr, "usage: %s DATA-DIR LISTEN SEEDS COOKIE\n", argv[0]);
    return 2;
  }
  concord_cluster_options cluster = CONCORD_CLUSTER_OPTIONS_INIT;
  concord_open_options options = CONCORD_OPEN_OPTIONS_INIT;
  cluster.listen = argv[2];
  cluster.seeds = argv[3];
  cluster.cookie = argv[4];
  cluster.name = "c";
  cluster.bootstrap_expect = 3;
  options.cluster = &cluster;
  if (concord_open(argv[1], &options, &db) != CONCORD_OK) {
    fprintf(stderr, "open: %s\n", concord_last_error());
    return 1;
  }
  answer(CONCORD_OK, (uint64_t)getpid());
  fflush(stdout);
  char line[256], verb[16], argument[128];
  while (fgets(line, sizeof line, stdin) != NULL) {
    argument[0] = 0;
    if (sscanf(line, "%15s %127s", verb, argument) < 1) continue;
    obey(verb, argument);
  }
  return concord_close(db) == CONCORD_OK ? 0 : 1;
}
