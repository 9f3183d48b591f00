//! Tokens: who may do what, through the public API.

#[path = "tokens/cluster.rs"]
mod cluster;
#[path = "cluster/until.rs"]
mod until;
#[path = "tokens/verbs.rs"]
mod verbs;

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::time::Duration;

use concord_kv::{Concord, Config, CreatedToken, ErrorKind, NewToken, Scopes, TokenInfo, WatchOptions, limits};

pub(crate) const READ: Scopes = Scopes { read: true, write: false, admin: false };
pub(crate) const WRITE: Scopes = Scopes { read: false, write: true, admin: false };
pub(crate) const BOTH: Scopes = Scopes { read: true, write: true, admin: false };
pub(crate) const ADMIN: Scopes = Scopes { read: false, write: false, admin: true };

pub(crate) fn token(scopes: Scopes, prefixes: &[&str]) -> NewToken {
    let key_prefixes = prefixes.iter().map(|prefix| prefix.as_bytes().to_vec()).collect();
    NewToken { name: "of a test".to_owned(), scopes, key_prefixes, ttl: None }
}

pub(crate) fn create(db: &Concord, new: &NewToken) -> CreatedToken {
    db.as_admin().tokens().create(new).unwrap()
}

fn guarded(config: Config) -> Concord {
    Concord::open(Config { auth_enabled: true, ..config }).unwrap()
}

fn refusal(db: &Concord, token: &str) -> ErrorKind {
    db.with_token(token).err().expect("this one may not come in").kind()
}

#[test]
fn tokens_and_revocations_survive_restarts_and_snapshots() {
    let dir = tempfile::tempdir().unwrap();
    let (kept, revoked) = {
        let db = guarded(Config { snapshot_log_bytes: 1024 * 1024, ..Config::at(dir.path()) });
        let (kept, revoked) = (create(&db, &token(BOTH, &["a:"])), create(&db, &token(ADMIN, &[])));
        let held = db.with_token(revoked.token.reveal()).unwrap();
        held.tokens().revoke(&revoked.info.id).unwrap();
        assert_eq!(held.tokens().list().unwrap_err().kind(), ErrorKind::Unauthorized);
        let admin = db.as_admin();
        while admin.status().unwrap().raft.snapshot_index == 0 {
            admin.kv().put("big", vec_of(100_000)).wait().unwrap();
        }
        db.close().unwrap();
        (kept, revoked)
    };
    for _ in 0..2 {
        let db = guarded(Config::at(dir.path()));
        let found = db.as_admin().tokens().list().unwrap().remove(0);
        assert_eq!(TokenInfo { last_used_ms: None, ..found }, kept.info);
        db.with_token(kept.token.reveal()).unwrap().kv().put("a:1", 1).wait().unwrap();
        assert_eq!(refusal(&db, revoked.token.reveal()), ErrorKind::Unauthorized);
        assert_eq!(db.as_admin().tokens().revoke(revoked.token.reveal()).unwrap_err().kind(), ErrorKind::NotFound);
        db.close().unwrap();
    }
}

/// Bytes that no compression makes smaller.
fn vec_of(count: usize) -> concord_kv::Value {
    let mut state = 1u64;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    concord_kv::Value::Bytes((0..count).map(next).collect())
}

#[test]
fn a_token_ends_when_its_time_is_over_for_those_who_hold_it_too() {
    let db = guarded(Config::default());
    let short = create(&db, &NewToken { ttl: Some(Duration::from_millis(300)), ..token(BOTH, &[]) });
    let held = db.with_token(short.token.reveal()).unwrap();
    held.kv().put("k", 1).wait().unwrap();
    let view = held.kv().view(&Default::default()).unwrap();
    let mut watch = held.watch(&WatchOptions::default()).unwrap();
    assert_eq!(short.info.expires_ms, Some(short.info.created_ms + 300));
    let start = std::time::Instant::now();
    while held.kv().get("k").is_ok() {
        assert!(start.elapsed() < Duration::from_secs(5), "it never ends");
        std::thread::sleep(Duration::from_millis(5));
    }
    let unauthorized = |kind: ErrorKind| assert_eq!(kind, ErrorKind::Unauthorized);
    unauthorized(held.kv().put("k", 2).wait().unwrap_err().kind());
    unauthorized(view.get(b"k", |_| ()).unwrap_err().kind());
    unauthorized(refusal(&db, short.token.reveal()));
    db.as_admin().kv().put("k", 3).wait().unwrap();
    unauthorized(watch.next_within(Duration::ZERO).unwrap_err().kind());
    for wrong in [Duration::ZERO, Duration::from_micros(999), Duration::MAX] {
        let new = NewToken { ttl: Some(wrong), ..token(READ, &[]) };
        assert_eq!(db.as_admin().tokens().create(&new).unwrap_err().kind(), ErrorKind::InvalidTtl);
    }
}

