/* Tokens: who may do what: every verb, through handles and through the options of single calls. */
#include "tokens.h"

/* ---- every verb ---- */

/* One call of a verb; `token` goes into its options, NULL leaves that to the handle. */
typedef concord_status verb(concord_db *db, const char *name, const char *token);

static concord_status v_get_into(concord_db *db, const char *name, const char *token) {
  concord_read_options options = reading(token);
  uint8_t room[8];
  size_t len;
  return concord_get_into(db, key(name), &options, room, sizeof room, &len);
}
static concord_status v_get_record(concord_db *db, const char *name, const char *token) {
  concord_read_options options = reading(token);
  concord_record record;
  concord_status status = concord_get_record(db, key(name), &options, &record);
  concord_record_free(&record);
  return status;
}
static concord_status v_read(concord_db *db, const char *name, const char *token) {
  concord_read_options options = reading(token);
  return concord_read(db, key(name), &options, NULL, NULL);
}
static concord_status v_ttl(concord_db *db, const char *name, const char *token) {
  concord_read_options options = reading(token);
  uint64_t ttl_ms;
  return concord_ttl(db, key(name), &options, &ttl_ms);
}
static concord_status v_get_many(concord_db *db, const char *name, const char *token) {
  concord_read_options options = reading(token);
  concord_bytes keys[] = {key(name)};
  concord_record records[1];
  concord_status status = concord_get_many(db, keys, 1, &options, records);
  concord_records_free(records, 1);
  return status;
}
static void look(void *context, size_t index, concord_bytes value, uint64_t revision, uint64_t ttl_ms) {
  (void)context, (void)index, (void)value, (void)revision, (void)ttl_ms;
}
static concord_status v_read_many(concord_db *db, const char *name, const char *token) {
  concord_read_options options = reading(token);
  concord_bytes keys[] = {key(name)};
  return concord_read_many(db, keys, 1, &options, look, NULL);
}
static concord_status v_scan(concord_db *db, const char *name, const char *token) {
  concord_scan_options options = CONCORD_SCAN_OPTIONS_INIT;
  concord_scan *scan;
  concord_item item;
  options.prefix = key(name);
  options.token = token;
  concord_status status = concord_scan_open(db, &options, &scan);
  if (status != CONCORD_OK) return status;
  status = concord_scan_next(scan, &item);
  OK(concord_scan_close(scan));
  return status;
}

static concord_status v_put_new(concord_db *db, const char *name, const char *token) {
  concord_write_options options = writing(token);
  return concord_put_new(db, key(name), one(), &options);
}
static concord_status v_put_if(concord_db *db, const char *name, const char *token) {
  concord_write_options options = writing(token);
  options.condition = CONCORD_CONDITION_EXPECTED;
  options.expected = one();
  return concord_put_if(db, key(name), one(), &options);
}
static concord_status v_delete(concord_db *db, const char *name, const char *token) {
  concord_write_options options = writing(token);
  return concord_delete(db, key(name), &options);
}
static concord_status v_delete_if(concord_db *db, const char *name, const char *token) {
  concord_write_options options = writing(token);
  options.condition = CONCORD_CONDITION_REVISION;
  options.revision = 1;
  return concord_delete_if(db, key(name), &options);
}
static concord_status v_increment(concord_db *db, const char *name, const char *token) {
  concord_write_options options = writing(token);
  return concord_increment(db, key(name), 1, 0, &options, NULL);
}
static concord_status v_touch(concord_db *db, const char *name, const char *token) {
  concord_write_options options = writing(token);
  return concord_touch(db, key(name), 60000, &options);
}
static concord_status v_put_many(concord_db *db, const char *name, const char *token) {
  concord_write_options options = writing(token);
  concord_put_item items[] = {{key(name), one(), 0}};
  return concord_put_many(db, items, 1, &options);
}
static concord_status v_delete_many(concord_db *db, const char *name, const char *token) {
  concord_write_options options = writing(token);
  concord_bytes keys[] = {key(name)};
  return concord_delete_many(db, keys, 1, &options);
}
static concord_status v_touch_many(concord_db *db, const char *name, const char *token) {
  concord_write_options options = writing(token);
  concord_touch_item items[] = {{key(name), 60000}};
  return concord_touch_many(db, items, 1, &options, NULL);
}

