/* Tokens: a store that is served over HTTP, and whose every call needs a token.
 *
 * cc tokens.c $(pkg-config --cflags --libs concord_kv) -o tokens && ./tokens DIRECTORY
 */
#include <concord.h>
#include <stdio.h>
#include <stdlib.h>

static void must(concord_status status) {
  if (status != CONCORD_OK) {
    fprintf(stderr, "%s: %s\n", concord_error_name(status), concord_last_error());
    exit(1);
  }
}

int main(int count, char **arguments) {
  concord_http_options http = CONCORD_HTTP_OPTIONS_INIT;
  concord_open_options options = CONCORD_OPEN_OPTIONS_INIT;
  concord_db *db, *admin, *app;
  http.api_port = CONCORD_PORT_ANY; /* a program that others know by its port names one */
  options.http = &http;
  options.auth_enabled = CONCORD_SWITCH_ON;
  must(concord_open(count > 1 ? arguments[1] : NULL, &options, &db));

  /* The program that holds the store needs no token; it makes those of others. */
  concord_bytes prefixes[] = {concord_str("app:")};
  concord_token_options wanted = CONCORD_TOKEN_OPTIONS_INIT;
  concord_buffer token, address;
  wanted.name = "app";
  wanted.scopes = CONCORD_SCOPE_READ | CONCORD_SCOPE_WRITE;
  wanted.key_prefixes = prefixes;
  wanted.key_prefix_count = 1;
  wanted.ttl_ms = 3600000; /* an hour */
  must(concord_as_admin(db, &admin));
  must(concord_token_create(admin, &wanted, &token, NULL));
  const char *secret = (const char *)token.data; /* shown this once, kept nowhere */

  /* A handle that does everything in the name of the token ... */
  int64_t visits;
  must(concord_with_token(db, secret, &app));
  must(concord_increment(app, concord_str("app:visits"), 1, 0, NULL, &visits));
  if (concord_increment(app, concord_str("other"), 1, 0, NULL, NULL) == CONCORD_FORBIDDEN) {
    printf("visit %lld, and no further than app:\n", (long long)visits);
  }
  must(concord_close(app)); /* the handle; the store stays open */

  /* ... or a single call. */
  concord_write_options writing = CONCORD_WRITE_OPTIONS_INIT;
  writing.token = secret;
  must(concord_increment(db, concord_str("app:visits"), 1, 0, &writing, &visits));

  must(concord_api_address(db, &address));
  printf("over HTTP: curl -H 'Authorization: Bearer <token>' http://%s/api/v1/kv/app:visits\n", (const char *)address.data);
  concord_buffer_free(&address);

  must(concord_token_revoke(admin, secret));
  if (concord_increment(db, concord_str("app:visits"), 1, 0, &writing, NULL) == CONCORD_UNAUTHORIZED) {
    puts("revoked, at once");
  }
  concord_buffer_free(&token);
  must(concord_close(db)); /* and `admin` with it */
  return 0;
}