#[test]
fn ten_thousand_tokens_have_nothing_in_common_and_are_the_most_there_can_be() {
    let db = Concord::open(Config::default()).unwrap();
    let tokens: Vec<String> =
        (0..limits::TOKENS_MAX).map(|_| create(&db, &token(READ, &[])).token.reveal().to_owned()).collect();
    let refused = db.tokens().create(&token(READ, &[])).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidConfig);
    assert!(refused.message().contains("revoke some"), "{refused}");
    let secrets = tokens.iter().map(|token| token.strip_prefix("sk_concord_").unwrap());
    assert!(secrets.clone().all(|secret| secret.len() == 72 && secret.bytes().all(|byte| byte.is_ascii_hexdigit())));
    // Sixteen digits that come twice would be a wonder, wherever they stand.
    let pieces = secrets.clone().flat_map(|secret| (0..4).map(move |at| &secret[16 * at..16 * at + 16]));
    assert_eq!(pieces.collect::<HashSet<_>>().len(), 4 * limits::TOKENS_MAX);
    let listed = db.tokens().list().unwrap();
    assert_eq!(listed.iter().map(|info| info.id.as_str()).collect::<HashSet<_>>().len(), limits::TOKENS_MAX);
    db.with_token(&tokens[7]).unwrap().kv().get("k").unwrap();
    db.tokens().revoke(&tokens[7]).unwrap();
    create(&db, &token(READ, &[]));
}

#[test]
fn what_is_no_token_is_told_so_and_what_might_be_one_is_only_unknown() {
    let db = guarded(Config::default());
    let created = create(&db, &token(READ, &[]));
    let text = created.token.reveal();
    let last = if text.ends_with('0') { '1' } else { '0' };
    let mistyped = format!("{}{last}", &text[..text.len() - 1]);
    for wrong in [mistyped.as_str(), "", "sk_concord_", &created.info.id, "Bearer x", &text[..40], &format!("{text} ")]
    {
        let error = db.with_token(wrong).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Unauthorized);
        assert!(error.message().contains("mistyped"), "{error}");
        assert!(wrong.is_empty() || !error.to_string().contains(wrong), "the error does not repeat it: {error}");
    }
    db.as_admin().tokens().revoke(&created.info.id).unwrap();
    assert!(db.with_token(text).err().unwrap().message().contains("not known"));
    assert!(!format!("{created:?}").contains(&text[11..30]));
}

#[test]
fn a_token_outside_its_bounds_is_refused() {
    let db = Concord::open(Config::default()).unwrap();
    let name = |name: &str| NewToken { name: name.to_owned(), ..token(READ, &[]) };
    let prefixes = |key_prefixes: Vec<Vec<u8>>| NewToken { key_prefixes, ..token(READ, &[]) };
    for right in [name(""), name(&"é".repeat(32)), prefixes(vec![vec![7; 128]; 32]), prefixes(vec![vec![7; 1024]; 4])]
    {
        db.tokens().create(&right).unwrap();
    }
    let everything = Scopes { read: true, write: true, admin: true };
    for wrong in [
        name(&"n".repeat(65)),
        name("a\nb"),
        prefixes(vec![Vec::new()]),
        prefixes(vec![vec![7]; 33]),
        prefixes(vec![vec![7; 1025]]),
        prefixes(vec![vec![7; 1024]; 5]),
        token(Scopes::default(), &[]),
        token(everything, &["a"]),
    ] {
        assert_eq!(db.tokens().create(&wrong).unwrap_err().kind(), ErrorKind::InvalidConfig, "{wrong:?}");
    }
}

