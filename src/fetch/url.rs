//! Addresses that may be fetched from at all.

use std::fmt;
use std::net::IpAddr;

use http::Uri;

/// A checked address: `https`, or `http` on loopback.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url(Uri);

impl Url {
    /// Checks an address; the error says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let uri: Uri = text.parse().map_err(|_| "it is not an absolute URL")?;
        let host = uri.host().ok_or("it names no host")?;
        if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err("it carries a user name");
        }
        match uri.scheme_str() {
            Some("https") => Ok(Self(uri)),
            Some("http") if is_loopback(host) => Ok(Self(uri)),
            Some("http") => {
                Err("it is plain http to another machine, where everything can be replaced on the way")
            }
            Some(_) | None => Err("its scheme is neither https nor http"),
        }
    }

    /// Host and port as they are written.
    pub fn authority(&self) -> &str {
        self.0.authority().map_or("", |authority| authority.as_str())
    }

    /// Path and query.
    pub(super) fn target(&self) -> &str {
        self.0.path_and_query().map_or("/", |target| target.as_str())
    }

    pub(super) fn is_secure(&self) -> bool {
        self.0.scheme_str() == Some("https")
    }

    /// The host as the system resolves it: a literal IPv6 address without its brackets.
    pub(super) fn bare_host(&self) -> &str {
        bare(self.0.host().unwrap_or_default())
    }

    pub(super) fn port(&self) -> u16 {
        self.0.port_u16().unwrap_or(if self.is_secure() { 443 } else { 80 })
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

fn bare(host: &str) -> &str {
    host.trim_start_matches('[').trim_end_matches(']')
}

fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || bare(host).parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_nobody_can_replace_on_the_way_is_taken() {
        for good in
            ["https://a.example/x?y=z", "https://192.0.2.1:8443", "http://localhost:1/", "http://[::1]/"]
        {
            assert_eq!(
                Url::parse(good).unwrap().to_string().trim_end_matches('/'),
                good.trim_end_matches('/')
            );
        }
        for bad in ["", "/x", "a.example", "http://a.example/", "ftp://a.example/", "https://u:p@a.example/"]
        {
            assert!(Url::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn its_parts_are_those_of_a_request() {
        let url = Url::parse("https://[2001:db8::1]/a?b").unwrap();
        assert_eq!((url.bare_host(), url.port(), url.target()), ("2001:db8::1", 443, "/a?b"));
        let url = Url::parse("http://localhost").unwrap();
        assert_eq!((url.authority(), url.port(), url.target()), ("localhost", 80, "/"));
    }
}
