//! Which files a path stands for.

use std::fs::{self, ReadDir};
use std::io::{self, BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::Error;

/// The deepest folder below a named one that is walked, and the deepest repository within repositories.
const DEEPEST: usize = 128;
/// The longest path that git lists, with much room.
const LONGEST_PATH_BYTES: u64 = 1 << 16;

/// What a visited path is.
pub(super) enum FileKind {
    /// A file to be read.
    Regular,
    /// Something that should have been read and cannot be.
    Unreadable(io::Error),
}

/// What is done with each file.
pub(super) type Visit<'v> = dyn FnMut(&Path, FileKind) -> Result<(), Error> + 'v;

/// Visits a file, or every file of a folder.
pub(super) fn each(path: &Path, visit: &mut Visit<'_>) -> Result<(), Error> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => folder(path, 0, visit),
        Ok(metadata) if metadata.is_file() => visit(path, FileKind::Regular),
        Ok(_) => visit(path, FileKind::Unreadable(io::Error::other("it is neither a file nor a folder"))),
        Err(error) => visit(path, FileKind::Unreadable(error)),
    }
}

fn folder(path: &Path, depth: usize, visit: &mut Visit<'_>) -> Result<(), Error> {
    if depth > DEEPEST {
        return visit(path, FileKind::Unreadable(too_deep()));
    }
    if !listed_by_git(path, depth, visit)? {
        walk(path, visit)?;
    }
    Ok(())
}

/// Visits what git would commit of a folder; false if the folder is in no repository.
fn listed_by_git(folder_path: &Path, depth: usize, visit: &mut Visit<'_>) -> Result<bool, Error> {
    let listing = git(folder_path)
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    // Without git there is no repository to respect.
    let Ok(listing) = listing else { return Ok(false) };
    let mut listing = Listing(listing);
    let Some(names) = listing.0.stdout.take() else { return Ok(false) };
    let mut names = BufReader::new(names);
    let mut name = Vec::new();
    let mut any = false;
    loop {
        name.clear();
        let mut limited = io::Read::take(&mut names, LONGEST_PATH_BYTES);
        let failed = |error: io::Error| Error::Git { what: "git ls-files", why: error.to_string() };
        if limited.read_until(0, &mut name).map_err(failed)? == 0 {
            break;
        }
        any = true;
        if name.last() == Some(&0) {
            name.pop();
        }
        listed(&folder_path.join(path_of(&name)), depth, visit)?;
    }
    match listing.0.wait() {
        Ok(status) if status.success() => Ok(true),
        Ok(status) if any => Err(Error::Git { what: "git ls-files", why: format!("it ended with {status}") }),
        Ok(_) | Err(_) => Ok(false),
    }
}

/// Visits what git listed: a file, or the folder of a repository within.
fn listed(path: &Path, depth: usize, visit: &mut Visit<'_>) -> Result<(), Error> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_file() => visit(path, FileKind::Regular),
        Ok(metadata) if metadata.is_dir() => folder(path, depth + 1, visit),
        Ok(_) => Ok(()),
        // Git also lists what was deleted and not yet committed.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => visit(path, FileKind::Unreadable(error)),
    }
}

/// Visits every file below a folder, but for git's own.
fn walk(path: &Path, visit: &mut Visit<'_>) -> Result<(), Error> {
    let mut open: Vec<(PathBuf, ReadDir)> = Vec::new();
    match fs::read_dir(path) {
        Ok(entries) => open.push((path.to_owned(), entries)),
        Err(error) => return visit(path, FileKind::Unreadable(error)),
    }
    while let Some((within, entries)) = open.last_mut() {
        let (path, kind) = match entries.next() {
            None => {
                open.pop();
                continue;
            }
            Some(Ok(entry)) => (entry.path(), entry.file_type()),
            Some(Err(error)) => (within.clone(), Err(error)),
        };
        match kind {
            Ok(kind) if kind.is_dir() && path.file_name().is_some_and(|name| name == ".git") => {}
            Ok(kind) if kind.is_dir() && open.len() > DEEPEST => {
                visit(&path, FileKind::Unreadable(too_deep()))?;
            }
            Ok(kind) if kind.is_dir() => match fs::read_dir(&path) {
                Ok(entries) => open.push((path, entries)),
                Err(error) => visit(&path, FileKind::Unreadable(error))?,
            },
            Ok(kind) if kind.is_file() => visit(&path, FileKind::Regular)?,
            Ok(_) => {}
            Err(error) => visit(&path, FileKind::Unreadable(error))?,
        }
    }
    Ok(())
}

fn too_deep() -> io::Error {
    io::Error::other(format!("it is more than {DEEPEST} folders deep; name it on the command line"))
}

/// Git in a folder, without what a repository's configuration could run.
pub(super) fn git(folder: &Path) -> Command {
    let mut command = Command::new("git");
    command.arg("-C").arg(folder).args(["-c", "core.fsmonitor=false", "-c", "core.quotePath=false"]);
    command
}

pub(super) fn path_of(bytes: &[u8]) -> &Path {
    use std::os::unix::ffi::OsStrExt as _;
    Path::new(std::ffi::OsStr::from_bytes(bytes))
}

/// A running git, ended with the search.
struct Listing(Child);

impl Drop for Listing {
    fn drop(&mut self) {
        drop(self.0.stdout.take());
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
