//! Verbs for Rust programs: the contract's names with native values.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};
use std::time::Duration;

use super::{Kv, Pending};
use crate::encoding::{decode_value, encode_value};
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Compress, Condition, ReadOptions, Record, RecordView, Reply, Value, Write};
use crate::state_machine::Need;

/// Options of [`Kv::put_with`] and its relatives. `PutOptions::default()` is what [`Kv::put`] uses.
#[derive(Debug, Clone, Default)]
pub struct PutOptions {
    /// Lifetime of the record, at least a millisecond; `None` lives for ever.
    pub ttl: Option<Duration>,
    /// Whether to compress.
    pub compress: Compress,
    /// How long to wait for the answer, milliseconds; `None` is 5,000.
    pub timeout_ms: Option<u64>,
    /// What must hold for the write to happen.
    pub guard: Guard,
}

/// Guards a write of a Rust program; see [`Condition`].
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Guard {
    /// Write whatever is there.
    #[default]
    Always,
    /// Write only if the key does not exist.
    Absent,
    /// Write only if the key exists.
    Present,
    /// Write only if the record still has this revision.
    Revision(u64),
    /// Write only if the current value equals this one.
    Expected(Value),
    /// Write only if this expression is true of the current record: `value.version < 2`.
    Where(String),
}

impl Guard {
    /// Calls `f` with the condition, whose value is encoded for that long.
    fn with<T>(&self, f: impl FnOnce(Condition<'_>) -> Result<T>) -> Result<T> {
        let expected = if let Guard::Expected(value) = self { encode_value(value)? } else { Vec::new() };
        f(self.condition(&expected))
    }

    /// The condition; `expected` is the encoded value of a guard that expects one.
    pub(super) fn condition<'a>(&'a self, expected: &'a [u8]) -> Condition<'a> {
        match self {
            Guard::Always => Condition::Always,
            Guard::Absent => Condition::Absent,
            Guard::Present => Condition::Present,
            Guard::Revision(revision) => Condition::Revision(*revision),
            Guard::Where(expression) => Condition::Where(expression),
            Guard::Expected(_) => Condition::Expected(expected),
        }
    }
}

impl Kv {
    /// Stores a value. An old lifetime of the key is removed.
    ///
    /// ```
    /// # let db = concord_kv::Concord::open(concord_kv::Config::default())?;
    /// db.kv().put("greeting", "hello").wait()?;
    /// assert_eq!(db.kv().get("greeting")?, Some("hello".into()));
    /// # Ok::<(), concord_kv::Error>(())
    /// ```
    pub fn put(&self, key: impl AsRef<[u8]>, value: impl Into<Value>) -> Pending<()> {
        self.put_with(key, value, &PutOptions::default())
    }

    /// Stores a value with a lifetime, a guard or a timeout.
    ///
    /// # Errors
    /// `invalid_key`, `invalid_ttl`, `invalid_value`, `value_too_large`; by its guard `already_exists`,
    /// `not_found`, `condition_failed`.
    pub fn put_with(&self, key: impl AsRef<[u8]>, value: impl Into<Value>, options: &PutOptions) -> Pending<()> {
        let key = key.as_ref();
        let ttl_ms = options.ttl.map(ttl_ms_of);
        let value = value.into();
        self.started(options.timeout_ms, |start| {
            options.guard.with(|condition| {
                let value = encode_value(&value)?;
                start(Write::Put { key, value: &value, ttl_ms, condition, compress: options.compress })
            })
        })
    }

    /// Stores a value only if the key does not exist; otherwise `already_exists`.
    pub fn put_new(&self, key: impl AsRef<[u8]>, value: impl Into<Value>) -> Pending<()> {
        self.put_with(key, value, &PutOptions { guard: Guard::Absent, ..PutOptions::default() })
    }

    /// Stores a value only if the guard holds; see [`Guard`].
    pub fn put_if(&self, key: impl AsRef<[u8]>, value: impl Into<Value>, guard: Guard) -> Pending<()> {
        self.put_with(key, value, &PutOptions { guard, ..PutOptions::default() })
    }

    /// Removes a key; done as well when it is missing.
    pub fn delete(&self, key: impl AsRef<[u8]>) -> Pending<()> {
        self.delete_if(key, Guard::Always)
    }

    /// Removes a key only if the guard holds; see [`Guard`].
    pub fn delete_if(&self, key: impl AsRef<[u8]>, guard: Guard) -> Pending<()> {
        let key = key.as_ref();
        self.started(None, |start| guard.with(|condition| start(Write::Delete { key, condition })))
    }

    /// Makes the remaining lifetime of an existing key `ttl`; missing or expired: `not_found`.
    pub fn touch(&self, key: impl AsRef<[u8]>, ttl: Duration) -> Pending<()> {
        self.started(None, |start| start(Write::Touch { key: key.as_ref(), ttl_ms: ttl_ms_of(ttl) }))
    }

    /// Adds to an integer atomically and gives the sum. A missing key counts as 0.
    ///
    /// ```
    /// # let db = concord_kv::Concord::open(concord_kv::Config::default())?;
    /// assert_eq!(db.kv().increment("visits", 1).wait()?, 1);
    /// assert_eq!(db.kv().increment("visits", 10).wait()?, 11);
    /// # Ok::<(), concord_kv::Error>(())
    /// ```
    pub fn increment(&self, key: impl AsRef<[u8]>, by: i64) -> Pending<i64> {
        self.increment_with(key, by, 0, None)
    }