/// T2: all that is ever written, in whatever form a token could be in it.
#[test]
fn nothing_of_a_token_is_in_the_data_directory() {
    let dir = tempfile::tempdir().unwrap();
    let db = guarded(Config { snapshot_log_bytes: 1024 * 1024, ..Config::at(dir.path()) });
    let created = create(&db, &token(BOTH, &[]));
    let held = db.with_token(created.token.reveal()).unwrap();
    while db.as_admin().status().unwrap().raft.snapshot_index == 0 {
        held.kv().put("big", vec_of(100_000)).wait().unwrap();
    }
    held.kv().put("planted", "to be found").wait().unwrap();
    db.close().unwrap();
    let digits = &created.token.reveal()["sk_concord_".len()..];
    let secret: Vec<u8> = (0..32).map(|at| u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).unwrap()).collect();
    let (upper, encoded) = (digits.to_uppercase(), base64(&secret));
    let searched = [&digits.as_bytes()[..16], &upper.as_bytes()[..16], &secret[..8], &encoded[..12]];
    let mut found_planted = false;
    for_each_file(dir.path(), &mut |path, bytes| {
        let holds = |what: &[u8]| bytes.windows(what.len()).any(|window| window == what);
        found_planted |= holds(b"to be found");
        for what in searched {
            assert!(!holds(what), "{} holds a part of the token", path.display());
        }
    });
    assert!(found_planted, "the test does find what is there");
}

fn base64(bytes: &[u8]) -> Vec<u8> {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bits: Vec<u8> = bytes.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1)).collect();
    let digit = |six: &[u8]| DIGITS[six.iter().fold(0, |digit, bit| digit << 1 | usize::from(*bit))];
    bits.chunks_exact(6).map(digit).collect()
}

fn for_each_file(dir: &Path, f: &mut dyn FnMut(&Path, &[u8])) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => for_each_file(&path, f),
            false => f(&path, &std::fs::read(&path).unwrap_or_default()),
        }
    }
}

/// T8.
#[test]
fn who_guesses_has_to_wait_and_others_do_not() {
    let db = guarded(Config::default());
    let created = create(&db, &token(READ, &[]));
    let gone = create(&db, &token(READ, &[]));
    db.as_admin().tokens().revoke(&gone.info.id).unwrap();
    let source = |last| IpAddr::V4(Ipv4Addr::new(192, 0, 2, last));
    for wrong in [gone.token.reveal(), "x"].iter().cycle().take(limits::TOKEN_FAILURES_MAX as usize) {
        let error = db.with_token_from(wrong, source(1)).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Unauthorized);
        assert!(!error.message().contains("in 1 s"), "{error}");
    }
    let waits = db.with_token_from(created.token.reveal(), source(1)).err().unwrap();
    assert_eq!(waits.kind(), ErrorKind::Unauthorized);
    assert!(waits.message().contains("in 1 s"), "a right token has to wait like a wrong one: {waits}");
    assert_eq!(db.failed_attempts(), u64::from(limits::TOKEN_FAILURES_MAX), "what was not looked at does not count");
    db.with_token_from(created.token.reveal(), source(2)).unwrap();
    db.with_token(created.token.reveal()).unwrap();
}

#[test]
fn the_last_use_is_known_at_once_on_the_node_itself() {
    let db = guarded(Config::default());
    let created = create(&db, &token(READ, &[]));
    let last_used = || db.as_admin().tokens().list().unwrap()[0].last_used_ms;
    assert_eq!(created.info.last_used_ms, None);
    assert_eq!(last_used(), None);
    db.with_token(created.token.reveal()).unwrap().kv().get("k").unwrap();
    let used_ms = last_used().unwrap();
    assert!((created.info.created_ms..created.info.created_ms + 60_000).contains(&used_ms));
}

#[test]
fn without_auth_nobody_is_asked_and_a_token_that_is_given_is_held_to_its_scopes() {
    let db = Concord::open(Config::default()).unwrap();
    assert!(!db.auth_enabled());
    db.kv().put("k", 1).wait().unwrap();
    let created = db.tokens().create(&token(READ, &[])).unwrap();
    let reader = db.with_token(created.token.reveal()).unwrap();
    assert_eq!(reader.kv().get("k").unwrap(), Some(1.into()));
    assert_eq!(reader.kv().put("k", 2).wait().unwrap_err().kind(), ErrorKind::Forbidden);
    // The handle outlives the one that it came from.
    drop(db);
    assert_eq!(reader.kv().get("k").unwrap(), Some(1.into()));
}
