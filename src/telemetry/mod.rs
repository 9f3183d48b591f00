//! SIGNALS OUT: what a store counts and times of itself, and the text that Prometheus reads.
//!
//! | file | noun |
//! |--|--|
//! | `metrics` | all that one open store counts; the rooms above and below feed it |
//! | `verb` | the verbs, and what became of a call |
//! | `threads` | counters that each thread has for itself, and which calls are timed |
//! | `quantiles` | quantiles of the last minutes, bounded memory |
//! | `buckets` | the conventional histogram of Prometheus |
//! | `hot_keys` | the keys that are used most, bounded memory |
//! | `requests` | what the HTTP server has answered |
//! | `process` | memory, files and age of this process |
//! | `text` | Prometheus text format 0.0.4 |
//! | `render` | which metric has which name |
//!
//! There is no registry and nothing global: a store that is dropped takes its figures with it. Two libraries were left out:
//! `metrics` (one recorder a process, but a process may open several stores) and `prometheus` (an atomic addition that threads
//! share costs more than a tenth of a local read).

mod buckets;
mod hot_keys;
mod metrics;
mod process;
mod quantiles;
mod render;
mod requests;
mod text;
mod threads;
mod verb;

#[cfg(test)]
mod tests;

pub(crate) use metrics::{AuthFailure, Metrics, TelemetryOptions};
pub(crate) use render::{Gauges, Lag};
pub(crate) use verb::{Ending, Verb};
