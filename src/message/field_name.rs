//! The field names that the gateway acts on, recognised once while a head is parsed.

macro_rules! field_names {
    ($($variant:ident = $name:literal;)+) => {
        /// A field name that the gateway acts on, or [`FieldName::Other`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum FieldName {
            $(#[doc = concat!("`", $name, "`")] $variant,)+
            /// Any other name.
            Other,
        }

        impl FieldName {
            /// Recognises a name in any case.
            pub fn of(name: &[u8]) -> Self {
                match name.len() {
                    $(len if len == $name.len() && name.eq_ignore_ascii_case($name.as_bytes()) => Self::$variant,)+
                    _ => Self::Other,
                }
            }
        }
    };
}

field_names! {
    Host = "host";
    Accept = "accept";
    Authorization = "authorization";
    Connection = "connection";
    ContentLength = "content-length";
    ContentType = "content-type";
    TransferEncoding = "transfer-encoding";
    UserAgent = "user-agent";
    Expect = "expect";
    Origin = "origin";
    RequestId = "x-request-id";
    Traceparent = "traceparent";
    Tracestate = "tracestate";
    AccessControlRequestMethod = "access-control-request-method";
    KeepAlive = "keep-alive";
    ProxyConnection = "proxy-connection";
    ProxyAuthenticate = "proxy-authenticate";
    ProxyAuthorization = "proxy-authorization";
    Te = "te";
    Trailer = "trailer";
    Upgrade = "upgrade";
    Http2Settings = "http2-settings";
    Date = "date";
    Vary = "vary";
}

impl FieldName {
    /// Whether the field speaks of one connection only and is never passed on (RFC 9110, section 7.6.1).
    /// `Trailer` is kept: trailers pass.
    pub const fn is_hop_by_hop(self) -> bool {
        matches!(
            self,
            Self::Connection
                | Self::KeepAlive
                | Self::ProxyConnection
                | Self::ProxyAuthenticate
                | Self::ProxyAuthorization
                | Self::Te
                | Self::TransferEncoding
                | Self::Upgrade
                | Self::Http2Settings
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_recognised_in_any_case() {
        assert_eq!(FieldName::of(b"HOST"), FieldName::Host);
        assert_eq!(FieldName::of(b"X-Request-Id"), FieldName::RequestId);
        assert_eq!(FieldName::of(b"x_request_id"), FieldName::Other);
        assert_eq!(FieldName::of(b""), FieldName::Other);
    }
}
