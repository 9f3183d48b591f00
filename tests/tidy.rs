//! Tidy: the judge of the house rules: who may import whom, which words belong to one room, how long things may get.
//!
//! A failure names file and line and says what to do. The rules stand in `tidy/rules.rs`; the judge itself is
//! tested on bad samples below.

#[path = "tidy/code.rs"]
mod code;
#[path = "tidy/rules.rs"]
mod rules;

use std::path::{Path, PathBuf};

use code::SourceFile;

/// One broken rule: where, and what to do.
fn judge(files: &mut [SourceFile]) -> Vec<String> {
    SourceFile::blank_test_files(files);
    let mut faults = Vec::new();
    for file in &*files {
        rules::first_line(file, &mut faults);
        rules::lengths(file, &mut faults);
        rules::words_nobody_writes(file, &mut faults);
        rules::words_of_one_room(file, &mut faults);
        rules::library_manners(file, &mut faults);
    }
    rules::imports(files, &mut faults);
    rules::room_sizes(files, &mut faults);
    rules::one_native_module(files, &mut faults);
    faults
}

#[test]
fn the_house_is_tidy() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut paths = Vec::new();
    walk(root, &mut paths);
    let mut files: Vec<SourceFile> = paths
        .iter()
        .filter_map(|path| {
            let name = path.strip_prefix(root).ok()?.to_str()?.to_owned();
            let text = std::fs::read_to_string(path).ok()?;
            Some(SourceFile::new(&name, &text))
        })
        .collect();
    assert!(
        files.iter().any(|file| file.path == "src/lib.rs"),
        "the judge found no source; was it run outside the tree?"
    );
    let faults = judge(&mut files);
    assert!(faults.is_empty(), "\n{} rule(s) broken:\n  {}\n", faults.len(), faults.join("\n  "));
}

/// Every file that people write; built things and hidden folders (except `.ci`) are left out.
fn walk(folder: &Path, paths: &mut Vec<PathBuf>) {
    const BUILT: &[&str] = &["target", "_build", "deps", "build", "dist", "__pycache__", "native", "node_modules"];
    let mut entries: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let hidden = name.starts_with('.') && name != ".ci";
        if path.is_dir() {
            if !hidden && !BUILT.contains(&name.as_str()) && !name.ends_with(".egg-info") {
                walk(&path, paths);
            }
        } else if !hidden && !path.is_symlink() && name != "Cargo.lock" {
            paths.push(path);
        }
    }
}

/// The faults of one sample file.
fn faults_of(path: &str, text: &str) -> Vec<String> {
    judge(&mut [
        SourceFile::new("src/lib.rs", "//! Root.\npub use error::Error;\npub use service::Kv;\n"),
        SourceFile::new(path, text),
    ])
}

/// Whether the sample breaks exactly one rule, the one whose message holds `says`.
#[track_caller]
fn assert_one_fault(path: &str, text: &str, says: &str) {
    let faults = faults_of(path, text);
    assert!(faults.len() == 1 && faults[0].contains(says), "expected one fault saying `{says}`, found {faults:#?}");
}

#[track_caller]
fn assert_tidy(path: &str, text: &str) {
    let faults = faults_of(path, text);
    assert!(faults.is_empty(), "expected no fault, found {faults:#?}");
}

#[test]
fn an_upward_import_is_seen_in_every_spelling() {
    for line in [
        "use crate::raft::Node;",
        "use crate::{error::Error, raft::Node};",
        "use crate::{\n    error::{Error, Result},\n    raft,\n};",
        "pub(crate) use crate::raft;",
        "fn f() { crate::raft::start(); }",
    ] {
        assert_one_fault("src/model/x.rs", &format!("//! X.\n{line}\n"), "`model` may not import `raft`");
    }
    assert_one_fault("src/model/x.rs", "//! X.\nuse crate::Kv;\n", "`model` may not import `service`");
    assert_one_fault("src/model/x.rs", "//! X.\nuse super::super::raft::Node;\n", "by its full path");
}

#[test]
fn downward_imports_and_mere_mentions_are_fine() {
    assert_tidy(
        "src/raft/x.rs",
        "//! X.\nuse crate::storage::Log;\nuse crate::{error::Error, model::Value};\nuse crate::Error as E;\n",
    );
    assert_tidy(
        "src/model/x.rs",
        "//! X, see [`crate::raft`].\n// crate::raft is above\nconst A: &str = \"crate::raft\";\n",
    );
    assert_tidy(
        "src/model/x.rs",
        "//! X.\n#[cfg(test)]\nmod tests {\n    use crate::raft::Node;\n    fn f() { std::fs::read(\"x\").unwrap(); }\n}\n",
    );
}

