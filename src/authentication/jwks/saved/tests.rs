use super::*;
use crate::authentication::fixture::{ISSUER, START};
use crate::clock::Clock;

const URL: &str = "https://issuer.test/jwks";

fn saved(folder: &Path, issuer: &str, url: &str) -> SavedSet {
    SavedSet::new(folder.to_owned(), issuer, &Url::parse(url).unwrap())
}

fn now() -> Now {
    Clock::manual(START).now()
}

#[test]
fn what_is_saved_comes_back_with_its_time() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys");
    let set = saved(&path, ISSUER, URL);
    assert!(set.load(now()).unwrap().is_none());
    for (text, time) in [(&b"{\"keys\":[]}\n"[..], START - 9), ("é\"\\".as_bytes(), START)] {
        set.save(text, time).unwrap();
        assert_eq!(set.load(now()).unwrap(), Some((text.to_vec(), time)));
    }
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&path), mode(&set.path())), (0o700, 0o600));
    assert_eq!(fs::read_dir(&path).unwrap().count(), 1, "an unfinished file was left");
    set.save(&vec![b'"'; MAX_SET_BYTES], START).unwrap();
    assert_eq!(set.load(now()).unwrap().unwrap().0.len(), MAX_SET_BYTES);
}

#[test]
fn it_is_bound_to_issuer_and_address() {
    let folder = tempfile::tempdir().unwrap();
    let set = saved(folder.path(), ISSUER, URL);
    set.save(b"{}", START).unwrap();
    for other in
        [saved(folder.path(), "other", URL), saved(folder.path(), ISSUER, "https://issuer.test/other")]
    {
        assert!(other.load(now()).unwrap().is_none());
        fs::copy(set.path(), other.path()).unwrap();
        assert!(matches!(other.load(now()), Err(NotRestored::Content)));
    }
}

#[test]
fn a_file_that_was_tampered_with_is_not_used() {
    let folder = tempfile::tempdir().unwrap();
    let set = saved(folder.path(), ISSUER, URL);
    set.save(b"{}", START).unwrap();
    let good = fs::read_to_string(set.path()).unwrap();
    let refused = |text: &str| {
        fs::write(set.path(), text).unwrap();
        set.load(now()).unwrap_err()
    };
    for text in ["", "{", "[]", &good[..good.len() - 1], &good.replace("\"format\":1", "\"format\":2")] {
        assert!(matches!(refused(text), NotRestored::Content), "{text}");
    }
    let twice = good.replacen('{', "{\"format\":1,", 1);
    assert!(matches!(refused(&twice), NotRestored::Content));
    assert!(matches!(refused(&good.replace("key_set", "key_sets")), NotRestored::Content));
    let later = good.replace(&START.to_string(), &(START + 61).to_string());
    assert!(matches!(refused(&later), NotRestored::FromTheFuture));
    assert!(matches!(refused(&" ".repeat(MAX_FILE_BYTES as usize + 1)), NotRestored::TooLong));
    fs::write(set.path(), &good).unwrap();
    for mode in [0o620, 0o602] {
        fs::set_permissions(set.path(), fs::Permissions::from_mode(mode)).unwrap();
        assert!(matches!(set.load(now()), Err(NotRestored::Permissions)), "{mode:o}");
    }
    fs::remove_file(set.path()).unwrap();
    fs::create_dir(set.path()).unwrap();
    assert!(set.load(now()).is_err());
}

#[test]
fn a_folder_that_cannot_be_written_is_an_error_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    assert!(saved(&folder.path().join("a/b"), ISSUER, URL).save(b"{}", START).is_err());
    let set = saved(folder.path(), ISSUER, URL);
    fs::create_dir_all(set.path().join("x")).unwrap();
    assert!(set.save(b"{}", START).is_err());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}
