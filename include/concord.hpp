// concord.hpp: Concord for C++17, a thin and header-only cover of concord.h.
//
//   concord::Db db("data");                       // or concord::Db() in memory
//   db.put("greeting", concord::text("hello"));
//   std::optional<concord::Value> value = db.get("greeting");
//   std::string hello = value->as_text();
//
// - Objects own what they hold and can be moved, not copied. Their destructors close and free.
// - What is missing is an empty std::optional; everything that went wrong is a concord::Error.
// - Keys are bytes: std::string_view of any content. Values are encoded (CBOR): concord::Value owns one.
// - A Db may be used by any number of threads at once; a Scan by one.
//
//   concord::ClusterOptions cluster;              // a member of a cluster
//   cluster.seeds = "node1:7400,node2:7400", cluster.bootstrap_expect = 3, cluster.cookie = secret;
//   concord::Db member("data", cluster);
//   member.cluster().wait_ready(30s);
//   concord::Db client = concord::Db::connect("node1:7400,node2:7400", options);  // the same verbs from outside
//
//   auto created = db.as_admin().tokens().create({"app", CONCORD_SCOPE_READ | CONCORD_SCOPE_WRITE, {"app:"}});
//   concord::Db app = db.with_token(created.token);  // may do what the token allows; db stays open when app ends
//
//   concord_http_options http = CONCORD_HTTP_OPTIONS_INIT;
//   http.api_port = 4000;
//   concord_open_options open = CONCORD_OPEN_OPTIONS_INIT;
//   open.auth_enabled = CONCORD_SWITCH_ON, open.http = &http;
//   concord::Db served("data", open);             // serves HTTP until it is closed
#ifndef CONCORD_HPP
#define CONCORD_HPP

#include "concord.h"
#include "concord_value.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace concord {

// A value with the number of the change that wrote it and its remaining lifetime.
struct Record {
  Value value;
  std::uint64_t revision;
  Ttl ttl;
};

// One record of a scan, borrowed from it until the next step.
struct Item {
  std::string_view key;
  std::string_view encoded;
  std::uint64_t revision;
  Ttl ttl;

  // A value of its own.
  Value value() const { return Value::from_encoded(encoded); }
};

// One record of a bulk put. Key and value are borrowed.
struct Put {
  std::string_view key;
  const Value &value;
  Ttl ttl = {};
};

// How to write; everything has its default: WriteOptions{}, WriteOptions().with_ttl(5s).
class WriteOptions {
 public:
  WriteOptions() = default;
  WriteOptions &with_ttl(Ttl ttl) { return raw_.ttl_ms = detail::milliseconds(ttl), *this; }
  WriteOptions &with_timeout(std::chrono::milliseconds timeout) {
    return raw_.timeout_ms = timeout.count() > 0 ? static_cast<std::uint64_t>(timeout.count()) : 1, *this;
  }
  // In whose name. Borrowed until the write, as `expected` is.
  WriteOptions &with_token(const std::string &token) { return raw_.token = token.c_str(), *this; }
  WriteOptions &with_compress(concord_compress compress) { return raw_.compress = compress, *this; }

  // What must hold for the write to happen. `expected` is borrowed until the write.
  WriteOptions &if_absent() { return raw_.condition = CONCORD_CONDITION_ABSENT, *this; }
  WriteOptions &if_revision(std::uint64_t revision) {
    raw_.condition = CONCORD_CONDITION_REVISION;
    raw_.revision = revision;
    return *this;
  }
  WriteOptions &if_equal(const Value &expected) {
    raw_.condition = CONCORD_CONDITION_EXPECTED;
    raw_.expected = detail::bytes(expected.encoded());
    return *this;
  }
  // While this expression is true of the current record. Borrowed until the write.
  WriteOptions &if_where(std::string_view expression) {
    raw_.condition = CONCORD_CONDITION_WHERE;
    raw_.where = detail::bytes(expression);
    return *this;
  }

  const concord_write_options *raw() const noexcept { return &raw_; }

 private:
  concord_write_options raw_ = CONCORD_WRITE_OPTIONS_INIT;
};

// Which keys a scan visits, in the order of their bytes. All are borrowed until the scan is open.
struct Range {
  std::string_view prefix = {};
  std::string_view start = {};  // itself included
  std::string_view end = {};    // itself excluded
};

