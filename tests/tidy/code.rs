//! Code: a source file as the judge reads it: comments, strings and test modules blanked out, line numbers kept.

/// A file of the tree.
///
/// - `text` is what stands in the file;
/// - `code` has the same lines, but what is no program text (comments, strings) is blank;
/// - `shipped` is `code` without modules that are only compiled for tests.
pub struct SourceFile {
    pub path: String,
    pub text: String,
    pub code: String,
    pub shipped: String,
}

impl SourceFile {
    pub fn new(path: &str, text: &str) -> SourceFile {
        let code = if path.ends_with(".rs") { blank_comments_and_strings(text) } else { text.to_owned() };
        let shipped = if is_test_path(path) { blank(&code) } else { blank_test_modules(&code) };
        SourceFile { path: path.to_owned(), text: text.to_owned(), code, shipped }
    }

    pub fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// The room this file belongs to: folder or file name directly below `src/`.
    pub fn room(&self) -> Option<&str> {
        let below = self.path.strip_prefix("src/")?;
        Some(below.split('/').next()?.trim_end_matches(".rs"))
    }

    /// Whether nothing of this file is shipped.
    pub fn is_test(&self) -> bool {
        self.shipped.trim().is_empty()
    }

    /// Treats files that are declared as `#[cfg(test)] mod name;` as the tests that they are.
    pub fn blank_test_files(files: &mut [SourceFile]) {
        let mut tests = Vec::new();
        for file in files.iter().filter(|file| file.is_rust()) {
            let folder = file.path.trim_end_matches("mod.rs").trim_end_matches("lib.rs").trim_end_matches(".rs");
            let folder = if folder.ends_with('/') { folder.to_owned() } else { format!("{folder}/") };
            for (at, attribute) in file.code.match_indices("#[cfg(test)]") {
                let rest = file.code[at + attribute.len()..].trim_start();
                let name = rest.split(';').next().unwrap_or_default().rsplit_once("mod ").map_or("", |(_, name)| name);
                if !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || c == '_') {
                    tests.push(format!("{folder}{name}"));
                }
            }
        }
        for file in files {
            let is_declared =
                |test: &String| file.path == format!("{test}.rs") || file.path.starts_with(&format!("{test}/"));
            if tests.iter().any(is_declared) {
                file.shipped = blank(&file.code);
            }
        }
    }
}

fn is_test_path(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    let stem = name.split('.').next().unwrap_or(name);
    path.starts_with("tests/")
        || path.contains("/tests/")
        || path.starts_with("benches/")
        || path.contains("/examples/")
        || path.starts_with("examples/")
        || stem == "tests"
        || stem.ends_with("_test")
        || stem.ends_with("_tests")
}

/// Everything but line breaks becomes a space.
fn blank(text: &str) -> String {
    text.chars().map(|c| if c == '\n' { '\n' } else { ' ' }).collect()
}

/// Rust's comments, strings and characters; nested comments and raw strings included.
fn blank_comments_and_strings(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let end = match (chars[at], chars.get(at + 1)) {
            ('/', Some('/')) => until(&chars, at, |rest| rest.first() == Some(&'\n')),
            ('/', Some('*')) => end_of_block_comment(&chars, at),
            ('"', _) => end_of_string(&chars, at + 1),
            ('r', Some('"' | '#')) if !after_word(&chars, at) => end_of_raw_string(&chars, at),
            ('\'', Some('\\')) => until(&chars, at + 3, |rest| rest.first() == Some(&'\'')) + 1,
            ('\'', Some(_)) if chars.get(at + 2) == Some(&'\'') => at + 3,
            _ => at,
        };
        if end == at {
            out.push(chars[at]);
            at += 1;
        } else {
            let end = end.min(chars.len());
            out.extend(chars[at..end].iter().map(|c| if *c == '\n' { '\n' } else { ' ' }));
            at = end;
        }
    }
    out
}

fn after_word(chars: &[char], at: usize) -> bool {
    at > 0 && (chars[at - 1].is_alphanumeric() || chars[at - 1] == '_') && chars[at - 1] != 'b'
}

fn until(chars: &[char], from: usize, stop: impl Fn(&[char]) -> bool) -> usize {
    (from..chars.len()).find(|at| stop(&chars[*at..])).unwrap_or(chars.len())
}

