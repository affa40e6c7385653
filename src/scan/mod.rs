//! Tokens in files: found offline, by format and checksum.
//!
//! Decides which files are looked through, and where in them a token stands. Invariants: a token is never written
//! out whole; memory does not grow with the size of a file, a line or a tree; what cannot be read is told, never
//! passed over in silence. It refuses to know the registry: whether a token still works is not asked.

mod files;
mod pieces;
mod staged;

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use crate::tokens::Format;

use self::files::FileKind;
use self::pieces::Pieces;

/// How much of a file is looked at to tell whether it is text.
const SNIFFED_BYTES: usize = 8_000;

/// A token in a file.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Found {
    /// The file, as it was named or listed.
    pub file: String,
    /// The line, from 1.
    pub line: u64,
    /// The character in the line, from 1.
    pub column: u64,
    /// How the token begins.
    pub token: String,
}

/// What a search tells while it goes on.
#[derive(Debug)]
pub enum Told {
    /// A token.
    Found(Found),
    /// A file or folder that could not be read, and why.
    Unreadable(PathBuf, io::Error),
}

/// What a search came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Tokens that were found.
    pub found: u64,
    /// Files that were looked through; of a diff, those that it changes.
    pub files: u64,
    /// Files that are no text and were left alone.
    pub binary: u64,
    /// Files and folders that could not be read.
    pub unreadable: u64,
}

/// Why a search cannot be made or went no further.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What was found cannot be told.
    #[error("the output cannot be written: {0}")]
    Output(#[source] io::Error),
    /// Git did not give what was asked for.
    #[error("{what}: {why}; run this inside a repository, or name files and folders instead")]
    Git {
        /// What was tried.
        what: &'static str,
        /// What git or the system said.
        why: String,
    },
}

/// Looks through files, and through folders file by file.
///
/// A folder inside a git repository is searched as git lists it, without what it ignores; any other is walked.
/// Symbolic links are not followed. `-` is standard input. A file that is named is searched also if git ignores
/// it.
pub fn paths(
    format: &Format,
    paths: &[PathBuf],
    tell: &mut dyn FnMut(Told) -> io::Result<()>,
) -> Result<Count, Error> {
    let mut search = Search { format, tell, count: Count::default() };
    for path in paths {
        if path == Path::new("-") {
            let read = search.text("standard input", &mut io::stdin().lock());
            search.note(path, read)?;
        } else {
            files::each(path, &mut |path, kind| search.visit(path, kind))?;
        }
    }
    Ok(search.count)
}

/// Looks through the lines that the commit that is being prepared adds, in the repository around `folder`.
pub fn staged(
    format: &Format,
    folder: &Path,
    tell: &mut dyn FnMut(Told) -> io::Result<()>,
) -> Result<Count, Error> {
    let mut search = Search { format, tell, count: Count::default() };
    staged::each_added(folder, format.token_bytes(), &mut search)?;
    Ok(search.count)
}

/// A search that goes on.
struct Search<'s> {
    format: &'s Format,
    tell: &'s mut dyn FnMut(Told) -> io::Result<()>,
    count: Count,
}

/// Why one file was not searched to its end.
enum Stopped {
    Unreadable(io::Error),
    Output(io::Error),
}

impl Search<'_> {
    fn visit(&mut self, path: &Path, kind: FileKind) -> Result<(), Error> {
        let read = match kind {
            FileKind::Regular => match File::open(path) {
                Ok(file) => self.text(&path.to_string_lossy(), &mut BufReader::with_capacity(1 << 16, file)),
                Err(error) => Err(Stopped::Unreadable(error)),
            },
            FileKind::Unreadable(error) => Err(Stopped::Unreadable(error)),
        };
        self.note(path, read)
    }

    fn note(&mut self, path: &Path, read: Result<(), Stopped>) -> Result<(), Error> {
        match read {
            Ok(()) => Ok(()),
            Err(Stopped::Output(error)) => Err(Error::Output(error)),
            Err(Stopped::Unreadable(error)) => {
                self.count.unreadable += 1;
                (self.tell)(Told::Unreadable(path.to_owned(), error)).map_err(Error::Output)
            }
        }
    }

    fn text(&mut self, name: &str, reader: &mut dyn BufRead) -> Result<(), Stopped> {
        let beginning = reader.fill_buf().map_err(Stopped::Unreadable)?;
        let sniffed = &beginning[..beginning.len().min(SNIFFED_BYTES)];
        if memchr::memchr(0, sniffed).is_some() {
            self.count.binary += 1;
            return Ok(());
        }
        self.count.files += 1;
        let mut pieces = Pieces::new(reader, self.format.token_bytes());
        while let Some(piece) = pieces.next().map_err(Stopped::Unreadable)? {
            self.line(name, piece.line, piece.column, piece.bytes).map_err(Stopped::Output)?;
        }
        Ok(())
    }

    /// Looks through (a piece of) a line that begins at a column.
    fn line(&mut self, name: &str, line: u64, column: u64, text: &[u8]) -> io::Result<()> {
        for (start, token) in self.format.find_all(text) {
            self.count.found += 1;
            let column = column + pieces::characters(&text[..start]);
            let token = self.format.redacted(token);
            (self.tell)(Told::Found(Found { file: name.to_owned(), line, column, token }))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