// Picks the records for which everything that it says holds; see concord_selector. All are borrowed until the call returns.
//
//   concord::Selector dear;
//   dear.prefix = "product:", dear.where = "value.price > 100";
//   concord::Scan products = db.select(dear);
struct Selector {
  std::optional<std::string_view> prefix = {};
  std::optional<std::string_view> suffix = {};
  std::optional<std::string_view> contains = {};
  std::optional<std::string_view> pattern = {};
  std::string pattern_flags = {};                                           // letters of "imsxu"
  std::optional<std::pair<std::string_view, std::string_view>> range = {};  // both ends included
  std::optional<std::string_view> where = {};
  std::uint64_t offset = 0;
  std::optional<std::uint64_t> limit = {};

  // Borrows from this object.
  concord_selector raw() const {
    concord_selector raw = CONCORD_SELECTOR_INIT;
    raw.prefix = said(prefix), raw.suffix = said(suffix), raw.contains = said(contains);
    raw.pattern = said(pattern), raw.where = said(where);
    if (!pattern_flags.empty()) raw.pattern_flags = pattern_flags.c_str();
    if (range) raw.range_from = said(range->first), raw.range_to = said(range->second);
    raw.offset = offset;
    if (limit) raw.limit = *limit;
    return raw;
  }

 private:
  // What is said and empty has an address as well.
  static concord_bytes said(const std::optional<std::string_view> &part) {
    if (!part) return {nullptr, 0};
    return part->data() == nullptr ? detail::bytes("") : detail::bytes(*part);
  }
};

// A walk over the store as it was when the scan began.
class Scan {
 public:
  explicit Scan(concord_scan *scan) noexcept : scan_(scan) {}
  Scan(Scan &&other) noexcept : scan_(std::exchange(other.scan_, nullptr)) {}
  Scan &operator=(Scan &&other) noexcept { return std::swap(scan_, other.scan_), *this; }
  Scan(const Scan &) = delete;
  Scan &operator=(const Scan &) = delete;
  ~Scan() {
    if (scan_ != nullptr) concord_scan_close(scan_);
  }

  concord_scan *raw() const noexcept { return scan_; }

  // The next record, nothing at the end.
  std::optional<Item> next() {
    concord_item item;
    if (!detail::found(concord_scan_next(scan_, &item))) return std::nullopt;
    return Item{detail::view(item.key), detail::view(item.value), item.revision, detail::ttl_of(item.ttl_ms)};
  }

 private:
  concord_scan *scan_;
};

// The answer of an asynchronous call.
class Completion {
 public:
  explicit Completion(concord_completion raw) noexcept : raw_(raw) {}
  Completion(Completion &&other) noexcept : raw_(std::exchange(other.raw_, concord_completion{})) {}
  Completion &operator=(Completion &&other) noexcept { return std::swap(raw_, other.raw_), *this; }
  Completion(const Completion &) = delete;
  Completion &operator=(const Completion &) = delete;
  ~Completion() { concord_completion_free(&raw_); }

  std::uint64_t tag() const noexcept { return raw_.tag; }
  concord_status status() const noexcept { return raw_.status; }
  std::int64_t integer() const noexcept { return raw_.integer; }
  std::uint64_t revision() const noexcept { return raw_.revision; }
  Ttl ttl() const { return detail::ttl_of(raw_.ttl_ms); }
  // The encoded value of a read, the flags of a bulk touch.
  std::string_view data() const noexcept { return {reinterpret_cast<const char *>(raw_.value.data), raw_.value.len}; }
  std::string_view message() const noexcept {
    return {reinterpret_cast<const char *>(raw_.message.data), raw_.message.len};
  }
  // Throws when the call did not end well.
  void check() const {
    if (raw_.status != CONCORD_OK) throw Error(raw_.status, std::string(message()));
  }

 private:
  concord_completion raw_;
};

// Calls that do not wait. Each ends in exactly one completion that carries its tag.
class Queue {
 public:
  explicit Queue(concord_queue *queue) noexcept : queue_(queue) {}
  Queue(Queue &&other) noexcept : queue_(std::exchange(other.queue_, nullptr)) {}
  Queue &operator=(Queue &&other) noexcept { return std::swap(queue_, other.queue_), *this; }
  Queue(const Queue &) = delete;
  Queue &operator=(const Queue &) = delete;
  ~Queue() {
    if (queue_ != nullptr) concord_queue_close(queue_);
  }

