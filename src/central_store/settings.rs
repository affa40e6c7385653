//! `[redis]` of the configuration.

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::address::{StoreAddress, StoreAddressError};
use crate::domain::{Problems, UrlText};

const LONGEST_PREFIX: usize = 32;
/// Replicas that share one store at most; what says that there are more is not believed.
pub(super) const MOST_REPLICAS: u32 = 1_024;

/// `[redis]`: the Redis or Valkey server in which several gateways share limits. Without one, each gateway keeps
/// limits of its own.
#[derive(Clone, Debug, serde::Deserialize, serde::Serialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// The server where there are no `[regions]`: `redis://user:${PASSWORD}@host:6379/0`, or `rediss://` for TLS. With
    /// `[regions]`, each has a `redis` of its own. Default: none.
    pub address: UrlText,
    /// Whether `redis://` may name another machine: what is sent there, the password too, can be read on the way.
    /// Default: false.
    pub plain_text: bool,
    /// The certificates that a `rediss://` server's is checked against; a relative path starts at the configuration
    /// file. Default: the system's.
    pub ca_file: Option<PathBuf>,
    /// What every key begins with, 1 to 32 of `A-Z a-z 0-9 _ - .`: gateways that share limits have the same, others on
    /// the same server another. Default: `tollgate`.
    pub prefix: String,
    /// Milliseconds that the server's answer is waited for before the call has failed, 5 to 1,000. Default: 50.
    pub timeout_milliseconds: u64,
    /// Milliseconds that a request waits for the server's answer beyond what answers took lately at the longest, 5 to 1,000.
    /// Then this gateway's share decides, and what it admits is charged by the answer; `on_store_failure = "closed"` waits
    /// for the whole time-out. More of it waits for a server that stalls, so that the limit stays exact. Default: 5.
    pub patience_milliseconds: u64,
    /// Milliseconds that a connection may take to be made, 10 to 10,000. Default: 250.
    pub connect_timeout_milliseconds: u64,
    /// Calls that may be waiting for an answer, 1 to 65,536; further ones fail at once. Default: 1,024.
    pub max_calls: u32,
    /// Gateways that share limits at the least, 1 to 1,024: while the server is away, each keeps one share of so many,
    /// or of as many as there were, if those are more. Default: 1.
    pub min_replicas: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            address: UrlText::default(),
            plain_text: false,
            ca_file: None,
            prefix: "tollgate".to_owned(),
            timeout_milliseconds: 50,
            patience_milliseconds: 5,
            connect_timeout_milliseconds: 250,
            max_calls: 1_024,
            min_replicas: 1,
        }
    }
}

/// The server of one region as its section names it.
#[derive(Clone, Debug)]
pub struct RegionServer {
    /// The region.
    pub region: String,
    /// The key that names the server.
    pub key: String,
    /// The server; empty if the region has none.
    pub address: UrlText,
    /// Whether this gateway serves the region; the server of another is checked and not used.
    pub is_served: bool,
}

/// The checked server of one region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// The region's name.
    pub region: Arc<str>,
    /// Where it is.
    pub address: StoreAddress,
    /// Certificates that the server's is checked against in place of the system's.
    pub ca_file: Option<PathBuf>,
    /// What every key begins with.
    pub prefix: Arc<str>,
    /// How long an answer is waited for.
    pub timeout: Duration,
    /// How long a request waits for one beyond what others took.
    pub patience: Duration,
    /// How long a connection may take.
    pub connect_timeout: Duration,
    /// Calls that may be waiting.
    pub max_calls: usize,
    /// Replicas at the least.
    pub min_replicas: NonZeroU32,
}

/// Checks the settings and adds every mistake to `problems`. The servers are those of the regions that are served and
/// have one, in their order; a relative path starts at `folder`.
pub fn from_settings(
    settings: &Settings,
    regions: &[RegionServer],
    folder: &Path,
    problems: &mut Problems,
) -> Option<Vec<Server>> {
    let before = problems.0.len();
    let prefix = &settings.prefix;
    let in_prefix = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    if prefix.is_empty() || prefix.len() > LONGEST_PREFIX || !prefix.bytes().all(in_prefix) {
        problems.add(
            "redis.prefix",
            "redis_prefix_invalid",
            format!("`{prefix}` cannot begin a key"),
            "write 1 to 32 of A-Z a-z 0-9 _ - ., for example \"tollgate\"",
        );
    }
    for (key, value, least, most) in [
        ("timeout_milliseconds", settings.timeout_milliseconds, 5, 1_000),
        ("patience_milliseconds", settings.patience_milliseconds, 5, 1_000),
        ("connect_timeout_milliseconds", settings.connect_timeout_milliseconds, 10, 10_000),
        ("max_calls", u64::from(settings.max_calls), 1, 65_536),
        ("min_replicas", u64::from(settings.min_replicas), 1, u64::from(MOST_REPLICAS)),
    ] {
        if !(least..=most).contains(&value) {
            problems.add(
                format!("redis.{key}"),
                "out_of_range",
                format!("{value} is out of range"),
                format!("write a number from {least} to {most}"),
            );
        }
    }
    let named = regions.iter().filter(|region| !region.address.expose().is_empty());
    let servers: Vec<(bool, Option<Server>)> =
        named.map(|region| (region.is_served, server(settings, region, folder, problems))).collect();
    let served = || servers.into_iter().filter(|(is_served, _)| *is_served).filter_map(|(_, server)| server);
    (problems.0.len() == before).then(|| served().collect())
}

