//! Tokens are made and ended by commands alone, and every record that somebody holds tells that it was revoked.

use std::ops::Bound;
use std::sync::Arc;

use super::{Need, TokenRecord};
use crate::encoding::batch::{put_batch_header, stamp_batch};
use crate::encoding::command::put_command;
use crate::error::{ErrorKind, Result};
use crate::limits::TOKENS_MAX;
use crate::model::{Command, Condition, NewTokenItem, Operation, PutItem, Reply, Scopes, TokenId};
use crate::state_machine::model_test::copy_by_snapshot;
use crate::state_machine::{Outcome, SnapshotHeader, StateMachine, load_snapshot};

const READ: Scopes = Scopes { read: true, write: false, admin: false };

fn item(number: u32) -> NewTokenItem<'static> {
    let mut hash = [0; 32];
    hash[..4].copy_from_slice(&number.to_le_bytes());
    NewTokenItem { hash, name: "n", scopes: READ, key_prefixes: Vec::new(), deadline_ms: None }
}

fn id(number: u32) -> TokenId {
    TokenId::of(&item(number).hash)
}

fn apply(machine: &StateMachine, now_ms: u64, operation: Operation<'_>) -> Outcome {
    let mut payload = Vec::new();
    put_batch_header(&mut payload, 0, 0, 0);
    put_command(&mut payload, &Command { stamp_ms: now_ms, operation });
    stamp_batch(&mut payload, now_ms);
    let mut outcomes = Vec::new();
    machine.apply(&payload, |outcome| outcomes.push(outcome)).unwrap();
    outcomes.remove(0)
}

fn put(token: TokenId) -> Operation<'static> {
    let item = PutItem { key: b"k", stored: b"\0\x01", deadline_ms: None };
    let operation = Box::new(Operation::Put { item, condition: Condition::Always });
    Operation::Authorised { token, operation }
}

#[test]
fn a_write_in_the_name_of_a_token_is_done_only_while_the_token_is_valid() {
    let machine = StateMachine::new();
    assert_eq!(apply(&machine, 1_000, put(id(1))), Err(ErrorKind::Unauthorized.into()), "unknown");
    let lasting = NewTokenItem { deadline_ms: Some(1_500), ..item(1) };
    assert_eq!(apply(&machine, 1_000, Operation::CreateToken(lasting.clone())), Ok(Reply::Done { revision: 0 }));
    assert_eq!(apply(&machine, 1_000, Operation::CreateToken(lasting)), Err(ErrorKind::AlreadyExists.into()));
    assert_eq!(apply(&machine, 1_499, put(id(1))), Ok(Reply::Done { revision: 1 }));
    assert_eq!(apply(&machine, 1_500, put(id(1))), Err(ErrorKind::Unauthorized.into()), "expired");

    apply(&machine, 1_500, Operation::CreateToken(item(2))).unwrap();
    let held = machine.tokens().get(id(2)).unwrap();
    held.check_valid(u64::MAX).unwrap();
    apply(&machine, 1_500, Operation::RevokeToken(id(2))).unwrap();
    assert_eq!(held.check_valid(0).unwrap_err().kind(), ErrorKind::Unauthorized);
    assert_eq!(apply(&machine, 1_500, put(id(2))), Err(ErrorKind::Unauthorized.into()), "revoked");
    assert_eq!(apply(&machine, 1_500, Operation::RevokeToken(id(2))), Err(ErrorKind::NotFound.into()));
    assert_eq!(machine.revision(), 1, "tokens are no records");
}

#[test]
fn there_is_room_for_ten_thousand_and_expired_ones_make_room() {
    let machine = StateMachine::new();
    for number in 0..TOKENS_MAX as u32 {
        let deadline_ms = (number == 7).then_some(2_000);
        apply(&machine, 1_000, Operation::CreateToken(NewTokenItem { deadline_ms, ..item(number) })).unwrap();
    }
    let next = Operation::CreateToken(item(TOKENS_MAX as u32));
    assert_eq!(apply(&machine, 1_999, next.clone()), Err(ErrorKind::InvalidConfig.into()));
    let expired = machine.tokens().get(id(7)).unwrap();
    apply(&machine, 2_000, next).unwrap();
    assert_eq!(machine.tokens().len(), TOKENS_MAX);
    assert!(machine.tokens().get(id(7)).is_none() && expired.check_valid(0).is_err());
    let copy = copy_by_snapshot(&machine);
    assert_eq!(copy.digest().unwrap(), machine.digest().unwrap());
}