  // Readable while completions wait.
  int fd() const noexcept { return concord_queue_fd(queue_); }
  concord_queue *raw() const noexcept { return queue_; }

  void get(std::string_view key, std::uint64_t tag) {
    detail::check(concord_get_async(queue_, detail::bytes(key), nullptr, tag));
  }
  void put(std::string_view key, const Value &value, std::uint64_t tag, const WriteOptions &options = {}) {
    auto encoded = detail::bytes(value.encoded());
    detail::check(concord_put_async(queue_, detail::bytes(key), encoded, options.raw(), tag));
  }
  void erase(std::string_view key, std::uint64_t tag, const WriteOptions &options = {}) {
    detail::check(concord_delete_async(queue_, detail::bytes(key), options.raw(), tag));
  }
  void increment(std::string_view key, std::int64_t by, std::uint64_t tag, std::int64_t initial = 0) {
    detail::check(concord_increment_async(queue_, detail::bytes(key), by, initial, nullptr, tag));
  }

  void count(const Selector &selector, std::uint64_t tag) {
    concord_selector raw = selector.raw();
    detail::check(concord_count_async(queue_, &raw, nullptr, tag));
  }
  void erase_where(const Selector &selector, std::uint64_t tag, const WriteOptions &options = {}) {
    concord_selector raw = selector.raw();
    detail::check(concord_delete_where_async(queue_, &raw, options.raw(), tag));
  }
  // The completion has the number of records that next() of the scan gives without waiting; then ask for more().
  Scan select(const Selector &selector, std::uint64_t tag, bool keys_only = false) {
    concord_selector raw = selector.raw();
    concord_scan_options options = CONCORD_SCAN_OPTIONS_INIT;
    concord_scan *scan;
    options.selector = &raw;
    options.keys_only = keys_only;
    detail::check(concord_scan_open_async(queue_, &options, tag, &scan));
    return Scan(scan);
  }
  void more(const Scan &scan, std::uint64_t tag) { detail::check(concord_scan_more_async(queue_, scan.raw(), tag)); }

  // The next completion; nothing when none came in time. Less than zero waits for ever.
  std::optional<Completion> next(std::chrono::milliseconds timeout = std::chrono::milliseconds(-1)) {
    concord_completion raw;
    concord_status status = concord_queue_next(queue_, timeout.count(), &raw);
    if (status == CONCORD_TIMEOUT) return std::nullopt;
    detail::check(status);
    return Completion(raw);
  }

 private:
  concord_queue *queue_;
};

// Files of TLS (PEM): all three or none.
struct Tls {
  std::string certificate = {};
  std::string private_key = {};  // readable by its owner only
  std::string authority = {};
  bool verify_node_id = false;
};

// What makes a store a member of a cluster; what is empty or zero takes its default, as concord_cluster_options says.
struct ClusterOptions {
  std::string listen = {};
  std::string advertise = {};
  std::string name = {};
  std::string seeds = {};  // "host:port,host:port"
  std::string cookie = {};
  Tls tls = {};
  unsigned bootstrap_expect = 0;
  bool multicast = false;
  std::string multicast_group = {};
  std::uint16_t multicast_port = 0;
  std::chrono::milliseconds election_timeout = {};
  bool promote = true;

  // Borrows from this object.
  concord_cluster_options raw() const {
    concord_cluster_options raw = CONCORD_CLUSTER_OPTIONS_INIT;
    raw.listen = listen.c_str();
    raw.advertise = advertise.c_str();
    raw.name = name.c_str();
    raw.seeds = seeds.c_str();
    raw.cookie = cookie.c_str();
    raw.tls_certificate = tls.certificate.c_str();
    raw.tls_private_key = tls.private_key.c_str();
    raw.tls_authority = tls.authority.c_str();
    raw.tls_verify_node_id = tls.verify_node_id;
    raw.bootstrap_expect = bootstrap_expect;
    raw.multicast = multicast;
    raw.multicast_port = multicast_port;
    raw.multicast_group = multicast_group.c_str();
    raw.election_timeout_ms = detail::waiting(election_timeout);
    raw.promote = promote ? CONCORD_PROMOTE_AUTOMATIC : CONCORD_PROMOTE_MANUAL;
    return raw;
  }
};

