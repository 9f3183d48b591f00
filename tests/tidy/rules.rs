//! Rules: the tables of the house and the functions that hold a file against them.

use std::collections::BTreeMap;

use crate::code::{SourceFile, functions, line_of, lines_with_word, paths_from};

const BASE: &[&str] = &["error", "limits", "config"];

/// Each room with the rooms that it may import, lowest first. A new room gets its row here.
const ROOMS: &[(&str, &[&str])] = &[
    ("error", &["limits"]),
    ("limits", &[]),
    ("config", &["error", "limits"]),
    ("model", BASE),
    ("encoding", &["error", "limits", "config", "model"]),
    ("expression", &["error", "limits", "model", "encoding"]),
    ("state_machine", &["error", "limits", "config", "model", "encoding", "expression"]),
    ("telemetry", BASE),
    ("storage", &["error", "limits", "config", "telemetry"]),
    ("net", BASE),
    ("discovery", BASE),
    (
        "raft",
        &[
            "error",
            "limits",
            "config",
            "model",
            "encoding",
            "expression",
            "state_machine",
            "telemetry",
            "storage",
            "net",
            "discovery",
        ],
    ),
    (
        "service",
        &[
            "error",
            "limits",
            "config",
            "model",
            "encoding",
            "expression",
            "state_machine",
            "telemetry",
            "storage",
            "net",
            "raft",
        ],
    ),
    (
        "concord",
        &[
            "error",
            "limits",
            "config",
            "model",
            "encoding",
            "expression",
            "state_machine",
            "telemetry",
            "storage",
            "net",
            "raft",
            "service",
        ],
    ),
    // Tests only: whole clusters, so it reaches into every room.
    (
        "simulation",
        &[
            "error",
            "limits",
            "config",
            "model",
            "encoding",
            "expression",
            "state_machine",
            "telemetry",
            "storage",
            "net",
            "raft",
            "service",
        ],
    ),
    ("http", &["error", "limits", "config", "model", "encoding", "telemetry", "net", "service", "concord"]),
    ("cli", &["error", "limits", "config", "model", "encoding", "telemetry", "service", "concord", "http"]),
    ("main", &["cli"]),
];

/// Word, the only rooms that may say it, and where to go instead.
const OWNED_WORDS: &[(&str, &[&str], &str)] = &[
    ("openraft", &["raft"], "speak to consensus through `crate::raft`"),
    ("openraft_rt", &["raft"], "speak to consensus through `crate::raft`"),
    ("openraft_rt_tokio", &["raft"], "speak to consensus through `crate::raft`"),
    // `net` reads certificates, files of the operator, and makes the local socket; nothing that is stored. `config` reads
    // secrets that lie in files. `telemetry` reads what Linux tells of this process.
    ("std::fs", &["storage", "cli", "net", "config", "telemetry"], "reach files through `storage::Files`"),
    ("tokio::fs", &[], "reach files through `storage::Files`"),
    ("SystemTime", &["service"], "time comes stamped inside the command"),
    ("getrandom", &["raft", "service", "storage", "net", "discovery"], "let the room above pass the random number in"),
    // `cli` only names addresses.
    ("std::net", &["config", "net", "discovery", "http", "cli"], "sockets belong to the network seam"),
    ("unsafe", &[], "the core is safe code"),
];

/// What makes two replicas differ has no place below the log.
const NOT_BELOW_THE_LOG: &[&str] =
    &["SystemTime", "Instant", "getrandom", "tokio", "std::fs", "std::net", "std::env", "thread::spawn"];

const FILE_LINES_MAX: usize = 700;
const FUNCTION_LINES_MAX: usize = 100;
const ROOM_FILES_MAX: usize = 10;

pub fn imports(files: &[SourceFile], faults: &mut Vec<String>) {
    let exports = root_exports(files);
    for file in files.iter().filter(|file| file.is_rust()) {
        if let Some(room) = file.room().filter(|room| *room != "lib") {
            let Some((_, allowed)) = ROOMS.iter().find(|(name, _)| *name == room) else {
                faults.push(format!(
                    "{}: the room `{room}` is not in the table of tests/tidy/rules.rs; give it a row",
                    file.path
                ));
                continue;
            };
            for (line, path) in paths_from(&file.shipped, "crate") {
                let first = path.split("::").next().unwrap_or_default();
                let target = exports.get(first).map_or(first, String::as_str);
                let known = ROOMS.iter().any(|(name, _)| *name == target);
                if known && target != room && !allowed.contains(&target) {
                    faults.push(format!(
                        "{}:{line}: `{room}` may not import `{target}`; move the thing down, or pass it in from above",
                        file.path
                    ));
                }
            }
            if let Some(at) = file.shipped.find("super::super::") {
                let line = line_of(&file.shipped, at);
                faults
                    .push(format!("{}:{line}: name what is outside the room by its full path `crate::...`", file.path));
            }
        }
        let others = [("bindings/c/", "concord_kv_nif"), ("bindings/nif/", "concord_kv_c")];
        for (_, other) in others.iter().filter(|(folder, _)| file.path.starts_with(folder)) {
            for line in lines_with_word(&file.code, other) {
                faults.push(format!("{}:{line}: bindings never use each other; both stand on `concord_kv`", file.path));
            }
        }
    }
}

