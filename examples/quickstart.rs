//! Quickstart: a durable store in Rust.
//!
//! cargo run --example quickstart [DIRECTORY]

use std::ops::{Bound, ControlFlow};
use std::time::Duration;

use concord_kv::{Concord, Config, ErrorKind, Guard, PutOptions, ReadOptions, Result, Value};

fn main() -> Result<()> {
    // Without a directory: in memory.
    let config = std::env::args().nth(1).map_or_else(Config::default, Config::at);
    let db = Concord::open(config)?;
    let kv = db.kv();

    let user = Value::Map(vec![("name".into(), "Ada".into()), ("admin".into(), true.into())]);
    kv.put("user:1", user).wait()?; // on disk when this returns
    println!("user 1 is {:?}", kv.get("user:1")?);
    println!("this is visit {}", kv.increment("visits", 1).wait()?);

    // A lock that frees itself after a minute.
    let lock = PutOptions { ttl: Some(Duration::from_secs(60)), guard: Guard::Absent, ..PutOptions::default() };
    match kv.put_with("lock:report", "worker-7", &lock).wait() {
        Ok(()) => println!("the lock is ours for a minute"),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => println!("somebody else has the lock"),
        Err(error) => return Err(error),
    }

    // A change that happens only if nobody else has changed the record since.
    if let Some(record) = kv.get_record("user:1")? {
        kv.put_if("user:1", "Ada, retired", Guard::Revision(record.revision)).wait()?;
    }

    // All keys in order, as of now; writes go on meanwhile.
    kv.view(&ReadOptions::default())?.scan((Bound::Unbounded, Bound::Unbounded), |key, _| {
        println!("- {}", String::from_utf8_lossy(key));
        ControlFlow::Continue(())
    })?;
    db.close()
}
