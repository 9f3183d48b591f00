//! Document: a transaction and its reply as values, for faces that have no structs of their own for them: HTTP, the program,
//! and the bindings.
//!
//! ```json
//! {"compare": [{"key": "a", "exists": true}, {"key": "b", "revision": 7}, {"key": "c", "value": 1},
//!              {"key": "d", "where": "value.price > 100 and ttl == null"}],
//!  "then":    [{"put": "a", "value": 1, "ttl": 1.5}, {"delete": "b"}, {"touch": "c", "ttl": 60},
//!              {"increment": "n", "by": 1, "initial": 0, "ttl": 60}, {"get": "d"}],
//!  "else":    [{"get": "a"}],
//!  "idempotency_key": "transfer:17"}
//! ```
//! Every part may be left out, and of an operation all but its key and what it stores; lifetimes are seconds. Keys are text or
//! bytes. The reply has a result for each operation: `"ok"`, the sum of an increment, or the record that was read:
//! `{"succeeded": true, "revision": 9, "results": ["ok", 5, {"value": 1, "revision": 3, "ttl": null}, null]}`.

use std::borrow::Cow;

use crate::encoding::item::{Item, Number, Worth};
use crate::encoding::{check_value, decode_value, encode_value, value_to_json};
use crate::error::{Error, ErrorKind, Result};
use crate::limits::BATCH_BYTES_MAX;
use crate::model::{Compare, Compress, Condition, RecordView, Step, StepReply, Transaction, TransactionReply, Value};

/// Largest document: what a transaction may hold, and room for its keys and words.
const DOCUMENT_BYTES_MAX: usize = BATCH_BYTES_MAX + 1024 * 1024;

/// The transaction that an encoded map describes: the entries `compare`, `then`, `else` and `idempotency_key` as the HTTP
/// documentation has them, lifetimes in seconds. For bindings, which need no structs for it then. Texts and bytes must have
/// definite lengths, as every encoder of this crate gives them.
///
/// ```
/// use concord_kv::{Concord, Config, Reply, Write, decode_transaction, value_from_json};
///
/// let document = value_from_json(r#"{"compare": [{"key": "a", "exists": false}], "then": [{"put": "a", "value": 1}]}"#)?;
/// let transaction = decode_transaction(&document)?;
/// let db = Concord::open(Config::default())?;
/// let Reply::Transaction(reply) = db.kv().call(Write::Transaction(&transaction), None)? else { unreachable!() };
/// assert!(reply.succeeded);
/// # Ok::<(), concord_kv::Error>(())
/// ```
///
/// # Errors
/// `invalid_operation_format`, `invalid_key`, `invalid_ttl`, `invalid_condition`, `missing_condition`,
/// `conflicting_conditions`, naming the part; `invalid_value` for bytes that are no value.
pub fn decode_transaction(document: &[u8]) -> Result<Transaction<'_>> {
    check_value(document, DOCUMENT_BYTES_MAX)?;
    let mut transaction = Transaction::default();
    for (name, part) in fields(Item::new(document), "a transaction")? {
        match &*name {
            b"compare" => transaction.compares = each(part, "compare", compare)?,
            b"then" => transaction.then = each(part, "`then`, operation", step)?,
            b"else" => transaction.otherwise = each(part, "`else`, operation", step)?,
            b"idempotency_key" => {
                transaction.idempotency_key = if is_null(part) { None } else { Some(key(part)?) };
            }
            name => {
                let name = String::from_utf8_lossy(name);
                return Err(fault(&format!(
                    "a transaction has no `{name}`; it has `compare`, `then`, `else` and `idempotency_key`"
                )));
            }
        }
    }
    Ok(transaction)
}

/// What became of a transaction as an encoded map: `succeeded`, `revision` (null when nothing had to change) and `results`, as
/// the HTTP documentation has them.
///
/// # Errors
/// `invalid_value` for a reply whose values were not encoded by this crate.
pub fn encode_transaction_reply(reply: &TransactionReply) -> Result<Vec<u8>> {
    let result = |result: &StepReply| {
        Ok(match result {
            StepReply::Done => "ok".into(),
            StepReply::Integer(sum) => (*sum).into(),
            StepReply::Record(None) => Value::Null,
            StepReply::Record(Some(RecordView { value, revision, ttl_ms })) => Value::Map(vec![
                ("value".into(), decode_value(value)?),
                ("revision".into(), Value::Int((*revision).into())),
                ("ttl".into(), ttl_ms.map_or(Value::Null, |ttl_ms| Value::Float(ttl_ms as f64 / 1_000.0))),
            ]),
        })
    };
    let revision = if reply.revision == 0 { Value::Null } else { Value::Int(reply.revision.into()) };
    encode_value(&Value::Map(vec![
        ("succeeded".into(), reply.succeeded.into()),
        ("revision".into(), revision),
        ("results".into(), Value::List(reply.results.iter().map(result).collect::<Result<_>>()?)),
    ]))
}

