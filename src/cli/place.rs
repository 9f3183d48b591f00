//! Place: where the store is that a verb acts on, and the way to it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use concord_kv::{ClientConfig, Concord, Config, Error, ErrorKind, HttpConfig, Result};

use super::access::misuse;
use super::verbs::Verb;
use super::{Arguments, settings};

/// How long `ready` waits at least for a member to answer at all.
const READY_PATIENCE_MS: u64 = 1_000;

/// How long a directory that is in use may stay without a socket: whoever has it may just be opening or closing it.
const OPENING: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(25);

/// The way that was taken to a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Way {
    /// Over the network, through these members.
    Cluster(String),
    /// Through the program that has this directory open.
    Running(PathBuf),
    /// This program has opened the directory.
    Directory(PathBuf),
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Way::Cluster(addresses) => write!(f, "asked the cluster at {addresses}"),
            Way::Running(dir) => write!(f, "asked the store that is open in {}", dir.display()),
            Way::Directory(dir) => write!(f, "opened {}", dir.display()),
        }
    }
}

/// A store, and how it was reached.
pub(super) struct Place {
    pub(super) db: Concord,
    pub(super) way: Way,
}

/// The running cluster that is named; else the store that runs in the data directory; else that directory itself, never
/// as a member: that is what `serve` is for.
pub(super) fn open(arguments: &Arguments, verb: &Verb) -> (Option<Way>, Result<Place>) {
    let patience_ms = match verb {
        Verb::Ready(ready) => Some(ready.timeout_ms.max(READY_PATIENCE_MS)),
        _ => None,
    };
    let config = match config(arguments) {
        Ok(config) => config,
        Err(error) => return (None, Err(error)),
    };
    if let Some(addresses) = arguments.access.addresses() {
        let way = Way::Cluster(addresses);
        let place = arguments.access.connect(patience_ms, &config).map(|db| Place { db, way: way.clone() });
        return (Some(way), place);
    }
    let Some(dir) = config.data_dir.clone() else {
        let message =
            "say where the data is: --data-dir DIR or CONCORD_DATA_DIR; or --address HOST:PORT of a running cluster";
        return (None, Err(misuse(message)));
    };
    match find(&dir, patience_ms, verb, config) {
        Ok(place) => (Some(place.way.clone()), Ok(place)),
        Err((way, error)) => (way, Err(error)),
    }
}

/// What the file and the environment say, with the directory that the command line names.
fn config(arguments: &Arguments) -> Result<Config> {
    let mut settings = settings(arguments.config.as_deref())?;
    if let Some(dir) = &arguments.data_dir {
        settings.take_flag("data_dir", &dir.to_string_lossy())?;
    }
    settings.config()
}

/// The program that has the directory open, or the directory.
fn find(dir: &Path, patience_ms: Option<u64>, verb: &Verb, config: Config) -> Result<Place, (Option<Way>, Error)> {
    let until = Instant::now() + OPENING;
    loop {
        let way = Way::Running(dir.to_owned());
        let mut client = ClientConfig::local(dir);
        client.default_read_consistency = config.default_read_consistency;
        client.compression = config.compression;
        client.connect_timeout_ms = patience_ms.unwrap_or(client.connect_timeout_ms);
        match Concord::connect(client) {
            Ok(db) => return Ok(Place { db, way }),
            Err(error) if error.kind() != ErrorKind::Noproc => return Err((Some(way), error)),
            Err(_) => {}
        }
        if let Verb::Member(_) = verb {
            let message = format!(
                "nothing runs in {} whose members could be changed; say which running cluster: --address HOST:PORT or \
                 CONCORD_ADDRESS",
                dir.display()
            );
            return Err((None, misuse(message)));
        }
        // Alone: nobody is served, and nobody is let in, for as long as one verb takes.
        let alone = Config { cluster: None, local_socket: false, http: HttpConfig::default(), ..config.clone() };
        let way = Way::Directory(dir.to_owned());
        match Concord::open(Config { data_dir: Some(dir.to_owned()), ..alone }) {
            // Whoever can open the files may do everything with them.
            Ok(db) => return Ok(Place { db: db.as_admin(), way }),
            // Between two looks somebody has opened it, or is about to close it.
            Err(error) if error.kind() == ErrorKind::Locked && Instant::now() < until => std::thread::sleep(PAUSE),
            Err(error) if error.kind() == ErrorKind::Locked => {
                let message = format!("{}; it does not serve {}/concord.sock", error.message(), dir.display());
                return Err((Some(way), Error::new(ErrorKind::Locked, message)));
            }
            Err(error) => return Err((Some(way), error)),
        }
    }
}