/// What `lib.rs` re-exports, each with the room it comes from.
fn root_exports(files: &[SourceFile]) -> BTreeMap<String, String> {
    let mut exports = BTreeMap::new();
    for file in files.iter().filter(|file| file.path == "src/lib.rs") {
        for (room, _) in ROOMS {
            for (_, path) in paths_from(&file.code, room) {
                let name = path.rsplit("::").next().unwrap_or_default().to_owned();
                exports.insert(name, (*room).to_owned());
            }
        }
    }
    exports
}

pub fn words_of_one_room(file: &SourceFile, faults: &mut Vec<String>) {
    let Some(room) = file.room().filter(|_| file.is_rust()) else { return };
    if room == "state_machine" {
        for word in NOT_BELOW_THE_LOG {
            for line in lines_of(&file.shipped, word) {
                faults.push(format!(
                    "{}:{line}: `{word}` below the log would let replicas differ; carry what is needed in the command",
                    file.path
                ));
            }
        }
        return;
    }
    for (word, rooms, instead) in OWNED_WORDS {
        if rooms.contains(&room) || (*word == "unsafe" && room == "lib") {
            continue;
        }
        for line in lines_of(&file.shipped, word) {
            let owner =
                if rooms.is_empty() { "nobody in src/".to_owned() } else { format!("src/{}", rooms.join(" and src/")) };
            faults.push(format!("{}:{line}: `{word}` belongs to {owner}; {instead}", file.path));
        }
    }
}

/// Lines that say `word`; for a path such as `std::fs` also through `use std::{fs, io}`.
fn lines_of(code: &str, word: &str) -> Vec<usize> {
    let Some((head, tail)) = word.split_once("::") else { return lines_with_word(code, word) };
    paths_from(code, head)
        .into_iter()
        .filter(|(_, path)| path == tail || path.strip_prefix(tail).is_some_and(|rest| rest.starts_with("::")))
        .map(|(line, _)| line)
        .collect()
}

pub fn library_manners(file: &SourceFile, faults: &mut Vec<String>) {
    if !file.is_rust() || !(file.path.starts_with("src/") || file.path.starts_with("bindings/")) {
        return;
    }
    for (at, _) in file.shipped.match_indices(".unwrap()") {
        let line = line_of(&file.shipped, at);
        faults
            .push(format!("{}:{line}: return the error, or say why there is none with `.expect(\"...\")`", file.path));
    }
    if matches!(file.room(), Some("cli" | "main")) || file.path.ends_with("build.rs") || file.path.contains("/bin/") {
        return;
    }
    for macro_name in ["println!", "eprintln!", "print!", "eprint!", "dbg!"] {
        for line in lines_with_word(&file.shipped, macro_name.trim_end_matches('!')) {
            if file.shipped.lines().nth(line - 1).is_some_and(|text| text.contains(macro_name)) {
                faults.push(format!("{}:{line}: a library never prints; return it, count it or drop it", file.path));
            }
        }
    }
}

pub fn lengths(file: &SourceFile, faults: &mut Vec<String>) {
    let is_source =
        [".rs", ".c", ".hpp", ".py", ".pyi", ".ex", ".exs", ".sh"].iter().any(|end| file.path.ends_with(end));
    let lines = file.text.lines().count();
    if is_source && lines > FILE_LINES_MAX {
        faults.push(format!("{}: {lines} lines, at most {FILE_LINES_MAX}; split it by noun", file.path));
    }
    if !file.is_rust() || file.is_test() {
        return;
    }
    for (name, line, length) in functions(&file.shipped) {
        if length > FUNCTION_LINES_MAX {
            faults.push(format!(
                "{}:{line}: `{name}` has {length} lines, at most {FUNCTION_LINES_MAX} (aim at 70); split it by step",
                file.path
            ));
        }
    }
}

