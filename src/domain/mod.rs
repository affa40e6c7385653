//! The words of the product, used the same in code, configuration, logs, metrics and documentation.
//!
//! Decides nothing. Its types are small, cheap to clone and know no I/O, no clock and no configuration
//! format. What it refuses to know: where a value came from and what will be done with it.

mod endpoint;
mod forwarded;
mod jwt_lifetime;
mod limit_override;
mod limit_path;
mod network;
mod outcome;
mod problem;
mod quota;
mod region;
mod secret;
mod token_id;
mod url_text;
mod workspace;

pub use endpoint::{ApiVersion, Endpoint, EndpointLimit, LimitScope, Method, Stability};
pub use forwarded::Forwarded;
pub use jwt_lifetime::JwtLifetime;
pub use limit_override::{LimitOverride, OverrideHolder};
pub use limit_path::LimitPath;
pub use network::Network;
pub use outcome::{Family, Outcome};
pub use problem::{Problem, Problems};
pub use quota::{Quota, QuotaError, Window};
pub use region::{Region, RegionId, Regions};
pub use secret::Secret;
pub use token_id::TokenId;
pub use url_text::{UrlText, without_passwords};
pub use workspace::{Plan, Role, Subject, Workspace, WorkspaceState};