// How to reach a cluster from outside; what is empty or zero takes its default, as concord_client_options says.
struct ClientOptions {
  std::string cookie = {};
  std::string token = {};  // instead of the cookie
  Tls tls = {};
  std::chrono::milliseconds connect_timeout = {};
  concord_consistency consistency = CONCORD_CONSISTENCY_DEFAULT;
  concord_compression compression = CONCORD_COMPRESSION_DEFAULT;
  unsigned compression_level = 0;
  std::size_t compression_threshold_bytes = 0;

  // Borrows from this object.
  concord_client_options raw() const {
    concord_client_options raw = CONCORD_CLIENT_OPTIONS_INIT;
    raw.cookie = cookie.c_str();
    raw.token = token.c_str();
    raw.tls_certificate = tls.certificate.c_str();
    raw.tls_private_key = tls.private_key.c_str();
    raw.tls_authority = tls.authority.c_str();
    raw.tls_verify_node_id = tls.verify_node_id;
    raw.consistency = consistency;
    raw.connect_timeout_ms = detail::waiting(connect_timeout);
    raw.compression = compression;
    raw.compression_level = compression_level;
    raw.compression_threshold_bytes = compression_threshold_bytes;
    return raw;
  }
};

// Who the members are and who leads. Borrows its Db. A timeout of zero is 5 seconds; all but is_ready() block.
class Cluster {
 public:
  using Timeout = std::chrono::milliseconds;

  explicit Cluster(concord_db *db) noexcept : db_(db) {}

  // Whether this node serves.
  bool is_ready() const {
    bool is_ready = false;
    detail::check(concord_is_ready(db_, &is_ready));
    return is_ready;
  }
  // Throws CONCORD_TIMEOUT, whose words say what is missing.
  void wait_ready(Timeout timeout = {}) const { detail::check(concord_wait_ready(db_, detail::waiting(timeout))); }

  // Takes a node in and gives its id.
  std::uint64_t add(const std::string &address, Timeout timeout = {}) {
    std::uint64_t node_id = 0;
    detail::check(concord_cluster_add(db_, address.c_str(), detail::waiting(timeout), &node_id));
    return node_id;
  }
  void promote(std::uint64_t node_id, Timeout timeout = {}) {
    detail::check(concord_cluster_promote(db_, node_id, detail::waiting(timeout)));
  }
  void remove(std::uint64_t node_id, Timeout timeout = {}) {
    detail::check(concord_cluster_remove(db_, node_id, detail::waiting(timeout)));
  }
  void replace(std::uint64_t old_node_id, std::uint64_t new_node_id, Timeout timeout = {}) {
    detail::check(concord_cluster_replace(db_, old_node_id, new_node_id, detail::waiting(timeout)));
  }
  // To this voter, or to the one that is furthest.
  void transfer_leadership(std::optional<std::uint64_t> node_id = {}, Timeout timeout = {}) {
    detail::check(concord_cluster_transfer_leadership(db_, node_id.value_or(0), detail::waiting(timeout)));
  }
  // For good; close the Db afterwards.
  void leave(Timeout timeout = {}) { detail::check(concord_cluster_leave(db_, detail::waiting(timeout))); }

 private:
  concord_db *db_;
};

// A token to be made: what it allows is the sum of concord_scope.
struct NewToken {
  std::string name = {};
  std::uint32_t scopes = 0;
  std::vector<std::string> key_prefixes = {};  // none: every key
  Ttl ttl = {};
};

// A token that was just made. Its text is here and nowhere else.
struct CreatedToken {
  std::string token;
  std::string info_json;
};

// Who may do what. Borrows its Db, which needs CONCORD_SCOPE_ADMIN: that of Db::as_admin() has it. All block.
class Tokens {
 public:
  explicit Tokens(concord_db *db) noexcept : db_(db) {}

