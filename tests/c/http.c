/* Http: what an embedded store serves over HTTP, for as long as it is open; and its metrics as text. */
#include "check.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

static int said(const char *words) { return strstr(concord_last_error(), words) != NULL; }

static concord_status open_serving(const concord_http_options *http, int auth, concord_db **db) {
  concord_open_options options = CONCORD_OPEN_OPTIONS_INIT;
  options.durability = CONCORD_DURABILITY_MEMORY;
  options.http = http;
  options.auth_enabled = auth;
  return concord_open(NULL, &options, db);
}

static void address_of(const concord_db *db, concord_status (*ask)(const concord_db *, concord_buffer *), char *text) {
  concord_buffer buffer;
  OK(ask(db, &buffer));
  snprintf(text, 64, "%s", buffer.data == NULL ? "" : (char *)buffer.data);
  concord_buffer_free(&buffer);
}

/* A connection to "ip:port"; -1 when nobody listens there. */
static int reach(const char *address) {
  char ip[64];
  unsigned port = 0;
  struct sockaddr_in place;
  memset(&place, 0, sizeof place);
  if (sscanf(address, "%63[^:]:%u", ip, &port) != 2) return -1;
  place.sin_family = AF_INET;
  place.sin_port = htons((uint16_t)port);
  inet_pton(AF_INET, ip, &place.sin_addr);
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  if (connect(fd, (struct sockaddr *)&place, sizeof place) == 0) return fd;
  close(fd);
  return -1;
}

/* Asks and gives the whole answer in `answer`; the number of its status. */
static int ask(const char *address, const char *line, const char *token, const char *body, char *answer, size_t size) {
  char request[1024];
  int fd = reach(address), status = 0;
  size_t len = 0;
  answer[0] = 0;
  if (fd < 0) return -1;
  int sent = snprintf(request, sizeof request,
                      "%s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n%s%s%sContent-Type: application/json\r\n"
                      "Content-Length: %zu\r\n\r\n%s",
                      line, address, token == NULL ? "" : "Authorization: Bearer ", token == NULL ? "" : token,
                      token == NULL ? "" : "\r\n", strlen(body), body);
  CHECK(write(fd, request, (size_t)sent) == sent);
  for (ssize_t got; len + 1 < size && (got = read(fd, answer + len, size - 1 - len)) > 0;) len += (size_t)got;
  answer[len] = 0;
  close(fd);
  CHECK(sscanf(answer, "HTTP/1.1 %d", &status) == 1);
  return status;
}

static void a_store_serves_http_until_it_is_closed(void) {
  concord_http_options http = CONCORD_HTTP_OPTIONS_INIT;
  concord_db *db;
  static char answer[1 << 20];
  char api[64], metrics[64];
  http.api_port = CONCORD_PORT_ANY;
  http.prometheus_port = CONCORD_PORT_ANY;
  OK(open_serving(&http, 0, &db));
  address_of(db, concord_api_address, api);
  address_of(db, concord_prometheus_address, metrics);
  CHECK(strncmp(api, "127.0.0.1:", 10) == 0 && strncmp(metrics, "127.0.0.1:", 10) == 0 && strcmp(api, metrics) != 0);
  OK(put_int(db, "n", 41));
  CHECK(ask(api, "GET /api/v1/kv/n", NULL, "", answer, sizeof answer) == 200 && strstr(answer, "41") != NULL);
  CHECK(ask(api, "PUT /api/v1/kv/n", NULL, "{\"value\":42}", answer, sizeof answer) == 200);
  CHECK(get_int(db, "n") == 42);
  CHECK(ask(api, "GET /health", NULL, "", answer, sizeof answer) == 200);
  CHECK(ask(api, "GET /console/", NULL, "", answer, sizeof answer) == 200);
  CHECK(ask(api, "GET /metrics", NULL, "", answer, sizeof answer) == 200);
  CHECK(ask(metrics, "GET /metrics", NULL, "", answer, sizeof answer) == 200 && strstr(answer, "concord_") != NULL);
  CHECK(ask(metrics, "GET /api/v1/kv/n", NULL, "", answer, sizeof answer) == 404);
  OK(concord_close(db));
  CHECK(reach(api) < 0 && reach(metrics) < 0);
  concord_buffer gone;
  EXPECT(CONCORD_CLOSED, concord_api_address(db, &gone));
}

static void nothing_is_served_unless_it_is_asked_for(void) {
  concord_db *db = open_memory();
  char address[64];
  concord_buffer text;
  address_of(db, concord_api_address, address);
  CHECK(address[0] == 0);
  address_of(db, concord_prometheus_address, address);
  CHECK(address[0] == 0);
  EXPECT(CONCORD_INVALID_CONFIG, concord_api_address(NULL, &text));
  EXPECT(CONCORD_INVALID_CONFIG, concord_api_address(db, NULL));
  EXPECT(CONCORD_INVALID_CONFIG, concord_prometheus_address(db, NULL));
  EXPECT(CONCORD_INVALID_CONFIG, concord_metrics_text(db, NULL));
  EXPECT(CONCORD_INVALID_CONFIG, concord_metrics_text(NULL, &text));
  OK(concord_close(db));
}

