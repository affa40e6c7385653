//! `[secret_scanning]`: alerts of leaked tokens from GitHub.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::keys::Pace;
use super::source::KeySource;
use crate::domain::{Problems, RegionId};
use crate::fetch::Url;
use crate::place::{Places, key_part};

/// `[secret_scanning]`: alerts of leaked tokens from GitHub, off without `path`.
#[derive(Clone, Debug, Deserialize, Serialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// The path that GitHub posts alerts to, on every public listener; never forwarded. Default: none, alerts are not
    /// taken.
    pub path: Option<String>,
    /// Where GitHub's public keys are. Default: `https://api.github.com/meta/public_keys/secret_scanning`.
    pub keys_url: Option<String>,
    /// A file with the same document, in place of `keys_url`; read again when it changes. Default: none.
    pub keys_file: Option<PathBuf>,
    /// Certificates in PEM that `keys_url` and other regions' gateways are checked against. Default: the system's.
    pub ca_file: Option<PathBuf>,
    /// Time between two loads of the keys, in seconds. Default: 3,600.
    pub refresh_seconds: u32,
    /// Time between two loads that unknown key ids cause, in seconds. Default: 120.
    pub unknown_key_seconds: u32,
    /// How GitHub is told which token a label is for: `hash` (SHA-256), `raw`, or `none` for no labels. Default:
    /// `hash`.
    pub feedback: FeedbackToken,
    /// The most tokens of one alert. Default: 10,000.
    pub max_tokens: u32,
    /// The longest alert, in bytes. Default: 8,388,608.
    pub max_body_bytes: u64,
    /// Where other regions' gateways take alerts, by region; for a gateway that serves one region alone. Default: the
    /// region's `base_url` and `path`.
    pub relay: BTreeMap<String, String>,
    /// A folder for alerts that wait for another region or for the token store, encrypted; made when it is needed.
    /// Default: `secret-scanning-queue`.
    pub queue_folder: PathBuf,
}

/// How a token is named to GitHub.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum FeedbackToken {
    /// By SHA-256 of it.
    #[default]
    Hash,
    /// As it is.
    Raw,
    /// Not at all.
    None,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            path: None,
            keys_url: None,
            keys_file: None,
            ca_file: None,
            refresh_seconds: 3_600,
            unknown_key_seconds: 120,
            feedback: FeedbackToken::Hash,
            max_tokens: 10_000,
            max_body_bytes: 8 * 1024 * 1024,
            relay: BTreeMap::new(),
            queue_folder: "secret-scanning-queue".into(),
        }
    }
}

const GITHUB: &str = "https://api.github.com/meta/public_keys/secret_scanning";

/// `[secret_scanning]` without mistakes.
#[derive(Clone, Debug)]
pub struct Checked {
    pub(super) path: Box<str>,
    pub(super) keys: KeySource,
    pub(super) pace: Pace,
    pub(super) feedback: FeedbackToken,
    pub(super) max_tokens: usize,
    pub(super) max_body_bytes: usize,
    pub(super) relay: Arc<RelayRules>,
}

impl Checked {
    /// The path that alerts come to.
    pub const fn path(&self) -> &str {
        &self.path
    }
}

/// Where other regions' gateways are.
#[derive(Clone, Debug, Default)]
pub(super) struct RelayRules {
    pub(super) targets: BTreeMap<RegionId, Url>,
    pub(super) ca_file: Option<PathBuf>,
    pub(super) queue_folder: PathBuf,
    /// Under which region an alert waits for our own store.
    pub(super) own: Option<RegionId>,
}

/// Checks `[secret_scanning]`; every mistake goes to `problems`. [`None`] where alerts are not taken or there is a
/// mistake. File names are relative to `folder`.
pub fn from_settings(
    settings: &Settings,
    places: Option<&Places>,
    folder: &Path,
    problems: &mut Problems,
) -> Option<Checked> {
    let before = problems.0.len();
    let path = settings.path.as_deref()?;
    check_path(path, problems);
    for (key, value, least, most) in [
        ("refresh_seconds", u64::from(settings.refresh_seconds), 60, 86_400),
        ("unknown_key_seconds", u64::from(settings.unknown_key_seconds), 1, 3_600),
        ("max_tokens", u64::from(settings.max_tokens), 1, 100_000),
        ("max_body_bytes", settings.max_body_bytes, 1_024, 32 * 1024 * 1024),
    ] {
        if !(least..=most).contains(&value) {
            problems.add(
                format!("secret_scanning.{key}"),
                "out_of_range",
                format!("{value} is not between {least} and {most}"),
                "write a number in that range, or leave the key out",
            );
        }
    }
    let ca_file = settings.ca_file.as_ref().map(|file| readable("ca_file", &folder.join(file), problems));
    let keys = keys(settings, ca_file.clone(), folder, problems);
    let targets = targets(settings, path, places, problems);
    let keys = keys.filter(|_| problems.0.len() == before)?;
    let queue_folder = folder.join(&settings.queue_folder);
    Some(Checked {
        path: path.into(),
        keys,
        pace: Pace {
            refresh: Duration::from_secs(settings.refresh_seconds.into()),
            cool_down: Duration::from_secs(settings.unknown_key_seconds.into()),
        },
        feedback: settings.feedback,
        max_tokens: settings.max_tokens as usize,
        max_body_bytes: settings.max_body_bytes as usize,
        relay: Arc::new(RelayRules { targets, ca_file, queue_folder, own: places.map(Places::own) }),
    })
}

