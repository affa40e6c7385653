//! What another configuration changes, and for whom.
//!
//! Decides which differences of two checked configurations callers notice, and which take a restart; `diff`
//! shows them before, a reload logs them after. Invariants: a pure function; no difference is left out, because
//! every settings type is taken apart without `..`, so that a new key does not compile until somebody says whom
//! it matters to; a value of the environment is told as its file writes it. It refuses to know files, logs, and
//! how a configuration is put in force.

mod authentication;
mod endpoints;
mod limits;
mod sections;
#[cfg(test)]
mod tests;

use std::fmt;

use serde::Serialize;
use toml::ser::ValueSerializer;

use crate::config::{Config, Redaction};

/// What an effect is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Subject {
    /// An operation of the endpoint table.
    Endpoint,
    /// A policy of `[limits]`.
    Limit,
    /// A region.
    Region,
    /// An issuer of JWTs.
    Issuer,
    /// Any other key.
    Setting,
}

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Effect {
    /// What it is about.
    pub subject: Subject,
    /// The operation, policy, region or issuer; the dotted key of a setting.
    pub name: String,
    /// Which property of it changes; [`None`] where it is a setting, or comes or goes as a whole.
    pub property: Option<&'static str>,
    /// What was; [`None`] if it was not there. Values are written as TOML has them.
    pub before: Option<String>,
    /// What will be; [`None`] if it will not be there.
    pub after: Option<String>,
    /// Whether callers notice it, by other answers or by being counted otherwise.
    pub callers: bool,
    /// Whether it takes a restart: a running gateway keeps what it was started with.
    pub restart: bool,
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { subject, name, property, before, after, callers: _, restart } = self;
        match subject {
            Subject::Endpoint => write!(f, "endpoint {name}: ")?,
            Subject::Limit => write!(f, "limit {name}: ")?,
            Subject::Region => write!(f, "region {name}: ")?,
            Subject::Issuer => write!(f, "issuer {name}: ")?,
            Subject::Setting => write!(f, "{name}: ")?,
        }
        if let Some(property) = property {
            write!(f, "{property} ")?;
        }
        match (before, after) {
            (None, Some(after)) => write!(f, "added: {after}")?,
            (Some(before), None) => write!(f, "removed: {before}")?,
            (Some(before), Some(after)) => write!(f, "{before} → {after}")?,
            (None, None) => {}
        }
        f.write_str(if *restart { " (takes a restart)" } else { "" })
    }
}

/// Every difference between two configurations, endpoints first.
pub fn between(old: &Config, new: &Config) -> Vec<Effect> {
    let mut effects = Effects { old: &old.redaction, new: &new.redaction, found: Vec::new() };
    endpoints::compare(old, new, &mut effects);
    limits::compare(&old.written.limits, &new.written.limits, &mut effects);
    authentication::compare(&old.written.authentication, &new.written.authentication, &mut effects);
    sections::compare(&old.written, &new.written, &mut effects);
    effects.found
}

/// To whom a change matters, and when it is in force.
#[derive(Clone, Copy)]
struct Matters {
    callers: bool,
    restart: bool,
}

/// Callers notice it, from a reload on.
const CALLERS: Matters = Matters { callers: true, restart: false };
/// Callers notice it, from a restart on.
const CALLERS_LATER: Matters = Matters { callers: true, restart: true };
/// Only operators and upstreams notice it, from a reload on.
const OTHERS: Matters = Matters { callers: false, restart: false };
/// Only operators and upstreams notice it, from a restart on.
const OTHERS_LATER: Matters = Matters { callers: false, restart: true };

/// What was found so far.
struct Effects<'c> {
    old: &'c Redaction,
    new: &'c Redaction,
    found: Vec<Effect>,
}

impl Effects<'_> {
    /// Compares a setting.
    fn setting<T: Serialize>(&mut self, key: &str, old: &T, new: &T, matters: Matters) {
        self.change(Subject::Setting, key, None, (words(old), words(new)), matters);
    }

    /// Compares two values in words.
    fn change(
        &mut self,
        subject: Subject,
        name: &str,
        property: Option<&'static str>,
        (before, after): (String, String),
        matters: Matters,
    ) {
        if before != after {
            self.add(subject, name, property, (Some(before), Some(after)), matters);
        }
    }

    /// Notes something that comes.
    fn added(&mut self, subject: Subject, name: &str, after: String, matters: Matters) {
        self.add(subject, name, None, (None, Some(after)), matters);
    }

    /// Notes something that goes.
    fn removed(&mut self, subject: Subject, name: &str, before: String, matters: Matters) {
        self.add(subject, name, None, (Some(before), None), matters);
    }

    fn add(
        &mut self,
        subject: Subject,
        name: &str,
        property: Option<&'static str>,
        (before, after): (Option<String>, Option<String>),
        Matters { callers, restart }: Matters,
    ) {
        let name = self.new.apply(&self.old.apply(name));
        let before = before.map(|text| self.old.apply(&text));
        let mut after = after.map(|text| self.new.apply(&text));
        if let Some(text) = after.as_mut().filter(|after| before.as_ref() == Some(after)) {
            text.push_str(" with another value");
        }
        self.found.push(Effect { subject, name, property, before, after, callers, restart });
    }
}

/// One property of something that was there and still is.
struct Property<'e, 'c> {
    effects: &'e mut Effects<'c>,
    subject: Subject,
    name: &'e str,
}

impl Property<'_, '_> {
    fn compare<T: Serialize>(&mut self, property: &'static str, old: &T, new: &T, matters: Matters) {
        self.words(property, (words(old), words(new)), matters);
    }

    fn words(&mut self, property: &'static str, words: (String, String), matters: Matters) {
        self.effects.change(self.subject, self.name, Some(property), words, matters);
    }
}

/// A value as TOML has it; `none` for what TOML has no word for.
fn words<T: Serialize>(value: &T) -> String {
    let mut text = String::new();
    match value.serialize(ValueSerializer::new(&mut text)) {
        Ok(_) => text,
        Err(_) => "none".to_owned(),
    }
}
