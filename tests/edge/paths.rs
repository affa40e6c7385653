//! Targets that an upstream might read in another way than the gateway matched them.

use crate::table::{Edge, Then, rows};

#[test]
fn ambiguous_paths_are_refused_and_the_connection_goes_on() {
    let edge = Edge::start("");
    let paths = [
        "//sources",
        "/sources//x",
        "/sources//",
        "//",
        "/./sources",
        "/sources/.",
        "/sources/./x",
        "/../sources",
        "/sources/..",
        "/sources/../x",
        "/..",
        "/.",
        "/%2e/sources",
        "/%2E/sources",
        "/sources/%2e%2e",
        "/sources/%2E%2e/x",
        "/sources/.%2e/x",
        "/sources/%2e./x",
        "/sources\\x",
        "/sources\\..\\x",
        "/\\sources",
        "/sources%5cx",
        "/sources%5C..%5Cx",
        "/sources%00",
        "/%00",
        "/sources%0a",
        "/sources%0d%0aX:%20y",
        "/sources%09",
        "/sources%7f",
        "/sources%1f",
        "/sources%",
        "/sources%2",
        "/sources%zz",
        "/sources%2g",
        "/sources/%g0",
        "/sources%u002e",
        "/sources/%c0%ae%c0%ae",
        "/sources%c0%af",
        "/sources%e0%80%af",
        "/sources/..;/x",
        "/..;/sources",
        "/sources/.;x/y",
        "/sources/..%3b/x",
        "/sources/%2e%2e%3bx",
        "/sources/..%00",
        "/sources/%2e%2e%2f",
        "http://a/../sources",
        "http://a//sources",
        "/sources/x/..",
        "/sources/%ff",
        "/sources/%80",
        "/sources/%c3",
        "/sources/%ed%a0%80",
    ];
    let bytes = |path: &&str| edge.fill(&format!("GET {path} HTTP/1.1\r\nHost: a\r\n$T\r\n"));
    edge.refuses(&rows("path", 400, "ambiguous_path", Then::GoesOn, paths.iter().map(bytes)));
    let anonymous = |path: &&str| format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").into_bytes();
    edge.refuses(&rows(
        "path of a stranger",
        400,
        "ambiguous_path",
        Then::GoesOn,
        paths.iter().map(anonymous),
    ));
}

/// The same path in another spelling falls under the same rule, and is sent on byte for byte.
#[test]
fn what_is_matched_is_what_is_sent_on() {
    let edge = Edge::start("");
    for target in [
        "/%73ources",
        "/sources?a=../b",
        "/sources?a=//b",
        "/sources?%2e%2e",
        "/sources?a\\b",
        "/sources/%7Ex",
        "/sources?",
    ] {
        let bytes = edge.fill(&format!("GET {target} HTTP/1.1\r\nHost: a\r\n$T\r\n"));
        edge.answers(&rows("target", 200, "", Then::GoesOn, [bytes]));
        assert_eq!(edge.upstream.take()[0].lines[0], format!("GET {target} HTTP/1.1"));
    }
}
