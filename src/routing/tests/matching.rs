//! How paths are read, and which of two templates wins.

use super::*;

#[track_caller]
fn asked(table: &Table, method: &str, target: &str, expected: &str) {
    assert_eq!(word(table, &head(method, target)), expected, "{method} {target}");
}

fn values(table: &Table, method: &str, target: &str) -> Vec<(String, String, String)> {
    let head = head(method, target);
    let Ok(Match::Matched(matched)) = table.find(&head) else { panic!("{method} {target} did not match") };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let each = matched.params.iter(&head);
    each.map(|(name, raw)| {
        assert_eq!(matched.params.value(name, &head), Some(raw));
        (name.to_owned(), text(raw), text(&matched.params.canonical(name, &head).unwrap()))
    })
    .collect()
}

#[test]
fn escapes_of_unreserved_characters_are_undone_and_no_others() {
    let table = segment();
    for target in ["/sources", "/%73ources", "/%73%6F%75%72%63%65%73", "/source%73?x=%2F"] {
        asked(&table, "GET", target, "listSources");
    }
    asked(&table, "GET", "/audit%2devents", "listAuditEvents");
    asked(
        &table,
        "GET",
        "/spaces/s/audience%54ype/a/supported%2Ddestinations",
        "listSupportedDestinationsFromAudience",
    );
    asked(&table, "GET", "/sources%3F", "unknown_path -> forward");
    let table = table_of(vec![row("colon", "GET", "/a:b")], &Settings::default());
    asked(&table, "GET", "/a:b", "colon");
    asked(&table, "GET", "/a%3Ab", "misspelled colon -> not_found");
}

#[test]
fn a_final_slash_case_and_semicolons_make_another_path() {
    let table = segment();
    for target in ["/sources/", "/Sources", "/SOURCES/", "/sources;", "/sources;v=1"] {
        asked(&table, "GET", target, "misspelled listSources -> not_found");
    }
    asked(&table, "DELETE", "/credentials/c/", "misspelled deleteCredential -> not_found");
    asked(&table, "DELETE", "/Credentials/c", "misspelled deleteCredential -> not_found");
    asked(&table, "DELETE", "/credentials;x/c", "misspelled deleteCredential -> not_found");
    asked(&table, "POST", "/warehouses/Validation", "misspelled createValidationInWarehouse -> not_found");
    asked(&table, "PUT", "/Sources", "unknown_path -> forward");
    asked(&table, "GET", "/us/sources", "unknown_path -> forward");
    asked(&table, "GET", "/us/", "unknown_path -> forward");

    let forwarding = segment_with(|settings| settings.misspelled = UnmatchedPolicy::Forward);
    asked(&forwarding, "GET", "/sources/", "misspelled listSources -> forward");
    let refusing = segment_with(|settings| {
        settings.misspelled = UnmatchedPolicy::Forward;
        settings.unmatched = UnmatchedPolicy::Refuse;
    });
    asked(&refusing, "GET", "/sources/", "misspelled listSources -> not_found");

    let both = table_of(vec![row("with", "GET", "/a/"), row("without", "GET", "/a")], &Settings::default());
    asked(&both, "GET", "/a", "without");
    asked(&both, "GET", "/a/", "with");
}

#[test]
fn unknown_paths_and_methods_are_forwarded_or_refused() {
    let table = segment();
    for (method, target) in
        [("POST", "/spaces/s/journeys"), ("GET", "/nothing"), ("GET", "/sources/a/b/c/d/e/f/g/h")]
    {
        asked(&table, method, target, "unknown_path -> forward");
    }
    asked(&table, "PUT", "/sources", "unknown_method GET, HEAD, POST -> forward");
    asked(&table, "OPTIONS", "/sources", "unknown_method GET, HEAD, POST -> forward");
    let table = segment_with(|settings| settings.unmatched = UnmatchedPolicy::Refuse);
    asked(&table, "GET", "/nothing", "unknown_path -> not_found");
    asked(&table, "PUT", "/sources", "unknown_method GET, HEAD, POST -> method_not_allowed");
    asked(&table, "PATCH", "/group/g/users", "unknown_method PUT, DELETE -> method_not_allowed");
    for method in ["BREW", "get", "", "GET ", "CONNECT", "TRACE"] {
        asked(&table, method, "/sources", "not_implemented -> not_implemented");
    }
}

