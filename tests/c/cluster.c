/* Cluster: options and their misuse, a cluster of one, three members in one process, and a client of them. */
#include "check.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define COOKIE "a long secret of these tests"
#define WAIT_MS 30000

static int said(const char *words) { return strstr(concord_last_error(), words) != NULL; }

static concord_status open_with(const concord_cluster_options *cluster, concord_db **db) {
  concord_open_options options = CONCORD_OPEN_OPTIONS_INIT;
  options.durability = CONCORD_DURABILITY_MEMORY;
  options.cluster = cluster;
  return concord_open(NULL, &options, db);
}

static concord_cluster_options alone(void) {
  concord_cluster_options cluster = CONCORD_CLUSTER_OPTIONS_INIT;
  cluster.listen = "127.0.0.1:0";
  cluster.bootstrap_expect = 1;
  cluster.cookie = COOKIE;
  return cluster;
}

static char *printed(const concord_db *db, concord_status (*print)(const concord_db *, concord_buffer *)) {
  concord_buffer json;
  OK(print(db, &json));
  char *copy = json.data == NULL ? calloc(1, 1) : strdup((char *)json.data);
  concord_buffer_free(&json);
  return copy;
}

static int count(const char *text, const char *part) {
  int found = 0;
  for (const char *at = text; (at = strstr(at, part)) != NULL; at++) found++;
  return found;
}

static int members(const concord_db *db, const char *part) {
  char *json = printed(db, concord_members_json);
  int found = count(json, part);
  free(json);
  return found;
}

/* This node's id: the last "node" of the status, behind those of the members. */
static uint64_t node_id(const concord_db *db) {
  char *json = printed(db, concord_status_json), *last = NULL;
  for (char *at = json; (at = strstr(at, "\"node\":")) != NULL; at++) last = at;
  uint64_t id = last == NULL ? 0 : strtoull(last + strlen("\"node\":"), NULL, 10);
  free(json);
  return id;
}

/* The leader that this node knows; the members have a flag of the same name. */
static uint64_t leader(const concord_db *db) {
  char *json = printed(db, concord_status_json), *at = strstr(json, "\"leader\":");
  uint64_t id = at == NULL ? 0 : strtoull(at + strlen("\"leader\":"), NULL, 10);
  free(json);
  return id;
}

/* ---- options ---- */

static void wrong_options_are_named(void) {
  concord_db *db = (concord_db *)1;
  concord_cluster_options cluster = alone();
  char endless[300];
  memset(endless, 'n', sizeof endless - 1);
  endless[sizeof endless - 1] = 0;
#define WRONG(words, field, value)                              \
  do {                                                          \
    concord_cluster_options wrong = alone();                    \
    wrong.field = value;                                        \
    EXPECT(CONCORD_INVALID_CONFIG, open_with(&wrong, &db));     \
    CHECK(db == NULL && said(words));                           \
  } while (0)
  WRONG("CONCORD_COOKIE", cookie, NULL);
  WRONG("CONCORD_COOKIE", cookie, "");
  WRONG("cookie", cookie, "\xff");
  WRONG("listen", listen, "nowhere");
  WRONG("listen", listen, "host:99999");
  WRONG("listen", listen, "\xff:1");
  WRONG("advertise", advertise, ":7400");
  WRONG("name", name, endless);
  WRONG("seeds", seeds, "127.0.0.1:7400,nowhere");
  WRONG("bootstrap_expect", bootstrap_expect, 10);
  WRONG("seeds", bootstrap_expect, 3); /* three that can never meet */
  WRONG("multicast", multicast_group, "239.1.2.3"); /* without `multicast` */
  WRONG("multicast", multicast_port, 1);
  WRONG("together", tls_certificate, "/nowhere/node.pem");
  WRONG("election_timeout_ms", election_timeout_ms, 99);
  WRONG("promote", promote, 3);
  WRONG("reserved", reserved, 1);
  WRONG("INIT", size, sizeof cluster - 1);
  WRONG("INIT", size, 0);
  cluster.multicast = 1;
  cluster.multicast_group = "10.0.0.1";
  EXPECT(CONCORD_INVALID_CONFIG, open_with(&cluster, &db));
  CHECK(said("multicast_group"));
  cluster.multicast_group = NULL;
  cluster.multicast_port = 65536;
  EXPECT(CONCORD_INVALID_CONFIG, open_with(&cluster, &db));
  CHECK(said("multicast_port"));
}

