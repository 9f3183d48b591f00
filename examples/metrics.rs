//! Metrics: what a store tells Prometheus after some calls, on standard output.
//!
//! cargo run --example metrics [DIRECTORY]

use std::time::Duration;

use concord_kv::{Concord, Config, PutOptions, Result};

fn main() -> Result<()> {
    // Keys are shown as hashes unless `metrics_keys` is set, as here.
    let config = Config { metrics_keys: true, ..std::env::args().nth(1).map_or_else(Config::default, Config::at) };
    let db = Concord::open(config)?;
    let kv = db.kv();
    kv.put("a \"quoted\" key\\", 1).wait()?;
    kv.put("ein schöner Schlüssel", 1).wait()?;
    kv.put(b"\xff\x00\n", 1).wait()?;
    let shortly = PutOptions { ttl: Some(Duration::from_secs(60)), ..PutOptions::default() };
    kv.put_with("session", "x", &shortly).wait()?;
    kv.increment("visits", 1).wait()?;
    kv.get("session")?;
    kv.get("missing")?;
    kv.delete("session").wait()?;
    assert!(kv.put("", 1).wait().is_err(), "a refusal counts as well");
    print!("{}", db.metrics_text());
    db.close()
}
