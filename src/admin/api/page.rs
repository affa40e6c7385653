//! Lists in pages: one shape for all of them.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use schemars::{JsonSchema, json_schema};
use serde::Serialize;
use serde_json::json;

use super::route::QueryParameter;
use super::work::{Answer, Work};
use crate::reply::Refusal;

const COUNT: u32 = 200;
const MOST: u32 = 1_000;

/// Where a list goes on.
#[derive(Serialize, JsonSchema)]
pub(super) struct Pagination {
    /// What to send as `cursor` for the next page; null after the last.
    pub(super) next: Option<String>,
}

pub(super) const CURSOR: QueryParameter = QueryParameter {
    name: "cursor",
    about: "Where the page begins: `pagination.next` of the page before.",
    schema: |_| json_schema!({"type": "string"}),
};

pub(super) const PER_PAGE: QueryParameter = QueryParameter {
    name: "count",
    about: "How many there are in a page.",
    schema: |_| json_schema!({"type": "integer", "minimum": 1, "maximum": MOST, "default": COUNT}),
};

/// A page that was asked for.
pub(super) struct Wanted {
    /// The key that its first item comes after; empty for the first page.
    pub(super) after: String,
    pub(super) count: u32,
}

impl Wanted {
    pub(super) fn of(work: &Work) -> Result<Self, Refusal> {
        let invalid = |field: &str, message: &str| {
            Err(Refusal::InputInvalid { field: field.to_owned(), message: message.to_owned() })
        };
        let count = match work.query("count").map(str::parse) {
            None => COUNT,
            Some(Ok(count)) if (1..=MOST).contains(&count) => count,
            Some(_) => return invalid("count", "`count` is a number from 1 to 1000."),
        };
        let Some(cursor) = work.query("cursor") else { return Ok(Self { after: String::new(), count }) };
        let after = URL_SAFE_NO_PAD.decode(cursor).ok().and_then(|key| String::from_utf8(key).ok());
        match after.filter(|after| !after.is_empty()) {
            Some(after) => Ok(Self { after, count }),
            None => invalid("cursor", "`cursor` is no `pagination.next` of an earlier page."),
        }
    }

    /// How many to read: one more than is shown, which tells whether there is another page.
    pub(super) const fn to_read(&self) -> u32 {
        self.count + 1
    }

    /// The page as an answer: the items that were read, and the key of one.
    pub(super) fn answer<T>(
        &self,
        name: &'static str,
        mut read: Vec<T>,
        key: impl Fn(&T) -> String,
        show: impl Fn(&T) -> serde_json::Result<serde_json::Value>,
    ) -> Result<Answer, Refusal> {
        let goes_on = read.len() > self.count as usize;
        read.truncate(self.count as usize);
        let next = read.last().filter(|_| goes_on).map(|last| URL_SAFE_NO_PAD.encode(key(last)));
        let shown: serde_json::Result<Vec<_>> = read.iter().map(show).collect();
        let mut answer = Answer::of(200, name, &shown.map_err(|_| Refusal::Internal)?)?;
        answer.body["data"]["pagination"] = json!(Pagination { next });
        Ok(answer)
    }
}

/// Declares the `data` of a page for the description.
macro_rules! page_schema {
    ($name:ident, $list:ident: $item:ty) => {
        #[derive(schemars::JsonSchema)]
        #[expect(dead_code, reason = "only described")]
        struct $name {
            $list: Vec<$item>,
            pagination: $crate::admin::api::page::Pagination,
        }
    };
}
pub(super) use page_schema;
