//! What a target alone shows: refused whatever the table holds.

use super::*;

#[track_caller]
fn refused(target: impl AsRef<[u8]>, fault: PathFault) {
    let target = target.as_ref();
    let tables = [
        segment(),
        table_of(Vec::new(), &Settings::default()),
        table_of(vec![row("all", "ANY", "/{*rest}")], &Settings::default()),
    ];
    for table in tables {
        for method in ["GET", "POST", "BREW"] {
            let found = table.find(&head(method, target));
            assert_eq!(found.err(), Some(fault), "{}", String::from_utf8_lossy(target));
        }
    }
}

#[track_caller]
fn accepted(target: impl AsRef<[u8]>) {
    let table = table_of(vec![row("all", "ANY", "/{*rest}")], &Settings::default());
    assert_eq!(word(&table, &head("GET", target)), "all");
}

#[test]
fn empty_segments_are_refused() {
    for (target, at) in [
        ("//", 1),
        ("//sources", 1),
        ("/sources//", 9),
        ("/sources//x", 9),
        ("/a///b", 3),
        ("/;", 1),
        ("/a/;x=1/b", 3),
    ] {
        refused(target, PathFault::EmptySegment(at));
    }
}

#[test]
fn dot_segments_are_refused_in_every_spelling() {
    for segment in [
        ".",
        "..",
        "%2e",
        "%2E",
        ".%2e",
        "%2e.",
        "%2e%2e",
        "%2E%2e",
        "..;",
        "..;x=1",
        ".;",
        "%2e%2e;a",
        "..%3b",
        "..%3Bx",
        "%252e",
        "%252e%252e",
        "%25252E.",
        "%25%32%65",
        "..%2F",
        "x%2F..",
        "x%2f..%2fy",
        "%2F..%2F",
        "..%252fx",
        "x%252F..",
        "x%252F%252e%252e%252Fy",
        "..%255Cx",
        "x%255c..",
    ] {
        refused(format!("/{segment}"), PathFault::DotSegment(1));
        refused(format!("/sources/{segment}"), PathFault::DotSegment(9));
        refused(format!("/sources/{segment}/settings"), PathFault::DotSegment(9));
        refused(format!("/{segment}/sources?x=1"), PathFault::DotSegment(1));
    }
}

#[test]
fn backslashes_and_control_characters_are_refused() {
    for target in ["/sources\\x", "/sources%5cx", "/sources%5Cx", "/sources\\..", "/sources%5c..%5cx"] {
        refused(target, PathFault::Backslash(8));
    }
    for byte in (0..0x20).chain([0x7f]) {
        refused([b"/sources", &[byte][..], b"x"].concat(), PathFault::ControlByte(8));
        refused(format!("/sources%{byte:02x}x"), PathFault::ControlByte(8));
        refused(format!("/sources%{byte:02X}"), PathFault::ControlByte(8));
        refused([b"/sources?", &[byte][..]].concat(), PathFault::ControlByte(9));
    }
}

#[test]
fn broken_escapes_are_refused() {
    for target in [
        "/sources%",
        "/sources%2",
        "/sources%zz",
        "/sources%2g",
        "/sources%/x",
        "/sources%2/f",
        "/sources%%41",
        "/sources%u002f",
        "/sources%2?f",
        "/sources%-1",
        "/sources%+f",
        "/sources% 2",
    ] {
        refused(target, PathFault::BrokenEscape(8));
    }
}

#[test]
fn escapes_that_are_no_utf8_are_refused() {
    for escapes in [
        "%c0%ae",
        "%c0%af",
        "%C1%81",
        "%e0%80%af",
        "%e0%80%ae%e0%80%ae",
        "%f0%80%80%af",
        "%ed%a0%80",
        "%f4%90%80%80",
        "%f8%80%80%80%af",
        "%ff",
        "%fe",
        "%80",
        "%bf",
        "%e9",
        "%c3",
        "%c3x",
        "%c3%",
        "%e2%82",
        "%e2%82/%ac",
        "%c3%28",
    ] {
        refused(format!("/sources{escapes}"), PathFault::InvalidUtf8(8));
    }
    for escapes in ["%C3%A9", "%e2%82%ac", "%F0%9F%98%80", "%C3%A9%C3%A9x", "%ed%9f%bf", "%f4%8f%bf%bf"] {
        accepted(format!("/sources/{escapes}"));
    }
}

#[test]
fn bytes_that_no_target_may_hold_are_refused() {
    refused(b"/sources/\xc3\xa9", PathFault::NonAscii(9));
    refused(b"/\xff", PathFault::NonAscii(1));
    refused("/sources x", PathFault::Space(8));
    refused("/sources#x", PathFault::Fragment(8));
    refused("/sources?a#b", PathFault::Fragment(10));
    refused("/sources?a b", PathFault::Space(10));
}

#[test]
fn only_origin_form_is_read() {
    for target in ["", "*", "sources", "?x", "http://host/sources", "host:80", "%2fsources", " /"] {
        refused(target, PathFault::NotOriginForm);
    }
}

#[test]
fn what_only_looks_odd_is_accepted() {
    for target in [
        "/",
        "/...",
        "/.x",
        "/x.",
        "/..x",
        "/x..",
        "/a.b",
        "/a;b",
        "/a;..",
        "/a;b/c;d=1",
        "/a%3bb",
        "/a%20b",
        "/a+b",
        "/'()*!",
        "/a:b@c",
        "/100%25",
        "/%25zz",
        "/%2525",
        "/a%2Fb",
        "/a%252Fb",
        "/https%3A%2F%2Fx.io%2Fy",
        "/\"<>^`{|}[]",
    ] {
        accepted(target);
    }
    accepted("/a?x=//&y=..%2f\\&z=[{}]%zz;%00");
    accepted(b"/a?x=\xc3\xa9\xff");
}

#[test]
fn own_pages_are_recognised_in_every_spelling() {
    for path in [
        "/tollgate",
        "/tollgate/",
        "/tollgate/v1/whoami",
        "/Tollgate/v1",
        "/TOLLGATE",
        "/%74ollgate/x",
        "/tollg%61te",
        "/t%4fllgate",
        "/tollgate;x/v1",
        "/tollgate%3bx",
    ] {
        assert!(is_own(path.as_bytes()), "{path}");
    }
    for path in [
        "",
        "/",
        "/tollgates",
        "/tollgat",
        "/x/tollgate",
        "/tracking-plans",
        "/%",
        "/%74",
        "tollgate",
        "/tollgate%2f",
    ] {
        assert!(!is_own(path.as_bytes()), "{path}");
    }
}