/// The same as JSON. A value that JSON cannot say leaves `"error": "invalid_value"` in its place: the transaction was done.
///
/// # Errors
/// None today.
pub fn transaction_reply_to_json(reply: &TransactionReply) -> Result<String> {
    let mut results = String::new();
    for result in &reply.results {
        if !results.is_empty() {
            results.push(',');
        }
        match result {
            StepReply::Done => results.push_str("\"ok\""),
            StepReply::Integer(sum) => results.push_str(&sum.to_string()),
            StepReply::Record(None) => results.push_str("null"),
            StepReply::Record(Some(RecordView { value, revision, ttl_ms })) => {
                let value = match value_to_json(value) {
                    Ok(value) => format!("\"value\":{value}"),
                    Err(_) => "\"error\":\"invalid_value\"".to_owned(),
                };
                let ttl = ttl_ms.map_or("null".to_owned(), |ttl_ms| (ttl_ms as f64 / 1_000.0).to_string());
                results.push_str(&format!("{{{value},\"revision\":{revision},\"ttl\":{ttl}}}"));
            }
        }
    }
    let TransactionReply { succeeded, revision, .. } = reply;
    let revision = if *revision == 0 { "null".to_owned() } else { revision.to_string() };
    Ok(format!(r#"{{"succeeded":{succeeded},"revision":{revision},"results":[{results}]}}"#))
}

fn fault(message: &str) -> Error {
    Error::new(ErrorKind::InvalidOperationFormat, message)
}

/// The entries of a map, whose keys are text.
fn fields<'a>(item: Item<'a>, what: &str) -> Result<Vec<(Cow<'a, [u8]>, Item<'a>)>> {
    let Worth::Map(map) = item.worth() else { return Err(fault(&format!("{what} is a map"))) };
    let mut entries = map.entries();
    let mut fields = Vec::new();
    while let (Some(name), Some(value)) = (entries.next(), entries.next()) {
        let Worth::Text(name) = name.worth() else {
            return Err(fault(&format!("the fields of {what} are named by text")));
        };
        fields.push((name, value));
    }
    Ok(fields)
}

fn each<'a, T>(list: Item<'a>, what: &str, one: impl Fn(Item<'a>) -> Result<T>) -> Result<Vec<T>> {
    if is_null(list) {
        return Ok(Vec::new());
    }
    let Worth::List(list) = list.worth() else { return Err(fault(&format!("{what}: a list is needed here"))) };
    let numbered = (1..).zip(list.items());
    numbered.map(|(at, item)| one(item).map_err(|error| error.within(&format!("{what} {at}")))).collect()
}

fn compare(item: Item<'_>) -> Result<Compare<'_>> {
    let (mut compared, mut condition) = (None, None);
    for (name, value) in fields(item, "a compare")? {
        let found = match &*name {
            b"key" => {
                compared = Some(key(value)?);
                continue;
            }
            b"exists" => match value.worth() {
                Worth::Bool(true) => Condition::Present,
                Worth::Bool(false) => Condition::Absent,
                _ => return Err(fault("`exists` is true or false")),
            },
            b"revision" => {
                let revision = integer(value).and_then(|revision| u64::try_from(revision).ok());
                Condition::Revision(revision.ok_or_else(|| fault("`revision` is a number of a change"))?)
            }
            b"value" => Condition::Expected(value.bytes()),
            b"where" => {
                let text = bytes(value).and_then(|text| std::str::from_utf8(text).ok());
                Condition::Where(
                    text.ok_or_else(|| Error::new(ErrorKind::InvalidCondition, "`where` is an expression"))?,
                )
            }
            name => {
                return Err(unknown(name, "a compare has `key`, and one of `exists`, `revision`, `value` and `where`"));
            }
        };
        if condition.replace(found).is_some() {
            let message = "give one of `exists`, `revision`, `value` and `where`, or compare twice";
            return Err(Error::new(ErrorKind::ConflictingConditions, message));
        }
    }
    let key = compared.ok_or_else(|| fault("a compare needs a `key`"))?;
    let missing = || Error::new(ErrorKind::MissingCondition, "give one of `exists`, `revision`, `value` and `where`");
    Ok(Compare { key, condition: condition.ok_or_else(missing)? })
}

/// What stands beside the key of an operation.
#[derive(Default)]
struct Beside<'a> {
    value: Option<&'a [u8]>,
    ttl_ms: Option<u64>,
    by: Option<i64>,
    initial: Option<i64>,
}

fn step(item: Item<'_>) -> Result<Step<'_>> {
    const VERBS: [&[u8]; 5] = [b"put", b"delete", b"touch", b"increment", b"get"];
    let (mut verb, mut beside) = (None, Beside::default());
    for (name, value) in fields(item, "an operation")? {
        match &*name {
            b"value" => beside.value = Some(value.bytes()),
            b"ttl" => beside.ttl_ms = if is_null(value) { None } else { Some(ttl_ms(value)?) },
            b"by" => beside.by = Some(small(value, "by")?),
            b"initial" => beside.initial = Some(small(value, "initial")?),
            name => {
                let known = VERBS.iter().find(|verb| **verb == name);
                let known = known
                    .ok_or_else(|| unknown(name, "an operation is `put`, `delete`, `touch`, `increment` or `get`"))?;
                if verb.replace((*known, key(value)?)).is_some() {
                    return Err(fault("an operation is one of `put`, `delete`, `touch`, `increment` and `get`"));
                }
            }
        }
    }
    let (verb, key) = verb.ok_or_else(|| fault("an operation is `put`, `delete`, `touch`, `increment` or `get`"))?;
    match (verb, beside) {
        (b"put", Beside { value: Some(value), ttl_ms, by: None, initial: None }) => {
            Ok(Step::Put { key, value, ttl_ms, compress: Compress::Auto })
        }
        (b"put", Beside { value: None, .. }) => Err(fault("`put` needs a `value`")),
        (b"delete", Beside { value: None, ttl_ms: None, by: None, initial: None }) => Ok(Step::Delete { key }),
        (b"get", Beside { value: None, ttl_ms: None, by: None, initial: None }) => Ok(Step::Get { key }),
        (b"touch", Beside { value: None, ttl_ms: Some(ttl_ms), by: None, initial: None }) => {
            Ok(Step::Touch { key, ttl_ms })
        }
        (b"touch", Beside { ttl_ms: None, .. }) => Err(Error::new(ErrorKind::InvalidTtl, "`touch` needs a `ttl`")),
        (b"increment", Beside { value: None, ttl_ms, by, initial }) => {
            Ok(Step::Increment { key, by: by.unwrap_or(1), initial: initial.unwrap_or(0), ttl_ms })
        }
        (verb, _) => {
            let verb = String::from_utf8_lossy(verb);
            Err(fault(&format!("`{verb}` has a field that it does not take; see the documentation of transactions")))
        }
    }
}

fn unknown(name: &[u8], known: &str) -> Error {
    fault(&format!("there is no `{}` here; {known}", String::from_utf8_lossy(name)))
}

fn is_null(item: Item<'_>) -> bool {
    matches!(item.worth(), Worth::Null)
}

/// Text, an atom or bytes, where they lie.
fn bytes(item: Item<'_>) -> Option<&[u8]> {
    match item.worth() {
        Worth::Text(Cow::Borrowed(bytes)) | Worth::Bytes(Cow::Borrowed(bytes)) => Some(bytes),
        _ => None,
    }
}

fn key(item: Item<'_>) -> Result<&[u8]> {
    bytes(item).ok_or_else(|| Error::new(ErrorKind::InvalidKey, "a key is text or bytes"))
}

fn integer(item: Item<'_>) -> Option<i128> {
    match item.worth() {
        Worth::Number(Number::Int(integer)) => Some(integer),
        _ => None,
    }
}

fn small(item: Item<'_>, what: &str) -> Result<i64> {
    let small = integer(item).and_then(|integer| i64::try_from(integer).ok());
    small.ok_or_else(|| fault(&format!("`{what}` is an integer of 64 bits")))
}

/// Milliseconds of a lifetime in seconds. What is no positive time becomes 0, which the service refuses.
fn ttl_ms(item: Item<'_>) -> Result<u64> {
    match item.worth() {
        Worth::Number(Number::Int(seconds)) => {
            Ok(u64::try_from(seconds.saturating_mul(1_000).max(0)).unwrap_or(u64::MAX))
        }
        // The cast saturates, as for lifetimes everywhere.
        Worth::Number(Number::Float(seconds)) => Ok((seconds * 1_000.0).round() as u64),
        _ => Err(Error::new(ErrorKind::InvalidTtl, "`ttl` is a number of seconds")),
    }
}
