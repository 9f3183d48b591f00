/* Token handles: what becomes of tokens and of the handles that act for them: restarts, revocation, closing, forks, clients. */
#include "tokens.h"

#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#define COOKIE "a long secret of these tests"

/* ---- making, listing, keeping ---- */

static void tokens_are_listed_and_never_shown(void) {
  concord_db *db = open_memory();
  char id[17] = "", *token = create(db, R | W, "app:", 60000, id);
  concord_buffer json;
  OK(concord_tokens_json(db, &json));
  char *list = (char *)json.data;
  CHECK(strstr(list, id) != NULL && strlen(id) == 16 && strstr(list, "\"name\":\"test\"") != NULL);
  CHECK(strstr(list, "\"scopes\":[\"read\",\"write\"]") != NULL && strstr(list, "\"key_prefixes\":[\"app:\"]") != NULL);
  CHECK(strstr(list, "\"created_ms\":") != NULL && strstr(list, "\"last_used_ms\":null") != NULL);
  CHECK(strstr(list, "sk_concord_") == NULL);
  concord_buffer_free(&json);
  /* Nobody needs one here, and still one that is used is held to what it allows. */
  concord_db *app = with_token(db, token);
  OK(put_int(app, "app:a", 1));
  EXPECT(CONCORD_FORBIDDEN, put_int(app, "other", 1));
  OK(put_int(db, "other", 1));
  OK(concord_token_revoke(db, id));
  EXPECT(CONCORD_NOT_FOUND, concord_token_revoke(db, id));
  CHECK(!said(token));
  EXPECT(CONCORD_UNAUTHORIZED, put_int(app, "app:a", 2));
  OK(concord_tokens_json(db, &json));
  CHECK(strcmp((char *)json.data, "[]") == 0);
  concord_buffer_free(&json);
  OK(concord_close(app));
  OK(concord_close(db));
  free(token);
}

static void tokens_survive_a_restart(void) {
  char dir[] = "/tmp/concord-tokens.XXXXXX", command[64], id[17];
  CHECK(mkdtemp(dir) != NULL);
  concord_db *db = open_guarded(dir), *admin = admin_of(db);
  char *kept = create(admin, R | W, NULL, 0, NULL), *revoked = create(admin, R, NULL, 0, id);
  OK(concord_token_revoke(admin, id));
  concord_db *app = with_token(db, kept);
  OK(put_int(app, "a", 7));
  OK(concord_close(db));
  EXPECT(CONCORD_CLOSED, put_int(app, "a", 8));

  db = open_guarded(dir);
  EXPECT(CONCORD_CLOSED, put_int(app, "a", 8)); /* the old handle is no handle of the new store */
  app = with_token(db, kept);
  CHECK(get_int(app, "a") == 7);
  EXPECT(CONCORD_UNAUTHORIZED, v_get(db, "a", revoked));
  OK(concord_close(app));
  OK(concord_close(db));
  snprintf(command, sizeof command, "rm -rf %s", dir);
  CHECK(system(command) == 0);
  free(kept), free(revoked);
}

/* Promise: a revocation holds at once, for scans, queues and handles that are open already too. */
static void a_revocation_is_immediate(void) {
  concord_db *db = open_guarded(NULL), *admin = admin_of(db);
  char *token = create(admin, R | W, NULL, 0, NULL);
  concord_db *first = with_token(db, token), *second = with_token(first, token);
  concord_scan *scan;
  concord_item item;
  concord_queue *queue;
  char name[16];
  for (int at = 0; at < 100; at++) {
    snprintf(name, sizeof name, "%03d", at);
    OK(put_int(first, name, at));
  }
  OK(concord_scan_open(second, NULL, &scan));
  OK(concord_scan_next(scan, &item));
  OK(concord_queue_open(second, &queue));
  OK(concord_token_revoke(admin, token));
  concord_status status = CONCORD_OK;
  for (int at = 0; at < 100 && status == CONCORD_OK; at++) status = concord_scan_next(scan, &item);
  CHECK(status == CONCORD_UNAUTHORIZED); /* not one record that was not copied out before */
  EXPECT(CONCORD_UNAUTHORIZED, concord_put_async(queue, key("a"), one(), NULL, 1));
  EXPECT(CONCORD_UNAUTHORIZED, put_int(first, "a", 1));
  EXPECT(CONCORD_UNAUTHORIZED, put_int(second, "a", 1));
  OK(concord_scan_close(scan));
  OK(concord_queue_close(queue));
  OK(concord_close(second));
  OK(concord_close(first));
  OK(concord_close(admin));
  OK(concord_close(db));
  free(token);
}

