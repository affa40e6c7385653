//! Folders that are not there yet, and secrets that everybody on the machine can read.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::config::File;
use crate::domain::Problems;
use crate::tokens::pepper_file_fault;

pub(super) fn doubts(file: &File, folder: &Path, warnings: &mut Problems) {
    let log = Some(&*file.logs.destination).filter(|word| !matches!(*word, "stdout" | "stderr" | ""));
    for (key, path) in [
        ("tokens.store", file.tokens.store.file()),
        ("tokens.pepper_file", Some(&*file.tokens.pepper_file)),
        ("logs.destination", log.map(Path::new)),
    ] {
        let Some(path) = path.map(|path| folder.join(path)) else { continue };
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        if let Some(parent) = parent.filter(|parent| !parent.is_dir()) {
            warnings.add(
                key,
                "folder_missing",
                format!("there is no folder {} here", parent.display()),
                "make it before the gateway starts; a relative path starts at the configuration file",
            );
        }
    }
    if let Some(fault) = pepper_file_fault(&folder.join(&file.tokens.pepper_file)) {
        warnings.add(
            "tokens.pepper_file",
            "pepper_file_invalid",
            fault.to_string(),
            "the gateway does not start with it; config/docs/tokens.md says what a line holds",
        );
    }
    let pepper = ("tokens.pepper_file".to_owned(), folder.join(&file.tokens.pepper_file));
    let listeners = file.listen.tls.iter().enumerate();
    let keys = listeners.flat_map(|(at, listener)| {
        listener.certificates.iter().enumerate().map(move |(place, files)| {
            let key = format!("listen.tls[{at}].certificates[{place}].key_file");
            (key, folder.join(&files.key_file))
        })
    });
    for (key, path) in keys.chain([pepper]) {
        let everybody = 0o004;
        if std::fs::metadata(&path).is_ok_and(|found| found.permissions().mode() & everybody != 0) {
            warnings.add(
                key,
                "secret_world_readable",
                format!("everybody on this machine can read {}", path.display()),
                "run `chmod 600` on it, as the user that runs the gateway",
            );
        }
    }
}
