//! Every mistake that `[authentication]` can hold.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::{Checked, CheckedIssuer, ClaimSettings, IssuerSettings, Settings};
use crate::authentication::issuer::{ClaimNames, Rules, Typ};
use crate::authentication::jwks::{Pace, SavedSet, Source};
use crate::authentication::jwt::Algorithm;
use crate::domain::{Plan, Problems, RegionId, Regions};
use crate::fetch;

/// The most verified tokens that may be remembered.
const MAX_VERIFIED_TOKENS: usize = 10_000_000;

/// Checks settings and reports every mistake under `authentication`.
///
/// `fenced_to` is the region of a gateway that serves only one ([`None`] where it serves all). Relative paths start
/// at `folder`, where the configuration file is.
pub fn from_settings(
    settings: &Settings,
    regions: &Regions,
    fenced_to: Option<RegionId>,
    folder: &Path,
    problems: &mut Problems,
) -> Option<Checked> {
    let found_before = problems.0.len();
    if settings.verified_tokens > MAX_VERIFIED_TOKENS {
        problems.add(
            "authentication.verified_tokens",
            "verified_tokens_too_many",
            format!("{} tokens of 1 KiB do not fit in memory", settings.verified_tokens),
            format!("write at most {MAX_VERIFIED_TOKENS}; 100000 is plenty for most"),
        );
    }
    let keys_folder = settings.keys_folder.as_ref().map(|path| folder.join(path));
    if let Some(keys_folder) = &keys_folder {
        check_keys_folder(keys_folder, problems);
    }
    let mut issuers = Vec::new();
    for (place, issuer) in settings.issuers.iter().enumerate() {
        let mut check = Check { prefix: format!("authentication.issuers[{place}]"), folder, problems };
        if !issuer.issuer.is_empty()
            && settings.issuers[..place].iter().any(|earlier| earlier.issuer == issuer.issuer)
        {
            check.problem("issuer", "issuer_twice", "the issuer is configured twice", "keep one of the two");
        }
        issuers.push(check.issuer(issuer, regions, fenced_to, keys_folder.as_deref()));
    }
    let issuers = issuers.into_iter().collect::<Option<Vec<_>>>()?;
    (problems.0.len() == found_before)
        .then_some(Checked { verified_tokens: settings.verified_tokens, issuers })
}

struct Check<'p> {
    prefix: String,
    folder: &'p Path,
    problems: &'p mut Problems,
}

