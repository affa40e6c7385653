//! Results as aligned text or as one line of JSON.

use std::io::{self, IsTerminal, Write};

use serde::Serialize;

use super::Error;
use crate::config::Diagnostic;

/// Writes what was found in a configuration to standard error, with colours on a terminal unless `NO_COLOR` is
/// set (no-color.org).
pub(super) fn diagnostics(found: &[Diagnostic]) -> io::Result<()> {
    let mut out = io::stderr().lock();
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let plain = set("NO_COLOR").is_some() || set("TERM").is_none_or(|terminal| terminal == "dumb");
    let coloured = out.is_terminal() && !plain;
    for diagnostic in found {
        let text = if coloured { diagnostic.styled() } else { diagnostic.to_string() };
        writeln!(out, "{text}\n")?;
    }
    Ok(())
}

/// Rows under headings, each column as wide as its widest cell.
pub(super) struct Table<const N: usize> {
    rows: Vec<[String; N]>,
}

impl<const N: usize> Table<N> {
    pub(super) fn new(headings: [&str; N]) -> Self {
        Self { rows: vec![headings.map(str::to_owned)] }
    }

    pub(super) fn row(&mut self, cells: [&str; N]) {
        self.rows.push(cells.map(|cell| if cell.is_empty() { "-".to_owned() } else { cell.to_owned() }));
    }

    pub(super) fn write(&self, out: &mut dyn Write) -> Result<(), Error> {
        let width =
            |column: usize| self.rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths: [usize; N] = std::array::from_fn(width);
        for row in &self.rows {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(widths) {
                line.push_str(cell);
                line.extend(std::iter::repeat_n(' ', width - cell.chars().count() + 2));
            }
            writeln!(out, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// Names and values, one pair a line; pairs without a value are left out.
pub(super) fn pairs(out: &mut dyn Write, pairs: &[(&str, Option<String>)]) -> Result<(), Error> {
    let given = || pairs.iter().filter_map(|(name, value)| Some((name, value.as_ref()?)));
    let width = given().map(|(name, _)| name.len()).max().unwrap_or(0);
    for (name, value) in given() {
        writeln!(out, "{name:width$}  {value}")?;
    }
    Ok(())
}

/// One line of JSON.
pub(super) fn json(out: &mut dyn Write, value: &impl Serialize) -> Result<(), Error> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    out.write_all(&line)?;
    Ok(())
}

/// A list for people, [`None`] if it is empty.
pub(super) fn list(words: &[String]) -> Option<String> {
    (!words.is_empty()).then(|| words.join(", "))
}

/// A number with commas between its thousands.
pub(super) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_lines_have_no_tail() {
        let mut table = Table::new(["id", "name"]);
        table.row(["tok_1", "é"]);
        table.row(["t", ""]);
        let mut out = Vec::new();
        table.write(&mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "id     name\ntok_1  é\nt      -\n");
    }

    #[test]
    fn pairs_without_a_value_are_left_out() {
        let mut out = Vec::new();
        pairs(&mut out, &[("id", Some("x".into())), ("expires", None), ("plan", Some("free".into()))])
            .unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "id    x\nplan  free\n");
    }

    #[test]
    fn thousands_are_parted() {
        for (number, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(thousands(number), text);
        }
    }
}
