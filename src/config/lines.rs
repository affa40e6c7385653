//! Lines and columns of a text.

use std::ops::Range;

/// Where a piece of a text stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The line of its first character, from 1.
    pub(super) line: usize,
    /// The column of its first character, from 1, in Unicode scalar values; a tab is one.
    pub(super) column: usize,
    /// The column behind its last character on that line; always greater than `column`.
    pub(super) end_column: usize,
    /// That line without its end.
    pub(super) source: String,
}

/// The lines of a text; they end with LF or CRLF, as TOML has it.
pub(super) struct Lines<'t> {
    text: &'t str,
    starts: Vec<usize>,
}

const BYTE_ORDER_MARK: char = '\u{feff}';

impl<'t> Lines<'t> {
    /// Finds the lines. A byte order mark in front is no part of the first.
    pub(super) fn of(text: &'t str) -> Self {
        let first = if text.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len_utf8() } else { 0 };
        let later = text.match_indices('\n').map(|(at, _)| at + 1);
        Self { text, starts: std::iter::once(first).chain(later).collect() }
    }

    /// The text.
    pub(super) const fn text(&self) -> &'t str {
        self.text
    }

    /// Where a range of bytes stands; of several lines, its part of the first.
    pub(super) fn place(&self, span: &Range<usize>) -> Place {
        let index = self.starts.partition_point(|start| *start <= span.start).saturating_sub(1);
        let start = self.starts[index];
        let end = self.starts.get(index + 1).map_or(self.text.len(), |next| next - 1);
        let source = self.text[start..end].trim_end_matches('\r');
        let characters = |until: usize| {
            let bytes = until.saturating_sub(start).min(source.len());
            source[..source.floor_char_boundary(bytes)].chars().count()
        };
        let column = characters(span.start) + 1;
        let end_column = (characters(span.end) + 1).max(column + 1);
        Place { line: index + 1, column, end_column, source: source.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, piece: &str, line: usize, columns: Range<usize>, source: &str) {
        let at = text.find(piece).unwrap();
        let place = Lines::of(text).place(&(at..at + piece.len()));
        let expected =
            Place { line, column: columns.start, end_column: columns.end, source: source.to_owned() };
        assert_eq!(place, expected, "{text:?}");
    }

    #[test]
    fn characters_are_counted_and_not_bytes() {
        check("a = 1\nü = \"日本\" # x", "\"日本\"", 2, 5..9, "ü = \"日本\" # x");
        check("a = 1\n\t\tb = 2", "b", 2, 3..4, "\t\tb = 2");
        check("\u{feff}a = 1", "a", 1, 1..2, "a = 1");
        check("e\u{301} = x", "x", 1, 6..7, "e\u{301} = x");
    }

    #[test]
    fn both_ends_of_lines_are_known() {
        check("a = 1\r\nb = 2\r\n", "b = 2", 2, 1..6, "b = 2");
        check("a = 1\r\nb = [\r\n 2]\r\n", "[\r\n 2]", 2, 5..6, "b = [");
        check("a\n\n\nb", "b", 4, 1..2, "b");
    }

    #[test]
    fn every_range_has_a_place() {
        for text in ["", "\n", "a", "a\r\n", "日\n"] {
            for start in 0..=text.len() + 1 {
                for end in start..=text.len() + 1 {
                    let place = Lines::of(text).place(&(start..end));
                    assert!(place.end_column > place.column && place.line > 0, "{text:?} {start}..{end}");
                }
            }
        }
    }
}
