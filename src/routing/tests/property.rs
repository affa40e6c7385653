//! The tree against a matcher that is too simple to be wrong, and arbitrary bytes against everything.

use proptest::prelude::*;

use super::*;

/// A segment of a template or a path, from a small alphabet so that they meet.
fn literal() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["a", "b", "ab", "A", "x-1"]).prop_map(str::to_owned)
}

fn template() -> impl Strategy<Value = String> {
    let part = prop_oneof![3 => literal(), 2 => Just("{}".to_owned())];
    let end = prop_oneof![6 => Just(None), 1 => Just(Some("{*}".to_owned())), 1 => Just(Some(String::new()))];
    (prop::collection::vec(part, 1..5), end).prop_map(|(mut parts, end)| {
        parts.extend(end);
        let mut text = String::new();
        for (index, part) in parts.iter().enumerate() {
            let named =
                part.replace("{}", &format!("{{p{index}}}")).replace("{*}", &format!("{{*p{index}}}"));
            text = format!("{text}/{named}");
        }
        text
    })
}

fn segment_text() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => literal(),
        1 => prop::sample::select(vec!["%61", "%41b", "a%62", "x%2D1", "%20", "a%20", "c;d", "100%25", "%C3%A9", "", "q"])
            .prop_map(str::to_owned),
    ]
}

fn path() -> impl Strategy<Value = String> {
    prop::collection::vec(segment_text(), 1..6).prop_map(|parts| {
        let last = parts.len() - 1;
        let kept = parts.iter().enumerate().filter(|(index, part)| *index == last || !part.is_empty());
        kept.fold(String::new(), |text, (_, part)| format!("{text}/{part}"))
    })
}

fn method() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["GET", "POST", "ANY"])
}

/// How a template's segments take a path's: 0 fixed, 1 parameter, 2 rest; the smaller list wins.
fn naive(template: &str, path: &str) -> Option<Vec<u8>> {
    let undo =
        |text: &str| text.replace("%61", "a").replace("%41", "A").replace("%62", "b").replace("%2D", "-");
    let wanted: Vec<_> = template.split('/').skip(1).collect();
    let found: Vec<_> = path.split('/').skip(1).collect();
    let mut kinds = Vec::new();
    for (index, part) in wanted.iter().enumerate() {
        if part.starts_with("{*") {
            kinds.push(2);
            return (index < found.len()).then_some(kinds);
        }
        let text = found.get(index)?;
        if part.starts_with('{') {
            kinds.push(1);
            if text.is_empty() {
                return None;
            }
        } else {
            kinds.push(0);
            if undo(text) != **part {
                return None;
            }
        }
    }
    (wanted.len() == found.len()).then_some(kinds)
}

/// The tree's order is decided segment by segment, and every method only afterwards.
fn naive_find<'r>(rows: &'r [EndpointRow], method: &str, path: &str) -> Option<&'r str> {
    let fits = |row: &&EndpointRow| row.method == method || row.method == "ANY";
    rows.iter()
        .filter(fits)
        .filter_map(|row| Some((naive(&row.path, path)?, row.method == "ANY", row)))
        .min_by(|one, other| (&one.0, one.1).cmp(&(&other.0, other.1)))
        .map(|(_, _, row)| &*row.operation)
}

/// Templates without duplicates of method and shape.
fn rows() -> impl Strategy<Value = Vec<EndpointRow>> {
    prop::collection::vec((method(), template()), 0..24).prop_map(|found| {
        let mut shapes = std::collections::HashSet::new();
        found
            .into_iter()
            .filter(|one| shapes.insert(one.clone()))
            .enumerate()
            .map(|(index, (method, path))| row(&format!("op{index}"), method, &path))
            .collect()
    })
}

