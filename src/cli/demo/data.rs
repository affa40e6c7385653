//! The demo's data folder: configuration, certificate, store, workspaces and tokens.

use std::fs;
use std::path::{Path, PathBuf};

use super::Ready;
use super::github::GitHub;
use super::ports::Ports;
use super::servers::Servers;
use crate::cli::Error;
use crate::clock::{Clock, Now};
use crate::config::Config;
use crate::domain::{Plan, Quota, Role, Secret, WorkspaceState};
use crate::routing::SEGMENT_TABLE;
use crate::tokens::{Act, Mint, NewWorkspace, Random as _, SystemRandom, TokenRequest, WorkspaceChange};

/// The input rule of the sample configuration.
const SCHEMA_SETTINGS: &str = include_str!("../../../config/schemas/updateSchemaSettingsInSource.json");

/// The ids of the demo's workspaces.
pub(super) struct Workspaces {
    pub(super) us: &'static str,
    pub(super) eu: &'static str,
    pub(super) free: &'static str,
    pub(super) suspended: &'static str,
}

/// What the names of the demo's operators start with.
const OPERATOR: &str = "demo-";

/// The demo's workspaces.
pub(super) const WORKSPACES: Workspaces =
    Workspaces { us: "demo-us", eu: "demo-eu", free: "demo-free", suspended: "demo-suspended" };

/// Every feature that the endpoint table asks for.
const FEATURES: [&str; 8] = [
    "Audience",
    "Computed Trait",
    "Destination Subscriptions",
    "Functions",
    "Live Plugins",
    "Protocols",
    "Space Filters",
    "Spaces",
];

/// One token of the JSON line.
pub(super) struct DemoToken {
    /// Its key in the line.
    pub(super) name: &'static str,
    pub(super) id: String,
    pub(super) token: Secret<String>,
    pub(super) workspace: &'static str,
    pub(super) region: &'static str,
}

/// Every token of the demo.
pub(super) struct Tokens {
    /// Those that are printed.
    pub(super) public: Vec<DemoToken>,
    /// The operator's.
    pub(super) operator: Secret<String>,
    /// Those of the traffic.
    pub(super) traffic: Vec<Secret<String>>,
}

/// The folder; a temporary one is removed at the end.
pub(super) struct DataFolder {
    path: PathBuf,
    is_temporary: bool,
}

impl DataFolder {
    /// Makes or reuses the folder.
    pub(super) fn open(named: Option<&Path>) -> Result<Self, Error> {
        let (path, is_temporary) = if let Some(path) = named {
            (path.to_owned(), false)
        } else {
            let mut random = [0; 8];
            SystemRandom.fill(&mut random)?;
            let name = format!("tollgate-demo-{:016x}", u64::from_le_bytes(random));
            (std::env::temp_dir().join(name), true)
        };
        fs::create_dir_all(&path)
            .map_err(|error| Error::Demo(format!("cannot make the folder {}: {error}", path.display())))?;
        let path = fs::canonicalize(&path)?;
        Ok(Self { path, is_temporary })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The certificate authority of the demo's certificate.
    pub(super) fn ca_file(&self) -> PathBuf {
        self.path.join("ca.pem")
    }

    /// Where messages to the demo's owners arrive.
    pub(super) fn inbox(folder: &Path) -> PathBuf {
        folder.join("inbox")
    }

    /// Writes endpoint table, input rule and configuration.
    pub(super) fn write_configuration(&self, ports: Ports, servers: &Servers) -> Result<PathBuf, Error> {
        fs::write(self.path.join("endpoints.toml"), SEGMENT_TABLE)?;
        fs::write(self.path.join("schema-settings.json"), SCHEMA_SETTINGS)?;
        GitHub::prepare(&self.path)?;
        let file = self.path.join("tollgate.toml");
        fs::write(&file, super::guide::configuration(ports, servers))?;
        Ok(file)
    }

    /// A certificate for 127.0.0.1 and localhost, signed by an authority made for it.
    pub(super) fn write_certificate(&self) -> Result<(), Error> {
        let (chain, key) = (self.path.join("cert.pem"), self.path.join("key.pem"));
        if chain.exists() && key.exists() && self.ca_file().exists() {
            return Ok(());
        }
        let fault = |error: rcgen::Error| Error::Demo(format!("cannot make the demo's certificate: {error}"));
        let mut authority = rcgen::CertificateParams::default();
        authority.distinguished_name.push(rcgen::DnType::CommonName, "tollgate demo authority");
        authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Constrained(0));
        authority.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign, rcgen::KeyUsagePurpose::CrlSign];
        let authority_key = rcgen::KeyPair::generate().map_err(fault)?;
        let authority_certificate = authority.self_signed(&authority_key).map_err(fault)?;
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let mut leaf = rcgen::CertificateParams::new(names).map_err(fault)?;
        leaf.distinguished_name.push(rcgen::DnType::CommonName, "localhost");
        leaf.use_authority_key_identifier_extension = true;
        leaf.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
        let leaf_key = rcgen::KeyPair::generate().map_err(fault)?;
        let issuer = rcgen::Issuer::from_params(&authority, &authority_key);
        let leaf_certificate = leaf.signed_by(&leaf_key, &issuer).map_err(fault)?;
        fs::write(self.ca_file(), authority_certificate.pem())?;
        fs::write(chain, leaf_certificate.pem())?;
        write_private(&key, &leaf_key.serialize_pem())?;
        Ok(())
    }

    /// Where the running demo's line of JSON is.
    pub(super) fn state_file(folder: &Path) -> PathBuf {
        folder.join("demo.json")
    }

    /// Writes the line of JSON for `demo leak`.
    pub(super) fn write_state(&self, ready: &Ready) -> Result<(), Error> {
        write_private(&Self::state_file(&self.path), &format!("{}\n", super::guide::json(ready)))
    }

    /// Writes a file to source; its name.
    pub(super) fn write_environment(&self, ready: &Ready) -> Result<PathBuf, Error> {
        let file = self.path.join("demo.env");
        write_private(&file, &super::guide::environment(ready))?;
        Ok(file)
    }
}

