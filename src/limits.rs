//! Every bound in one place, with what happens beyond it.

/// Longest key. Beyond it: `invalid_key`.
pub const KEY_BYTES_MAX: usize = 1024;

/// Largest encoded value unless configured otherwise. Beyond it: `value_too_large`.
pub const VALUE_BYTES_MAX_DEFAULT: usize = 16 * 1024 * 1024;

/// Largest encoded value that configuration may allow, and the cap on any decompressed size.
pub const VALUE_BYTES_MAX_CEILING: usize = 64 * 1024 * 1024;

/// Deepest nesting of a value (a scalar has depth 1). Beyond it: `invalid_value`.
pub const VALUE_DEPTH_MAX: usize = 128;

/// Most decimal digits of an integer in JSON, as many as Python converts. Beyond it: `invalid_value`.
pub const JSON_INTEGER_DIGITS_MAX: usize = 4300;

/// Longest pattern of a selector or an expression. Beyond it: `invalid_condition`.
pub const PATTERN_BYTES_MAX: usize = 1024;

/// Largest program that a pattern may become, bytes. Beyond it: `invalid_condition`.
pub const PATTERN_PROGRAM_BYTES_MAX: usize = 1024 * 1024;

/// Longest expression. Beyond it: `invalid_condition`.
pub const EXPRESSION_BYTES_MAX: usize = 4096;

/// Deepest nesting of an expression. Beyond it: `invalid_condition`.
pub const EXPRESSION_DEPTH_MAX: usize = 64;

/// Most patterns in an expression: each takes its time to be made ready, on every replica. Beyond it: `invalid_condition`.
pub const EXPRESSION_PATTERNS_MAX: usize = 8;

/// Most items in one bulk operation. Beyond it: `batch_too_large`.
pub const BATCH_OPS_MAX: usize = 500;

/// Most bytes of all items in one bulk operation. Beyond it: `value_too_large`.
pub const BATCH_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Most compares and operations in a transaction, those of both branches together. Beyond it: `batch_too_large`. Part of what
/// commands mean.
pub const TXN_OPS_MAX: usize = 128;

/// Most bytes of the values that a transaction reads. Beyond it: it is not done and answers `value_too_large`. Part of what
/// commands mean.
pub const TXN_ANSWER_BYTES_MAX: usize = 256 * 1024;

/// Longest idempotency key of a transaction. Beyond it: `invalid_key`.
pub const IDEMPOTENCY_KEY_BYTES_MAX: usize = 128;

/// How long the receipt of a transaction with an idempotency key is kept, milliseconds of the cluster's time, unless there are
/// too many. Beyond it: the same transaction is done anew. Part of what commands mean.
pub const RECEIPT_MS: u64 = 60 * 60 * 1000;

/// Most receipts that are kept. Beyond it: the oldest goes. Part of what commands mean.
pub const RECEIPTS_MAX: usize = 65_536;

/// Most bytes of all receipts. Beyond it: the oldest go. Part of what commands mean.
pub const RECEIPTS_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Most indexes. Beyond it: `invalid_config`. Part of what commands mean.
pub const INDEXES_MAX: usize = 16;

/// Longest name of an index. Beyond it: `invalid_config`.
pub const INDEX_NAME_BYTES_MAX: usize = 64;

/// Longest path of an index. Beyond it: `invalid_condition`.
pub const INDEX_PATH_BYTES_MAX: usize = 1024;

/// Most steps of the path of an index. Beyond it: `invalid_condition`.
pub const INDEX_PATH_STEPS_MAX: usize = 16;

/// Longest text, bytes or integer that an index holds. Beyond it: the index leaves it out, and `invalid_value` for who asks
/// for it.
pub const INDEX_TERM_BYTES_MAX: usize = 1024;

/// Most keys in one page of an index. Beyond it: the rest is left to the next page.
pub const INDEX_PAGE_MAX: usize = 1000;