pub fn room_sizes(files: &[SourceFile], faults: &mut Vec<String>) {
    let mut sizes: BTreeMap<&str, usize> = BTreeMap::new();
    for file in files.iter().filter(|file| file.is_rust() && (!file.is_test() || file.code.trim().is_empty())) {
        let name = file.path.rsplit('/').next().unwrap_or_default();
        if ["utils.rs", "util.rs", "helpers.rs", "helper.rs", "common.rs", "misc.rs"].contains(&name) {
            faults.push(format!("{}: a name that says nothing; say what it is", file.path));
        }
        if let Some((folder, _)) =
            file.path.rsplit_once('/').filter(|(folder, _)| folder.starts_with("src/") && name != "mod.rs")
        {
            *sizes.entry(folder).or_default() += 1;
        }
    }
    for (folder, size) in sizes.into_iter().filter(|(_, size)| *size > ROOM_FILES_MAX) {
        faults.push(format!("{folder}: {size} files, at most {ROOM_FILES_MAX} a room; open a room inside it"));
    }
}

pub fn first_line(file: &SourceFile, faults: &mut Vec<String>) {
    let ending = file.path.rsplit('.').next().unwrap_or_default();
    let mut lines = file.text.lines().filter(|line| !line.trim().is_empty());
    let first = lines.next().unwrap_or_default();
    let second = lines.next().unwrap_or_default().trim_start();
    let told = match ending {
        "rs" => first.starts_with("//!"),
        "c" | "h" | "hpp" | "cpp" => first.starts_with("/*") || first.starts_with("//"),
        "py" | "pyi" if !file.text.is_empty() => {
            let text = if first.starts_with("#!") { second } else { first };
            text.starts_with("\"\"\"") || text.starts_with('#') || text.starts_with("r\"\"\"")
        }
        "ex" | "exs" => first.starts_with('#') || second.starts_with("@moduledoc") || second.starts_with('#'),
        "sh" => second.starts_with('#'),
        _ => true,
    };
    if !told {
        faults.push(format!("{}:1: the first line of a file says what it is for", file.path));
    }
}

/// Words that stand nowhere in the tree. They are put together here so that this file does not hold them.
pub fn words_nobody_writes(file: &SourceFile, faults: &mut Vec<String>) {
    if file.path.starts_with("tests/golden/") {
        return;
    }
    for word in [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X:"), concat!("HA", "CK:")] {
        for line in lines_with_word(&file.text, word) {
            faults.push(format!("{}:{line}: `{word}`: do it or delete it", file.path));
        }
    }
    for place in [
        concat!("/ho", "me/"),
        concat!("/ro", "ot/"),
        concat!("/wo", "rk/"),
        concat!("/tmp/", "wt/"),
        concat!("/tmp/", "team"),
    ] {
        for (at, _) in file.text.match_indices(place) {
            let before = file.text[..at].chars().next_back();
            if before.is_none_or(|c| !c.is_alphanumeric() && !"./-_}$)".contains(c)) {
                let line = line_of(&file.text, at);
                faults.push(format!(
                    "{}:{line}: `{place}` is a path of one machine; make it relative or a variable",
                    file.path
                ));
            }
        }
    }
    let hosts = [
        concat!("py", "pi.org"),
        concat!("python", "hosted.org"),
        concat!("index.", "crates.io"),
        concat!("static.", "crates.io"),
        concat!("repo.", "hex.pm"),
    ];
    for host in hosts {
        for (at, _) in file.text.match_indices(host) {
            let line = line_of(&file.text, at);
            faults.push(format!("{}:{line}: `{host}`: the registry is the user's choice; name none", file.path));
        }
    }
}

/// Elixir and Python reach the core through one native module each.
pub fn one_native_module(files: &[SourceFile], faults: &mut Vec<String>) {
    for file in files {
        let shipped_elixir = file.path.starts_with("elixir/lib/");
        if shipped_elixir && file.text.contains("load_nif") && !file.path.ends_with("/native.ex") {
            faults.push(format!("{}: only Concord.Native loads the NIF", file.path));
        }
        let shipped_python =
            file.path.starts_with("python/") && file.path.ends_with(".py") && !file.path.contains("/tests/");
        for word in ["ctypes", "cffi"] {
            if shipped_python && !lines_with_word(&file.text, word).is_empty() {
                faults
                    .push(format!("{}: `{word}`: Python reaches the core only through concord_kv._native", file.path));
            }
        }
    }
}
