/* Tokens: what their tests share: guarded stores, handles in the name of tokens, and calls that name one. */
#ifndef CONCORD_TESTS_TOKENS_H
#define CONCORD_TESTS_TOKENS_H

#include "check.h"

#include <time.h>

#define WAIT_MS 30000
#define FORGED "sk_concord_000000000000000000000000000000000000000000000000000000000000000000000000"

enum { R = CONCORD_SCOPE_READ, W = CONCORD_SCOPE_WRITE, ADMIN = CONCORD_SCOPE_ADMIN };

static inline int said(const char *words) { return strstr(concord_last_error(), words) != NULL; }

static inline void pause_ms(long ms) {
  struct timespec time = {ms / 1000, ms % 1000 * 1000000};
  nanosleep(&time, NULL);
}

/* A store whose every call needs a token. */
static inline concord_db *open_guarded(const char *data_dir) {
  concord_open_options options = CONCORD_OPEN_OPTIONS_INIT;
  concord_db *db = NULL;
  options.auth_enabled = CONCORD_SWITCH_ON;
  OK(concord_open(data_dir, &options, &db));
  return db;
}

static inline concord_db *admin_of(const concord_db *db) {
  concord_db *admin = NULL;
  OK(concord_as_admin(db, &admin));
  return admin;
}

/* Makes a token and gives its text, to be freed; `id` takes its 16 digits and a NUL. */
static inline char *create(const concord_db *admin, uint32_t scopes, const char *prefix, uint64_t ttl_ms, char *id) {
  concord_token_options options = CONCORD_TOKEN_OPTIONS_INIT;
  concord_bytes prefixes[1] = {concord_str(prefix)};
  concord_buffer token, info;
  options.name = "test";
  options.scopes = scopes;
  options.key_prefixes = prefixes;
  options.key_prefix_count = prefix != NULL;
  options.ttl_ms = ttl_ms;
  OK(concord_token_create(admin, &options, &token, &info));
  CHECK(info.data != NULL && token.data != NULL && strstr((char *)info.data, (char *)token.data) == NULL);
  char *at = info.data == NULL ? NULL : strstr((char *)info.data, "\"id\":\"");
  if (id != NULL && at != NULL) snprintf(id, 17, "%.16s", at + strlen("\"id\":\""));
  char *text = token.data == NULL ? calloc(1, 1) : strdup((char *)token.data);
  concord_buffer_free(&token);
  concord_buffer_free(&info);
  return text;
}

static inline concord_db *with_token(const concord_db *db, const char *token) {
  concord_db *named = NULL;
  OK(concord_with_token(db, token, &named));
  return named;
}

static inline concord_read_options reading(const char *token) {
  concord_read_options options = CONCORD_READ_OPTIONS_INIT;
  options.token = token;
  return options;
}

static inline concord_write_options writing(const char *token) {
  concord_write_options options = CONCORD_WRITE_OPTIONS_INIT;
  options.token = token;
  return options;
}

static inline concord_status v_get(concord_db *db, const char *name, const char *token) {
  concord_read_options options = reading(token);
  concord_buffer value;
  concord_status status = concord_get(db, key(name), &options, &value);
  concord_buffer_free(&value);
  return status;
}

static inline concord_status v_put(concord_db *db, const char *name, const char *token) {
  concord_write_options options = writing(token);
  return concord_put(db, key(name), one(), &options);
}

#endif
