//! `[notifications]`: who is told, and by which way.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use lettre::Address;

use crate::domain::{Problems, Secret};
use crate::fetch::{Reach, Url};

/// The most contacts of the operator.
const MOST_OPERATOR_CONTACTS: usize = 4;
/// The longest password, in bytes.
const LONGEST_PASSWORD_BYTES: u64 = 1_024;

/// The `[notifications]` table.
#[derive(Clone, Debug, serde::Deserialize, serde::Serialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Up to 4 e-mail addresses and webhooks (`https://…`) that are told of leaks in workspaces without contacts, and
    /// of uses of decoys. Default none.
    pub operator_contacts: Vec<String>,
    /// Hours after which a message that cannot be delivered is given up, 1 to 720. Default 72.
    pub give_up_after_hours: u32,
    /// Whether webhooks may lead to private and loopback addresses. Default false: a workspace's contact could
    /// otherwise have the gateway call servers inside.
    pub allow_private_addresses: bool,
    /// PEM certificates that webhooks' servers are checked against; empty takes the system's. A relative path starts
    /// at the configuration file. Default empty.
    pub webhook_ca_file: PathBuf,
    /// `[notifications.smtp]`
    pub smtp: SmtpSettings,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            operator_contacts: Vec::new(),
            give_up_after_hours: 72,
            allow_private_addresses: false,
            webhook_ca_file: PathBuf::new(),
            smtp: SmtpSettings::default(),
        }
    }
}

/// The `[notifications.smtp]` table: the server that e-mails are handed to.
#[derive(Clone, Debug, serde::Deserialize, serde::Serialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SmtpSettings {
    /// Its name or address; empty sends no e-mail. Default empty.
    pub host: String,
    /// Its port. Default 587.
    pub port: u16,
    /// `starttls`, `tls` (from the first byte, port 465) or `none` (loopback alone). Default `starttls`.
    pub encryption: Encryption,
    /// Whom mails come from. Default empty; required with a host.
    pub from: String,
    /// The user that logs in; empty does not. Default empty.
    pub user: String,
    /// The file with the user's password, its one line. A relative path starts at the configuration file. Default
    /// empty.
    pub password_file: PathBuf,
    /// PEM certificates that the server's is checked against; empty takes the system's. A relative path starts at the
    /// configuration file. Default empty.
    pub ca_file: PathBuf,
}

impl Default for SmtpSettings {
    fn default() -> Self {
        Self {
            host: String::new(),
            port: 587,
            encryption: Encryption::Starttls,
            from: String::new(),
            user: String::new(),
            password_file: PathBuf::new(),
            ca_file: PathBuf::new(),
        }
    }
}

/// How the connection to the SMTP server is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Encryption {
    /// By `STARTTLS` (RFC 3207), which the server must offer.
    Starttls,
    /// By TLS from the first byte (RFC 8314).
    Tls,
    /// Not at all.
    None,
}

/// Checked `[notifications]`.
#[derive(Clone, Debug)]
pub struct Checked {
    /// Who is told where a workspace has no contacts, and of decoys.
    pub operator_contacts: Vec<String>,
    /// When an undelivered message is given up.
    pub give_up_after: Duration,
    pub(super) allow_private_addresses: bool,
    pub(super) webhook_ca_file: Option<PathBuf>,
    pub(super) smtp: Option<Arc<Smtp>>,
}

impl Checked {
    pub(super) const fn reach(&self) -> Reach {
        if self.allow_private_addresses { Reach::Anywhere } else { Reach::PublicInternet }
    }
}

/// The server that mails are handed to.
#[derive(Debug)]
pub(super) struct Smtp {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) encryption: Encryption,
    pub(super) from: Address,
    pub(super) login: Option<Login>,
    pub(super) ca_file: Option<PathBuf>,
}

#[derive(Debug)]
pub(super) struct Login {
    pub(super) user: String,
    pub(super) password: Secret<String>,
}

