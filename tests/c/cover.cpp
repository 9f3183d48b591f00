// Cover: concord.hpp does what concord.h does, with objects, optionals and exceptions.
#include "concord.hpp"

#include "check.h"

#include <thread>
#include <type_traits>

using namespace std::chrono_literals;

static_assert(!std::is_copy_constructible_v<concord::Db> && std::is_nothrow_move_constructible_v<concord::Db>);
static_assert(!std::is_copy_constructible_v<concord::Value> && std::is_nothrow_move_constructible_v<concord::Value>);
static_assert(!std::is_copy_assignable_v<concord::Scan> && std::is_nothrow_move_assignable_v<concord::Scan>);
static_assert(!std::is_copy_assignable_v<concord::Queue> && std::is_nothrow_move_assignable_v<concord::Queue>);
static_assert(!std::is_copy_assignable_v<concord::Completion>);

#define THROWS(wanted, expression)                                          \
  do {                                                                      \
    concord_status thrown = CONCORD_OK;                                     \
    try {                                                                   \
      (void)(expression);                                                   \
    } catch (const concord::Error &error) {                                 \
      thrown = error.status();                                              \
      CHECK(std::string(error.what()).find(concord_error_name(thrown)) == 0); \
    }                                                                       \
    EXPECT(wanted, thrown);                                                 \
  } while (0)

static concord::Db in_memory() {
  concord_open_options options = CONCORD_OPEN_OPTIONS_INIT;
  options.durability = CONCORD_DURABILITY_MEMORY;
  return concord::Db(options);
}

static void values_come_back() {
  concord::Db db = in_memory();
  db.put("greeting", "hello");
  CHECK(db.get_text("greeting") == "hello");
  CHECK(db.get("greeting")->as_text() == "hello");
  CHECK(!db.get("nobody") && !db.get_text("nobody") && !db.get_record("nobody") && !db.ttl("nobody"));
  CHECK(db.contains("greeting") && !db.contains("nobody"));
  db.put("n", concord::integer(-7));
  CHECK(db.get("n")->as_int() == -7);
  db.put("d", concord::real(0.5));
  CHECK(db.get("d")->as_double() == 0.5);
  db.put("b", concord::boolean(true));
  CHECK(db.get("b")->as_bool());
  db.put("raw", concord::bytes(std::string_view("\0\xff", 2)));
  CHECK(db.get("raw")->as_bytes() == std::string("\0\xff", 2));
  db.put("nothing", concord::null());
  CHECK(db.get("nothing")->is_null());
  db.put("tree", concord::json(R"({"a":[1,2,{"b":null}]})"));
  CHECK(db.get("tree")->to_json() == R"({"a":[1,2,{"b":null}]})");
  db.erase("tree");
  db.erase("tree");
  CHECK(!db.contains("tree"));
  CHECK(db.status_json().front() == '{' && db.members_json().front() == '[');
}

static void what_goes_wrong_is_thrown() {
  concord::Db db = in_memory();
  THROWS(CONCORD_INVALID_KEY, db.put("", "x"));
  THROWS(CONCORD_INVALID_KEY, db.get(std::string(1025, 'a')));
  THROWS(CONCORD_INVALID_TTL, db.put("a", "x", concord::WriteOptions().with_ttl(0ms)));
  THROWS(CONCORD_INVALID_VALUE, concord::text("\xff"));
  THROWS(CONCORD_INVALID_VALUE, concord::json("{"));
  THROWS(CONCORD_INVALID_VALUE, concord::Value::from_encoded("\xff"));
  THROWS(CONCORD_INVALID_VALUE, concord::text("a").as_int());
  THROWS(CONCORD_MISSING_CONDITION, db.put_if("a", concord::null(), {}));
  THROWS(CONCORD_INVALID_CONFIG, concord::Db(""));
  db.put("a", "x");
  THROWS(CONCORD_NOT_AN_INTEGER, db.increment("a"));
  db.close();
  THROWS(CONCORD_INVALID_CONFIG, db.get("a"));
  THROWS(CONCORD_INVALID_CONFIG, db.close());
}

