//! An upstream's address.

use std::sync::Arc;

use tokio_rustls::TlsConnector;

/// One upstream server.
#[derive(Clone)]
pub struct Upstream {
    /// As configured, for logs and metrics.
    pub url: Arc<str>,
    /// Host name or address literal, without brackets.
    pub host: String,
    /// Port.
    pub port: u16,
    /// What `Host` carries if the upstream's name is asked for.
    pub authority: String,
    /// Set for `https`.
    pub tls: Option<TlsConnector>,
}

/// Why a text is no upstream.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UpstreamError {
    /// Neither `http://` nor `https://`.
    #[error("it starts with neither `http://` nor `https://`")]
    Scheme,
    /// A path, query or fragment behind the authority.
    #[error("it has something behind host and port")]
    Path,
    /// Not a host with an optional port.
    #[error("its host or port is not well formed")]
    Authority,
}

impl Upstream {
    /// Reads `http://host[:port]` or `https://host[:port]`; `tls` is used by the latter.
    pub fn parse(url: &str, tls: Option<&TlsConnector>) -> Result<Self, UpstreamError> {
        let (rest, is_tls) = match (url.strip_prefix("http://"), url.strip_prefix("https://")) {
            (Some(rest), _) => (rest, false),
            (None, Some(rest)) => (rest, true),
            (None, None) => return Err(UpstreamError::Scheme),
        };
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        if authority.contains(['/', '?', '#']) {
            return Err(UpstreamError::Path);
        }
        if !crate::message::is_authority(authority.as_bytes()) {
            return Err(UpstreamError::Authority);
        }
        let default_port = if is_tls { 443 } else { 80 };
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => {
                (host, port.parse().map_err(|_| UpstreamError::Authority)?)
            }
            Some(_) | None => (authority, default_port),
        };
        Ok(Self {
            url: url.into(),
            host: host.trim_matches(['[', ']']).to_owned(),
            port,
            authority: authority.to_owned(),
            tls: if is_tls { tls.cloned() } else { None },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_origin_is_refused() {
        for (url, error) in [
            ("ftp://a", UpstreamError::Scheme),
            ("a:80", UpstreamError::Scheme),
            ("http://a/b", UpstreamError::Path),
            ("http://a?b", UpstreamError::Path),
            ("http://", UpstreamError::Authority),
            ("http://a b", UpstreamError::Authority),
            ("http://a:99999", UpstreamError::Authority),
            ("http://u@a", UpstreamError::Authority),
        ] {
            assert_eq!(Upstream::parse(url, None).err(), Some(error), "{url}");
        }
    }

    #[test]
    fn hosts_and_ports_are_read() {
        let read = |url| Upstream::parse(url, None).map(|upstream| (upstream.host, upstream.port)).unwrap();
        assert_eq!(read("http://127.0.0.1:9001"), ("127.0.0.1".to_owned(), 9001));
        assert_eq!(read("http://[::1]:9001/"), ("::1".to_owned(), 9001));
        assert_eq!(read("http://[::1]"), ("::1".to_owned(), 80));
        assert_eq!(read("https://api.example.com"), ("api.example.com".to_owned(), 443));
    }
}
