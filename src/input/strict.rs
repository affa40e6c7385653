//! Reading the bodies of our own resources.

use serde::de::DeserializeOwned;

use super::Violation;

/// Reads a body as one JSON object with all members of its type that must be there, no other and no double ones.
pub fn read_object<T: DeserializeOwned>(body: &[u8]) -> Result<T, Violation> {
    if body.trim_ascii_start().first() != Some(&b'{') {
        let message = "The body is no JSON object. Send `{…}` with the fields of the description.".to_owned();
        return Err(Violation { field: String::new(), message });
    }
    let mut json = serde_json::Deserializer::from_slice(body);
    let read: Result<T, _> = serde_path_to_error::deserialize(&mut json);
    let read = read.map_err(|error| {
        let path = error.path().to_string();
        let why = error.into_inner();
        let field =
            if matches!(&*path, "." | "?") { named(&why.to_string()).unwrap_or_default() } else { path };
        Violation { field, message: format!("The body cannot be taken: {why}.") }
    })?;
    let whole = json.end();
    whole.map_err(|why| Violation {
        field: String::new(),
        message: format!("The body cannot be taken: {why}."),
    })?;
    Ok(read)
}

/// The field that serde's message names: "unknown field `x`, …", "missing field `x`".
fn named(message: &str) -> Option<String> {
    let named = message.contains("field `").then(|| message.split('`').nth(1))??;
    Some(named.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Body {
        name: String,
        #[serde(default)]
        words: Vec<String>,
    }

    #[test]
    fn refuses_what_is_not_the_object_and_names_the_field() {
        for (text, field) in [
            ("", ""),
            ("null", ""),
            ("[\"a\", []]", ""),
            ("{", ""),
            ("{\"name\":\"a\"} {}", ""),
            ("{}", "name"),
            ("{\"name\":\"a\",\"colour\":1}", "colour"),
            ("{\"name\":\"a\",\"name\":\"b\"}", "name"),
            ("{\"name\":1}", "name"),
            ("{\"name\":\"a\",\"words\":[\"b\",2]}", "words[1]"),
        ] {
            assert_eq!(read_object::<Body>(text.as_bytes()).unwrap_err().field, field, "{text}");
        }
        let read: Body = read_object(b" {\"name\":\"a\"}\n").unwrap();
        assert_eq!(read, Body { name: "a".to_owned(), words: vec![] });
    }
}