static void conditions_answer_yes_or_no() {
  concord::Db db = in_memory();
  auto one = concord::integer(1), two = concord::integer(2);
  CHECK(db.put_new("a", one) && !db.put_new("a", two));
  CHECK(!db.put_if("a", two, concord::WriteOptions().if_equal(two)));
  CHECK(db.put_if("a", two, concord::WriteOptions().if_equal(one)));
  auto record = db.get_record("a");
  CHECK(record && record->value.as_int() == 2 && !record->ttl);
  CHECK(db.put_if("a", one, concord::WriteOptions().if_revision(record->revision)));
  CHECK(!db.put_if("a", one, concord::WriteOptions().if_revision(record->revision)));
  CHECK(!db.put_if("a", one, concord::WriteOptions().if_absent()));
  CHECK(!db.erase_if("a", concord::WriteOptions().if_equal(two)));
  CHECK(db.erase_if("a", concord::WriteOptions().if_equal(one)));
  CHECK(!db.erase_if("a", concord::WriteOptions().if_equal(one)));
}

static void lifetimes_are_durations() {
  concord::Db db = in_memory();
  db.put("a", "x", concord::WriteOptions().with_ttl(60s));
  CHECK(db.ttl("a").value().value() <= 60s && db.ttl("a").value().value() > 58s);
  db.put("b", "x");
  CHECK(db.ttl("b").has_value() && !db.ttl("b").value());
  CHECK(db.touch("b", 5s) && db.ttl("b").value().value() <= 5s);
  CHECK(!db.touch("nobody", 5s));
  db.put("short", "x", concord::WriteOptions().with_ttl(20ms));
  std::this_thread::sleep_for(50ms);
  CHECK(!db.contains("short"));
}

static void counters_and_batches() {
  concord::Db db = in_memory();
  CHECK(db.increment("n") == 1 && db.increment("n", 10) == 11 && db.increment("m", -1, 100) == 99);
  auto one = concord::integer(1), two = concord::integer(2);
  db.put_many({{"a", one}, {"b", two, 60s}});
  auto records = db.get_many({"b", "nobody", "a"});
  CHECK(records.size() == 3 && records[0]->value.as_int() == 2 && records[0]->ttl && !records[1]);
  CHECK(records[2]->value.as_int() == 1 && !records[2]->ttl);
  CHECK(db.touch_many({{"a", 5s}, {"nobody", 5s}}) == (std::vector<bool>{true, false}));
  THROWS(CONCORD_INVALID_TOUCH_OPERATION, db.touch_many({{"a", 0s}}));
  db.erase_many({"a", "nobody"});
  CHECK(!db.contains("a") && db.contains("b"));
  db.put_many({});
  CHECK(db.get_many({}).empty());
}

static void scans_walk_a_range() {
  concord::Db db = in_memory();
  for (const char *name : {"a:1", "a:2", "b:1", "b:2", "b:3"}) db.put(name, name);
  std::string walked;
  auto scan = db.scan({"b:", "b:2"});
  concord::Scan moved = std::move(scan);
  while (auto item = moved.next()) {
    walked += item->key;
    CHECK(item->value().as_text() == item->key && item->revision > 0 && !item->ttl);
  }
  CHECK(walked == "b:2b:3" && !moved.next());
}

static void queues_complete() {
  concord::Db db = in_memory();
  concord::Queue queue = db.queue();
  CHECK(queue.fd() >= 0 && !queue.next(0ms));
  queue.put("a", concord::integer(5), 1);
  CHECK(queue.next()->tag() == 1);
  queue.increment("a", 2, 2);
  auto sum = queue.next(20s);
  CHECK(sum && sum->tag() == 2 && sum->integer() == 7 && sum->status() == CONCORD_OK);
  queue.get("a", 3);
  CHECK(concord::Value::from_encoded(queue.next()->data()).as_int() == 7);
  queue.get("nobody", 4);
  auto missing = queue.next();
  THROWS(CONCORD_NOT_FOUND, missing->check());
  CHECK(!missing->message().empty());
  queue.erase("a", 5);
  queue.next()->check();
}

