//! The file that holds the peppers: one line `version:base64` for each, readable by its owner alone.
//!
//! It is made on first use and must be kept as long as the store: without it no token can be recognised.
//! New tokens are hashed under the pepper of the first line; those of the others are recognised. A version may go once
//! no working token has it.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{Error, Peppers, Random};

const PEPPER_BYTES: usize = 32;
const SHORTEST_BYTES: usize = 16;

/// Reads the peppers of a file; [`Error::PepperMissing`] if there is none.
pub(super) fn read(file: &Path) -> Result<Peppers, Error> {
    let text = fs::read_to_string(file).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => Error::PepperMissing(file.to_owned()),
        _ => Error::file(file, "read", source),
    })?;
    if fs::metadata(file).is_ok_and(|metadata| metadata.permissions().mode() & 0o077 != 0) {
        tracing::warn!(file = %file.display(), "the pepper file can be read by others; run chmod 600 on it");
    }
    let mut peppers = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        peppers.push(pepper(line).ok_or(Error::PepperInvalid { file: file.to_owned(), line: number + 1 })?);
    }
    let last_line = text.lines().count();
    Peppers::new(peppers).ok_or(Error::PepperInvalid { file: file.to_owned(), line: last_line })
}

/// What is wrong with a file, if it is there and something is.
pub fn pepper_file_fault(file: &Path) -> Option<Error> {
    read(file).err().filter(|error| !matches!(error, Error::PepperMissing(_)))
}

/// Makes a file with one new pepper of version 1. Does nothing if the file is there, also if another process
/// makes it at the same moment.
pub(super) fn create(file: &Path, random: &dyn Random) -> Result<(), Error> {
    let mut secret = [0; PEPPER_BYTES];
    random.fill(&mut secret)?;
    let mut name = [0; 8];
    random.fill(&mut name)?;
    let unfinished = file.with_extension(format!("{:016x}.new", u64::from_be_bytes(name)));
    let made = write_whole(&unfinished, &format!("1:{}\n", STANDARD.encode(secret)))
        .and_then(|()| match fs::hard_link(&unfinished, file) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            Ok(()) | Err(_) => sync_folder_of(file),
        })
        .map_err(|source| Error::file(file, "make", source));
    drop(fs::remove_file(&unfinished));
    made
}

/// The versions in the order of the file.
pub(super) fn versions(file: &Path) -> Result<Vec<u16>, Error> {
    read(file)?;
    Ok(lines(file)?.iter().filter_map(|line| version_of(line)).collect())
}

/// Adds a new pepper of this version behind the others.
pub(super) fn add(file: &Path, version: u16, random: &dyn Random) -> Result<(), Error> {
    let mut secret = [0; PEPPER_BYTES];
    random.fill(&mut secret)?;
    let mut all = lines(file)?;
    all.push(format!("{version}:{}", STANDARD.encode(secret)));
    replace(file, &all, random)
}

/// Has new tokens hashed under a version that the file holds; false if it does not.
pub(super) fn put_first(file: &Path, version: u16, random: &dyn Random) -> Result<bool, Error> {
    let mut all = lines(file)?;
    let Some(at) = all.iter().position(|line| version_of(line) == Some(version)) else { return Ok(false) };
    let line = all.remove(at);
    let first = all.iter().position(|line| version_of(line).is_some()).unwrap_or(all.len());
    all.insert(first.min(at), line);
    replace(file, &all, random)?;
    Ok(true)
}

/// Takes a version out; false if the file does not hold it.
pub(super) fn remove(file: &Path, version: u16, random: &dyn Random) -> Result<bool, Error> {
    let mut all = lines(file)?;
    let before = all.len();
    all.retain(|line| version_of(line) != Some(version));
    if all.len() == before {
        return Ok(false);
    }
    replace(file, &all, random)?;
    Ok(true)
}

fn lines(file: &Path) -> Result<Vec<String>, Error> {
    let text = fs::read_to_string(file).map_err(|source| Error::file(file, "read", source))?;
    Ok(text.lines().map(str::to_owned).collect())
}

fn version_of(line: &str) -> Option<u16> {
    pepper(line.trim()).map(|(version, _)| version)
}

