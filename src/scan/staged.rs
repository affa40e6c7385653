//! The lines that a commit in preparation adds, from git's unified diff without context.

use std::io::BufReader;
use std::path::Path;
use std::process::Stdio;

use super::files::git;
use super::pieces::Pieces;
use super::{Error, Search};

const WHAT: &str = "git diff --cached";

/// Hands every added line to the search. Git's own complaints go to standard error.
pub(super) fn each_added(folder: &Path, whole_bytes: usize, search: &mut Search<'_>) -> Result<(), Error> {
    let failed = |why: String| Error::Git { what: WHAT, why };
    let mut child = git(folder)
        .args(["diff", "--cached", "--unified=0", "--inter-hunk-context=0", "--no-renames", "--no-color"])
        .args(["--no-ext-diff", "--no-textconv", "--no-relative", "--src-prefix=a/", "--dst-prefix=b/"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| failed(error.to_string()))?;
    if let Some(diff) = child.stdout.take() {
        let mut diff = BufReader::with_capacity(1 << 16, diff);
        // A line of the diff has one sign before the text.
        let mut pieces = Pieces::new(&mut diff, whole_bytes + 1);
        let mut at = Position::default();
        while let Some(piece) = pieces.next().map_err(|error| failed(error.to_string()))? {
            at.take(piece.bytes, piece.column, piece.ends_line, search)?;
        }
    }
    match child.wait() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(failed(format!("it ended with {status}"))),
        Err(error) => Err(failed(error.to_string())),
    }
}

/// Where in the diff the next line stands.
#[derive(Default)]
struct Position {
    file: String,
    line: u64,
    removed_left: u64,
    added_left: u64,
    /// The sign of the line whose further parts follow.
    long: Option<u8>,
}

impl Position {
    fn take(
        &mut self,
        piece: &[u8],
        column: u64,
        ends_line: bool,
        search: &mut Search<'_>,
    ) -> Result<(), Error> {
        let (sign, text, column) = match (self.long, piece.split_first()) {
            // Parts are counted from the sign on, which is no part of the text.
            (Some(sign), _) => (sign, piece, column - 1),
            (None, Some((sign, text))) => (*sign, text, column),
            (None, None) => return Ok(()),
        };
        let is_first = self.long.is_none();
        self.long = (!ends_line).then_some(sign);
        if self.removed_left == 0 && self.added_left == 0 {
            if is_first {
                self.head(piece, search);
            }
            return Ok(());
        }
        if sign == b'+' {
            search.line(&self.file, self.line, column, text).map_err(Error::Output)?;
        }
        if ends_line {
            match sign {
                b'+' => {
                    self.added_left = self.added_left.saturating_sub(1);
                    self.line += 1;
                }
                b'-' => self.removed_left = self.removed_left.saturating_sub(1),
                _ => {}
            }
        }
        Ok(())
    }

    /// A line between hunks.
    fn head(&mut self, line: &[u8], search: &mut Search<'_>) {
        if let Some(name) = line.strip_prefix(b"+++ ") {
            self.file = name_of(name);
            search.count.files += 1;
        } else if line.starts_with(b"Binary files ") {
            search.count.binary += 1;
        } else if let Some(rest) = line.strip_prefix(b"@@ -")
            && let Some((removed, added)) = hunk(rest)
        {
            self.removed_left = removed.1;
            (self.line, self.added_left) = added;
        }
    }
}

/// Reads `1,2 +3,4 @@`: where removed lines begin and how many there are, and the same of added ones.
fn hunk(rest: &[u8]) -> Option<((u64, u64), (u64, u64))> {
    let text = std::str::from_utf8(&rest[..rest.len().min(80)]).ok().or_else(|| {
        // What follows the second `@@` is a line of the file, and may be anything.
        let end = memchr::memmem::find(rest, b" @@")?;
        std::str::from_utf8(&rest[..end]).ok()
    })?;
    let mut words = text.split(' ');
    let range = |word: &str| -> Option<(u64, u64)> {
        let (start, count) = word.split_once(',').unwrap_or((word, "1"));
        Some((start.parse().ok()?, count.parse().ok()?))
    };
    let removed = range(words.next()?)?;
    Some((removed, range(words.next()?.strip_prefix('+')?)?))
}

/// A file's name behind `+++ `: `b/` goes, and so do git's quotes around unusual characters.
fn name_of(written: &[u8]) -> String {
    let written = written.strip_suffix(b"\n").unwrap_or(written);
    let written = written.strip_suffix(b"\t").unwrap_or(written);
    let quoted = written.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\""));
    let name = quoted.map_or_else(|| written.to_vec(), unquoted);
    String::from_utf8_lossy(name.strip_prefix(b"b/").unwrap_or(&name)).into_owned()
}

/// Undoes C's escapes as git writes them.
fn unquoted(text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'\\' {
            plain.push(byte);
            continue;
        }
        let Some((&escape, after)) = rest.split_first() else { break };
        if let Some(octal) = rest.get(..3).and_then(|digits| std::str::from_utf8(digits).ok())
            && let Ok(value) = u8::from_str_radix(octal, 8)
        {
            plain.push(value);
            rest = &rest[3..];
            continue;
        }
        plain.push(match escape {
            b'n' => b'\n',
            b't' => b'\t',
            b'r' => b'\r',
            other => other,
        });
        rest = after;
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_heads_of_hunks() {
        assert_eq!(hunk(b"1,2 +3,4 @@ fn x() {"), Some(((1, 2), (3, 4))));
        assert_eq!(hunk(b"0,0 +1 @@"), Some(((0, 0), (1, 1))));
        assert_eq!(hunk(b"7 +7,0 @@ \xff\xfe"), Some(((7, 1), (7, 0))));
        assert_eq!(hunk(b"x"), None);
    }

    #[test]
    fn reads_names() {
        for (written, name) in [
            (&b"b/src/a.rs\n"[..], "src/a.rs"),
            (b"b/my file\t\n", "my file"),
            (b"\"b/tab\\there\\\"\\303\\251\"\n", "tab\there\"é"),
            (b"/dev/null\n", "/dev/null"),
        ] {
            assert_eq!(name_of(written), name);
        }
    }
}