static void a_cluster_is_an_object_too() {
  concord::Db db = in_memory();
  CHECK(db.cluster().is_ready() && db.reads_at_once() && db.reads_at_once(CONCORD_CONSISTENCY_STRONG));
  db.cluster().wait_ready(1s);
  concord::ClusterOptions options;
  options.listen = "127.0.0.1:0";
  THROWS(CONCORD_INVALID_CONFIG, concord::Db("", options)); /* no cookie */
  options.cookie = "secret", options.bootstrap_expect = 3;
  THROWS(CONCORD_INVALID_CONFIG, concord::Db("", options)); /* and no seeds */
  options.bootstrap_expect = 1, options.tls.authority = "authority.pem";
  THROWS(CONCORD_INVALID_CONFIG, concord::Db("", options)); /* one of three files */
  options.tls = {};
  concord::Db member("", options);
  member.cluster().wait_ready(20s);
  member.put("a", "x");
  CHECK(member.get_text("a") == "x");
  member.close();
  THROWS(CONCORD_INVALID_CONFIG, member.cluster().is_ready());
  THROWS(CONCORD_INVALID_CONFIG, concord::Db::connect("127.0.0.1:1"));
}

static void tokens_are_objects_too() {
  concord_open_options options = CONCORD_OPEN_OPTIONS_INIT;
  options.durability = CONCORD_DURABILITY_MEMORY;
  options.auth_enabled = CONCORD_SWITCH_ON;
  concord::Db db(options);
  CHECK(db.auth_enabled());
  THROWS(CONCORD_UNAUTHORIZED, db.put("app:a", "x"));
  THROWS(CONCORD_UNAUTHORIZED, db.tokens().list_json());
  concord::Db admin = db.as_admin();
  auto created = admin.tokens().create({"app", CONCORD_SCOPE_READ | CONCORD_SCOPE_WRITE, {"app:"}, 60s});
  CHECK(created.token.rfind("sk_concord_", 0) == 0 && created.info_json.find(created.token) == std::string::npos);
  CHECK(admin.tokens().list_json().find("\"name\":\"app\"") != std::string::npos);
  {
    concord::Db app = db.with_token(created.token);
    app.put("app:a", "x");
    CHECK(app.get_text("app:a") == "x");
    THROWS(CONCORD_FORBIDDEN, app.put("other", "x"));
    THROWS(CONCORD_FORBIDDEN, app.get("other"));
  } /* ends the handle, not the store */
  auto named = concord::WriteOptions().with_token(created.token);
  db.put("app:b", "y", named);
  CHECK(db.touch("app:b", 5s, named));
  db.erase("app:b", named);
  concord_read_options reading = CONCORD_READ_OPTIONS_INIT;
  reading.token = created.token.c_str();
  CHECK(db.contains("app:a", &reading) && !db.contains("app:b", &reading) && !db.ttl("app:a", &reading).value());
  CHECK(admin.tokens().revoke(created.token) && !admin.tokens().revoke(created.token));
  THROWS(CONCORD_UNAUTHORIZED, db.get("app:a", &reading));
  THROWS(CONCORD_UNAUTHORIZED, db.with_token(created.token));
  THROWS(CONCORD_INVALID_CONFIG, admin.tokens().create({}));
  THROWS(CONCORD_INVALID_TTL, admin.tokens().create({"x", CONCORD_SCOPE_READ, {}, 0ms}));
  db.close();
  THROWS(CONCORD_CLOSED, admin.get("app:a"));
}

