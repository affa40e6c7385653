//! The file that holds the peppers: one line `version:base64` for each, readable by its owner alone.
//!
//! It is made on first use and must be kept as long as the store: without it no token can be recognised.
//! A new version is a new line; a version may go once no live token has it.

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
            Ok(()) | Err(_) => Ok(()),
        })
        .map_err(|source| Error::file(file, "make", source));
    drop(fs::remove_file(&unfinished));
    made
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
    fn an_error_never_quotes_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pepper");
        fs::write(&file, "1:c2VjcmV0LXRoYXQtaXMtdG9v-no-base64").unwrap();
        let error = read(&file).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("c2Vj"));
    }
}
