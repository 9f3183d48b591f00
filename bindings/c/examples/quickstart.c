/* Quickstart: a durable store in C.
 *
 * cc quickstart.c $(pkg-config --cflags --libs concord_kv) -o quickstart && ./quickstart DIRECTORY
 */
#include <concord.h>
#include <stdio.h>
#include <stdlib.h>

/* Most programs have something like this. */
static void must(concord_status status) {
  if (status != CONCORD_OK) {
    fprintf(stderr, "%s: %s\n", concord_error_name(status), concord_last_error());
    exit(1);
  }
}

int main(int count, char **arguments) {
  concord_db *db;
  must(concord_open(count > 1 ? arguments[1] : NULL, NULL, &db)); /* NULL: in memory */

  /* Values are CBOR; helpers make the usual ones, and JSON makes any. */
  concord_buffer user, back, json;
  must(concord_value_from_json(concord_str("{\"name\":\"Ada\",\"admin\":true}"), &user));
  concord_bytes user_bytes = {user.data, user.len};
  must(concord_put(db, concord_str("user:1"), user_bytes, NULL)); /* on disk when this returns */
  concord_buffer_free(&user);

  concord_status status = concord_get(db, concord_str("user:1"), NULL, &back);
  if (status == CONCORD_NOT_FOUND) {
    puts("there is no user 1");
  } else {
    must(status);
    concord_bytes back_bytes = {back.data, back.len};
    must(concord_value_to_json(back_bytes, &json));
    printf("user 1 is %s\n", (const char *)json.data);
    concord_buffer_free(&json);
    concord_buffer_free(&back);
  }

  /* Atomic counters, lifetimes and conditions. */
  int64_t visits;
  must(concord_increment(db, concord_str("visits"), 1, 0, NULL, &visits));
  printf("this is visit %lld\n", (long long)visits);

  concord_write_options minute = CONCORD_WRITE_OPTIONS_INIT;
  concord_buffer owner;
  minute.ttl_ms = 60000;
  must(concord_value_from_text(concord_str("worker-7"), &owner));
  concord_bytes owner_bytes = {owner.data, owner.len};
  status = concord_put_new(db, concord_str("lock:report"), owner_bytes, &minute);
  concord_buffer_free(&owner);
  if (status != CONCORD_ALREADY_EXISTS) must(status);
  puts(status == CONCORD_OK ? "the lock is ours for a minute" : "somebody else has the lock");

  /* All keys in order, as of now. */
  concord_scan *scan;
  concord_item item;
  must(concord_scan_open(db, NULL, &scan));
  while ((status = concord_scan_next(scan, &item)) == CONCORD_OK) {
    printf("- %.*s\n", (int)item.key.len, (const char *)item.key.data);
  }
  if (status != CONCORD_NOT_FOUND) must(status);
  must(concord_scan_close(scan));

  must(concord_close(db));
  return 0;
}
