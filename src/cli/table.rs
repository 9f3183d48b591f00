//! Table: rows in columns as wide as they need, for people. No colours.

/// The heading and one line a row. Columns that `right` marks are lined up at the right, as numbers are.
pub(super) fn lines<const N: usize>(heading: [&str; N], right: [bool; N], rows: &[[String; N]]) -> Vec<String> {
    let mut widths = heading.map(|text| text.chars().count());
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: [&str; N]| {
        let cells = cells.iter().zip(widths).zip(right).map(|((cell, width), right)| match right {
            true => format!("{cell:>width$}"),
            false => format!("{cell:<width$}"),
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let mut lines = vec![line(heading)];
    lines.extend(rows.iter().map(|row| line(std::array::from_fn(|at| row[at].as_str()))));
    lines
}

/// A row a fact: its name and what it is.
pub(super) fn facts(facts: &[(&str, String)]) -> Vec<String> {
    let width = facts.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    facts.iter().map(|(name, fact)| format!("{name:<width$}  {fact}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_they_need() {
        let rows = [["a".to_owned(), "10".to_owned()], ["long name".to_owned(), "9".to_owned()]];
        let lines = lines(["name", "lag"], [false, true], &rows);
        assert_eq!(lines, ["name       lag", "a           10", "long name    9"]);
        assert_eq!(facts(&[("a", "x".to_owned()), ("bcd", "y".to_owned())]), ["a    x", "bcd  y"]);
    }
}