/* Those that do not wait: how the call, or else its completion, ends. */
static concord_status queued(concord_db *db, const char *name, const char *token, int which) {
  concord_read_options r = reading(token);
  concord_write_options w = writing(token);
  concord_put_item put[] = {{key(name), one(), 0}};
  concord_bytes keys[] = {key(name)};
  concord_touch_item touch[] = {{key(name), 60000}};
  concord_queue *queue;
  concord_completion done;
  OK(concord_queue_open(db, &queue));
  concord_status status = which == 0   ? concord_get_async(queue, key(name), &r, 0)
                          : which == 1 ? concord_put_async(queue, key(name), one(), &w, 0)
                          : which == 2 ? concord_delete_async(queue, key(name), &w, 0)
                          : which == 3 ? concord_increment_async(queue, key(name), 1, 0, &w, 0)
                          : which == 4 ? concord_touch_async(queue, key(name), 60000, &w, 0)
                          : which == 5 ? concord_put_many_async(queue, put, 1, &w, 0)
                          : which == 6 ? concord_delete_many_async(queue, keys, 1, &w, 0)
                                       : concord_touch_many_async(queue, touch, 1, &w, 0);
  if (status == CONCORD_OK) {
    OK(concord_queue_next(queue, WAIT_MS, &done));
    status = done.status;
    concord_completion_free(&done);
  }
  OK(concord_queue_close(queue));
  return status;
}
#define QUEUED(name, which) \
  static concord_status name(concord_db *db, const char *key_name, const char *token) { \
    return queued(db, key_name, token, which); \
  }
QUEUED(v_get_async, 0)
QUEUED(v_put_async, 1)
QUEUED(v_delete_async, 2)
QUEUED(v_increment_async, 3)
QUEUED(v_touch_async, 4)
QUEUED(v_put_many_async, 5)
QUEUED(v_delete_many_async, 6)
QUEUED(v_touch_many_async, 7)

static const struct {
  const char *name;
  verb *call;
  uint32_t needs;
} verbs[] = {
    {"get", v_get, R},
    {"get_into", v_get_into, R},
    {"get_record", v_get_record, R},
    {"read", v_read, R},
    {"ttl", v_ttl, R},
    {"get_many", v_get_many, R},
    {"read_many", v_read_many, R},
    {"scan", v_scan, R},
    {"get_async", v_get_async, R},
    {"put", v_put, W},
    {"put_new", v_put_new, W},
    {"put_if", v_put_if, R | W},
    {"delete", v_delete, W},
    {"delete_if", v_delete_if, W},
    {"increment", v_increment, W},
    {"touch", v_touch, W},
    {"put_many", v_put_many, W},
    {"delete_many", v_delete_many, W},
    {"touch_many", v_touch_many, W},
    {"put_async", v_put_async, W},
    {"delete_async", v_delete_async, W},
    {"increment_async", v_increment_async, W},
    {"touch_async", v_touch_async, W},
    {"put_many_async", v_put_many_async, W},
    {"delete_many_async", v_delete_many_async, W},
    {"touch_many_async", v_touch_many_async, W},
};
enum { VERBS = sizeof verbs / sizeof *verbs };

/* What is asked of a whole store; these take the name of the handle only. */
static concord_status v_status(concord_db *db) {
  concord_buffer json;
  concord_status status = concord_status_json(db, &json);
  concord_buffer_free(&json);
  return status;
}
static concord_status v_members(concord_db *db) {
  concord_buffer json;
  concord_status status = concord_members_json(db, &json);
  concord_buffer_free(&json);
  return status;
}
static concord_status v_tokens(concord_db *db) {
  concord_buffer json;
  concord_status status = concord_tokens_json(db, &json);
  concord_buffer_free(&json);
  return status;
}
static concord_status v_create(concord_db *db) {
  concord_token_options options = CONCORD_TOKEN_OPTIONS_INIT;
  concord_buffer token;
  options.scopes = R;
  concord_status status = concord_token_create(db, &options, &token, NULL);
  if (status == CONCORD_OK) OK(concord_token_revoke(db, (char *)token.data));
  concord_buffer_free(&token);
  return status;
}
static concord_status v_revoke(concord_db *db) { return concord_token_revoke(db, "0123456789abcdef"); }
static concord_status v_promote(concord_db *db) { return concord_cluster_promote(db, 7, 1000); }

static const struct {
  const char *name;
  concord_status (*call)(concord_db *);
  uint32_t needs;
} whole[] = {
    {"status", v_status, R},      {"members", v_members, R}, {"tokens", v_tokens, ADMIN},
    {"create", v_create, ADMIN},  {"revoke", v_revoke, ADMIN}, {"promote", v_promote, ADMIN},
};
enum { WHOLE = sizeof whole / sizeof *whole };

