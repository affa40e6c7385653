//! Scopes that are asked for and held by nobody, or held and asked for by nobody.

use crate::config::File;
use crate::config::typed::nearest;
use crate::domain::{Endpoint, Problems};

pub(super) fn doubts(file: &File, endpoints: &[Endpoint], warnings: &mut Problems) {
    let settings = &file.endpoints;
    let defined = || {
        let all = std::iter::once(&settings.scope).chain(&settings.scopes).chain(&file.tokens.scopes);
        all.map(String::as_str).filter(|scope| !scope.is_empty())
    };
    for endpoint in endpoints {
        let Some(scope) = endpoint.scope.as_deref().filter(|_| !endpoint.public) else { continue };
        if !defined().any(|other| other == scope) {
            let other_fix = || "name it in `endpoints.scopes` if tokens are to hold it".to_owned();
            warnings.add(
                format!("endpoints[{}].scope", endpoint.index),
                "scope_undefined",
                format!("the scope `{scope}` is defined nowhere: neither in `endpoints.scopes` nor in `tokens.scopes`"),
                nearest(scope, defined())
                    .map_or_else(other_fix, |near| format!("did you mean `{near}`? If not, {}", other_fix())),
            );
        }
    }
    let asked = |scope: &String| {
        *scope == settings.scope || endpoints.iter().any(|row| row.scope.as_deref() == Some(scope))
    };
    let asks = !settings.scope.is_empty() && endpoints.iter().all(|row| row.scope.is_some() || row.public);
    if asks && !file.tokens.scopes.iter().any(asked) {
        warnings.add(
            "tokens.scopes",
            "scopes_call_nothing",
            "a token whose creation names no scopes gets these, and no endpoint asks for any of them",
            format!("add `{}`", settings.scope),
        );
    }
}