impl Drop for DataFolder {
    /// Removes a temporary folder.
    fn drop(&mut self) {
        if self.is_temporary
            && let Err(error) = fs::remove_dir_all(&self.path)
        {
            tracing::warn!(%error, folder = %self.path.display(), "the demo's folder could not be removed");
        }
    }
}

/// Makes the workspaces that are missing and new tokens for all of them; plain texts are not kept.
pub(super) fn tokens(config: &Config, webhook: &str, clock: &Clock) -> Result<Tokens, Error> {
    let now = clock.now();
    let mint = Mint::open(&config.tokens, config.places.regions(), Box::new(SystemRandom), now)?;
    let act = Act::by("cli:demo", now);
    workspaces(&mint, act)?;
    contacts(&mint, act, webhook)?;
    let five = "5 per minute".parse::<Quota>().ok();
    let past = Now { unix_millis: now.unix_millis.saturating_sub(2 * 86_400_000), ..now };
    let mut public = Vec::new();
    for (name, workspace, region, limit) in [
        ("us", WORKSPACES.us, "us", None),
        ("eu", WORKSPACES.eu, "eu", None),
        ("revoked", WORKSPACES.us, "us", None),
        ("expired", WORKSPACES.us, "us", None),
        ("free_plan", WORKSPACES.free, "us", None),
        ("suspended", WORKSPACES.suspended, "us", None),
        ("tiny_limit", WORKSPACES.us, "us", five),
    ] {
        let act = if name == "expired" { Act { now: past, ..act } } else { act };
        let lifetime = (name == "expired").then_some(86_400);
        let (id, token) = create(&mint, act, workspace, name, limit, lifetime)?;
        if name == "revoked" {
            mint.revoke_token(act, &id, "revoked for the demo")?;
        }
        public.push(DemoToken { name, id, token, workspace, region });
    }
    let traffic = [WORKSPACES.us, WORKSPACES.eu]
        .into_iter()
        .map(|workspace| create(&mint, act, workspace, "traffic", None, None).map(|(_, token)| token))
        .collect::<Result<_, _>>()?;
    Ok(Tokens { public, operator: operator(&mint, act)?, traffic })
}

/// A new operator in place of the one of an earlier demo on the same folder, whose token nobody has any more.
fn operator(mint: &Mint, act: Act<'_>) -> Result<Secret<String>, Error> {
    let (earlier, later): (Vec<_>, Vec<_>) = mint
        .store()
        .operators()?
        .into_iter()
        .filter(|operator| operator.name.starts_with(OPERATOR))
        .partition(|operator| operator.revoked_at_unix_seconds.is_none());
    for operator in &earlier {
        mint.revoke_operator(act, &operator.name)?;
    }
    let name = format!("{OPERATOR}{}", earlier.len() + later.len() + 1);
    Ok(mint.create_operator(act, &name, None)?.token)
}

fn workspaces(mint: &Mint, act: Act<'_>) -> Result<(), Error> {
    let features: Vec<String> = FEATURES.iter().map(|name| (*name).to_owned()).collect();
    for (id, region, plan) in [
        (WORKSPACES.us, "us", Plan::Business),
        (WORKSPACES.eu, "eu", Plan::Business),
        (WORKSPACES.free, "us", Plan::Free),
        (WORKSPACES.suspended, "us", Plan::Business),
    ] {
        if mint.workspace(id).is_ok() {
            continue;
        }
        let (id, region) = (id.to_owned(), region.to_owned());
        let features = features.clone();
        mint.create_workspace(act, &NewWorkspace { id, region, plan, features, contacts: Vec::new() })?;
    }
    let suspended = WorkspaceChange { state: Some(WorkspaceState::Suspended), ..WorkspaceChange::default() };
    mint.set_workspace(act, WORKSPACES.suspended, &suspended)?;
    Ok(())
}

/// Has the owners of the workspace in the US told by e-mail and at this run's webhook.
fn contacts(mint: &Mint, act: Act<'_>, webhook: &str) -> Result<(), Error> {
    let earlier = mint.workspace(WORKSPACES.us)?.contacts;
    let change = WorkspaceChange {
        add_contacts: vec!["owner@demo-us.example".to_owned(), webhook.to_owned()],
        remove_contacts: earlier
            .into_iter()
            .filter(|contact| contact.starts_with("https://") && contact != webhook)
            .collect(),
        ..WorkspaceChange::default()
    };
    mint.set_workspace(act, WORKSPACES.us, &change)?;
    Ok(())
}

fn create(
    mint: &Mint,
    act: Act<'_>,
    workspace: &str,
    name: &str,
    own_limit: Option<Quota>,
    lifetime_seconds: Option<u64>,
) -> Result<(String, Secret<String>), Error> {
    let request = TokenRequest {
        workspace: workspace.to_owned(),
        name: format!("demo {name}"),
        scopes: vec!["public_api:read_write".to_owned()],
        role: Role::Owner,
        own_limit,
        lifetime_seconds,
        allowed_networks: Vec::new(),
        decoy: false,
    };
    let minted = mint.create_token(act, &request)?;
    Ok((minted.record.id.clone(), minted.token))
}

/// Writes a file that only this user can read.
pub(super) fn write_private(path: &Path, text: &str) -> Result<(), Error> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    Ok(file.write_all(text.as_bytes())?)
}
