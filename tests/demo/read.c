/* The C part of the demo: prints every country as `key<TAB>JSON` and counts the visit.
 * Usage: read DATA-DIR */
#include <concord.h>
#include <stdio.h>

static int failed(const char *what) {
  fprintf(stderr, "%s: %s\n", what, concord_last_error());
  return 1;
}

int main(int argc, char **argv) {
  if (argc != 2) {
    fprintf(stderr, "usage: %s DATA-DIR\n", argv[0]);
    return 2;
  }
  concord_db *db = NULL;
  if (concord_open(argv[1], NULL, &db) != CONCORD_OK) return failed("open");

  concord_scan_options countries = CONCORD_SCAN_OPTIONS_INIT;
  countries.prefix = concord_str("country:");
  concord_scan *scan = NULL;
  if (concord_scan_open(db, &countries, &scan) != CONCORD_OK) return failed("scan");
  concord_item item;
  while (concord_scan_next(scan, &item) == CONCORD_OK) {
    concord_buffer json = {NULL, 0};
    if (concord_value_to_json(item.value, &json) != CONCORD_OK) return failed("value");
    printf("%.*s\t%.*s\n", (int)item.key.len, (const char *)item.key.data, (int)json.len, (const char *)json.data);
    concord_buffer_free(&json);
  }
  concord_scan_close(scan);

  int64_t visits = 0;
  if (concord_increment(db, concord_str("visits"), 1, 0, NULL, &visits) != CONCORD_OK) return failed("increment");
  if (visits != 3) {
    fprintf(stderr, "visits: %lld instead of 3\n", (long long)visits);
    return 1;
  }
  return concord_close(db) == CONCORD_OK ? 0 : failed("close");
}
