//! From what the registry says of a change to what whoever asked for it is told.

use crate::domain::Network;
use crate::reply::Refusal;
use crate::tokens::Error;

/// Which kind of refusal an error is; its words depend on who asked.
enum Kind {
    Missing,
    Conflict,
    Input(&'static str),
    Unavailable,
    Unsure,
}

/// A change or look that an operator asked for: in the registry's own words, which name commands.
pub(crate) fn for_operator(error: &Error) -> Refusal {
    let message = || sentence(&error.to_string());
    match kind(error) {
        Kind::Missing => Refusal::Missing { message: message() },
        Kind::Conflict => Refusal::Conflict { message: message() },
        Kind::Input(field) => Refusal::InputInvalid { field: field.to_owned(), message: message() },
        Kind::Unavailable | Kind::Unsure => away(error),
    }
}

/// A change or look that an owner of a workspace asked for, who knows nothing of commands and configuration.
pub(crate) fn for_owner(error: &Error) -> Refusal {
    let conflict = |message: String| Refusal::Conflict { message };
    match error {
        Error::WorkspaceUnknown(_) => Refusal::WorkspaceUnknown,
        Error::AlreadyRotated { id, successor } => {
            conflict(format!("Token {id} was rotated already. Rotate its successor {successor} instead."))
        }
        Error::NotActive { id, state } => {
            conflict(format!("Token {id} is {state} and cannot be rotated. Create a new one."))
        }
        Error::Ended { id, state } => {
            conflict(format!("Token {id} is {state} and cannot be changed. Create a new one."))
        }
        Error::TooManyTokens { cap, .. } => conflict(format!(
            "The workspace has {cap} working tokens, as many as it may. Revoke one that is not used."
        )),
        Error::TooManyOverlaps { most, .. } => conflict(format!(
            "The workspace has {most} working tokens with those that were rotated, as many as it may. Rotate without \
             an overlap, or wait until one ends."
        )),
        Error::TokenUnknown(_) => Refusal::Missing { message: NO_TOKEN.to_owned() },
        other => match kind(other) {
            Kind::Missing => Refusal::Missing { message: "There is no such resource.".to_owned() },
            Kind::Conflict => conflict("The state of the workspace does not allow this.".to_owned()),
            // The owners' API spells its fields as the API behind does.
            Kind::Input("lifetime_seconds") => {
                let message = sentence(&other.to_string());
                Refusal::InputInvalid { field: "lifetimeSeconds".to_owned(), message }
            }
            Kind::Input("overlap_seconds") => {
                let message = sentence(&other.to_string());
                Refusal::InputInvalid { field: "overlapSeconds".to_owned(), message }
            }
            Kind::Input("allowed_networks") => {
                let message = sentence(&other.to_string());
                Refusal::InputInvalid { field: "allowedNetworks".to_owned(), message }
            }
            Kind::Input(_) => for_operator(other),
            Kind::Unavailable | Kind::Unsure => away(other),
        },
    }
}

/// Reads the networks of a field.
pub(crate) fn networks(field: &str, texts: &[String]) -> Result<Vec<Network>, Refusal> {
    let read = |text: &String| {
        Network::parse(text).ok_or_else(|| Refusal::InputInvalid {
            field: field.to_owned(),
            message: format!(
                "`{}` is no network. Write for example `203.0.113.0/24` or `2001:db8::/32`, with zeros after the prefix.",
                text.chars().take(64).collect::<String>().escape_debug()
            ),
        })
    };
    texts.iter().map(read).collect()
}

/// What is said of a token that is not there, or is another workspace's.
pub(crate) const NO_TOKEN: &str = "The workspace has no token with this id.";

fn kind(error: &Error) -> Kind {
    match error {
        Error::WorkspaceUnknown(_)
        | Error::TokenUnknown(_)
        | Error::OverrideUnknown { .. }
        | Error::OperatorUnknown(_) => Kind::Missing,
        Error::WorkspaceExists(_)
        | Error::WorkspaceDeleted(_)
        | Error::AlreadyRotated { .. }
        | Error::NotActive { .. }
        | Error::Ended { .. }
        | Error::TooManyTokens { .. }
        | Error::TooManyOverlaps { .. }
        | Error::TooManyOverrides { .. }
        | Error::OperatorExists(_)
        | Error::TooManyOperators { .. }
        | Error::TooManyJwtRevocations { .. }
        | Error::TooManyIdempotencyKeys { .. }
        | Error::RequestAnswered => Kind::Conflict,
        Error::Invalid { what, .. } => Kind::Input(field(what)),
        Error::RegionUnknown { .. } => Kind::Input("region"),
        Error::IssuerUnknown { .. } => Kind::Input("issuer"),
        Error::StoreUnsure { .. } => Kind::Unsure,
        Error::Unplaced { .. }
        | Error::Store { .. }
        | Error::StoreNewer { .. }
        | Error::StoreOlder { .. }
        | Error::StoreForeign { .. }
        | Error::LogBroken { .. }
        | Error::LogForked(_)
        | Error::LogAltered(_)
        | Error::HeadKeyInvalid(_)
        | Error::PepperMissing(_)
        | Error::PepperInvalid { .. }
        | Error::PepperMismatch { .. }
        | Error::PepperGone { .. }
        | Error::PepperUnknown(_)
        | Error::PepperNeeded { .. }
        | Error::PepperInUse(_)
        | Error::PepperRetired(_)
        | Error::Randomness
        | Error::File { .. }
        | Error::RevocationUnwritten { .. }
        | Error::TooManyUnwritten(_) => Kind::Unavailable,
    }
}

/// The field of a body that a value of this kind came in.
fn field(what: &'static str) -> &'static str {
    match what {
        "workspace id" => "id",
        "scope" => "scopes",
        "feature" => "features",
        "contact" => "contacts",
        "allowed network" => "allowed_networks",
        "lifetime" => "lifetime_seconds",
        "overlap" => "overlap_seconds",
        "end" => "until",
        "time of issue" => "issued_before",
        // Which field it came in is not known.
        "text that PostgreSQL keeps" => "",
        other => other,
    }
}

/// What the store said is for the log: it may name paths and addresses.
fn away(error: &Error) -> Refusal {
    tracing::error!(%error, "the token store cannot be used");
    match error {
        Error::StoreUnsure { .. } => Refusal::StoreUnsure,
        _ => Refusal::StoreUnavailable,
    }
}

/// An error's text as a sentence.
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first: String = letters.next().into_iter().flat_map(char::to_uppercase).collect();
    format!("{first}{}.", letters.as_str().trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_that_is_away_is_never_the_callers_fault_and_tells_no_path() {
        let away = Error::Store { place: "/var/lib/tollgate.db".to_owned(), source: "disk I/O error".into() };
        for refusal in [for_operator(&away), for_owner(&away)] {
            assert_eq!((refusal.status(), refusal.outcome().reason()), (503, "registry_unavailable"));
        }
    }

    #[test]
    fn a_change_that_may_have_been_made_is_not_said_to_be_none() {
        let lost = Error::StoreUnsure { place: "db".to_owned(), source: "connection lost".into() };
        assert_eq!(for_operator(&lost), Refusal::StoreUnsure);
        assert_eq!(for_owner(&lost), Refusal::StoreUnsure);
    }

    #[test]
    fn an_owner_is_told_no_command() {
        for error in [
            Error::TokenUnknown("tok_1".to_owned()),
            Error::NotActive { id: "tok_1".to_owned(), state: "revoked" },
            Error::TooManyTokens { workspace: "w".to_owned(), cap: 1 },
            Error::TooManyOverlaps { workspace: "w".to_owned(), most: 2 },
            Error::WorkspaceDeleted("w".to_owned()),
        ] {
            assert!(!format!("{:?}", for_owner(&error)).contains("tollgate "), "{error}");
            assert!(for_owner(&error).status() < 500);
        }
    }
}