fn end_of_block_comment(chars: &[char], from: usize) -> usize {
    let (mut at, mut depth) = (from, 0);
    while at + 1 < chars.len() {
        match (chars[at], chars[at + 1]) {
            ('/', '*') => (depth, at) = (depth + 1, at + 2),
            ('*', '/') if depth == 1 => return at + 2,
            ('*', '/') => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
    }
    chars.len()
}

fn end_of_string(chars: &[char], from: usize) -> usize {
    let mut at = from;
    while at < chars.len() {
        match chars[at] {
            '\\' => at += 2,
            '"' => return at + 1,
            _ => at += 1,
        }
    }
    chars.len()
}

/// End of `r"..."` or `r#"..."#`; `from` itself when it is a raw identifier such as `r#type`.
fn end_of_raw_string(chars: &[char], from: usize) -> usize {
    let hashes = chars[from + 1..].iter().take_while(|c| **c == '#').count();
    if chars.get(from + 1 + hashes) != Some(&'"') {
        return from;
    }
    let closes =
        |rest: &[char]| rest[0] == '"' && rest[1..].iter().take(hashes).filter(|c| **c == '#').count() == hashes;
    until(chars, from + hashes + 2, closes) + 1 + hashes
}

/// Blanks what `#[cfg(test)]` stands before: an item or statement up to its end, a field up to its comma.
fn blank_test_modules(code: &str) -> String {
    let mut out = String::with_capacity(code.len());
    let mut rest = code;
    while let Some(at) = rest.find("#[cfg(test)]") {
        let after = &rest[at..];
        let end = match (after.find('{'), after.find(';')) {
            _ if is_field(&after["#[cfg(test)]".len()..]) => after.find(",\n").map_or(after.len(), |comma| comma + 1),
            (Some(open), semicolon) if semicolon.is_none_or(|semicolon| open < semicolon) => {
                open + matching_brace(&after[open..])
            }
            (_, Some(semicolon)) => semicolon + 1,
            _ => after.len(),
        };
        out.push_str(&rest[..at]);
        out.push_str(&blank(&after[..end]));
        rest = &after[end..];
    }
    out.push_str(rest);
    out
}

/// Whether this is `name: ...` of a struct, be it its definition or a value.
fn is_field(code: &str) -> bool {
    let code = code.trim_start();
    let code = code.strip_prefix("pub").map_or(code, |rest| rest.trim_start_matches(|c| c != ' ').trim_start());
    let name = code.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(code.len());
    name > 0 && code[name..].starts_with(':') && !code[name..].starts_with("::")
}

/// Length of the block that begins with the brace at the start of `code`.
pub fn matching_brace(code: &str) -> usize {
    let mut depth = 0usize;
    for (at, c) in code.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 1 => return at + 1,
            '}' => depth -= 1,
            _ => {}
        }
    }
    code.len()
}

/// Each place where `word` stands as a whole word (paths such as `std::fs` included): its 1-based line.
pub fn lines_with_word(code: &str, word: &str) -> Vec<usize> {
    let is_word = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    code.match_indices(word)
        .filter(|(at, _)| !is_word(code[..*at].chars().next_back()) && !is_word(code[at + word.len()..].chars().next()))
        .map(|(at, _)| line_of(code, at))
        .collect()
}

pub fn line_of(code: &str, at: usize) -> usize {
    code[..at].matches('\n').count() + 1
}

/// Every path that begins with `head::` (a crate's name or `crate`), groups in braces spread out, with its line.
/// `use crate::{a::{B, C}, d}` gives `a::B`, `a::C` and `d`.
pub fn paths_from(code: &str, head: &str) -> Vec<(usize, String)> {
    let start = format!("{head}::");
    let mut paths = Vec::new();
    for (at, _) in code.match_indices(&start) {
        if code[..at].chars().next_back().is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':' || c == '$') {
            continue;
        }
        spread(&code[at + start.len()..], "", &mut |path| paths.push((line_of(code, at), path)));
    }
    paths
}

fn spread(code: &str, prefix: &str, found: &mut dyn FnMut(String)) {
    let code = code.trim_start();
    if code.starts_with('{') {
        let inside = &code[1..matching_brace(code).saturating_sub(1).max(1)];
        for part in split_at_top(inside) {
            spread(part, prefix, found);
        }
        return;
    }
    let word: String = code.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    if word.is_empty() {
        return;
    }
    let path = if prefix.is_empty() { word.clone() } else { format!("{prefix}::{word}") };
    match code[word.len()..].strip_prefix("::") {
        Some(rest) if rest.starts_with(|c: char| c.is_alphabetic() || c == '_' || c == '{') => {
            spread(rest, &path, found)
        }
        _ => found(path),
    }
}

fn split_at_top(inside: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut from) = (Vec::new(), 0usize, 0);
    for (at, c) in inside.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push(&inside[from..at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&inside[from..]);
    parts
}

/// Name, first line and length in lines of every Rust function with a body.
pub fn functions(code: &str) -> Vec<(String, usize, usize)> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("fn ") {
        if code[..at].chars().next_back().is_some_and(|c| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let name: String = code[at + 3..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        let rest = &code[at..];
        let body = rest
            .find('{')
            .filter(|open| rest.find(';').is_none_or(|end| *open < end || rest[..*open].contains("[u8;")));
        if let (false, Some(open)) = (name.is_empty(), body) {
            let length = open + matching_brace(&rest[open..]);
            found.push((name, line_of(code, at), rest[..length].matches('\n').count() + 1));
        }
    }
    found
}
