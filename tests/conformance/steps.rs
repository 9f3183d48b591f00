//! Steps: runs one step of a conformance script and compares its answer with the expected one.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};
use std::time::Duration;

use concord_kv::{
    Compress, Concord, Error, ErrorKind, Guard, Kv, PutOptions, ReadOptions, Record, Result, Value, decode_value,
    encode_value, value_from_json,
};
use serde_json::Value as Json;

use crate::script::Token;
use crate::selection;

/// What a step answered, before it is compared.
pub enum Answer {
    Done,
    Value(Vec<u8>),
    Ttl(Option<u64>),
    ValueTtl(Vec<u8>, Option<u64>),
    Record(Vec<u8>, u64, Option<u64>),
    /// Per key: a status, a value, a value with lifetime, or an error.
    Keys(BTreeMap<String, PerKey>),
    Picked(Vec<Vec<u8>>),
    Pairs(Vec<(Vec<u8>, Vec<u8>)>),
}

pub enum PerKey {
    Ok,
    Read(Vec<u8>),
    Plain(Vec<u8>),
    WithTtl(Vec<u8>, Option<u64>),
    Missing,
}

/// Runs `words` and compares with `result`; `Err` tells what was found instead.
pub fn run(db: &Concord, words: &[Token], result: &[Token]) -> std::result::Result<(), String> {
    let answer = answer(db, words);
    let expected_error = (result[0].word == "error").then(|| result[1].word);
    match (answer, expected_error) {
        (Err(error), Some(kind)) if error.kind().name() == kind => Ok(()),
        (Err(error), _) => Err(format!("error {} ({})", error.kind(), error.message())),
        (Ok(answer), Some(_)) => Err(describe(&answer)),
        (Ok(answer), None) if matches(&answer, &result[1..]) => Ok(()),
        (Ok(answer), None) => Err(describe(&answer)),
    }
}

fn answer(db: &Concord, words: &[Token]) -> Result<Answer> {
    let kv = db.kv();
    let option = |name: &str| words.iter().find_map(|word| word.option(name));
    let ttl = option("ttl").map(Token::ttl);
    let done = |()| Answer::Done;
    match words[0].word {
        "put" => {
            let compress = match option("compress").map(|token| token.word) {
                Some("true") => Compress::Always,
                Some(_) => Compress::Never,
                None => Compress::Auto,
            };
            let options = PutOptions { ttl, compress, ..PutOptions::default() };
            kv.put_with(words[1].key(), value(words[2])?, &options).wait().map(done)
        }
        "put_with_ttl" => {
            let options = PutOptions { ttl: Some(words[3].ttl()), ..PutOptions::default() };
            kv.put_with(words[1].key(), value(words[2])?, &options).wait().map(done)
        }
        "put_new" => {
            let options = PutOptions { ttl, guard: Guard::Absent, ..PutOptions::default() };
            kv.put_with(words[1].key(), value(words[2])?, &options).wait().map(done)
        }
        "put_if" => {
            let options = PutOptions { ttl, guard: guard(words)?, ..PutOptions::default() };
            kv.put_with(words[1].key(), value(words[2])?, &options).wait().map(done)
        }
        "delete" => kv.delete(words[1].key()).wait().map(done),
        "delete_if" => kv.delete_if(words[1].key(), guard(words)?).wait().map(done),
        "touch" => kv.touch(words[1].key(), words[2].ttl()).wait().map(done),
        "increment" => {
            let by = option("by").map_or(1, Token::integer);
            let initial = option("initial").map_or(0, Token::integer);
            let sum = kv.increment_with(words[1].key(), by, initial, ttl).wait()?;
            Ok(Answer::Value(encode_value(&sum.into())?))
        }
        "get" | "get_record" | "ttl" | "get_with_ttl" => read_one(kv, words),
        "put_many" => put_many(kv, words[1].json(), None),
        "put_many_with_ttl" => put_many(kv, words[1].json(), Some(words[2].ttl())),
        "delete_many" => {
            let keys = texts(&words[1].json());
            kv.delete_many(&keys).wait()?;
            Ok(Answer::Keys(keys.into_iter().map(|key| (key, PerKey::Ok)).collect()))
        }
        "touch_many" => touch_many(kv, words[1].json()),
        "get_many" => get_many(kv, words),
        "get_all" | "get_all_with_ttl" => get_all(kv, words),
        "keys" | "pairs" | "count" | "delete_where" => selection::Wanted::of(words).ask(db.query(), words[0].word),
        "sleep_ms" => {
            std::thread::sleep(Duration::from_millis(words[1].integer().unsigned_abs()));
            Ok(Answer::Done)
        }
        verb => panic!("no such verb: {verb}"),
    }
}

fn value(token: Token) -> Result<Value> {
    decode_value(&token.value()?)
}

