//! What an owner asks for, and whether the caller is one.

use crate::authentication::{Caller, CredentialKind};
use crate::domain::{Role, WorkspaceState};
use crate::message::Head;
use crate::reply::Refusal;

const LONGEST_ID_BYTES: usize = 64;

/// A resource of owners, and what is to be done with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::gateway) enum Resource {
    /// `GET /tollgate/v1/tokens`
    List,
    /// `POST /tollgate/v1/tokens`
    Create,
    /// `PATCH /tollgate/v1/tokens/{id}`
    Update(String),
    /// `POST /tollgate/v1/tokens/{id}/rotate`
    Rotate(String),
    /// `DELETE /tollgate/v1/tokens/{id}`, `POST /tollgate/v1/tokens/{id}/revoke`
    Revoke(String),
    /// `GET /tollgate/v1/audit-events`
    AuditEvents,
    /// A path that has other methods: the value of `Allow`.
    OtherMethods(&'static str),
}

impl Resource {
    /// [`None`] for a path that is none of owners'.
    pub(in crate::gateway) fn of(head: &Head) -> Option<Self> {
        let path = std::str::from_utf8(head.path()).ok()?.strip_prefix("/tollgate/v1/")?;
        let method = head.method();
        let parts: Vec<&str> = path.split('/').collect();
        Some(match parts[..] {
            ["tokens"] => match method {
                b"GET" | b"HEAD" => Self::List,
                b"POST" => Self::Create,
                _ => Self::OtherMethods("GET, HEAD, POST"),
            },
            ["audit-events"] => match method {
                b"GET" | b"HEAD" => Self::AuditEvents,
                _ => Self::OtherMethods("GET, HEAD"),
            },
            ["tokens", id] if is_id(id) => match method {
                b"DELETE" => Self::Revoke(id.to_owned()),
                b"PATCH" => Self::Update(id.to_owned()),
                _ => Self::OtherMethods("DELETE, PATCH"),
            },
            ["tokens", id, change @ ("rotate" | "revoke")] if is_id(id) => match (method, change) {
                (b"POST", "rotate") => Self::Rotate(id.to_owned()),
                (b"POST", _) => Self::Revoke(id.to_owned()),
                _ => Self::OtherMethods("POST"),
            },
            _ => return None,
        })
    }

    /// Whether the store is changed.
    pub(super) const fn is_change(&self) -> bool {
        matches!(self, Self::Create | Self::Update(_) | Self::Rotate(_) | Self::Revoke(_))
    }

    /// The caller, if it is a person who owns its workspace and the workspace is served.
    pub(in crate::gateway) fn permit(&self, caller: Option<Caller>) -> Result<Caller, Refusal> {
        let caller = caller.ok_or(Refusal::CredentialMissing)?;
        let state = caller.workspace().state;
        if state != WorkspaceState::Active {
            return Err(Refusal::WorkspaceSuspended { state });
        }
        if caller.kind() != CredentialKind::Jwt || caller.role() != Role::Owner {
            return Err(Refusal::OwnerRequired);
        }
        match self {
            Self::OtherMethods(allow) => Err(Refusal::MethodNotAllowed { allow: (*allow).to_owned() }),
            _ => Ok(caller),
        }
    }
}

fn is_id(text: &str) -> bool {
    (1..=LONGEST_ID_BYTES).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Version;

    fn of(method: &str, path: &str) -> Option<Resource> {
        Resource::of(&Head::from_parts(Version::Http11, method.as_bytes(), path.as_bytes(), []))
    }

    #[test]
    fn paths_are_read_whole() {
        for path in [
            "/tollgate/v1/tokens/",
            "/tollgate/v1/tokens/a/",
            "/tollgate/v1/tokens/a%20b",
            "/tollgate/v1/tokens/a/rotate/b",
            "/tollgate/v1/tokens/a/other",
            "/tollgate/v2/tokens",
            "/tokens",
        ] {
            assert_eq!(of("POST", path), None, "{path}");
        }
        assert_eq!(of("POST", "/tollgate/v1/tokens"), Some(Resource::Create));
        assert_eq!(of("HEAD", "/tollgate/v1/tokens?count=1"), Some(Resource::List));
        assert_eq!(of("DELETE", "/tollgate/v1/tokens/tok_1"), Some(Resource::Revoke("tok_1".into())));
        assert_eq!(of("PATCH", "/tollgate/v1/tokens/tok_1"), Some(Resource::Update("tok_1".into())));
        assert_eq!(of("POST", "/tollgate/v1/tokens/tok_1/rotate"), Some(Resource::Rotate("tok_1".into())));
        assert_eq!(of("GET", "/tollgate/v1/tokens/tok_1/rotate"), Some(Resource::OtherMethods("POST")));
        assert_eq!(of("PUT", "/tollgate/v1/audit-events"), Some(Resource::OtherMethods("GET, HEAD")));
    }
}
