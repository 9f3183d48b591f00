//! Text: Prometheus text format 0.0.4, as `text/plain; version=0.0.4` carries it.

use std::fmt::{Display, Write as _};

use super::buckets::Buckets;

/// Metrics as text. All samples of a family follow its head.
#[derive(Default)]
pub(super) struct Text {
    out: String,
}

impl Text {
    pub(super) fn finish(self) -> String {
        self.out
    }

    /// Begins a family of samples.
    pub(super) fn family(&mut self, name: &str, kind: &str, help: &str) {
        let help = help.replace('\\', "\\\\").replace('\n', "\\n");
        // Writing to a string cannot fail.
        let _ = writeln!(self.out, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// One sample.
    pub(super) fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.out.push_str(name);
        let mut opening = '{';
        for (label, text) in labels {
            let _ = write!(self.out, "{opening}{label}=\"");
            put_escaped(&mut self.out, text);
            self.out.push('"');
            opening = ',';
        }
        if !labels.is_empty() {
            self.out.push('}');
        }
        let _ = writeln!(self.out, " {value}");
    }

    /// A family of one sample without labels.
    pub(super) fn single(&mut self, name: &str, kind: &str, help: &str, value: impl Display) {
        self.family(name, kind, help);
        self.sample(name, &[], value);
    }

    /// The samples of one histogram; values are divided by `unit`.
    pub(super) fn histogram(&mut self, name: &str, labels: &[(&str, &str)], buckets: &Buckets, unit: f64) {
        let cumulative = buckets.cumulative();
        let bucket = format!("{name}_bucket");
        let bounds = buckets.bounds.iter().map(|bound| (*bound as f64 / unit).to_string());
        for (bound, count) in bounds.chain(["+Inf".to_owned()]).zip(&cumulative) {
            self.sample(&bucket, &[labels, &[("le", &bound)]].concat(), count);
        }
        self.sample(&format!("{name}_sum"), labels, buckets.sum() as f64 / unit);
        self.sample(&format!("{name}_count"), labels, cumulative.last().copied().unwrap_or(0));
    }
}

fn put_escaped(out: &mut String, text: &str) {
    for character in text.chars() {
        match character {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            other => out.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped_and_histograms_are_cumulative() {
        let mut text = Text::default();
        text.family("a", "counter", "Line\nand \\.");
        text.sample("a", &[("key", "x\"\\\ny"), ("b", "ü")], 3);
        let buckets = Buckets::new(&[1_000, 1_000_000_000]);
        buckets.record(500, 2);
        buckets.record(2_000_000_000, 1);
        text.histogram("h", &[("l", "v")], &buckets, 1e9);
        assert_eq!(
            text.finish(),
            "# HELP a Line\\nand \\\\.\n# TYPE a counter\na{key=\"x\\\"\\\\\\ny\",b=\"ü\"} 3\n\
             h_bucket{l=\"v\",le=\"0.000001\"} 2\nh_bucket{l=\"v\",le=\"1\"} 2\nh_bucket{l=\"v\",le=\"+Inf\"} 3\n\
             h_sum{l=\"v\"} 2.000001\nh_count{l=\"v\"} 3\n"
        );
    }
}