  CreatedToken create(const NewToken &token) {
    std::vector<concord_bytes> prefixes;
    prefixes.reserve(token.key_prefixes.size());
    for (const std::string &prefix : token.key_prefixes) prefixes.push_back(detail::bytes(prefix));
    concord_token_options options = CONCORD_TOKEN_OPTIONS_INIT;
    options.name = token.name.c_str();
    options.scopes = token.scopes;
    options.key_prefixes = prefixes.data();
    options.key_prefix_count = prefixes.size();
    options.ttl_ms = detail::milliseconds(token.ttl);
    concord_buffer text, info;
    detail::check(concord_token_create(db_, &options, &text, &info));
    Value text_owner(text), info_owner(info);
    return {std::string(text_owner.encoded()), std::string(info_owner.encoded())};
  }
  // As concord_tokens_json() prints it.
  std::string list_json() const {
    concord_buffer json;
    detail::check(concord_tokens_json(db_, &json));
    Value owner(json);
    return std::string(owner.encoded());
  }
  // False when there is no such token.
  bool revoke(const std::string &id_or_token) {
    return detail::found(concord_token_revoke(db_, id_or_token.c_str()));
  }

 private:
  concord_db *db_;
};

// An open store, or a client of a cluster.
class Db {
 public:
  // In memory, or where the environment's CONCORD_DATA_DIR says.
  Db() : Db(nullptr, nullptr) {}
  explicit Db(const std::string &data_dir) : Db(data_dir.c_str(), nullptr) {}
  Db(const std::string &data_dir, const concord_open_options &options) : Db(data_dir.c_str(), &options) {}
  explicit Db(const concord_open_options &options) : Db(nullptr, &options) {}
  // A member of a cluster; an empty directory is a store in memory.
  Db(const std::string &data_dir, const ClusterOptions &cluster,
     const concord_open_options &options = CONCORD_OPEN_OPTIONS_INIT)
      : db_(nullptr) {
    concord_cluster_options raw = cluster.raw();
    concord_open_options all = options;
    all.cluster = &raw;
    detail::check(concord_open(data_dir.empty() ? nullptr : data_dir.c_str(), &all, &db_));
  }

  // Reaches a cluster without being a member of it: "host:port,host:port" of some members.
  static Db connect(const std::string &addresses, const ClientOptions &options = {}) {
    concord_client_options raw = options.raw();
    concord_db *db = nullptr;
    detail::check(concord_connect(addresses.c_str(), &raw, &db));
    return Db(db);
  }
  // Reaches the store that a program of the same user has open in this directory.
  static Db connect_local(const std::string &data_dir, const ClientOptions &options = {}) {
    concord_client_options raw = options.raw();
    concord_db *db = nullptr;
    detail::check(concord_connect_local(data_dir.c_str(), &raw, &db));
    return Db(db);
  }

  Db(Db &&other) noexcept : db_(std::exchange(other.db_, nullptr)) {}
  Db &operator=(Db &&other) noexcept { return std::swap(db_, other.db_), *this; }
  Db(const Db &) = delete;
  Db &operator=(const Db &) = delete;
  ~Db() {
    if (db_ != nullptr) concord_close(db_);
  }

  // The same store for the holder of a token, or with every right. What is given ends without closing the store, and
  // with the store: close or destroy it before, or find it closed.
  Db with_token(const std::string &token) const {
    concord_db *db = nullptr;
    detail::check(concord_with_token(db_, token.c_str(), &db));
    return Db(db);
  }
  Db as_admin() const {
    concord_db *db = nullptr;
    detail::check(concord_as_admin(db_, &db));
    return Db(db);
  }
  // Borrows this object.
  Tokens tokens() const noexcept { return Tokens(db_); }
  bool auth_enabled() const {
    bool is_enabled = false;
    detail::check(concord_auth_enabled(db_, &is_enabled));
    return is_enabled;
  }

  // Closes now and tells whether that went well; the destructor does it silently.
  void close() { detail::check(concord_close(std::exchange(db_, nullptr))); }
  concord_db *raw() const noexcept { return db_; }