    /// The same with what a missing key counts as, and the lifetime of a key that this call creates.
    pub fn increment_with(&self, key: impl AsRef<[u8]>, by: i64, initial: i64, ttl: Option<Duration>) -> Pending<i64> {
        let write = Write::Increment { key: key.as_ref(), by, initial, ttl_ms: ttl.map(ttl_ms_of) };
        self.pending(write, None, |reply| match reply {
            Reply::Integer { value, .. } => value,
            Reply::Done { .. } | Reply::Touched { .. } | Reply::Transaction(_) => 0,
        })
    }

    /// Stores up to 500 values, all or none. Of duplicate keys the last wins.
    pub fn put_many<K: AsRef<[u8]>>(&self, items: &[(K, Value, Option<Duration>)]) -> Pending<()> {
        self.started(None, |start| {
            let values = items.iter().map(|(_, value, _)| encode_value(value)).collect::<Result<Vec<_>>>()?;
            let writes: Vec<_> = items
                .iter()
                .zip(&values)
                .map(|((key, _, ttl), value)| (key.as_ref(), value.as_slice(), ttl.map(ttl_ms_of)))
                .collect();
            start(Write::PutMany { items: &writes, compress: Compress::Auto })
        })
    }

    /// Removes up to 500 keys, all or none; missing ones too.
    pub fn delete_many<K: AsRef<[u8]>>(&self, keys: &[K]) -> Pending<()> {
        let keys: Vec<&[u8]> = keys.iter().map(AsRef::as_ref).collect();
        self.started(None, |start| start(Write::DeleteMany { keys: &keys }))
    }

    /// Sets the remaining lifetimes of up to 500 keys; tells for each whether it existed.
    pub fn touch_many<K: AsRef<[u8]>>(&self, items: &[(K, Duration)]) -> Pending<Vec<bool>> {
        let items: Vec<_> = items.iter().map(|(key, ttl)| (key.as_ref(), ttl_ms_of(*ttl))).collect();
        self.pending(Write::TouchMany { items: &items }, None, |reply| match reply {
            Reply::Touched { found } => found,
            Reply::Done { .. } | Reply::Integer { .. } | Reply::Transaction(_) => Vec::new(),
        })
    }

    /// The value of a key, `None` when it is missing or expired.
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Value>> {
        self.read(key.as_ref(), &ReadOptions::default(), |record| decode_value(&record.value))?.transpose()
    }

    /// Value, revision and remaining lifetime of a key.
    pub fn get_record(&self, key: impl AsRef<[u8]>) -> Result<Option<Record>> {
        self.read(key.as_ref(), &ReadOptions::default(), |record| record_of(&record))?.transpose()
    }

    /// Remaining lifetime of a key: `None` when it is missing, `Some(None)` when it lives for ever.
    pub fn ttl(&self, key: impl AsRef<[u8]>) -> Result<Option<Option<Duration>>> {
        self.read(key.as_ref(), &ReadOptions::default(), |record| record.ttl_ms.map(Duration::from_millis))
    }

    /// The records of several keys at one point in time, `None` where there is none. At most 500 keys.
    pub fn get_many<K: AsRef<[u8]>>(&self, keys: &[K]) -> Result<Vec<Option<Record>>> {
        self.caller.check_scope(Need::Read)?;
        if keys.len() > crate::limits::BATCH_OPS_MAX {
            return Err(ErrorKind::BatchTooLarge.into());
        }
        if keys.iter().any(|key| !(1..=crate::limits::KEY_BYTES_MAX).contains(&key.as_ref().len())) {
            return Err(ErrorKind::InvalidKey.into());
        }
        let keys: Vec<&[u8]> = keys.iter().map(AsRef::as_ref).collect();
        let mut records = Vec::with_capacity(keys.len());
        self.view(&ReadOptions::default())?
            .get_many(&keys, |record| records.push(record.map(|record| record_of(&record)).transpose()))?;
        records.into_iter().collect()
    }

    /// Everything that is stored, at one point in time. For large stores prefer [`Kv::view`] and its scan. A token that
    /// reaches only some keys gets `forbidden`: scan within its prefixes.
    pub fn get_all(&self) -> Result<BTreeMap<Vec<u8>, Record>> {
        let mut all = BTreeMap::new();
        let mut failure = None;
        self.view(&ReadOptions::default())?.scan(
            (Bound::Unbounded, Bound::Unbounded),
            |key, record| match record_of(&record) {
                Ok(record) => {
                    all.insert(key.to_vec(), record);
                    ControlFlow::Continue(())
                }
                Err(error) => {
                    failure = Some(error);
                    ControlFlow::Break(())
                }
            },
        )?;
        failure.map_or(Ok(all), Err)
    }

    /// Starts a write that has to be put together first; what goes wrong there is its outcome.
    fn started(
        &self,
        timeout_ms: Option<u64>,
        build: impl FnOnce(&mut dyn FnMut(Write<'_>) -> Result<()>) -> Result<()>,
    ) -> Pending<()> {
        let mut pending = None;
        let built = build(&mut |write| {
            pending = Some(self.pending(write, timeout_ms, drop));
            Ok(())
        });
        match (built, pending) {
            (Err(error), _) => Pending::refused(error, drop),
            (Ok(()), Some(pending)) => pending,
            (Ok(()), None) => Pending::refused(Error::from(ErrorKind::Internal), drop),
        }
    }
}

fn record_of(record: &RecordView<'_>) -> Result<Record> {
    Ok(Record { value: decode_value(&record.value)?, revision: record.revision, ttl_ms: record.ttl_ms })
}

/// Whole milliseconds; less than one is refused by the check that follows.
pub(super) fn ttl_ms_of(ttl: Duration) -> u64 {
    u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX)
}