fn check_path(path: &str, problems: &mut Problems) {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte);
    let segments = path.split('/').skip(1);
    let is_clear = segments.clone().all(|segment| !matches!(segment, "" | "." | ".."));
    if !path.starts_with('/') || !path.bytes().all(is_plain) || !is_clear || path.len() > 256 {
        problems.add(
            "secret_scanning.path",
            "path_invalid",
            format!("`{path}` is not a plain path"),
            "write for example `/tollgate/v1/github/secret-scanning`: letters, digits and `-._~` between single slashes",
        );
    }
}

fn keys(
    settings: &Settings,
    ca_file: Option<PathBuf>,
    folder: &Path,
    problems: &mut Problems,
) -> Option<KeySource> {
    match (&settings.keys_url, &settings.keys_file) {
        (Some(_), Some(_)) => {
            problems.add(
                "secret_scanning.keys_file",
                "keys_twice",
                "keys_url and keys_file cannot both say where GitHub's keys are",
                "keep one of the two",
            );
            None
        }
        (None, Some(file)) => Some(KeySource::File(readable("keys_file", &folder.join(file), problems))),
        (url, None) => {
            let text = url.as_deref().unwrap_or(GITHUB);
            match Url::parse(text) {
                Ok(url) => Some(KeySource::Url { url, ca_file }),
                Err(reason) => {
                    problems.add(
                        "secret_scanning.keys_url",
                        "keys_url_invalid",
                        format!("`{text}` cannot be used: {reason}"),
                        format!("write an https URL, or leave the key out for {GITHUB}"),
                    );
                    None
                }
            }
        }
    }
}

/// The gateways of the regions that are not served here.
fn targets(
    settings: &Settings,
    path: &str,
    places: Option<&Places>,
    problems: &mut Problems,
) -> BTreeMap<RegionId, Url> {
    let Some(places) = places else { return BTreeMap::new() };
    let regions = places.regions();
    for name in settings.relay.keys() {
        let known = regions.by_name(name);
        if known.is_some_and(|region| places.serves(region).is_err()) {
            continue;
        }
        let (code, reason) = match known {
            Some(_) => ("relay_unused", format!("this gateway serves `{name}` itself")),
            None => ("region_unknown", format!("there is no region `{name}`")),
        };
        let foreign = regions.iter().filter(|(id, _)| places.serves(*id).is_err());
        let foreign: Vec<&str> = foreign.map(|(_, region)| &*region.name).collect();
        let fix = if foreign.is_empty() {
            "remove it: alerts are relayed to regions that this gateway does not serve, and it serves all"
                .to_owned()
        } else {
            format!("name one of {}, or remove it", foreign.join(", "))
        };
        problems.add(format!("secret_scanning.relay.{}", key_part(name)), code, reason, fix);
    }
    let mut targets = BTreeMap::new();
    for (id, region) in regions.iter().filter(|(id, _)| places.serves(*id).is_err()) {
        let written = settings.relay.get(&*region.name);
        let text = written.cloned().unwrap_or_else(|| format!("{}{path}", region.base_url));
        match Url::parse(&text) {
            Ok(url) => drop(targets.insert(id, url)),
            Err(reason) => problems.add(
                format!("secret_scanning.relay.{}", key_part(&region.name)),
                "relay_url_invalid",
                format!("alerts for `{}` cannot be relayed to `{text}`: {reason}", region.name),
                "write the https URL at which that region's gateway takes alerts",
            ),
        }
    }
    targets
}

/// A file that must be there.
fn readable(key: &str, path: &Path, problems: &mut Problems) -> PathBuf {
    if let Err(error) = std::fs::File::open(path) {
        problems.add(
            format!("secret_scanning.{key}"),
            "file_unreadable",
            format!("{} cannot be read: {error}", path.display()),
            "name a file that this user can read; a relative path starts at the configuration file",
        );
    }
    path.to_owned()
}