  std::optional<Value> get(std::string_view key, const concord_read_options *options = nullptr) const {
    concord_buffer buffer;
    if (!detail::found(concord_get(db_, detail::bytes(key), options, &buffer))) return std::nullopt;
    return Value(buffer);
  }
  // The content of a text, for the commonest case of all.
  std::optional<std::string> get_text(std::string_view key) const {
    auto value = get(key);
    return value ? std::optional<std::string>(value->as_text()) : std::nullopt;
  }
  std::optional<Record> get_record(std::string_view key, const concord_read_options *options = nullptr) const {
    concord_record raw;
    if (!detail::found(concord_get_record(db_, detail::bytes(key), options, &raw))) return std::nullopt;
    return Record{Value(raw.value), raw.revision, detail::ttl_of(raw.ttl_ms)};
  }
  bool contains(std::string_view key, const concord_read_options *options = nullptr) const {
    return detail::found(concord_read(db_, detail::bytes(key), options, nullptr, nullptr));
  }
  // Nothing when the key is missing; otherwise its lifetime, or none within for ever.
  std::optional<Ttl> ttl(std::string_view key, const concord_read_options *options = nullptr) const {
    std::uint64_t ttl_ms;
    if (!detail::found(concord_ttl(db_, detail::bytes(key), options, &ttl_ms))) return std::nullopt;
    return detail::ttl_of(ttl_ms);
  }

  void put(std::string_view key, const Value &value, const WriteOptions &options = {}) {
    detail::check(concord_put(db_, detail::bytes(key), detail::bytes(value.encoded()), options.raw()));
  }
  void put(std::string_view key, std::string_view value, const WriteOptions &options = {}) {
    put(key, text(value), options);
  }
  // False when the key exists already.
  bool put_new(std::string_view key, const Value &value, const WriteOptions &options = {}) {
    auto encoded = detail::bytes(value.encoded());
    return unless(CONCORD_ALREADY_EXISTS, concord_put_new(db_, detail::bytes(key), encoded, options.raw()));
  }
  // False when the condition of the options does not hold.
  bool put_if(std::string_view key, const Value &value, const WriteOptions &options) {
    return holds(concord_put_if(db_, detail::bytes(key), detail::bytes(value.encoded()), options.raw()));
  }
  bool erase_if(std::string_view key, const WriteOptions &options) {
    return holds(concord_delete_if(db_, detail::bytes(key), options.raw()));
  }
  // Missing keys are fine. (`delete` is a word of C++ itself.)
  void erase(std::string_view key, const WriteOptions &options = {}) {
    detail::check(concord_delete(db_, detail::bytes(key), options.raw()));
  }

  std::int64_t increment(std::string_view key, std::int64_t by = 1, std::int64_t initial = 0,
                         const WriteOptions &options = {}) {
    std::int64_t sum = 0;
    detail::check(concord_increment(db_, detail::bytes(key), by, initial, options.raw(), &sum));
    return sum;
  }
  // False when the key is missing.
  bool touch(std::string_view key, std::chrono::milliseconds ttl, const WriteOptions &options = {}) {
    return detail::found(concord_touch(db_, detail::bytes(key), detail::milliseconds(ttl), options.raw()));
  }

  void put_many(const std::vector<Put> &puts, const WriteOptions &options = {}) {
    std::vector<concord_put_item> items;
    items.reserve(puts.size());
    for (const Put &put : puts) {
      items.push_back({detail::bytes(put.key), detail::bytes(put.value.encoded()), detail::milliseconds(put.ttl)});
    }
    detail::check(concord_put_many(db_, items.data(), items.size(), options.raw()));
  }
  void erase_many(const std::vector<std::string_view> &keys) {
    auto list = keys_of(keys);
    detail::check(concord_delete_many(db_, list.data(), list.size(), nullptr));
  }
  // For each key in order its record, or nothing.
  std::vector<std::optional<Record>> get_many(const std::vector<std::string_view> &keys) const {
    auto list = keys_of(keys);
    std::vector<concord_record> raw(keys.size());
    std::vector<std::optional<Record>> records;
    records.reserve(keys.size());
    detail::check(concord_get_many(db_, list.data(), list.size(), nullptr, raw.data()));
    for (concord_record &record : raw) {
      if (record.value.data == nullptr) records.emplace_back();
      else records.emplace_back(Record{Value(record.value), record.revision, detail::ttl_of(record.ttl_ms)});
    }
    return records;
  }
  // For each key in order whether it was there.
  std::vector<bool> touch_many(const std::vector<std::pair<std::string_view, std::chrono::milliseconds>> &touches) {
    std::vector<concord_touch_item> items;
    items.reserve(touches.size());
    for (const auto &[key, ttl] : touches) {
      auto ttl_ms = ttl.count() > 0 ? static_cast<std::uint64_t>(ttl.count()) : 0;
      items.push_back({detail::bytes(key), ttl_ms});
    }
    std::vector<std::uint8_t> found(touches.size());
    static_assert(sizeof(bool) == 1, "flags are written as bytes");
    auto *flags = reinterpret_cast<bool *>(found.data());
    detail::check(concord_touch_many(db_, items.data(), items.size(), nullptr, flags));
    return std::vector<bool>(found.begin(), found.end());
  }