/// Pieces of which awkward targets are made.
fn awkward() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        prop::sample::select(vec![
            "/",
            "//",
            ".",
            "..",
            ";",
            "%",
            "%2",
            "%2e",
            "%2F",
            "%25",
            "%252e",
            "%252F",
            "%5c",
            "\\",
            "?",
            "#",
            " ",
            "%C3%A9",
            "%c0%af",
            "sources",
            "spaces",
            "s",
            "audiences",
            "traits",
            "labels",
            "%00",
            "a",
        ])
        .prop_map(|text| text.as_bytes().to_vec()),
        prop::collection::vec(any::<u8>(), 0..3),
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| [b"/".to_vec(), pieces.concat()].concat())
}

proptest! {
    #[test]
    fn the_tree_agrees_with_the_naive_matcher(rows in rows(), paths in prop::collection::vec(path(), 1..16)) {
        let table = table_of(rows.clone(), &Settings::default());
        for path in &paths {
            for method in ["GET", "POST", "PUT"] {
                let head = head(method, path);
                let found = match table.find(&head) {
                    Ok(Match::Matched(matched)) => Some(matched.endpoint.operation.to_string()),
                    Ok(Match::Unmatched(_)) => None,
                    Err(fault) => return Err(TestCaseError::fail(format!("{path}: {fault}"))),
                };
                prop_assert_eq!(found.as_deref(), naive_find(&rows, method, path), "{} {}", method, path);
            }
        }
    }

    #[test]
    fn parameters_rebuild_the_path(rows in rows(), path in path()) {
        let table = table_of(rows, &Settings::default());
        let head = head("GET", &path);
        if let Ok(Match::Matched(matched)) = table.find(&head) {
            let mut rebuilt = matched.endpoint.template.to_string();
            for (name, value) in matched.params.iter(&head) {
                let value = std::str::from_utf8(value).unwrap();
                rebuilt = rebuilt.replace(&format!("{{{name}}}"), value).replace(&format!("{{*{name}}}"), value);
            }
            let undo = |text: &str| text.replace("%61", "a").replace("%41", "A").replace("%62", "b").replace("%2D", "-");
            prop_assert_eq!(undo(&rebuilt), undo(&path));
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(
        method in prop::collection::vec(any::<u8>(), 0..5),
        target in prop::collection::vec(any::<u8>(), 0..40),
        accept in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let table = segment();
        let fields = [(&b"Accept"[..], &*accept), (b"Content-Type", &*accept), (b"Content-Length", b"1")];
        for method in [&*method, b"GET", b"POST"] {
            for target in [&*target, &[b"/sources?", &*target].concat(), &[b"/spaces/", &*target].concat()] {
                let _ = table.find(&Head::from_parts(Version::Http11, method, target, fields)).map(|found| match found {
                    Match::Matched(matched) => assert!(matched.version.is_some()),
                    Match::Unmatched(unmatched) => assert!(!unmatched.reason.to_string().is_empty()),
                });
            }
        }
        let _ = is_own(&target);
    }

    #[test]
    fn whatever_matches_reads_as_nothing_else(target in awkward()) {
        let table = segment();
        let head = head("GET", &target);
        match table.find(&head) {
            Err(fault) => prop_assert!(!fault.to_string().is_empty()),
            Ok(Match::Unmatched(_)) => {}
            Ok(Match::Matched(matched)) => {
                // Undone to the end and read leniently, the path is still no other endpoint's.
                let mut text = head.path().to_vec();
                while text.contains(&b'%') {
                    let undone = path::unescape_once(&text);
                    if undone == text { break; }
                    text = undone;
                }
                let pieces: Vec<_> = text.split(|byte| *byte == b'/').collect();
                prop_assert!(!pieces.iter().any(|piece| matches!(*piece, b"." | b"..")));
                let plain = text.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'/');
                if plain && let Ok(Match::Matched(other)) = table.find(&super::head("GET", &text)) {
                    prop_assert_eq!(matched.endpoint.index, other.endpoint.index);
                }
            }
        }
    }
}
