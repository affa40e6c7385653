//! `[tokens]` of the configuration.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::domain::{Problems, UrlText};

use super::format::is_prefix;
use super::store::postgres::{PostgresAddress, PostgresAddressError};
use super::{Format, StoreAddress};

/// `[tokens]`: opaque tokens and the store behind them.
#[derive(Clone, Debug, serde::Deserialize, serde::Serialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// What every new token starts with: 2 to 16 of `A-Z a-z 0-9 _`, `_` at the end. Default `sgp_`.
    pub prefix: String,
    /// Where workspaces, tokens and the audit trail are: a SQLite file, made on first use, or
    /// `postgres://user:${PASSWORD}@host/database` for several gateways. A relative path starts at the configuration
    /// file. Default `tollgate.db`.
    pub store: StoreText,
    /// The file with the keys under which tokens are hashed; made on first use, keep a copy apart from the
    /// store. A relative path starts at the configuration file. Default `tollgate.pepper`.
    pub pepper_file: PathBuf,
    /// The file with the Ed25519 key (PKCS #8, PEM) with which the head of the audit trail is signed hourly, into the
    /// log; made on first use. An empty path signs nothing. A relative path starts at the configuration file. Default
    /// `""`.
    pub audit_key_file: PathBuf,
    /// The file in which the registry is saved, so that a restart need not read the whole store; an empty path
    /// saves nothing. It holds no token and no key. A relative path starts at the configuration file. Default
    /// `tollgate.snapshot`.
    pub snapshot_file: PathBuf,
    /// Seconds between two savings of the registry, 10 to 86,400; it is also saved at the end. Default 300.
    pub snapshot_seconds: u64,
    /// Milliseconds between two looks at the change log, 10 to 500: the longest time that another process's
    /// revocation goes unseen. PostgreSQL also notifies. Default 200.
    pub poll_millis: u64,
    /// How many seconds behind the store memory may be, 2 to 86,400; 0 sets no bound, so that tokens go on working
    /// however long the store is away. Default 0.
    pub max_staleness_seconds: u64,
    /// What happens beyond `max_staleness_seconds`: `not_ready` (`/readyz` answers 503, requests are served) or
    /// `refuse` (besides, every credential is answered 503 `registry_unavailable`). Default `not_ready`.
    pub beyond_max_staleness: Beyond,
    /// Seconds between two writings of the last-used times, 60 to 86,400. Default 60.
    pub last_used_seconds: u64,
    /// Working tokens that one workspace may have; imported ones are not held to it. Default 1,000.
    pub tokens_per_workspace: u32,
    /// Whether the first use of a token from a network that it was not seen from before is told to its workspace's
    /// contacts and in the audit trail. Default true.
    pub new_network_events: bool,
    /// Hours after a token's first use in which its networks are learnt and not told, 0 to 720. Default 24.
    pub network_learning_hours: u64,
    /// Scopes of a token whose creation names none. Default `["public_api:read_write"]`.
    pub scopes: Vec<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            prefix: "sgp_".to_owned(),
            store: StoreText(UrlText::new("tollgate.db".to_owned())),
            pepper_file: PathBuf::from("tollgate.pepper"),
            audit_key_file: PathBuf::new(),
            snapshot_file: PathBuf::from("tollgate.snapshot"),
            snapshot_seconds: 300,
            poll_millis: 200,
            max_staleness_seconds: 0,
            beyond_max_staleness: Beyond::NotReady,
            last_used_seconds: 60,
            tokens_per_workspace: 1_000,
            new_network_events: true,
            network_learning_hours: 24,
            scopes: vec!["public_api:read_write".to_owned()],
        }
    }
}

/// What happens to a gateway whose memory is too far behind the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Beyond {
    /// It wants no more traffic, and serves what it gets.
    NotReady,
    /// Besides, it believes no credential.
    Refuse,
}

/// How far memory may be behind the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Staleness {
    /// The bound.
    pub most: Duration,
    /// What happens beyond it.
    pub beyond: Beyond,
}

