//! What serde says of a value, in the words of TOML.

/// Code, reason and fix of what serde says of a value.
pub(super) fn of_type(error: &toml::de::Error) -> (&'static str, String, String) {
    let message = error.message().trim();
    let (reason, expected) = message.split_once(", expected ").unwrap_or((message, ""));
    let quoted = reason.split('`').nth(1).unwrap_or_default();
    let choices = || expected.split('`').skip(1).step_by(2);
    if reason.starts_with("unknown field") {
        ("key_unknown", format!("there is no key `{quoted}` here"), suggestion(quoted, choices()))
    } else if reason.starts_with("unknown variant") {
        ("value_unknown", format!("`{quoted}` is not a choice here"), suggestion(quoted, choices()))
    } else if reason.starts_with("missing field") {
        ("key_missing", format!("the key `{quoted}` is missing"), format!("add `{quoted}`"))
    } else {
        ("value_invalid", told(reason), wanted(expected))
    }
}

/// serde's reason in the words of TOML.
fn told(reason: &str) -> String {
    let found = reason.strip_prefix("invalid type: ").or_else(|| reason.strip_prefix("invalid value: "));
    match found {
        Some("map") => "a table does not belong here".to_owned(),
        Some("sequence") => "a list does not belong here".to_owned(),
        Some(found) => format!("{found} does not belong here"),
        None => reason.to_owned(),
    }
}

/// What serde expected, in the words of TOML.
fn wanted(expected: &str) -> String {
    let number = |most: u64| format!("write a whole number from 0 to {most}, without quotes");
    match expected {
        "" => "see config/README.md for what this key takes".to_owned(),
        "u8" => number(u8::MAX.into()),
        "u16" => number(u16::MAX.into()),
        "u32" => number(u32::MAX.into()),
        "u64" | "usize" => "write a whole number of at least 0, without quotes".to_owned(),
        "a sequence" => "write a list: [\"…\"]; a list of tables is written as [[name]] for each".to_owned(),
        "a string" | "path string" => "write a text in quotes".to_owned(),
        "a boolean" => "write true or false, without quotes".to_owned(),
        "a character" => "write one character in quotes".to_owned(),
        "a map" => "write a table".to_owned(),
        other if other.starts_with("struct ") => "write a table: [name] or { key = value }".to_owned(),
        other => format!("write {other}"),
    }
}

/// "did you mean", or the whole choice.
pub(super) fn suggestion<'a>(wrong: &str, choices: impl Iterator<Item = &'a str>) -> String {
    let choices: Vec<&str> = choices.collect();
    match nearest(wrong, choices.iter().copied()) {
        Some(choice) => format!("did you mean `{choice}`?"),
        None if choices.is_empty() => "remove it".to_owned(),
        None => format!("use one of {}", choices.join(", ")),
    }
}

/// The choice that a wrong word is most like, if it is like any.
pub(super) fn nearest<'a>(wrong: &str, choices: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    choices
        .map(|choice| (strsim::damerau_levenshtein(wrong, choice), choice))
        .filter(|(distance, choice)| *distance <= choice.len().max(3) / 3)
        .min()
        .map(|(_, choice)| choice)
}
