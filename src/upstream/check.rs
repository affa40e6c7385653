//! `[upstream]` and each region's servers, checked.

use std::path::Path;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{self, PemObject};
use rustls::{ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;

use super::fields::{is_reserved, is_same_name};
use super::groups::MOST_SERVERS;
use super::rules::Rules;
use super::{FieldRules, PoolSettings, Settings, Upstream};
use crate::domain::Problems;

/// `[upstream]` without mistakes.
#[derive(Clone)]
pub struct Checked {
    /// Regions' names and upstreams by region id.
    pub regions: Vec<(Arc<str>, Vec<Upstream>)>,
    /// Bounds and deadlines.
    pub pool: PoolSettings,
    /// What happens to fields.
    pub fields: FieldRules,
    /// Which upstreams get requests.
    pub(super) rules: Rules,
}

/// One region's servers as they are written.
#[derive(Clone, Debug)]
pub struct RegionServers {
    /// The region's name.
    pub name: Arc<str>,
    /// Where they are written, for example `regions.us.upstreams`.
    pub key: String,
    /// The servers.
    pub urls: Vec<String>,
    /// Whether this gateway serves the region, and so needs one.
    pub served: bool,
}

/// Checks `[upstream]` and the servers of every region; every mistake goes to `problems`, and then there is no
/// result. File names are relative to `folder`.
pub fn from_settings(
    settings: &Settings,
    regions: &[RegionServers],
    folder: &Path,
    problems: &mut Problems,
) -> Option<Checked> {
    let before = problems.0.len();
    ranges(settings, problems);
    care(settings, problems);
    names(settings, problems);
    let needs_tls = regions.iter().flat_map(|region| &region.urls).any(|url| url.starts_with("https://"));
    let connector = if needs_tls { connector(settings, folder, problems) } else { None };
    let mut checked = Vec::new();
    for RegionServers { name, key, urls, served } in regions {
        if urls.is_empty() && *served {
            let fix = format!("add `{} = [\"http://10.0.0.1:8080\"]`", key.rsplit('.').next().unwrap_or(key));
            problems.add(key, "upstream_missing", "the region has no upstream server", fix);
        }
        let mut servers = Vec::new();
        for (at, url) in urls.iter().enumerate() {
            match Upstream::parse(url, connector.as_ref()) {
                Ok(upstream) => servers.push(upstream),
                Err(error) => problems.add(
                    format!("{key}[{at}]"),
                    "upstream_invalid",
                    format!("`{url}` is no upstream: {error}"),
                    "write `http://host:port` or `https://host:port`",
                ),
            }
        }
        if servers.len() > MOST_SERVERS {
            problems.add(
                key,
                "too_many_upstreams",
                format!("the region has {} upstreams, and {MOST_SERVERS} is the most", servers.len()),
                "put some of them behind one name or balancer",
            );
        }
        checked.push((Arc::clone(name), servers));
    }
    (problems.0.len() == before).then(|| Checked {
        regions: checked,
        pool: PoolSettings::from(settings),
        fields: FieldRules::new(settings),
        rules: Rules::from(settings),
    })
}

fn ranges(settings: &Settings, problems: &mut Problems) {
    for (key, value, most) in [
        ("connect_timeout_milliseconds", settings.connect_timeout_milliseconds, 600_000),
        ("first_byte_timeout_seconds", settings.first_byte_timeout_seconds, 86_400),
        ("idle_timeout_seconds", settings.idle_timeout_seconds, 86_400),
        ("total_timeout_seconds", settings.total_timeout_seconds, 604_800),
        ("pool_idle_timeout_seconds", settings.pool_idle_timeout_seconds, 86_400),
        ("max_connections", settings.max_connections as u64, 1_000_000),
        ("dns_refresh_seconds", settings.dns_refresh_seconds, 86_400),
    ] {
        range(key, value, 1, most, problems);
    }
}

fn range(key: &str, value: u64, least: u64, most: u64, problems: &mut Problems) {
    if !(least..=most).contains(&value) {
        problems.add(
            format!("upstream.{key}"),
            "out_of_range",
            format!("{value} is not between {least} and {most}"),
            "write a number in that range, or leave the key out",
        );
    }
}

/// Health checks, ejection, breaker, retries and places.
fn care(settings: &Settings, problems: &mut Problems) {
    let Settings { health_check: check, ejection, breaker, retries, in_flight, .. } = settings;
    for (key, value, least, most) in [
        ("health_check.interval_seconds", check.interval_seconds, 1, 86_400),
        ("health_check.timeout_milliseconds", check.timeout_milliseconds, 1, 600_000),
        ("health_check.unhealthy_after", u64::from(check.unhealthy_after), 1, 1_000),
        ("health_check.healthy_after", u64::from(check.healthy_after), 1, 1_000),
        ("ejection.after_failures", u64::from(ejection.after_failures), 0, 1_000_000),
        ("ejection.seconds", ejection.seconds, 1, 86_400),
        ("ejection.longest_seconds", ejection.longest_seconds, ejection.seconds.clamp(1, 86_400), 86_400),
        ("breaker.after_failures", u64::from(breaker.after_failures), 0, 1_000_000),
        ("breaker.seconds", breaker.seconds, 1, 86_400),
        ("breaker.longest_seconds", breaker.longest_seconds, breaker.seconds.clamp(1, 86_400), 86_400),
        ("retries.most", u64::from(retries.most), 0, 10),
        ("retries.budget_percent", u64::from(retries.budget_percent), 0, 100),
        ("retries.budget_floor_per_second", u64::from(retries.budget_floor_per_second), 0, 1_000),
        ("in_flight.most", u64::from(in_flight.most), 1, 1_000_000),
        ("in_flight.least", u64::from(in_flight.least), 1, u64::from(in_flight.most.clamp(1, 1_000_000))),
        ("in_flight.workspace_share_percent", u64::from(in_flight.workspace_share_percent), 1, 100_000),
    ] {
        range(key, value, least, most, problems);
    }
    let is_path = |path: &str| path.starts_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic());
    if !check.path.is_empty() && !is_path(&check.path) {
        problems.add(
            "upstream.health_check.path",
            "path_invalid",
            format!("`{}` is not a path", check.path.escape_debug()),
            "write a path that begins with `/`, for example `/health`, or leave it empty for no checks",
        );
    }
}