/// Checked `[tokens]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// The format of new tokens.
    pub format: Format,
    /// The store.
    pub store: StoreAddress,
    /// The pepper file.
    pub pepper_file: PathBuf,
    /// The file with the key that signs the audit trail's head, if it is signed.
    pub audit_key_file: Option<PathBuf>,
    /// The file in which the registry is saved, if it is.
    pub snapshot_file: Option<PathBuf>,
    /// Time between two savings.
    pub snapshot_every: Duration,
    /// Time between two looks at the change log.
    pub poll: Duration,
    /// How far memory may be behind the store; [`None`] for any time.
    pub max_staleness: Option<Staleness>,
    /// Time between two writings of the last-used times.
    pub last_used: Duration,
    /// Working tokens that one workspace may have.
    pub tokens_per_workspace: u32,
    /// How long a token's networks are learnt before a new one is told; [`None`] to tell of none.
    pub network_learning: Option<Duration>,
    /// Scopes of a token whose creation names none.
    pub scopes: Vec<String>,
}

impl Rules {
    /// Checks the settings and adds every mistake to `problems`. Relative paths start at `folder`, where the
    /// configuration file is.
    pub fn from_settings(settings: &Settings, folder: &Path, problems: &mut Problems) -> Option<Self> {
        let before = problems.0.len();
        if !is_prefix(&settings.prefix) {
            problems.add(
                "tokens.prefix",
                "token_prefix_invalid",
                format!("`{}` cannot start a token", settings.prefix),
                "write 2 to 16 of A-Z a-z 0-9 _ with _ at the end, for example \"sgp_\"",
            );
        }
        let store = settings.store.address(folder, problems);
        if settings.pepper_file.file_name().is_none() {
            let fix = "write the path of a file";
            problems.add("tokens.pepper_file", "path_invalid", "the path names no file", fix);
        }
        if settings.store.file() == Some(&*settings.pepper_file) {
            problems.add(
                "tokens.pepper_file",
                "pepper_in_store",
                "store and pepper are the same file",
                "name two files, best on two volumes",
            );
        }
        let snapshot_file = Some(&*settings.snapshot_file);
        for (key, file) in
            [("tokens.store", settings.store.file()), ("tokens.pepper_file", Some(&*settings.pepper_file))]
        {
            if file == snapshot_file {
                problems.add(
                    "tokens.snapshot_file",
                    "snapshot_in_store",
                    format!("it is the file of `{key}`, which saving would replace"),
                    "name a file of its own, or \"\" to save nothing",
                );
            }
        }
        check_numbers(settings, problems);
        check_scopes(settings, problems);
        let store = store.filter(|_| problems.0.len() == before)?;
        Some(Self {
            format: Format::new(&settings.prefix),
            store,
            pepper_file: folder.join(&settings.pepper_file),
            audit_key_file: settings
                .audit_key_file
                .file_name()
                .map(|_| folder.join(&settings.audit_key_file)),
            snapshot_file: settings.snapshot_file.file_name().map(|_| folder.join(&settings.snapshot_file)),
            snapshot_every: Duration::from_secs(settings.snapshot_seconds),
            poll: Duration::from_millis(settings.poll_millis),
            max_staleness: (settings.max_staleness_seconds != 0).then(|| Staleness {
                most: Duration::from_secs(settings.max_staleness_seconds),
                beyond: settings.beyond_max_staleness,
            }),
            last_used: Duration::from_secs(settings.last_used_seconds),
            tokens_per_workspace: settings.tokens_per_workspace,
            network_learning: settings
                .new_network_events
                .then(|| Duration::from_hours(settings.network_learning_hours)),
            scopes: settings.scopes.clone(),
        })
    }
}

/// `tokens.store` as written. Formatting it leaves a password out.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize, serde::Serialize, schemars::JsonSchema)]
#[serde(transparent)]
#[schemars(transparent)]
pub struct StoreText(UrlText);

impl StoreText {
    /// The file, unless a database is meant.
    pub fn file(&self) -> Option<&Path> {
        let text = self.0.expose();
        (!PostgresAddress::is_meant(text)).then(|| Path::new(text))
    }

    /// The text.
    pub const fn url(&self) -> &UrlText {
        &self.0
    }