static int is_allowed(uint32_t scopes, uint32_t needs) { return (scopes & ADMIN) != 0 || (scopes & needs) == needs; }

static void judge(const char *name, const char *how, concord_status wanted, concord_status answer) {
  int is_refused = answer == CONCORD_UNAUTHORIZED || answer == CONCORD_FORBIDDEN;
  if (wanted == CONCORD_OK ? is_refused : answer != wanted) {
    fprintf(stderr, "%s %s: %s, not %s\n", name, how, concord_error_name(answer), concord_error_name(wanted));
    check_broken = 1;
  }
}

/* All verbs through a handle of the token, made beforehand, and with the token as an option. */
static void all_verbs(concord_db *db, concord_db *named, const char *token, uint32_t scopes, int is_valid) {
  concord_db *admin = admin_of(db);
  for (int at = 0; at < VERBS; at++) {
    concord_status wanted = !is_valid                              ? CONCORD_UNAUTHORIZED
                            : is_allowed(scopes, verbs[at].needs) ? CONCORD_OK
                                                                   : CONCORD_FORBIDDEN;
    judge(verbs[at].name, "of a handle", wanted, verbs[at].call(named, "app:a", NULL));
    judge(verbs[at].name, "with a token", wanted, verbs[at].call(db, "app:a", token));
    /* The option goes before the handle, whatever that may do. */
    judge(verbs[at].name, "with a token over an admin", wanted, verbs[at].call(admin, "app:a", token));
  }
  for (int at = 0; at < WHOLE; at++) {
    concord_status wanted = !is_valid                              ? CONCORD_UNAUTHORIZED
                            : is_allowed(scopes, whole[at].needs) ? CONCORD_OK
                                                                   : CONCORD_FORBIDDEN;
    judge(whole[at].name, "of a handle", wanted, whole[at].call(named));
  }
  OK(concord_close(admin));
}

static void every_verb_asks_for_what_it_needs(void) {
  concord_db *db = open_guarded(NULL), *admin = admin_of(db);
  uint32_t kinds[] = {R, W, R | W, ADMIN};
  for (int at = 0; at < 4; at++) {
    char *token = create(admin, kinds[at], NULL, 0, NULL);
    concord_db *named = with_token(db, token);
    OK(put_int(admin, "app:a", 1));
    all_verbs(db, named, token, kinds[at], 1);
    OK(concord_token_revoke(admin, token));
    all_verbs(db, named, token, kinds[at], 0);
    OK(concord_close(named));
    free(token);
  }
  /* Without a token nothing but what tells nothing of the content. */
  for (int at = 0; at < VERBS; at++) EXPECT(CONCORD_UNAUTHORIZED, verbs[at].call(db, "app:a", NULL));
  for (int at = 0; at < WHOLE; at++) EXPECT(CONCORD_UNAUTHORIZED, whole[at].call(db));
  bool is_on = false, is_ready = false;
  OK(concord_auth_enabled(db, &is_on));
  OK(concord_is_ready(db, &is_ready));
  CHECK(is_on && is_ready);
  OK(concord_close(admin));
  OK(concord_close(db));
}

static void a_token_reaches_its_prefixes(void) {
  concord_db *db = open_guarded(NULL), *admin = admin_of(db);
  char *token = create(admin, R | W, "app:", 0, NULL);
  concord_db *app = with_token(db, token);
  OK(put_int(admin, "other", 1));
  for (int at = 0; at < VERBS; at++) {
    judge(verbs[at].name, "within", CONCORD_OK, verbs[at].call(app, "app:a", NULL));
    judge(verbs[at].name, "within", CONCORD_OK, verbs[at].call(db, "app:a", token));
    judge(verbs[at].name, "outside", CONCORD_FORBIDDEN, verbs[at].call(app, "other", NULL));
    judge(verbs[at].name, "outside", CONCORD_FORBIDDEN, verbs[at].call(db, "other", token));
    judge(verbs[at].name, "outside, not there", CONCORD_FORBIDDEN, verbs[at].call(db, "nobody", token));
  }
  CHECK(get_int(admin, "other") == 1);
  concord_bytes keys[] = {key("app:a"), key("other")};
  OK(concord_authorize(app, NULL, R | W, keys, 1));
  EXPECT(CONCORD_FORBIDDEN, concord_authorize(app, NULL, R, keys, 2));
  EXPECT(CONCORD_FORBIDDEN, concord_authorize(db, token, ADMIN, NULL, 0));
  OK(concord_authorize(db, token, 0, NULL, 0));
  EXPECT(CONCORD_UNAUTHORIZED, concord_authorize(db, NULL, 0, NULL, 0));
  EXPECT(CONCORD_INVALID_CONFIG, concord_authorize(db, token, 8, NULL, 0));
  OK(concord_close(app));
  OK(concord_close(admin));
  OK(concord_close(db));
  free(token);
}

