//! The sections of a configuration, as written and as checked.

use std::path::PathBuf;
use std::sync::Arc;

use super::diagnostic::Diagnostic;
use super::redaction::Redaction;
use crate::domain::Regions;
use crate::place::{Places, RegionSettings};
use crate::routing::EndpointRow;
use crate::{
    admin, authentication, central_store, input, journal, limits, listen, notifications, place, reply,
    routing, secret_scanning, telemetry, tokens, upstream,
};

/// Every section as written, defaults filled in.
#[derive(Clone, Debug, Default)]
pub struct File {
    /// `[listen]`
    pub listen: listen::Settings,
    /// `[admin]`
    pub admin: admin::Settings,
    /// `[regions.NAME]`, in written order of their names.
    pub regions: Vec<(String, RegionSettings)>,
    /// Whether there is a `[regions]`; without it, `regions` holds the one that there is then.
    pub regions_written: bool,
    /// `[place]`
    pub place: place::Settings,
    /// `[upstream]`
    pub upstream: upstream::Settings,
    /// `[endpoints]`
    pub endpoints: routing::Settings,
    /// `[tokens]`
    pub tokens: tokens::Settings,
    /// `[journal]`
    pub journal: journal::Settings,
    /// `[redis]`
    pub redis: central_store::Settings,
    /// `[notifications]`
    pub notifications: notifications::Settings,
    /// `[authentication]`
    pub authentication: authentication::Settings,
    /// `[limits]`
    pub limits: limits::Settings,
    /// `[input]`
    pub input: input::Settings,
    /// `[secret_scanning]`
    pub secret_scanning: secret_scanning::Settings,
    /// `[logs]`
    pub logs: telemetry::Settings,
    /// `[replies]`
    pub replies: reply::Settings,
}

impl File {
    /// The names of the sections.
    pub const SECTIONS: [&str; 16] = [
        "listen",
        "admin",
        "regions",
        "place",
        "upstream",
        "endpoints",
        "tokens",
        "journal",
        "redis",
        "notifications",
        "authentication",
        "limits",
        "input",
        "secret_scanning",
        "logs",
        "replies",
    ];
}

/// A whole configuration without mistakes.
pub struct Config {
    /// The files that it was read from.
    pub files: Vec<PathBuf>,
    /// What is legal in them, but surely not meant.
    pub warnings: Vec<Diagnostic>,
    /// Keeps the environment's values out of what is told of this configuration.
    pub redaction: Redaction,
    /// Every section as written.
    pub written: File,
    /// The endpoint table's rows as written: those of the files, then the inline ones.
    pub rows: Vec<EndpointRow>,
    /// `[listen]`
    pub listen: listen::Checked,
    /// `[admin]`
    pub admin: admin::Checked,
    /// `[regions]` and `[place]`
    pub places: Places,
    /// `[upstream]`
    pub upstream: upstream::Checked,
    /// `[endpoints]`
    pub table: routing::Table,
    /// `[tokens]`
    pub tokens: tokens::Rules,
    /// `[journal]`
    pub journal: journal::Checked,
    /// `[redis]`: the servers of the regions that this gateway serves and that have one.
    pub redis: Vec<central_store::Server>,
    /// `[notifications]`
    pub notifications: notifications::Checked,
    /// `[authentication]`
    pub authentication: authentication::Checked,
    /// `[limits]`
    pub limits: Arc<limits::Rules>,
    /// `limits.snapshot_file` and `limits.snapshot_seconds`.
    pub limits_saving: limits::Saving,
    /// `limits.retry_after_ceiling_seconds`, which replies keep to as well.
    pub retry_after_ceiling_seconds: u32,
    /// `[input]`
    pub input: input::Rules,
    /// `[secret_scanning]`; [`None`] where alerts are not taken.
    pub secret_scanning: Option<secret_scanning::Checked>,
    /// `[logs]`
    pub logs: telemetry::Checked,
    /// `[replies]`
    pub replies: reply::Checked,
}

/// The part of a configuration that commands on the registry need.
pub struct RegistryConfig {
    /// `[tokens]`
    pub tokens: tokens::Rules,
    /// `[regions]`
    pub regions: Regions,
}