    fn address(&self, folder: &Path, problems: &mut Problems) -> Option<StoreAddress> {
        if let Some(file) = self.file() {
            if file.file_name().is_none() {
                let fix = "write the path of a file, or postgres://user:${PASSWORD}@host/database";
                problems.add("tokens.store", "path_invalid", "the path names no file", fix);
                return None;
            }
            return Some(StoreAddress::File(folder.join(file)));
        }
        match PostgresAddress::parse(self.0.expose(), folder) {
            Ok(address) => Some(StoreAddress::Postgres(Box::new(address))),
            Err(error) => {
                let fix = match error {
                    PostgresAddressError::SslMode => {
                        "write sslmode=verify-full, or sslmode=disable where the network is trusted"
                    }
                    PostgresAddressError::Malformed
                    | PostgresAddressError::NoHost
                    | PostgresAddressError::NoDatabase => {
                        "write postgres://user:${PASSWORD}@host:5432/database, with %40 for an @ in the password; \
                         config/docs/postgresql.md lists the parameters"
                    }
                };
                problems.add("tokens.store", "store_address_invalid", error.to_string(), fix);
                None
            }
        }
    }
}

fn check_numbers(settings: &Settings, problems: &mut Problems) {
    number_within(problems, "tokens.snapshot_seconds", settings.snapshot_seconds, 10, 86_400);
    number_within(problems, "tokens.poll_millis", settings.poll_millis, 10, 500);
    if settings.max_staleness_seconds != 0 {
        // Two looks at the log, and some patience.
        number_within(problems, "tokens.max_staleness_seconds", settings.max_staleness_seconds, 2, 86_400);
    }
    number_within(problems, "tokens.last_used_seconds", settings.last_used_seconds, 60, 86_400);
    let cap = u64::from(settings.tokens_per_workspace);
    number_within(problems, "tokens.tokens_per_workspace", cap, 1, 1_000_000);
    number_within(problems, "tokens.network_learning_hours", settings.network_learning_hours, 0, 720);
}

fn check_scopes(settings: &Settings, problems: &mut Problems) {
    for (index, scope) in settings.scopes.iter().enumerate() {
        if !super::mint::is_scope(scope) {
            problems.add(
                format!("tokens.scopes[{index}]"),
                "scope_invalid",
                format!("`{scope}` is no scope"),
                "write 1 to 128 visible ASCII characters without quotes and backslashes",
            );
        }
    }
}

fn number_within(problems: &mut Problems, key: &str, value: u64, least: u64, most: u64) {
    if !(least..=most).contains(&value) {
        problems.add(
            key,
            "out_of_range",
            format!("{value} is out of range"),
            format!("write a number from {least} to {most}"),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(text: &str) -> (Option<Rules>, Vec<String>) {
        let mut problems = Problems::new();
        let settings: Settings = toml::from_str(text).unwrap();
        let rules = Rules::from_settings(&settings, Path::new("/etc/tollgate"), &mut problems);
        (rules, problems.0.into_iter().map(|problem| problem.key).collect())
    }

    #[test]
    fn tells_every_mistake_at_once() {
        let (rules, keys) = checked(
            "prefix = \"sgp\"\nstore = \"/\"\npepper_file = \"/\"\nsnapshot_file = \"/\"\nsnapshot_seconds = 1\npoll_millis = 5000\nmax_staleness_seconds = 1\nlast_used_seconds = 1\n\
             tokens_per_workspace = 0\nnetwork_learning_hours = 1000\nscopes = [\"ok\", \"not ok\"]",
        );
        assert!(rules.is_none());
        assert_eq!(
            keys,
            [
                "tokens.prefix",
                "tokens.store",
                "tokens.pepper_file",
                "tokens.pepper_file",
                "tokens.snapshot_file",
                "tokens.snapshot_file",
                "tokens.snapshot_seconds",
                "tokens.poll_millis",
                "tokens.max_staleness_seconds",
                "tokens.last_used_seconds",
                "tokens.tokens_per_workspace",
                "tokens.network_learning_hours",
                "tokens.scopes[1]",
            ]
        );
    }

    #[test]
    fn refuses_keys_that_it_does_not_know() {
        assert!(toml::from_str::<Settings>("prefixes = \"sgp_\"").is_err());
    }

    #[test]
    fn relative_paths_start_at_the_configuration() {
        let (rules, keys) = checked("pepper_file = \"/run/secrets/pepper\"");
        let rules = rules.unwrap();
        assert!(keys.is_empty());
        assert_eq!(rules.store, StoreAddress::File("/etc/tollgate/tollgate.db".into()));
        assert_eq!(rules.pepper_file, Path::new("/run/secrets/pepper"));
    }
}
