//! What a file, the environment and flags make of a configuration, and that the sample file tells all of it.

use super::*;
use crate::config::{Durability, Multicast};
use crate::error::ErrorKind;

const SAMPLE: &str = include_str!("../../deploy/concord.toml");

/// The sample with every example in effect: those are the lines that begin with `#` and a name or a table.
fn examples() -> String {
    let is_example =
        |line: &str| line.starts_with("#[") || line.starts_with('#') && line[1..].starts_with(char::is_lowercase);
    let lines = SAMPLE.lines().map(|line| if is_example(line) { &line[1..] } else { line });
    lines.collect::<Vec<_>>().join("\n")
}

/// Options of the Debug form of a configuration, each with its table.
fn fields(config: &Config) -> Vec<String> {
    let mut path: Vec<String> = Vec::new();
    let mut fields = Vec::new();
    let text = format!("{config:#?}");
    let lines: Vec<&str> = text.lines().collect();
    for (at, line) in lines.iter().enumerate() {
        let depth = (line.len() - line.trim_start().len()) / 4;
        if let Some((name, rest)) = line.trim().split_once(": ") {
            // `Some(` and what is in it are two levels of one field.
            path.truncate(depth);
            path.resize(depth, String::new());
            path.push(name.to_owned());
            let is_struct = rest.ends_with('{') || rest.ends_with('(') && lines[at + 1].ends_with('{');
            if !is_struct {
                let names: Vec<&str> = path[1..].iter().map(String::as_str).filter(|name| !name.is_empty()).collect();
                fields.push(names.join("."));
            }
        }
    }
    fields
}

#[test]
fn the_sample_says_what_is_so_without_it() {
    assert_eq!(Config::from_toml(SAMPLE).unwrap(), Config::default());
}

#[test]
fn the_sample_names_every_option_with_its_default() {
    let text = examples();
    let mut named = Vec::new();
    let mut shown = Settings::default();
    shown.config.cluster = Some(Default::default());
    shown.config.cluster.as_mut().unwrap().multicast = Some(Multicast::default());
    file::read(&text, &mut |setting, given, line| {
        let Some(setting) = setting else { return Ok(()) };
        named.push(setting.name);
        let default = (setting.show)(&shown.config);
        // Multicast is off by default, and its options have defaults all the same.
        if let Some(default) = default.filter(|_| setting.name != "cluster.multicast") {
            assert_eq!(default.trim_matches('"').replace(['[', ']', '"'], ""), given.to_string(), "line {line}");
        }
        Ok(())
    })
    .unwrap();
    let unnamed: Vec<&str> = OPTIONS.iter().map(|setting| setting.name).filter(|name| !named.contains(name)).collect();
    assert_eq!(
        unnamed,
        ["cluster.cookie"],
        "deploy/concord.toml tells of all others, of this one beside `cookie_file`"
    );

    // And every field of the configuration is an option.
    let config = settings_of(&text.replace("cookie_file", "#cookie_file")).config().unwrap();
    for field in fields(&config) {
        let is_known = OPTIONS.iter().any(|setting| setting.name == field || setting.name.replace('_', ".") == field);
        let is_part = field.starts_with("cluster.multicast") || field.starts_with("durability");
        assert!(is_known || is_part, "`{field}` is no option of a file");
    }
    assert!(fields(&config).len() > 30, "{:?}", fields(&config));
}

fn settings_of(text: &str) -> Settings {
    let mut settings = Settings::default();
    settings.take_toml(text).unwrap();
    settings
}

#[test]
fn flags_win_over_the_environment_over_the_file_over_defaults() {
    let mut settings =
        settings_of("data_dir = \"/file\"\ndurability = 5\nvalue_bytes_max = 4096\n[cluster]\nname = \"n\"");
    let variables =
        [("CONCORD_DATA_DIR", "/environment"), ("CONCORD_DURABILITY", "250"), ("CONCORD_SEEDS", "a:1, b:2")];
    settings
        .take_variables(|name| variables.iter().find(|(known, _)| *known == name).map(|(_, text)| (*text).to_owned()))
        .unwrap();
    settings.take_flag("data_dir", "/flag").unwrap();
    let config = settings.config().unwrap();
    assert_eq!(config.data_dir, Some("/flag".into()));
    assert_eq!(config.durability, Durability::Interval { interval_ms: 250 });
    assert_eq!(config.value_bytes_max, 4096);
    let cluster = config.cluster.unwrap();
    assert_eq!((cluster.name.as_deref(), &cluster.seeds[..]), (Some("n"), &["a:1".to_owned(), "b:2".to_owned()][..]));
    let sources = ["data_dir", "durability", "value_bytes_max", "local_socket"].map(|name| settings.source(name));
    assert_eq!(sources, [Source::Flag, Source::Environment, Source::File, Source::Default]);
}

#[test]
fn a_variable_of_a_cluster_makes_none() {
    let mut settings = Settings::default();
    settings.take_variables(|name| (name == "CONCORD_COOKIE").then(|| "c".to_owned())).unwrap();
    assert_eq!(settings.config().unwrap().cluster, None);
}

#[test]
fn mistakes_are_told_with_their_line() {
    for (text, words) in [
        ("durability = \n", &["line 1"][..]),
        ("\n\nauth_enable = true", &["line 3", "auth_enable`", "`auth_enabled`"]),
        ("[cluster]\nlisten = 7", &["line 2", "cluster.listen", "in quotes, not a number"]),
        ("[clusters]\n", &["line 1", "clusters"]),
        ("[http]\nlisten = \"here\"", &["line 2", "127.0.0.1:4000"]),
        ("value_bytes_max = -1", &["line 1", "range"]),
        ("value_bytes_max = 1", &["1024"]),
        ("[cluster]\ncookie = \"a\"\ncookie_file = \"b\"", &["line 3", "not both"]),
        ("[http.tls]\ncertificate = \"c\"", &["http.tls", "private_key"]),
        ("[cluster]\nmulticast_port = 1", &["line 2", "multicast = true"]),
        ("[cluster]\nseeds = [1]", &["line 2", "list of texts"]),
    ] {
        let error = Config::from_toml(text).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{text}");
        for word in words {
            assert!(error.message().contains(word), "{text}: no `{word}` in: {}", error.message());
        }
    }
}

#[test]
fn secrets_are_never_shown() {
    let settings = settings_of("[cluster]\ncookie = \"hunter2\"");
    let rows = settings.rows();
    assert!(!format!("{rows:?}").contains("hunter2"));
    let row = rows.iter().find(|row| row.name == "cluster.cookie").unwrap();
    assert_eq!((row.value.as_deref(), row.source), (Some("\"***\""), Source::File));
    assert!(!format!("{settings:?}").contains("hunter2"));
}