/// A follower that lags gets a snapshot in which a token is missing: it was revoked meanwhile.
#[test]
fn whoever_holds_a_token_learns_from_a_snapshot_that_it_was_revoked() {
    let (behind, ahead) = (StateMachine::new(), StateMachine::new());
    for machine in [&behind, &ahead] {
        (1..5).for_each(|number| drop(apply(machine, 1_000, Operation::CreateToken(item(number)))));
    }
    let held: Vec<Arc<TokenRecord>> = (1..5).map(|number| behind.tokens().get(id(number)).unwrap()).collect();
    apply(&ahead, 2_000, Operation::RevokeToken(id(2))).unwrap();
    apply(&ahead, 2_000, Operation::NoteTokenUse { token: id(3), used_ms: 1_900 }).unwrap();
    // Before, the one who lagged kept what it knew of a token that had been revoked and made anew.
    apply(&ahead, 2_000, Operation::RevokeToken(id(4))).unwrap();
    apply(&ahead, 2_001, Operation::CreateToken(NewTokenItem { deadline_ms: Some(9_000), ..item(4) })).unwrap();
    assert_ne!(behind.digest().unwrap(), ahead.digest().unwrap());

    let snapshot = ahead.pin_snapshot();
    let (mut header, mut blocks) = (Vec::new(), Vec::new());
    snapshot.header().encode(&mut header);
    let keep = |block: &[u8]| {
        blocks.push(block.to_vec());
        Ok(())
    };
    snapshot.write(keep).unwrap();
    let mut blocks = blocks.into_iter();
    let header = SnapshotHeader::decode(&mut crate::encoding::wire::WireReader::new(&header)).unwrap();
    load_snapshot(&behind, header, || Ok(blocks.next())).unwrap();

    assert_eq!(held.iter().map(|record| record.check_valid(0).is_ok()).collect::<Vec<_>>(), [true, false, true, false]);
    assert_eq!(held[2].noted_ms(), Some(1_900));
    assert_eq!(behind.digest().unwrap(), ahead.digest().unwrap());
    apply(&behind, 3_000, Operation::RevokeToken(id(1))).unwrap();
    assert!(held[0].check_valid(0).is_err(), "it is the same record after the snapshot");
}

fn kind(result: Result<()>) -> Option<ErrorKind> {
    result.err().map(|error| error.kind())
}

#[test]
fn scopes_allow_what_they_are_documented_to() {
    let needs = [Need::Read, Need::Write, Need::ReadAndWrite, Need::Admin];
    for bits in 1..8u8 {
        let scopes = Scopes::from_bits(bits).unwrap();
        let record = TokenRecord::new(&NewTokenItem { scopes, ..item(1) }, 0, None, 0);
        let Scopes { read, write, admin } = scopes;
        let expected = [read || admin, write || admin, read && write || admin, admin];
        let found = needs.map(|need| record.check_scope(need).is_ok());
        assert_eq!(found, expected, "{scopes:?}");
    }
}

#[test]
fn a_range_lies_within_a_prefix_or_is_refused() {
    let prefixes: Vec<&[u8]> = vec![b"a:", b"b\xff\xff", b"\xff\xff"];
    let record = TokenRecord::new(&NewTokenItem { key_prefixes: prefixes, ..item(1) }, 0, None, 0);
    let excluded = |key: &'static [u8]| Bound::Excluded(key);
    let included = |key: &'static [u8]| Bound::Included(key);
    for (from, to) in [
        (included(b"a:"), excluded(b"a;")),
        (excluded(b"a:1"), excluded(b"a:2")),
        (included(b"a:1"), included(b"a:\xff\xff")),
        (included(b"b\xff\xff"), excluded(b"c")),
        (included(b"\xff\xff"), Bound::Unbounded),
        (included(b"a:9"), included(b"a:1")),
    ] {
        assert_eq!(kind(record.check_range((from, to))), None, "{from:?} {to:?}");
    }
    for (from, to) in [
        (Bound::Unbounded, Bound::Unbounded),
        (Bound::Unbounded, excluded(b"a;")),
        (included(b"a:"), Bound::Unbounded),
        (included(b"a:"), included(b"a;")),
        (included(b"a"), excluded(b"a;")),
        (excluded(b"a"), excluded(b"a;")),
        (included(b"a:"), excluded(b"c")),
        (included(b"b\xff\xff"), included(b"c")),
        (included(b"\xff"), Bound::Unbounded),
    ] {
        assert_eq!(kind(record.check_range((from, to))), Some(ErrorKind::Forbidden), "{from:?} {to:?}");
    }
    assert_eq!(kind(record.check_key(b"a:")), None);
    assert_eq!(kind(record.check_key(b"a")), Some(ErrorKind::Forbidden));
    assert_eq!(kind(record.check_key(b"")), Some(ErrorKind::Forbidden));
    assert_eq!(kind(record.check_all_keys()), Some(ErrorKind::Forbidden));
}