static void a_store_says_where_it_serves() {
  concord_open_options options = CONCORD_OPEN_OPTIONS_INIT;
  concord_http_options http = CONCORD_HTTP_OPTIONS_INIT;
  http.api_port = http.prometheus_port = CONCORD_PORT_ANY;
  options.durability = CONCORD_DURABILITY_MEMORY, options.http = &http;
  concord::Db served(options);
  CHECK(served.api_address().rfind("127.0.0.1:", 0) == 0 && served.prometheus_address() != served.api_address());
  CHECK(in_memory().api_address().empty());
  served.put("a", "x");
  CHECK(served.metrics_text().find("concord_api_put_count_total{result=\"ok\"} 1") != std::string::npos);
  THROWS(CONCORD_NOPROC, concord::Db::connect_local("/nowhere/at/all"));
  concord::ClientOptions client;
  client.token = "sk_concord_", client.cookie = "secret";
  THROWS(CONCORD_INVALID_CONFIG, concord::Db::connect("127.0.0.1:1", client));
}

static void selectors_pick_records() {
  concord::Db db = in_memory();
  for (int at = 1; at <= 3; at++) {
    db.put("product:" + std::to_string(at), concord::json(R"({"price":)" + std::to_string(at * 50) + "}"));
  }
  concord::Selector dear;
  dear.prefix = "product:", dear.where = "value.price >= 100";
  concord::Scan scan = db.select(dear);
  CHECK(scan.next()->key == "product:2");
  auto item = scan.next();
  CHECK(item->key == "product:3" && item->value().to_json() == R"({"price":150})" && !scan.next());
  CHECK(db.select(dear, true).next()->encoded.empty());
  CHECK(db.count(dear) == 2 && db.count() == 3);
  dear.limit = 1;
  CHECK(db.count(dear) == 1);
  concord::Selector range;
  range.range = {"product:1", "product:2"};
  range.pattern = "^PRODUCT", range.pattern_flags = "i";
  CHECK(db.count(range) == 2);
  range.range = {std::string_view(), "product:1"};
  CHECK(db.count(range) == 1);
  try {
    dear.where = "value.price >";
    (void)db.count(dear);
    CHECK(false);
  } catch (const concord::Error &error) {
    CHECK(error.status() == CONCORD_INVALID_CONDITION && error.column() == 14);
  }
  THROWS(CONCORD_INVALID_CONDITION, db.erase_where({}));
  CHECK(!db.put_if("product:1", concord::null(), concord::WriteOptions().if_where("value.price > 50")));
  CHECK(db.put_if("product:1", concord::null(), concord::WriteOptions().if_where("value.price == 50")));

  concord::Queue queue = db.queue();
  queue.count(range, 1);
  CHECK(queue.next()->integer() == 1);
  concord::Scan walk = queue.select({}, 2);
  CHECK(queue.next()->integer() == 3);
  for (int at = 0; at < 3; at++) CHECK(walk.next());
  queue.more(walk, 3);
  CHECK(queue.next()->integer() == 0 && !walk.next());
  concord::Selector everything;
  everything.prefix = std::string_view();
  queue.erase_where(everything, 4);
  CHECK(queue.next()->integer() == 3 && db.count() == 0);
  CHECK(db.erase_where(everything) == 0);
}

static void moving_leaves_nothing_behind() {
  concord::Db first = in_memory();
  first.put("a", "x");
  concord::Db second = std::move(first);
  CHECK(first.raw() == nullptr && second.get_text("a") == "x");
  first = std::move(second);
  CHECK(first.get_text("a") == "x");
  concord::Value value = concord::text("one");
  value = concord::text("two");
  concord::Value moved = std::move(value);
  CHECK(moved.as_text() == "two");
}

int main() {
  RUN(values_come_back);
  RUN(what_goes_wrong_is_thrown);
  RUN(conditions_answer_yes_or_no);
  RUN(lifetimes_are_durations);
  RUN(counters_and_batches);
  RUN(scans_walk_a_range);
  RUN(queues_complete);
  RUN(selectors_pick_records);
  RUN(a_cluster_is_an_object_too);
  RUN(tokens_are_objects_too);
  RUN(a_store_says_where_it_serves);
  RUN(moving_leaves_nothing_behind);
  return check_report();
}