static void a_token_ends_when_its_time_is_over(void) {
  concord_db *db = open_guarded(NULL), *admin = admin_of(db);
  char *token = create(admin, ADMIN, NULL, 300, NULL);
  concord_db *named = with_token(db, token), *again = (concord_db *)1;
  OK(put_int(named, "a", 1));
  pause_ms(350);
  all_verbs(db, named, token, ADMIN, 0);
  EXPECT(CONCORD_UNAUTHORIZED, concord_with_token(db, token, &again));
  CHECK(again == NULL);
  OK(concord_close(named));
  OK(concord_close(admin));
  OK(concord_close(db));
  free(token);
}

/* Promise: token, then key, then TTL and condition; what is wrong with a call is no business of whoever may not make it. */
static void the_token_is_judged_before_all_else(void) {
  concord_db *db = open_guarded(NULL), *admin = admin_of(db);
  char *token = create(admin, R, NULL, 0, NULL), endless[1100];
  concord_bytes keys[501], empty = {NULL, 0}, malformed = concord_str("\xff");
  concord_record records[501];
  concord_queue *queue;
  memset(endless, 'k', sizeof endless - 1);
  endless[sizeof endless - 1] = 0;
  for (int at = 0; at < 501; at++) keys[at] = key("a");
  for (int round = 0; round < 2; round++) {
    concord_status wanted = round == 0 ? CONCORD_UNAUTHORIZED : CONCORD_FORBIDDEN;
    concord_db *of = round == 0 ? db : with_token(db, token);
    concord_write_options options = CONCORD_WRITE_OPTIONS_INIT;
    OK(concord_queue_open(of, &queue));
    EXPECT(wanted, concord_put(of, key(endless), one(), NULL));
    EXPECT(wanted, concord_put(of, empty, malformed, NULL));
    EXPECT(wanted, concord_put_if(of, key("a"), one(), NULL)); /* without its condition */
    EXPECT(wanted, concord_delete_if(of, empty, NULL));
    EXPECT(wanted, concord_touch(of, key("a"), 0, NULL));
    options.revision = 7; /* without naming the condition */
    EXPECT(wanted, concord_put(of, key("a"), one(), &options));
    EXPECT(wanted, concord_delete(of, empty, &options));
    EXPECT(wanted, concord_increment(of, key("a"), 1, 0, &options, NULL));
    EXPECT(wanted, concord_delete_many(of, keys, 501, NULL));
    EXPECT(wanted, concord_put_async(queue, empty, malformed, &options, 1));
    EXPECT(wanted, concord_delete_many_async(queue, keys, 501, NULL, 1));
    EXPECT(wanted, concord_increment_async(queue, empty, 1, 0, NULL, 1));
    OK(concord_queue_close(queue));
    if (round == 1) OK(concord_close(of));
  }
  concord_buffer value;
  EXPECT(CONCORD_UNAUTHORIZED, concord_get(db, empty, NULL, &value));
  EXPECT(CONCORD_UNAUTHORIZED, concord_get_many(db, keys, 501, NULL, records));
  OK(concord_close(admin));
  OK(concord_close(db));
  free(token);
}

/* ---- malformed ---- */

