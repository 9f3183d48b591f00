//! Script: lines, steps and tokens of a conformance script.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use concord_kv::value_from_json;
use serde_json::Value as Json;

/// Encoded values by the names of their golden vectors.
pub type Vectors = HashMap<String, Vec<u8>>;

pub enum Line<'a> {
    Nothing,
    Section,
    Step { words: Vec<&'a str>, result: Vec<&'a str>, not: Vec<&'a str> },
}

pub fn parse(line: &str) -> Line<'_> {
    let line = line.trim_end();
    if line.is_empty() || line.starts_with('#') {
        return Line::Nothing;
    }
    if line.starts_with("== ") {
        return Line::Section;
    }
    let (line, not) = match line.rsplit_once(" # not: ") {
        Some((step, languages)) => (step, languages.split(',').map(str::trim).collect()),
        None => (line, Vec::new()),
    };
    let mut words = split(line);
    let arrow = words.iter().position(|word| *word == "->").unwrap_or_else(|| panic!("no `->` in: {line}"));
    let result = words.split_off(arrow + 1);
    words.pop();
    Line::Step { words, result, not }
}

/// Splits at single spaces outside JSON strings.
fn split(line: &str) -> Vec<&str> {
    let (mut words, mut from, mut inside, mut escaped) = (Vec::new(), 0, false, false);
    for (at, c) in line.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if inside => escaped = true,
            '"' => inside = !inside,
            ' ' if !inside => {
                words.push(&line[from..at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    words.push(&line[from..]);
    words
}

/// One word of a step, with the vectors that its `@name` may refer to.
#[derive(Clone, Copy)]
pub struct Token<'a> {
    pub word: &'a str,
    vectors: &'a Vectors,
}

impl<'a> Token<'a> {
    pub fn new(word: &'a str, vectors: &'a Vectors) -> Token<'a> {
        Token { word, vectors }
    }

    pub fn json(self) -> Json {
        serde_json::from_str(self.word).unwrap_or_else(|error| panic!("not JSON: {}: {error}", self.word))
    }

    /// The token after `name=`, if this is one.
    pub fn option(self, name: &str) -> Option<Token<'a>> {
        let word = self.word.strip_prefix(name)?.strip_prefix('=')?;
        Some(Token { word, ..self })
    }

    pub fn key(self) -> Vec<u8> {
        if let Some(hex) = self.word.strip_prefix("hex:") {
            return from_hex(hex);
        }
        if let Some(repeated) = self.word.strip_prefix("rep:") {
            let (count, byte) = repeated.split_once(':').expect("rep:N:byte");
            return byte.repeat(count.parse().expect("rep:N:byte")).into_bytes();
        }
        self.json().as_str().expect("a key is a JSON string").as_bytes().to_vec()
    }

    /// An expression or a pattern.
    pub fn text(self) -> String {
        String::from_utf8(self.key()).expect("text")
    }

    /// The encoded value. `Err` when even encoding it is refused.
    pub fn value(self) -> concord_kv::Result<Vec<u8>> {
        if let Some(name) = self.word.strip_prefix('@') {
            return Ok(self.vectors.get(name).unwrap_or_else(|| panic!("no golden vector is called {name}")).clone());
        }
        if let Some(repeated) = self.word.strip_prefix("text*") {
            let (count, text) = repeated.split_once(':').expect("text*N:x");
            return concord_kv::encode_value(&text.repeat(count.parse().expect("text*N:x")).into());
        }
        value_from_json(self.word)
    }

    pub fn integer(self) -> i64 {
        self.word.parse().unwrap_or_else(|_| panic!("not an integer: {}", self.word))
    }

    pub fn ttl(self) -> Duration {
        Duration::from_secs(self.word.parse().unwrap_or_else(|_| panic!("not a TTL that Rust can say: {}", self.word)))
    }
}

pub fn golden_vectors(path: &Path) -> Vectors {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| {
            let mut fields = line.split('\t');
            let name = fields.next().expect("a name").to_owned();
            (name, from_hex(fields.next().expect("hex")))
        })
        .collect()
}

fn from_hex(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex digits")).collect()
}