fn guard(words: &[Token]) -> Result<Guard> {
    let option = |name: &str| words.iter().find_map(|word| word.option(name));
    match (option("expected"), option("revision"), option("condition")) {
        (None, None, Some(token)) => Ok(Guard::Where(token.text())),
        (Some(token), None, None) if token.word == ":absent" => Ok(Guard::Absent),
        (Some(token), None, None) => Ok(Guard::Expected(value(token)?)),
        (None, Some(token), None) => Ok(Guard::Revision(token.integer().unsigned_abs())),
        _ => panic!("Rust takes exactly one guard; the step should say `# not: rust`"),
    }
}

/// The options of a read that names a level, `None` for one that does not.
pub fn level(words: &[Token]) -> Option<ReadOptions> {
    let token = words.iter().find_map(|word| word.option("consistency"))?;
    let consistency = Some(concord_kv::parse_consistency(token.word).expect("a level"));
    Some(ReadOptions { consistency, ..ReadOptions::default() })
}

fn read_one(kv: &Kv, words: &[Token]) -> Result<Answer> {
    let key = words[1].key();
    let found = match level(words) {
        Some(options) => kv.read(&key, &options, |record| Record {
            value: decode_value(&record.value).expect("what was stored can be read"),
            revision: record.revision,
            ttl_ms: record.ttl_ms,
        })?,
        None => kv.get_record(&key)?,
    };
    let Record { value, revision, ttl_ms } = found.ok_or_else(|| Error::from(ErrorKind::NotFound))?;
    let encoded = encode_value(&value)?;
    Ok(match words[0].word {
        "get" => Answer::Value(encoded),
        "ttl" => Answer::Ttl(ttl_ms),
        "get_with_ttl" => Answer::ValueTtl(encoded, ttl_ms),
        _ => Answer::Record(encoded, revision, ttl_ms),
    })
}

fn put_many(kv: &Kv, json: Json, ttl: Option<Duration>) -> Result<Answer> {
    let mut items = Vec::new();
    for item in array(&json) {
        let fields = array(item);
        let own = fields.get(2).map(|ttl| Duration::from_secs(ttl.as_u64().expect("a TTL in seconds")));
        items.push((text(&fields[0]), decode_value(&value_from_json(&fields[1].to_string())?)?, own.or(ttl)));
    }
    kv.put_many(&items).wait()?;
    Ok(Answer::Keys(items.into_iter().map(|(key, ..)| (key, PerKey::Ok)).collect()))
}

fn touch_many(kv: &Kv, json: Json) -> Result<Answer> {
    let ttl = |item: &Json| Duration::from_secs(item[1].as_u64().expect("a TTL in seconds"));
    let items: Vec<_> = array(&json).iter().map(|item| (text(&item[0]), ttl(item))).collect();
    let found = kv.touch_many(&items).wait()?;
    let each = items.into_iter().zip(found);
    Ok(Answer::Keys(each.map(|((key, _), found)| (key, if found { PerKey::Ok } else { PerKey::Missing })).collect()))
}

fn get_many(kv: &Kv, words: &[Token]) -> Result<Answer> {
    let keys = texts(&words[1].json());
    let mut found = BTreeMap::new();
    if let Some(options) = level(words) {
        let view = kv.view(&options)?;
        for key in keys {
            let read = view.get(key.as_bytes(), |record| PerKey::Read(record.value.into_owned()))?;
            found.insert(key, read.unwrap_or(PerKey::Missing));
        }
    } else {
        for (key, record) in keys.iter().zip(kv.get_many(&keys)?) {
            let read = record.map(|record| encode_value(&record.value)).transpose()?;
            found.insert(key.clone(), read.map_or(PerKey::Missing, PerKey::Read));
        }
    }
    Ok(Answer::Keys(found))
}

fn get_all(kv: &Kv, words: &[Token]) -> Result<Answer> {
    let plain = words[0].word == "get_all";
    let per_key = |value, ttl_ms| if plain { PerKey::Plain(value) } else { PerKey::WithTtl(value, ttl_ms) };
    let mut found = BTreeMap::new();
    if let Some(options) = level(words) {
        kv.view(&options)?.scan((Bound::Unbounded, Bound::Unbounded), |key, record| {
            let read = per_key(record.value.into_owned(), record.ttl_ms);
            found.insert(String::from_utf8_lossy(key).into_owned(), read);
            ControlFlow::Continue(())
        })?;
    } else {
        for (key, record) in kv.get_all()? {
            let read = per_key(encode_value(&record.value)?, record.ttl_ms);
            found.insert(String::from_utf8_lossy(&key).into_owned(), read);
        }
    }
    Ok(Answer::Keys(found))
}

