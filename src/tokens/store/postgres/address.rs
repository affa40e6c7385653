//! The URL of a database, and how it is shown: never with its password.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr as _;
use std::time::Duration;

use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};

use crate::domain::{Secret, without_passwords};

/// How long a connection may take to be made.
pub(super) const CONNECT_DEADLINE: Duration = Duration::from_secs(5);
/// When a silent connection is asked whether its other end is still there.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(10);
/// How long what was sent may go unacknowledged.
const UNACKNOWLEDGED: Duration = Duration::from_secs(10);

/// A checked `postgres://` URL. Formatting it leaves the password out.
#[derive(Clone)]
pub struct PostgresAddress {
    written: Secret<String>,
    pub(super) config: Config,
    /// Certificates that the server's is checked against in place of the system's.
    pub(super) roots_file: Option<PathBuf>,
}

/// Why a text is no address of a database. It quotes nothing of the text, which may hold a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PostgresAddressError {
    /// Not a URL, or with a parameter that is not known.
    #[error("it is no URL of a PostgreSQL database")]
    Malformed,
    /// Without a host.
    #[error("it names no host")]
    NoHost,
    /// Without a database.
    #[error("it names no database")]
    NoDatabase,
    /// An `sslmode` that may end in plain text or in talking to anybody.
    #[error("its sslmode would not prove who the server is")]
    SslMode,
}

impl PostgresAddress {
    /// Whether a text is meant to be such a URL.
    pub fn is_meant(text: &str) -> bool {
        text.starts_with("postgres://") || text.starts_with("postgresql://")
    }

    /// Reads `postgres://[user[:password]@]host[:port][,…]/database[?name=value&…]`. TLS proves the server's name
    /// (`sslmode=verify-full`, with `sslrootcert` or the system's certificates) unless every host is on this machine
    /// or the URL says `sslmode=disable`. A relative `sslrootcert` starts at `folder`.
    pub fn parse(text: &str, folder: &Path) -> Result<Self, PostgresAddressError> {
        let (base, query) = text.split_once('?').unwrap_or((text, ""));
        let (mut rest, mut mode, mut roots_file) = (Vec::new(), None, None);
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            match pair.split_once('=') {
                Some(("sslmode", value)) => mode = Some(value),
                Some(("sslrootcert", "" | "system")) => roots_file = None,
                Some(("sslrootcert", value)) if value.contains('%') => {
                    return Err(PostgresAddressError::Malformed);
                }
                Some(("sslrootcert", value)) => roots_file = Some(folder.join(value)),
                _ => rest.push(pair),
            }
        }
        let plain = [base, "?", &rest.join("&")].concat();
        let plain = plain.trim_end_matches('?');
        let mut config = Config::from_str(plain).map_err(|_| PostgresAddressError::Malformed)?;
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            return Err(PostgresAddressError::NoHost);
        }
        if config.get_dbname().is_none_or(str::is_empty) {
            return Err(PostgresAddressError::NoDatabase);
        }
        let uses_tls = match mode {
            None => !config.get_hosts().iter().all(is_local) || !config.get_hostaddrs().is_empty(),
            Some("verify-full" | "require") => true,
            Some("disable") => false,
            Some(_) => return Err(PostgresAddressError::SslMode),
        };
        config.ssl_mode(if uses_tls { SslMode::Require } else { SslMode::Disable });
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT_DEADLINE);
        }
        if config.get_tcp_user_timeout().is_none() {
            config.tcp_user_timeout(UNACKNOWLEDGED);
        }
        config.keepalives_idle(KEEPALIVE_IDLE);
        Ok(Self { written: Secret::new(text.to_owned()), config, roots_file })
    }

    /// Whether connections are encrypted and the server proves its name.
    pub fn uses_tls(&self) -> bool {
        self.config.get_ssl_mode() == SslMode::Require
    }
}

fn is_local(host: &Host) -> bool {
    match host {
        Host::Tcp(name) => {
            name == "localhost" || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
        }
        Host::Unix(_) => true,
    }
}

impl PartialEq for PostgresAddress {
    fn eq(&self, other: &Self) -> bool {
        (&self.written, &self.roots_file) == (&other.written, &other.roots_file)
    }
}

impl Eq for PostgresAddress {}

impl fmt::Display for PostgresAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&without_passwords(self.written.expose()))
    }
}

impl fmt::Debug for PostgresAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<PostgresAddress, PostgresAddressError> {
        PostgresAddress::parse(text, Path::new("/etc/tollgate"))
    }

    #[test]
    fn what_is_no_address_is_refused() {
        use PostgresAddressError::{Malformed, NoDatabase, NoHost, SslMode};
        for (text, error) in [
            ("mysql://h/d", Malformed),
            ("postgres://h:port/d", Malformed),
            ("postgres://h/d?sslcert=x", Malformed),
            ("postgres://h/d?sslrootcert=a%20b", Malformed),
            ("postgres://", NoHost),
            ("postgres:///d", NoHost),
            ("postgres://h", NoDatabase),
            ("postgres://h/", NoDatabase),
            ("postgres://h/d?sslmode=prefer", SslMode),
            ("postgres://h/d?sslmode=allow", SslMode),
            ("postgres://h/d?sslmode=verify-ca", SslMode),
        ] {
            assert_eq!(parse(text).err(), Some(error), "{text}");
        }
    }

    #[test]
    fn only_this_machine_is_spoken_to_in_plain_text_unasked() {
        for (text, tls) in [
            ("postgres://db.example.com/d", true),
            ("postgres://localhost,db.example.com/d", true),
            ("postgres://10.0.0.1/d?sslmode=require", true),
            ("postgres://127.0.0.1/d?sslmode=verify-full", true),
            ("postgres://10.0.0.1/d?sslmode=disable", false),
            ("postgres://127.0.0.1:5433/d", false),
            ("postgres://u@/d?host=/run/postgresql", false),
        ] {
            assert_eq!(parse(text).unwrap().uses_tls(), tls, "{text}");
        }
        let roots = parse("postgres://h/d?sslrootcert=ca.pem&application_name=x").unwrap();
        assert_eq!(roots.roots_file.as_deref(), Some(Path::new("/etc/tollgate/ca.pem")));
        assert_eq!(roots.config.get_application_name(), Some("x"));
    }

    #[test]
    fn a_password_is_never_shown() {
        let address = parse("postgres://u:hunter2@h/d").unwrap();
        assert!(!format!("{address} {address:?} {:?}", address.config).contains("hunter2"));
    }
}
