//! The parameters of a query, read strictly, and pages of lists.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::reply::Refusal;

/// How many there are in a page if nobody says, and at most.
const COUNT: u32 = 200;
const MOST: u32 = 1_000;

/// Undoes percent-encoding; [`None`] if it is broken or no UTF-8.
pub(crate) fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || char::from(rest.next()?).to_digit(16);
        let (high, low) = (digit()?, digit()?);
        bytes.push((high * 16 + low) as u8);
    }
    String::from_utf8(bytes).ok()
}

/// The values of these parameters, in their order; any other is refused by its name.
pub(super) fn parameters<const N: usize>(
    query: &[u8],
    names: [&str; N],
) -> Result<[Option<String>; N], Refusal> {
    let mut values = [const { None }; N];
    let query = String::from_utf8_lossy(query);
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let place = names.iter().position(|known| decoded(name).as_deref() == Some(*known));
        let place = place.ok_or_else(|| refused(name, "is not known here; leave it out"))?;
        let value = decoded(value).ok_or_else(|| refused(names[place], "is not percent-encoded UTF-8"))?;
        if values[place].replace(value).is_some() {
            return Err(refused(names[place], "is there twice; name it once"));
        }
    }
    Ok(values)
}

/// How many a page has, and the key that its first comes after; empty for the first page.
pub(super) fn page(count: Option<&str>, cursor: Option<&str>) -> Result<(u32, String), Refusal> {
    let count = match count.map(str::parse) {
        None => COUNT,
        Some(Ok(count)) if (1..=MOST).contains(&count) => count,
        Some(_) => return Err(refused("count", "is a number from 1 to 1000")),
    };
    let Some(cursor) = cursor else { return Ok((count, String::new())) };
    let key = URL_SAFE_NO_PAD.decode(cursor).ok().and_then(|key| String::from_utf8(key).ok());
    let key = key.filter(|key| !key.is_empty());
    let key = key.ok_or_else(|| refused("cursor", "is no `pagination.next` of an earlier page"))?;
    Ok((count, key))
}

/// The cursor of the page after a key.
pub(super) fn cursor(key: &str) -> String {
    URL_SAFE_NO_PAD.encode(key)
}

pub(super) fn refused(name: &str, why: &str) -> Refusal {
    Refusal::InputInvalid { field: name.to_owned(), message: format!("The parameter `{name}` {why}.") }
}