static void whoever_comes_over_http_needs_a_token(void) {
  concord_http_options http = CONCORD_HTTP_OPTIONS_INIT;
  concord_token_options reader = CONCORD_TOKEN_OPTIONS_INIT;
  concord_db *db, *admin, *named;
  concord_buffer token;
  char answer[8192], api[64], same[64];
  http.api_port = CONCORD_PORT_ANY;
  OK(open_serving(&http, CONCORD_SWITCH_ON, &db));
  OK(concord_as_admin(db, &admin));
  address_of(admin, concord_api_address, api);
  OK(put_int(admin, "a", 7));
  reader.scopes = CONCORD_SCOPE_READ;
  OK(concord_token_create(admin, &reader, &token, NULL));
  const char *text = (char *)token.data;
  CHECK(ask(api, "GET /api/v1/kv/a", NULL, "", answer, sizeof answer) == 401);
  CHECK(ask(api, "GET /api/v1/kv/a", "sk_concord_no", "", answer, sizeof answer) == 401);
  CHECK(ask(api, "GET /api/v1/kv/a", text, "", answer, sizeof answer) == 200 && strstr(answer, "7") != NULL);
  CHECK(ask(api, "PUT /api/v1/kv/a", text, "{\"value\":1}", answer, sizeof answer) == 403);
  CHECK(strstr(answer, text) == NULL);
  /* A handle that ends leaves what the store serves alone. */
  OK(concord_with_token(db, text, &named));
  address_of(named, concord_api_address, same);
  CHECK(strcmp(api, same) == 0);
  OK(concord_close(named));
  CHECK(ask(api, "GET /api/v1/kv/a", text, "", answer, sizeof answer) == 200);
  OK(concord_token_revoke(admin, text));
  CHECK(ask(api, "GET /api/v1/kv/a", text, "", answer, sizeof answer) == 401);
  concord_buffer_free(&token);
  OK(concord_close(admin));
  OK(concord_close(db));
}

static void wrong_options_are_named(void) {
  concord_db *db = (concord_db *)1;
#define WRONG(words, field, value)                            \
  do {                                                        \
    concord_http_options wrong = CONCORD_HTTP_OPTIONS_INIT;   \
    wrong.api_port = CONCORD_PORT_ANY;                        \
    wrong.field = value;                                      \
    EXPECT(CONCORD_INVALID_CONFIG, open_serving(&wrong, 0, &db)); \
    CHECK(db == NULL && said(words));                         \
  } while (0)
  WRONG("ip", ip, "nowhere");
  WRONG("UTF-8", ip, "\xff");
  WRONG("auth_enabled", ip, "0.0.0.0"); /* open to everybody */
  WRONG("api_port", api_port, 65536);
  WRONG("api_port", api_port, -3);
  WRONG("prometheus_port", prometheus_port, 70000);
  WRONG("together", tls_certificate, "/nowhere/certificate.pem");
  WRONG("body_bytes_max", body_bytes_max, 1);
  WRONG("connections_max", connections_max, 65537);
  WRONG("INIT", size, 1);
  concord_http_options lonely = CONCORD_HTTP_OPTIONS_INIT;
  lonely.ip = "127.0.0.1";
  EXPECT(CONCORD_INVALID_CONFIG, open_serving(&lonely, 0, &db));
  CHECK(said("api_port"));
  concord_http_options tls = CONCORD_HTTP_OPTIONS_INIT;
  tls.api_port = CONCORD_PORT_ANY;
  tls.tls_certificate = "/nowhere/certificate.pem", tls.tls_private_key = "/nowhere/key.pem";
  EXPECT(CONCORD_INVALID_CONFIG, open_serving(&tls, 0, &db));
  CHECK(said("/nowhere/"));
}

/* Promise: a store whose address is taken is not left half open. */
static void an_address_that_is_taken_opens_nothing(void) {
  char dir[] = "/tmp/concord-http.XXXXXX", command[64], api[64];
  concord_http_options http = CONCORD_HTTP_OPTIONS_INIT;
  concord_open_options options = CONCORD_OPEN_OPTIONS_INIT;
  concord_db *first, *second = (concord_db *)1;
  unsigned port = 0;
  CHECK(mkdtemp(dir) != NULL);
  http.api_port = CONCORD_PORT_ANY;
  OK(open_serving(&http, 0, &first));
  address_of(first, concord_api_address, api);
  CHECK(sscanf(api, "127.0.0.1:%u", &port) == 1);
  http.api_port = (int32_t)port;
  options.http = &http;
  EXPECT(CONCORD_INVALID_CONFIG, concord_open(dir, &options, &second));
  CHECK(second == NULL && said(api));
  OK(concord_open(dir, NULL, &second)); /* the directory is free */
  OK(concord_close(second));
  OK(concord_close(first));
  OK(concord_open(dir, &options, &second)); /* and so is the address now */
  address_of(second, concord_api_address, api);
  CHECK(strstr(api, ":") != NULL && (unsigned)atoi(strstr(api, ":") + 1) == port);
  OK(concord_close(second));
  snprintf(command, sizeof command, "rm -rf %s", dir);
  CHECK(system(command) == 0);
}