fn matches(answer: &Answer, expected: &[Token]) -> bool {
    match (answer, expected) {
        (Answer::Done, []) => true,
        (Answer::Value(value), [token]) => is_value(value, *token),
        (Answer::Ttl(ttl_ms), [token]) => is_ttl(*ttl_ms, token.word),
        (Answer::ValueTtl(value, ttl_ms), [token, ttl]) => is_value(value, *token) && is_ttl(*ttl_ms, ttl.word),
        (Answer::Record(value, revision, ttl_ms), [token, rev, ttl]) => {
            let rev = rev.option("rev").expect("rev=").word;
            let right = if rev == "?" { *revision > 0 } else { rev == revision.to_string() };
            right && is_value(value, *token) && is_ttl(*ttl_ms, ttl.option("ttl").expect("ttl=").word)
        }
        (Answer::Picked(keys), [token]) => {
            let json = token.json();
            keys.len() == array(&json).len()
                && keys.iter().zip(array(&json)).all(|(key, json)| key == text(json).as_bytes())
        }
        (Answer::Pairs(pairs), [token]) => {
            let json = token.json();
            let same = |((key, value), json): (&(Vec<u8>, Vec<u8>), &Json)| {
                key == text(&json[0]).as_bytes() && is_json(value, &json[1])
            };
            pairs.len() == array(&json).len() && pairs.iter().zip(array(&json)).all(same)
        }
        (Answer::Keys(keys), [token]) => {
            let json = token.json();
            let expected = json.as_object().expect("an object");
            keys.len() == expected.len()
                && keys.iter().all(|(key, read)| expected.get(key).is_some_and(|json| is_read(read, json)))
        }
        _ => false,
    }
}

fn is_read(read: &PerKey, json: &Json) -> bool {
    match read {
        PerKey::Ok => json == "ok",
        PerKey::Missing => json["error"] == "not_found",
        PerKey::Read(value) => json.get("ok").is_some_and(|json| is_json(value, json)),
        PerKey::Plain(value) => is_json(value, json),
        PerKey::WithTtl(value, ttl_ms) => {
            let ttl = if json["ttl"].is_null() { "null".to_owned() } else { format!("~{}", json["ttl"]) };
            is_json(value, &json["value"]) && is_ttl(*ttl_ms, &ttl)
        }
    }
}

fn is_value(value: &[u8], token: Token) -> bool {
    token.value().is_ok_and(|expected| value == expected || same(value, &expected))
}

fn is_json(value: &[u8], json: &Json) -> bool {
    value_from_json(&json.to_string()).is_ok_and(|expected| value == expected || same(value, &expected))
}

/// `~60`: remaining seconds above 58 and at most 60.
fn is_ttl(ttl_ms: Option<u64>, expected: &str) -> bool {
    match (ttl_ms, expected.strip_prefix('~')) {
        (None, None) => expected == "null",
        (Some(ttl_ms), Some(seconds)) => {
            let full_ms = seconds.parse::<u64>().expect("~seconds") * 1000;
            ttl_ms <= full_ms && ttl_ms + 2000 > full_ms
        }
        _ => false,
    }
}

/// Equal type and content; entries of maps in any order.
fn same(a: &[u8], b: &[u8]) -> bool {
    matches!((decode_value(a), decode_value(b)), (Ok(a), Ok(b)) if same_value(&a, &b))
}

fn same_value(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Map(a), Value::Map(b)) => {
            let holds =
                |(key, value): &(Value, Value)| b.iter().any(|(k, v)| same_value(k, key) && same_value(v, value));
            a.len() == b.len() && a.iter().all(holds)
        }
        (Value::List(a), Value::List(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same_value(a, b)),
        _ => a == b,
    }
}

fn describe(answer: &Answer) -> String {
    let json = |value: &[u8]| concord_kv::value_to_json(value).unwrap_or_else(|_| format!("{value:02x?}"));
    let short = |text: String| text.chars().take(200).collect::<String>();
    match answer {
        Answer::Done => "ok".to_owned(),
        Answer::Value(value) => format!("ok {}", short(json(value))),
        Answer::Ttl(ttl_ms) => format!("ok {ttl_ms:?} ms"),
        Answer::ValueTtl(value, ttl_ms) => format!("ok {} {ttl_ms:?} ms", short(json(value))),
        Answer::Record(value, revision, ttl_ms) => {
            format!("ok {} rev={revision} ttl={ttl_ms:?} ms", short(json(value)))
        }
        Answer::Picked(keys) => {
            let keys: Vec<_> = keys.iter().map(|key| String::from_utf8_lossy(key)).collect();
            format!("{} keys: {}", keys.len(), short(keys.join(" ")))
        }
        Answer::Pairs(pairs) => format!("{} pairs", pairs.len()),
        Answer::Keys(keys) => {
            format!("{} keys: {}", keys.len(), short(keys.keys().cloned().collect::<Vec<_>>().join(" ")))
        }
    }
}

fn array(json: &Json) -> &Vec<Json> {
    json.as_array().expect("a JSON array")
}

fn texts(json: &Json) -> Vec<String> {
    array(json).iter().map(text).collect()
}

fn text(json: &Json) -> String {
    json.as_str().expect("a JSON string").to_owned()
}
