//! Settings: every option by name, taken from a file, the environment and a command line, and where each comes from.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use super::given::Given;
use super::options::{OPTIONS, Setting};
use super::{Config, HttpConfig, file, invalid};
use crate::error::Result;

/// Where the value of an option comes from. A later one in this list wins over an earlier one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// Nobody has set it.
    Default,
    /// A configuration file.
    File,
    /// A `CONCORD_*` variable.
    Environment,
    /// A flag of the command line.
    Flag,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Source::Default => "default",
            Source::File => "file",
            Source::Environment => "environment",
            Source::Flag => "flag",
        })
    }
}

/// One option, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingRow {
    /// As in a file, with its table: `cluster.listen`.
    pub name: &'static str,
    /// As in a file; `None` when it has none. Secrets are never shown.
    pub value: Option<String>,
    /// Where it comes from.
    pub source: Source,
}

/// A configuration that is put together from several places: take the file first, then the environment, then flags.
///
/// ```
/// use concord_kv::Settings;
///
/// let mut settings = Settings::default();
/// settings.take_toml("value_bytes_max = 1048576\n[cluster]\nlisten = \"127.0.0.1:0\"\ncookie = \"secret\"\n")?;
/// settings.take_flag("value_bytes_max", "2048")?;
/// let config = settings.config()?;
/// assert_eq!(config.value_bytes_max, 2048);
/// # Ok::<(), concord_kv::Error>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Settings {
    config: Config,
    given: BTreeMap<&'static str, (Source, String)>,
}

impl Settings {
    /// Takes every option that a TOML text sets; see `deploy/concord.toml` for all of them.
    ///
    /// # Errors
    /// `invalid_config` with the line: no TOML, an unknown name (the nearest known one is told), a value of the wrong kind.
    pub fn take_toml(&mut self, text: &str) -> Result<()> {
        file::read(text, &mut |setting, given, line| {
            let Some(setting) = setting else {
                // An empty `[cluster]` makes a member of a cluster.
                self.config.cluster.get_or_insert_default();
                return Ok(());
            };
            let taken = self.take(setting, given, Source::File);
            taken.map_err(|why| invalid(format!("line {line}: {} {why}", setting.name)))
        })
    }

    /// Takes what the environment's `CONCORD_*` variables say; one that is empty counts as one that is not set. Those of a
    /// cluster count when there is one: from the file, or by `CONCORD_LISTEN`.
    ///
    /// # Errors
    /// `invalid_config` for a value that the option cannot take.
    pub fn take_environment(&mut self) -> Result<()> {
        self.take_variables(|name| std::env::var(name).ok())
    }

    pub(super) fn take_variables(&mut self, variable: impl Fn(&str) -> Option<String>) -> Result<()> {
        let given = |name: &str| variable(name).filter(|text| !text.is_empty());
        let is_cluster = self.config.cluster.is_some() || given("CONCORD_LISTEN").is_some();
        for setting in OPTIONS.iter().filter(|setting| is_cluster || !setting.name.starts_with("cluster.")) {
            let Some((name, text)) = setting.variable.and_then(|name| Some((name, given(name)?))) else { continue };
            self.take(setting, &Given::Written(&text), Source::Environment)
                .map_err(|why| invalid(format!("{name} {why}")))?;
        }
        self.take_addresses(&variable)
    }

    /// An address that is put together from two variables.
    fn take_addresses(&mut self, variable: &impl Fn(&str) -> Option<String>) -> Result<()> {
        let mut http = HttpConfig::default();
        http.or_variables(variable)?;
        for (name, address) in [("http.listen", http.listen), ("http.metrics_listen", http.metrics_listen)] {
            let Some(address) = address else { continue };
            let setting = Setting::named(name).ok_or_else(|| invalid(name))?;
            self.take(setting, &Given::Written(&address.to_string()), Source::Environment).map_err(invalid)?;
        }
        Ok(())
    }