/* ---- handles ---- */

static void closing_a_handle_leaves_the_store_open(void) {
  concord_db *db = open_guarded(NULL), *admin = admin_of(db);
  char *token = create(admin, R | W, NULL, 0, NULL);
  concord_db *first = with_token(db, token), *nested = with_token(first, token), *late = NULL;
  concord_queue *queue;
  OK(concord_queue_open(nested, &queue));
  OK(concord_close(first));
  EXPECT(CONCORD_CLOSED, concord_close(first));
  EXPECT(CONCORD_CLOSED, put_int(first, "a", 1));
  EXPECT(CONCORD_CLOSED, concord_with_token(first, token, &late));
  OK(put_int(nested, "a", 2)); /* made of a handle that is closed, but of the store */
  OK(put_int(admin, "b", 3));

  /* The store ends all of them. */
  OK(concord_close(db));
  EXPECT(CONCORD_CLOSED, put_int(nested, "a", 3));
  EXPECT(CONCORD_CLOSED, put_int(admin, "a", 3));
  EXPECT(CONCORD_CLOSED, concord_close(nested));
  EXPECT(CONCORD_CLOSED, concord_close(admin));
  EXPECT(CONCORD_CLOSED, concord_with_token(db, token, &late));
  EXPECT(CONCORD_CLOSED, concord_as_admin(db, &late));
  CHECK(late == NULL);
  EXPECT(CONCORD_CLOSED, concord_put_async(queue, key("a"), one(), NULL, 1));
  OK(concord_queue_close(queue));
  free(token);
}

static concord_db *shared;
static char *shared_token;

static void *come_and_go(void *unused) {
  long done = 0;
  for (;;) {
    concord_db *named = NULL;
    concord_status status = concord_with_token(shared, shared_token, &named);
    if (status == CONCORD_CLOSED) return (void *)done;
    if (status == CONCORD_OK && put_int(named, "a", 1) == CONCORD_OK) done++;
    if (status == CONCORD_OK) concord_close(named);
  }
  return unused;
}

static void handles_come_and_go_while_the_store_closes(void) {
  for (int round = 0; round < rounds(20, 3); round++) {
    pthread_t threads[4];
    void *done[4];
    shared = open_guarded(NULL);
    concord_db *admin = admin_of(shared);
    shared_token = create(admin, W, NULL, 0, NULL);
    for (int at = 0; at < 4; at++) CHECK(pthread_create(&threads[at], NULL, come_and_go, NULL) == 0);
    pause_ms(rounds(20, 200));
    OK(concord_close(shared));
    for (int at = 0; at < 4; at++) pthread_join(threads[at], &done[at]);
    EXPECT(CONCORD_CLOSED, concord_close(admin));
    free(shared_token);
  }
}

static void the_child_of_a_fork_holds_no_handle(void) {
  concord_db *db = open_guarded(NULL), *admin = admin_of(db);
  char *token = create(admin, R | W, NULL, 0, NULL);
  concord_db *app = with_token(db, token);
  int answers[2];
  char answer = 'n';
  CHECK(pipe(answers) == 0);
  fflush(stdout);
  pid_t child = fork();
  if (child == 0) {
    alarm(20); /* a hang is a failure */
    concord_db *named;
    int right = put_int(app, "a", 1) == CONCORD_CLOSED && v_get(db, "a", token) == CONCORD_CLOSED &&
                concord_with_token(db, token, &named) == CONCORD_CLOSED &&
                concord_as_admin(db, &named) == CONCORD_CLOSED && concord_close(app) == CONCORD_CLOSED;
    _exit(write(answers[1], right ? "y" : "n", 1) == 1 ? 0 : 1);
  }
  close(answers[1]);
  CHECK(read(answers[0], &answer, 1) == 1 && answer == 'y');
  close(answers[0]);
  int how = -1;
  CHECK(waitpid(child, &how, 0) == child && WIFEXITED(how)); /* by itself; valgrind has its own exit code */
  OK(put_int(app, "a", 2));
  OK(concord_close(db));
  free(token);
}

/* ---- environment, clients ---- */