/// Most parts of one value that an index holds. Beyond it: the index leaves out those that come later in the value.
pub const INDEX_TERMS_MAX: usize = 1000;

/// Most commands that share one log entry. Beyond it: the others go into the next one; `batch_too_large`
/// for a batch that another node sends.
pub const BATCH_COMMANDS_MAX: usize = 4096;

/// Most sessions that the store remembers. Beyond it: the one that was used longest ago goes, and a batch
/// that it sends again is refused. Part of what commands mean: every replica must have the same.
pub const SESSIONS_MAX: usize = 4096;

/// Most batches of one session whose outcomes are kept for it. Beyond it: its next batch is refused until
/// it has acknowledged some. Part of what commands mean.
pub const SESSION_BATCHES_MAX: usize = 64;

/// Most bytes of kept outcomes of all sessions. Beyond it: the session that was used longest ago goes.
/// Part of what commands mean.
pub const SESSIONS_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Most tokens. Beyond it: those that have expired are forgotten; when that makes no room, `invalid_config`. Part of what
/// commands mean.
pub const TOKENS_MAX: usize = 10_000;

/// Longest name of a token. Beyond it: `invalid_config`.
pub const TOKEN_NAME_BYTES_MAX: usize = 64;

/// Most key prefixes of a token. Beyond it: `invalid_config`.
pub const TOKEN_PREFIXES_MAX: usize = 32;

/// Most bytes of all key prefixes of a token together. Beyond it: `invalid_config`.
pub const TOKEN_PREFIX_BYTES_MAX: usize = 4096;

/// Most tokens for which a client stays connected. Beyond it: the one that was used longest ago connects anew.
pub const CLIENT_TOKENS_MAX: usize = 64;

/// Failed attempts to use a token after which a source has to wait. Beyond it: `unauthorized` for a second, then for longer.
pub const TOKEN_FAILURES_MAX: u32 = 10;

/// Longest time that a source with failed attempts has to wait for the next one.
pub const TOKEN_FAILURE_PAUSE_MS_MAX: u64 = 60_000;

/// Most sources of failed attempts that are remembered. Beyond it: the one that failed longest ago is forgotten.
pub const TOKEN_FAILURE_SOURCES_MAX: usize = 4096;

/// Longest TTL, 1,000 years. Beyond it: `invalid_ttl`.
pub const TTL_MS_MAX: u64 = 1000 * 365 * 24 * 60 * 60 * 1000;

/// Time a call may take when the caller gives no `timeout`.
pub const TIMEOUT_MS_DEFAULT: u64 = 5_000;

/// Largest request or answer between two nodes, or of a remote client, unless configured otherwise. Beyond it: `value_too_large`
/// where it is sent, a closed connection where it is received.
pub const FRAME_BYTES_MAX: usize = 80 * 1024 * 1024;

/// Most bytes that wait to be sent on one connection. Beyond it: a call fails at once, a slow reader is cut off.
pub const QUEUE_BYTES_MAX: usize = 128 * 1024 * 1024;

/// Most authenticated connections that a node accepts. Beyond it: `cluster_not_ready` to the one that connects.
pub const CONNECTIONS_MAX: usize = 1024;

/// Most connections that have not proved yet who they are. Beyond it: the oldest of them is closed.
pub const HANDSHAKES_MAX: usize = 256;

/// Time to prove who one is on a new connection. Beyond it: the connection is closed.
pub const HANDSHAKE_TIMEOUT_MS: u64 = 3_000;

/// Time to reach an address. Beyond it: `cluster_not_ready`.
pub const CONNECT_TIMEOUT_MS: u64 = 3_000;

/// Most requests of one connection that run at once. Beyond it: the next one is not read yet.
pub const REQUESTS_RUNNING_MAX: usize = 1024;

/// Most bytes of one connection's running requests. Beyond it: the next one is not read yet.
pub const REQUEST_BYTES_RUNNING_MAX: usize = 64 * 1024 * 1024;

