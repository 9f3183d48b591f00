//! The committed `include/concord.h` is what the source says.
//!
//! Run with `CONCORD_WRITE_HEADER=1` (as `make fix` does) this test writes the header instead of judging it.

use std::path::{Path, PathBuf};

/// Files in the order in which the header tells its story.
const SOURCES: [&str; 16] = [
    "status",
    "bytes",
    "options",
    "store",
    "client",
    "tokens",
    "http",
    "cluster",
    "kv",
    "batch",
    "selector",
    "scan",
    "query",
    "expression",
    "queue",
    "value",
];

fn generated() -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let config = cbindgen::Config::from_file(root.join("cbindgen.toml")).expect("cbindgen.toml is readable");
    let builder = SOURCES.iter().fold(cbindgen::Builder::new().with_config(config), |builder, name| {
        builder.with_src(root.join("src").join(format!("{name}.rs")))
    });
    let mut header = Vec::new();
    builder.generate().expect("the sources are understood by cbindgen").write(&mut header);
    String::from_utf8(header).expect("a header is text")
}

fn committed() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../include/concord.h")
}

#[test]
fn the_committed_header_is_fresh() {
    let header = generated();
    if std::env::var_os("CONCORD_WRITE_HEADER").is_some_and(|value| value == "1") {
        std::fs::write(committed(), header).expect("include/concord.h is writable");
        return;
    }
    let old = std::fs::read_to_string(committed()).unwrap_or_default();
    assert!(old == header, "include/concord.h is stale: run `make fix` and commit it");
}

#[test]
fn the_header_has_the_version_of_the_package() {
    let version = env!("CARGO_PKG_VERSION");
    let numbers: Vec<&str> = version.split('.').collect();
    let header = generated();
    let expected = [
        format!("#define CONCORD_VERSION \"{version}\""),
        format!("#define CONCORD_VERSION_MAJOR {}", numbers[0]),
        format!("#define CONCORD_VERSION_MINOR {}", numbers[1]),
        format!("#define CONCORD_VERSION_PATCH {}", numbers[2]),
    ];
    for line in expected {
        assert!(header.lines().any(|found| found == line), "the header lacks `{line}`");
    }
}

#[test]
fn every_function_is_documented() {
    let header = generated();
    let lines: Vec<&str> = header.lines().collect();
    let functions = lines.iter().enumerate().filter(|(_, line)| {
        line.contains("concord_")
            && line.contains('(')
            && !line.starts_with([' ', '#', '/', '}'])
            && !line.contains("typedef")
    });
    let mut count = 0;
    for (at, line) in functions {
        assert!(lines[at - 1].starts_with("//"), "no comment above `{line}`");
        count += 1;
    }
    assert!(count > 40, "only {count} functions were found");
}