/// Puts other lines in the place of a file's, whole or not at all.
fn replace(file: &Path, lines: &[String], random: &dyn Random) -> Result<(), Error> {
    let mut name = [0; 8];
    random.fill(&mut name)?;
    let unfinished = file.with_extension(format!("{:016x}.new", u64::from_be_bytes(name)));
    let written = write_whole(&unfinished, &(lines.join("\n") + "\n")).and_then(|()| {
        // What could not be read again would be lost tokens.
        read(&unfinished).map_err(io::Error::other)?;
        fs::rename(&unfinished, file)?;
        sync_folder_of(file)
    });
    drop(fs::remove_file(&unfinished));
    written.map_err(|source| Error::file(file, "write", source))
}

/// Has a file that got its name keep it, also if the power fails.
pub(super) fn sync_folder_of(file: &Path) -> io::Result<()> {
    let folder = file.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."));
    fs::File::open(folder)?.sync_all()
}

fn write_whole(file: &Path, text: &str) -> io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(file)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn pepper(line: &str) -> Option<(u16, Vec<u8>)> {
    let (version, secret) = line.split_once(':')?;
    let secret = STANDARD.decode(secret.trim()).ok()?;
    let version = version.trim().parse().ok()?;
    (secret.len() >= SHORTEST_BYTES).then_some((version, secret))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokens::Scheme;
    use crate::tokens::random::dice::Dice;

    #[test]
    fn refuses_files_that_hold_no_pepper() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pepper");
        assert!(matches!(read(&file), Err(Error::PepperMissing(_))));
        let good = format!("1:{}", STANDARD.encode([7; 32]));
        for (text, wrong_line) in [
            (String::new(), 0),
            ("# nothing\n".to_owned(), 1),
            (format!("{good}\nnonsense\n"), 2),
            (format!("one{good}\n"), 1),
            (format!("1:{}\n", STANDARD.encode([7; 8])), 1),
            (format!("{good}\n{good}\n"), 2),
        ] {
            fs::write(&file, &text).unwrap();
            match read(&file) {
                Err(Error::PepperInvalid { line, .. }) => assert_eq!(line, wrong_line, "{text}"),
                other => panic!("{text}: {other:?}"),
            }
        }
    }

    #[test]
    fn is_made_once_and_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("tollgate.pepper");
        create(&file, &Dice::new(1)).unwrap();
        let first = read(&file).unwrap().digest(b"t");
        create(&file, &Dice::new(2)).unwrap();
        assert_eq!(read(&file).unwrap().digest(b"t"), first);
        assert_eq!(first.scheme, Scheme::Hmac(1));
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "an unfinished file was left");
    }

    #[test]
    fn versions_are_added_behind_put_first_and_taken_out() {
        let folder = tempfile::tempdir().unwrap();
        let (file, dice) = (folder.path().join("tollgate.pepper"), Dice::new(3));
        create(&file, &dice).unwrap();
        fs::write(&file, format!("# kept apart\n{}", fs::read_to_string(&file).unwrap())).unwrap();
        let of_one = read(&file).unwrap().digest(b"t");
        add(&file, 2, &dice).unwrap();
        assert_eq!(versions(&file).unwrap(), [1, 2]);
        assert_eq!(read(&file).unwrap().digest(b"t"), of_one, "a new one is used at once");
        assert!(add(&file, 2, &dice).is_err(), "a version twice");
        assert!(put_first(&file, 2, &dice).unwrap() && !put_first(&file, 3, &dice).unwrap());
        assert_eq!(versions(&file).unwrap(), [2, 1]);
        assert_eq!(read(&file).unwrap().digest(b"t").scheme, Scheme::Hmac(2));
        assert_eq!(read(&file).unwrap().digests(b"t").last(), Some(of_one));
        assert!(fs::read_to_string(&file).unwrap().starts_with("# kept apart\n2:"));
        assert!(remove(&file, 1, &dice).unwrap() && !remove(&file, 1, &dice).unwrap());
        assert_eq!(versions(&file).unwrap(), [2]);
        assert!(remove(&file, 2, &dice).is_err(), "the last one went");
        assert_eq!(versions(&file).unwrap(), [2]);
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "an unfinished file was left");
    }

    #[test]
    fn an_error_never_quotes_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pepper");
        fs::write(&file, "1:c2VjcmV0LXRoYXQtaXMtdG9v-no-base64").unwrap();
        let error = read(&file).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("c2Vj"));
    }
}