/// Checks the settings and adds every mistake to `problems`. Relative paths start at `folder`; the password is read.
pub fn from_settings(settings: &Settings, folder: &Path, problems: &mut Problems) -> Option<Checked> {
    let before = problems.0.len();
    if settings.operator_contacts.len() > MOST_OPERATOR_CONTACTS {
        problems.add(
            "notifications.operator_contacts",
            "too_many_contacts",
            format!("there are {}", settings.operator_contacts.len()),
            format!("name up to {MOST_OPERATOR_CONTACTS}; a mailing list reaches more people"),
        );
    }
    for (at, contact) in settings.operator_contacts.iter().enumerate() {
        let key = format!("notifications.operator_contacts[{at}]");
        if contact.contains("://") {
            if let Err(why) = Url::parse(contact) {
                problems.add(key, "contact_invalid", format!("`{contact}`: {why}"), "write an https address");
            }
        } else if contact.parse::<Address>().is_err() {
            let reason = format!("`{contact}` is no e-mail address");
            problems.add(key, "contact_invalid", reason, "write name@host, or an https address");
        } else if settings.smtp.host.is_empty() {
            let fix = "name a server in `notifications.smtp.host`, or write an https address";
            problems.add(key, "smtp_missing", "no server takes e-mails", fix);
        }
    }
    if !(1..=720).contains(&settings.give_up_after_hours) {
        problems.add(
            "notifications.give_up_after_hours",
            "out_of_range",
            format!("{} is out of range", settings.give_up_after_hours),
            "write a number from 1 to 720",
        );
    }
    let webhook_ca_file = file(folder, &settings.webhook_ca_file);
    readable("notifications.webhook_ca_file", webhook_ca_file.as_deref(), problems);
    let smtp = smtp(&settings.smtp, folder, problems);
    (problems.0.len() == before).then(|| Checked {
        operator_contacts: settings.operator_contacts.clone(),
        give_up_after: Duration::from_hours(u64::from(settings.give_up_after_hours)),
        allow_private_addresses: settings.allow_private_addresses,
        webhook_ca_file,
        smtp: smtp.map(Arc::new),
    })
}

fn smtp(settings: &SmtpSettings, folder: &Path, problems: &mut Problems) -> Option<Smtp> {
    if settings.host.is_empty() {
        return None;
    }
    if settings.encryption == Encryption::None && !is_loopback(&settings.host) {
        problems.add(
            "notifications.smtp.encryption",
            "smtp_plain",
            "mails would cross the network in plain text",
            "write `starttls` or `tls`; `none` is for a server on loopback",
        );
    }
    let ca_file = file(folder, &settings.ca_file);
    readable("notifications.smtp.ca_file", ca_file.as_deref(), problems);
    let from = settings.from.parse();
    if from.is_err() {
        problems.add(
            "notifications.smtp.from",
            "contact_invalid",
            format!("`{}` is no e-mail address", settings.from),
            "write the address that mails come from, for example tollgate@example.com",
        );
    }
    let login = login(settings, folder, problems);
    let (host, port, encryption) = (settings.host.clone(), settings.port, settings.encryption);
    Some(Smtp { host, port, encryption, from: from.ok()?, login, ca_file })
}

fn login(settings: &SmtpSettings, folder: &Path, problems: &mut Problems) -> Option<Login> {
    let path = file(folder, &settings.password_file);
    let Some(path) = path.filter(|_| !settings.user.is_empty()) else {
        if settings.user.is_empty() != settings.password_file.as_os_str().is_empty() {
            problems.add(
                "notifications.smtp.password_file",
                "smtp_login_incomplete",
                "a login takes a user and a password",
                "write both `user` and `password_file`, or neither",
            );
        }
        return None;
    };
    match password(&path) {
        Ok(password) => Some(Login { user: settings.user.clone(), password }),
        Err(error) => {
            let reason = format!("{}: {error}", path.display());
            let fix = "name a file that holds the password alone and that this user can read";
            problems.add("notifications.smtp.password_file", "password_unreadable", reason, fix);
            None
        }
    }
}

fn password(path: &Path) -> std::io::Result<Secret<String>> {
    use std::io::Read as _;
    let mut text = String::new();
    std::fs::File::open(path)?.take(LONGEST_PASSWORD_BYTES + 2).read_to_string(&mut text)?;
    let line = text.trim_end_matches(['\r', '\n']);
    if line.is_empty() || line.len() as u64 > LONGEST_PASSWORD_BYTES || line.contains('\n') {
        return Err(std::io::Error::other("it is not one line of 1 to 1,024 bytes"));
    }
    Ok(Secret::new(line.to_owned()))
}

fn file(folder: &Path, written: &Path) -> Option<PathBuf> {
    (!written.as_os_str().is_empty()).then(|| folder.join(written))
}

fn readable(key: &str, file: Option<&Path>, problems: &mut Problems) {
    if let Some(file) = file
        && let Err(error) = std::fs::File::open(file)
    {
        let reason = format!("{}: {error}", file.display());
        problems.add(key, "file_unreadable", reason, "name a PEM file that this user can read");
    }
}

fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}
