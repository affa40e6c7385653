use std::fmt::Write as _;
use std::fs;
use std::io::Cursor;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use super::*;
use crate::tokens::SystemRandom;

const PREFIX: &str = "sgp_";

fn token() -> String {
    Format::new(PREFIX).mint('u', &SystemRandom).unwrap().into_exposed()
}

/// A folder with files, and what a search in it tells.
struct Tree(tempfile::TempDir);

impl Tree {
    fn new(files: &[(&str, &[u8])]) -> Self {
        let tree = Self(tempfile::tempdir().unwrap());
        for (name, text) in files {
            tree.write(name, text);
        }
        tree
    }

    fn write(&self, name: &str, text: &[u8]) {
        let path = self.0.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn git(&self, words: &[&str]) {
        let identity = ["-c", "user.name=t", "-c", "user.email=t@t.test", "-c", "core.hooksPath=/dev/null"];
        let mut git = Command::new("git");
        let status = git.arg("-C").arg(self.0.path()).args(identity).args(words).output().unwrap().status;
        assert!(status.success(), "{words:?}");
    }

    /// Where tokens are, without the folder's own name, and the count.
    fn told(
        &self,
        search: impl FnOnce(&mut dyn FnMut(Told) -> io::Result<()>) -> Count,
    ) -> (Vec<String>, Count) {
        let mut told = Vec::new();
        let count = search(&mut |what| {
            let folder = format!("{}/", self.0.path().display());
            told.push(match what {
                Told::Found(found) => {
                    format!("{}:{}:{}", found.file.replace(&folder, ""), found.line, found.column)
                }
                Told::Unreadable(path, _) => format!("unreadable {}", path.display()).replace(&folder, ""),
            });
            Ok(())
        });
        told.sort();
        (told, count)
    }

    fn scan(&self, names: &[&str]) -> (Vec<String>, Count) {
        let all: Vec<PathBuf> = names.iter().map(|name| self.0.path().join(name)).collect();
        self.told(|tell| paths(&Format::new(PREFIX), &all, tell).unwrap())
    }

    fn staged(&self) -> (Vec<String>, Count) {
        self.told(|tell| staged(&Format::new(PREFIX), self.0.path(), tell).unwrap())
    }
}

fn pieces_of(text: &[u8], whole_bytes: usize) -> Vec<(u64, u64, Vec<u8>)> {
    let mut reader = Cursor::new(text);
    let mut pieces = Pieces::new(&mut reader, whole_bytes);
    let mut found = Vec::new();
    while let Some(piece) = pieces.next().unwrap() {
        assert!(piece.bytes.len() <= pieces::PIECE_BYTES);
        found.push((piece.line, piece.column, piece.bytes.to_vec()));
    }
    found
}

#[test]
fn what_is_no_token_is_not_told() {
    let good = token();
    let wrong_sum = format!("{}{}", &good[..67], if good.ends_with('0') { '1' } else { '0' });
    let text = format!("{wrong_sum}\n{}\nsgp_\n{}\n", &good[..60], "sgp_".repeat(40));
    let tree = Tree::new(&[("a.txt", text.as_bytes()), ("b.bin", format!("\0{good}").as_bytes())]);
    let (told, count) = tree.scan(&["."]);
    assert!(told.is_empty(), "{told:?}");
    assert_eq!(count, Count { files: 1, binary: 1, ..Count::default() });
}

#[test]
fn a_token_is_told_with_its_place_and_not_written_out() {
    let token = token();
    let tree = Tree::new(&[("src/a.py", format!("x\nkey = \"é{token}\" {token}\n").as_bytes())]);
    let (told, count) = tree.scan(&["src/a.py"]);
    assert_eq!(told, ["src/a.py:2:79", "src/a.py:2:9"]);
    assert_eq!((count.found, count.files), (2, 1));
    let mut shown = String::new();
    paths(&Format::new(PREFIX), &[tree.0.path().to_owned()], &mut |told| {
        write!(shown, "{told:?}").unwrap();
        Ok(())
    })
    .unwrap();
    assert!(!shown.contains(&token) && shown.contains(&token[..9]), "{shown}");
}

#[test]
fn a_token_anywhere_in_a_huge_line_is_told_once() {
    let token = token();
    for before in [0, 1, 65_400, 65_468, 65_469, 65_500, 65_536, 131_000, 200_000] {
        let text = format!("a\n{}{token}{}", "é".repeat(before / 2), "x".repeat(70_000));
        let tree = Tree::new(&[("min.js", text.as_bytes())]);
        let (told, _) = tree.scan(&["min.js"]);
        assert_eq!(told, [format!("min.js:2:{}", before / 2 + 1)], "{before}");
    }
}

#[test]
fn pieces_are_bounded_and_whole_at_their_seams() {
    assert!(pieces_of(b"", 8).is_empty());
    let lines = pieces_of(b"a\n\nb", 8);
    assert_eq!(lines, [(1, 1, b"a\n".to_vec()), (2, 1, b"\n".to_vec()), (3, 1, b"b".to_vec())]);
    let long: Vec<u8> = (0..200_000_u32).map(|n| b'a' + (n % 26) as u8).collect();
    let parts = pieces_of(&long, 8);
    assert!(parts.len() > 3);
    for pair in parts.windows(2) {
        assert!(pair[0].2.ends_with(&pair[1].2[..7]));
        assert_eq!(pair[1].1, pair[0].1 + pair[0].2.len() as u64 - 7);
    }
}

#[test]
fn a_folder_outside_of_repositories_is_walked_whole() {
    let token = token();
    let tree = Tree::new(&[
        ("a/b/c.txt", token.as_bytes()),
        (".gitignore", b"*"),
        ("a/.git/config", token.as_bytes()),
        (".env", token.as_bytes()),
    ]);
    std::os::unix::fs::symlink(tree.0.path(), tree.0.path().join("a/loop")).unwrap();
    let (told, _) = tree.scan(&["."]);
    let told: Vec<_> = told.iter().map(|place| place.trim_start_matches("./")).collect();
    assert_eq!(told, [".env:1:1", "a/b/c.txt:1:1"]);
}

#[test]
fn what_git_ignores_is_left_out_unless_it_is_named() {
    let token = token();
    let tree = Tree::new(&[
        ("kept.txt", token.as_bytes()),
        ("with \"quotes\"\té.txt", token.as_bytes()),
        ("ignored.log", token.as_bytes()),
        (".gitignore", b"*.log\n"),
        ("gone.txt", b"x"),
    ]);
    tree.git(&["init", "-q"]);
    tree.git(&["add", "gone.txt"]);
    fs::remove_file(tree.0.path().join("gone.txt")).unwrap();
    let folder = tree.0.path().to_owned();
    let (told, count) = tree.told(|tell| paths(&Format::new(PREFIX), &[folder], tell).unwrap());
    assert_eq!(told, ["kept.txt:1:1", "with \"quotes\"\té.txt:1:1"]);
    assert_eq!(count.unreadable, 0);
    assert_eq!(tree.scan(&["ignored.log"]).0, ["ignored.log:1:1"]);
}

#[test]
fn what_cannot_be_read_is_told() {
    let tree = Tree::new(&[("a.txt", b"x")]);
    let (told, count) = tree.scan(&["no.txt", "a.txt"]);
    assert_eq!(told, ["unreadable no.txt"]);
    assert_eq!((count.unreadable, count.files), (1, 1));
    let locked = tree.0.path().join("a.txt");
    fs::set_permissions(&locked, fs::Permissions::from_mode(0o000)).unwrap();
    // Root reads it all the same.
    assert!(tree.scan(&["a.txt"]).1.unreadable == 1 || fs::read(&locked).is_ok());
}

#[test]
fn only_what_a_commit_would_add_is_looked_at() {
    let (old, new, other) = (token(), token(), token());
    let tree = Tree::new(&[("a.txt", format!("{old}\n1\n2\n").as_bytes())]);
    tree.git(&["init", "-q"]);
    tree.git(&["add", "."]);
    tree.git(&["commit", "-q", "-m", "x"]);
    tree.write("a.txt", format!("{old}\n1\n++ {new}\n2\n-- x\n").as_bytes());
    tree.write("my file é.txt", format!("k\n{}{other}", "y".repeat(100_000)).as_bytes());
    assert_eq!(tree.staged().0, Vec::<String>::new(), "nothing is staged yet");
    tree.git(&["add", "."]);
    tree.write("a.txt", b"nothing");
    let (told, count) = tree.staged();
    assert_eq!(told, ["a.txt:3:4".to_owned(), "my file é.txt:2:100001".to_owned()]);
    assert_eq!(count.files, 2);
    tree.git(&["commit", "-q", "-m", "y"]);
    tree.git(&["rm", "-q", "--cached", "a.txt"]);
    assert!(tree.staged().0.is_empty(), "what a commit takes out was told");
}

#[test]
fn all_that_a_commit_would_add_is_looked_at_from_any_folder() {
    let tree = Tree::new(&[("a.txt", token().as_bytes()), ("below/b.txt", b"x")]);
    tree.git(&["init", "-q"]);
    tree.git(&["config", "diff.relative", "true"]);
    tree.git(&["add", "."]);
    let below = tree.0.path().join("below");
    let (told, _) = tree.told(|tell| staged(&Format::new(PREFIX), &below, tell).unwrap());
    assert_eq!(told, ["a.txt:1:1"]);
}

#[test]
fn outside_of_a_repository_there_is_no_commit() {
    let tree = Tree::new(&[]);
    let result = staged(&Format::new(PREFIX), tree.0.path(), &mut |_| Ok(()));
    assert!(matches!(result, Err(Error::Git { .. })));
}

#[test]
fn an_output_that_ends_ends_the_search() {
    let tree = Tree::new(&[("a.txt", token().as_bytes())]);
    let result = paths(&Format::new(PREFIX), &[tree.0.path().to_owned()], &mut |_| {
        Err(io::Error::from(io::ErrorKind::BrokenPipe))
    });
    assert!(matches!(result, Err(Error::Output(_))));
}