impl Check<'_> {
    fn problem(&mut self, key: &str, code: &'static str, reason: impl Into<String>, fix: impl Into<String>) {
        self.problems.add(format!("{}.{key}", self.prefix), code, reason, fix);
    }

    fn issuer(
        &mut self,
        settings: &IssuerSettings,
        regions: &Regions,
        fenced_to: Option<RegionId>,
        keys_folder: Option<&Path>,
    ) -> Option<CheckedIssuer> {
        let found_before = self.problems.0.len();
        self.names(settings);
        let algorithms = self.algorithms(&settings.algorithms);
        let typ = self.typ(&settings.typ);
        let regions = self.regions(&settings.regions, regions);
        let plans = self.plans(&settings.plans);
        let source = self.source(settings);
        self.claims(&settings.claims);
        let pace = self.pace(settings);
        if self.problems.0.len() > found_before {
            return None;
        }
        let rules = Rules {
            issuer: settings.issuer.as_str().into(),
            audiences: settings.audiences.clone(),
            algorithms,
            typ,
            leeway_seconds: settings.leeway_seconds.into(),
            max_lifetime_seconds: settings.max_lifetime_seconds.into(),
            claims: ClaimNames {
                workspace: settings.claims.workspace.clone(),
                region: settings.claims.region.clone(),
                role: settings.claims.role.clone(),
                scopes: settings.claims.scopes.clone(),
                client: settings.claims.client.clone(),
                plan: settings.claims.plan.clone(),
            },
            regions,
            plans,
            claims_suffice: settings.claims_suffice,
            claimed_features: settings.claimed_features.iter().map(|name| Arc::from(name.as_str())).collect(),
            role_default: settings.role_default,
            accept_sender_constrained: settings.accept_sender_constrained,
            fenced_to,
        };
        let source = source?;
        let saved = keys_folder.zip(source.url());
        let saved = saved.map(|(folder, url)| SavedSet::new(folder.to_owned(), &settings.issuer, url));
        Some(CheckedIssuer { rules, source, pace, saved })
    }

    fn names(&mut self, settings: &IssuerSettings) {
        if settings.issuer.is_empty() {
            self.problem(
                "issuer",
                "issuer_missing",
                "the issuer has no name",
                "write what its tokens carry in `iss`",
            );
        }
        if settings.audiences.is_empty() || settings.audiences.iter().any(String::is_empty) {
            self.problem(
                "audiences",
                "audience_missing",
                "without an audience, tokens that the issuer made for other services would be accepted here",
                "write the `aud` of tokens for this API, for example [\"https://api.example.com\"]",
            );
        }
        if !settings.claimed_features.is_empty() && !settings.claims_suffice {
            self.problem(
                "claimed_features",
                "claimed_features_unused",
                "features come from the registry unless claims suffice",
                "remove it, or set claims_suffice = true",
            );
        }
    }

    fn algorithms(&mut self, names: &[String]) -> Vec<Algorithm> {
        let offered = Algorithm::ALL.map(Algorithm::name).join(", ");
        if names.is_empty() {
            self.problem(
                "algorithms",
                "algorithms_missing",
                "no algorithm is allowed",
                format!("write some of {offered}"),
            );
        }
        let mut algorithms = Vec::new();
        for (place, name) in names.iter().enumerate() {
            let reason = match Algorithm::by_name(name) {
                Some(algorithm) => {
                    algorithms.push(algorithm);
                    continue;
                }
                None if name.starts_with("HS") => {
                    format!("{name} is symmetric: whoever can verify a token could make one")
                }
                None if name.eq_ignore_ascii_case("none") => {
                    "a token without a signature proves nothing".to_owned()
                }
                None => format!("`{name}` is not an algorithm that is offered"),
            };
            self.problem(
                &format!("algorithms[{place}]"),
                "algorithm_unknown",
                reason,
                format!("write one of {offered}"),
            );
        }
        algorithms
    }

    fn typ(&mut self, names: &[String]) -> Vec<Typ> {
        let fix = "write some of JWT, at+jwt, absent";
        if names.is_empty() {
            self.problem("typ", "typ_missing", "no `typ` is accepted, so no token is", fix);
        }
        let mut accepted = Vec::new();
        for (place, name) in names.iter().enumerate() {
            match name.as_str() {
                "JWT" => accepted.push(Typ::Jwt),
                "at+jwt" | "application/at+jwt" => accepted.push(Typ::AtJwt),
                "absent" => accepted.push(Typ::Absent),
                _ => {
                    self.problem(
                        &format!("typ[{place}]"),
                        "typ_unknown",
                        format!("`{name}` is no `typ` that is known"),
                        fix,
                    );
                }
            }
        }
        accepted
    }

    fn regions(&mut self, names: &[String], regions: &Regions) -> Vec<(Arc<str>, RegionId)> {
        let known: Vec<_> = regions.iter().map(|(id, region)| (Arc::clone(&region.name), id)).collect();
        let choice = known.iter().map(|(name, _)| &**name).collect::<Vec<_>>().join(", ");
        if names.is_empty() {
            if known.len() > 1 {
                self.problem(
                    "regions",
                    "regions_missing",
                    "with several regions, an issuer must be bound to those it may speak for",
                    format!("write some of {choice}"),
                );
            }
            return known;
        }
        let mut bound = Vec::new();
        for (place, name) in names.iter().enumerate() {
            match known.iter().find(|(known, _)| **known == **name) {
                Some(region) => bound.push(region.clone()),
                None => self.problem(
                    &format!("regions[{place}]"),
                    "region_unknown",
                    format!("there is no region `{name}`"),
                    format!("write one of {choice}"),
                ),
            }
        }
        bound
    }

    fn plans(&mut self, names: &[String]) -> Arc<[Plan]> {
        let mut plans = Vec::new();
        for (place, name) in names.iter().enumerate() {
            match Plan::by_name(name) {
                Some(plan) => plans.push(plan),
                None => self.problem(
                    &format!("plans[{place}]"),
                    "plan_unknown",
                    format!("there is no plan `{name}`"),
                    format!("write one of {}", Plan::ALL.map(Plan::name).join(", ")),
                ),
            }
        }
        plans.into()
    }

    fn source(&mut self, settings: &IssuerSettings) -> Option<Source> {
        if settings.ca_file.is_some() && settings.jwks_uri.is_none() {
            self.problem("ca_file", "ca_file_unused", "ca_file is for jwks_uri alone", "remove it");
        }
        match (&settings.jwks_uri, &settings.jwks_file) {
            (Some(uri), None) => match fetch::Url::parse(uri) {
                Ok(url) => {
                    let ca_file = settings.ca_file.as_deref().map(|path| self.file("ca_file", path));
                    Some(Source::Url { url, ca_file })
                }
                Err(reason) => {
                    let fix =
                        "write an https URL, for example https://issuer.example.com/.well-known/jwks.json";
                    self.problem(
                        "jwks_uri",
                        "jwks_uri_invalid",
                        format!("`{uri}` cannot be used: {reason}"),
                        fix,
                    );
                    None
                }
            },
            (None, Some(path)) => Some(Source::File(self.file("jwks_file", path))),
            (None, None) => {
                let fix = "write jwks_uri or jwks_file";
                self.problem("jwks_uri", "jwks_missing", "nothing says where the issuer's keys are", fix);
                None
            }
            (Some(_), Some(_)) => {
                let reason = "jwks_uri and jwks_file cannot both say where the issuer's keys are";
                self.problem("jwks_file", "jwks_twice", reason, "keep one of the two");
                None
            }
        }
    }

    /// A file that must be there.
    fn file(&mut self, key: &str, path: &Path) -> PathBuf {
        let path = self.folder.join(path);
        if let Err(error) = std::fs::File::open(&path) {
            let reason = format!("{} cannot be read: {error}", path.display());
            let fix = "name a file that this user can read; a relative path starts at the configuration file";
            self.problem(key, "file_unreadable", reason, fix);
        }
        path
    }

    fn claims(&mut self, claims: &ClaimSettings) {
        let client = claims.client.as_deref().unwrap_or("client_id");
        for (key, name) in [
            ("workspace", claims.workspace.as_str()),
            ("region", &claims.region),
            ("role", &claims.role),
            ("scopes", &claims.scopes),
            ("client", client),
            ("plan", &claims.plan),
        ] {
            if name.is_empty() {
                let reason = "the claim has no name";
                self.problem(
                    &format!("claims.{key}"),
                    "claim_unnamed",
                    reason,
                    "write a claim's name, or remove the key",
                );
            }
        }
    }

    fn pace(&mut self, settings: &IssuerSettings) -> Pace {
        for (key, seconds, least, most) in [
            ("leeway_seconds", settings.leeway_seconds, 0, 600),
            ("max_lifetime_seconds", settings.max_lifetime_seconds, 1, u32::MAX),
            ("refresh_seconds", settings.refresh_seconds, 1, 86_400),
            ("unknown_key_seconds", settings.unknown_key_seconds, 1, 3_600),
            ("max_stale_seconds", settings.max_stale_seconds, settings.refresh_seconds, 2_592_000),
            ("removal_overlap_seconds", settings.removal_overlap_seconds, 0, 86_400),
        ] {
            if !(least..=most).contains(&seconds) {
                let reason = format!("{seconds} is not between {least} and {most}");
                self.problem(key, "seconds_out_of_range", reason, format!("write {least} to {most} seconds"));
            }
        }
        Pace {
            refresh: Duration::from_secs(settings.refresh_seconds.into()),
            cool_down: Duration::from_secs(settings.unknown_key_seconds.into()),
            max_stale: Duration::from_secs(settings.max_stale_seconds.into()),
            removal_overlap: if settings.revoke_on_removal {
                Duration::ZERO
            } else {
                Duration::from_secs(settings.removal_overlap_seconds.into())
            },
        }
    }
}

/// A folder that is there, or can be made in one that is.
fn check_keys_folder(path: &Path, problems: &mut Problems) {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let reason = match (path.exists(), path.is_dir(), parent.is_dir()) {
        (_, true, _) | (false, _, true) => return,
        (true, false, _) => format!("{} is not a folder", path.display()),
        (false, false, false) => format!("there is no folder {}", parent.display()),
    };
    let fix = "name a folder that this user can write, or a new one in a folder that is there";
    problems.add("authentication.keys_folder", "keys_folder_missing", reason, fix);
}