  Scan scan(const Range &range = {}) const {
    concord_scan_options options = CONCORD_SCAN_OPTIONS_INIT;
    concord_scan *scan;
    options.prefix = detail::bytes(range.prefix);
    options.start = detail::bytes(range.start);
    options.end = detail::bytes(range.end);
    detail::check(concord_scan_open(db_, &options, &scan));
    return Scan(scan);
  }
  // What a selector picks; `keys_only`: with empty values, which costs less.
  Scan select(const Selector &selector, bool keys_only = false) const {
    concord_selector raw = selector.raw();
    concord_scan_options options = CONCORD_SCAN_OPTIONS_INIT;
    concord_scan *scan;
    options.selector = &raw;
    options.keys_only = keys_only;
    detail::check(concord_scan_open(db_, &options, &scan));
    return Scan(scan);
  }
  std::uint64_t count(const Selector &selector = {}, const concord_read_options *options = nullptr) const {
    concord_selector raw = selector.raw();
    std::uint64_t count = 0;
    detail::check(concord_count(db_, &raw, options, &count));
    return count;
  }
  // How many were removed, all as one change. An empty prefix removes everything, a selector that says nothing is refused.
  std::uint64_t erase_where(const Selector &selector, const WriteOptions &options = {}) {
    concord_selector raw = selector.raw();
    std::uint64_t count = 0;
    detail::check(concord_delete_where(db_, &raw, options.raw(), &count));
    return count;
  }
  Queue queue() const {
    concord_queue *queue;
    detail::check(concord_queue_open(db_, &queue));
    return Queue(queue);
  }

  // Borrows this object.
  Cluster cluster() const noexcept { return Cluster(db_); }
  // Whether reads at this level answer without waiting for the network.
  bool reads_at_once(concord_consistency consistency = CONCORD_CONSISTENCY_DEFAULT) const noexcept {
    return concord_reads_at_once(db_, consistency);
  }

  std::string status_json() const { return printed(concord_status_json); }
  std::string members_json() const { return printed(concord_members_json); }
  // All metrics as Prometheus reads them.
  std::string metrics_text() const { return printed(concord_metrics_text); }
  // Where HTTP is served, "127.0.0.1:4000"; empty when it is not.
  std::string api_address() const { return printed(concord_api_address); }
  std::string prometheus_address() const { return printed(concord_prometheus_address); }

 private:
  explicit Db(concord_db *db) noexcept : db_(db) {}
  Db(const char *data_dir, const concord_open_options *options) : db_(nullptr) {
    detail::check(concord_open(data_dir, options, &db_));
  }

  static bool unless(concord_status usual, concord_status status) {
    if (status == usual) return false;
    detail::check(status);
    return true;
  }
  static bool holds(concord_status status) {
    if (status == CONCORD_CONDITION_FAILED || status == CONCORD_ALREADY_EXISTS) return false;
    return detail::found(status);
  }
  static std::vector<concord_bytes> keys_of(const std::vector<std::string_view> &keys) {
    std::vector<concord_bytes> list;
    list.reserve(keys.size());
    for (std::string_view key : keys) list.push_back(detail::bytes(key));
    return list;
  }
  std::string printed(concord_status (*function)(const concord_db *, concord_buffer *)) const {
    concord_buffer buffer;
    detail::check(function(db_, &buffer));
    Value owner(buffer);
    return std::string(owner.encoded());
  }

  concord_db *db_;
};

}  // namespace concord

#endif  // CONCORD_HPP