static void what_is_no_token_is_unauthorized(void) {
  concord_db *db = open_guarded(NULL), *admin = admin_of(db), *named = (concord_db *)1;
  char *token = create(admin, ADMIN, NULL, 0, NULL), *cut = strdup(token), *other = strdup(token);
  size_t len = strlen(token), large = 8u << 20;
  char *huge = malloc(large + 1);
  memset(huge, 'a', large);
  memcpy(huge, "sk_concord_", strlen("sk_concord_"));
  huge[large] = 0;
  cut[len - 1] = 0;
  other[len - 1] = other[len - 1] == '0' ? '1' : '0';
  const char *wrong[] = {"", " ", "sk_concord_", "\xff\xfe", cut, other, huge, "Bearer", FORGED, "\n"};
  for (size_t at = 0; at < sizeof wrong / sizeof *wrong; at++) {
    named = (concord_db *)1;
    EXPECT(CONCORD_UNAUTHORIZED, concord_with_token(db, wrong[at], &named));
    CHECK(named == NULL);
    /* Empty is no "without": the handle's own rights are never meant. */
    for (int verb_at = 0; verb_at < VERBS; verb_at++) {
      EXPECT(CONCORD_UNAUTHORIZED, verbs[verb_at].call(admin, "a", wrong[at]));
    }
    EXPECT(CONCORD_UNAUTHORIZED, concord_authorize(admin, wrong[at], 0, NULL, 0));
    if (strlen(wrong[at]) > 11) CHECK(!said(wrong[at] + 11)); /* nothing of it behind the prefix */
  }
  CHECK(get_int(admin, "a") == -1);
  EXPECT(CONCORD_INVALID_CONFIG, concord_with_token(db, NULL, &named));
  EXPECT(CONCORD_INVALID_CONFIG, concord_with_token(db, token, NULL));
  EXPECT(CONCORD_INVALID_CONFIG, concord_with_token(NULL, token, &named));
  EXPECT(CONCORD_INVALID_CONFIG, concord_as_admin(NULL, &named));
  EXPECT(CONCORD_INVALID_CONFIG, concord_as_admin(db, NULL));
  OK(concord_close(admin));
  OK(concord_close(db));
  free(token), free(cut), free(other), free(huge);
}

static void wrong_options_of_a_token_are_named(void) {
  concord_db *db = open_memory();
  concord_buffer token, json;
  concord_bytes prefixes[33];
  char name[66];
  memset(name, 'n', 65);
  name[65] = 0;
  for (int at = 0; at < 33; at++) prefixes[at] = key("p");
#define WRONG(wanted, words, field, given)                                    \
  do {                                                                        \
    concord_token_options wrong = CONCORD_TOKEN_OPTIONS_INIT;                 \
    wrong.scopes = R;                                                         \
    wrong.key_prefixes = prefixes;                                            \
    wrong.field = given;                                                      \
    token.data = (uint8_t *)1;                                                \
    EXPECT(wanted, concord_token_create(db, &wrong, &token, &json));          \
    CHECK(token.data == NULL && json.data == NULL && said(words));            \
  } while (0)
  WRONG(CONCORD_INVALID_CONFIG, "scope", scopes, 0);
  WRONG(CONCORD_INVALID_CONFIG, "scope", scopes, 8);
  WRONG(CONCORD_INVALID_CONFIG, "64 bytes", name, name);
  WRONG(CONCORD_INVALID_CONFIG, "control", name, "a\nb");
  WRONG(CONCORD_INVALID_CONFIG, "UTF-8", name, "\xff");
  WRONG(CONCORD_INVALID_CONFIG, "32", key_prefix_count, 33);
  WRONG(CONCORD_INVALID_CONFIG, "32", key_prefix_count, SIZE_MAX);
  WRONG(CONCORD_INVALID_CONFIG, "reserved", reserved, 1);
  WRONG(CONCORD_INVALID_CONFIG, "INIT", size, 3);
  WRONG(CONCORD_INVALID_TTL, "TTL", ttl_ms, UINT64_MAX);
  EXPECT(CONCORD_INVALID_CONFIG, concord_token_create(db, NULL, &token, NULL));
  concord_token_options fine = CONCORD_TOKEN_OPTIONS_INIT;
  fine.scopes = R;
  EXPECT(CONCORD_INVALID_CONFIG, concord_token_create(db, &fine, NULL, NULL));
  EXPECT(CONCORD_INVALID_CONFIG, concord_token_revoke(db, NULL));
  EXPECT(CONCORD_NOT_FOUND, concord_token_revoke(db, ""));
  EXPECT(CONCORD_NOT_FOUND, concord_token_revoke(db, "\xff"));
  EXPECT(CONCORD_NOT_FOUND, concord_token_revoke(db, FORGED));
  OK(concord_close(db));
}

int main(void) {
  RUN(every_verb_asks_for_what_it_needs);
  RUN(a_token_reaches_its_prefixes);
  RUN(a_token_ends_when_its_time_is_over);
  RUN(the_token_is_judged_before_all_else);
  RUN(what_is_no_token_is_unauthorized);
  RUN(wrong_options_of_a_token_are_named);
  return check_report();
}