/* Promise: a program compiled before there were clusters runs with this library. */
static void the_options_of_the_first_release_are_still_good(void) {
  struct {
    concord_open_options options;
    uint64_t guard;
  } before = {CONCORD_OPEN_OPTIONS_INIT, UINT64_MAX};
  concord_db *db;
  before.options.size = offsetof(concord_open_options, cluster);
  before.options.durability = CONCORD_DURABILITY_MEMORY;
  before.options.cluster = (const concord_cluster_options *)1; /* lies behind its end and is not looked at */
  OK(concord_open(NULL, &before.options, &db));
  OK(put_int(db, "a", 1));
  OK(concord_close(db));
  before.options.size -= 1;
  EXPECT(CONCORD_INVALID_CONFIG, concord_open(NULL, &before.options, &db));
}

static void a_client_needs_addresses_and_a_secret(void) {
  concord_db *db = (concord_db *)1;
  concord_client_options options = CONCORD_CLIENT_OPTIONS_INIT;
  EXPECT(CONCORD_INVALID_CONFIG, concord_connect("127.0.0.1:7400", &options, NULL));
  EXPECT(CONCORD_INVALID_CONFIG, concord_connect("127.0.0.1:7400", NULL, &db));
  CHECK(db == NULL && said("cookie"));
  options.cookie = COOKIE;
  EXPECT(CONCORD_INVALID_CONFIG, concord_connect(NULL, &options, &db));
  EXPECT(CONCORD_INVALID_CONFIG, concord_connect("", &options, &db));
  EXPECT(CONCORD_INVALID_CONFIG, concord_connect(" , ", &options, &db));
  CHECK(said("host:port"));
  EXPECT(CONCORD_INVALID_CONFIG, concord_connect("127.0.0.1", &options, &db));
  EXPECT(CONCORD_INVALID_CONFIG, concord_connect("\xff:1", &options, &db));
  options.tls_authority = "/nowhere/authority.pem";
  EXPECT(CONCORD_INVALID_CONFIG, concord_connect("127.0.0.1:1", &options, &db));
  CHECK(said("together"));
  options.tls_authority = NULL;
  options.connect_timeout_ms = 600001;
  EXPECT(CONCORD_INVALID_CONFIG, concord_connect("127.0.0.1:1", &options, &db));
  CHECK(said("connect_timeout_ms"));
  options.connect_timeout_ms = 0;
  options.consistency = 4;
  EXPECT(CONCORD_INVALID_CONFIG, concord_connect("127.0.0.1:1", &options, &db));
  options.consistency = 0;
  options.compression = 4;
  EXPECT(CONCORD_INVALID_CONFIG, concord_connect("127.0.0.1:1", &options, &db));
  options.compression = 0;
  options.size--;
  EXPECT(CONCORD_INVALID_CONFIG, concord_connect("127.0.0.1:1", &options, &db));
}

static void nobody_answering_is_an_error_in_time(void) {
  concord_db *db = (concord_db *)1;
  concord_client_options options = CONCORD_CLIENT_OPTIONS_INIT;
  options.cookie = COOKIE;
  options.connect_timeout_ms = 300;
  time_t before = time(NULL);
  concord_status status = concord_connect("127.0.0.1:1", &options, &db);
  CHECK(status == CONCORD_TIMEOUT || status == CONCORD_CLUSTER_NOT_READY);
  CHECK(db == NULL && time(NULL) - before < 10);
}

/* ---- verbs ---- */

static void misused(concord_status wanted, concord_db *db) {
  bool is_ready = true;
  uint64_t id = 7;
  EXPECT(wanted, concord_is_ready(db, &is_ready));
  CHECK(!is_ready);
  EXPECT(wanted, concord_wait_ready(db, 10));
  EXPECT(wanted, concord_cluster_add(db, "127.0.0.1:1", 10, &id));
  CHECK(id == 0);
  EXPECT(wanted, concord_cluster_promote(db, 1, 10));
  EXPECT(wanted, concord_cluster_remove(db, 1, 10));
  EXPECT(wanted, concord_cluster_replace(db, 1, 2, 10));
  EXPECT(wanted, concord_cluster_transfer_leadership(db, 0, 10));
  EXPECT(wanted, concord_cluster_leave(db, 10));
  CHECK(concord_reads_at_once(db, CONCORD_CONSISTENCY_STRONG)); /* the error comes at once */
}

static void misuse_of_the_verbs_is_an_error(void) {
  concord_db *db = open_memory();
  EXPECT(CONCORD_INVALID_CONFIG, concord_is_ready(db, NULL));
  EXPECT(CONCORD_INVALID_CONFIG, concord_cluster_add(db, NULL, 10, NULL));
  EXPECT(CONCORD_INVALID_CONFIG, concord_cluster_add(db, "", 10, NULL));
  EXPECT(CONCORD_INVALID_CONFIG, concord_cluster_add(db, "\xff", 10, NULL));
  misused(CONCORD_INVALID_CONFIG, NULL);
  OK(concord_close(db));
  misused(CONCORD_CLOSED, db);
}