/// Most named consumers. Beyond it: `invalid_config`. Part of what commands mean.
pub const CONSUMERS_MAX: usize = 1_000;

/// Longest name of a consumer. Beyond it: `invalid_config`.
pub const CONSUMER_NAME_BYTES_MAX: usize = 64;

/// Most watches of clients that a member holds at once, each until there is something to tell. Beyond it: `cluster_not_ready`.
pub const WATCH_POLLS_MAX: usize = 4096;

/// Most changes that a member tells a client at once. Beyond it: the rest comes with the next question.
pub const WATCH_ITEMS_MAX: usize = 4096;

/// Longest time that a member holds a question for changes. Beyond it: the answer is that there are none.
pub const WATCH_WAIT_MS_MAX: u64 = 60_000;

/// Longest datagram of discovery, below every usual MTU. Beyond it: dropped and counted.
pub const DATAGRAM_BYTES_MAX: usize = 1_400;

/// Longest address (`host:port`) of a node. Beyond it: `invalid_config`.
pub const ADDRESS_BYTES_MAX: usize = 255;

/// Longest name of a node. Beyond it: `invalid_config`; a name that is made of a longer address is cut.
pub const NODE_NAME_BYTES_MAX: usize = 64;

/// Most configured seeds. Beyond it: `invalid_config`.
pub const SEEDS_MAX: usize = 64;

/// Most addresses taken from one seed. Beyond it: the rest is left out.
pub const SEED_ADDRESSES_MAX: usize = 256;

/// Most nodes known by gossip. Beyond it: gossip forgets all and begins anew.
pub const GOSSIP_NODES_MAX: usize = 1_024;

/// Most datagrams read from one socket in a second. Beyond it: left to the kernel, which drops them.
pub const DATAGRAMS_PER_S_MAX: u32 = 1_000;

/// Most bytes of the headers of an HTTP request. Beyond it: 431.
pub const HTTP_HEADER_BYTES_MAX: usize = 16 * 1024;

/// Most headers of an HTTP request. Beyond it: 431.
pub const HTTP_HEADERS_MAX: usize = 100;

/// Longest path and query of an HTTP request. Beyond it: 414.
pub const HTTP_URL_BYTES_MAX: usize = 8 * 1024;

/// Most bytes of bodies and large answers that all HTTP requests hold at once. Beyond it: 503.
pub const HTTP_BYTES_RUNNING_MAX: usize = 256 * 1024 * 1024;

/// Most records in one page of a list over HTTP. Beyond it: 400.
pub const HTTP_LIST_ITEMS_MAX: usize = 1_000;

/// About the most bytes of one page of a list over HTTP. Beyond it: the rest is left to the next page.
pub const HTTP_LIST_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Most bytes of the answer of a bulk read over HTTP. Beyond it: 413.
pub const HTTP_ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Longest wait that an HTTP request may ask for, milliseconds. Beyond it: 400.
pub const HTTP_TIMEOUT_MS_MAX: u64 = 600_000;

/// Time from the first byte of an HTTP request to the end of its headers, TLS included. Beyond it: the connection is closed.
pub const HTTP_HEADER_TIMEOUT_MS: u64 = 10_000;

/// Time between two pieces of a request body. Beyond it: 408.
pub const HTTP_BODY_IDLE_TIMEOUT_MS: u64 = 10_000;

/// Time for a whole request body. Beyond it: 408.
pub const HTTP_BODY_TIMEOUT_MS: u64 = 120_000;

/// Time that a connection may rest between two requests. Beyond it: closed.
pub const HTTP_KEEP_ALIVE_MS: u64 = 60_000;

/// Time in which a client takes nothing of its answer. Beyond it: the connection is closed.
pub const HTTP_WRITE_STALL_MS: u64 = 30_000;

/// Most requests at once on one HTTP/2 connection. Beyond it: the stream is refused.
pub const HTTP_STREAMS_MAX: u32 = 100;