static void the_environment_is_a_default(void) {
  concord_http_options http = CONCORD_HTTP_OPTIONS_INIT;
  concord_db *db;
  char api[64], metrics[64];
  CHECK(setenv("CONCORD_API_PORT", "0", 1) == 0 && setenv("CONCORD_API_IP", "127.0.0.2", 1) == 0);
  CHECK(setenv("CONCORD_PROMETHEUS_PORT", "0", 1) == 0);
  OK(concord_open(NULL, NULL, &db));
  address_of(db, concord_api_address, api);
  address_of(db, concord_prometheus_address, metrics);
  CHECK(strncmp(api, "127.0.0.2:", 10) == 0 && strncmp(metrics, "127.0.0.2:", 10) == 0 && reach(api) >= 0);
  OK(concord_close(db));
  http.api_port = CONCORD_PORT_NONE;
  http.ip = "127.0.0.3";
  OK(open_serving(&http, 0, &db));
  address_of(db, concord_api_address, api);
  address_of(db, concord_prometheus_address, metrics);
  CHECK(api[0] == 0 && strncmp(metrics, "127.0.0.3:", 10) == 0);
  OK(concord_close(db));
  http.api_port = CONCORD_PORT_ANY, http.prometheus_port = CONCORD_PORT_NONE, http.ip = NULL;
  CHECK(setenv("CONCORD_API_PORT", "none of it", 1) == 0); /* not looked at: it is said here */
  OK(open_serving(&http, 0, &db));
  address_of(db, concord_api_address, api);
  address_of(db, concord_prometheus_address, metrics);
  CHECK(strncmp(api, "127.0.0.2:", 10) == 0 && metrics[0] == 0);
  OK(concord_close(db));
  EXPECT(CONCORD_INVALID_CONFIG, concord_open(NULL, NULL, &db));
  CHECK(said("CONCORD_API_PORT"));
  unsetenv("CONCORD_API_PORT"), unsetenv("CONCORD_API_IP"), unsetenv("CONCORD_PROMETHEUS_PORT");
}

/* Whether the metrics have a line that begins so. */
static int has_line(const concord_db *db, const char *begin) {
  concord_buffer text;
  OK(concord_metrics_text(db, &text));
  int found = 0;
  for (char *at = (char *)text.data; at != NULL && *at != 0; at = strchr(at, '\n'), at += at != NULL) {
    if (strncmp(at, begin, strlen(begin)) == 0) found = 1;
  }
  concord_buffer_free(&text);
  return found;
}

static void what_happens_is_counted(void) {
  concord_open_options options = CONCORD_OPEN_OPTIONS_INIT;
  concord_db *db = open_memory();
  for (int at = 0; at < 3; at++) OK(put_int(db, "a", at));
  CHECK(has_line(db, "concord_api_put_count_total{result=\"ok\"} 3"));
  OK(concord_close(db));
  options.telemetry_enabled = CONCORD_SWITCH_OFF;
  OK(concord_open(NULL, &options, &db));
  OK(put_int(db, "a", 1));
  CHECK(!has_line(db, "concord_api_put_count_total{result=\"ok\"} 1"));
  OK(concord_close(db));
  options.telemetry_enabled = CONCORD_SWITCH_ON;
  options.metrics_keys = CONCORD_SWITCH_ON;
  options.hot_keys = CONCORD_SWITCH_ON;
  OK(concord_open(NULL, &options, &db));
  OK(concord_close(db));
  options.hot_keys = -1;
  EXPECT(CONCORD_INVALID_CONFIG, concord_open(NULL, &options, &db));
  CHECK(said("hot_keys"));
  options.hot_keys = 0, options.reserved = 1;
  EXPECT(CONCORD_INVALID_CONFIG, concord_open(NULL, &options, &db));
  CHECK(said("reserved"));
}

int main(void) {
  RUN(a_store_serves_http_until_it_is_closed);
  RUN(nothing_is_served_unless_it_is_asked_for);
  RUN(whoever_comes_over_http_needs_a_token);
  RUN(wrong_options_are_named);
  RUN(an_address_that_is_taken_opens_nothing);
  RUN(the_environment_is_a_default);
  RUN(what_happens_is_counted);
  return check_report();
}