#[test]
fn a_field_for_tests_hides_nothing_but_itself() {
    assert_one_fault(
        "src/model/x.rs",
        "//! X.\nstruct A {\n    #[cfg(test)]\n    pub(crate) a: raft::B,\n}\nstruct B {\n    b: crate::raft::C,\n}\n",
        "`model` may not import `raft`",
    );
    assert_tidy("src/model/x.rs", "//! X.\nstruct A {\n    #[cfg(test)]\n    a: crate::raft::B,\n}\n");
}

#[test]
fn a_file_that_is_compiled_for_tests_only_may_do_what_tests_do() {
    let declaration = SourceFile::new("src/model/mod.rs", "//! X.\n#[cfg(test)]\nmod probe;\n");
    let probe = SourceFile::new("src/model/probe.rs", "//! X.\nfn f() { std::fs::read(\"x\").unwrap(); }\n");
    assert!(judge(&mut [declaration, probe]).is_empty());
}

#[test]
fn faces_do_not_import_each_other_nor_bindings_each_other() {
    assert_one_fault("src/http/x.rs", "//! X.\nuse crate::cli::run;\n", "`http` may not import `cli`");
    assert_one_fault("bindings/nif/src/x.rs", "//! X.\nuse concord_kv_c::open;\n", "bindings never use each other");
}

#[test]
fn a_room_that_the_table_does_not_know_is_refused() {
    assert_one_fault("src/stuff/x.rs", "//! X.\n", "is not in the table");
    assert_one_fault("src/model/utils.rs", "//! X.\n", "say what it is");
}

#[test]
fn words_of_one_room() {
    assert_one_fault("src/service/x.rs", "//! X.\nuse openraft::Raft;\n", "`openraft` belongs to");
    assert_one_fault("src/service/x.rs", "//! X.\nuse std::{fs, io};\n", "`std::fs` belongs to");
    assert_one_fault("src/raft/x.rs", "//! X.\nfn f() { std::fs::read(\"x\"); }\n", "`std::fs` belongs to");
    assert_one_fault("src/state_machine/x.rs", "//! X.\nuse std::time::Instant;\n", "below the log");
    assert_one_fault("src/encoding/x.rs", "//! X.\nuse std::time::SystemTime;\n", "`SystemTime` belongs to");
    assert_one_fault("src/encoding/x.rs", "//! X.\nfn f() { unsafe { g() } }\n", "`unsafe` belongs to");
    assert_tidy("src/storage/x.rs", "//! X.\nuse std::fs::File;\n");
    assert_tidy("bindings/c/src/x.rs", "//! X.\nfn f() { unsafe { g() } }\n");
}

#[test]
fn manners_of_library_code() {
    assert_one_fault("src/model/x.rs", "//! X.\nfn f() { g().unwrap(); }\n", "`.expect(");
    assert_one_fault("src/model/x.rs", "//! X.\nfn f() { println!(\"x\"); }\n", "prints");
    assert_tidy("src/cli/x.rs", "//! X.\nfn f() { println!(\"x\"); }\n");
    assert_tidy("src/model/x.rs", "//! X.\nfn f() { g().unwrap_or(1); }\n");
}

#[test]
fn files_and_functions_stay_short() {
    let long_file = format!("//! X.\n{}", "const A: u8 = 1;\n".repeat(700));
    assert_one_fault("src/model/x.rs", &long_file, "701 lines");
    let long_function = format!("//! X.\nfn long() {{\n{}}}\nfn short() {{}}\n", "    g();\n".repeat(100));
    assert_one_fault("src/model/x.rs", &long_function, "`long` has 102 lines");
    let mut crowd: Vec<SourceFile> =
        (0..11).map(|n| SourceFile::new(&format!("src/model/m{n}.rs"), "//! X.\n")).collect();
    assert!(judge(&mut crowd)[0].contains("11 files"));
}

#[test]
fn every_file_says_first_what_it_is_for() {
    assert_one_fault("src/model/x.rs", "use std::fmt;\n", "first line");
    assert_one_fault("tests/x.sh", "#!/bin/sh\necho\n", "first line");
    assert_one_fault("python/concord_kv/x.py", "import os\n", "first line");
    assert_tidy("tests/x.sh", "#!/bin/sh\n# X.\necho\n");
    assert_tidy("elixir/lib/x.ex", "defmodule X do\n  @moduledoc \"X.\"\nend\n");
    assert_tidy("python/concord_kv/x.py", "\"\"\"X.\"\"\"\n");
}

#[test]
fn words_that_nobody_writes() {
    let later = concat!("TO", "DO");
    assert_one_fault("src/model/x.rs", &format!("//! X.\n// {later}: more\n"), "do it or delete it");
    let home = concat!("/ho", "me/somebody/x");
    assert_one_fault("tests/x.sh", &format!("#!/bin/sh\n# X.\ncat {home}\n"), "a path of one machine");
    assert_one_fault("README.md", &format!("# X\nsee {home}\n"), "a path of one machine");
    let host = concat!("py", "pi.org/simple");
    assert_one_fault("Makefile", &format!("# X.\nx:\n\tpip -i {host}\n"), "registry");
}