    /// Takes one option, by its name in a file.
    ///
    /// # Errors
    /// `invalid_config` for an unknown name, and for a value that the option cannot take.
    pub fn take_flag(&mut self, name: &str, text: &str) -> Result<()> {
        let setting = Setting::named(name).ok_or_else(|| invalid(format!("there is no option `{name}`")))?;
        // A flag may have been filled in from the variable.
        let variable = setting.variable.and_then(|variable| std::env::var(variable).ok());
        let source = if variable.as_deref() == Some(text) { Source::Environment } else { Source::Flag };
        self.take(setting, &Given::Written(text), source).map_err(|why| invalid(format!("{name} {why}")))
    }

    fn take(&mut self, setting: &'static Setting, given: &Given<'_>, source: Source) -> Result<(), String> {
        (setting.take)(&mut self.config, given)?;
        let text = if setting.is_secret { String::new() } else { given.to_string() };
        self.given.insert(setting.name, (source, text));
        // The later of two ways to give one thing is the one that counts.
        match setting.name {
            "cluster.cookie" => drop(self.given.remove("cluster.cookie_file")),
            "cluster.cookie_file" => drop(self.given.remove("cluster.cookie")),
            _ => {}
        }
        Ok(())
    }

    /// What has been put together. [`Config::validate`] judges it as a whole.
    ///
    /// # Errors
    /// `invalid_config` when only some of the TLS files are named.
    pub fn config(&self) -> Result<Config> {
        let is_empty = |path: &Path| path.as_os_str().is_empty();
        if let Some(tls) = self.config.cluster.as_ref().and_then(|cluster| cluster.tls.as_ref())
            && [&tls.certificate, &tls.private_key, &tls.authority].into_iter().any(|path| is_empty(path))
        {
            return Err(invalid("cluster.tls needs `certificate`, `private_key` and `authority` together"));
        }
        if let Some(tls) = &self.config.http.tls
            && (is_empty(&tls.certificate) || is_empty(&tls.private_key))
        {
            return Err(invalid("http.tls needs `certificate` and `private_key` together"));
        }
        Ok(self.config.clone())
    }

    /// Where an option comes from.
    pub fn source(&self, name: &str) -> Source {
        self.given.get(name).map_or(Source::Default, |(source, _)| *source)
    }

    /// Every option with its value and where that comes from. Those of a cluster are left out when there is none.
    pub fn rows(&self) -> Vec<SettingRow> {
        let is_cluster = self.config.cluster.is_some();
        let shown = OPTIONS.iter().filter(|setting| is_cluster || !setting.name.starts_with("cluster."));
        shown
            .map(|setting| {
                let given = self.given.get(setting.name);
                let value = match given {
                    _ if setting.is_secret => (setting.show)(&self.config).map(|_| "\"***\"".to_owned()),
                    // What was read from a file is shown as the name of that file.
                    Some((_, text)) if setting.name.ends_with("_file") => Some(format!("{text:?}")),
                    _ => (setting.show)(&self.config),
                };
                SettingRow { name: setting.name, value, source: given.map_or(Source::Default, |(source, _)| *source) }
            })
            .collect()
    }
}

impl Config {
    /// What a TOML text says, everything else as by default; see `deploy/concord.toml` for all options. The environment is
    /// not looked at: [`Settings`] puts several places together.
    ///
    /// ```
    /// let config = concord_kv::Config::from_toml("durability = 250\n[compression]\nlevel = 9\n")?;
    /// assert_eq!(config.compression.level, 9);
    /// let error = concord_kv::Config::from_toml("\ndurabilty = 250\n").unwrap_err();
    /// assert_eq!(error.message(), "line 2: there is no option `durabilty`; is `durability` meant?");
    /// # Ok::<(), concord_kv::Error>(())
    /// ```
    ///
    /// # Errors
    /// `invalid_config`: as [`Settings::take_toml`], and what [`Config::validate`] says.
    pub fn from_toml(text: &str) -> Result<Config> {
        let mut settings = Settings::default();
        settings.take_toml(text)?;
        let config = settings.config()?;
        config.validate()?;
        Ok(config)
    }
}

#[cfg(test)]
#[path = "settings_test.rs"]
mod tests;