static void the_environment_is_a_default(void) {
  concord_open_options options = CONCORD_OPEN_OPTIONS_INIT;
  concord_db *db;
  CHECK(setenv("CONCORD_AUTH_ENABLED", "true", 1) == 0);
  OK(concord_open(NULL, NULL, &db));
  EXPECT(CONCORD_UNAUTHORIZED, put_int(db, "a", 1));
  OK(concord_close(db));
  OK(concord_open(NULL, &options, &db));
  EXPECT(CONCORD_UNAUTHORIZED, put_int(db, "a", 1));
  OK(concord_close(db));
  options.auth_enabled = CONCORD_SWITCH_OFF;
  OK(concord_open(NULL, &options, &db));
  OK(put_int(db, "a", 1));
  OK(concord_close(db));
  options.auth_enabled = 3;
  EXPECT(CONCORD_INVALID_CONFIG, concord_open(NULL, &options, &db));
  CHECK(said("auth_enabled"));
  options.auth_enabled = 0;
  CHECK(setenv("CONCORD_AUTH_ENABLED", "perhaps", 1) == 0);
  EXPECT(CONCORD_INVALID_CONFIG, concord_open(NULL, &options, &db));
  CHECK(unsetenv("CONCORD_AUTH_ENABLED") == 0);
}

static void address_of(const concord_db *db, char *address) {
  concord_buffer json;
  address[0] = 0;
  OK(concord_members_json(db, &json));
  CHECK(sscanf(strstr((char *)json.data, "\"address\":\""), "\"address\":\"%63[^\"]", address) == 1);
  concord_buffer_free(&json);
}

/* The token of a call that does not wait: its connection lives until the answer is there. */
static void later_answers_keep_their_way_open(concord_db *client, const char *token) {
  concord_read_options options = reading(token);
  concord_queue *queue;
  concord_completion done;
  OK(concord_queue_open(client, &queue));
  for (uint64_t tag = 0; tag < 10; tag++) OK(concord_get_async(queue, key("app:a"), &options, tag));
  for (int at = 0; at < 10; at++) {
    OK(concord_queue_next(queue, WAIT_MS, &done));
    EXPECT(CONCORD_OK, done.status);
    concord_completion_free(&done);
  }
  OK(concord_queue_close(queue));
}

static void a_client_acts_for_its_token(void) {
  concord_cluster_options cluster = CONCORD_CLUSTER_OPTIONS_INIT;
  concord_open_options options = CONCORD_OPEN_OPTIONS_INIT;
  concord_client_options reaching = CONCORD_CLIENT_OPTIONS_INIT;
  concord_db *db, *client, *app;
  char address[64];
  cluster.listen = "127.0.0.1:0", cluster.bootstrap_expect = 1, cluster.cookie = COOKIE;
  options.cluster = &cluster, options.auth_enabled = CONCORD_SWITCH_ON;
  OK(concord_open(NULL, &options, &db));
  OK(concord_wait_ready(db, WAIT_MS));
  concord_db *admin = admin_of(db);
  address_of(admin, address);
  char *token = create(admin, R | W, "app:", 0, NULL), *reader = create(admin, R, NULL, 0, NULL);

  reaching.token = token;
  OK(concord_connect(address, &reaching, &client));
  OK(put_int(client, "app:a", 1));
  EXPECT(CONCORD_FORBIDDEN, put_int(client, "other", 1));
  app = with_token(client, reader); /* from one token to another */
  CHECK(get_int(app, "app:a") == 1);
  EXPECT(CONCORD_FORBIDDEN, put_int(app, "app:a", 2));
  EXPECT(CONCORD_FORBIDDEN, v_put(client, "app:a", reader));
  OK(v_get(client, "app:a", reader));
  later_answers_keep_their_way_open(client, reader);
  EXPECT(CONCORD_UNAUTHORIZED, v_get(client, "app:a", FORGED));
  EXPECT(CONCORD_UNAUTHORIZED, concord_with_token(client, FORGED, &app));
  OK(concord_close(client));

  reaching.cookie = COOKIE;
  EXPECT(CONCORD_INVALID_CONFIG, concord_connect(address, &reaching, &client));
  CHECK(said("not both"));
  reaching.cookie = NULL, reaching.token = FORGED;
  EXPECT(CONCORD_UNAUTHORIZED, concord_connect(address, &reaching, &client));
  CHECK(!said("000000"));
  reaching.token = NULL;
  CHECK(setenv("CONCORD_TOKEN", token, 1) == 0 && setenv("CONCORD_COOKIE", "wrong", 1) == 0);
  OK(concord_connect(address, &reaching, &client));
  OK(put_int(client, "app:b", 1));
  EXPECT(CONCORD_FORBIDDEN, put_int(client, "other", 1));
  CHECK(unsetenv("CONCORD_TOKEN") == 0 && unsetenv("CONCORD_COOKIE") == 0);
  OK(concord_token_revoke(admin, token));
  EXPECT(CONCORD_UNAUTHORIZED, put_int(client, "app:b", 2));
  OK(concord_close(client));
  OK(concord_close(db));
  free(token), free(reader);
}