#[test]
fn head_is_served_as_get() {
    let table = segment();
    asked(&table, "HEAD", "/", "getWorkspace");
    asked(&table, "HEAD", "/sources/x", "getSource");
    asked(&table, "HEAD", "/reverse-etl-syncs", "unknown_method POST -> forward");
}

#[test]
fn fixed_segments_win_and_the_search_goes_back() {
    let rows = vec![
        row("fixed", "GET", "/a/b/c"),
        row("first", "GET", "/a/{x}/d"),
        row("both", "GET", "/{x}/{y}/e"),
        row("tail", "GET", "/a/b/{*tail}"),
        row("post", "POST", "/{x}/b/c"),
        row("any", "ANY", "/q"),
        row("delete", "DELETE", "/q"),
    ];
    let table = table_of(rows, &Settings::default());
    for (method, target, expected) in [
        ("GET", "/a/b/c", "fixed"),
        ("GET", "/a/b/d", "tail"),
        ("GET", "/a/x/d", "first"),
        ("GET", "/a/x/e", "both"),
        ("GET", "/a/b/e", "tail"),
        ("GET", "/a/b/", "tail"),
        ("GET", "/a/b", "unknown_path -> forward"),
        ("POST", "/a/b/c", "post"),
        ("PUT", "/a/b/c", "unknown_method GET, HEAD, POST -> forward"),
        ("DELETE", "/q", "delete"),
        ("OPTIONS", "/q", "any"),
        ("HEAD", "/q", "any"),
    ] {
        asked(&table, method, target, expected);
    }
    assert_eq!(values(&table, "GET", "/a/b/x/y%2Fz/")[0].1, "x/y%2Fz/");
    assert_eq!(
        values(&table, "GET", "/a/x/e"),
        [("x", "a"), ("y", "x")].map(|(n, v)| (n.into(), v.into(), v.into()))
    );
}

#[test]
fn the_lists_odd_neighbours_are_told_apart() {
    let table = segment();
    for (method, target, expected) in [
        ("GET", "/", "getWorkspace"),
        ("GET", "/echo", "echo"),
        ("POST", "/destination/filters/preview", "previewDestinationFilter"),
        ("GET", "/destination/filters/filters", "listFiltersFromDestination"),
        ("GET", "/destination/d/filters", "listFiltersFromDestination"),
        ("GET", "/destinations/d", "getDestination"),
        ("POST", "/regulations/sources/s", "createSourceRegulation"),
        ("POST", "/regulations/cloudsources/s", "createCloudSourceRegulation"),
        ("GET", "/regulations/sources", "getRegulation"),
        ("POST", "/warehouses/validation", "createValidationInWarehouse"),
        ("GET", "/warehouses/validation", "getWarehouse"),
        ("POST", "/spaces/s/audiences/previews", "createAudiencePreview"),
        ("GET", "/spaces/s/audiences/previews/p", "getAudiencePreview"),
        ("GET", "/spaces/s/audiences/previews", "getAudience"),
        ("GET", "/spaces/s/audiences/a", "getAudience"),
        ("GET", "/spaces/s/audiences/previews/activations", "getAudiencePreview"),
        ("GET", "/spaces/s/audiences/a/activations", "listActivationsFromAudience"),
        ("DELETE", "/spaces/s/audiences/previews/schedules/x", "removeAudienceScheduleFromAudience"),
        ("POST", "/spaces/s/audiences/a/destination-connections/c/activations", "addActivationToAudience"),
        ("DELETE", "/spaces/s/audiences/a/destination-connections/c", "removeDestinationFromAudience"),
        ("PUT", "/group/g/users", "replaceUsersInUserGroup"),
        ("POST", "/groups/g/users", "addUsersToUserGroup"),
        ("DELETE", "/users?userIds%5B0%5D=a", "deleteUsers"),
    ] {
        asked(&table, method, target, expected);
    }
    let names = |method, target| {
        values(&table, method, target).into_iter().map(|(n, _, v)| (n, v)).collect::<Vec<_>>()
    };
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(names("GET", "/spaces/s/audiences/a"), [pair("spaceId", "s"), pair("id", "a")]);
    assert_eq!(
        names("GET", "/spaces/s/audiences/a/activations"),
        [pair("spaceId", "s"), pair("audienceId", "a")]
    );
}