static void a_store_of_one_node_is_ready_and_reads_at_once(void) {
  concord_db *db = open_memory();
  bool is_ready = false;
  OK(concord_is_ready(db, &is_ready));
  CHECK(is_ready);
  OK(concord_wait_ready(db, 0));
  for (int32_t level = CONCORD_CONSISTENCY_DEFAULT; level <= CONCORD_CONSISTENCY_STRONG; level++) {
    CHECK(concord_reads_at_once(db, level));
  }
  char *status = printed(db, concord_status_json);
  CHECK(count(status, "\"ready\":true") == 1 && count(status, "\"snapshot_state\":\"idle\"") == 1);
  const char *fields[] = {"node", "address", "name", "role", "leader", "matched_index", "lag", "last_contact_ms"};
  char *list = printed(db, concord_members_json);
  for (size_t at = 0; at < sizeof fields / sizeof *fields; at++) {
    char name[32];
    snprintf(name, sizeof name, "\"%s\":", fields[at]);
    CHECK(count(list, name) == 1);
  }
  free(status), free(list);
  OK(concord_close(db));
}

static void many_are_read_in_the_order_of_their_keys(const concord_db *db) {
  concord_bytes keys[] = {key("b"), key("nobody"), key("a"), key("b")};
  concord_record records[4];
  int64_t wanted[] = {2, 0, 1, 2}, number;
  OK(concord_get_many(db, keys, 4, NULL, records));
  for (int at = 0; at < 4; at++) {
    CHECK((records[at].value.data == NULL) == (wanted[at] == 0));
    if (wanted[at] == 0 || records[at].value.data == NULL) continue;
    OK(concord_value_as_int(view(records[at].value), &number));
    CHECK(number == wanted[at]);
  }
  concord_records_free(records, 4);
}

static void one_node_is_a_cluster(void) {
  concord_cluster_options cluster = alone();
  concord_client_options reaching = CONCORD_CLIENT_OPTIONS_INIT;
  concord_db *db, *client;
  cluster.name = "only";
  OK(open_with(&cluster, &db));
  OK(concord_wait_ready(db, WAIT_MS));
  CHECK(members(db, "\"role\":\"voter\"") == 1 && members(db, "\"name\":\"only\"") == 1);
  CHECK(leader(db) == node_id(db) && node_id(db) != 0);
  OK(put_int(db, "a", 1));
  EXPECT(CONCORD_NOT_FOUND, concord_cluster_promote(db, node_id(db) + 2, 1000));
  EXPECT(CONCORD_INVALID_CONFIG, concord_cluster_remove(db, node_id(db), 1000)); /* the last voter */

  char *list = printed(db, concord_members_json), address[64] = "";
  CHECK(sscanf(strstr(list, "\"address\":\""), "\"address\":\"%63[^\"]", address) == 1);
  free(list);
  reaching.cookie = COOKIE " not";
  EXPECT(CONCORD_UNAUTHORIZED, concord_connect(address, &reaching, &client));
  reaching.cookie = COOKIE;
  OK(concord_connect(address, &reaching, &client));
  CHECK(get_int(client, "a") == 1);
  OK(put_int(client, "b", 2));
  CHECK(get_int(db, "b") == 2);
  many_are_read_in_the_order_of_their_keys(client);
  OK(concord_close(client));
  OK(concord_close(db));
}

/* ---- three members ---- */

enum { NODES = 3 };

static char addresses[NODES][32], seeds[NODES * 32];

/* Ports that nobody has now. */
static void choose_addresses(void) {
  int sockets[NODES];
  seeds[0] = 0;
  for (int at = 0; at < NODES; at++) {
    struct sockaddr_in place;
    socklen_t size = sizeof place;
    memset(&place, 0, sizeof place);
    place.sin_family = AF_INET;
    place.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    sockets[at] = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(bind(sockets[at], (struct sockaddr *)&place, sizeof place) == 0);
    CHECK(getsockname(sockets[at], (struct sockaddr *)&place, &size) == 0);
    snprintf(addresses[at], sizeof addresses[at], "127.0.0.1:%d", ntohs(place.sin_port));
    strcat(strcat(seeds, at == 0 ? "" : ","), addresses[at]);
  }
  for (int at = 0; at < NODES; at++) close(sockets[at]);
}

static concord_db *open_node(int at) {
  concord_cluster_options cluster = CONCORD_CLUSTER_OPTIONS_INIT;
  concord_db *db = NULL;
  char name[8];
  snprintf(name, sizeof name, "node%d", at);
  cluster.listen = addresses[at];
  cluster.name = name;
  cluster.seeds = seeds;
  cluster.bootstrap_expect = NODES;
  cluster.cookie = COOKIE;
  OK(open_with(&cluster, &db));
  return db;
}