/// Identity names are tokens, and none is given twice.
fn names(settings: &Settings, problems: &mut Problems) {
    let identity = &settings.identity;
    let all = [
        ("workspace", &identity.workspace),
        ("region", &identity.region),
        ("token_id", &identity.token_id),
        ("plan", &identity.plan),
        ("role", &identity.role),
        ("scopes", &identity.scopes),
    ];
    for (at, (key, name)) in all.iter().enumerate() {
        let is_token = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
        if !is_token || name.len() > 64 {
            problems.add(
                format!("upstream.identity.{key}"),
                "field_name_invalid",
                format!("`{}` is no field name", name.escape_debug()),
                "use letters, digits and `-`, at most 64, or an empty text to leave the field out",
            );
        } else if is_reserved(name) {
            problems.add(
                format!("upstream.identity.{key}"),
                "field_name_reserved",
                format!("`{name}` has a meaning of its own in HTTP or is set by the gateway already"),
                "choose a name of your own, for example one that starts with `X-`",
            );
        } else if !name.is_empty() && all[..at].iter().any(|(_, other)| is_same_name(other, name)) {
            problems.add(
                format!("upstream.identity.{key}"),
                "field_name_taken",
                format!("`{name}` carries another part of the identity already"),
                "give each part a field of its own",
            );
        }
    }
}

fn connector(settings: &Settings, folder: &Path, problems: &mut Problems) -> Option<TlsConnector> {
    let mut roots = RootCertStore::empty();
    if settings.ca_file.is_empty() {
        for certificate in rustls_native_certs::load_native_certs().certs {
            // A root that rustls cannot use is as good as absent.
            let _ = roots.add(certificate);
        }
    } else {
        let file = folder.join(&settings.ca_file);
        match CertificateDer::pem_file_iter(&file).and_then(Iterator::collect::<Result<Vec<_>, _>>) {
            Ok(certificates) => {
                roots.add_parsable_certificates(certificates);
            }
            Err(error) => {
                // What the file holds may be a secret that was named by mistake.
                let why = match error {
                    pem::Error::Io(error) => error.to_string(),
                    _ => "it is not PEM".to_owned(),
                };
                let reason = format!("{} cannot be used: {why}", file.display());
                problems.add("upstream.ca_file", "roots_missing", reason, "name a PEM file with the roots");
                return None;
            }
        }
    }
    if roots.is_empty() {
        problems.add(
            "upstream.ca_file",
            "roots_missing",
            "there is no root certificate to check `https` upstreams against",
            "name a PEM file with the roots",
        );
        return None;
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let config = builder
        .with_safe_default_protocol_versions()
        .ok()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Some(TlsConnector::from(Arc::new(config)))
}
