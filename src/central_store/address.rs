//! Where a store is: the URL of a Redis or Valkey server, never shown with its password.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use redis::RedisConnectionInfo;

use crate::domain::{Secret, without_passwords};

const DEFAULT_PORT: u16 = 6379;
/// What the longest host name has (RFC 1035, section 2.3.4).
const LONGEST_HOST: usize = 253;

/// A checked `redis://` or `rediss://` URL. Formatting it leaves the password out.
#[derive(Clone, PartialEq, Eq)]
pub struct StoreAddress {
    written: Secret<String>,
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) uses_tls: bool,
    database: u16,
    user: Option<String>,
    password: Option<Secret<String>>,
}

/// Why a text is no such URL. It quotes nothing of the text, which may hold a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreAddressError {
    /// Neither `redis://` nor `rediss://`, or not a URL.
    #[error("it is no URL of a Redis or Valkey server")]
    Malformed,
    /// Without a host.
    #[error("it names no host")]
    NoHost,
    /// A path that is no number of a database.
    #[error("its path is no number of a database")]
    NotADatabase,
}

impl StoreAddress {
    /// Reads `redis://[[user]:password@]host[:port][/database]`; `rediss://` is the same over TLS. Escapes (`%40`) are
    /// undone in user and password.
    pub fn parse(text: &str) -> Result<Self, StoreAddressError> {
        use StoreAddressError::{Malformed, NoHost, NotADatabase};
        let (scheme, rest) = text.split_once("://").ok_or(Malformed)?;
        let uses_tls = match scheme {
            "redis" => false,
            "rediss" => true,
            _ => return Err(Malformed),
        };
        let (login, place) =
            rest.rsplit_once('@').map_or((None, rest), |(login, place)| (Some(login), place));
        let (authority, path) = place.split_once('/').unwrap_or((place, ""));
        let database = match path {
            "" => 0,
            number if number.bytes().all(|byte| byte.is_ascii_digit()) => {
                number.parse().map_err(|_| NotADatabase)?
            }
            _ => return Err(NotADatabase),
        };
        let (host, port) = host_and_port(authority).ok_or(Malformed)?;
        if host.is_empty() {
            return Err(NoHost);
        }
        let (user, password) = match login.map(|login| login.split_once(':').unwrap_or((login, ""))) {
            None => (None, None),
            Some((user, password)) => {
                let (user, password) =
                    (unescaped(user).ok_or(Malformed)?, unescaped(password).ok_or(Malformed)?);
                let password = Some(password).filter(|password| !password.is_empty()).map(Secret::new);
                (Some(user).filter(|user| !user.is_empty()), password)
            }
        };
        let written = Secret::new(text.to_owned());
        Ok(Self { written, host: host.to_owned(), port, uses_tls, database, user, password })
    }

    /// Whether what is sent there stays on this machine or is encrypted.
    pub fn is_private(&self) -> bool {
        let is_here = self.host == "localhost"
            || self.host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
        self.uses_tls || is_here
    }

    /// What is said when a connection is made.
    pub(super) fn login(&self) -> RedisConnectionInfo {
        let mut login =
            RedisConnectionInfo::default().set_db(i64::from(self.database)).set_skip_set_lib_name();
        if let Some(user) = &self.user {
            login = login.set_username(user);
        }
        if let Some(password) = &self.password {
            login = login.set_password(password.expose());
        }
        login
    }
}

fn host_and_port(authority: &str) -> Option<(&str, u16)> {
    let (host, port) = if let Some(rest) = authority.strip_prefix('[') {
        let (address, behind) = rest.split_once(']')?;
        address.parse::<Ipv6Addr>().ok()?;
        (address, behind.strip_prefix(':').or(behind.is_empty().then_some(""))?)
    } else {
        authority.split_once(':').unwrap_or((authority, ""))
    };
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:".contains(&byte);
    if host.len() > LONGEST_HOST || !host.bytes().all(is_name) {
        return None;
    }
    match port {
        "" => Some((host, DEFAULT_PORT)),
        port => port.parse().ok().filter(|port| *port != 0).map(|port| (host, port)),
    }
}

/// A text with its `%XX` undone.
fn unescaped(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut out = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let digits = [bytes.next()?, bytes.next()?];
            let digits = str::from_utf8(&digits).ok().filter(|text| !text.starts_with('+'))?;
            out.push(u8::from_str_radix(digits, 16).ok()?);
        } else {
            out.push(byte);
        }
    }
    String::from_utf8(out).ok()
}

impl fmt::Display for StoreAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&without_passwords(self.written.expose()))
    }
}

impl fmt::Debug for StoreAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_address_is_refused() {
        use StoreAddressError::{Malformed, NoHost, NotADatabase};
        for (text, error) in [
            ("", Malformed),
            ("localhost:6379", Malformed),
            ("http://h", Malformed),
            ("redis://h:port", Malformed),
            ("redis://h:0", Malformed),
            ("redis://h:70000", Malformed),
            ("redis://a b", Malformed),
            ("redis://h?a=b", Malformed),
            ("redis://[::1", Malformed),
            ("redis://[h]", Malformed),
            ("redis://u:%zz@h", Malformed),
            ("redis://u:%4@h", Malformed),
            ("redis://", NoHost),
            ("redis://u:p@", NoHost),
            ("redis://:6379", NoHost),
            ("redis://h/one", NotADatabase),
            ("redis://h/1/2", NotADatabase),
            ("redis://h/-1", NotADatabase),
            ("redis://h/70000", NotADatabase),
        ] {
            assert_eq!(StoreAddress::parse(text).err(), Some(error), "{text}");
        }
    }

    #[test]
    fn an_address_is_read_and_never_shows_its_password() {
        let address = StoreAddress::parse("rediss://toll:hunter%402@redis.example.com:6380/3").unwrap();
        assert_eq!((&*address.host, address.port, address.uses_tls), ("redis.example.com", 6380, true));
        let login = address.login();
        assert_eq!((login.db(), login.username(), login.password()), (3, Some("toll"), Some("hunter@2")));
        assert!(!format!("{address} {address:?} {login:?}").contains("hunter"));
        assert_eq!(address.to_string(), "rediss://toll:**********@redis.example.com:6380/3");
        let address = StoreAddress::parse("redis://:word@[::1]").unwrap();
        assert_eq!((&*address.host, address.port), ("::1", DEFAULT_PORT));
        assert_eq!((address.login().username(), address.login().password()), (None, Some("word")));
    }

    #[test]
    fn only_this_machine_is_private_without_tls() {
        for (text, private) in [
            ("redis://127.0.0.1", true),
            ("redis://localhost/1", true),
            ("redis://[::1]:1", true),
            ("rediss://redis.example.com", true),
            ("redis://10.0.0.1", false),
            ("redis://localhost.example.com", false),
        ] {
            assert_eq!(StoreAddress::parse(text).unwrap().is_private(), private, "{text}");
        }
    }
}
