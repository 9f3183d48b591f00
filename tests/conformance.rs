//! Conformance: runs the scripts of `tests/conformance` against the Rust interface.
//!
//! The same scripts run in C, Python and Elixir; `tests/conformance/README.md` explains their form.

#[path = "conformance/script.rs"]
mod script;
#[path = "conformance/selection.rs"]
mod selection;
#[path = "conformance/steps.rs"]
mod steps;

use std::path::Path;

use concord_kv::{Concord, Config};
use script::{Line, Token};

/// Promise: every face answers every step of every script alike. This is the Rust face.
#[test]
fn every_script_answers_as_written() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance");
    let vectors = script::golden_vectors(&folder.join("../golden/values/vectors.txt"));
    let mut scripts: Vec<_> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .collect();
    scripts.sort();
    assert!(!scripts.is_empty(), "no script found in {}", folder.display());

    let (mut steps, mut skipped, mut faults) = (0, 0, Vec::new());
    for path in &scripts {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let mut db = open();
        for (number, line) in std::fs::read_to_string(path).unwrap().lines().enumerate() {
            match script::parse(line) {
                Line::Nothing => {}
                Line::Section => db = open(),
                Line::Step { not, .. } if not.contains(&"rust") => skipped += 1,
                Line::Step { words, result, .. } => {
                    steps += 1;
                    let words: Vec<Token> = words.into_iter().map(|word| Token::new(word, &vectors)).collect();
                    let result: Vec<Token> = result.into_iter().map(|word| Token::new(word, &vectors)).collect();
                    if let Err(found) = steps::run(&db, &words, &result) {
                        faults.push(format!("{name}:{}: {}\n      found {found}", number + 1, shortened(line)));
                    }
                }
            }
        }
    }
    println!("conformance: {} scripts, {steps} steps, {skipped} not for Rust", scripts.len());
    assert!(faults.is_empty(), "\n{} step(s) answered differently:\n  {}\n", faults.len(), faults.join("\n  "));
}

fn open() -> Concord {
    Concord::open(Config::default()).expect("a store in memory opens")
}

fn shortened(line: &str) -> String {
    match line.char_indices().nth(200) {
        Some((end, _)) => format!("{}...", &line[..end]),
        None => line.to_owned(),
    }
}