static void a_program_of_the_same_user_reaches_the_store_in_its_directory(void) {
  char dir[] = "/tmp/concord-local.XXXXXX", command[64];
  concord_client_options reaching = CONCORD_CLIENT_OPTIONS_INIT;
  concord_open_options options = CONCORD_OPEN_OPTIONS_INIT;
  concord_db *client = (concord_db *)1;
  CHECK(mkdtemp(dir) != NULL);
  EXPECT(CONCORD_NOPROC, concord_connect_local(dir, NULL, &client));
  EXPECT(CONCORD_INVALID_CONFIG, concord_connect_local(NULL, NULL, &client));
  EXPECT(CONCORD_INVALID_CONFIG, concord_connect_local("", NULL, &client));
  EXPECT(CONCORD_INVALID_CONFIG, concord_connect_local(dir, NULL, NULL));
  CHECK(client == NULL);
  concord_db *db = open_guarded(dir), *admin = admin_of(db);
  char *token = create(admin, R, NULL, 0, NULL);
  /* Whoever may open the files may do everything; a variable that is meant for others does not get into the way. */
  CHECK(setenv("CONCORD_TOKEN", token, 1) == 0);
  OK(concord_connect_local(dir, NULL, &client));
  CHECK(unsetenv("CONCORD_TOKEN") == 0);
  OK(put_int(client, "a", 5));
  CHECK(get_int(admin, "a") == 5);
  free(create(client, R, NULL, 0, NULL));
  concord_db *named = NULL;
  EXPECT(CONCORD_INVALID_CONFIG, concord_with_token(client, token, &named));
  OK(concord_close(client));
  reaching.token = token;
  EXPECT(CONCORD_INVALID_CONFIG, concord_connect_local(dir, &reaching, &client));
  CHECK(said("every right") && !said(token));
  OK(concord_close(db));

  options.local_socket = CONCORD_SWITCH_OFF;
  OK(concord_open(dir, &options, &db));
  EXPECT(CONCORD_NOPROC, concord_connect_local(dir, NULL, &client));
  OK(concord_close(db));
  snprintf(command, sizeof command, "rm -rf %s", dir);
  CHECK(system(command) == 0);
  free(token);
}

/* Promise: a program compiled before there were tokens runs with this library. */
static void the_options_of_earlier_releases_are_still_good(void) {
  concord_db *db = open_memory();
  concord_read_options r = CONCORD_READ_OPTIONS_INIT;
  concord_write_options w = CONCORD_WRITE_OPTIONS_INIT;
  concord_scan_options s = CONCORD_SCAN_OPTIONS_INIT;
  concord_open_options o = CONCORD_OPEN_OPTIONS_INIT;
  concord_client_options c = CONCORD_CLIENT_OPTIONS_INIT;
  concord_buffer value;
  concord_scan *scan;
  concord_db *other;
  r.size = offsetof(concord_read_options, token), r.token = (const char *)1; /* behind their ends: not looked at */
  w.size = offsetof(concord_write_options, token), w.token = (const char *)1;
  s.size = offsetof(concord_scan_options, token), s.token = (const char *)1;
  o.size = offsetof(concord_open_options, http), o.http = (const concord_http_options *)1, o.auth_enabled = 9;
  c.size = offsetof(concord_client_options, token), c.token = (const char *)1;
  OK(concord_put(db, key("a"), one(), &w));
  OK(concord_get(db, key("a"), &r, &value));
  concord_buffer_free(&value);
  OK(concord_scan_open(db, &s, &scan));
  OK(concord_scan_close(scan));
  OK(concord_open(NULL, &o, &other));
  OK(concord_close(other));
  EXPECT(CONCORD_INVALID_CONFIG, concord_connect("127.0.0.1:1", &c, &other));
  CHECK(said("cookie"));
  OK(concord_close(db));
}

int main(void) {
  RUN(tokens_are_listed_and_never_shown);
  RUN(tokens_survive_a_restart);
  RUN(a_revocation_is_immediate);
  RUN(closing_a_handle_leaves_the_store_open);
  RUN(handles_come_and_go_while_the_store_closes);
  RUN(the_child_of_a_fork_holds_no_handle);
  RUN(the_environment_is_a_default);
  RUN(a_client_acts_for_its_token);
  RUN(a_program_of_the_same_user_reaches_the_store_in_its_directory);
  RUN(the_options_of_earlier_releases_are_still_good);
  return check_report();
}