#[test]
fn escaped_slashes_stand_in_parameters_of_matched_templates() {
    let table = segment();
    let label = "/labels/en%2Fv/a%20b%252F%3F%23%26%3A%C3%A9%27()*!";
    asked(&table, "DELETE", label, "deleteLabel");
    let found = values(&table, "DELETE", label);
    assert_eq!(found[0], ("key".into(), "en%2Fv".into(), "en/v".into()));
    assert_eq!(found[1].2, "a b%2F?#&:é'()*!");
    asked(&table, "PATCH", "/sources/src%2F1%202/settings", "updateSchemaSettingsInSource");
    asked(&table, "GET", "/sources/100%25", "getSource");
    asked(&table, "GET", "/sources/a%252Fb", "getSource");
    for (method, target) in [
        ("DELETE", "/labels/a%2Fb"),
        ("DELETE", "/credentials%2Fabc"),
        ("GET", "/nothing/a%2fb"),
        ("GET", "/nothing%2541"),
        ("GET", "/%2573ources"),
        ("GET", "/sources%2F"),
        ("PUT", "/labels/a%2Fb/c"),
    ] {
        asked(&table, method, target, "escaped_slash -> ambiguous_path");
    }
    asked(&table, "GET", "/nothing/100%25", "unknown_path -> forward");
    let refusing = segment_with(|settings| settings.escaped_slash = EscapedSlash::Refuse);
    for target in ["/labels/a%2Fb/c", "/labels/a%252Fb/c", "/labels/a%2541/c"] {
        asked(&refusing, "DELETE", target, "escaped_slash -> ambiguous_path");
    }
    asked(&refusing, "DELETE", "/labels/100%25/a%20b", "deleteLabel");
}

#[test]
fn an_escaped_slash_that_makes_another_endpoint_is_ambiguous() {
    let table = segment();
    for (method, target) in [
        ("GET", "/spaces/s%2Ftraits"),
        ("GET", "/spaces/s%2ftraits%3bx"),
        ("GET", "/spaces/s%2FTraits"),
        ("GET", "/spaces/s%252Ftraits"),
        ("GET", "/spaces/s%25252Ftraits"),
        ("GET", "/spaces/s%2F%2Ftraits%2F"),
        ("GET", "/spaces/s%255Ctraits"),
        ("GET", "/sources/x%2Fsettings"),
    ] {
        asked(&table, method, target, "escaped_slash -> ambiguous_path");
    }
    asked(&table, "DELETE", "/sources/x%2Flabels", "deleteSource");
    let raw = table_of(vec![row("raw", "ANY", "/sample/raw/{*rest}")], &Settings::default());
    asked(&raw, "GET", "/sample/raw/a%2Fb%252Fc", "raw");
}

#[test]
fn parameters_have_1_to_255_characters() {
    let table = segment();
    let sources = |id: String| word(&table, &head("GET", format!("/sources/{id}")));
    for id in ["a".repeat(255), "%41".repeat(255), "%C3%A9".repeat(255), "%F0%9F%98%80".repeat(255)] {
        assert_eq!(sources(id), "getSource");
    }
    for id in ["a".repeat(256), "%41".repeat(256), "%C3%A9".repeat(256), format!("x;{}", "y".repeat(300))] {
        assert_eq!(sources(id), "misspelled getSource -> not_found");
    }
    assert_eq!(word(&table, &head("GET", format!("/{}", "%73".repeat(300)))), "unknown_path -> forward");
}

#[test]
fn all_spellings_of_a_value_have_one_canonical_form() {
    let table = segment();
    let canonical = |target: &str| values(&table, "POST", target)[0].2.clone();
    for space in ["Ab-1", "%41b-1", "%41%62%2D%31", "Ab%2d1", "Ab-1;x", "Ab-1;"] {
        assert_eq!(canonical(&format!("/spaces/{space}/audiences/previews")), "Ab-1");
    }
    assert_ne!(canonical("/spaces/ab-1/audiences/previews"), "Ab-1");
    assert_eq!(canonical("/spaces/a%3Bb/audiences/previews"), "a;b");
    let head = head("GET", "/sources/x");
    let Ok(Match::Matched(matched)) = table.find(&head) else { panic!() };
    assert_eq!(matched.params.value("spaceId", &head), None);
    assert_eq!(matched.params.canonical("spaceId", &head), None);
}