static concord_status get_strong(const concord_db *db, const char *name, int64_t *number) {
  concord_read_options options = CONCORD_READ_OPTIONS_INIT;
  concord_buffer value;
  options.consistency = CONCORD_CONSISTENCY_STRONG;
  concord_status status = concord_get(db, key(name), &options, &value);
  if (status == CONCORD_OK) OK(concord_value_as_int(view(value), number));
  concord_buffer_free(&value);
  return status;
}

static void any_member_takes_any_request(concord_db **nodes) {
  for (int at = 0; at < NODES; at++) {
    int64_t sum = 0;
    OK(concord_increment(nodes[at], key("n"), 1, 0, NULL, &sum));
    CHECK(sum == at + 1);
    for (int reader = 0; reader < NODES; reader++) {
      OK(get_strong(nodes[reader], "n", &sum));
      CHECK(sum == at + 1);
    }
  }
}

/* Promise: a read that has to ask the leader comes by the queue, and its call returns at once. */
static void followers_read_by_the_queue(concord_db **nodes) {
  int waited = 0;
  for (int at = 0; at < NODES; at++) {
    concord_queue *queue;
    concord_completion done;
    waited += !concord_reads_at_once(nodes[at], CONCORD_CONSISTENCY_LEADER);
    CHECK(concord_reads_at_once(nodes[at], CONCORD_CONSISTENCY_EVENTUAL));
    OK(concord_queue_open(nodes[at], &queue));
    OK(concord_get_async(queue, key("n"), NULL, 7));
    OK(concord_queue_next(queue, WAIT_MS, &done));
    CHECK(done.tag == 7 && done.status == CONCORD_OK && done.value.len > 0);
    concord_completion_free(&done);
    OK(concord_get_async(queue, key("nobody"), NULL, 8));
    OK(concord_queue_next(queue, WAIT_MS, &done));
    CHECK(done.tag == 8 && done.status == CONCORD_NOT_FOUND);
    concord_completion_free(&done);
    OK(concord_queue_close(queue));
  }
  CHECK(waited == NODES - 1); /* only the leader reads at once */
}

/* Writes until one is acknowledged: a fail-over takes a moment. */
static void put_in_time(concord_db *db, const char *name, int64_t number) {
  time_t end = time(NULL) + WAIT_MS / 1000;
  while (put_int(db, name, number) != CONCORD_OK && time(NULL) < end) OK(concord_wait_ready(db, WAIT_MS));
  CHECK(get_int(db, name) == number);
}

static void three_nodes_are_one_store(void) {
  concord_db *nodes[NODES], *client = NULL;
  concord_client_options options = CONCORD_CLIENT_OPTIONS_INIT;
  options.cookie = COOKIE;
  choose_addresses();
  for (int at = 0; at < NODES; at++) nodes[at] = open_node(at);
  for (int at = 0; at < NODES; at++) OK(concord_wait_ready(nodes[at], WAIT_MS));
  CHECK(members(nodes[0], "\"role\":\"voter\"") == NODES && members(nodes[0], "\"leader\":true") == 1);
  any_member_takes_any_request(nodes);
  followers_read_by_the_queue(nodes);

  uint64_t old = leader(nodes[0]);
  int next = node_id(nodes[0]) == old ? 1 : 0;
  OK(concord_cluster_transfer_leadership(nodes[next], node_id(nodes[next]), WAIT_MS));
  CHECK(leader(nodes[next]) == node_id(nodes[next]));

  OK(concord_connect(seeds, &options, &client));
  put_in_time(client, "before", 1);
  uint64_t lost = node_id(nodes[next]);
  OK(concord_close(nodes[next])); /* the leader stops; two of three go on */
  put_in_time(client, "after", 2);
  CHECK(get_int(client, "before") == 1);
  OK(concord_cluster_remove(client, lost, WAIT_MS));
  CHECK(members(client, "\"role\":\"voter\"") == NODES - 1);
  OK(concord_close(client));
  for (int at = 0; at < NODES; at++) {
    if (at != next) OK(concord_close(nodes[at]));
  }
}

int main(void) {
  RUN(wrong_options_are_named);
  RUN(the_options_of_the_first_release_are_still_good);
  RUN(a_client_needs_addresses_and_a_secret);
  RUN(nobody_answering_is_an_error_in_time);
  RUN(misuse_of_the_verbs_is_an_error);
  RUN(a_store_of_one_node_is_ready_and_reads_at_once);
  RUN(one_node_is_a_cluster);
  RUN(three_nodes_are_one_store);
  return check_report();
}