fn server(
    settings: &Settings,
    region: &RegionServer,
    folder: &Path,
    problems: &mut Problems,
) -> Option<Server> {
    let address = match StoreAddress::parse(region.address.expose()) {
        Ok(address) => address,
        Err(error) => {
            let fix = match error {
                StoreAddressError::Malformed | StoreAddressError::NoHost => {
                    "write redis://user:${PASSWORD}@host:6379/0 or rediss://…, with %40 for an @ in the password"
                }
                StoreAddressError::NotADatabase => {
                    "write the number of the database behind the host, for example /0"
                }
            };
            problems.add(&region.key, "redis_address_invalid", error.to_string(), fix);
            return None;
        }
    };
    if !settings.plain_text && !address.is_private() {
        problems.add(
            &region.key,
            "redis_plain_text",
            "what is sent to another machine in plain text, the password too, can be read on the way",
            "write rediss:// for TLS, or say `plain_text = true` in `[redis]` where the network is trusted",
        );
        return None;
    }
    Some(Server {
        region: region.region.as_str().into(),
        address,
        ca_file: settings.ca_file.as_ref().map(|file| folder.join(file)),
        prefix: settings.prefix.as_str().into(),
        timeout: Duration::from_millis(settings.timeout_milliseconds),
        patience: Duration::from_millis(settings.patience_milliseconds),
        connect_timeout: Duration::from_millis(settings.connect_timeout_milliseconds),
        max_calls: settings.max_calls as usize,
        min_replicas: NonZeroU32::new(settings.min_replicas.min(MOST_REPLICAS)).unwrap_or(NonZeroU32::MIN),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(text: &str, address: &str) -> Result<Vec<Server>, Vec<(String, &'static str)>> {
        let settings: Settings = toml::from_str(text).unwrap();
        let address = UrlText::new(address.to_owned());
        let (name, key) = ("us".to_owned(), "regions.us.redis".to_owned());
        let region = RegionServer { region: name, key, address, is_served: true };
        let mut problems = Problems::new();
        from_settings(&settings, &[region], Path::new("/etc/tollgate"), &mut problems)
            .ok_or_else(|| problems.0.into_iter().map(|problem| (problem.key, problem.code)).collect())
    }

    #[test]
    fn every_mistake_is_told_at_once() {
        let text = "prefix = \"a{b}\"\ntimeout_milliseconds = 4\npatience_milliseconds = 4\nconnect_timeout_milliseconds = 1\nmax_calls = 0\n\
                    min_replicas = 0";
        let told = checked(text, "redis://h/x").unwrap_err();
        let told: Vec<_> = told.iter().map(|(key, code)| format!("{key} {code}")).collect();
        assert_eq!(
            told,
            [
                "redis.prefix redis_prefix_invalid",
                "redis.timeout_milliseconds out_of_range",
                "redis.patience_milliseconds out_of_range",
                "redis.connect_timeout_milliseconds out_of_range",
                "redis.max_calls out_of_range",
                "redis.min_replicas out_of_range",
                "regions.us.redis redis_address_invalid",
            ]
        );
        assert!(toml::from_str::<Settings>("addresses = 1").is_err());
    }

    #[test]
    fn another_machine_is_spoken_to_over_tls_unless_it_is_said() {
        let plain = "redis://10.0.0.1";
        assert_eq!(checked("", plain).unwrap_err(), [("regions.us.redis".to_owned(), "redis_plain_text")]);
        assert_eq!(checked("plain_text = true", plain).unwrap().len(), 1);
        let tls = checked("ca_file = \"ca.pem\"", "rediss://redis.example.com").unwrap();
        assert_eq!(tls[0].ca_file.as_deref(), Some(Path::new("/etc/tollgate/ca.pem")));
        assert!(checked("", "").unwrap().is_empty(), "a region may have none");
    }
}
