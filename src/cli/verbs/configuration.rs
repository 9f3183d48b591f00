//! Configuration: what is in effect, and where each setting comes from.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use concord_kv::{Result, SettingRow, Settings};
use serde_json::json;

use crate::cli::{Arguments, output, settings, table};

/// The sample that is handed out.
const SAMPLE: &str = include_str!("../../../deploy/concord.toml");

/// What to look at.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  concord config sample > concord.toml\n  concord config check --file concord.toml\n  \
                        CONCORD_DURABILITY=250 concord config show"
)]
pub(in crate::cli) struct Configuration {
    #[command(subcommand)]
    verb: ConfigurationVerb,
}

#[derive(Subcommand)]
enum ConfigurationVerb {
    /// Judge the configuration; show every option with its value and where that comes from. Exit code 2 when it is wrong.
    #[command(after_help = "Example:\n  concord config check --file concord.toml")]
    Check {
        /// Configuration file to judge, in place of --config.
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// Print what is in effect, as it would stand in a file. Secrets are left out.
    #[command(after_help = "Example:\n  concord --config concord.toml config show")]
    Show,
    /// Print a file with every option, its meaning and its default.
    #[command(after_help = "Example:\n  concord config sample > concord.toml")]
    Sample,
}

pub(super) fn execute(configuration: &Configuration, arguments: &Arguments) -> Result<()> {
    match &configuration.verb {
        ConfigurationVerb::Check { file } => {
            let settings = in_effect(arguments, file.as_ref().or(arguments.config.as_ref()))?;
            settings.config()?.validate()?;
            check(&settings.rows(), arguments.json)
        }
        ConfigurationVerb::Show => show(&in_effect(arguments, arguments.config.as_ref())?.rows(), arguments.json),
        ConfigurationVerb::Sample => output::print(SAMPLE.trim_end()),
    }
}

/// The file, the environment, and the options that every verb takes.
fn in_effect(arguments: &Arguments, file: Option<&PathBuf>) -> Result<Settings> {
    let mut settings = settings(file.map(PathBuf::as_path))?;
    if let Some(dir) = &arguments.data_dir {
        settings.take_flag("data_dir", &dir.to_string_lossy())?;
    }
    Ok(settings)
}

fn check(rows: &[SettingRow], json: bool) -> Result<()> {
    if json {
        let object = |row: &SettingRow| json!({"name": row.name, "value": row.value, "source": row.source.to_string()});
        let settings: Vec<_> = rows.iter().map(object).collect();
        return output::print(&json!({"status": "ok", "settings": settings}).to_string());
    }
    let cells = |row: &SettingRow| {
        [row.name.to_owned(), row.value.clone().unwrap_or_else(|| "-".to_owned()), row.source.to_string()]
    };
    let cells: Vec<_> = rows.iter().map(cells).collect();
    let lines = table::lines(["OPTION", "VALUE", "SOURCE"], [false; 3], &cells);
    lines.iter().try_for_each(|line| output::print(line))
}

fn show(rows: &[SettingRow], json: bool) -> Result<()> {
    let is_shown = |row: &&SettingRow| row.name != "cluster.cookie";
    if json {
        let entries =
            rows.iter().filter(is_shown).filter_map(|row| Some((row.name.to_owned(), row.value.clone()?.into())));
        return output::print(&serde_json::Value::Object(entries.collect()).to_string());
    }
    let mut table = "";
    for row in rows.iter().filter(is_shown) {
        let Some(value) = &row.value else { continue };
        let (of, name) = row.name.rsplit_once('.').unwrap_or(("", row.name));
        if of != table {
            output::print(&format!("\n[{of}]"))?;
            table = of;
        }
        output::print(&format!("{name} = {value}"))?;
    }
    Ok(())
}
